/* SPDX-License-Identifier: MIT */
/*
 * need - requests that need a source which is not open yet, or whose name may lead to another file, and the threads that open it.
 *
 *   open ──► does its name lead to it? ──► yes, or a program has it open ──► go on, or ESTALE
 *                 │ a link                  │ no
 *                 └──► a thread looks ──────┴──► a thread closes it, and opens what has the name now
 *
 * Requests that come meanwhile are parked.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/thread.h"
#include "mount/inside.h"

/* A request that is parked. */
struct need {
	struct mount_wait wait; /* first */
	struct mount_ask ask;
};

static void need_interrupted(struct mount_wait *wait)
{
	fuse_reply_err(wait->req, EINTR);
	usp_free(wait);
}

/* Return why a request cannot go on, or 0. A program that has the file open goes on with it. Lock held. */
static int need_error(const struct mount_ask *ask)
{
	const struct mount_node *node = ask->node;

	if (node->way == USP_MOUNT_FAILED)
		return node->error;
	if (ask->ino && ask->ino != atomic_load(&node->ino))
		return -ESTALE; /* it is another file by now: the kernel asks for the name again */
	return ask->by_name || node->nr_opens == 0 ? node->place_error : 0;
}

/* Answer a request whose source is held, and drop that hold. */
static void need_go_on(const struct mount_ask *ask)
{
	struct mount_node *node = ask->node;
	int error;

	pthread_mutex_lock(&node->mount->lock);
	error = need_error(ask);
	pthread_mutex_unlock(&node->mount->lock);
	if (error)
		fuse_reply_err(ask->req, -error);
	else
		ask->go_on(ask);
	mount_idle_release(node);
}

static void need_answer(struct need *need)
{
	mount_wait_end(&need->wait);
	need_go_on(&need->ask);
	usp_free(need);
}

/* Tell whether requests have to wait, or one of them has to have the source opened. Lock held. */
static bool need_must_wait(const struct mount_node *node)
{
	return node->way == USP_MOUNT_OPENING || node->way == USP_MOUNT_CLOSED || node->is_looking;
}

/* Answer all that wait for a source which is open now, or failed. Whoever closes it looks for them again. */
static void need_flush(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	struct mount_wait *wait;

	do {
		pthread_mutex_lock(&mount->lock);
		wait = need_must_wait(node) ? NULL : TAILQ_FIRST(&node->waits);
		if (wait) {
			mount_wait_take(wait);
			mount_idle_hold(node);
		}
		pthread_mutex_unlock(&mount->lock);
		if (wait)
			need_answer(usp_container_of(wait, struct need, wait));
	} while (wait);
}

static void need_wake(struct mount_node *node);

/* Close a source to make room for others: true. False if all are used. */
static bool need_close_one(struct usp_mount *mount)
{
	struct mount_node *node = mount_idle_close(mount);
	bool is_needed;

	if (!node)
		return false;
	pthread_mutex_lock(&mount->lock);
	is_needed = !TAILQ_EMPTY(&node->waits);
	pthread_mutex_unlock(&mount->lock);
	if (is_needed)
		need_wake(node);
	return true;
}

/* Open a source. Others are closed if there are too many, or if descriptors have run out. */
static void need_open(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	const char *why;
	int ret;

	while (mount_idle_is_full(mount) && need_close_one(mount))
		;
	do
		ret = mount_node_try(node, &why);
	while ((ret == -EMFILE || ret == -ENFILE) && need_close_one(mount));
	if (ret == 0)
		mount_idle_add(node);
	mount_node_settle(node, ret, why);
}

/* End a thread that has opened a source or looked at it, which is held: answer those that wait. */
static void need_end(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;

	need_flush(node);
	mount_idle_release(node);
	pthread_mutex_lock(&mount->lock);
	if (--mount->nr_openers == 0)
		pthread_cond_broadcast(&mount->idle);
	pthread_mutex_unlock(&mount->lock);
}

static void *need_opener(void *arg)
{
	struct mount_node *node = arg;
	struct usp_mount *mount = node->mount;

	need_open(node);
	pthread_mutex_lock(&mount->lock);
	mount_idle_hold(node);
	pthread_mutex_unlock(&mount->lock);
	need_end(node);
	return NULL;
}

/* Start a thread. Without one the caller does its work. */
static void need_start(void *(*run)(void *arg), struct mount_node *node)
{
	pthread_t thread;

	if (usp_thread_start(&thread, run, node) == 0)
		pthread_detach(thread);
	else
		run(node);
}

