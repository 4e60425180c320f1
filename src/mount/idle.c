/* SPDX-License-Identifier: MIT */
/*
 * idle - sources that nobody uses are closed when descriptors run short, and opened again when they are needed.
 *
 * A source is held by each open of a program and by each request that looks at it. One that is not held, and for which no
 * request waits, is in a list, the one that was used last at the end. Copies take no descriptor, and are never closed. What was
 * written is synced first, because an error that comes late belongs to that descriptor; if that fails it stays open.
 */
#include "mount/inside.h"

void mount_idle_hold(struct mount_node *node)
{
	if (node->is_idle)
		TAILQ_REMOVE(&node->mount->idles, node, idle_link);
	node->is_idle = false;
	node->nr_holds++;
}

void mount_idle_add_open(struct mount_node *node)
{
	mount_idle_hold(node);
	node->nr_opens++;
	if (node->is_looking)
		pthread_cond_broadcast(&node->mount->has_settled);
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
	if (node->is_looking)
		pthread_cond_broadcast(&mount->has_settled);
	pthread_mutex_unlock(&mount->lock);
}

void mount_idle_add(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;

	pthread_mutex_lock(&mount->lock);
	node->is_closable = !node->is_copy && node->source.can_reopen;
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

/* Begin to close a source: how it was read. Whoever needs it meanwhile waits as for one that is being opened. Lock held. */
static enum usp_mount_way idle_begin_close(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	enum usp_mount_way way = node->way;

	if (node->is_idle)
		TAILQ_REMOVE(&mount->idles, node, idle_link);
	mount->nr_closable -= node->is_closable;
	node->is_idle = node->is_closable = false;
	node->is_closing = true;
	node->way = USP_MOUNT_OPENING;
	return way;
}

/* Sync what was written: true if all of it is on the disk. */
static bool idle_sync(struct mount_node *node)
{
	bool is_clean = !atomic_load(&node->is_dirty) || mount_write_sync(node, NULL) == 0;

	if (is_clean)
		atomic_store(&node->is_dirty, false);
	return is_clean;
}

static void idle_end_close(struct mount_node *node, enum usp_mount_way way)
{
	pthread_mutex_lock(&node->mount->lock);
	if (node->way == USP_MOUNT_OPENING) /* otherwise the mount has ended */
		node->way = way;
	node->is_closing = false;
	pthread_cond_broadcast(&node->mount->has_settled);
	pthread_mutex_unlock(&node->mount->lock);
}

struct mount_node *mount_idle_close(struct usp_mount *mount)
{
	struct mount_node *node;
	enum usp_mount_way way = USP_MOUNT_CLOSED;

	pthread_mutex_lock(&mount->lock);
	node = atomic_load(&mount->is_ending) ? NULL : TAILQ_FIRST(&mount->idles);
	if (node)
		way = idle_begin_close(node);
	pthread_mutex_unlock(&mount->lock);
	if (!node)
		return NULL;
	if (idle_sync(node)) {
		mount_node_shut(node);
		way = USP_MOUNT_CLOSED;
	}
	idle_end_close(node, way);
	return node;
}

bool mount_idle_close_for_another(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	bool is_ours;

	pthread_mutex_lock(&mount->lock);
	while (node->nr_holds > 1 && node->nr_opens == 0 && !atomic_load(&mount->is_ending))
		pthread_cond_wait(&mount->has_settled, &mount->lock);
	is_ours = node->nr_holds == 1 && !atomic_load(&mount->is_ending) && node->way > USP_MOUNT_FAILED;
	if (is_ours)
		idle_begin_close(node);
	pthread_mutex_unlock(&mount->lock);
	if (!is_ours)
		return false;
	idle_sync(node); /* an error is told at the end */
	mount_node_shut(node);
	node->object = 0; /* the next file may get the same number */
	idle_end_close(node, USP_MOUNT_OPENING);
	return true;
}
