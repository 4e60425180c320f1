/* SPDX-License-Identifier: MIT */
/* copy_same - tell whether two names lead to one object. */
#include "copy.h"

bool copy_is_same(const struct stat *a, const struct stat *b)
{
	if ((a->st_mode & S_IFMT) != (b->st_mode & S_IFMT))
		return false;
	if (S_ISBLK(a->st_mode))
		return a->st_rdev == b->st_rdev;
	return (S_ISREG(a->st_mode) || S_ISFIFO(a->st_mode)) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

bool copy_is_same_socket(const struct stat *a, const struct stat *b)
{
	return S_ISSOCK(a->st_mode) && S_ISSOCK(b->st_mode) && a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}
