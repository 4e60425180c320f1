/* SPDX-License-Identifier: MIT */
/*
 * faulty_fs - a FUSE file system that shows a folder with faults: wrong sizes, short reads, errors that come late.
 *
 *   faulty_fs FOLDER MOUNTPOINT [FAULT]...
 *
 * It says "serving" when it does, and goes on until it is unmounted or its parent ends, however that happens. Exit code 77:
 * FUSE cannot be used here.
 *
 *   direct          reads and writes go past the page cache, so that read(2) gives what lies behind st_size
 *   nonseekable     files have no positions, although they are regular ones
 *   size=N          each file says that it has N bytes; size=-N says N fewer, size=+N says N more than it has
 *   growing         each file says that it has a page more than what was read so far, until that is true
 *   short=N         a read gives at most N bytes
 *   slow=MS         each read and each write takes so many milliseconds
 *   read=OFF:ERROR  bytes from OFF on cannot be read; what is before them can
 *   write=OFF:ERROR the same for writes
 *   bad=OFF+LEN     these bytes cannot be read, with EIO, and those behind them can; may be repeated
 *   writeback       the kernel keeps what is written until close or fsync, and tells errors of writes there
 *   flush=ERROR     close of a file that may be written fails, each time
 *   fsync=ERROR     so do fsync and fdatasync
 *   fsync_once=ERROR  so does the first one of these
 *   hang=NAME       fsync and fdatasync of the file of this name hang, for as long as FOLDER/hangs is there; a program that
 *                   is killed does not wait for them. Another file NAME leaves FOLDER/NAME.synced then
 *   syncdir=ERROR   so does fsync of a folder
 *   truncate=ERROR  so do truncate and ftruncate
 *   link=ERROR      so does link
 *   xattr=ERROR     so does everything about extended attributes
 *   hollow          each file says that it has no blocks, and that all of it is a hole
 *   copy_range      copy_file_range(2) is served; without it the kernel copies through the page cache
 *
 * ERROR is a name, such as EDQUOT. O_TMPFILE is never there.
 */
#define FUSE_USE_VERSION 31

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define SKIPPED 77
#define GROWS_BY 4096
#define BAD_MAX 16

/* What is wrong with this file system. */
static struct {
	bool is_direct, is_nonseekable, is_growing, is_written_back, has_copy_range, is_hollow;
	bool has_size, size_is_relative;
	int64_t size;
	int64_t grown; /* what was read so far */
	size_t short_len;
	long slow_ms;
	int64_t read_from, write_from; /* where reads and writes begin to fail */
	struct {
		int64_t off, len;
	} bad[BAD_MAX];
	unsigned nr_bad;
	const char *hanging; /* a path, or NULL */
	int read_error, write_error, flush_error, fsync_error, fsync_once_error, syncdir_error, truncate_error,
		link_error, xattr_error;
} faults;

static int folder_fd;

/* --- Names ----------------------------------------------------------------------------------------- */

/* In the folder: "/a" is "a", "/" is ".". */
static const char *real_name(const char *path)
{
	return path[1] ? path + 1 : ".";
}

/* For calls that know no folder. The buffer is the caller's. */
static const char *real_path(char path[PATH_MAX], const char *name)
{
	snprintf(path, PATH_MAX, "/proc/self/fd/%d/%s", folder_fd, real_name(name));
	return path;
}

static int done(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

/* --- Sizes ------------------------------------------------------------------------------------------- */

static void set_size(struct stat *st)
{
	int64_t real = st->st_size;

	if (!S_ISREG(st->st_mode))
		return;
	if (faults.has_size)
		st->st_size = faults.size_is_relative ? real + faults.size : faults.size;
	if (faults.is_growing && faults.grown + GROWS_BY < real)
		st->st_size = faults.grown + GROWS_BY;
	if (st->st_size < 0)
		st->st_size = 0;
	if (faults.is_hollow)
		st->st_blocks = 0;
}

/* The kernel sends only SEEK_DATA and SEEK_HOLE. */
static off_t faulty_lseek(const char *path, off_t off, int whence, struct fuse_file_info *info)
{
	off_t ret = lseek((int)info->fh, off, whence);

	(void)path;
	if (faults.is_hollow)
		return whence == SEEK_DATA ? -ENXIO : off;
	return ret < 0 ? -errno : ret;
}

static int faulty_getattr(const char *path, struct stat *ret_stat, struct fuse_file_info *info)
{
	int ret = info ? fstat((int)info->fh, ret_stat)
		       : fstatat(folder_fd, real_name(path), ret_stat, AT_SYMLINK_NOFOLLOW);

	if (ret == 0)
		set_size(ret_stat);
	return done(ret);
}

static int faulty_truncate(const char *path, off_t len, struct fuse_file_info *info)
{
	char real[PATH_MAX];

	if (faults.truncate_error)
		return -faults.truncate_error;
	return done(info ? ftruncate((int)info->fh, len) : truncate(real_path(real, path), len));
}

/* --- Bytes ------------------------------------------------------------------------------------------- */

static void take_time(void)
{
	const struct timespec time = {.tv_sec = faults.slow_ms / 1000, .tv_nsec = faults.slow_ms % 1000 * 1000000};

	nanosleep(&time, NULL);
}

static int faulty_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
	/* A kernel that writes back reads the rest of a page first, and the offsets of appending writes are its own. */
	int flags = info->flags & ~(O_ACCMODE | O_APPEND | O_DIRECT | O_NOFOLLOW);
	int access = faults.is_written_back && (info->flags & O_ACCMODE) == O_WRONLY ? O_RDWR : info->flags & O_ACCMODE;
	int fd = openat(folder_fd, real_name(path), flags | access | O_CLOEXEC, mode);

	if (fd < 0)
		return -errno;
	info->fh = (uint64_t)fd;
	info->direct_io = faults.is_direct;
	info->nonseekable = faults.is_nonseekable;
	return 0;
}

