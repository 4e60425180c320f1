/* SPDX-License-Identifier: MIT */
/*
 * session - libfuse: mounting, and each reply on its way to the kernel.
 *
 * libfuse 3.14 knows no passthrough, and forgets to ask for parallel look-ups, without which a look-up that waits holds
 * all others back. Nor can it say that set-user-ID goes at each write (write.c does that), without which the kernel asks
 * before each write for the capabilities of the file. So its reply to INIT gets these flags here, where the kernel has
 * offered them.
 *
 * All replies pass session_writev. One that the kernel does not take, because memory is short or a page of a copy cannot
 * be read, becomes an error. Otherwise its program would wait for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "mount/counts.h"
#include "mount/inside.h"

#ifndef FUSE_HANDLE_KILLPRIV_V2
#define FUSE_HANDLE_KILLPRIV_V2 (1 << 28) /* Linux 5.12 */
#endif

#define SESSION_TYPE "fuse.usplice" /* in the list of mounts */
#define SESSION_OPTIONS_MAX 4096
#define SESSION_READ_AHEAD ((size_t)256 << 10) /* 512 KiB cost more processor time than they save: bench/NOTES.md */
#define INIT_EXTENDED (1u << 30)	       /* FUSE_INIT_EXT: flags2 counts */
#define INIT_PASSTHROUGH (1u << 5)	       /* FUSE_PASSTHROUGH, in flags2 */

/* fuse_init_in and fuse_init_out of a kernel that knows passthrough: max_stack_depth was unused before. */
struct session_init_in {
	uint32_t major, minor, max_readahead, flags, flags2;
};

struct session_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth;
};

/* The files of the kernel lie on no other stacked file system, which would make the whole too deep. */
#define SESSION_STACK_DEPTH 1

static _Thread_local bool was_refused;

bool mount_session_was_refused(void)
{
	return was_refused;
}

/* --- INIT ------------------------------------------------------------------------------------------------- */

void mount_session_note(struct usp_mount *mount, const void *request, size_t len)
{
	const struct fuse_in_header *header = request;
	const struct session_init_in *init = (const void *)(header + 1);

	if (mount->is_initialised || len < sizeof(*header) + sizeof(*init) || header->opcode != FUSE_INIT)
		return;
	mount->offers_parallel = init->flags & FUSE_PARALLEL_DIROPS;
	mount->offers_kill = init->flags & FUSE_HANDLE_KILLPRIV_V2;
	mount->offers_passthrough = init->flags & INIT_EXTENDED && init->flags2 & INIT_PASSTHROUGH;
}

/* Ask for what libfuse does not in the reply to INIT, which is the first one. */
static void session_ask(struct usp_mount *mount, const struct iovec *iov, int nr_segs)
{
	struct session_init_out *out = nr_segs == 2 ? iov[1].iov_base : NULL;

	mount->is_initialised = true;
	if (out && iov[1].iov_len >= sizeof(*out) && mount->reads_ahead)
		out->max_readahead = SESSION_READ_AHEAD;
	if (out && iov[1].iov_len >= sizeof(*out) && mount->offers_parallel)
		out->flags |= FUSE_PARALLEL_DIROPS;
	if (out && mount->offers_kill && mount->params.flags & USP_MOUNT_WRITE)
		out->flags |= FUSE_HANDLE_KILLPRIV_V2;
	if (!out || iov[1].iov_len < sizeof(*out) || !mount->offers_passthrough ||
	    mount->params.flags & (USP_MOUNT_NO_PASSTHROUGH | USP_MOUNT_DIRECT))
		return;
	out->flags |= INIT_EXTENDED;
	out->flags2 |= INIT_PASSTHROUGH;
	out->max_stack_depth = SESSION_STACK_DEPTH;
	mount->has_passthrough = true;
}

/* Without the right to it there is no passthrough, though the kernel offers it. It looks at that before the descriptor. */
static void session_check_passthrough(struct usp_mount *mount, int fd)
{
	if (mount->has_passthrough && usp_sys_fuse_backing_open(fd, -1) == -EPERM)
		mount->has_passthrough = false;
}

/* --- Replies ---------------------------------------------------------------------------------------------- */

/* Tell the kernel of an error in place of a reply that it did not take. */
static ssize_t session_write_error(int fd, const struct fuse_out_header *header)
{
	struct fuse_out_header failed = {.len = sizeof(failed), .error = -EIO, .unique = header->unique};

	return usp_sys_write(fd, &failed, sizeof(failed));
}

static ssize_t session_write(int fd, const struct iovec *iov, int nr_segs)
{
	ssize_t ret;

	do
		ret = usp_sys_writev(fd, iov, (unsigned)nr_segs, NULL);
	while (ret == -EINTR || ret == -EAGAIN);
	return ret;
}

/* ENOENT: the program has gone. ENODEV: all have. */
static ssize_t session_writev(int fd, struct iovec *iov, int nr_segs, void *arg)
{
	struct usp_mount *mount = arg;
	const struct fuse_out_header *header = iov[0].iov_base;
	bool is_first = !mount->is_initialised;
	ssize_t ret;

	if (is_first)
		session_ask(mount, iov, nr_segs);
	if (mount->counts && header->unique)
		mount_counts_answer(mount->counts, header); /* before the program goes on: it may ask */
	was_refused = atomic_load(&mount->is_severed);
	if (was_refused)
		return header->len;
	if (mount_splice_is_pending())
		ret = mount_splice_send(fd, header, sizeof(*header));
	else
		ret = session_write(fd, iov, nr_segs);
	if (is_first)
		session_check_passthrough(mount, fd);
	was_refused = ret < 0;
	if (ret < 0 && ret != -ENOENT && ret != -ENODEV && header->unique)
		session_write_error(fd, header);
	return header->len; /* libfuse would only print a complaint */
}

