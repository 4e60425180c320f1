/* SPDX-License-Identifier: MIT */
/*
 * place - whether the name of a source still leads to the file that is open.
 *
 * A file that is replaced by rename(2), or removed, stays open here, as in any program that has it open. Those who come by the name
 * mean what has the name now: what they write to the old file could not be found by anybody.
 */
#include <errno.h>

#include "mount/inside.h"

bool mount_place_can_renew(const struct mount_node *node)
{
	return mount_node_is_lazy(node) && node->source.can_reopen;
}

int mount_place_look(struct mount_node *node, bool may_block)
{
	uint64_t device, object;
	int ret;

	if (!node->source.find || node->is_copy || !node->object)
		return 0;
	ret = node->source.find(node->source.arg, may_block, &device, &object);
	if (ret == -EAGAIN && !may_block)
		return ret;
	if (ret == 0 && (device != node->device || object != node->object))
		ret = -ESTALE;
	pthread_mutex_lock(&node->mount->lock);
	node->place_error = ret;
	pthread_mutex_unlock(&node->mount->lock);
	return ret;
}

/* Other errors, such as -EACCES, do not tell where the name leads. */
void mount_place_judge(struct mount_node *node)
{
	int ret = mount_place_look(node, true);

	if (ret != -ESTALE && ret != -ENOENT && ret != -ENOTDIR && ret != -ELOOP)
		return;
	pthread_mutex_lock(&node->mount->lock);
	node->is_lost = true;
	pthread_mutex_unlock(&node->mount->lock);
}
