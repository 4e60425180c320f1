/* SPDX-License-Identifier: MIT */
/* atomic_keep - what a file that takes the place of another one keeps of it. */
#ifndef USP_CLI_ATOMIC_KEEP_H
#define USP_CLI_ATOMIC_KEEP_H

#include <sys/stat.h>

/*
 * Give fd, an empty file of ours with mode 0600 in the same directory, what protects the file at
 * path. That is owner and group where possible, permissions, ACL, security labels and user.*
 * attributes. old is the stat of path. At no moment may a user use the new file without the right
 * to use the old one. 0, or -errno with a sentence in *ret_why: what could not be kept.
 */
int atomic_keep(int fd, const char *path, const struct stat *old, const char **ret_why);

#endif
