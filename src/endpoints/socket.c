/* SPDX-License-Identifier: MIT */
/* socket - stream connections, made or awaited, and sockets that were inherited. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h> /* needs the lines above */

#include "base/addr.h"
#include "base/alloc.h"
#include "base/atomic.h"
#include "base/cidr.h"
#include "base/compiler.h"
#include "base/listen.h"
#include "base/lookup.h"
#include "base/sys.h"
#include "base/wait.h"
#include "endpoints/endpoints.h"
#include "endpoints/socket.h"
#include "endpoints/spec.h"
#include "lanes/probe.h"
#include "splice/sock.h"

#define SOCKET_PAUSE_MIN_NS 10000000
#define SOCKET_PAUSE_MAX_NS 250000000
#define SOCKET_DOORS_MAX 8	  /* addresses to wait at for one client */
#define SOCKET_TEXT_MAX 128	  /* an address */
#define SOCKET_NAME_NS 1000000000 /* the longest wait for the lock, to remove a name */

static const struct usp_file_ops tcp_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "tcp",
	.read_iter = usp_sock_read_iter,
	.write_iter = usp_sock_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_sock_splice_write,
	.poll = usp_sock_poll,
	.sync = usp_sock_sync,
	.shutdown = usp_sock_shutdown,
	.release = usp_sock_release,
	.abort = usp_sock_abort,
	.probe = usp_probe_tcp,
};

static const struct usp_file_ops unix_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "unix",
	.read_iter = usp_sock_read_iter,
	.write_iter = usp_sock_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_sock_splice_write,
	.poll = usp_sock_poll,
	.sync = usp_sock_sync,
	.shutdown = usp_sock_shutdown,
	.release = usp_sock_release,
	.abort = usp_sock_abort,
	.probe = usp_probe_unix,
};

/* No experiment tells what the transports to the hypervisors do with pages. */
static const struct usp_file_ops vsock_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "vsock",
	.read_iter = usp_sock_read_iter,
	.write_iter = usp_sock_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_sock_splice_write,
	.poll = usp_sock_poll,
	.sync = usp_sock_sync,
	.shutdown = usp_sock_shutdown,
	.release = usp_sock_release,
	.abort = usp_sock_abort,
};

/* --- Options ------------------------------------------------------------------------------------ */

/* The parsed options; times are moments of usp_sys_now_ns. */
struct socket_options {
	uint64_t give_up;     /* timeout=, or USP_NEVER */
	uint64_t retry_until; /* retry=, or 0 */
	bool is_nodelay;
	struct usp_cidr_list *from;    /* whose clients are taken; NULL: all */
	struct usp_name_rights rights; /* of the file of a UNIX socket */
	bool has_rights;
};

/* Parse the clients that a listener takes. The caller frees the list. */
static int socket_parse_from(const struct usp_spec *spec, struct usp_cidr_list **ret_from, const char **ret_why)
{
	const char *from = usp_spec_option(spec, "from");

	return from ? usp_cidr_list_parse(from, ret_from, ret_why) : 0;
}

static int socket_parse_mode(const char *text, unsigned *ret_mode)
{
	unsigned mode = 0;

	if (!*text || strlen(text) > strlen("0777"))
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '7')
			return -EINVAL;
		mode = mode * 8 + (unsigned)(*text - '0');
	}
	*ret_mode = mode;
	return mode && mode <= 0777 ? 0 : -EINVAL;
}

/* Parse USER, USER:GROUP or :GROUP. */
static int socket_parse_owner(const char *text, struct usp_name_rights *ret_rights)
{
	size_t len = strcspn(text, ":");
	char *user = usp_alloc_string(text);
	int ret = user ? 0 : -ENOMEM;

	if (ret == 0) {
		user[len] = '\0';
		ret_rights->has_user = len;
		ret_rights->has_group = text[len];
		if (len)
			ret = usp_lookup_user(user, &ret_rights->user);
		if (ret == 0 && text[len])
			ret = usp_lookup_group(text + len + 1, &ret_rights->group);
	}
	usp_free(user);
	return ret;
}

