/* SPDX-License-Identifier: MIT */
/* atomic_path - which file a spec names that is to be replaced as a whole, and whether it can be. */
#include "atomic_path.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Does text, behind a comma, begin with an option of regular files? */
static bool path_is_option(const char *text)
{
	size_t len = strcspn(text, ",=");

	return (len == 6 && strncmp(text, "direct", len) == 0) || (len == 6 && strncmp(text, "append", len) == 0);
}

/* Copy a path out of a spec, without the backslashes before commas. False if options follow it. */
static bool path_unescape(char *to, const char *spec)
{
	for (; *spec != '\0'; spec++) {
		if (spec[0] == ',' && path_is_option(spec + 1))
			return false;
		if (spec[0] == '\\' && spec[1] == ',')
			spec++;
		*to++ = *spec;
	}
	*to = '\0';
	return true;
}

/* Only "PATH" and "file:PATH" will do; whatever else looks like a scheme is no path. */
static int path_of_spec(const char *spec, char **ret_path, const char **ret_why)
{
	size_t scheme = strcspn(spec, ":/");

	if (strncmp(spec, "file:", 5) == 0)
		spec += strncmp(spec, "file://", 7) == 0 ? 7 : 5;
	else if (strcmp(spec, "-") == 0 || (spec[scheme] == ':' && isalpha((unsigned char)spec[0]))) {
		*ret_why =
			"only a regular file can be replaced as a whole (file:NAME names one whatever it looks like)";
		return -EINVAL;
	}
	*ret_path = malloc(strlen(spec) + 1);
	if (!*ret_path)
		return -ENOMEM;
	if (*spec != '\0' && path_unescape(*ret_path, spec))
		return 0;
	*ret_why = *spec == '\0' ? "the name of the file is missing" : "a file that is replaced takes no options";
	return -EINVAL;
}

/* A path for a file that does not exist: the real one of its directory, and its name. NULL with errno. */
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

/* Where the destination really is, and its stat if it exists; or what forbids to replace it. */
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

int atomic_path(const char *spec, char **ret_path, struct stat *ret_old, const char **ret_why)
{
	char *path = NULL;
	int error = path_of_spec(spec, &path, ret_why);

	*ret_old = (struct stat){.st_mode = 0};
	if (error == 0)
		error = path_resolve(&path, ret_old, ret_why);
	if (error == 0)
		*ret_path = path;
	else
		free(path);
	return error;
}
