/* SPDX-License-Identifier: MIT */
/* same - tell whether two names lead to one object, also through loop devices, which show the bytes of a file. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <usplice/pump.h>

#include "base/sys.h"

#define SAME_LOOP_MAJOR 7
#define SAME_LOOPS_MAX 8 /* loop devices one over the other */

/* Look at the file behind a loop device, which sysfs names. False if it is another device, or the file cannot be found. */
static bool same_look_behind(const struct stat *device, struct stat *ret_file)
{
	char path[PATH_MAX];
	ssize_t len;
	int fd;

	if (!S_ISBLK(device->st_mode) || major(device->st_rdev) != SAME_LOOP_MAJOR)
		return false;
	snprintf(path, sizeof(path), "/sys/dev/block/%d:%u/loop/backing_file", SAME_LOOP_MAJOR, minor(device->st_rdev));
	fd = usp_sys_open(path, O_RDONLY, 0);
	if (fd < 0)
		return false;
	len = usp_sys_read(fd, path, sizeof(path));
	usp_sys_close(fd);
	if (len <= 1 || path[len - 1] != '\n')
		return false;
	path[len - 1] = '\0';
	return usp_sys_stat(path, ret_file) == 0;
}

static struct stat same_origin(const struct stat *object)
{
	struct stat origin = *object, behind;

	for (unsigned i = 0; i < SAME_LOOPS_MAX && same_look_behind(&origin, &behind); i++)
		origin = behind;
	return origin;
}

bool usp_copy_is_same(const struct stat *a, const struct stat *b)
{
	struct stat first = same_origin(a), second = same_origin(b);

	if ((first.st_mode & S_IFMT) != (second.st_mode & S_IFMT))
		return false;
	if (S_ISBLK(first.st_mode))
		return first.st_rdev == second.st_rdev;
	return (S_ISREG(first.st_mode) || S_ISFIFO(first.st_mode)) && first.st_dev == second.st_dev &&
	       first.st_ino == second.st_ino;
}