static int faulty_open(const char *path, struct fuse_file_info *info)
{
	return faulty_create(path, 0, info);
}

/*
 * How many of len bytes at off come before the fault: 0 if it is there. The page cache takes a short read for the end of the file, and
 * a short write for a whole one: there a request that cannot be served whole has to fail.
 */
static size_t before(int64_t fault, int error, int64_t off, size_t len)
{
	if (!error || off + (int64_t)len <= fault)
		return len;
	return faults.is_direct && off < fault ? (size_t)(fault - off) : 0;
}

/* The same for the ranges that are bad. */
static size_t before_bad(int64_t off, size_t len)
{
	for (unsigned i = 0; i < faults.nr_bad; i++) {
		if (off < faults.bad[i].off + faults.bad[i].len)
			len = before(faults.bad[i].off, EIO, off, len);
	}
	return len;
}

static int faulty_read(const char *path, char *ret_bytes, size_t len, off_t off, struct fuse_file_info *info)
{
	size_t good;
	ssize_t ret;

	(void)path;
	take_time();
	if (faults.short_len && len > faults.short_len)
		len = faults.short_len;
	good = before(faults.read_from, faults.read_error, off, len);
	if (good == 0)
		return -faults.read_error;
	good = before_bad(off, good);
	if (good == 0)
		return -EIO;
	ret = pread((int)info->fh, ret_bytes, good, off);
	if (ret > 0 && off + ret > faults.grown)
		faults.grown = off + ret;
	return done(ret);
}

static int faulty_write(const char *path, const char *bytes, size_t len, off_t off, struct fuse_file_info *info)
{
	size_t good;

	(void)path;
	take_time();
	good = before(faults.write_from, faults.write_error, off, len);
	if (good == 0)
		return -faults.write_error;
	return done(pwrite((int)info->fh, bytes, good, off));
}

static ssize_t faulty_copy_file_range(const char *from, struct fuse_file_info *in, off_t in_off, const char *to,
				      struct fuse_file_info *out, off_t out_off, size_t len, int flags)
{
	ssize_t ret;

	(void)from;
	(void)to;
	if (!faults.has_copy_range)
		return -ENOSYS;
	ret = copy_file_range((int)in->fh, &in_off, (int)out->fh, &out_off, len, (unsigned)flags);
	return ret < 0 ? -errno : ret;
}

/* --- What comes late ----------------------------------------------------------------------------------- */

static int faulty_flush(const char *path, struct fuse_file_info *info)
{
	(void)path;
	return (fcntl((int)info->fh, F_GETFL) & O_ACCMODE) == O_RDONLY ? 0 : -faults.flush_error;
}

/* Tell whether the thread that waits for a request must end. The request is interrupted then, but also if it is frozen. */
static bool is_killed(pid_t thread)
{
	char path[64], line[256];
	unsigned long pending = ~0ul; /* it has gone */
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	status = fopen(path, "re");
	while (status && fgets(line, sizeof(line), status) && sscanf(line, "SigPnd: %lx", &pending) != 1)
		;
	if (status)
		fclose(status);
	return pending & 1ul << (SIGKILL - 1);
}

/* Wait in the request, as a server does that cannot be reached. */
static void hang(void)
{
	const struct timespec shortly = {.tv_nsec = 10000000};

	while (!is_killed(fuse_get_context()->pid) && faccessat(folder_fd, "hangs", F_OK, 0) == 0)
		nanosleep(&shortly, NULL);
}

