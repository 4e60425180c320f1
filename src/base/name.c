/* SPDX-License-Identifier: MIT */
/*
 * name - the path of a UNIX socket: one program at a time binds it, and only that program removes it.
 *
 * bind(2) refuses a path that exists. So a socket file that a crash has left must be removed first,
 * and a program must remove its own file at its end. Between the look at a file and its removal,
 * another program may put its socket there. So all programs that bind or remove this path hold one
 * lock over both steps:
 *
 *     take:    lock ─► bind ─► socket file without an owner? ─► unlink ─► bind ─► note device and inode ─► unlock
 *     remove:  lock ─► the noted inode? ─► unlink ─► unlock
 *
 * The lock is flock(2) on a file beside the socket, ".NAME.usplice-lock", which is removed under the
 * lock. The alternatives:
 *
 * - flock(2) on the directory needs no file. But any user with read access, as to /run or /tmp, can
 *   hold that lock: then a service of the superuser cannot start. And a directory with write but no
 *   read access cannot be locked.
 * - A name in the abstract name space goes away with its process. But any user can take it first, and
 *   two containers that share the directory do not share that name space.
 * - A file beside the socket (chosen) needs the right to make files there, as bind(2) does: a user
 *   with the right to hold the lock can also bind the path. Its mode is 0600. The kernel drops the
 *   lock of a killed process, and the next process uses the file that stays.
 *
 * A program that ignores the lock may still replace the socket file. Then the inode differs, and that
 * file is not removed.
 */
#include "base/name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"

#define NAME_PATIENCE_NS 2000000000
#define NAME_PAUSE_NS 5000000
#define NAME_MODE_BITS 07777

static const char name_lock_suffix[] = ".usplice-lock";

/* --- The lock ------------------------------------------------------------------------------------- */

struct name_lock {
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path) + sizeof(name_lock_suffix) + 1];
	int fd;
};

static bool name_is_file(const struct stat *file, const struct stat *other)
{
	return file->st_dev == other->st_dev && file->st_ino == other->st_ino;
}

/* Tell whether the path still leads to the locked file: a holder that unlocks removes the file first. */
static bool name_lock_holds(const struct name_lock *lock)
{
	struct stat held, here;

	return usp_sys_fstat(lock->fd, &held) == 0 && usp_sys_lstat(lock->path, &here) == 0 &&
	       name_is_file(&held, &here);
}

/* Try to lock: 0, -EAGAIN if the lock is held or was just removed, or -errno. Another user's file counts as held. */
static int name_try_lock(struct name_lock *lock)
{
	const int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
	int ret = lock->fd = usp_sys_open(lock->path, flags, S_IRUSR | S_IWUSR);
	struct stat st;

	if (ret == -EACCES)
		return usp_sys_lstat(lock->path, &st) == 0 ? -EAGAIN : ret;
	if (ret < 0)
		return ret;
	ret = usp_sys_flock(lock->fd);
	if (ret == 0 && name_lock_holds(lock))
		return 0;
	usp_sys_close(lock->fd);
	return ret == 0 ? -EAGAIN : ret;
}

static int name_lock(struct name_lock *lock, const char *path, uint64_t give_up_ns)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	int ret;

	snprintf(lock->path, sizeof(lock->path), "%.*s.%s%s", (int)(base - path), path, base, name_lock_suffix);
	while ((ret = name_try_lock(lock)) == -EAGAIN) {
		if (usp_sys_now_ns() >= give_up_ns)
			return ret;
		ret = usp_sys_poll(NULL, 0, NAME_PAUSE_NS);
		if (ret < 0)
			return ret;
	}
	return ret;
}

static void name_unlock(const struct name_lock *lock)
{
	usp_sys_unlink(lock->path);
	usp_sys_close(lock->fd);
}

/* --- Under the lock --------------------------------------------------------------------------------- */

/*
 * Check the file that bind(2) met: 0 for a socket file to which no socket is bound any more, or the
 * error that keeps it. A stream would be accepted by the listener, perhaps as its only client. So a
 * datagram socket asks: a live stream socket refuses it as of the wrong type.
 */
static int name_check_stale(const struct sockaddr_un *address)
{
	struct stat st;
	int fd, ret = usp_sys_lstat(address->sun_path, &st);

	if (ret < 0)
		return ret;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = usp_sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd < 0)
		return fd;
	ret = usp_sys_connect(fd, (const struct sockaddr *)address, sizeof(*address));
	usp_sys_close(fd);
	if (ret == -ECONNREFUSED)
		return 0;
	return ret == -EACCES ? ret : -EADDRINUSE;
}

