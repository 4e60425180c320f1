/* SPDX-License-Identifier: MIT */
/*
 * work - requests that may wait for a disk.
 *
 *   a thread that takes requests ──► another one is free ──► runs it at once
 *                                │ no
 *                                └──► queue ──► threads of its own, which come when there is work
 *
 * So one thread always takes requests, and none is handed over while there are enough.
 */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "mount/inside.h"

/* Let go of what the request was about, when it has been answered. */
static void work_end(const struct mount_work *work)
{
	if (work->holds_node)
		mount_idle_release(work->node);
}

static void work_interrupted(struct mount_wait *wait)
{
	wait->is_hooked = false;
	fuse_reply_err(wait->req, EINTR);
	work_end(usp_container_of(wait, struct mount_work, wait));
	usp_free(usp_container_of(wait, struct mount_work, wait));
}

/* Take the first request of the queue, or NULL. Lock held. */
static struct mount_work *work_take(struct usp_mount *mount)
{
	struct mount_wait *wait = TAILQ_FIRST(&mount->works);

	if (!wait)
		return NULL;
	mount_wait_take(wait);
	return usp_container_of(wait, struct mount_work, wait);
}

static void work_run(struct mount_work *work)
{
	mount_wait_end(&work->wait);
	work->run(work);
	work_end(work);
	usp_free(work);
}

/* A thread of the pool: run what is in the queue until the mount ends. */
static void *worker_run(void *arg)
{
	struct usp_mount *mount = arg;
	struct mount_work *work;

	pthread_mutex_lock(&mount->lock);
	while (!mount->workers_must_end) {
		work = work_take(mount);
		if (!work) {
			mount->nr_idle_workers++;
			pthread_cond_wait(&mount->has_work, &mount->lock);
			mount->nr_idle_workers--;
			continue;
		}
		pthread_mutex_unlock(&mount->lock);
		work_run(work);
		pthread_mutex_lock(&mount->lock);
	}
	pthread_mutex_unlock(&mount->lock);
	mount_thread_end(mount, &mount->nr_threads);
	return NULL;
}

/* See to it that a thread takes what is in the queue. False if there is none, and none can be had. */
static bool work_wake(struct usp_mount *mount)
{
	const struct mount_wait *wait;
	unsigned nr_queued = 0;
	bool has_thread;

	pthread_mutex_lock(&mount->lock);
	TAILQ_FOREACH(wait, &mount->works, link)
	nr_queued++;
	if (nr_queued <= mount->nr_idle_workers)
		pthread_cond_signal(&mount->has_work);
	else if (mount->nr_workers < MOUNT_WORKERS_MAX && !mount->workers_must_end &&
		 mount_thread_start(&mount->workers[mount->nr_workers], worker_run, mount, &mount->nr_threads) == 0)
		mount->nr_workers++;
	has_thread = mount->nr_workers > 0;
	pthread_mutex_unlock(&mount->lock);
	return has_thread;
}

/* Run what no thread could be had for. It may be taken by an interrupt meanwhile. */
static void work_run_first(struct usp_mount *mount)
{
	struct mount_work *work;

	pthread_mutex_lock(&mount->lock);
	work = work_take(mount);
	pthread_mutex_unlock(&mount->lock);
	if (work)
		work_run(work);
}

static void work_queue(struct usp_mount *mount, const struct mount_work *work)
{
	const size_t len = work->bytes ? work->len : 0;
	struct mount_work *own = usp_alloc(sizeof(*own) + len);

	if (!own) {
		fuse_reply_err(work->wait.req, ENOMEM);
		work_end(work);
		return;
	}
	*own = *work;
	if (work->bytes)
		own->bytes = memcpy(own + 1, work->bytes, len);
	own->wait.mount = mount;
	own->wait.interrupted = work_interrupted;
	if (!mount_wait_park(&own->wait, &mount->works)) {
		mount_wait_end(&own->wait);
		work_interrupted(&own->wait);
	} else if (!work_wake(mount)) {
		work_run_first(mount);
	}
}

static void work_run_here(struct mount_work *work)
{
	work->run(work);
	work_end(work);
}

void mount_work_do(struct usp_mount *mount, struct mount_work *work)
{
	if (atomic_fetch_add(&mount->nr_busy, 1) + 1 < atomic_load(&mount->nr_serving))
		work_run_here(work);
	else
		work_queue(mount, work);
	atomic_fetch_sub(&mount->nr_busy, 1);
}

void mount_work_cancel(struct usp_mount *mount)
{
	struct mount_work *work;

	do {
		pthread_mutex_lock(&mount->lock);
		mount->workers_must_end = true;
		work = work_take(mount);
		pthread_cond_broadcast(&mount->has_work);
		pthread_mutex_unlock(&mount->lock);
		if (work) {
			mount_wait_end(&work->wait);
			fuse_reply_err(work->wait.req, ENOTCONN);
			work_end(work);
			usp_free(work);
		}
	} while (work);
}

void mount_work_join(struct usp_mount *mount)
{
	while (mount->nr_workers > 0)
		pthread_join(mount->workers[--mount->nr_workers], NULL);
}
