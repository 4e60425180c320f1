/* keep - a sink that keeps the pages that it gets, if nobody else refers to them, and copies all others. */
#include <stdio.h>
#include <string.h>
#include <usplice/endpoint.h>

#define NR_BUFS 1024

struct kept {
	struct usp_buf bufs[NR_BUFS];
	unsigned nr_bufs, flags;
	size_t taken, copied; /* bytes of this call */
};

/* Keep the buf, or else a copy of it. */
static ssize_t keep_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct kept *kept = arg;
	struct usp_buf own = *buf;
	bool is_copy = buf->flags & USP_BUF_MAPPED; /* on its way here */

	own.len = len;
	own.flags = 0; /* they are for the first owner */
	if (kept->nr_bufs == NR_BUFS)
		return -ENOSPC;
	if (!(kept->flags & USP_SPLICE_MOVE && usp_buf_try_steal(pipe, buf) && usp_buf_get(pipe, buf, &own))) {
		own = (struct usp_buf){.ops = &usp_folio_buf_ops, .store = usp_folio_new(len), .len = len};
		if (!own.store)
			return -ENOMEM;
		memcpy(usp_buf_bytes(&own), usp_buf_bytes(buf), len);
		is_copy = true;
	}
	*(is_copy ? &kept->copied : &kept->taken) += len;
	kept->bufs[kept->nr_bufs++] = own;
	return (ssize_t)len;
}

static ssize_t keep_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	struct kept *kept = out->priv;
	ssize_t ret;

	(void)pos;
	kept->flags = flags;
	kept->taken = kept->copied = 0;
	ret = usp_splice_from_pipe(pipe, len, flags, keep_actor, kept);
	if (kept->taken)
		usp_file_account(out, USP_WRITE, USP_BY_REFERENCE, kept->taken, "the pages were kept");
	if (kept->copied)
		usp_file_account(out, USP_WRITE, USP_COPIED, kept->copied, "copied, to be kept");
	return ret;
}

static const struct usp_file_ops keep_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "keep",
	.splice_write = keep_splice_write,
};

/* Keep all of a source, and then print it. */
int main(int argc, char **argv)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	static struct kept kept;
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_file *source = NULL, *sink = NULL;
	int ret = argc == 2 ? usp_open(argv[1], &params, &source, NULL) : -EINVAL;

	if (ret == 0)
		ret = usp_file_new(&keep_ops, USP_WRITE, "keep", &kept, &sink);
	if (ret == 0)
		ret = usp_copy_files(source, sink, NULL, NULL);
	usp_file_put(source); /* what was kept outlives it */
	for (unsigned i = 0; i < kept.nr_bufs; i++) {
		fwrite(usp_buf_bytes(&kept.bufs[i]), 1, kept.bufs[i].len, stdout);
		usp_buf_release(NULL, &kept.bufs[i]);
	}
	if (ret == 0) {
		usp_file_hop(sink, USP_WRITE, &hop);
		fprintf(stderr, "%zu bytes by reference, %zu copied\n", (size_t)hop.bytes[USP_BY_REFERENCE],
			(size_t)hop.bytes[USP_COPIED]);
	} else {
		fprintf(stderr, "keep SPEC: %s\n", strerror(-ret));
	}
	usp_file_put(sink);
	return ret ? 1 : 0;
}