/* libfuse wants one, but serve.c reads by itself. */
static ssize_t session_read(int fd, void *base, size_t len, void *arg)
{
	(void)fd;
	(void)base;
	(void)len;
	(void)arg;
	return -1;
}

/* --- Mounting --------------------------------------------------------------------------------------------- */

/* The library prints nothing: what libfuse says goes nowhere. */
static void session_be_silent(enum fuse_log_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
}

/* Add a text to a list of options, in which a comma and a backslash need one more. */
static void session_escape(char *options, const char *text)
{
	size_t len = strlen(options);

	for (; *text && len < SESSION_OPTIONS_MAX - 3; text++) {
		if (*text == ',' || *text == '\\')
			options[len++] = '\\';
		options[len++] = *text;
	}
	options[len] = '\0';
}

static int session_new(struct usp_mount *mount)
{
	char options[SESSION_OPTIONS_MAX + 128] = "fsname=";
	const unsigned flags = mount->params.flags;
	char program[] = "usplice", o[] = "-o";
	char *argv[] = {program, o, options, NULL};
	struct fuse_args args = {.argc = 3, .argv = argv};

	session_escape(options, mount->device);
	snprintf(options + strlen(options), sizeof(options) - strlen(options),
		 ",subtype=usplice,%s,nosuid,nodev,default_permissions,max_read=%zu%s%s%s%s",
		 flags & USP_MOUNT_WRITE ? "rw" : "ro", MOUNT_READ_BYTES,
		 flags & USP_MOUNT_ALLOW_OTHER ? ",allow_other" : "", flags & USP_MOUNT_NOEXEC ? ",noexec" : "",
		 flags & USP_MOUNT_SYNC ? ",sync" : "", flags & USP_MOUNT_NOATIME ? ",noatime" : "");
	fuse_set_log_func(session_be_silent);
	mount->session = fuse_session_new(&args, &mount_ops, sizeof(mount_ops), mount);
	fuse_opt_free_args(&args); /* it has made a copy of them */
	return mount->session ? 0 : -ENOMEM;
}

int mount_session_begin(struct usp_mount *mount)
{
	static const struct fuse_custom_io io = {.writev = session_writev, .read = session_read};
	int ret = session_new(mount);

	if (ret < 0)
		return ret;
	if (fuse_session_mount(mount->session, mount->mountpoint) != 0)
		return -EPERM;
	mount->is_mounted = true;
	mount->reads_ahead = usp_sys_set_read_ahead(mount->mountpoint, SESSION_READ_AHEAD) == 0;
	mount->fuse_fd = fuse_session_fd(mount->session);
	ret = usp_sys_set_flags(mount->fuse_fd, O_RDWR | O_NONBLOCK);
	if (ret == 0 && fuse_session_custom_io(mount->session, &io, mount->fuse_fd) != 0)
		ret = -ENOMEM;
	return ret;
}

/* Tell whether the kernel has ended the connection, by umount(8). Another mount may be at the path then. */
static bool session_has_ended(const struct usp_mount *mount)
{
	struct pollfd fd = {.fd = mount->fuse_fd};

	return usp_sys_poll(&fd, 1, 0) > 0;
}

/* By umount2(2) where that is allowed, so that no program is needed; mounts of a user are fusermount3's. */
static int session_detach_path(const char *path)
{
	int ret = usp_sys_detach(path);

	return ret == -EPERM ? usp_sys_fusermount_detach(path) : ret;
}

int mount_session_detach(struct usp_mount *mount)
{
	return session_has_ended(mount) ? 0 : session_detach_path(mount->mountpoint);
}

/* Several may lie on top of each other. */
int usp_mount_clear(const char *mountpoint)
{
	char path[PATH_MAX];
	int nr = 0;

	if (!mountpoint)
		return -EINVAL;
	while (usp_sys_has_no_server(mountpoint)) {
		int ret = realpath(mountpoint, path) && usp_sys_is_mounted(path, SESSION_TYPE)
				  ? session_detach_path(path)
				  : -ENOTCONN;

		if (ret < 0)
			return ret;
		nr++;
	}
	return nr;
}

/*
 * Put something broken in the place of the connection, which ends: libfuse then takes it for unmounted. It would unmount
 * by the path, where another mount may be by now.
 */
static int session_sever(struct usp_mount *mount)
{
	int ends[2], ret = usp_sys_pipe(ends, 0);

	if (ret < 0)
		return ret;
	usp_sys_close(ends[0]);
	ret = usp_sys_replace(ends[1], mount->fuse_fd);
	if (ret < 0)
		usp_sys_close(ends[1]);
	return ret;
}

/* Closing the descriptor ends the connection: what is open gives ENOTCONN, what waits gets an answer. */
void mount_session_end(struct usp_mount *mount)
{
	pthread_mutex_lock(&mount->session_lock);
	if (mount->session && mount->is_mounted &&
	    (atomic_load(&mount->is_severed) || !mount->is_detached || session_sever(mount) >= 0))
		fuse_session_unmount(mount->session);
	if (mount->session)
		fuse_session_destroy(mount->session);
	mount->session = NULL;
	pthread_mutex_unlock(&mount->session_lock);
}

/* The session stays for the threads that hang: their replies go nowhere. */
void mount_session_abandon(struct usp_mount *mount)
{
	pthread_mutex_lock(&mount->session_lock);
	if (mount->session && mount->is_mounted) {
		if (!mount->is_detached)
			mount_session_detach(mount);
		if (session_sever(mount) >= 0)
			atomic_store(&mount->is_severed, true);
	}
	pthread_mutex_unlock(&mount->session_lock);
}
