/* SPDX-License-Identifier: MIT */
/* ops - what the kernel asks for: names, attributes, opens, reads. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "mount/inside.h"

#ifndef FOPEN_PASSTHROUGH
#define FOPEN_PASSTHROUGH (1 << 7)
#endif

#define OPS_FOR_EVER_S 1e9 /* what cannot change */

/* fuse_open_out of a kernel that knows passthrough: what was padding is the number of the file. */
struct ops_open_out {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing;
};

static struct usp_mount *ops_mount(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* Return the source of an inode, or NULL for the directory, and for none, such as a file that another one has replaced. */
static struct mount_node *ops_node(struct usp_mount *mount, fuse_ino_t ino)
{
	uint64_t first = mount->is_file ? FUSE_ROOT_ID : MOUNT_FIRST_INO;
	struct mount_node *node = ino >= first ? mount->nodes[(ino - first) % mount->nr_nodes] : NULL;

	return node && atomic_load(&node->ino) == ino ? node : NULL;
}

/*
 * Tell whether a request is of this process: then a source leads back into the mount, by a link that was made later. Opening
 * it would wait for itself, and what is open would keep the mount for ever.
 */
static bool ops_is_own(fuse_req_t req)
{
	return usp_sys_is_own_thread((int)fuse_req_ctx(req)->pid);
}

static double ops_timeout(const struct mount_node *node)
{
	return node->is_copy ? OPS_FOR_EVER_S : MOUNT_SHORTLY_S;
}

/* How long the kernel believes that a name leads to a source. */
static double ops_name_timeout(const struct mount_node *node)
{
	return node->source.find ? ops_timeout(node) : OPS_FOR_EVER_S;
}

static void ops_init(void *arg, struct fuse_conn_info *conn)
{
	(void)arg;
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->want |= conn->capable & FUSE_CAP_PARALLEL_DIROPS;
	conn->want &= ~(unsigned)FUSE_CAP_ATOMIC_O_TRUNC; /* an open that fails truncates nothing */
	conn->max_read = MOUNT_READ_BYTES;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

/* --- Names and attributes --------------------------------------------------------------------------------- */

static void lookup_go_on(const struct mount_ask *ask)
{
	struct fuse_entry_param entry = {.ino = ask->node->ino, .entry_timeout = ops_name_timeout(ask->node)};
	int ret = mount_node_stat(ask->node, &entry.attr);

	entry.attr_timeout = ops_timeout(ask->node);
	if (ret < 0)
		fuse_reply_err(ask->req, -ret);
	else
		fuse_reply_entry(ask->req, &entry);
}

static void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct usp_mount *mount = ops_mount(req);

	if (ops_is_own(req)) {
		fuse_reply_err(req, ELOOP);
		return;
	}
	for (unsigned i = 0; parent == FUSE_ROOT_ID && !mount->is_file && i < mount->nr_nodes; i++) {
		if (strcmp(mount->nodes[i]->name, name) == 0) {
			mount_node_need(&(struct mount_ask){
				.req = req, .node = mount->nodes[i], .by_name = true, .go_on = lookup_go_on});
			return;
		}
	}
	fuse_reply_err(req, ENOENT);
}

static void getattr_go_on(const struct mount_ask *ask)
{
	struct stat st;
	int ret = mount_node_stat(ask->node, &st);

	if (ret < 0)
		fuse_reply_err(ask->req, -ret);
	else
		fuse_reply_attr(ask->req, &st, ops_timeout(ask->node));
}

static void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct usp_mount *mount = ops_mount(req);
	struct mount_node *node = ops_node(mount, ino);
	const struct stat root = {.st_ino = FUSE_ROOT_ID,
				  .st_mode = S_IFDIR | 0555,
				  .st_nlink = 2,
				  .st_uid = mount->user,
				  .st_gid = mount->group,
				  .st_mtim = mount->born,
				  .st_atim = mount->born,
				  .st_ctim = mount->born};

	(void)info;
	if (node && ops_is_own(req))
		fuse_reply_err(req, ELOOP);
	else if (node)
		mount_node_need(&(struct mount_ask){.req = req, .node = node, .ino = ino, .go_on = getattr_go_on});
	else if (ino == FUSE_ROOT_ID)
		fuse_reply_attr(req, &root, OPS_FOR_EVER_S);
	else
		fuse_reply_err(req, ESTALE);
}

static void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off, struct fuse_file_info *info)
{
	struct usp_mount *mount = ops_mount(req);
	char *list = usp_alloc(len);
	size_t done = 0;

	(void)info;
	if (!list) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (uint64_t i = (uint64_t)off; i < mount->nr_nodes + 2; i++) {
		const struct mount_node *node = i < 2 ? NULL : mount->nodes[i - 2];
		const char *name = node ? node->name : i == 0 ? "." : "..";
		const struct stat st = {.st_ino = node ? node->ino : ino, .st_mode = node ? S_IFREG : S_IFDIR};
		size_t entry_len = fuse_add_direntry(req, list + done, len - done, name, &st, (off_t)i + 1);

		if (entry_len > len - done)
			break;
		done += entry_len;
	}
	fuse_reply_buf(req, list, done);
	usp_free(list);
}

