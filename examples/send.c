/* send - copy one endpoint to another and say how the bytes travelled. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <usplice.h>

int main(int argc, char **argv)
{
	struct usp_route_total total = {.size = sizeof(total)};
	int error = argc == 3 ? usp_copy(argv[1], argv[2], NULL, &total) : -EINVAL;

	if (error)
		fprintf(stderr, "send SOURCE SINK: %s\n", strerror(-error));
	else
		printf("%" PRIu64 " by reference, %" PRIu64 " copied, %" PRIu64 " unknown\n", total.by_reference,
		       total.copied, total.unknown);
	return error != 0;
}
