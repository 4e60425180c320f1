/* SPDX-License-Identifier: MIT */
/* door - the listening sockets of a relay: made, adopted, shut, and their names removed. */
#ifndef USP_RELAY_DOOR_H
#define USP_RELAY_DOOR_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/name.h"
#include "endpoints/stream.h"

#define USP_DOORS_MAX USP_STREAM_DOORS_MAX

/* A listening, nonblocking socket. */
struct usp_door {
	int fd;
	unsigned process;		 /* that made it, as of usp_own_nr; 0: another program did */
	struct usp_name name;		 /* for UNIX: its file */
	struct sockaddr_storage address; /* for TCP: where it listens; mapped IPv4 as IPv4 */
	bool has_both_families;		 /* it listens at all addresses of IPv4 and IPv6 */
	bool is_elsewhere;		 /* it is in another network namespace than our connections */
};

/*
 * Make a door of a socket that another program made: 0, or -EINVAL unless it is a stream socket
 * that listens. It becomes nonblocking.
 */
int usp_door_adopt(int fd, struct usp_door *ret_door);

/*
 * Listen at all addresses of a text: the number of doors, or -errno with a sentence. A stale UNIX
 * socket is replaced. rights are for the file of a UNIX socket.
 */
int usp_door_listen(const char *text, const struct usp_name_rights *rights, int backlog,
		    struct usp_door ret_doors[USP_DOORS_MAX], const char **ret_why);

/*
 * Refuse clients from now on, also where other processes have the socket open. Works only in the
 * process that made the door. The name of a UNIX socket is removed if it is still the door's own.
 * Does not wait: a name that another program looks at stays. The descriptor stays open. May be
 * called again.
 */
void usp_door_shut(struct usp_door *door);

/*
 * Keep a name in a child that is to remove it when its parent may no longer do so: close a door
 * whose name the parent did not make. usp_door_remove then removes the name, if it is still the
 * door's own.
 */
void usp_door_keep(struct usp_door *door);
void usp_door_remove(struct usp_door *door);

/*
 * Shut a door, wait up to a second for the lock of a name that stayed, and close it; in any
 * process. A closed door is allowed.
 */
void usp_door_close(struct usp_door *door);

#endif