/* Parse what the file of a UNIX socket gets. */
static int socket_parse_rights(const struct usp_spec *spec, struct socket_options *options, const char **ret_why)
{
	const char *mode = usp_spec_option(spec, "mode"), *owner = usp_spec_option(spec, "owner");

	options->has_rights = mode || owner;
	if (mode && socket_parse_mode(mode, &options->rights.mode) < 0) {
		*ret_why = "mode takes permissions in octal digits, such as 0660";
		return -EINVAL;
	}
	if (owner && socket_parse_owner(owner, &options->rights) < 0) {
		*ret_why = "owner takes a user and a group that exist: USER, USER:GROUP or :GROUP";
		return -EINVAL;
	}
	return 0;
}

static int socket_parse_options(const struct usp_spec *spec, struct socket_options *ret_options, const char **ret_why)
{
	const char *nodelay = usp_spec_option(spec, "nodelay");

	*ret_options = (struct socket_options){.give_up = USP_NEVER, .is_nodelay = nodelay};
	if (usp_spec_moment(spec, "timeout", &ret_options->give_up) < 0 ||
	    usp_spec_moment(spec, "retry", &ret_options->retry_until) < 0) {
		*ret_why = "retry and timeout take a time, such as 2.5 or 500ms";
		return -EINVAL;
	}
	if (nodelay && *nodelay) {
		*ret_why = "nodelay takes no value";
		return -EINVAL;
	}
	return 0;
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

static int socket_finish_connect(int fd, uint64_t give_up)
{
	int ret = usp_wait_until(fd, POLLOUT, give_up);

	if (ret == 0)
		ret = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_ERROR);
	return ret > 0 ? -ret : ret;
}

/* Without it the kernel gives up after two seconds. */
static void socket_set_vsock_patience(int fd, uint64_t give_up)
{
	uint64_t now = usp_sys_now_ns(), left = give_up > now ? (give_up - now) / 1000 + 1 : 1;
	const struct timeval patience = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};

	usp_sys_setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience, sizeof(patience));
}

/* The descriptor, or -errno. */
static int socket_connect(const struct addrinfo *to, uint64_t give_up)
{
	int fd = usp_sys_socket(to->ai_family, SOCK_STREAM, 0), ret;

	if (fd < 0)
		return fd;
	if (to->ai_family == AF_VSOCK && give_up != USP_NEVER)
		socket_set_vsock_patience(fd, give_up);
	ret = usp_sys_connect(fd, to->ai_addr, to->ai_addrlen);
	if (ret == -EINPROGRESS)
		ret = socket_finish_connect(fd, give_up);
	if (ret == -ECONNRESET && to->ai_family == AF_VSOCK) /* what others call refused */
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
static int socket_connect_any(const struct addrinfo *list, uint64_t give_up)
{
	int ret = -EHOSTUNREACH;

	for (; list; list = list->ai_next) {
		ret = socket_connect(list, give_up);
		if (ret >= 0 || ret == -EINTR)
			break;
	}
	return ret;
}

/* Return the moment until which to try again after an error. A UNIX socket with a full queue gives EAGAIN. */
static uint64_t socket_try_until(const struct socket_options *options, int error)
{
	uint64_t until = 0;

	if (error == -EAGAIN)
		until = USP_NEVER;
	else if (error == -ECONNREFUSED || error == -ENOENT)
		until = options->retry_until;
	return until < options->give_up ? until : options->give_up;
}

static int socket_connect_retrying(const struct addrinfo *list, const struct socket_options *options)
{
	int64_t pause = SOCKET_PAUSE_MIN_NS;

	for (;;) {
		int fd = socket_connect_any(list, options->give_up), ret;

		if (fd >= 0 || usp_sys_now_ns() >= socket_try_until(options, fd))
			return fd == -EAGAIN ? -ETIMEDOUT : fd;
		ret = usp_sys_poll(NULL, 0, pause);
		if (ret < 0)
			return ret;
		pause = pause * 2 < SOCKET_PAUSE_MAX_NS ? pause * 2 : SOCKET_PAUSE_MAX_NS;
	}
}

/* --- Listening ---------------------------------------------------------------------------------- */

/* Accept a client: the descriptor, or -errno. One that is not from these blocks is closed: -EAGAIN. */
static int socket_accept(int listener, const struct usp_cidr_list *from)
{
	struct sockaddr_storage peer;
	int fd = usp_sys_accept(listener, &peer);

	if (fd < 0 || !from || usp_cidr_list_has(from, (const struct sockaddr *)&peer))
		return fd;
	usp_sys_close(fd);
	return -EAGAIN;
}

/* Tell the caller where a listener is. */
static void socket_tell(const struct usp_open_params *params, int listener)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);
	char text[SOCKET_TEXT_MAX];

	if (!params->listening || usp_sys_getsockname(listener, (struct sockaddr *)&address, &len) < 0)
		return;
	usp_addr_print((const struct sockaddr *)&address, len, text, sizeof(text));
	params->listening(params->listening_arg, text);
}

