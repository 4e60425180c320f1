/* SPDX-License-Identifier: MIT */
/* name - the name of a UNIX socket in a directory: taken by one program at a time, and removed by its owner only. */
#ifndef USP_BASE_NAME_H
#define USP_BASE_NAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

/* A name that was bound, and the file that was made for it. Zeros are no name. */
struct usp_name {
	struct sockaddr_un address;
	dev_t dev;
	ino_t ino;
	bool is_bound;
};

/* Of the file of a name. Zeros leave all as bind(2) makes it. */
struct usp_name_rights {
	unsigned mode;
	uid_t user;
	gid_t group;
	bool has_user, has_group;
};

/*
 * Bind a socket to a name and let it listen, when its file has these rights (NULL for none): at no moment has it more. A socket file that nobody is bound to any more is replaced. Blocks for up to 2 s
 * while another program looks at that name: -EBUSY then, -EINTR after a signal. -EADDRINUSE if a live socket is there, -EEXIST
 * for a file that is no socket, and the errors of bind(2) and listen(2). On failure nothing new stands there.
 */
int usp_name_listen(int fd, const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name);

/*
 * Remove the name if the file there is the one that was bound, and forget it. While the socket is open: its number could be
 * another file's afterwards. 0, also if something else stands there; -EAGAIN if another program looks at the name, until a
 * moment of usp_sys_now_ns; -EACCES and so on if it may not be removed. No name is allowed.
 */
int usp_name_remove(struct usp_name *name, uint64_t give_up_ns);

/* Note which file stands there for a socket that somebody else has bound, for usp_name_is_at. No name if there is none. */
void usp_name_find(struct usp_name *ret_name, const struct sockaddr_un *address);

/* Does this path lead to the file that was bound, while the socket is open? From any thread, also while the name is removed. */
bool usp_name_is_at(const struct usp_name *name, const char *path);

#endif
