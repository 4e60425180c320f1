/* SPDX-License-Identifier: MIT */
/*
 * wait - requests that are parked, and how their programs are interrupted.
 *
 * The kernel sends an interrupt when the program got a signal; without an answer it waits on, uninterruptibly. libfuse
 * calls back with a lock of the request held, which mount_wait_end takes, too: so no call is under way behind it.
 */
#include "mount/inside.h"

static void wait_interrupt(fuse_req_t req, void *arg)
{
	struct mount_wait *wait = arg;
	struct usp_mount *mount = wait->mount;
	bool is_ours;

	(void)req;
	pthread_mutex_lock(&mount->lock);
	wait->is_interrupted = true;
	is_ours = wait->queue;
	if (is_ours)
		mount_wait_take(wait);
	pthread_mutex_unlock(&mount->lock);
	if (is_ours)
		wait->interrupted(wait);
}

bool mount_wait_park(struct mount_wait *wait, struct mount_waits *queue)
{
	struct usp_mount *mount = wait->mount;
	bool is_parked;

	if (!wait->is_hooked) {
		wait->is_hooked = true;
		fuse_req_interrupt_func(wait->req, wait_interrupt, wait);
	}
	pthread_mutex_lock(&mount->lock);
	is_parked = !wait->is_interrupted;
	if (is_parked) {
		wait->queue = queue;
		TAILQ_INSERT_TAIL(queue, wait, link);
		atomic_fetch_add(&mount->nr_waiting, 1);
	}
	pthread_mutex_unlock(&mount->lock);
	return is_parked;
}

void mount_wait_take(struct mount_wait *wait)
{
	TAILQ_REMOVE(wait->queue, wait, link);
	wait->queue = NULL;
	atomic_fetch_sub(&wait->mount->nr_waiting, 1);
}

void mount_wait_end(struct mount_wait *wait)
{
	if (wait->is_hooked)
		fuse_req_interrupt_func(wait->req, NULL, NULL);
	wait->is_hooked = false;
}
