/* SPDX-License-Identifier: MIT */
/* sys - the system calls on descriptors, with results in place of errno. sys_*.c has the others. */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <termios.h>
#include <unistd.h>

#include "base/sys_door.h"

#define SYS_RESIDENT_PAGES 4096 /* that one call of mincore(2) looks at */

#ifndef STATX_ATTR_DAX /* newer than the oldest supported headers */
#define STATX_ATTR_DAX 0x00200000
#endif

#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif

#ifndef SYS_cachestat
#ifdef __alpha__
#define SYS_cachestat 561
#else
#define SYS_cachestat 451
#endif
#endif

/* The calls of the kernel that a C library may not have yet. */
#ifndef USP_HAVE_STATX
#include <linux/stat.h>
static int statx(int fd, const char *path, int flags, unsigned mask, struct statx *ret_stx)
{
	return (int)syscall(SYS_statx, fd, path, flags, mask, ret_stx);
}
#endif

#ifndef USP_HAVE_PREADV2
static ssize_t preadv2(int fd, const struct iovec *iov, int nr_segs, off_t off, int flags)
{
	return syscall(SYS_preadv2, fd, iov, nr_segs, (long)off, (long)((uint64_t)off >> 32), flags);
}
#endif

/* --- Descriptors ------------------------------------------------------------------------------- */

int usp_sys_open_waiting(const char *path, int flags)
{
	return (int)sys_result(open(path, flags | O_CLOEXEC));
}

int usp_sys_open(const char *path, int flags, unsigned mode)
{
	int fd;

	do {
		fd = (int)sys_result(open(path, flags | O_CLOEXEC, (mode_t)mode));
	} while (fd == -EINTR);
	return fd;
}

int usp_sys_dup(int fd)
{
	return (int)sys_result(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

int usp_sys_reopen(int fd, int flags)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return usp_sys_open(path, flags, 0);
}

int usp_sys_replace(int fd, int target)
{
	int result;

	do {
		result = (int)sys_result(dup3(fd, target, O_CLOEXEC));
	} while (result == -EINTR || result == -EBUSY);
	if (result >= 0)
		close(fd);
	return result;
}

/*
 * Keep a standard descriptor occupied: else the next open gets its number, and messages of this
 * program go to that file.
 */
static bool sys_park_standard(int fd)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	int result;

	if (null_fd < 0)
		return false;
	result = dup2(null_fd, fd);
	close(null_fd);
	return result >= 0;
}

/*
 * Close a duplicate for the error of delayed writes: dup2(2) would drop it, and close(2) of any
 * duplicate reports it.
 */
