/* SPDX-License-Identifier: MIT */
/* sys_mount - the system calls of mounts, and of FUSE. */
#include <fcntl.h>
#include <mntent.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys_door.h"

/* Linux 6.9; headers may be older. */
struct sys_backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define SYS_MOUNT_LINE_MAX 16384 /* a path and its options may be as long as a page each, with escapes */
#define SYS_FUSE_BACKING_OPEN _IOW(229, 1, struct sys_backing_map)
#define SYS_FUSE_BACKING_CLOSE _IOW(229, 2, uint32_t)

extern char **environ;

int usp_sys_detach(const char *path)
{
	return (int)sys_result(umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW));
}

int usp_sys_fusermount_detach(const char *path)
{
	char *argv[] = {(char *)"fusermount3", (char *)"-u", (char *)"-q", (char *)"-z",
			(char *)"--",	       (char *)path, NULL};
	pid_t pid, got;
	int status = 0, error = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);

	if (error)
		return -error;
	do
		got = waitpid(pid, &status, 0);
	while (got < 0 && errno == EINTR);
	return got < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0) ? 0 : -EIO; /* SIGCHLD may be ignored */
}

/* stat(2) may know the answer from before. */
bool usp_sys_has_no_server(const char *path)
{
	struct statfs st;

	return sys_result(statfs(path, &st)) == -ENOTCONN;
}

bool usp_sys_is_mounted(const char *path, const char *type)
{
	FILE *list = setmntent("/proc/self/mounts", "re");
	char text[SYS_MOUNT_LINE_MAX];
	struct mntent entry;
	bool is_mounted = false;

	while (list && getmntent_r(list, &entry, text, sizeof(text))) {
		if (strcmp(entry.mnt_dir, path) == 0)
			is_mounted = strcmp(entry.mnt_type, type) == 0;
	}
	if (list)
		endmntent(list);
	return is_mounted;
}

int usp_sys_fuse_backing_open(int fuse_fd, int fd)
{
	const struct sys_backing_map map = {.fd = fd};

	return (int)sys_result(ioctl(fuse_fd, SYS_FUSE_BACKING_OPEN, &map));
}

int usp_sys_fuse_backing_close(int fuse_fd, int number)
{
	const uint32_t id = (uint32_t)number;

	return (int)sys_result(ioctl(fuse_fd, SYS_FUSE_BACKING_CLOSE, &id));
}
