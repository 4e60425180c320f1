/* SPDX-License-Identifier: MIT */
/*
 * backing - passthrough: the kernel reads a file by itself (Linux 6.9).
 *
 * It needs CAP_SYS_ADMIN in the first user namespace, although the kernel offers it to all. Opens with and without
 * passthrough of one file exclude each other, so that it is chosen once for each source.
 */
#include "base/sys.h"
#include "mount/inside.h"

/*
 * Tell whether each write has to come here. The kernel writes with the rights of this process, and then leaves set-user-ID
 * where others have written.
 */
static bool backing_needs_requests(const struct mount_node *node)
{
	return node->can_write && node->mount->params.flags & USP_MOUNT_ALLOW_OTHER;
}

void mount_backing_choose(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	int ret = 0;

	pthread_mutex_lock(&mount->lock);
	if (!node->is_chosen && !backing_needs_requests(node) && node->fd >= 0 && mount->has_passthrough)
		ret = usp_sys_fuse_backing_open(mount->fuse_fd, node->fd);
	node->is_chosen = true;
	if (ret > 0) {
		node->backing = ret;
		node->way = USP_MOUNT_PASSTHROUGH;
	}
	pthread_mutex_unlock(&mount->lock);
}

void mount_backing_close(struct mount_node *node)
{
	if (node->backing)
		usp_sys_fuse_backing_close(node->mount->fuse_fd, node->backing);
	node->backing = 0;
	node->is_chosen = false;
}
