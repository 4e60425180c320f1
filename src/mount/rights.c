/* SPDX-License-Identifier: MIT */
/*
 * rights - the mode of a source, by which the kernel judges who may open it (default_permissions).
 *
 * The kernel knows the mode and the group, but no access list. Where there is one, the mode does not tell what the group and
 * others may: they may nothing. The user of the mount may what this process may now.
 */
#include <errno.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/nfs4_acl.h"
#include "base/sys.h"
#include "mount/inside.h"

#define RIGHTS_NFS4_MAX ((size_t)64 << 10) /* no attribute is longer: XATTR_SIZE_MAX */

/* Tell whether a file has an attribute. Where the file system does not say, it may. */
static bool rights_may_have(int fd, const char *name)
{
	ssize_t ret = usp_sys_get_attribute(fd, name, NULL, 0);

	return ret != -ENODATA && ret != -EOPNOTSUPP;
}

/* Tell whether an access list of NFS 4 says more than the mode. A server gives one for each file. */
static bool rights_has_nfs4(int fd)
{
	unsigned char *bytes;
	bool is_mode;
	ssize_t len;

	if (!rights_may_have(fd, "system.nfs4_acl"))
		return false;
	bytes = usp_alloc(RIGHTS_NFS4_MAX);
	len = bytes ? usp_sys_get_attribute(fd, "system.nfs4_acl", bytes, RIGHTS_NFS4_MAX) : -ENOMEM;
	is_mode = len >= 0 && usp_nfs4_acl_is_mode(bytes, (size_t)len);
	usp_free(bytes);
	return !is_mode;
}

static bool rights_has_list(int fd)
{
	return rights_may_have(fd, "system.posix_acl_access") || rights_may_have(fd, "system.richacl") ||
	       rights_has_nfs4(fd);
}

void mount_rights_begin(struct mount_node *node, int fd)
{
	node->rights_fd = fd;
	node->rights = 0;
	if (fd >= 0 && usp_sys_access(fd, R_OK) == 0)
		node->rights |= 0400;
	if (fd >= 0 && usp_sys_access(fd, W_OK) == 0)
		node->rights |= 0200;
}

mode_t mount_rights_mode(const struct mount_node *node, int fd, const struct stat *st)
{
	const mode_t shown = node->can_write ? 0666 : 0444;
	mode_t user = shown & 0600, others = st->st_mode & shown & 0066;

	if (user & node->rights & 0400 && usp_sys_access(fd, R_OK) == -EACCES)
		user &= ~(mode_t)0400;
	if (user & node->rights & 0200 && usp_sys_access(fd, W_OK) == -EACCES)
		user &= ~(mode_t)0200;
	if (others && node->mount->params.flags & USP_MOUNT_ALLOW_OTHER && rights_has_list(fd))
		others = 0;
	return S_IFREG | user | others;
}

void mount_rights_look(const struct mount_node *node, struct stat *ret_stat)
{
	struct stat st;

	if (node->rights_fd < 0 || usp_sys_fstat(node->rights_fd, &st) < 0)
		return;
	ret_stat->st_mode = mount_rights_mode(node, node->rights_fd, &st);
	ret_stat->st_gid = st.st_gid;
}