static void note_sync(const char *path)
{
	char name[PATH_MAX];
	int fd;

	snprintf(name, sizeof(name), "%s.synced", real_name(path));
	fd = openat(folder_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
}

static int faulty_fsync(const char *path, int only_data, struct fuse_file_info *info)
{
	int error = faults.fsync_once_error;

	(void)only_data;
	if (faults.hanging && strcmp(real_name(path), faults.hanging) == 0)
		hang();
	else if (faults.hanging)
		note_sync(path);
	if (error)
		faults.fsync_once_error = 0;
	else
		error = faults.fsync_error;
	return error ? -error : done(fsync((int)info->fh));
}

static int faulty_fsyncdir(const char *path, int only_data, struct fuse_file_info *info)
{
	(void)path;
	(void)only_data;
	(void)info;
	return -faults.syncdir_error;
}

static int faulty_release(const char *path, struct fuse_file_info *info)
{
	(void)path;
	close((int)info->fh);
	return 0;
}

/* --- The folder --------------------------------------------------------------------------------------- */

static int faulty_readdir(const char *path, void *list, fuse_fill_dir_t fill, off_t off, struct fuse_file_info *info,
			  enum fuse_readdir_flags flags)
{
	char real[PATH_MAX];
	DIR *folder = opendir(real_path(real, path));
	struct dirent *entry;

	(void)off;
	(void)info;
	(void)flags;
	if (!folder)
		return -errno;
	while ((entry = readdir(folder)))
		fill(list, entry->d_name, NULL, 0, 0);
	closedir(folder);
	return 0;
}

static int faulty_unlink(const char *path)
{
	return done(unlinkat(folder_fd, real_name(path), 0));
}

static int faulty_rename(const char *from, const char *to, unsigned flags)
{
	return done(renameat2(folder_fd, real_name(from), folder_fd, real_name(to), flags));
}

static int faulty_link(const char *from, const char *to)
{
	if (faults.link_error)
		return -faults.link_error;
	return done(linkat(folder_fd, real_name(from), folder_fd, real_name(to), 0));
}

static int faulty_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
	(void)info;
	return done(fchmodat(folder_fd, real_name(path), mode, 0));
}