/* Tell whether the source has to be opened, again after an error that may be gone. What is damaged stays so. Lock held. */
static bool need_is_due(const struct mount_node *node)
{
	return node->way == USP_MOUNT_CLOSED || (node->way == USP_MOUNT_FAILED && node->error != -EBADMSG);
}

/* Have a source opened for those that wait. */
static void need_wake(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	bool is_due;

	pthread_mutex_lock(&mount->lock);
	is_due = need_is_due(node);
	if (is_due) {
		node->way = USP_MOUNT_OPENING;
		mount->nr_openers++;
	}
	pthread_mutex_unlock(&mount->lock);
	if (is_due)
		need_start(need_opener, node);
	else
		need_flush(node);
}

/* --- Sources whose name may lead to another file ------------------------------------------------------------ */

/* A thread: look where the name leads, and open what is there if no program has the old file open. The hold goes over. */
static void *need_looker(void *arg)
{
	struct mount_node *node = arg;
	struct usp_mount *mount = node->mount;
	bool is_closed = mount_place_look(node, true) == -ESTALE && mount_place_can_renew(node) &&
			 mount_idle_close_for_another(node);

	pthread_mutex_lock(&mount->lock);
	node->is_looking = false;
	pthread_mutex_unlock(&mount->lock);
	if (is_closed)
		need_open(node);
	need_end(node);
	return NULL;
}

/* Tell whether a thread has to look, or to open what is there now. Otherwise what the look has found is noted. */
static bool need_must_look(struct mount_node *node)
{
	int ret = mount_place_look(node, false);
	bool is_free;

	if (ret != -ESTALE || !mount_place_can_renew(node))
		return ret == -EAGAIN;
	pthread_mutex_lock(&node->mount->lock);
	is_free = node->nr_opens == 0;
	pthread_mutex_unlock(&node->mount->lock);
	return is_free;
}

/* Let requests wait for a look: true if the caller has to start the thread, to which its hold goes over. It is dropped otherwise. */
static bool need_begin_look(struct mount_node *node)
{
	bool is_first;

	pthread_mutex_lock(&node->mount->lock);
	is_first = !node->is_looking && node->way > USP_MOUNT_FAILED;
	if (is_first) {
		node->is_looking = true;
		node->mount->nr_openers++;
	}
	pthread_mutex_unlock(&node->mount->lock);
	if (!is_first)
		mount_idle_release(node);
	return is_first;
}

/* --- The request -------------------------------------------------------------------------------------------- */

/* Park a request: true. False: it has been answered with an error. */
static bool need_park(const struct mount_ask *ask)
{
	struct need *need = usp_alloc(sizeof(*need));

	if (!need) {
		fuse_reply_err(ask->req, ENOMEM);
		return false;
	}
	*need = (struct need){.wait = {.mount = ask->node->mount, .req = ask->req, .interrupted = need_interrupted},
			      .ask = *ask};
	if (mount_wait_park(&need->wait, &ask->node->waits))
		return true;
	mount_wait_end(&need->wait);
	need_interrupted(&need->wait);
	return false;
}

void mount_node_need(const struct mount_ask *ask)
{
	struct mount_node *node = ask->node;
	bool is_open, looks, is_parked;

	pthread_mutex_lock(&node->mount->lock);
	is_open = !need_is_due(node) && !need_must_wait(node);
	if (is_open)
		mount_idle_hold(node);
	pthread_mutex_unlock(&node->mount->lock);
	if (is_open && !need_must_look(node)) {
		need_go_on(ask);
		return;
	}
	looks = is_open && need_begin_look(node);
	is_parked = need_park(ask);
	if (looks)
		need_start(need_looker, node);
	else if (is_parked)
		need_wake(node);
}

void mount_node_give_up(struct mount_node *node)
{
	pthread_mutex_lock(&node->mount->lock);
	if (node->way == USP_MOUNT_OPENING || node->way == USP_MOUNT_CLOSED) {
		node->way = USP_MOUNT_FAILED;
		node->error = -ECANCELED;
	}
	if (node->is_looking) {
		node->is_looking = false;
		node->place_error = -ECANCELED;
	}
	pthread_cond_broadcast(&node->mount->has_settled);
	pthread_mutex_unlock(&node->mount->lock);
	need_flush(node);
}
