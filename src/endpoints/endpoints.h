/* SPDX-License-Identifier: MIT */
/* endpoints - the list of endpoint types. */
#ifndef USP_ENDPOINTS_ENDPOINTS_H
#define USP_ENDPOINTS_ENDPOINTS_H

#include <sys/stat.h>
#include <usplice/endpoint.h>

struct usp_spec;

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
extern const struct usp_endpoint usp_descriptor_endpoint, usp_standard_endpoint;

/* The type of a scheme, or NULL. */
const struct usp_endpoint *usp_endpoint_named(const char *scheme, size_t len);

/* The type that adopts descriptors of that st_mode type, such as S_IFIFO, or NULL. */
const struct usp_endpoint *usp_endpoint_of(mode_t type);

/* Does it understand the option of that name, of len letters? */
bool usp_endpoint_has_option(const struct usp_endpoint *endpoint, const char *name, size_t len);

/* Files are opened to read, to write, or for both. */
static inline bool usp_endpoint_can_mode(unsigned mode)
{
	return mode && !(mode & ~(USP_READ | USP_WRITE));
}

/*
 * May fd be opened to append? 0 for a regular file and for a stream, which appends by its nature. -EINVAL with a sentence for
 * what has positions, but no end that O_APPEND would find: a block device, and character devices that are like one.
 */
int usp_endpoint_check_append(int fd, const char **ret_why);

#endif
