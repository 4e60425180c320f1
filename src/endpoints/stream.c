/* SPDX-License-Identifier: MIT */
/* stream - open connections of stream sockets: with patience to a server, or from the first client that comes. */
#include "endpoints/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/cidr.h"
#include "base/listen.h"
#include "base/sys.h"
#include "base/wait.h"
#include "endpoints/spec.h"

#define STREAM_PAUSE_MIN_NS 10000000
#define STREAM_PAUSE_MAX_NS 250000000
#define STREAM_TEXT_MAX 128	  /* an address */
#define STREAM_NAME_NS 1000000000 /* the longest wait for the lock, to remove a name */

/* --- Options ------------------------------------------------------------------------------------ */

static int stream_parse_options(struct usp_stream *stream, const char **ret_why)
{
	const char *nodelay = usp_spec_option(stream->spec, "nodelay");

	stream->is_nodelay = nodelay;
	if (usp_spec_moment(stream->spec, "timeout", &stream->give_up) < 0 ||
	    usp_spec_moment(stream->spec, "retry", &stream->retry_until) < 0) {
		*ret_why = "retry and timeout take a time, such as 2.5 or 500ms";
		return -EINVAL;
	}
	if (nodelay && *nodelay) {
		*ret_why = "nodelay takes no value";
		return -EINVAL;
	}
	return 0;
}

/* Begin to open: 0 when the addresses are known, -EINPROGRESS if params want no peer, or -errno with a sentence. */
static int stream_begin(struct usp_stream *stream, const struct usp_stream_family *family, bool is_passive,
			const char **ret_why)
{
	int ret = stream_parse_options(stream, ret_why);

	if (ret == 0)
		ret = family->find(stream, is_passive, ret_why);
	return ret == 0 && stream->params->no_peer ? -EINPROGRESS : ret;
}

static void stream_fini(struct usp_stream *stream)
{
	if (stream->resolved)
		freeaddrinfo(stream->resolved);
	usp_free(stream->from);
}

void usp_stream_set_address(struct usp_stream *stream, socklen_t len)
{
	stream->info = (struct addrinfo){
		.ai_family = stream->address.ss_family,
		.ai_addr = (struct sockaddr *)&stream->address,
		.ai_addrlen = len,
	};
	stream->list = &stream->info;
}

/* --- Connecting --------------------------------------------------------------------------------- */

/* A connection to a free local port may by chance have that port at its own end, and so connect to itself. */
bool usp_stream_is_self(int fd, const struct addrinfo *to)
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);

	return to->ai_family != AF_UNIX && usp_sys_getsockname(fd, (struct sockaddr *)&own, &len) == 0 &&
	       len == to->ai_addrlen && memcmp(&own, to->ai_addr, len) == 0;
}

static int stream_finish_connect(int fd, uint64_t give_up)
{
	int ret = usp_wait_until(fd, POLLOUT, give_up);

	if (ret == 0)
		ret = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_ERROR);
	return ret > 0 ? -ret : ret;
}

/* The descriptor, or -errno. */
static int stream_connect(const struct usp_stream_family *family, const struct addrinfo *to, uint64_t give_up)
{
	int fd = usp_sys_socket(to->ai_family, SOCK_STREAM, 0), ret;

	if (fd < 0)
		return fd;
	if (family->prepare && give_up != USP_NEVER)
		family->prepare(fd, give_up);
	ret = usp_sys_connect(fd, to->ai_addr, to->ai_addrlen);
	if (ret == -EINPROGRESS)
		ret = stream_finish_connect(fd, give_up);
	if (ret < 0 && ret == family->refusal)
		ret = -ECONNREFUSED;
	if (ret == 0 && usp_stream_is_self(fd, to))
		ret = -ECONNREFUSED;
	if (ret < 0) {
		usp_sys_close(fd);
		return ret;
	}
	return fd;
}

/* Try the addresses in the order of the list: the descriptor, or the error of the last one. */
static int stream_connect_any(const struct usp_stream_family *family, const struct usp_stream *stream)
{
	int ret = -EHOSTUNREACH;

	for (const struct addrinfo *to = stream->list; to; to = to->ai_next) {
		ret = stream_connect(family, to, stream->give_up);
		if (ret >= 0 || ret == -EINTR)
			break;
	}
	return ret;
}

/* Return the moment until which to try again after an error. A UNIX socket with a full queue gives EAGAIN. */
static uint64_t stream_try_until(const struct usp_stream *stream, int error)
{
	uint64_t until = 0;

	if (error == -EAGAIN)
		until = USP_NEVER;
	else if (error == -ECONNREFUSED || error == -ENOENT)
		until = stream->retry_until;
	return until < stream->give_up ? until : stream->give_up;
}

static int stream_connect_retrying(const struct usp_stream_family *family, const struct usp_stream *stream)
{
	int64_t pause = STREAM_PAUSE_MIN_NS;

	for (;;) {
		int fd = stream_connect_any(family, stream), ret;

		if (fd >= 0 || usp_sys_now_ns() >= stream_try_until(stream, fd))
			return fd == -EAGAIN ? -ETIMEDOUT : fd;
		ret = usp_sys_poll(NULL, 0, pause);
		if (ret < 0)
			return ret;
		pause = pause * 2 < STREAM_PAUSE_MAX_NS ? pause * 2 : STREAM_PAUSE_MAX_NS;
	}
}

