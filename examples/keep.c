/* keep - a sink that keeps the pages that it gets, if nobody else refers to them, and copies all others. */
#include <stdio.h>
#include <string.h>
#include <usplice/endpoint.h>

#define NR_BUFS 1024

struct kept {
	struct usp_buf bufs[NR_BUFS];
	unsigned nr_bufs;
};

/* The buf is ours from now on. */
static int keep_buf(void *arg, const struct usp_buf *own)
{
	struct kept *kept = arg;

	if (kept->nr_bufs == NR_BUFS)
		return -ENOSPC;
	kept->bufs[kept->nr_bufs++] = *own;
	return 0;
}

static ssize_t keep_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	(void)pos;
	return usp_take_from_pipe(pipe, out, len, flags, keep_buf, out->priv);
}

static const struct usp_file_ops keep_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "keep",
	.splice_write = keep_splice_write,
};

/* Keep all of a source, and then print it, and tell how many bytes had to be copied. */
int main(int argc, char **argv)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	static struct kept kept;
	struct usp_file *sink;
	int ret = usp_file_new(&keep_ops, USP_WRITE, "keep", &kept, &sink);

	if (ret == 0) {
		ret = usp_copy_from(argc == 2 ? argv[1] : "", sink, NULL, NULL);
		usp_file_hop(sink, USP_WRITE, &hop);
		usp_file_put(sink);
	}
	for (unsigned i = 0; i < kept.nr_bufs; i++) { /* they outlive the source */
		fwrite(usp_buf_bytes(&kept.bufs[i]), 1, kept.bufs[i].len, stdout);
		usp_buf_release(NULL, &kept.bufs[i]);
	}
	if (ret < 0)
		fprintf(stderr, "keep SPEC: %s\n", strerror(-ret));
	else
		fprintf(stderr, "%zu bytes kept, %zu copied\n", (size_t)hop.bytes[USP_BY_REFERENCE],
			(size_t)hop.bytes[USP_COPIED]);
	return ret ? 1 : 0;
}
