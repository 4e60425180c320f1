/* SPDX-License-Identifier: MIT */
/* atomic - a file that is written beside its destination and takes its place only when it is whole. */
#ifndef USP_CLI_ATOMIC_H
#define USP_CLI_ATOMIC_H

#include <stdbool.h>
#include <sys/stat.h>

struct atomic_file;
struct usp_spec;

/*
 * Make an empty file in the directory of the regular file that name means, which need not exist. If
 * it does not, the new file has mode below the umask. If it does, the new file gets what protects
 * the old one (atomic_keep.h). The file has no name where that is possible. The caller owns the
 * descriptor. A symbolic link is followed. ret_old is the stat of the destination, or all zero
 * without one. 0 or -errno, and then *ret_why is a sentence or NULL.
 */
int atomic_open(const struct usp_spec *name, mode_t mode, struct atomic_file **ret_file, int *ret_fd,
		struct stat *ret_old, const char **ret_why);

/* Tell whether two of them have the same destination. */
int atomic_is_same(const struct atomic_file *a, const struct atomic_file *b);

/* Give the file, which is open as fd, a name beside the destination if it has none yet. 0 or -errno. */
int atomic_link(struct atomic_file *file, int fd);

/*
 * Put the file in the destination's place, sync the directory, and free the struct. The bytes must
 * be on the storage, and the file must have a name. The descriptor may be closed before. With
 * keeps_old a destination that exists is -EEXIST, and stays. 0 or -errno; the struct is freed in both
 * cases.
 */
int atomic_commit(struct atomic_file *file, bool keeps_old);

/* Remove the file and free it. NULL is allowed. */
void atomic_discard(struct atomic_file *file);

/* Remove all atomic files, from any thread, right before the process ends. */
void atomic_remove_all(void);

#endif
