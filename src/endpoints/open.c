/* SPDX-License-Identifier: MIT */
/* open - open what a spec names. A path is opened by the type of the file there. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <usplice/endpoint.h>

#include "base/sized.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"

/* Tell whether path leads, through /proc, to an open socket. The file of a UNIX socket is on another file system. */
static bool path_is_open_socket(const char *path)
{
	int fd = usp_sys_open(path, O_PATH, 0);
	bool is_open = fd >= 0 && usp_sys_fs_type(fd) == SOCKFS_MAGIC;

	usp_sys_close(fd);
	return is_open;
}

/* Find the type of a path: that of the file there, or a regular file if none is there. */
static int path_find_endpoint(const char *path, const struct usp_endpoint **ret_endpoint, const char **ret_why)
{
	struct stat st;
	int ret = usp_sys_stat(path, &st);

	if (ret == -ENOENT)
		return 0; /* opening creates it, or gives the error */
	if (ret < 0)
		return ret;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISSOCK(st.st_mode)) {
		*ret_why = path_is_open_socket(path)
				   ? "it is a socket that is open already; write - or fd:N in place of the path"
				   : "it is a socket; to connect to it, write unix: and its path";
		return -ENXIO;
	}
	if (!(st.st_mode & S_IFMT)) {
		*ret_why = "no bytes flow through it";
		return -EINVAL;
	}
	*ret_endpoint = usp_endpoint_of(st.st_mode & S_IFMT);
	return 0;
}

static int path_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	const struct usp_endpoint *endpoint = &usp_regular_endpoint;
	int ret;

	if (!spec->address[0]) {
		*ret_why = "the name of the file is missing";
		return -EINVAL;
	}
	ret = path_find_endpoint(spec->address, &endpoint, ret_why);
	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < spec->nr_options; i++) {
		const char *name = spec->options[i].name;

		if (usp_endpoint_has_option(endpoint, name, strlen(name)))
			continue;
		*ret_why = "this type of file does not have that option";
		return -EINVAL;
	}
	return endpoint->open(spec, params, ret_file, ret_why);
}

/* Check params. creat_mode may be a whole st_mode of a regular file. */
static bool open_can(const struct usp_open_params *params)
{
	return usp_endpoint_can_mode(params->mode) && !(params->creat_mode & ~(S_IFREG | 07777));
}

int usp_spec_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		  const char **ret_why)
{
	struct usp_open_params own;
	const char *why = NULL;
	int ret = spec && params ? usp_sized_take(&own, sizeof(own), params) : -EINVAL;

	if (ret == 0)
		ret = open_can(&own) ? 0 : -EINVAL;
	if (ret == 0 && spec->endpoint == &usp_regular_endpoint)
		ret = path_open(spec, &own, ret_file, &why);
	else if (ret == 0)
		ret = spec->endpoint->open(spec, &own, ret_file, &why);
	if (ret_why)
		*ret_why = ret < 0 ? why : NULL;
	return ret;
}

int usp_open(const char *text, const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why)
{
	struct usp_spec *spec;
	const char *why = NULL;
	int ret = usp_spec_parse(text, &spec, &why);

	if (ret == 0) {
		ret = usp_spec_open(spec, params, ret_file, &why);
		usp_spec_free(spec);
	}
	if (ret_why)
		*ret_why = why;
	return ret;
}
