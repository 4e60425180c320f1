/* SPDX-License-Identifier: MIT */
/*
 * atomic - a file that is written beside its destination and takes its place only when it is whole.
 *
 * It has no name while it is written, so that nothing is left when this process is killed.
 * linkat(2) cannot replace a file, so before the rename the file gets a name that tells where it
 * comes from. It has that name from the start where a file cannot be without a name, or where
 * /proc, which linking needs, is missing.
 */
#include "atomic.h"
#include "atomic_keep.h"
#include "atomic_path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define ATOMIC_LINK_MAX 64
#define ATOMIC_TRIES 100

struct atomic_file {
	struct atomic_file *next;
	char *path;   /* the destination, with links resolved */
	char *beside; /* name of the file that is written; NULL without one */
};

/* Guards the list of all atomic files, so that a second signal can remove them. */
static pthread_mutex_t atomic_lock = PTHREAD_MUTEX_INITIALIZER;
static struct atomic_file *atomic_files;

static void atomic_register(struct atomic_file *file)
{
	pthread_mutex_lock(&atomic_lock);
	file->next = atomic_files;
	atomic_files = file;
	pthread_mutex_unlock(&atomic_lock);
}

static void atomic_free(struct atomic_file *file)
{
	struct atomic_file **at;

	pthread_mutex_lock(&atomic_lock);
	for (at = &atomic_files; *at; at = &(*at)->next) {
		if (*at == file) {
			*at = file->next;
			break;
		}
	}
	pthread_mutex_unlock(&atomic_lock);
	free(file->path);
	free(file->beside);
	free(file);
}

/* --- The new file ----------------------------------------------------------------------------------------- */

/* Open the directory of path, or make a file without a name in it. */
static int atomic_open_folder(const char *path, int flags, mode_t mode)
{
	char *copy = strdup(path);
	int fd;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), flags | O_CLOEXEC, mode);
	fd = fd < 0 ? -errno : fd;
	free(copy);
	return fd;
}

static void atomic_link_of(int fd, char ret_link[ATOMIC_LINK_MAX])
{
	snprintf(ret_link, ATOMIC_LINK_MAX, "/proc/self/fd/%d", fd);
}

/* Make a file without a name that can get one later. -errno: try a file with a name. */
static int atomic_open_unnamed(const char *path, mode_t mode)
{
	int fd = atomic_open_folder(path, O_TMPFILE | O_RDWR, mode);
	char link[ATOMIC_LINK_MAX];

	if (fd < 0)
		return fd;
	atomic_link_of(fd, link);
	if (access(link, F_OK) == 0)
		return fd;
	close(fd);
	return -ENOENT;
}

/* Make a name beside the destination, so that the rename stays in one file system. */
static char *atomic_name_beside(const char *path)
{
	const char *slash = strrchr(path, '/');
	int len = slash ? (int)(slash + 1 - path) : 0;
	unsigned random;
	char *name;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return NULL;
	return asprintf(&name, "%.*s.%.200s.usplice-%08x", len, path, path + len, random) < 0 ? NULL : name;
}

/* Give the file fd this name, or make a file with it if fd is -1: 0, or the new descriptor. */
static int atomic_take(const char *name, int fd, mode_t mode)
{
	char link[ATOMIC_LINK_MAX];
	int result;

	if (fd < 0) {
		result = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	} else {
		atomic_link_of(fd, link);
		result = linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW);
	}
	return result < 0 ? -errno : result;
}

/*
 * Find a name that is free and take it. The lock is held, so that atomic_remove_all knows every
 * name that exists.
 */
static int atomic_take_name(struct atomic_file *file, int fd, mode_t mode)
{
	int i, result = -EEXIST;

	pthread_mutex_lock(&atomic_lock);
	for (i = 0; i < ATOMIC_TRIES && result == -EEXIST; i++) {
		free(file->beside);
		file->beside = atomic_name_beside(file->path);
		result = file->beside ? atomic_take(file->beside, fd, mode) : -errno;
	}
	if (result < 0) {
		free(file->beside);
		file->beside = NULL;
	}
	pthread_mutex_unlock(&atomic_lock);
	return result;
}

/*
 * Make the file. If there is no old file, the kernel gives it mode and the directory's default ACL.
 * If it replaces an old one it is closed to others at first.
 */
static int atomic_create(struct atomic_file *file, mode_t mode, const struct stat *old, const char **ret_why)
{
	bool is_new = !S_ISREG(old->st_mode);
	int fd, error;

	mode = is_new ? mode & 0777 : 0600;
	fd = atomic_open_unnamed(file->path, mode);
	if (fd < 0)
		fd = atomic_take_name(file, -1, mode);
	error = is_new || fd < 0 ? 0 : atomic_keep(fd, file->path, old, ret_why);
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

int atomic_open(const struct usp_spec *name, mode_t mode, struct atomic_file **ret_file, int *ret_fd,
		struct stat *ret_old, const char **ret_why)
{
	struct atomic_file *file = calloc(1, sizeof(*file));
	struct stat old = {.st_mode = 0};
	int result;

	*ret_why = NULL;
	if (!file)
		return -ENOMEM;
	atomic_register(file);
	result = atomic_path(name, &file->path, &old, ret_why);
	if (result == 0)
		result = atomic_create(file, mode, &old, ret_why);
	if (result < 0) {
		atomic_discard(file);
		return result;
	}
	*ret_file = file;
	*ret_fd = result;
	*ret_old = old;
	return 0;
}

int atomic_is_same(const struct atomic_file *a, const struct atomic_file *b)
{
	return strcmp(a->path, b->path) == 0;
}

/* --- In its place ---------------------------------------------------------------------------------------- */

int atomic_link(struct atomic_file *file, int fd)
{
	return file->beside ? 0 : atomic_take_name(file, fd, 0);
}

/* Sync the directory: only then is the new name on the storage. */
static int atomic_sync_folder(const char *path)
{
	int fd = atomic_open_folder(path, O_RDONLY | O_DIRECTORY, 0), error = 0;

	if (fd < 0)
		return fd;
	/* EINVAL: a file system whose directories cannot be synced. */
	if (fsync(fd) < 0 && errno != EINVAL)
		error = -errno;
	close(fd);
	return error;
}

/*
 * Move to a name that nobody has: 0 or -errno. Some file systems know no RENAME_NOREPLACE, and a second
 * name for a moment does the same.
 */
static int atomic_move_to_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	return link(from, to) < 0 || unlink(from) < 0 ? -errno : 0;
}

static int atomic_move(const struct atomic_file *file, bool keeps_old)
{
	if (keeps_old)
		return atomic_move_to_new(file->beside, file->path);
	return rename(file->beside, file->path) < 0 ? -errno : 0;
}

int atomic_commit(struct atomic_file *file, bool keeps_old)
{
	int error = atomic_move(file, keeps_old);

	if (error < 0) {
		atomic_discard(file);
		return error;
	}
	error = atomic_sync_folder(file->path);
	atomic_free(file);
	return error;
}

void atomic_discard(struct atomic_file *file)
{
	if (!file)
		return;
	if (file->beside)
		unlink(file->beside);
	atomic_free(file);
}

void atomic_remove_all(void)
{
	const struct atomic_file *file;

	pthread_mutex_lock(&atomic_lock);
	for (file = atomic_files; file; file = file->next) {
		if (file->beside)
			unlink(file->beside);
	}
	/* Keep the lock, so that no new name appears before the process ends. */
}
