/* SPDX-License-Identifier: MIT */
/* atomic - a file that is written beside its destination and takes its place only when it is whole. */
#include "atomic.h"
#include "atomic_path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct atomic_file {
	struct atomic_file *next;
	char *path;   /* the destination, links resolved */
	char *beside; /* the file that is written */
};

/* All that exist, so that a second signal can remove them. */
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

/* Beside the destination, so that the rename stays in one file system. */
static char *atomic_name_beside(const char *path)
{
	const char *slash = strrchr(path, '/');
	int len = slash ? (int)(slash + 1 - path) : 0;
	char *beside;

	return asprintf(&beside, "%.*s.%.200s.usplice-XXXXXX", len, path, path + len) < 0 ? NULL : beside;
}

/* Give the new file what the old one had; whose it is only as far as that is allowed. */
static int atomic_set_mode(int fd, mode_t mode, const struct stat *old)
{
	mode_t mask = umask(0);

	umask(mask);
	if (old->st_nlink == 0)
		return fchmod(fd, mode & 0777 & ~mask);
	if ((old->st_uid != geteuid() || old->st_gid != getegid()) && fchown(fd, old->st_uid, old->st_gid) < 0)
		return fchmod(fd, old->st_mode & 0777);
	return fchmod(fd, old->st_mode & 07777);
}

static int atomic_create(struct atomic_file *file, mode_t mode, const struct stat *old)
{
	int fd = mkostemp(file->beside, O_CLOEXEC);
	int error;

	if (fd < 0)
		return -errno;
	if (atomic_set_mode(fd, mode, old) == 0)
		return fd;
	error = -errno;
	close(fd);
	unlink(file->beside);
	return error;
}

int atomic_open(const char *spec, mode_t mode, struct atomic_file **ret_file, int *ret_fd, struct stat *ret_old,
		const char **ret_why)
{
	struct atomic_file *file = calloc(1, sizeof(*file));
	struct stat old = {.st_nlink = 0};
	int result;

	*ret_why = NULL;
	if (!file)
		return -ENOMEM;
	result = atomic_path(spec, &file->path, &old, ret_why);
	if (result == 0) {
		file->beside = atomic_name_beside(file->path);
		result = file->beside ? atomic_create(file, mode, &old) : -ENOMEM;
	}
	if (result < 0) {
		atomic_free(file);
		return result;
	}
	atomic_register(file);
	*ret_file = file;
	*ret_fd = result;
	*ret_old = old;
	return 0;
}

int atomic_is_same(const struct atomic_file *a, const struct atomic_file *b)
{
	return strcmp(a->path, b->path) == 0;
}

/* The new name is on the storage only when the directory is. */
static int atomic_sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd, error = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(copy);
	if (fd < 0)
		return -errno;
	/* EINVAL: a file system whose directories cannot be synced. */
	if (fsync(fd) < 0 && errno != EINVAL)
		error = -errno;
	close(fd);
	return error;
}

int atomic_commit(struct atomic_file *file)
{
	int error;

	if (rename(file->beside, file->path) < 0) {
		error = -errno;
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
	unlink(file->beside);
	atomic_free(file);
}

void atomic_remove_all(void)
{
	const struct atomic_file *file;

	pthread_mutex_lock(&atomic_lock);
	for (file = atomic_files; file; file = file->next)
		unlink(file->beside);
	/* The lock is kept: nobody makes another one before the process ends. */
}
