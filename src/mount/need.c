/* SPDX-License-Identifier: MIT */
/* need - requests that need a source which is not open yet, and the threads that open it. */
#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/thread.h"
#include "mount/inside.h"

/* A request that needs a source which is not open yet. */
struct need {
	struct mount_wait wait; /* first */
	struct mount_node *node;
	void (*go_on)(fuse_req_t req, struct mount_node *node);
};

static void need_interrupted(struct mount_wait *wait)
{
	fuse_reply_err(wait->req, EINTR);
	usp_free(wait);
}

/* Answer a request whose source is held, and drop that hold. */
static void need_go_on(struct mount_node *node, fuse_req_t req, void (*go_on)(fuse_req_t req, struct mount_node *node))
{
	int error;

	pthread_mutex_lock(&node->mount->lock);
	error = node->way == USP_MOUNT_FAILED ? node->error : 0;
	pthread_mutex_unlock(&node->mount->lock);
	if (error)
		fuse_reply_err(req, -error);
	else
		go_on(req, node);
	mount_idle_release(node);
}

static void need_answer(struct need *need)
{
	mount_wait_end(&need->wait);
	need_go_on(need->node, need->wait.req, need->go_on);
	usp_free(need);
}

/* Answer all that wait for a source which is open now, or failed. Whoever closes it looks for them again. */
static void need_flush(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	struct mount_wait *wait;

	do {
		pthread_mutex_lock(&mount->lock);
		wait = node->way == USP_MOUNT_OPENING || node->way == USP_MOUNT_CLOSED ? NULL
										       : TAILQ_FIRST(&node->waits);
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

static void *need_opener(void *arg)
{
	struct mount_node *node = arg;
	struct usp_mount *mount = node->mount;

	need_open(node);
	pthread_mutex_lock(&mount->lock);
	mount_idle_hold(node);
	pthread_mutex_unlock(&mount->lock);
	need_flush(node);
	mount_idle_release(node);
	pthread_mutex_lock(&mount->lock);
	if (--mount->nr_openers == 0)
		pthread_cond_broadcast(&mount->idle);
	pthread_mutex_unlock(&mount->lock);
	return NULL;
}

/* Tell whether the source has to be opened, again after an error that may be gone. What is damaged stays so. Lock held. */
static bool need_is_due(const struct mount_node *node)
{
	return node->way == USP_MOUNT_CLOSED || (node->way == USP_MOUNT_FAILED && node->error != -EBADMSG);
}

/* Have a source opened for those that wait. Without a thread the caller does it. */
static void need_wake(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	pthread_t thread;
	bool is_due;

	pthread_mutex_lock(&mount->lock);
	is_due = need_is_due(node);
	if (is_due) {
		node->way = USP_MOUNT_OPENING;
		mount->nr_openers++;
	}
	pthread_mutex_unlock(&mount->lock);
	if (!is_due)
		need_flush(node);
	else if (usp_thread_start(&thread, need_opener, node) == 0)
		pthread_detach(thread);
	else
		need_opener(node);
}

void mount_node_need(struct mount_node *node, fuse_req_t req, void (*go_on)(fuse_req_t req, struct mount_node *node))
{
	struct usp_mount *mount = node->mount;
	struct need *need;
	bool must_wait;

	pthread_mutex_lock(&mount->lock);
	must_wait = need_is_due(node) || node->way == USP_MOUNT_OPENING;
	if (!must_wait)
		mount_idle_hold(node);
	pthread_mutex_unlock(&mount->lock);
	if (!must_wait) {
		need_go_on(node, req, go_on);
		return;
	}
	need = usp_alloc(sizeof(*need));
	if (!need) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*need = (struct need){
		.wait = {.mount = mount, .req = req, .interrupted = need_interrupted}, .node = node, .go_on = go_on};
	if (mount_wait_park(&need->wait, &node->waits)) {
		need_wake(node);
		return;
	}
	mount_wait_end(&need->wait);
	need_interrupted(&need->wait);
}

void mount_node_give_up(struct mount_node *node)
{
	pthread_mutex_lock(&node->mount->lock);
	if (node->way == USP_MOUNT_OPENING || node->way == USP_MOUNT_CLOSED) {
		node->way = USP_MOUNT_FAILED;
		node->error = -ECANCELED;
	}
	pthread_mutex_unlock(&node->mount->lock);
	need_flush(node);
}
