/* SPDX-License-Identifier: MIT */
/* endpoints - the list of endpoint types, and what a spec is once it has been parsed. */
#ifndef USP_ENDPOINTS_ENDPOINTS_H
#define USP_ENDPOINTS_ENDPOINTS_H

#include <netdb.h>
#include <sys/stat.h>
#include <usplice/endpoint.h>

#include "base/name.h"

#define USP_SPEC_OPTIONS_MAX 8

/* "tcp:host:80,retry=5" is scheme tcp, address "host:80" and one option. Strings live as long as the spec. */
struct usp_spec {
	const char *text;    /* as the user wrote it: the name in reports */
	const char *address; /* behind the scheme, without options, unescaped */
	unsigned nr_options;
	struct {
		const char *name, *value; /* value NULL where there is no '=' */
	} options[USP_SPEC_OPTIONS_MAX];
	char *storage; /* what the strings above point into */
};

/* One endpoint type: how it is named, opened and recognised. Each endpoint file exports one or more of these. */
struct usp_endpoint {
	const char *scheme;	    /* "tcp"; NULL: it is found by the path of a file */
	const char *summary;	    /* one line for lists */
	const char *const *options; /* names that it understands, ended by NULL; NULL for none */
	/* Open what spec names; contract as usp_open, but ret_why is never NULL. NULL: cannot be opened by name. */
	int (*open)(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		    const char **ret_why);
	/* Make a file of a descriptor whose st_mode type is adopts; contract as usp_open_fd, and traits is USP_FILE_SHARED
	 * unless the description is the caller's alone. NULL: never. */
	mode_t adopts;
	int (*adopt)(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
		     struct usp_file **ret_file);
};

extern const struct usp_endpoint usp_regular_endpoint, usp_block_endpoint, usp_chardev_endpoint, usp_fifo_endpoint;
extern const struct usp_endpoint usp_tcp_endpoint, usp_tcp_listen_endpoint, usp_unix_endpoint, usp_unix_listen_endpoint;
extern const struct usp_endpoint usp_udp_endpoint, usp_udp_listen_endpoint, usp_socket_endpoint;
extern const struct usp_endpoint usp_null_endpoint, usp_zero_endpoint, usp_memory_endpoint;

/*
 * Take a spec apart and find the type that it names. The strings live until usp_spec_fini. 0, or -EINVAL with a sentence in
 * *ret_why, or -ENOMEM. Touches the file system only to see whether a name with an unknown scheme is a file.
 */
int usp_spec_parse(const char *text, struct usp_spec *ret_spec, const struct usp_endpoint **ret_endpoint,
		   const char **ret_why);
void usp_spec_fini(struct usp_spec *spec);

/*
 * A file of a connected stream socket, TCP or UNIX, that is O_NONBLOCK and nobody else's: as usp_open_fd, without asking the
 * kernel what is known already, USP_NONBLOCK, and without zero-copy sends, so that putting it never waits. On failure fd stays with the caller.
 */
int usp_stream_file_new(int fd, bool is_tcp, const char *name, struct usp_file **ret_file);

/*
 * Listen at all addresses of a list, up to max, that this machine has, with one port. IPv6 is first, because its wildcard takes
 * IPv4 clients, too. How many descriptors there are, O_NONBLOCK, or -errno.
 */
int usp_stream_listen(const struct addrinfo *list, int backlog, int *ret_fds, unsigned max);

/* Listen at a path, with the contract of usp_name_listen: the descriptor, O_NONBLOCK, or -errno. */
int usp_unix_listen(const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name);

/* A connection to a free local port may by chance use that same port at its own end, and so have met itself. */
bool usp_stream_is_self(int fd, const struct addrinfo *to);

/* A sentence about an error of connecting or listening, or NULL. */
const char *usp_stream_why(int error);

/* A length such as 64M (powers of 1024: k K M G T) or 64MB (powers of 1000: kB MB GB TB): 0, -EINVAL or -ERANGE. */
int usp_spec_parse_len(const char *text, int64_t *ret_len);

/* Seconds with an optional fraction, such as 2.5, as a moment of usp_sys_now_ns: 0 or -EINVAL. */
int usp_spec_parse_moment(const char *text, uint64_t *ret_moment_ns);

/*
 * May fd be opened to append? 0 for a regular file and for a stream, which appends by its nature. -EINVAL with a sentence for
 * what has positions, but no end that O_APPEND would find: a block device, and character devices that are like one.
 */
int usp_endpoint_check_append(int fd, const char **ret_why);

/* The value of an option: NULL where it was not given, "" where it was given without a value. */
const char *usp_spec_option(const struct usp_spec *spec, const char *name);

#endif