static int sys_close_standard(int fd)
{
	int twin = (int)sys_result(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
	int result = twin < 0 ? 0 : (int)sys_result(close(twin));

	return sys_park_standard(fd) ? result : (int)sys_result(close(fd));
}

/* Not repeated after EINTR: on Linux the descriptor is closed by then, and another thread may have its number. */
int usp_sys_close(int fd)
{
	if (fd < 0)
		return 0;
	return fd <= STDERR_FILENO ? sys_close_standard(fd) : (int)sys_result(close(fd));
}

int usp_sys_stat(const char *path, struct stat *ret_stat)
{
	return (int)sys_result(stat(path, ret_stat));
}

int usp_sys_lstat(const char *path, struct stat *ret_stat)
{
	return (int)sys_result(lstat(path, ret_stat));
}

int usp_sys_fstat(int fd, struct stat *ret_stat)
{
	return (int)sys_result(fstat(fd, ret_stat));
}

int usp_sys_set_read_ahead(const char *path, size_t len)
{
	const int flags = AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
	char setting[64], text[32];
	struct statx stx;
	int result = (int)sys_result(statx(AT_FDCWD, path, flags, 0, &stx)), fd;

	if (result < 0)
		return result;
	snprintf(setting, sizeof(setting), "/sys/class/bdi/%u:%u/read_ahead_kb", stx.stx_dev_major, stx.stx_dev_minor);
	snprintf(text, sizeof(text), "%zu", len >> 10);
	fd = usp_sys_open(setting, O_WRONLY, 0);
	if (fd < 0)
		return fd;
	result = (int)usp_sys_write(fd, text, strlen(text));
	usp_sys_close(fd);
	return result < 0 ? result : 0;
}

long usp_sys_fs_type(int fd)
{
	struct statfs fs;
	int result;

	do {
		result = (int)sys_result(fstatfs(fd, &fs));
	} while (result == -EINTR);
	return result < 0 ? result : (long)fs.f_type;
}

int usp_sys_fstatvfs(int fd, struct statvfs *ret_stat)
{
	int result;

	do {
		result = (int)sys_result(fstatvfs(fd, ret_stat));
	} while (result == -EINTR);
	return result;
}

int usp_sys_get_flags(int fd)
{
	return (int)sys_result(fcntl(fd, F_GETFL));
}

int usp_sys_set_flags(int fd, int flags)
{
	return (int)sys_result(fcntl(fd, F_SETFL, flags));
}

int64_t usp_sys_lseek(int fd, int64_t off, int whence)
{
	return sys_result(lseek(fd, off, whence));
}

int usp_sys_ftruncate(int fd, int64_t len)
{
	int result;

	do {
		result = (int)sys_result(ftruncate(fd, len));
	} while (result == -EINTR);
	return result;
}

int usp_sys_fallocate(int fd, int mode, int64_t off, int64_t len)
{
	int result;

	do {
		result = (int)sys_result(fallocate(fd, mode, off, len));
	} while (result == -EINTR);
	return result;
}

/* The C library may know no pwritev2(2). The offset means nothing here. */
ssize_t usp_sys_append(int fd, const struct iovec *iov, unsigned nr_segs)
{
	return sys_result(syscall(SYS_pwritev2, fd, iov, (unsigned long)nr_segs, 0l, 0l, RWF_APPEND));
}

int usp_sys_set_times(int fd, const struct timespec times[2])
{
	return (int)sys_result(futimens(fd, times));
}

ssize_t usp_sys_get_attribute(int fd, const char *name, void *ret_value, size_t len)
{
	return sys_result(fgetxattr(fd, name, ret_value, len));
}

/* The C library may know no faccessat2(2). */
int usp_sys_access(int fd, int mode)
{
	return (int)sys_result(syscall(SYS_faccessat2, fd, "", mode, AT_EMPTY_PATH | AT_EACCESS));
}

int usp_sys_fsync(int fd)
{
	int result;

	do {
		result = (int)sys_result(fsync(fd));
	} while (result == -EINTR);
	return result;
}

int usp_sys_memfd(const char *name)
{
	return (int)sys_result(memfd_create(name, MFD_CLOEXEC));
}

int usp_sys_memfd_huge(const char *name)
{
	return (int)sys_result(memfd_create(name, MFD_CLOEXEC | MFD_HUGETLB));
}

/* Raw: no line is collected, no byte is changed, nothing is written back. */
static int sys_pty_set(int fd)
{
	struct termios settings;

	if (ioctl(fd, TCGETS, &settings) < 0)
		return -errno;
	cfmakeraw(&settings);
	return (int)sys_result(ioctl(fd, TCSETS, &settings));
}

int usp_sys_pty(int ret_fds[2])
{
	int master = (int)sys_result(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
	int is_locked = 0, slave = -1, result = master;

	if (result >= 0)
		result = (int)sys_result(ioctl(master, TIOCSPTLCK, &is_locked));
	if (result >= 0)
		result = slave =
			(int)sys_result(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
	if (result >= 0)
		result = sys_pty_set(slave);
	if (result < 0) {
		usp_sys_close(master);
		usp_sys_close(slave);
		return result;
	}
	ret_fds[0] = slave;
	ret_fds[1] = master;
	return 0;
}

ssize_t usp_sys_readlink(const char *path, char *ret_text, size_t len)
{
	ssize_t result = sys_result(readlink(path, ret_text, len));

	return result >= 0 && (size_t)result == len ? -ENAMETOOLONG : result;
}

int usp_sys_is_dax(int fd)
{
	struct statx stx;
	int result = (int)sys_result(statx(fd, "", AT_EMPTY_PATH, 0, &stx));

	if (result < 0)
		return result;
	return stx.stx_attributes_mask & STATX_ATTR_DAX ? (stx.stx_attributes & STATX_ATTR_DAX) != 0 : -ENODATA;
}

int usp_sys_ring(int fd, unsigned long request, void *arg)
{
	return (int)sys_result(ioctl(fd, request, arg));
}

int64_t usp_sys_block_size(int fd)
{
	uint64_t len;
	int result = (int)sys_result(ioctl(fd, BLKGETSIZE64, &len));

	if (result < 0)
		return result;
	return len > INT64_MAX ? -EOVERFLOW : (int64_t)len;
}

/* --- The page cache and extents -------------------------------------------------------------------- */

int usp_sys_drop_cache(int fd, int64_t off, size_t len)
{
	return -posix_fadvise(fd, off, (off_t)len, POSIX_FADV_DONTNEED);
}

/* mincore(2) says "resident" to a process that neither owns the file nor may write to it. */
static bool sys_may_mincore(int fd)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0 || (fstat(fd, &st) == 0 && st.st_uid == geteuid());
}

int usp_sys_is_resident(int fd, int64_t off)
{
	size_t page_len = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char is_resident = 0;
	void *base;
	int result;

	if (!sys_may_mincore(fd))
		return -EPERM;
	base = mmap(NULL, page_len, PROT_READ, MAP_SHARED, fd, off - off % (int64_t)page_len);
	if (base == MAP_FAILED)
		return -errno;
	result = (int)sys_result(mincore(base, page_len, &is_resident));
	munmap(base, page_len);
	return result < 0 ? result : is_resident & 1;
}

int usp_sys_is_cached(int fd, int64_t off)
{
	unsigned char byte;
	ssize_t result = sys_result(preadv2(fd, &(struct iovec){.iov_base = &byte, .iov_len = 1}, 1, off, RWF_NOWAIT));

	return result >= 0 ? result > 0 : result == -EAGAIN ? 0 : usp_sys_is_resident(fd, off);
}

ssize_t usp_sys_read_cached(int fd, void *base, size_t len, int64_t off)
{
	const struct iovec iov = {.iov_base = base, .iov_len = len};

	return sys_result(preadv2(fd, &iov, 1, off, RWF_NOWAIT));
}

int usp_sys_sync_range(int fd, int64_t off, uint64_t len, bool waits)
{
	unsigned flags = SYNC_FILE_RANGE_WRITE;

	if (waits)
		flags |= SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER;
	return (int)sys_result(sync_file_range(fd, off, (off_t)len, flags));
}

/* Count the resident pages among those of one mapping. */
static int64_t sys_resident_pages(int fd, int64_t off, size_t len, unsigned char *pages, size_t nr_pages)
{
	void *base = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, off);
	int64_t nr = base == MAP_FAILED ? -errno : 0;
	size_t i;

	if (base == MAP_FAILED)
		return nr;
	if (mincore(base, len, pages) < 0)
		nr = -errno;
	for (i = 0; nr >= 0 && i < nr_pages; i++)
		nr += pages[i] & 1;
	munmap(base, len);
	return nr;
}

/* By mincore(2), before Linux 6.5. */
static int64_t sys_resident_bytes(int fd, int64_t off, uint64_t len)
{
	unsigned char pages[SYS_RESIDENT_PAGES];
	size_t page_len = (size_t)sysconf(_SC_PAGESIZE);
	int64_t at = off - off % (int64_t)page_len, end = off + (int64_t)len, sum = 0;

	if (!sys_may_mincore(fd))
		return -EPERM;
	while (at < end) {
		size_t nr_pages = ((size_t)(end - at) + page_len - 1) / page_len;
		int64_t nr;

		nr_pages = nr_pages < SYS_RESIDENT_PAGES ? nr_pages : SYS_RESIDENT_PAGES;
		nr = sys_resident_pages(fd, at, nr_pages * page_len, pages, nr_pages);
		if (nr < 0)
			return nr;
		sum += nr * (int64_t)page_len;
		at += (int64_t)(nr_pages * page_len);
	}
	return sum;
}

/* What cachestat(2) takes and gives; newer than the oldest supported headers. */
struct sys_cachestat_range {
	uint64_t off, len;
};

struct sys_cachestat {
	uint64_t nr_cached, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
};

int64_t usp_sys_cached_bytes(int fd, int64_t off, uint64_t len)
{
	struct sys_cachestat_range range = {.off = (uint64_t)off, .len = len};
	struct sys_cachestat found;

	if (len == 0)
		return 0;
	if (syscall(SYS_cachestat, fd, &range, &found, 0) == 0)
		return (int64_t)found.nr_cached * sysconf(_SC_PAGESIZE);
	return sys_resident_bytes(fd, off, len);
}

int usp_sys_extents(int fd, int64_t off, uint64_t len, bool is_synced, unsigned nr, struct fiemap *map)
{
	int result;

	*map = (struct fiemap){.fm_start = (uint64_t)off,
			       .fm_length = len,
			       .fm_flags = is_synced ? FIEMAP_FLAG_SYNC : 0,
			       .fm_extent_count = nr};
	result = (int)sys_result(ioctl(fd, FS_IOC_FIEMAP, map));
	return result < 0 ? result : (int)map->fm_mapped_extents;
}

/* --- Bytes -------------------------------------------------------------------------------------- */

ssize_t usp_sys_readv(int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos)
{
	if (pos)
		return sys_result(preadv(fd, iov, (int)nr_segs, *pos));
	return sys_result(readv(fd, iov, (int)nr_segs));
}

ssize_t usp_sys_writev(int fd, const struct iovec *iov, unsigned nr_segs, const int64_t *pos)
{
	if (pos)
		return sys_result(pwritev(fd, iov, (int)nr_segs, *pos));
	return sys_result(writev(fd, iov, (int)nr_segs));
}

ssize_t usp_sys_read(int fd, void *base, size_t len)
{
	return sys_result(read(fd, base, len));
}

ssize_t usp_sys_write(int fd, const void *base, size_t len)
{
	return sys_result(write(fd, base, len));
}

ssize_t usp_sys_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	/* One segment and nothing else: with send(2) the kernel need not copy a msghdr and an iovec first. */
	if (msg->msg_iovlen == 1 && !msg->msg_name && !msg->msg_control)
		return sys_result(send(fd, msg->msg_iov->iov_base, msg->msg_iov->iov_len, flags | MSG_NOSIGNAL));
	return sys_result(sendmsg(fd, msg, flags | MSG_NOSIGNAL));
}

