/* SPDX-License-Identifier: MIT */
/* endpoints - the list of endpoint types. */
#ifndef USP_ENDPOINTS_ENDPOINTS_H
#define USP_ENDPOINTS_ENDPOINTS_H

#include <sys/stat.h>
#include <usplice/endpoint.h>

struct usp_spec;

/* One endpoint type: how it is named, opened and recognised. Each endpoint file exports one or more of these. */
struct usp_endpoint {
	const char *scheme;	    /* "tcp"; NULL: found by the path of a file */
	const char *form, *summary; /* for lists: how its spec is written, and what it is */
	unsigned modes;		    /* what it may be opened for: USP_READ, USP_WRITE or both */
	const char *const *options; /* option names, ended by NULL; NULL: none */
	bool is_plain; /* the address is all that follows the scheme, as it stands: no commas and backslashes, no "//" */
	/* Open what spec names, as usp_open; ret_why is never NULL here. A NULL hook: cannot be opened by name. */
	int (*open)(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		    const char **ret_why);
	/* Make a file of a descriptor whose st_mode type is adopts, as usp_open_fd. traits is USP_FILE_SHARED, or 0 if
	 * only the caller has the description. A NULL hook: never. */
	mode_t adopts;
	int (*adopt)(int fd, const struct stat *st, unsigned mode, unsigned traits, const char *name,
		     struct usp_file **ret_file);
	const char *(*missing)(void); /* what this machine lacks for it, or NULL. A NULL hook: nothing */
};

extern const struct usp_endpoint usp_regular_endpoint, usp_block_endpoint, usp_chardev_endpoint, usp_fifo_endpoint;
extern const struct usp_endpoint usp_tcp_endpoint, usp_tcp_listen_endpoint, usp_unix_endpoint, usp_unix_listen_endpoint;
extern const struct usp_endpoint usp_vsock_endpoint, usp_vsock_listen_endpoint;
extern const struct usp_endpoint usp_udp_endpoint, usp_udp_listen_endpoint, usp_socket_endpoint;
extern const struct usp_endpoint usp_null_endpoint, usp_zero_endpoint, usp_memory_endpoint, usp_cached_endpoint;
extern const struct usp_endpoint usp_descriptor_endpoint, usp_standard_endpoint, usp_ring_endpoint, usp_exec_endpoint;

/* Return the type of this index, or NULL: there are no more. */
const struct usp_endpoint *usp_endpoint_at(unsigned index);

/* Find the type of a scheme, or NULL. */
const struct usp_endpoint *usp_endpoint_named(const char *scheme, size_t len);

/* Find the type that adopts descriptors of an st_mode type, such as S_IFIFO, or NULL. */
const struct usp_endpoint *usp_endpoint_of(mode_t type);

/* Tell whether the endpoint has an option of that name; name has len letters. */
bool usp_endpoint_has_option(const struct usp_endpoint *endpoint, const char *name, size_t len);

/* The same for a spec. What a path names is not known yet: it may have the options of any file. */
bool usp_endpoint_may_have_option(const struct usp_endpoint *endpoint, const char *name, size_t len);

/* Check a mode: USP_READ, USP_WRITE, or both. */
static inline bool usp_endpoint_can_mode(unsigned mode)
{
	return mode && !(mode & ~(USP_READ | USP_WRITE));
}

/*
 * Check that fd can append: 0 for a regular file, and for a stream, which always appends. -EINVAL with
 * a sentence for an object with positions but without an end for O_APPEND: a block device, and
 * character devices like one. Or -errno.
 */
int usp_endpoint_check_append(int fd, const char **ret_why);

/*
 * Lay a file over the page cache of below, which takes a reference of its own: what cached: does. budget as of the option,
 * 0 without it. usp_filemap_objection tells whether that is possible. 0 or -errno. Does not block.
 */
int usp_cached_over(struct usp_file *below, size_t budget, const char *name, struct usp_file **ret_file);

#endif