/*
 * Accept the first client only; then close the listeners and remove the name, if there is one. The
 * descriptor, or -errno.
 */
static int socket_accept_one(const int *listeners, unsigned nr, struct usp_name *name,
			     const struct socket_options *options)
{
	struct pollfd doors[SOCKET_DOORS_MAX];
	unsigned i;
	int ret;

	for (i = 0; i < nr; i++)
		doors[i] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
	do {
		ret = usp_wait_until_any(doors, nr, options->give_up);
		for (i = 0; ret == 0 && i < nr; i++) {
			if (doors[i].revents)
				ret = socket_accept(doors[i].fd, options->from);
		}
	} while (ret == 0 || ret == -EAGAIN || ret == -ECONNABORTED); /* the client has gone already */
	usp_name_remove(name, usp_sys_now_ns() + SOCKET_NAME_NS);
	for (i = 0; i < nr; i++)
		usp_sys_close(listeners[i]);
	return ret;
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

static void socket_set_traits(struct usp_file *file)
{
	struct usp_sock *sock = file->priv;

	file->traits |= USP_FILE_SPLICEABLE | USP_FILE_SIGPIPE;
	sock->is_tcp = file->ops == &tcp_ops;
}

int usp_stream_file_new(int fd, bool is_tcp, const char *name, struct usp_file **ret_file)
{
	int ret = usp_sock_file_make(is_tcp ? &tcp_ops : &unix_ops, fd, false, USP_READ | USP_WRITE, name, ret_file);

	if (ret == 0) {
		socket_set_traits(*ret_file);
		atomic_store(usp_u32(&(*ret_file)->flags), USP_NONBLOCK);
	}
	return ret;
}

/* On failure the caller keeps fd. */
static int socket_file_new(const struct usp_file_ops *ops, int fd, unsigned mode, const char *name,
			   struct usp_file **ret_file)
{
	int ret = usp_sock_file_new(ops, fd, mode, 0, name, ret_file);

	if (ret == 0)
		socket_set_traits(*ret_file);
	return ret;
}

/* Finish opening: fd is a connection, or an error. */
static int socket_open_result(const struct usp_file_ops *ops, int fd, const struct socket_options *options,
			      const struct usp_spec *spec, unsigned mode, struct usp_file **ret_file,
			      const char **ret_why)
{
	int ret;

	if (fd < 0) {
		*ret_why = usp_stream_why(fd);
		return fd;
	}
	if (options->is_nodelay)
		usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	ret = socket_file_new(ops, fd, mode, usp_spec_text(spec), ret_file);
	if (ret < 0)
		usp_sys_close(fd);
	return ret;
}

static int tcp_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		    const char **ret_why)
{
	struct socket_options options;
	struct addrinfo *list;
	int fd, ret = socket_parse_options(spec, &options, ret_why);

	if (ret == 0)
		ret = usp_addr_resolve(spec->address, SOCK_STREAM, false, options.give_up,
				       params->no_peer ? NULL : &list, ret_why);
	if (ret < 0 || params->no_peer)
		return ret < 0 ? ret : -EINPROGRESS;
	fd = socket_connect_retrying(list, &options);
	freeaddrinfo(list);
	return socket_open_result(&tcp_ops, fd, &options, spec, params->mode, ret_file, ret_why);
}

