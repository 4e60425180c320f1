/* SPDX-License-Identifier: MIT */
/* name - the path of a UNIX socket: one program at a time binds it, and only that program removes it. */
#ifndef USP_BASE_NAME_H
#define USP_BASE_NAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/* A name that was bound, and the file that bind(2) made for it. All zeros: not bound. */
struct usp_name {
	struct sockaddr_un address;
	dev_t dev;
	ino_t ino;
	bool is_bound;
};

/* Mode and owner of the socket file. All zeros: as bind(2) makes it. */
struct usp_name_rights {
	unsigned mode;
	uid_t user;
	gid_t group;
	bool has_user, has_group;
};

/*
 * Bind a socket to a path, give the file its rights (NULL: as bind(2) makes it), and listen. At no
 * moment has the file more rights than these. A socket file to which no socket is bound any more is
 * replaced. Waits up to 2 s while another program holds the lock of that path: -EBUSY then, -EINTR
 * after a signal. -EADDRINUSE if a live socket is there, -EEXIST for a file of another type, and the
 * errors of bind(2) and listen(2). On failure no new file is left.
 */
int usp_name_listen(int fd, const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name);

/*
 * Remove the file if it is still the one that was bound, and clear is_bound. Call it while the socket
 * is open: after close, another file may get the same inode number. 0, also if another file is there;
 * -EAGAIN if another program holds the lock until give_up_ns, a moment of usp_sys_now_ns; the errors
 * of unlink(2). A name of all zeros is allowed.
 */
int usp_name_remove(struct usp_name *name, uint64_t give_up_ns);

/* Note, for usp_name_is_at, the file of a socket that another program has bound. ino stays 0 if there is no file. */
void usp_name_find(struct usp_name *ret_name, const struct sockaddr_un *address);

/*
 * Tell whether path leads to the noted file. Valid while the socket is open; any thread, also during
 * usp_name_remove.
 */
bool usp_name_is_at(const struct usp_name *name, const char *path);

#endif