ssize_t usp_sys_recvmsg(int fd, struct msghdr *msg, int flags)
{
	return sys_result(recvmsg(fd, msg, flags | MSG_CMSG_CLOEXEC));
}

/* --- splice(2) and its family --------------------------------------------------------------------- */

ssize_t usp_sys_splice(int in, int64_t *off_in, int out, int64_t *off_out, size_t len, unsigned flags)
{
	return sys_result(splice(in, off_in, out, off_out, len, flags));
}

ssize_t usp_sys_tee(int in, int out, size_t len, unsigned flags)
{
	return sys_result(tee(in, out, len, flags));
}

ssize_t usp_sys_vmsplice(int fd, const struct iovec *iov, unsigned nr_segs, unsigned flags)
{
	return sys_result(vmsplice(fd, iov, nr_segs, flags));
}

ssize_t usp_sys_copy_file_range(int in, int64_t *off_in, int out, int64_t *off_out, size_t len)
{
	return sys_result(copy_file_range(in, off_in, out, off_out, len, 0));
}

int usp_sys_clone_range(int in, int64_t off_in, int out, int64_t off_out, size_t len)
{
	const struct file_clone_range range = {
		.src_fd = in,
		.src_offset = (uint64_t)off_in,
		.src_length = len,
		.dest_offset = (uint64_t)off_out,
	};

	return (int)sys_result(ioctl(out, FICLONERANGE, &range));
}