static int tcp_listen_open(const struct usp_spec *spec, const struct usp_open_params *params,
			   struct usp_file **ret_file, const char **ret_why)
{
	struct socket_options options;
	int listeners[SOCKET_DOORS_MAX];
	struct addrinfo *list;
	int fd, ret = socket_parse_options(spec, &options, ret_why);

	if (ret == 0)
		ret = socket_parse_from(spec, &options.from, ret_why);
	if (ret == 0)
		ret = usp_addr_resolve(spec->address, SOCK_STREAM, true, options.give_up,
				       params->no_peer ? NULL : &list, ret_why);
	if (ret < 0 || params->no_peer) {
		usp_free(options.from);
		return ret < 0 ? ret : -EINPROGRESS;
	}
	fd = usp_stream_listen(list, 1, listeners, SOCKET_DOORS_MAX);
	freeaddrinfo(list);
	for (int i = 0; i < fd; i++)
		socket_tell(params, listeners[i]);
	if (fd >= 0)
		fd = socket_accept_one(listeners, (unsigned)fd, &(struct usp_name){.is_bound = false}, &options);
	usp_free(options.from);
	return socket_open_result(&tcp_ops, fd, &options, spec, params->mode, ret_file, ret_why);
}

/* A path as a list of one address. "@name" is an abstract name, which has no file: it begins with a NUL. */
static int unix_address(const char *path, struct sockaddr_un *address, struct addrinfo *ret_info, const char **ret_why)
{
	int ret = usp_addr_of_path(path, address);

	*ret_info = (struct addrinfo){
		.ai_family = AF_UNIX,
		.ai_addr = (struct sockaddr *)address,
		.ai_addrlen = sizeof(*address),
	};
	if (ret == 0 && path[0] == '@') {
		address->sun_path[0] = '\0';
		ret_info->ai_addrlen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	}
	if (ret < 0)
		*ret_why = ret == -EINVAL ? "the path of the socket is missing" : usp_stream_why(ret);
	return ret;
}

static int unix_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	struct socket_options options;
	struct sockaddr_un address;
	struct addrinfo info;
	int fd, ret = socket_parse_options(spec, &options, ret_why);

	if (ret == 0)
		ret = unix_address(spec->address, &address, &info, ret_why);
	if (ret < 0 || params->no_peer)
		return ret < 0 ? ret : -EINPROGRESS;
	fd = socket_connect_retrying(&info, &options);
	return socket_open_result(&unix_ops, fd, &options, spec, params->mode, ret_file, ret_why);
}

static int unix_listen_open(const struct usp_spec *spec, const struct usp_open_params *params,
			    struct usp_file **ret_file, const char **ret_why)
{
	struct socket_options options;
	struct sockaddr_un address;
	struct addrinfo info;
	struct usp_name name = {.is_bound = false};
	int fd, ret = socket_parse_options(spec, &options, ret_why);

