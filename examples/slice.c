/* slice - a file over a file: show some bytes of an endpoint as if they were all that there is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/endpoint.h>

/* Bytes [first, first + len) of the file below. */
struct slice {
	int64_t first, len;
};

static ssize_t slice_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	const struct slice *slice = in->priv;
	struct iovec part = to->iov[0]; /* a short read is fine: one segment is enough */
	int64_t left = slice->len - *pos, at = slice->first + *pos;
	struct usp_iter iter = {.iov = &part, .nr_segs = 1};
	ssize_t ret;

	if (left <= 0)
		return 0;
	if ((int64_t)part.iov_len > left)
		part.iov_len = (size_t)left;
	iter.count = part.iov_len;
	ret = usp_stack_read_iter(in, &iter, &at, flags);
	if (ret > 0)
		*pos += ret;
	return ret;
}

static int64_t slice_get_size(const struct usp_file *file)
{
	const struct slice *slice = file->priv;

	return slice->len;
}

/* There is nothing behind the slice: refuse to go there. */
static int64_t slice_seek(struct usp_file *file, int64_t off, int whence)
{
	const struct slice *slice = file->priv;
	int64_t base = whence == SEEK_CUR ? file->pos : whence == SEEK_END ? slice->len : 0;

	if (whence != SEEK_SET && whence != SEEK_CUR && whence != SEEK_END)
		return -EINVAL;
	return off < -base || off > slice->len - base ? -EINVAL : base + off;
}

static int slice_release(struct usp_file *file)
{
	free(file->priv);
	return usp_stack_release(file);
}

static const struct usp_file_ops slice_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "slice",
	.read_iter = slice_read_iter,
	.splice_read = usp_copy_splice_read,
	.poll = usp_stack_poll,
	.poll_fd = usp_stack_poll_fd,
	.get_size = slice_get_size,
	.seek = slice_seek,
	.sync = usp_stack_sync,
	.release = slice_release,
};

/* Lay a slice over a file, which belongs to the slice then. */
static int slice_open(struct usp_file *below, int64_t first, int64_t len, struct usp_file **ret_file)
{
	struct slice *slice = below->traits & USP_FILE_SEEKABLE ? malloc(sizeof(*slice)) : NULL;
	int ret = below->traits & USP_FILE_SEEKABLE ? -ENOMEM : -ESPIPE;

	if (slice) {
		*slice = (struct slice){.first = first, .len = len};
		ret = usp_stack_new(&slice_ops, below, USP_READ, "slice", slice, ret_file);
	}
	if (ret == 0)
		(*ret_file)->pos = 0; /* positions of its own, wherever the file below was */
	else
		free(slice);
	return ret;
}

int main(int argc, char **argv)
{
	struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *below = NULL, *file = NULL, *sink = NULL;
	int ret = argc == 4 ? usp_open(argv[1], &params, &below, NULL) : -EINVAL;

	params.mode = USP_WRITE;
	if (ret == 0)
		ret = usp_open("-", &params, &sink, NULL);
	if (ret == 0)
		ret = slice_open(below, strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10), &file);
	if (ret == 0) {
		below = NULL; /* the slice closes it */
		fprintf(stderr, "%" PRId64 " bytes\n", usp_file_size(file));
		ret = usp_copy_files(file, sink, NULL, NULL);
	}
	usp_file_put(file);
	usp_file_put(below);
	usp_file_put(sink);
	if (ret < 0)
		fprintf(stderr, "slice: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