/* --- Listening ---------------------------------------------------------------------------------- */

/* Accept a client: the descriptor, or -errno. One that is not from these blocks is closed: -EAGAIN. */
static int stream_accept(int listener, const struct usp_cidr_list *from)
{
	struct sockaddr_storage peer;
	int fd = usp_sys_accept(listener, &peer);

	if (fd < 0 || !from || usp_cidr_list_has(from, (const struct sockaddr *)&peer))
		return fd;
	usp_sys_close(fd);
	return -EAGAIN;
}

/* Tell the caller where a listener is. */
static void stream_tell(const struct usp_open_params *params, int listener)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char text[STREAM_TEXT_MAX];

	if (!params->listening || usp_sys_getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		return;
	usp_addr_print((const struct sockaddr *)&address, len, text, sizeof(text));
	params->listening(params->listening_arg, text);
}

/*
 * Accept the first client only; then close the listeners and remove the name, if there is one. The
 * descriptor, or -errno.
 */
static int stream_accept_one(struct usp_stream *stream, const int *listeners, unsigned nr)
{
	struct pollfd doors[USP_STREAM_DOORS_MAX];
	unsigned i;
	int ret;

	for (i = 0; i < nr; i++)
		doors[i] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
	do {
		ret = usp_wait_until_any(doors, nr, stream->give_up);
		for (i = 0; ret == 0 && i < nr; i++) {
			if (doors[i].revents)
				ret = stream_accept(doors[i].fd, stream->from);
		}
	} while (ret == 0 || ret == -EAGAIN || ret == -ECONNABORTED); /* the client has gone already */
	usp_name_remove(&stream->name, usp_sys_now_ns() + STREAM_NAME_NS);
	for (i = 0; i < nr; i++)
		usp_sys_close(listeners[i]);
	return ret;
}

int usp_stream_listen_one(struct usp_stream *stream, int ret_fds[USP_STREAM_DOORS_MAX])
{
	ret_fds[0] = usp_socket_listen(stream->list->ai_addr, stream->list->ai_addrlen, 1);
	return ret_fds[0] < 0 ? ret_fds[0] : 1;
}

/* --- Opening ------------------------------------------------------------------------------------ */

const char *usp_stream_why(int error)
{
	switch (error) {
	case -ECONNREFUSED:
		return "nobody listens there";
	case -ENOENT:
		return "there is no such socket";
	case -EADDRINUSE:
		return "somebody else listens there";
	case -EEXIST:
		return "a file that is no socket is there";
	case -EBUSY:
		return "another program keeps its name locked";
	case -EADDRNOTAVAIL:
		return "this machine does not have that address";
	case -EHOSTUNREACH:
	case -ENETUNREACH:
		return "there is no way to that host";
	case -ETIMEDOUT:
		return "nobody came or answered in time";
	case -ENAMETOOLONG:
		return "the path is too long for a socket";
	default:
		return NULL;
	}
}

void usp_stream_set_traits(struct usp_file *file, const struct usp_stream_family *family)
{
	struct usp_sock *sock = file->priv;

	file->traits |= USP_FILE_SPLICEABLE | USP_FILE_SIGPIPE;
	sock->is_tcp = family->is_tcp;
	if (family->always_copies)
		usp_zerocopy_forbid(&sock->zerocopy);
}

/* Finish opening: fd is a connection, or an error. */
static int stream_finish(const struct usp_stream_family *family, const struct usp_stream *stream, int fd,
			 struct usp_file **ret_file, const char **ret_why)
{
	int ret;

	if (fd < 0) {
		*ret_why = family->why(fd);
		return fd;
	}
	if (stream->is_nodelay)
		usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	ret = usp_sock_file_new(family->ops, fd, stream->params->mode, 0, usp_spec_text(stream->spec), ret_file);
	if (ret < 0)
		usp_sys_close(fd);
	else
		usp_stream_set_traits(*ret_file, family);
	return ret;
}

int usp_stream_connect(const struct usp_stream_family *family, const struct usp_spec *spec,
		       const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why)
{
	struct usp_stream stream = {.spec = spec, .params = params, .give_up = USP_NEVER};
	int ret = stream_begin(&stream, family, false, ret_why);

	if (ret == 0)
		ret = stream_finish(family, &stream, stream_connect_retrying(family, &stream), ret_file, ret_why);
	stream_fini(&stream);
	return ret;
}

int usp_stream_await(const struct usp_stream_family *family, const struct usp_spec *spec,
		     const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why)
{
	struct usp_stream stream = {.spec = spec, .params = params, .give_up = USP_NEVER};
	int listeners[USP_STREAM_DOORS_MAX], fd, ret = stream_begin(&stream, family, true, ret_why);

	if (ret == 0) {
		fd = family->listen(&stream, listeners);
		for (int i = 0; i < fd; i++)
			stream_tell(params, listeners[i]);
		if (fd >= 0)
			fd = stream_accept_one(&stream, listeners, (unsigned)fd);
		ret = stream_finish(family, &stream, fd, ret_file, ret_why);
	}
	stream_fini(&stream);
	return ret;
}
