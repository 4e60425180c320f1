/* gift - one buffer to two sinks, by reference. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice.h>

static char text[] = "one buffer, two destinations\n";

static void check(const char *what, ssize_t ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "gift: %s: %s\n", what, strerror((int)-ret));
	exit(1);
}

static struct usp_file *open_sink(const char *spec)
{
	struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	struct usp_file *sink;

	check(spec, usp_open(spec, &params, &sink, NULL));
	return sink;
}

static void text_is_free(void *arg)
{
	printf("%s: nobody refers to it any more\n", (char *)arg);
}

/* Empty a pipe into a sink, and say how the bytes went. */
static void deliver(struct usp_file *end, struct usp_file *sink)
{
	const char *spec = usp_file_spec(sink);
	struct usp_hop hop = {.size = sizeof(hop)};
	unsigned long shared, copied;
	ssize_t left;

	while ((left = usp_pipe_bytes(end)) > 0)
		check(spec, usp_splice(end, NULL, sink, NULL, left, 0));
	usp_file_hop(sink, USP_WRITE, &hop);
	shared = hop.bytes[USP_BY_REFERENCE];
	copied = hop.bytes[USP_COPIED];
	check(spec, usp_file_close(sink)); /* some disks tell only here that they are full */
	printf("%s: %lu by reference, %lu copied\n", spec, shared, copied);
	usp_file_put(sink);
}

int main(int argc, char **argv)
{
	struct usp_file *one[2], *two[2]; /* two pipes */
	struct usp_gift *gift;
	size_t len = strlen(text);

	check("two sinks, please", argc == 3 ? 0 : -EINVAL);
	check("pipe", usp_pipe_open(NULL, one));
	check("pipe", usp_pipe_open(NULL, two));
	check("gift", usp_gift_new(text, len, text_is_free, "text", &gift));
	check("gift", usp_gift_splice(gift, 0, len, one[1], 0));
	check("tee", usp_tee(one[0], two[1], len, 0));
	deliver(one[0], open_sink(argv[1]));
	deliver(two[0], open_sink(argv[2]));
	usp_gift_put(gift); /* the last reference */
	for (int i = 0; i < 2; i++) {
		usp_file_put(one[i]);
		usp_file_put(two[i]);
	}
	return 0;
}