static int faulty_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *info)
{
	(void)info;
	return done(fchownat(folder_fd, real_name(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int faulty_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *info)
{
	(void)info;
	return done(utimensat(folder_fd, real_name(path), times, AT_SYMLINK_NOFOLLOW));
}

static int faulty_getxattr(const char *path, const char *name, char *ret_value, size_t len)
{
	char real[PATH_MAX];

	return faults.xattr_error ? -faults.xattr_error : done(lgetxattr(real_path(real, path), name, ret_value, len));
}

static int faulty_setxattr(const char *path, const char *name, const char *value, size_t len, int flags)
{
	char real[PATH_MAX];

	return faults.xattr_error ? -faults.xattr_error
				  : done(lsetxattr(real_path(real, path), name, value, len, flags));
}

static int faulty_listxattr(const char *path, char *ret_names, size_t len)
{
	char real[PATH_MAX];

	return faults.xattr_error ? -faults.xattr_error : done(llistxattr(real_path(real, path), ret_names, len));
}

static int faulty_removexattr(const char *path, const char *name)
{
	char real[PATH_MAX];

	return faults.xattr_error ? -faults.xattr_error : done(lremovexattr(real_path(real, path), name));
}

/* Sizes are asked for each time, and a file that is open is known by its descriptor. */
static void *faulty_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
	config->attr_timeout = config->entry_timeout = config->negative_timeout = 0;
	config->hard_remove = 1;
	config->use_ino = 1;
	if (faults.is_written_back)
		conn->want |= FUSE_CAP_WRITEBACK_CACHE & conn->capable;
	return NULL;
}

static const struct fuse_operations faulty_ops = {
	.init = faulty_init,
	.getattr = faulty_getattr,
	.truncate = faulty_truncate,
	.create = faulty_create,
	.open = faulty_open,
	.read = faulty_read,
	.write = faulty_write,
	.lseek = faulty_lseek,
	.copy_file_range = faulty_copy_file_range,
	.flush = faulty_flush,
	.fsync = faulty_fsync,
	.fsyncdir = faulty_fsyncdir,
	.release = faulty_release,
	.readdir = faulty_readdir,
	.unlink = faulty_unlink,
	.rename = faulty_rename,
	.link = faulty_link,
	.chmod = faulty_chmod,
	.chown = faulty_chown,
	.utimens = faulty_utimens,
	.getxattr = faulty_getxattr,
	.setxattr = faulty_setxattr,
	.listxattr = faulty_listxattr,
	.removexattr = faulty_removexattr,
};

/* --- The command line ------------------------------------------------------------------------------------ */

static int error_of(const char *name)
{
	for (int error = 1; error < 256; error++) {
		const char *known = strerrorname_np(error);

		if (known && strcmp(known, name) == 0)
			return error;
	}
	fprintf(stderr, "faulty_fs: no error is called %s\n", name);
	exit(2);
}

static int error_from(char *value, int64_t *ret_off)
{
	*ret_off = strtoll(value, &value, 10);
	return error_of(*value == ':' ? value + 1 : value);
}

static bool set_switch(const char *name)
{
	const struct {
		const char *name;
		bool *is_on;
	} switches[] = {
		{"direct", &faults.is_direct},		{"nonseekable", &faults.is_nonseekable},
		{"growing", &faults.is_growing},	{"writeback", &faults.is_written_back},
		{"copy_range", &faults.has_copy_range}, {"hollow", &faults.is_hollow},
	};

	for (size_t i = 0; i < sizeof(switches) / sizeof(switches[0]); i++) {
		if (strcmp(switches[i].name, name) == 0) {
			*switches[i].is_on = true;
			return true;
		}
	}
	return false;
}

static bool set_error(const char *name, const char *value)
{
	const struct {
		const char *name;
		int *error;
	} errors[] = {
		{"flush", &faults.flush_error},		  {"fsync", &faults.fsync_error},
		{"fsync_once", &faults.fsync_once_error}, {"syncdir", &faults.syncdir_error},
		{"truncate", &faults.truncate_error},	  {"link", &faults.link_error},
		{"xattr", &faults.xattr_error},
	};

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		if (strcmp(errors[i].name, name) == 0) {
			*errors[i].error = error_of(value);
			return true;
		}
	}
	return false;
}

static bool set_number(const char *name, char *value)
{
	if (strcmp(name, "size") == 0) {
		faults.has_size = true;
		faults.size_is_relative = *value == '+' || *value == '-';
		faults.size = strtoll(value, NULL, 10);
	} else if (strcmp(name, "short") == 0) {
		faults.short_len = strtoul(value, NULL, 10);
	} else if (strcmp(name, "slow") == 0) {
		faults.slow_ms = strtol(value, NULL, 10);
	} else if (strcmp(name, "read") == 0) {
		faults.read_error = error_from(value, &faults.read_from);
	} else if (strcmp(name, "bad") == 0 && faults.nr_bad < BAD_MAX) {
		faults.bad[faults.nr_bad].off = strtoll(value, &value, 10);
		faults.bad[faults.nr_bad++].len = strtoll(value, NULL, 10);
	} else if (strcmp(name, "hang") == 0) {
		faults.hanging = value;
	} else if (strcmp(name, "write") == 0) {
		faults.write_error = error_from(value, &faults.write_from);
	} else {
		return false;
	}
	return true;
}

static bool set_fault(char *fault)
{
	char *value = strchr(fault, '=');

	if (!value)
		return set_switch(fault);
	*value++ = '\0';
	return set_error(fault, value) || set_number(fault, value);
}

/* --- Serving ----------------------------------------------------------------------------------------------- */

static int serve(struct fuse *fuse, const char *mountpoint)
{
	int ret;

	if (fuse_mount(fuse, mountpoint) != 0)
		return SKIPPED;
	ret = fuse_set_signal_handlers(fuse_get_session(fuse));
	puts("serving");
	fclose(stdout);
	/* Requests are served one after the other, so that a fault is where it was ordered; but not behind one that hangs. */
	if (ret == 0)
		ret = faults.hanging ? fuse_loop_mt(fuse, 0) : fuse_loop(fuse);
	fuse_unmount(fuse);
	return ret == 0 || ret == SIGTERM ? 0 : 1;
}

int main(int argc, char **argv)
{
	char *options[] = {argv[0], "-osubtype=faulty", "-oallow_other"};
	struct fuse_args args = FUSE_ARGS_INIT(geteuid() == 0 ? 3 : 2, options);
	struct fuse *fuse;
	int code;

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	umask(0);
	for (int i = 3; i < argc; i++) {
		if (!set_fault(argv[i])) {
			fprintf(stderr, "faulty_fs: no fault is called %s\n", argv[i]);
			return 2;
		}
	}
	folder_fd = argc < 3 ? -1 : open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (folder_fd < 0) {
		fprintf(stderr, "usage: faulty_fs FOLDER MOUNTPOINT [FAULT]...\n");
		return 2;
	}
	fuse = fuse_new(&args, &faulty_ops, sizeof(faulty_ops), NULL);
	code = fuse ? serve(fuse, argv[2]) : SKIPPED;
	if (fuse)
		fuse_destroy(fuse);
	return code;
}
