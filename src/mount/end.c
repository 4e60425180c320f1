/* SPDX-License-Identifier: MIT */
/*
 * end - how a mount ends, also over a source that hangs.
 *
 *   requests under way end ──► the connection ends ──► each written source is synced, in threads ──► joined
 *        │ no, they hang         (severed)                  │ no, it hangs
 *        └──────────────────────────────────────────────────┴──► left behind: usp_mount_free waits for them
 *
 * A thread that hangs in the kernel cannot be ended, only left behind. The caller of usp_mount_run is none of them. Sources
 * are synced side by side, so that one that hangs holds back no other.
 */
#include <errno.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "mount/inside.h"

#define END_TIMEOUT_MAX_NS ((uint64_t)INT64_MAX / 2) /* a century: as without an end */

/* --- Requests ----------------------------------------------------------------------------------------------- */

/* Wait for the thread that tells the kernel something. Programs for which the kernel waits get an answer. */
static bool end_forgetter(struct usp_mount *mount, uint64_t end_ns)
{
	struct pollfd fds[] = {{.fd = mount->end_fd, .events = POLLIN}, {.fd = mount->fuse_fd, .events = POLLIN}};
	void *buf = usp_sys_map_anon(mount_serve_len());
	int64_t left_ns;

	mount_forget_stop(mount);
	while (mount_thread_left(mount, &mount->nr_forgetting, end_ns, &left_ns)) {
		usp_sys_poll(fds, buf ? 2 : 1, left_ns);
		if (buf && fds[1].revents)
			mount_serve_refuse(mount, buf);
	}
	if (buf)
		usp_sys_unmap(buf, mount_serve_len());
	return atomic_load(&mount->nr_forgetting) == 0;
}

/* Wait for all threads that have to do with requests: true if they have ended. */
static bool end_threads(struct usp_mount *mount, uint64_t end_ns)
{
	if (!mount_thread_wait(mount, &mount->nr_threads, end_ns))
		return false;
	mount_work_cancel(mount); /* what a thread has queued since */
	return end_forgetter(mount, end_ns);
}

/* Answer what waits, when no thread takes requests any more. Threads that open sources may go on. Blocks while one hangs. */
static void end_requests(struct usp_mount *mount)
{
	mount_work_cancel(mount);
	mount_forget_stop(mount);
	mount_serve_join(mount);
	for (unsigned i = 0; i < mount->nr_nodes; i++)
		mount_node_give_up(mount->nodes[i]);
	mount_read_cancel(mount);
	mount_work_join(mount);
	mount_forget_join(mount);
}

/* --- To the disk -------------------------------------------------------------------------------------------- */

/* Tell whether the end has to see to a source. */
static bool end_is_due(const struct mount_node *node)
{
	return atomic_load(&node->was_changed) || node->is_closing;
}

/* Wait for a thread that closes the source: true if it is open. */
static bool end_is_open(struct mount_node *node)
{
	bool is_open;

	pthread_mutex_lock(&node->mount->lock);
	while (node->is_closing)
		pthread_cond_wait(&node->mount->has_settled, &node->mount->lock);
	is_open = node->way > USP_MOUNT_FAILED;
	pthread_mutex_unlock(&node->mount->lock);
	return is_open;
}

/* A thread: sync one source after the other, and look whether what was written can be found. */
static void *end_sync(void *arg)
{
	struct usp_mount *mount = arg;
	unsigned i;

	while ((i = atomic_fetch_add(&mount->next_sync, 1)) < mount->nr_nodes) {
		struct mount_node *node = mount->nodes[i];

		if (!end_is_due(node))
			continue;
		if (end_is_open(node) && atomic_load(&node->is_dirty))
			mount_write_sync(node, NULL);
		if (atomic_load(&node->was_changed))
			mount_place_judge(node);
		atomic_store(&node->is_synced, true);
	}
	mount_thread_end(mount, &mount->nr_syncing);
	return NULL;
}

/* Start a thread for each source that has to be synced. Without any the caller does it. */
static void end_begin_sync(struct usp_mount *mount)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < mount->nr_nodes; i++)
		nr += end_is_due(mount->nodes[i]);
	nr = usp_min(nr, MOUNT_WORKERS_MAX);
	while (mount->nr_syncers < nr &&
	       mount_thread_start(&mount->syncers[mount->nr_syncers], end_sync, mount, &mount->nr_syncing) == 0)
		mount->nr_syncers++;
	if (nr > 0 && mount->nr_syncers == 0) {
		atomic_fetch_add(&mount->nr_syncing, 1);
		end_sync(mount);
	}
}

/* Tell how the syncs ended: 0, or -errno of the first one that failed; -ETIMEDOUT: one has not ended. */
static int end_judge(struct usp_mount *mount)
{
	int ret = 0;

	pthread_mutex_lock(&mount->lock);
	for (unsigned i = 0; i < mount->nr_nodes; i++) {
		struct mount_node *node = mount->nodes[i];

		node->is_unsynced = atomic_load(&node->was_changed) && !atomic_load(&node->is_synced);
		if (ret == 0)
			ret = node->is_unsynced	 ? -ETIMEDOUT
			      : node->sync_error ? node->sync_error
			      : node->is_lost	 ? -ESTALE
						 : 0;
	}
	pthread_mutex_unlock(&mount->lock);
	return ret;
}

/* Requests have half of the time, so that one that hangs leaves the rest to the other sources. */
int mount_end(struct usp_mount *mount)
{
	const uint64_t begin_ns = usp_sys_now_ns(), timeout_ns = mount->params.sync_timeout_ns;
	bool is_bounded = timeout_ns > 0 && timeout_ns < END_TIMEOUT_MAX_NS;

	mount_serve_stop(mount);
	atomic_store(&mount->is_ending, true);
	mount_work_cancel(mount);
	if (end_threads(mount, is_bounded ? begin_ns + timeout_ns / 2 : 0)) {
		end_requests(mount);
		mount_session_end(mount);
	} else {
		mount_session_abandon(mount);
	}
	end_begin_sync(mount);
	mount_thread_wait(mount, &mount->nr_syncing, is_bounded ? begin_ns + timeout_ns : 0);
	atomic_store(&mount->is_over, true);
	return end_judge(mount);
}

void mount_end_join(struct usp_mount *mount)
{
	if (mount->session)
		end_requests(mount);
	mount_session_end(mount);
	while (mount->nr_syncers > 0)
		pthread_join(mount->syncers[--mount->nr_syncers], NULL);
}
