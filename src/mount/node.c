/* SPDX-License-Identifier: MIT */
/*
 * node - a source: how it is opened, what it is now, and who waits for that.
 *
 *   is opened for writing   as it is, without a page cache (write.c)
 *   has a mapping           as it is
 *   positions and a size    a page cache over it (endpoints/cached.c)
 *   anything else           a copy (gather.c), which is mapped into memory
 */
#include <errno.h>
#include <string.h>
#include <usplice/transform.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "base/thread.h"
#include "endpoints/endpoints.h"
#include "mount/inside.h"
#include "splice/filemap_source.h"

/* --- Opening ------------------------------------------------------------------------------------------------ */

struct node_map {
	void *base;
	size_t len;
};

static void node_unmap(void *arg)
{
	struct node_map *map = arg;

	usp_sys_unmap(map->base, map->len);
	usp_free(map);
}

/* Make a file of the bytes of a copy, by reference: 0 or -errno. */
static int node_map_copy(struct mount_node *node, size_t len)
{
	struct node_map *map = usp_alloc(sizeof(*map));
	int ret = map ? usp_sys_map_file(node->fd, len, &map->base) : -ENOMEM;

	if (ret == 0) {
		map->len = len;
		ret = usp_open_memory(map->base, len, USP_READ, node_unmap, map, &node->file);
		if (ret < 0)
			usp_sys_unmap(map->base, len);
	}
	if (ret < 0)
		usp_free(map);
	return ret;
}

/* Copy the source, which is closed then: 0 or -errno. */
static int node_gather(struct mount_node *node, struct usp_file *from, const char **ret_why)
{
	struct mount_copy copy;
	int ret = mount_gather(node->mount, node->name, from, &copy, ret_why), late;
	uint64_t off;

	if (ret < 0 && !*ret_why && !usp_transform_failure(from, ret_why, &off) && ret == -EBADMSG)
		*ret_why = "it has another digest than the one that is expected";
	late = usp_file_close(from);
	usp_file_put(from);
	if (ret < 0)
		return ret;
	node->fd = copy.fd;
	node->owns_fd = true;
	node->is_copy = true;
	node->memory = copy.memory;
	node->seen.bytes = copy.len;
	return late < 0 ? late : copy.len > 0 ? node_map_copy(node, (size_t)copy.len) : 0;
}

/* Lay a page cache over a file, whose reference goes over: 0 or -errno. */
static int node_cache(struct mount_node *node, struct usp_file *below)
{
	struct usp_file *file;
	int ret = usp_cached_over(below, node->mount->params.budget, usp_file_spec(below), &file);

	usp_file_put(below);
	if (ret < 0)
		return ret;
	node->file = file;
	return 0;
}

/* Return the descriptor of a plain file, for passthrough, or -1. */
static int node_plain_fd(const struct usp_file *file)
{
	struct stat st;

	return !file->mapping && !file->below && file->fd >= 0 && usp_sys_fstat(file->fd, &st) == 0 &&
			       S_ISREG(st.st_mode)
		       ? file->fd
		       : -1;
}

/* Note what stat(2) shows: the times and rights of the lowest file, and the user of this process. */
static void node_note(struct mount_node *node, const struct usp_file *file)
{
	const struct usp_mount *mount = node->mount;
	struct stat st;

	while (file->below && file->fd < 0)
		file = file->below;
	node->st = (struct stat){.st_mode = S_IFREG | 0400,
				 .st_uid = mount->user,
				 .st_gid = mount->group,
				 .st_nlink = 1,
				 .st_blksize = 4096,
				 .st_mtim = mount->born,
				 .st_atim = mount->born,
				 .st_ctim = mount->born};
	if (file->fd < 0 || usp_sys_fstat(file->fd, &st) < 0)
		return;
	node->st.st_mode = S_IFREG | 0400 | (st.st_mode & 0444);
	node->st.st_gid = st.st_gid;
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		node->st.st_mtim = st.st_mtim;
		node->st.st_atim = st.st_atim;
		node->st.st_ctim = st.st_ctim;
	}
}

/* Open the source: 0 or -errno. The node is not shown to others yet. */
static int node_open(struct mount_node *node, const char **ret_why)
{
	const struct usp_mount_params *params = &node->mount->params;
	struct usp_file *file = NULL;
	int ret = node->source.open(node->source.arg, &file, ret_why);

	if (ret < 0)
		return ret;
	*ret_why = NULL;
	node_note(node, file);
	if (params->flags & USP_MOUNT_WRITE && file->mode & USP_WRITE) {
		node->file = file;
		return mount_write_open(node, file, ret_why);
	}
	if (params->flags & USP_MOUNT_PREFETCH || usp_filemap_objection(file))
		return node_gather(node, file, ret_why);
	node->fd = node_plain_fd(file);
	if (file->mapping)
		node->file = file;
	else
		ret = node_cache(node, file);
	if (ret == 0)
		ret = usp_filemap_get_state(node->file, &node->seen);
	return ret;
}

static void node_drop(struct mount_node *node)
{
	mount_backing_close(node);
	usp_file_put(node->file);
	node->file = NULL;
	if (node->owns_fd)
		usp_sys_close(node->fd);
	node->owns_fd = false;
	node->fd = -1;
	atomic_fetch_sub(&node->mount->copies, node->memory);
	node->memory = 0;
}

int mount_node_open(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	const char *why = NULL;
	int ret = node_open(node, &why);

	if (ret < 0)
		node_drop(node);
	pthread_mutex_lock(&mount->lock);
	node->error = ret;
	node->why = why;
	node->way = ret < 0	      ? USP_MOUNT_FAILED
		    : node->is_copy   ? USP_MOUNT_COPIED
		    : node->can_write ? USP_MOUNT_UNCACHED
				      : USP_MOUNT_CACHED;
	if (ret < 0)
		mount->failed = node;
	pthread_mutex_unlock(&mount->lock);
	return ret;
}

