/* SPDX-License-Identifier: MIT */
/* stream - what the endpoints of stream sockets share, also for modules that connect and listen themselves. */
#ifndef USP_ENDPOINTS_STREAM_H
#define USP_ENDPOINTS_STREAM_H

#include <netdb.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/name.h"
#include "splice/sock.h"

struct usp_cidr_list;
struct usp_spec;

#define USP_STREAM_DOORS_MAX 8 /* addresses to wait at for one client */

/* The hooks that the tables of all stream sockets have. */
#define USP_STREAM_HOOKS                                                                                         \
	.size = sizeof(struct usp_file_ops), .read_iter = usp_sock_read_iter, .write_iter = usp_sock_write_iter, \
	.splice_read = usp_copy_splice_read, .splice_write = usp_sock_splice_write, .poll = usp_sock_poll,       \
	.sync = usp_sock_sync, .shutdown = usp_sock_shutdown, .release = usp_sock_release, .abort = usp_sock_abort

/* A connection that is being opened. The options are parsed; times are moments of usp_sys_now_ns. */
struct usp_stream {
	const struct usp_spec *spec;
	const struct usp_open_params *params;
	uint64_t give_up;     /* timeout=, or USP_NEVER */
	uint64_t retry_until; /* retry=, or 0 */
	bool is_nodelay;
	struct addrinfo *list;		 /* where to connect to, or to listen at */
	struct addrinfo *resolved;	 /* the same, where it came from usp_addr_resolve; else NULL */
	struct addrinfo info;		 /* the same, where the family has parsed the address itself, */
	struct sockaddr_storage address; /* which is this one */
	struct usp_cidr_list *from;	 /* whose clients are taken; NULL: all */
	struct usp_name_rights rights;	 /* of the file of a UNIX socket */
	bool has_rights;
	struct usp_name name; /* a path that was bound: it is removed when the client has come */
};

/* One family: how its sockets are named and made. */
struct usp_stream_family {
	const struct usp_file_ops *ops;
	bool is_tcp;
	bool always_copies; /* no zero-copy sends (see usp_zerocopy_forbid) */
	int refusal;	    /* an error of connect(2) that means -ECONNREFUSED in this family; 0: none */
	/* Find the addresses to connect to, or with is_passive to listen at. Sets list, but for TCP if params->no_peer
	 * is set. 0, or -errno with a sentence. */
	int (*find)(struct usp_stream *stream, bool is_passive, const char **ret_why);
	/* Listen at list, for one client: the number of descriptors, or -errno. */
	int (*listen)(struct usp_stream *stream, int ret_fds[USP_STREAM_DOORS_MAX]);
	/* Prepare a socket for connect(2), which has to give up at that moment. A NULL hook: nothing. */
	void (*prepare)(int fd, uint64_t give_up);
	/* Return a sentence for an error of connecting or listening, or NULL. */
	const char *(*why)(int error);
};

extern const struct usp_stream_family usp_tcp_family, usp_unix_family, usp_vsock_family;

/* Take an address that the family parsed itself, and which it puts into stream->address, as the list. */
void usp_stream_set_address(struct usp_stream *stream, socklen_t len);

/* Listen at the one address of the list, as the hook listen does. */
int usp_stream_listen_one(struct usp_stream *stream, int ret_fds[USP_STREAM_DOORS_MAX]);

/* Connect to what a spec names, as the hook open of an endpoint. */
int usp_stream_connect(const struct usp_stream_family *family, const struct usp_spec *spec,
		       const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why);

/* Listen at what a spec names, and open the first client that comes, as the hook open of an endpoint. */
int usp_stream_await(const struct usp_stream_family *family, const struct usp_spec *spec,
		     const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why);

/* Give a file of this family the traits of a stream socket. */
void usp_stream_set_traits(struct usp_file *file, const struct usp_stream_family *family);

/*
 * Make a file of a connected stream socket, TCP or UNIX, that is O_NONBLOCK and that no other process
 * has. As usp_open_fd, but without system calls on fd. The file is USP_NONBLOCK, and makes no
 * zero-copy sends, so that closing it never waits. On failure the caller keeps fd.
 */
int usp_stream_file_new(int fd, bool is_tcp, const char *name, struct usp_file **ret_file);

/* Tell whether fd is connected to itself: its own end may by chance have the free local port that it connects to. */
bool usp_stream_is_self(int fd, const struct addrinfo *to);

/* Return a sentence for an error of connecting or listening, or NULL. */
const char *usp_stream_why(int error);

#endif
