/* SPDX-License-Identifier: MIT */
/* atomic_path - find the file that is to be replaced as a whole, and check whether it can be. */
#include "atomic_path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int path_of(const struct usp_spec *name, char **ret_path, const char **ret_why)
{
	const char *path = usp_spec_path(name);

	if (!path && strcmp(usp_spec_scheme(name), "file") == 0)
		*ret_why = "the name of the file is missing";
	else if (!path)
		*ret_why =
			"only a regular file can be replaced as a whole (file:NAME names one whatever it looks like)";
	else if (usp_spec_nr_options(name))
		*ret_why = "a file that is replaced takes no options";
	else
		*ret_path = strdup(path);
	return *ret_why ? -EINVAL : *ret_path ? 0 : -ENOMEM;
}

/*
 * Make a path for a file that does not exist: the real path of its directory, and its name. NULL
 * with errno.
 */
static char *path_real_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *folder = slash ? strndup(path, (size_t)(slash + 1 - path)) : strdup("."), *real, *joined = NULL;

	if (!folder)
		return NULL;
	real = realpath(folder, NULL);
	free(folder);
	if (real && asprintf(&joined, "%s/%s", strcmp(real, "/") == 0 ? "" : real, slash ? slash + 1 : path) < 0)
		joined = NULL;
	free(real);
	return joined;
}

static int path_set(char **path, char *real)
{
	if (!real)
		return -errno;
	free(*path);
	*path = real;
	return 0;
}

/*
 * Find where the destination really is, and its stat if it exists. On failure *ret_why tells why it
 * cannot be replaced.
 */
static int path_resolve(char **path, struct stat *ret_old, const char **ret_why)
{
	struct stat link;

	if (stat(*path, ret_old) < 0) {
		if (errno != ENOENT)
			return -errno;
		if ((*path)[strlen(*path) - 1] == '/')
			return -EISDIR;
		if (lstat(*path, &link) < 0)
			return path_set(path, path_real_folder(*path));
		*ret_why = "the symbolic link leads nowhere";
		return -ENOENT;
	}
	if (!S_ISREG(ret_old->st_mode)) {
		*ret_why = S_ISDIR(ret_old->st_mode) ? NULL : "only a regular file can be replaced as a whole";
		return S_ISDIR(ret_old->st_mode) ? -EISDIR : -EINVAL;
	}
	return path_set(path, realpath(*path, NULL));
}

int atomic_path(const struct usp_spec *name, char **ret_path, struct stat *ret_old, const char **ret_why)
{
	char *path = NULL;
	int error = path_of(name, &path, ret_why);

	*ret_old = (struct stat){.st_mode = 0};
	if (error == 0)
		error = path_resolve(&path, ret_old, ret_why);
	if (error == 0)
		*ret_path = path;
	else
		free(path);
	return error;
}
