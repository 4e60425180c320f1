/* SPDX-License-Identifier: MIT */
/*
 * idle - sources that nobody uses are closed when descriptors run short, and opened again when they are needed.
 *
 * A source is held by each open of a program and by each request that looks at it. One that is not held, and for which no
 * request waits, is in a list, the one that was used last at the end. Copies take no descriptor, and are never closed. Nor is
 * what can be written: an error that comes late belongs to that descriptor.
 */
#include "mount/inside.h"

void mount_idle_hold(struct mount_node *node)
{
	if (node->is_idle)
		TAILQ_REMOVE(&node->mount->idles, node, idle_link);
	node->is_idle = false;
	node->nr_holds++;
}

/* Lock held. */
static bool idle_may_close(const struct mount_node *node)
{
	return node->is_closable && node->nr_holds == 0 && TAILQ_EMPTY(&node->waits);
}

void mount_idle_release(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;

	pthread_mutex_lock(&mount->lock);
	node->nr_holds--;
	if (idle_may_close(node)) {
		node->is_idle = true;
		TAILQ_INSERT_TAIL(&mount->idles, node, idle_link);
	}
	pthread_mutex_unlock(&mount->lock);
}

void mount_idle_add(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;

	pthread_mutex_lock(&mount->lock);
	node->is_closable = !node->is_copy && !node->can_write && node->source.can_reopen;
	mount->nr_closable += node->is_closable;
	pthread_mutex_unlock(&mount->lock);
}

bool mount_idle_is_full(struct usp_mount *mount)
{
	bool is_full;

	pthread_mutex_lock(&mount->lock);
	is_full = mount->nr_closable >= mount->nr_closable_max;
	pthread_mutex_unlock(&mount->lock);
	return is_full;
}

/* Whoever needs it meanwhile waits as for one that is being opened. */
struct mount_node *mount_idle_close(struct usp_mount *mount)
{
	struct mount_node *node;

	pthread_mutex_lock(&mount->lock);
	node = TAILQ_FIRST(&mount->idles);
	if (node) {
		TAILQ_REMOVE(&mount->idles, node, idle_link);
		node->is_idle = node->is_closable = false;
		node->way = USP_MOUNT_OPENING;
		mount->nr_closable--;
	}
	pthread_mutex_unlock(&mount->lock);
	if (!node)
		return NULL;
	mount_node_shut(node);
	pthread_mutex_lock(&mount->lock);
	if (node->way == USP_MOUNT_OPENING) /* otherwise the mount has ended */
		node->way = USP_MOUNT_CLOSED;
	pthread_mutex_unlock(&mount->lock);
	return node;
}
