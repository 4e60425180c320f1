/* upper - a file over a file that changes bytes on their way: letters become capital letters. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <usplice/endpoint.h>

/* One call: where the bytes go, and how many were changed in place, or in a copy. */
struct upper_call {
	struct usp_pipe *to;
	size_t in_place, copied;
};

/* Push the next bytes on: the memory that they are in, if nobody else refers to it, else a copy. */
static ssize_t upper_actor(struct usp_pipe *pulled, struct usp_buf *buf, size_t len, void *arg)
{
	struct upper_call *call = arg;
	struct usp_buf own = *buf;
	unsigned char *from = usp_buf_bytes(buf), *to;
	size_t room;
	bool is_mine;

	if (!usp_pipe_room(call->to, &room))
		return 0; /* what was pulled stays for the next call */
	room = room < usp_pipe_slot_bytes(call->to) ? room : usp_pipe_slot_bytes(call->to);
	own.len = len = len < room ? len : room;
	own.flags &= USP_BUF_MAPPED;
	is_mine = usp_buf_try_steal(pulled, buf) && usp_buf_get(pulled, buf, &own);
	if (!is_mine)
		own = (struct usp_buf){.ops = &usp_folio_buf_ops, .store = usp_folio_new(len), .len = len};
	if (!own.store)
		return -ENOMEM;
	to = usp_buf_bytes(&own);
	for (size_t i = 0; i < len; i++)
		to[i] = (unsigned char)toupper(from[i]);
	usp_pipe_push(call->to, &own, 1);
	*(is_mine ? &call->in_place : &call->copied) += len;
	return (ssize_t)len;
}

/* Pull bufs of the file below into a pipe of our own. */
static ssize_t upper_pull(struct usp_file *in, size_t len)
{
	struct usp_file *below = in->below;
	ssize_t ret = usp_pipe_begin_write(in->priv, USP_SPLICE_NONBLOCK);

	if (ret < 0)
		return ret;
	ret = usp_file_splice_read(below, &below->pos, in->priv, len, USP_SPLICE_NONBLOCK);
	usp_pipe_end_write(in->priv);
	return ret;
}

static ssize_t upper_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct upper_call call = {.to = pipe};
	size_t room;
	ssize_t ret = 1;

	(void)pos;
	usp_pipe_room(pipe, &room);
	len = len < room ? len : room;
	if (usp_pipe_len(in->priv) == 0)
		ret = upper_pull(in, len);
	if (ret <= 0)
		return ret;
	ret = usp_splice_from_pipe(in->priv, len, flags | USP_SPLICE_NONBLOCK, upper_actor, &call);
	if (call.in_place)
		usp_file_account(in, USP_READ, USP_REWRITTEN, call.in_place, "changed in place");
	if (call.copied)
		usp_file_account(in, USP_READ, USP_COPIED, call.copied,
				 "others refer to the memory: changed in a copy");
	return ret ? ret : -EIO; /* 0: the bytes are gone, and that is not the end */
}

/* Wait for the bytes of a buf that was pulled, or for the file below. */
static int upper_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct usp_buf buf;
	int ret;

	if (usp_pipe_begin_read(file->priv, USP_SPLICE_NONBLOCK) <= 0)
		return usp_stack_poll_fd(file, side, ret_events);
	usp_pipe_peek(file->priv, &buf, 1);
	usp_pipe_end_read(file->priv);
	ret = usp_buf_poll_fd(file->priv, &buf, ret_events);
	return ret == -EIO ? -EPERM : ret; /* its bytes are there: always ready */
}

static int upper_release(struct usp_file *file)
{
	usp_pipe_free(file->priv);
	return usp_stack_release(file);
}

static const struct usp_file_ops upper_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "upper",
	.splice_read = upper_splice_read,
	.poll_fd = upper_poll_fd,
	.get_size = usp_stack_size,
	.release = upper_release,
};

/* Lay upper over a file, which belongs to it then. */
static int upper_open(struct usp_file *below, struct usp_file **ret_file)
{
	struct usp_pipe *pulled;
	int ret = usp_pipe_new(NULL, &pulled);

	if (ret < 0)
		return ret;
	ret = usp_stack_new(&upper_ops, below, USP_READ, "upper", pulled, ret_file);
	if (ret < 0) {
		usp_pipe_free(pulled);
		return ret;
	}
	(*ret_file)->traits &= ~USP_FILE_SEEKABLE;				/* what was pulled cannot be put back */
	return usp_file_set_flags(below, usp_file_flags(below) | USP_NONBLOCK); /* only the caller of a hook waits */
}

int main(int argc, char **argv)
{
	struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *below = NULL, *file = NULL, *sink = NULL;
	struct usp_hop hop = {.size = sizeof(hop)};
	int ret = argc == 2 ? usp_open(argv[1], &params, &below, NULL) : -EINVAL;

	params.mode = USP_WRITE;
	if (ret == 0)
		ret = usp_open("-", &params, &sink, NULL);
	if (ret == 0)
		ret = upper_open(below, &file);
	if (ret == 0) {
		below = NULL; /* upper closes it */
		ret = usp_copy_files(file, sink, NULL, NULL);
		usp_file_hop(file, USP_READ, &hop);
		fprintf(stderr, "%zu bytes changed in place, %zu in a copy\n", (size_t)hop.bytes[USP_REWRITTEN],
			(size_t)hop.bytes[USP_COPIED]);
	}
	usp_file_put(file);
	usp_file_put(below);
	usp_file_put(sink);
	if (ret < 0)
		fprintf(stderr, "upper SPEC: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
