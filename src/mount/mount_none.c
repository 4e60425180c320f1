/* SPDX-License-Identifier: MIT */
/* mount_none - a build without libfuse3: there is never a mount. */
#include <errno.h>
#include <usplice/mount.h>

int usp_mount_new(const char *mountpoint, const struct usp_mount_params *params, struct usp_mount **ret_mount,
		  const char **ret_why)
{
	(void)mountpoint;
	(void)params;
	(void)ret_mount;
	if (ret_why)
		*ret_why = "it needs libfuse3, without which this usplice was built";
	return -EOPNOTSUPP;
}

int usp_mount_add(struct usp_mount *mount, const struct usp_mount_source *source)
{
	(void)mount;
	(void)source;
	return -EOPNOTSUPP;
}

int usp_mount_serve_metrics(struct usp_mount *mount, const char *address, const char **ret_why)
{
	(void)mount;
	(void)address;
	(void)ret_why;
	return -EOPNOTSUPP;
}

int usp_mount_add_metrics_host(struct usp_mount *mount, const char *name, const char **ret_why)
{
	(void)mount;
	(void)name;
	(void)ret_why;
	return -EOPNOTSUPP;
}

ssize_t usp_mount_metrics_address(struct usp_mount *mount, char *ret_text, size_t len)
{
	(void)mount;
	(void)ret_text;
	(void)len;
	return -EOPNOTSUPP;
}

int usp_mount_start(struct usp_mount *mount, const char **ret_why)
{
	(void)mount;
	(void)ret_why;
	return -EOPNOTSUPP;
}

int usp_mount_run(struct usp_mount *mount)
{
	(void)mount;
	return -EOPNOTSUPP;
}

int usp_mount_detach(struct usp_mount *mount)
{
	(void)mount;
	return -EOPNOTSUPP;
}

int usp_mount_clear(const char *mountpoint)
{
	(void)mountpoint;
	return -EOPNOTSUPP;
}

void usp_mount_stop(struct usp_mount *mount)
{
	(void)mount;
}

void usp_mount_free(struct usp_mount *mount)
{
	(void)mount;
}

void usp_mount_status(struct usp_mount *mount, struct usp_mount_status *ret_status)
{
	(void)mount;
	(void)ret_status;
}

int usp_mount_source_status(struct usp_mount *mount, unsigned index, struct usp_mount_source_status *ret_status)
{
	(void)mount;
	(void)index;
	(void)ret_status;
	return -EOPNOTSUPP;
}
