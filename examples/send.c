/* send - copy one endpoint to another and say how the bytes travelled. */
#include <stdio.h>
#include <string.h>
#include <usplice.h>

int main(int argc, char **argv)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_route_total total = {.size = sizeof(total)};
	struct usp_file *source = NULL, *sink = NULL;
	int error = argc == 3 ? usp_open(argv[1], &to_read, &source, NULL) : -EINVAL;

	error = error ? error : usp_open(argv[2], &to_write, &sink, NULL);
	error = error ? error : usp_copy(source, sink, NULL, &total);
	error = error ? error : usp_file_close(sink);
	if (error)
		fprintf(stderr, "send SOURCE SINK: %s\n", strerror(-error));
	else
		printf("%llu by reference, %llu copied, %llu unknown\n", (unsigned long long)total.by_reference,
		       (unsigned long long)total.copied, (unsigned long long)total.unknown);
	usp_file_put(sink);
	usp_file_put(source);
	return error ? 1 : 0;
}