static int name_bind(int fd, const struct sockaddr_un *address)
{
	int ret = usp_sys_bind(fd, (const struct sockaddr *)address, sizeof(*address));

	if (ret != -EADDRINUSE)
		return ret;
	ret = name_check_stale(address);
	if (ret == 0)
		ret = usp_sys_unlink(address->sun_path);
	if (ret < 0 && ret != -ENOENT) /* gone by itself */
		return ret;
	return usp_sys_bind(fd, (const struct sockaddr *)address, sizeof(*address));
}

static int name_note(struct usp_name *name)
{
	struct stat st;
	int ret = usp_sys_lstat(name->address.sun_path, &st);

	if (ret < 0)
		return ret;
	name->dev = st.st_dev;
	name->ino = st.st_ino;
	name->is_bound = true;
	return 0;
}

/*
 * Set the mode before bind(2), which gives the file the mode of the socket without the bits of
 * umask(2). If the owner changes later, the file has no bits until then. Use the descriptor: the path
 * may lead to another file, which root could change, too.
 */
static int name_narrow(int fd, const struct usp_name_rights *rights)
{
	if (!rights || !rights->mode)
		return 0;
	return usp_sys_fchmod(fd, rights->has_user || rights->has_group ? 0 : rights->mode);
}

static int name_set_rights_of(int file, const struct usp_name *name, const struct usp_name_rights *rights)
{
	struct stat st;
	int ret = usp_sys_fstat(file, &st);

	if (ret == 0 && (st.st_dev != name->dev || st.st_ino != name->ino))
		ret = -EEXIST;
	if (ret == 0 && (rights->has_user || rights->has_group))
		ret = usp_sys_fchown(file, rights->has_user ? rights->user : (uid_t)-1,
				     rights->has_group ? rights->group : (gid_t)-1);
	if (ret == 0 && rights->mode && (st.st_mode & NAME_MODE_BITS) != rights->mode)
		ret = usp_sys_fchmod(file, rights->mode);
	return ret;
}

static int name_set_rights(const struct usp_name *name, const struct usp_name_rights *rights)
{
	int file, ret;

	if (!rights || (!rights->mode && !rights->has_user && !rights->has_group))
		return 0;
	file = usp_sys_open(name->address.sun_path, O_PATH | O_NOFOLLOW, 0);
	if (file < 0)
		return file;
	ret = name_set_rights_of(file, name, rights);
	usp_sys_close(file);
	return ret;
}

static bool name_is_ours(const struct usp_name *name)
{
	struct stat st;

	return name->is_bound && usp_sys_lstat(name->address.sun_path, &st) == 0 && st.st_dev == name->dev &&
	       st.st_ino == name->ino;
}

static int name_remove_locked(struct usp_name *name)
{
	int ret = name_is_ours(name) ? usp_sys_unlink(name->address.sun_path) : 0;

	if (ret == 0 || ret == -ENOENT)
		name->is_bound = false;
	return name->is_bound ? ret : 0;
}

/* --- The calls --------------------------------------------------------------------------------------- */

int usp_name_listen(int fd, const struct sockaddr_un *address, const struct usp_name_rights *rights, int backlog,
		    struct usp_name *ret_name)
{
	struct usp_name name = {.address = *address};
	struct name_lock lock;
	int ret = name_lock(&lock, address->sun_path, usp_sys_now_ns() + NAME_PATIENCE_NS);

	if (ret < 0)
		return ret == -EAGAIN ? -EBUSY : ret;
	ret = name_narrow(fd, rights);
	if (ret == 0)
		ret = name_bind(fd, address);
	if (ret == 0)
		ret = name_note(&name);
	if (ret == 0)
		ret = name_set_rights(&name, rights);
	if (ret == 0)
		ret = usp_sys_listen(fd, backlog);
	if (ret == 0)
		*ret_name = name;
	else
		name_remove_locked(&name);
	name_unlock(&lock);
	return ret;
}

int usp_name_remove(struct usp_name *name, uint64_t give_up_ns)
{
	struct name_lock lock;
	int ret;

	if (!name_is_ours(name)) { /* and cannot be ours again while the socket is open */
		name->is_bound = false;
		return 0;
	}
	ret = name_lock(&lock, name->address.sun_path, give_up_ns);
	if (ret < 0)
		return ret;
	ret = name_remove_locked(name);
	name_unlock(&lock);
	return ret;
}

void usp_name_find(struct usp_name *ret_name, const struct sockaddr_un *address)
{
	*ret_name = (struct usp_name){.address = *address};
	if (address->sun_path[0])
		name_note(ret_name);
}

bool usp_name_is_at(const struct usp_name *name, const char *path)
{
	struct stat st;

	return name->ino && usp_sys_stat(path, &st) == 0 && st.st_dev == name->dev && st.st_ino == name->ino;
}