void mount_node_close(struct mount_node *node)
{
	node_drop(node);
	usp_free(node->name);
	usp_free(node);
}

/* --- What it is now --------------------------------------------------------------------------------------- */

int64_t mount_node_look(struct mount_node *node, bool *ret_changed)
{
	struct usp_mount *mount = node->mount;
	struct usp_mapping_state state = {.bytes = 0};
	int ret;

	*ret_changed = false;
	if (node->is_copy)
		return node->seen.bytes;
	ret = usp_filemap_get_state(node->file, &state);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&mount->lock);
	*ret_changed = state.bytes != node->seen.bytes || state.version[0] != node->seen.version[0] ||
		       state.version[1] != node->seen.version[1] || state.is_unsettled;
	node->seen = state;
	pthread_mutex_unlock(&mount->lock);
	return state.bytes;
}

int mount_node_stat(struct mount_node *node, struct stat *ret_stat)
{
	bool has_changed;
	int64_t len = mount_node_look(node, &has_changed);
	uint64_t mtime_ns;

	if (len < 0)
		return (int)len;
	pthread_mutex_lock(&node->mount->lock);
	mtime_ns = node->is_copy ? 0 : node->seen.version[0];
	pthread_mutex_unlock(&node->mount->lock);
	*ret_stat = node->st;
	ret_stat->st_ino = node->ino;
	ret_stat->st_size = len;
	ret_stat->st_blocks = (len + 511) / 512;
	if (mtime_ns) {
		ret_stat->st_mtim.tv_sec = (time_t)(mtime_ns / 1000000000u);
		ret_stat->st_mtim.tv_nsec = (long)(mtime_ns % 1000000000u);
	}
	if (node->can_write)
		mount_write_stat(node, ret_stat);
	return 0;
}

/* --- Lazy sources ----------------------------------------------------------------------------------------- */

/* A request that needs a source which is not open yet. */
struct node_need {
	struct mount_wait wait; /* first */
	struct mount_node *node;
	void (*go_on)(fuse_req_t req, struct mount_node *node);
};

static void need_interrupted(struct mount_wait *wait)
{
	fuse_reply_err(wait->req, EINTR);
	usp_free(wait);
}

static void node_answer(struct mount_node *node, fuse_req_t req, void (*go_on)(fuse_req_t req, struct mount_node *node))
{
	int error;

	pthread_mutex_lock(&node->mount->lock);
	error = node->way == USP_MOUNT_FAILED ? node->error : 0;
	pthread_mutex_unlock(&node->mount->lock);
	if (error)
		fuse_reply_err(req, -error);
	else
		go_on(req, node);
}

static void need_answer(struct node_need *need)
{
	mount_wait_end(&need->wait);
	node_answer(need->node, need->wait.req, need->go_on);
	usp_free(need);
}

/* Answer all that wait for a source which is open now, or failed. */
static void node_flush(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	struct mount_wait *wait;

	do {
		pthread_mutex_lock(&mount->lock);
		wait = node->way == USP_MOUNT_OPENING ? NULL : TAILQ_FIRST(&node->waits);
		if (wait)
			mount_wait_take(wait);
		pthread_mutex_unlock(&mount->lock);
		if (wait)
			need_answer(usp_container_of(wait, struct node_need, wait));
	} while (wait);
}

static void *node_opener(void *arg)
{
	struct mount_node *node = arg;
	struct usp_mount *mount = node->mount;

	mount_node_open(node);
	node_flush(node);
	pthread_mutex_lock(&mount->lock);
	if (--mount->nr_openers == 0)
		pthread_cond_broadcast(&mount->idle);
	pthread_mutex_unlock(&mount->lock);
	return NULL;
}

/* Tell whether the source has to be opened, again after an error that may be gone. What is damaged stays so. Lock held. */
static bool node_is_due(const struct mount_node *node)
{
	return node->way == USP_MOUNT_CLOSED || (node->way == USP_MOUNT_FAILED && node->error != -EBADMSG);
}

/* Have a source opened for those that wait. Without a thread the caller does it. */
static void node_wake(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;
	pthread_t thread;
	bool is_due;

	pthread_mutex_lock(&mount->lock);
	is_due = node_is_due(node);
	if (is_due) {
		node->way = USP_MOUNT_OPENING;
		mount->nr_openers++;
	}
	pthread_mutex_unlock(&mount->lock);
	if (!is_due)
		node_flush(node);
	else if (usp_thread_start(&thread, node_opener, node) == 0)
		pthread_detach(thread);
	else
		node_opener(node);
}

void mount_node_need(struct mount_node *node, fuse_req_t req, void (*go_on)(fuse_req_t req, struct mount_node *node))
{
	struct usp_mount *mount = node->mount;
	struct node_need *need;
	bool must_wait;

	pthread_mutex_lock(&mount->lock);
	must_wait = node_is_due(node) || node->way == USP_MOUNT_OPENING;
	pthread_mutex_unlock(&mount->lock);
	if (!must_wait) {
		node_answer(node, req, go_on);
		return;
	}
	need = usp_alloc(sizeof(*need));
	if (!need) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*need = (struct node_need){
		.wait = {.mount = mount, .req = req, .interrupted = need_interrupted}, .node = node, .go_on = go_on};
	if (mount_wait_park(&need->wait, &node->waits)) {
		node_wake(node);
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
	node_flush(node);
}
