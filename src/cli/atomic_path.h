/* SPDX-License-Identifier: MIT */
/* atomic_path - find the file that is to be replaced as a whole, and check whether it can be. */
#ifndef USP_CLI_ATOMIC_PATH_H
#define USP_CLI_ATOMIC_PATH_H

#include <sys/stat.h>
#include <usplice/spec.h>

/*
 * Find the path of the regular file that name means, with all links resolved; free it. The file
 * need not exist: ret_old is its stat, or all zero. 0 or -errno, and then *ret_why is a sentence,
 * if there is more to say.
 */
int atomic_path(const struct usp_spec *name, char **ret_path, struct stat *ret_old, const char **ret_why);

#endif