static void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino;
	info->cache_readdir = 1;
	info->keep_cache = 1;
	fuse_reply_open(req, info);
}

static void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nr_lookups)
{
	(void)ino;
	(void)nr_lookups;
	fuse_reply_none(req);
}

static void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct usp_mount *mount = ops_mount(req);
	struct statvfs st = {.f_bsize = 4096, .f_frsize = 4096, .f_namemax = NAME_MAX};

	if (mount->params.flags & USP_MOUNT_WRITE) {
		mount_rw_space(req, mount, ops_node(mount, ino));
		return;
	}
	st.f_files = mount->nr_nodes;
	pthread_mutex_lock(&mount->lock);
	for (unsigned i = 0; i < mount->nr_nodes; i++)
		st.f_blocks += (fsblkcnt_t)(mount->nodes[i]->seen.bytes + 4095) / 4096;
	pthread_mutex_unlock(&mount->lock);
	st.f_flag = ST_RDONLY;
	fuse_reply_statfs(req, &st);
}

/* --- Opens ------------------------------------------------------------------------------------------------ */

static void open_free(struct mount_open *open)
{
	struct usp_mount *mount = open->node->mount;

	pthread_mutex_lock(&mount->lock);
	LIST_REMOVE(open, link);
	open->node->nr_opens--;
	pthread_mutex_unlock(&mount->lock);
	if (open->file && open->file != open->node->file)
		usp_file_put(open->file);
	mount_idle_release(open->node);
	atomic_fetch_sub(&mount->nr_open, 1);
	usp_free(open);
}

void mount_ops_fini(struct usp_mount *mount)
{
	struct mount_open *open;

	while ((open = LIST_FIRST(&mount->opens)))
		open_free(open);
}

/* Make an open of a source: 0 or -errno. */
static int open_new(struct mount_node *node, bool can_write, struct mount_open **ret_open)
{
	struct mount_open *open = usp_alloc(sizeof(*open));
	int ret = 0;

	if (!open)
		return -ENOMEM;
	open->node = node;
	open->file = node->file;
	open->can_write = can_write;
	if (node->file && node->file->mapping)
		ret = usp_mapping_open(node->file->mapping, node->name, &open->file);
	if (ret < 0) {
		usp_free(open);
		return ret;
	}
	if (open->file && open->file != node->file) /* the kernel keeps what it is given, but for direct reads */
		open->file->ra.is_kept_above = !(node->mount->params.flags & USP_MOUNT_DIRECT);
	if (can_write)
		mount_write_begin(node);
	pthread_mutex_lock(&node->mount->lock);
	open->nr_sync_errors = node->nr_sync_errors;
	LIST_INSERT_HEAD(&node->mount->opens, open, link);
	mount_idle_add_open(node);
	pthread_mutex_unlock(&node->mount->lock);
	atomic_fetch_add(&node->mount->nr_open, 1);
	*ret_open = open;
	return 0;
}

static void open_for(fuse_req_t req, struct mount_node *node, bool can_write)
{
	struct ops_open_out out = {.open_flags = 0};
	struct mount_open *open;
	bool has_changed;
	int64_t ret = mount_node_look(node, &has_changed);

	mount_backing_choose(node);
	if (ret >= 0)
		ret = open_new(node, can_write, &open);
	if (ret < 0) {
		fuse_reply_err(req, (int)-ret);
		return;
	}
	out.fh = (uintptr_t)open;
	atomic_fetch_add(&node->mount->nr_opens[node->backing > 0], 1);
	if (node->backing) {
		out.open_flags = FOPEN_PASSTHROUGH;
		out.backing = node->backing;
	} else if (node->mount->params.flags & USP_MOUNT_DIRECT) {
		out.open_flags = FOPEN_DIRECT_IO;
	} else if (!has_changed && (!node->can_write || node->fd >= 0)) { /* a device does not tell of changes */
		out.open_flags = FOPEN_KEEP_CACHE;
	}
	fuse_reply_buf(req, (const char *)&out, sizeof(out));
	if (mount_session_was_refused()) /* then nobody closes it */
		open_free(open);
}

static void open_go_on(const struct mount_ask *ask)
{
	open_for(ask->req, ask->node, false);
}

static void open_write_go_on(const struct mount_ask *ask)
{
	if (ask->node->can_write)
		open_for(ask->req, ask->node, true);
	else
		fuse_reply_err(ask->req, EROFS);
}