	if (ret == 0)
		ret = socket_parse_rights(spec, &options, ret_why);
	if (ret == 0 && options.has_rights && spec->address[0] == '@') {
		*ret_why = "an abstract socket has no file: mode and owner are for a path";
		ret = -EINVAL;
	}
	if (ret == 0)
		ret = unix_address(spec->address, &address, &info, ret_why);
	if (ret < 0 || params->no_peer)
		return ret < 0 ? ret : -EINPROGRESS;
	if (spec->address[0] == '@')
		fd = usp_socket_listen(info.ai_addr, info.ai_addrlen, 1);
	else
		fd = usp_unix_listen(&address, options.has_rights ? &options.rights : NULL, 1, &name);
	if (fd >= 0)
		socket_tell(params, fd);
	if (fd >= 0)
		fd = socket_accept_one(&fd, 1, &name, &options);
	return socket_open_result(&unix_ops, fd, &options, spec, params->mode, ret_file, ret_why);
}

/* --- Virtual machines ---------------------------------------------------------------------------- */

static struct addrinfo vsock_info(struct sockaddr_vm *address)
{
	return (struct addrinfo){
		.ai_family = AF_VSOCK,
		.ai_addr = (struct sockaddr *)address,
		.ai_addrlen = sizeof(*address),
	};
}

/* Return a sentence for an error of a vsock, or NULL: without a transport to that CID there is no way. */
static const char *vsock_why(int error)
{
	switch (error) {
	case -EAFNOSUPPORT:
		return "this kernel has no vsock";
	case -ENODEV:
		return "there is no virtual machine or host of that CID, or no driver for it";
	default:
		return usp_stream_why(error);
	}
}

/* Finish as socket_open_result, with the sentences of vsock. */
static int vsock_result(int fd, const struct socket_options *options, const struct usp_spec *spec, unsigned mode,
			struct usp_file **ret_file, const char **ret_why)
{
	int ret = socket_open_result(&vsock_ops, fd, options, spec, mode, ret_file, ret_why);

	if (fd < 0)
		*ret_why = vsock_why(fd);
	return ret;
}

static int vsock_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		      const char **ret_why)
{
	struct socket_options options;
	struct sockaddr_vm address;
	struct addrinfo info = vsock_info(&address);
	int ret = socket_parse_options(spec, &options, ret_why);

	if (ret == 0)
		ret = usp_addr_of_vsock(spec->address, false, &address, ret_why);
	if (ret < 0 || params->no_peer)
		return ret < 0 ? ret : -EINPROGRESS;
	return vsock_result(socket_connect_retrying(&info, &options), &options, spec, params->mode, ret_file, ret_why);
}

static int vsock_listen_open(const struct usp_spec *spec, const struct usp_open_params *params,
			     struct usp_file **ret_file, const char **ret_why)
{
	struct socket_options options;
	struct sockaddr_vm address;
	int fd, ret = socket_parse_options(spec, &options, ret_why);

	if (ret == 0)
		ret = usp_addr_of_vsock(spec->address, true, &address, ret_why);
	if (ret < 0 || params->no_peer)
		return ret < 0 ? ret : -EINPROGRESS;
	fd = usp_socket_listen((struct sockaddr *)&address, sizeof(address), 1);
	if (fd >= 0) {
		socket_tell(params, fd);
		fd = socket_accept_one(&fd, 1, &(struct usp_name){.is_bound = false}, &options);
	}
	return vsock_result(fd, &options, spec, params->mode, ret_file, ret_why);
}

/* --- Inherited sockets -------------------------------------------------------------------------- */

/* Find the table for a socket. NULL for one that listens, which has no bytes, and for unknown types. */
static const struct usp_file_ops *socket_find_ops(int fd)
{
	int domain = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_DOMAIN);
	int type = usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_TYPE);
	bool is_inet = domain == AF_INET || domain == AF_INET6;

	if (usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 0)
		return NULL;
	if (type == SOCK_STREAM)
		return is_inet ? &tcp_ops : domain == AF_UNIX ? &unix_ops : domain == AF_VSOCK ? &vsock_ops : NULL;
	if (type == SOCK_DGRAM && is_inet)
		return &usp_udp_ops;
	return domain == AF_UNIX ? &usp_unix_dgram_ops : NULL;
}

