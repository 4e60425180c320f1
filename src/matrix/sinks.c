/* SPDX-License-Identifier: MIT */
/* sinks - how each kind of object takes bytes out of a pipe, and what can be seen of them there. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/alias.h"
#include "matrix/inside.h"

#define SINK_UNTOUCHED 'x'

/* Go on behind the last bytes, and begin again where there is no room for as many. */
static void sink_next(struct matrix_sink *sink)
{
	if (sink->pos + sink->trial->len > sink->capacity)
		sink->pos = 0;
}

/* --- Files ------------------------------------------------------------------------------------------------- */

static int file_open(struct matrix_sink *sink)
{
	int ret = usp_matrix_bytes_file(usp_matrix_object_file(sink->object), sink->capacity, SINK_UNTOUCHED,
					sink->trial->state, &sink->bytes);

	sink->fd = sink->bytes.fd;
	if (ret < 0 || !sink->object->kind->is_direct)
		return ret;
	usp_sys_drop_cache(sink->bytes.fd, 0, sink->capacity);
	sink->fd = usp_sys_reopen(sink->bytes.fd, O_WRONLY | O_DIRECT);
	return sink->fd < 0 ? sink->fd : 0;
}

static ssize_t file_hop(struct matrix_sink *sink, int pipe_rd, size_t len, unsigned flags)
{
	ssize_t ret = usp_matrix_splice(pipe_rd, NULL, sink->fd, &sink->pos, len, flags);

	sink->pos += ret > 0 ? (size_t)ret : 0;
	return ret;
}

static ssize_t file_look(struct matrix_sink *sink, size_t at, char *ret_bytes, size_t len)
{
	const struct iovec iov = {.iov_base = ret_bytes, .iov_len = len};

	return usp_sys_readv(sink->bytes.fd, &iov, 1, &(int64_t){(int64_t)at});
}

const struct matrix_sink_ops usp_matrix_file_sink = {
	.call = "splice",
	.open = file_open,
	.hop = file_hop,
	.look = file_look,
	.drain = sink_next,
};

/* --- Pairs ------------------------------------------------------------------------------------------------- */

static int pair_open(struct matrix_sink *sink)
{
	int pair[2] = {-1, -1}, ret = sink->object->kind->make_pair(sink->object->kind, pair);

	sink->look_fd = pair[0];
	sink->fd = pair[1];
	return ret;
}

static ssize_t pair_hop(struct matrix_sink *sink, int pipe_rd, size_t len, unsigned flags)
{
	return usp_matrix_splice(pipe_rd, NULL, sink->fd, NULL, len, flags);
}

/* Both protocols send what they hold back when their option is set. */
static void pair_flush(struct matrix_sink *sink)
{
	if (sink->object->kind->type == SOCK_DGRAM)
		usp_sys_setsockopt_int(sink->fd, IPPROTO_UDP, UDP_CORK, 0);
	else
		usp_sys_setsockopt_int(sink->fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

static ssize_t pair_look(struct matrix_sink *sink, size_t at, char *ret_bytes, size_t len)
{
	(void)at;
	return usp_alias_await(sink->look_fd) ? usp_sys_read(sink->look_fd, ret_bytes, len) : 0;
}

static void pair_drain(struct matrix_sink *sink)
{
	char bytes[MATRIX_PIPE_DEFAULT];

	while (usp_sys_read(sink->look_fd, bytes, sizeof(bytes)) > 0)
		;
}

const struct matrix_sink_ops usp_matrix_pair_sink = {
	.call = "splice",
	.open = pair_open,
	.hop = pair_hop,
	.flush = pair_flush,
	.look = pair_look,
	.drain = pair_drain,
};

/* --- Devices that drop ------------------------------------------------------------------------------------- */

static int drop_open(struct matrix_sink *sink)
{
	sink->fd = usp_sys_open(sink->object->kind->path, O_WRONLY, 0);
	return sink->fd < 0 ? sink->fd : 0;
}

const struct matrix_sink_ops usp_matrix_drop_sink = {
	.call = "splice",
	.open = drop_open,
	.hop = pair_hop,
};

/* --- Memory ------------------------------------------------------------------------------------------------ */

static int memory_open(struct matrix_sink *sink)
{
	int ret = usp_matrix_bytes_memory(sink->capacity, &sink->bytes);

	return ret < 0 ? ret : usp_matrix_bytes_change(&sink->bytes, SINK_UNTOUCHED);
}

static ssize_t memory_read(struct matrix_sink *sink, int pipe_rd, size_t len, unsigned flags)
{
	ssize_t ret = usp_sys_read(pipe_rd, sink->bytes.window + sink->pos, len);

	(void)flags;
	sink->pos += ret > 0 ? (size_t)ret : 0;
	return ret;
}

static ssize_t memory_vmsplice(struct matrix_sink *sink, int pipe_rd, size_t len, unsigned flags)
{
	const struct iovec iov = {.iov_base = sink->bytes.window + sink->pos, .iov_len = len};
	ssize_t ret = usp_sys_vmsplice(pipe_rd, &iov, 1, flags | USP_SPLICE_NONBLOCK);

	sink->pos += ret > 0 ? (size_t)ret : 0;
	return ret;
}

static ssize_t memory_look(struct matrix_sink *sink, size_t at, char *ret_bytes, size_t len)
{
	memcpy(ret_bytes, sink->bytes.window + at, len);
	return (ssize_t)len;
}

const struct matrix_sink_ops usp_matrix_read_sink = {
	.call = "read",
	.open = memory_open,
	.hop = memory_read,
	.look = memory_look,
	.drain = sink_next,
};

const struct matrix_sink_ops usp_matrix_vmsplice_sink = {
	.call = "vmsplice",
	.open = memory_open,
	.hop = memory_vmsplice,
	.look = memory_look,
	.drain = sink_next,
};

/* --- Any ----------------------------------------------------------------------------------------------------- */

int usp_matrix_sink_open(struct matrix_sink *sink, const struct matrix_object *object, const struct matrix_trial *trial,
			 size_t capacity)
{
	*sink = (struct matrix_sink){
		.object = object,
		.trial = trial,
		.capacity = capacity,
		.bytes = {.fd = -1},
		.fd = -1,
		.look_fd = -1,
	};
	return object->kind->sink->open(sink);
}

void usp_matrix_sink_close(struct matrix_sink *sink)
{
	if (sink->fd != sink->bytes.fd)
		usp_sys_close(sink->fd);
	usp_sys_close(sink->look_fd);
	usp_matrix_bytes_close(&sink->bytes);
}