static void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct mount_node *node = ops_node(ops_mount(req), ino);
	bool can_write = (info->flags & O_ACCMODE) != O_RDONLY;

	if (!node)
		fuse_reply_err(req, ESTALE);
	else if (ops_is_own(req))
		fuse_reply_err(req, ELOOP);
	else if (can_write && !(node->mount->params.flags & USP_MOUNT_WRITE))
		fuse_reply_err(req, EROFS);
	else
		mount_node_need(&(struct mount_ask){.req = req,
						    .node = node,
						    .ino = ino,
						    .by_name = true,
						    .go_on = can_write ? open_write_go_on : open_go_on});
}

static void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino;
	open_free((struct mount_open *)(uintptr_t)info->fh);
	fuse_reply_err(req, 0);
}

static void ops_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off, struct fuse_file_info *info)
{
	struct mount_open *open = (struct mount_open *)(uintptr_t)info->fh;

	(void)ino;
	if (open->node->can_write)
		mount_rw_read(req, open, off, len);
	else
		mount_read(req, open, off, len);
}

/* Find the next data or hole. What tells no holes has one, behind its end. */
static void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *info)
{
	const struct mount_node *node = ((struct mount_open *)(uintptr_t)info->fh)->node;
	int64_t len = node->file ? usp_file_size(node->file) : 0;

	(void)ino;
	if (node->fd >= 0)
		len = usp_sys_lseek(node->fd, off, whence);
	else if (len >= 0 && (off < 0 || off >= len))
		len = -ENXIO;
	else if (len >= 0 && whence == SEEK_DATA)
		len = off;
	if (len < 0)
		fuse_reply_err(req, (int)-len);
	else
		fuse_reply_lseek(req, len);
}

/* --- Changes ---------------------------------------------------------------------------------------------- */

static void setattr_go_on(const struct mount_ask *ask)
{
	if (ask->node->can_write)
		mount_rw_set(ask);
	else
		fuse_reply_err(ask->req, EROFS);
}

static void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int what, struct fuse_file_info *info)
{
	struct mount_node *node = ops_node(ops_mount(req), ino);

	if (!node)
		fuse_reply_err(req, ino == FUSE_ROOT_ID ? EPERM : ESTALE);
	else if (!(node->mount->params.flags & USP_MOUNT_WRITE))
		fuse_reply_err(req, EROFS);
	else
		mount_node_need(&(struct mount_ask){.req = req,
						    .node = node,
						    .ino = ino,
						    .by_name = !info && what & FUSE_SET_ATTR_SIZE,
						    .what = what,
						    .st = *st,
						    .go_on = setattr_go_on});
}

/* The directory has the names that the command line gave it, and cannot have others. */
static void ops_deny_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static void ops_deny_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			    struct fuse_file_info *info)
{
	(void)mode;
	(void)info;
	ops_deny_name(req, parent, name);
}

static void ops_deny_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	ops_deny_name(req, parent, name);
}

static void ops_deny_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	(void)mode;
	(void)device;
	ops_deny_name(req, parent, name);
}

static void ops_deny_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target;
	ops_deny_name(req, parent, name);
}

static void ops_deny_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	ops_deny_name(req, parent, name);
}

static void ops_deny_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
			    const char *new_name, unsigned flags)
{
	(void)new_parent;
	(void)new_name;
	(void)flags;
	ops_deny_name(req, parent, name);
}

/* --- The status ------------------------------------------------------------------------------------------- */

/* The status is an attribute of the root, so that no second channel is needed for it. */
static void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t len)
{
	bool is_json = strcmp(name, USP_MOUNT_STATUS_JSON) == 0;
	size_t status_len;
	char *text;

	if (ino != FUSE_ROOT_ID || (!is_json && strcmp(name, USP_MOUNT_STATUS_TEXT) != 0)) {
		fuse_reply_err(req, ENODATA);
		return;
	}
	text = usp_alloc(MOUNT_STATUS_MAX);
	if (!text) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	status_len = mount_status_text(ops_mount(req), is_json, text, MOUNT_STATUS_MAX);
	if (len == 0)
		fuse_reply_xattr(req, MOUNT_STATUS_MAX); /* it may be longer the next time */
	else if (len < status_len)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, text, status_len);
	usp_free(text);
}

const struct fuse_lowlevel_ops mount_ops = {
	.init = ops_init,
	.lookup = ops_lookup,
	.forget = ops_forget,
	.getattr = ops_getattr,
	.open = ops_open,
	.read = ops_read,
	.lseek = ops_lseek,
	.write = mount_rw_write,
	.fsync = mount_rw_sync,
	.flush = mount_rw_flush,
	.fallocate = mount_rw_allocate,
	.setattr = ops_setattr,
	.create = ops_deny_create,
	.mknod = ops_deny_mknod,
	.mkdir = ops_deny_mkdir,
	.symlink = ops_deny_symlink,
	.link = ops_deny_link,
	.rename = ops_deny_rename,
	.unlink = ops_deny_name,
	.rmdir = ops_deny_name,
	.release = ops_release,
	.opendir = ops_opendir,
	.readdir = ops_readdir,
	.statfs = ops_statfs,
	.getxattr = ops_getxattr,
};
