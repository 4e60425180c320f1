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
