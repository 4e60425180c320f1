/* SPDX-License-Identifier: MIT */
/* filemap_source - the list of the sources of mappings that are open, and what a file tells a mapping over it. */
#include "splice/filemap_source.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "mm/mapping.h"
#include "splice/fd.h"
#include "splice/file.h"
#include "splice/pipe.h"

static struct {
	struct usp_own_lock lock;
	LIST_HEAD(, usp_filemap_source) sources;
} filemap;

/* --- The file below ----------------------------------------------------------------------------------------- */

const char *usp_filemap_objection(const struct usp_file *below)
{
	int64_t size = below->traits & USP_FILE_SEEKABLE ? usp_file_size(below) : -ESPIPE, last = size - 1;

	if (size < 0)
		return "it has no positions or no size, and a cache needs both";
	if (below->traits & USP_FILE_SHARED)
		return "others share the offset of the descriptor, which a cache would not move";
	if (below->fd >= 0 && usp_fd_peek(below, &size) > 0 && usp_file_size(below) <= size)
		return "it has more bytes than its size says";
	if (below->fd >= 0 && size > 0 && usp_fd_peek(below, &last) == 0 && usp_file_size(below) == size)
		return "it has fewer bytes than its size says";
	return NULL;
}

static ssize_t below_read_some(struct usp_file *below, void *bytes, size_t len, int64_t off)
{
	const struct iovec iov = {.iov_base = bytes, .iov_len = usp_min(len, USP_MAX_RW_COUNT)};
	const struct usp_iter to = {.iov = &iov, .nr_segs = 1, .count = iov.iov_len};
	ssize_t ret = usp_file_read_iter(below, &to, &off, 0);

	if (ret == -EAGAIN) /* it is USP_NONBLOCK */
		ret = usp_file_wait(below, USP_READ) < 0 ? -EIO : -EINTR;
	return ret == 0 ? -ENODATA : ret;
}

int usp_filemap_below_read(struct usp_file *below, void *bytes, size_t len, int64_t off)
{
	const char *reason = "read to be decoded";
	enum usp_way way = USP_COPIED;
	size_t done = 0;

	if (below->mapping)
		usp_mapping_ways(below->mapping, &way, &reason);
	while (done < len) {
		ssize_t ret = below_read_some(below, (char *)bytes + done, len - done, off + (int64_t)done);

		if (ret == -EINTR)
			continue;
		if (ret < 0)
			return (int)ret;
		usp_file_account(below, USP_READ, way, (size_t)ret, reason);
		done += (size_t)ret;
	}
	return 0;
}

/* --- Sharing ------------------------------------------------------------------------------------------------ */

void usp_filemap_key_init(struct usp_filemap_key *key, const void *kind, struct usp_file *below, size_t budget,
			  const unsigned char *secret)
{
	*key = (struct usp_filemap_key){.kind = kind,
					.mapping = below->mapping,
					.flags = atomic_load(usp_u32(&below->flags)),
					.budget = budget};
	key->can_share = below->mapping || (below->fd >= 0 && usp_sys_fstat(below->fd, &key->object) == 0);
	if (secret)
		memcpy(key->secret, secret, sizeof(key->secret));
}

static void filemap_lock(void)
{
	if (usp_own_lock(&filemap.lock))
		LIST_INIT(&filemap.sources); /* those of a parent have no threads here */
}

static bool key_is_same(const struct usp_filemap_key *a, const struct usp_filemap_key *b)
{
	return a->kind == b->kind && a->mapping == b->mapping && a->object.st_dev == b->object.st_dev &&
	       a->object.st_ino == b->object.st_ino && a->object.st_rdev == b->object.st_rdev && a->flags == b->flags &&
	       a->budget == b->budget && memcmp(a->secret, b->secret, sizeof(a->secret)) == 0;
}

/* Find a source, and count a file of it. Lock held. */
static struct usp_filemap_source *filemap_find(const struct usp_filemap_key *key)
{
	struct usp_filemap_source *source = NULL;

	if (!key->can_share)
		return NULL;
	LIST_FOREACH(source, &filemap.sources, link)
	if (key_is_same(&source->key, key))
		break;
	if (source)
		source->nr_files++;
	return source;
}

struct usp_filemap_source *usp_filemap_source_find(const struct usp_filemap_key *key)
{
	struct usp_filemap_source *source;

	filemap_lock();
	source = filemap_find(key);
	usp_own_unlock(&filemap.lock);
	return source;
}

struct usp_filemap_source *usp_filemap_source_add(struct usp_filemap_source *own, const struct usp_filemap_key *key)
{
	struct usp_filemap_source *source;

	own->key = *key;
	own->process = usp_own_nr();
	filemap_lock();
	source = filemap_find(key);
	if (!source) {
		source = own;
		source->nr_files = 1;
		source->is_listed = key->can_share;
	}
	if (source == own && source->is_listed)
		LIST_INSERT_HEAD(&filemap.sources, source, link);
	usp_own_unlock(&filemap.lock);
	if (source != own)
		usp_mapping_put(own->mapping);
	return source;
}

void usp_filemap_source_put(struct usp_filemap_source *source)
{
	bool is_last;

	filemap_lock();
	is_last = --source->nr_files == 0;
	if (is_last && source->is_listed && source->process == usp_own_nr())
		LIST_REMOVE(source, link);
	usp_own_unlock(&filemap.lock);
	if (is_last)
		usp_mapping_put(source->mapping);
}

int usp_filemap_source_look(struct usp_filemap_source *source)
{
	int64_t size = usp_mapping_look(source->mapping);

	if (size < 0)
		usp_filemap_source_put(source);
	return size < 0 ? (int)size : 0;
}

int usp_filemap_source_open(const struct usp_file_ops *ops, struct usp_filemap_source *source, struct usp_file *below,
			    const char *name, struct usp_file **ret_file)
{
	int ret = usp_file_new(ops, USP_READ, name, source, ret_file);

	if (ret < 0)
		return ret;
	(*ret_file)->below = below;
	(*ret_file)->mapping = source->mapping;
	(*ret_file)->traits = USP_FILE_SEEKABLE;
	return 0;
}

/* The file below may be that of the source: the last reference closes it. */
int usp_filemap_source_release(struct usp_file *file)
{
	usp_filemap_source_put(file->priv);
	usp_file_put(file->below);
	file->priv = NULL;
	file->below = NULL;
	return 0;
}

void usp_filemap_source_fail(struct usp_filemap_source *source, const char *why, uint64_t off)
{
	filemap_lock();
	source->why = why;
	source->why_off = off;
	usp_own_unlock(&filemap.lock);
}

bool usp_filemap_source_failure(struct usp_filemap_source *source, const char **ret_why, uint64_t *ret_off)
{
	bool has_failed;

	filemap_lock();
	has_failed = source->why;
	*ret_why = has_failed ? source->why : *ret_why;
	*ret_off = has_failed ? source->why_off : *ret_off;
	usp_own_unlock(&filemap.lock);
	return has_failed;
}

void usp_filemap_source_fini(struct usp_filemap_source *source)
{
	usp_file_put(source->below);
	explicit_bzero(source->key.secret, sizeof(source->key.secret));
}