int usp_sys_pipe(int ret_fds[2], int flags)
{
	return (int)sys_result(pipe2(ret_fds, flags | O_CLOEXEC));
}

int usp_sys_set_pipe_size(int fd, size_t len)
{
	if (len > INT_MAX)
		return -EINVAL;
	return (int)sys_result(fcntl(fd, F_SETPIPE_SZ, (int)len));
}

int usp_sys_get_pipe_size(int fd)
{
	return (int)sys_result(fcntl(fd, F_GETPIPE_SZ));
}

int usp_sys_bytes_readable(int fd)
{
	int len;
	int result = (int)sys_result(ioctl(fd, FIONREAD, &len));

	return result < 0 ? result : len;
}

/* --- Names ---------------------------------------------------------------------------------------- */

int usp_sys_unlink(const char *path)
{
	return (int)sys_result(unlink(path));
}

int usp_sys_fchmod(int fd, unsigned mode)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];
	int result = (int)sys_result(fchmod(fd, (mode_t)mode));

	if (result != -EBADF)
		return result;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return (int)sys_result(chmod(path, (mode_t)mode));
}

int usp_sys_fchown(int fd, uid_t user, gid_t group)
{
	return (int)sys_result(fchownat(fd, "", user, group, AT_EMPTY_PATH));
}

int usp_sys_flock(int fd)
{
	return (int)sys_result(flock(fd, LOCK_EX | LOCK_NB));
}