/*
 * Whether splice(2) waits for a socket depends on O_NONBLOCK of its description only, not on the flags
 * of the call. So a shared socket that blocks is not spliced: it is read and written with
 * MSG_DONTWAIT, and its O_NONBLOCK is not changed.
 */
static int socket_adopt(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
			struct usp_file **ret_file)
{
	const struct usp_file_ops *ops = socket_find_ops(fd);
	int flags = ops ? usp_sys_get_flags(fd) : -EINVAL, ret = flags;
	struct usp_file *file;

	(void)st;
	if (ret >= 0)
		ret = usp_sock_file_new(ops, fd, mode, traits, name, &file);
	if (ret < 0)
		return ret;
	if (ops == &tcp_ops || ops == &unix_ops || ops == &vsock_ops)
		socket_set_traits(file);
	else
		usp_dgram_init(file, ops == &usp_udp_ops ? USP_DATAGRAM_BYTES : USP_DATAGRAM_BYTES_MAX, false);
	if (flags & O_NONBLOCK)
		atomic_store(usp_u32(&file->flags), USP_NONBLOCK);
	else if (traits & USP_FILE_SHARED)
		file->traits &= ~USP_FILE_SPLICEABLE;
	*ret_file = file;
	return 0;
}

/* --- The list ----------------------------------------------------------------------------------- */

static const char *const tcp_options[] = {"retry", "timeout", "nodelay", NULL};
static const char *const tcp_listen_options[] = {"timeout", "nodelay", "from", NULL};
static const char *const unix_options[] = {"retry", "timeout", NULL};
static const char *const vsock_listen_options[] = {"timeout", NULL};
static const char *const unix_listen_options[] = {"timeout", "mode", "owner", NULL};

const struct usp_endpoint usp_tcp_endpoint = {
	.scheme = "tcp",
	.form = "tcp:HOST:PORT",
	.summary = "a TCP connection to a server",
	.modes = USP_READ | USP_WRITE,
	.options = tcp_options,
	.open = tcp_open,
};

const struct usp_endpoint usp_tcp_listen_endpoint = {
	.scheme = "tcp-listen",
	.form = "tcp-listen:[HOST:]PORT",
	.summary = "the first TCP client that comes",
	.modes = USP_READ | USP_WRITE,
	.options = tcp_listen_options,
	.open = tcp_listen_open,
};

const struct usp_endpoint usp_unix_endpoint = {
	.scheme = "unix",
	.form = "unix:PATH",
	.summary = "a connection to a UNIX socket",
	.modes = USP_READ | USP_WRITE,
	.options = unix_options,
	.open = unix_open,
};

const struct usp_endpoint usp_unix_listen_endpoint = {
	.scheme = "unix-listen",
	.form = "unix-listen:PATH",
	.summary = "the first client of a UNIX socket that is made",
	.modes = USP_READ | USP_WRITE,
	.options = unix_listen_options,
	.open = unix_listen_open,
};

const struct usp_endpoint usp_vsock_endpoint = {
	.scheme = "vsock",
	.form = "vsock:CID:PORT",
	.summary = "a connection between a virtual machine and its host",
	.modes = USP_READ | USP_WRITE,
	.options = unix_options,
	.open = vsock_open,
};

const struct usp_endpoint usp_vsock_listen_endpoint = {
	.scheme = "vsock-listen",
	.form = "vsock-listen:[CID:]PORT",
	.summary = "the first client that comes from there",
	.modes = USP_READ | USP_WRITE,
	.options = vsock_listen_options,
	.open = vsock_listen_open,
};

const struct usp_endpoint usp_socket_endpoint = {
	.form = "fd:N",
	.summary = "a socket that this process was started with",
	.modes = USP_READ | USP_WRITE,
	.adopts = S_IFSOCK,
	.adopt = socket_adopt,
};
