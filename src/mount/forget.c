/* SPDX-License-Identifier: MIT */
/*
 * forget - a thread that tells the kernel to forget what it has cached of a source.
 *
 * The kernel does so before the call returns, and waits for pages that are being written meanwhile: for requests, which other
 * threads have to answer. So no thread that answers requests may call it.
 */
#include "mm/folio.h"
#include "mount/inside.h"

/* Take a source about which the kernel has to be told: true. Lock held. */
static bool forget_take(struct usp_mount *mount, struct mount_node **ret_node, int64_t *ret_pos)
{
	for (unsigned i = 0; i < mount->nr_nodes; i++) {
		struct mount_node *node = mount->nodes[i];

		if (node->forget_from == MOUNT_NOTHING)
			continue;
		*ret_node = node;
		*ret_pos = node->forget_from;
		node->forget_from = MOUNT_NOTHING;
		return true;
	}
	return false;
}

static void *forget_run(void *arg)
{
	struct usp_mount *mount = arg;
	struct mount_node *node;
	int64_t pos;

	pthread_mutex_lock(&mount->lock);
	while (!mount->forgetter_must_end) {
		if (!forget_take(mount, &node, &pos)) {
			pthread_cond_wait(&mount->has_forget, &mount->lock);
			continue;
		}
		pthread_mutex_unlock(&mount->lock);
		fuse_lowlevel_notify_inval_inode(mount->session, node->ino, pos / USP_PAGE * USP_PAGE, 0);
		pthread_mutex_lock(&mount->lock);
	}
	pthread_mutex_unlock(&mount->lock);
	mount_thread_end(mount, &mount->nr_forgetting);
	return NULL;
}

void mount_forget(struct mount_node *node, int64_t pos)
{
	struct usp_mount *mount = node->mount;

	pthread_mutex_lock(&mount->lock);
	if (pos < node->forget_from)
		node->forget_from = pos;
	pthread_cond_signal(&mount->has_forget);
	pthread_mutex_unlock(&mount->lock);
}

int mount_forget_begin(struct usp_mount *mount)
{
	int ret = mount_thread_start(&mount->forgetter, forget_run, mount, &mount->nr_forgetting);

	mount->has_forgetter = ret == 0;
	return ret;
}

void mount_forget_stop(struct usp_mount *mount)
{
	pthread_mutex_lock(&mount->lock);
	mount->forgetter_must_end = true;
	pthread_cond_signal(&mount->has_forget);
	pthread_mutex_unlock(&mount->lock);
}

void mount_forget_join(struct usp_mount *mount)
{
	if (mount->has_forgetter)
		pthread_join(mount->forgetter, NULL);
	mount->has_forgetter = false;
}
