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
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <usplice/transform.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
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
	node->rights_fd = -1;
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
	mount_rights_begin(node, file->fd);
	if (file->fd < 0 || usp_sys_fstat(file->fd, &st) < 0)
		return;
	mount_rights_look(node, &node->st);
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		node->st.st_mtim = st.st_mtim;
		node->st.st_atim = st.st_atim;
		node->st.st_ctim = st.st_ctim;
	}
}

/* Show another file than before under a new number, so that the kernel takes nothing of the old one for it. */
static void node_renew(struct mount_node *node)
{
	struct usp_mount *mount = node->mount;

	pthread_mutex_lock(&mount->lock);
	node->was_open = false;
	node->is_lost = node->is_lost || atomic_load(&node->was_changed);
	node->seen = (struct usp_mapping_state){.bytes = 0};
	pthread_mutex_unlock(&mount->lock);
	atomic_store(&node->was_changed, false);
	atomic_store(&node->is_dirty, false);
	atomic_fetch_add(&node->ino, mount->nr_nodes);
}

/*
 * Note which object it is. Another one than before is a new file. A change of the same object is seen later, as any change
 * (mount_node_look).
 */
static void node_identify(struct mount_node *node, const struct usp_file *file)
{
	struct stat st;

	while (file->below && file->fd < 0)
		file = file->below;
	if (file->fd < 0 || usp_sys_fstat(file->fd, &st) < 0)
		st = (struct stat){.st_ino = 0};
	if (node->was_open && (st.st_dev != node->device || st.st_ino != node->object))
		node_renew(node);
	node->device = st.st_dev;
	node->object = st.st_ino;
}

/* A copy for which no descriptor has to be kept: its bytes are mapped, or the kernel reads them by itself. */
static void node_close_copy(struct mount_node *node)
{
	mount_backing_choose(node);
	usp_sys_close(node->fd);
	node->fd = -1;
	node->owns_fd = false;
}

/* Copy the source, which is closed then: 0 or -errno. */
static int node_copy(struct mount_node *node, struct usp_file *from, const char **ret_why)
{
	int ret;

	if (node->was_open) {
		usp_file_put(from);
		*ret_why =
			"it has changed since it was closed, because descriptors ran short: now it would have to be copied";
		return -ESTALE;
	}
	ret = node_gather(node, from, ret_why);
	if (ret == 0 && mount_node_is_lazy(node))
		node_close_copy(node);
	return ret;
}

/* Open the source: 0 or -errno. The node is not shown to others yet. */
static int node_open(struct mount_node *node, const char **ret_why)
{
	const struct usp_mount_params *params = &node->mount->params;
	struct usp_file *file = NULL;
	long fs_type;
	int ret = node->source.open(node->source.arg, &file, ret_why);

	if (ret < 0)
		return ret;
	*ret_why = NULL;
	node_identify(node, file);
	node_note(node, file);
	if (params->flags & USP_MOUNT_WRITE && file->mode & USP_WRITE) {
		node->file = file;
		ret = mount_write_open(node, file, ret_why);
		node->was_open = ret == 0;
		return ret;
	}
	if (params->flags & USP_MOUNT_PREFETCH || usp_filemap_objection(file))
		return node_copy(node, file, ret_why);
	node->fd = node_plain_fd(file);
	fs_type = node->fd >= 0 ? usp_sys_fs_type(node->fd) : -EBADF;
	node->is_in_memory = fs_type == TMPFS_MAGIC;
	node->may_splice = mount_splice_may(fs_type);
	atomic_store(&node->is_plain, node->fd >= 0 && !(usp_sys_get_flags(node->fd) & O_DIRECT));
	if (file->mapping)
		node->file = file;
	else
		ret = node_cache(node, file);
	if (ret == 0 && !node->was_open) /* otherwise a change since then is still to be seen */
		ret = usp_filemap_get_state(node->file, &node->seen);
	if (ret == 0)
		node->was_open = true;
	return ret;
}

void mount_node_shut(struct mount_node *node)
{
	mount_backing_close(node);
	usp_file_put(node->file);
	node->file = NULL;
	if (node->owns_fd)
		usp_sys_close(node->fd);
	node->owns_fd = false;
	node->fd = node->rights_fd = -1;
	node->can_write = false;
	atomic_store(&node->is_plain, false);
	atomic_fetch_sub(&node->mount->copies, node->memory);
	node->memory = 0;
}

int mount_node_try(struct mount_node *node, const char **ret_why)
{
	int ret;

	*ret_why = NULL;
	ret = node_open(node, ret_why);
	if (ret < 0)
		mount_node_shut(node);
	return ret;
}

void mount_node_settle(struct mount_node *node, int error, const char *why)
{
	struct usp_mount *mount = node->mount;

	pthread_mutex_lock(&mount->lock);
	node->error = error;
	node->why = why;
	node->place_error = 0;
	node->way = error < 0	      ? USP_MOUNT_FAILED
		    : node->backing   ? USP_MOUNT_PASSTHROUGH
		    : node->is_copy   ? USP_MOUNT_COPIED
		    : node->can_write ? USP_MOUNT_UNCACHED
		    : node->is_plain  ? USP_MOUNT_PLAIN
				      : USP_MOUNT_CACHED;
	if (error < 0)
		mount->failed = node;
	pthread_mutex_unlock(&mount->lock);
}

int mount_node_open(struct mount_node *node)
{
	const char *why;
	int ret = mount_node_try(node, &why);

	mount_node_settle(node, ret, why);
	return ret;
}

void mount_node_close(struct mount_node *node)
{
	mount_node_shut(node);
	usp_free(node->name);
	usp_free(node);
}

void mount_node_not_plain(struct mount_node *node)
{
	pthread_mutex_lock(&node->mount->lock);
	atomic_store(&node->is_plain, false);
	if (node->way == USP_MOUNT_PLAIN)
		node->way = USP_MOUNT_CACHED;
	pthread_mutex_unlock(&node->mount->lock);
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
	mount_rights_look(node, ret_stat);
	if (node->can_write)
		mount_write_stat(node, ret_stat);
	return 0;
}
