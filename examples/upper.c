/* upper - a transform of our own: letters become capital letters on their way out of any source. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <usplice/endpoint.h>

/* The bytes are ours alone: the library has copied those that others see. */
static ssize_t upper_change(void *arg, unsigned char *bytes, size_t len)
{
	(void)arg;
	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)toupper(bytes[i]);
	return (ssize_t)len;
}

static const struct usp_stage_ops upper_ops = {
	.size = sizeof(struct usp_stage_ops),
	.name = "upper",
	.change = upper_change,
};

/* Print a source in capital letters, and tell how many of its bytes had to be copied for that. */
int main(int argc, char **argv)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_file *below = NULL, *file = NULL;
	int ret = argc == 2 ? usp_open(argv[1], &params, &below, NULL) : -EINVAL;

	if (ret == 0)
		ret = usp_stage_open(&upper_ops, NULL, below, &file);
	if (ret == 0) {
		below = NULL; /* upper closes it */
		ret = usp_copy_to(file, "-", NULL, NULL);
		usp_file_hop(file, USP_READ, &hop);
		fprintf(stderr, "%zu bytes changed in place, %zu in a copy\n", (size_t)hop.bytes[USP_REWRITTEN],
			(size_t)hop.bytes[USP_COPIED]);
	}
	usp_file_put(file);
	usp_file_put(below);
	if (ret < 0)
		fprintf(stderr, "upper SPEC: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
