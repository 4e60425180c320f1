/* send - copy one endpoint to another and say how the bytes travelled. */
#include <stdio.h>
#include <string.h>
#include <usplice.h>

int main(int argc, char **argv)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *source = NULL, *sink = NULL;
	struct usp_pump *pump = NULL;
	int error = -1;

	if (argc != 3 || (error = usp_open(argv[1], &to_read, &source, NULL)) ||
	    (error = usp_open(argv[2], &to_write, &sink, NULL)) || (error = usp_pump_new(source, NULL, &pump)) ||
	    (error = usp_pump_add_sink(pump, sink)) || (error = usp_pump_run(pump)) || (error = usp_file_close(sink))) {
		fprintf(stderr, "send SOURCE SINK: %s\n", argc == 3 ? strerror(-error) : "two endpoints, please");
	} else {
		struct usp_route_total total = {.size = sizeof(total)};

		usp_pump_total(pump, &total);
		printf("%llu by reference, %llu copied, %llu unknown\n", (unsigned long long)total.by_reference,
		       (unsigned long long)total.copied, (unsigned long long)total.unknown);
	}
	usp_pump_free(pump);
	usp_file_put(sink);
	usp_file_put(source);
	return error ? 1 : 0;
}
