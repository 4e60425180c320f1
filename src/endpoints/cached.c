/* SPDX-License-Identifier: MIT */
/*
 * cached - cached:SPEC, a source that is read through a page cache of its own: a mapping.
 *
 * A mapping belongs to a file or device, not to an open: opens of the same one with the same options share it
 * while one of them is open.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <usplice/mapping.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/own.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "mm/mapping.h"
#include "splice/fd.h"
#include "splice/file.h"

#define CACHED_BUDGET_MIN ((int64_t)256 << 10)
#define CACHED_THREADS 8 /* measured: random reads of 4 KiB, four at a time, take 1.4 times as long as sixteen */

/* The source of a mapping: a file, with what makes it the same as another one. */
struct cached_source {
	LIST_ENTRY(cached_source) link;
	struct usp_file *below;
	struct usp_mapping *mapping;
	struct stat object; /* only device, inode and number count */
	size_t budget;
	unsigned nr_files; /* open ones; the lock guards it */
	unsigned process;  /* whose list it is in */
	bool is_listed;
};

static struct {
	struct usp_own_lock lock;
	LIST_HEAD(, cached_source) sources;
} cached;

/* --- The mapping's source ----------------------------------------------------------------------------------- */

static ssize_t cached_read_folios(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	struct cached_source *source = arg;
	struct usp_iter iter = {.iov = iov, .nr_segs = nr_segs};

	for (unsigned i = 0; i < nr_segs; i++)
		iter.count += iov[i].iov_len;
	return usp_file_read_iter(source->below, &iter, &off, 0);
}

static int cached_get_state(void *arg, struct usp_mapping_state *ret_state)
{
	struct cached_source *source = arg;

	return usp_filemap_get_state(source->below, ret_state);
}

static void cached_free_source(void *arg)
{
	struct cached_source *source = arg;

	usp_file_put(source->below);
	usp_free(source);
}

static const struct usp_mapping_ops cached_mapping_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "cached",
	.read_folios = cached_read_folios,
	.get_state = cached_get_state,
	.release = cached_free_source,
};

/* Make a mapping over below, which belongs to it then. */
static int cached_make(struct usp_file *below, size_t budget, const struct stat *object,
		       struct cached_source **ret_source)
{
	bool is_direct = atomic_load(usp_u32(&below->flags)) & USP_DIRECT;
	const struct usp_mapping_params params = {
		.size = sizeof(params),
		.budget = budget,
		.nr_threads = below->fd >= 0 ? CACHED_THREADS : 1,
		.way = is_direct ? USP_UNKNOWN : USP_COPIED,
		.reason = is_direct ? "O_DIRECT: as a rule the device fills the cache, but the kernel does not tell"
				    : "read into the cache",
	};
	struct cached_source *source = usp_alloc(sizeof(*source));
	int ret = source ? usp_mapping_new(&cached_mapping_ops, source, &params, &source->mapping) : -ENOMEM;

	if (ret < 0) {
		usp_free(source);
		return ret;
	}
	source->below = below;
	source->budget = budget;
	source->object = *object;
	source->process = usp_own_nr();
	*ret_source = source;
	return 0;
}

/* --- Sharing ------------------------------------------------------------------------------------------------ */

static void cached_lock(void)
{
	if (usp_own_lock(&cached.lock))
		LIST_INIT(&cached.sources); /* those of a parent have no threads here */
}

static bool cached_is_same(const struct cached_source *source, const struct usp_file *below, size_t budget,
			   const struct stat *object)
{
	return source->object.st_dev == object->st_dev && source->object.st_ino == object->st_ino &&
	       source->object.st_rdev == object->st_rdev && source->budget == budget &&
	       atomic_load(usp_u32(&source->below->flags)) == atomic_load(usp_u32(&below->flags));
}

/* Find the source that is open already, or make it. It takes below over, if it did not find another one. */
static int cached_share(struct usp_file *below, size_t budget, struct cached_source **ret_source)
{
	struct cached_source *source = NULL;
	struct stat object = {.st_mode = 0};
	bool can_share = below->fd >= 0 && usp_sys_fstat(below->fd, &object) == 0;
	int ret = 0;

	cached_lock();
	if (can_share) {
		LIST_FOREACH(source, &cached.sources, link)
		if (cached_is_same(source, below, budget, &object))
			break;
	}
	if (!source)
		ret = cached_make(below, budget, &object, &source);
	if (ret == 0 && can_share && !source->is_listed) {
		LIST_INSERT_HEAD(&cached.sources, source, link);
		source->is_listed = true;
	}
	if (ret == 0)
		source->nr_files++;
	usp_own_unlock(&cached.lock);
	*ret_source = source;
	return ret;
}

static void cached_unshare(struct cached_source *source)
{
	bool is_last;

	cached_lock();
	is_last = --source->nr_files == 0;
	if (is_last && source->is_listed && source->process == usp_own_nr())
		LIST_REMOVE(source, link);
	usp_own_unlock(&cached.lock);
	if (is_last)
		usp_mapping_put(source->mapping);
}

/* --- Files -------------------------------------------------------------------------------------------------- */

static int cached_release(struct usp_file *file)
{
	cached_unshare(file->priv);
	return 0;
}

static const struct usp_file_ops cached_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "cached",
	.read_iter = usp_filemap_read_iter,
	.splice_read = usp_filemap_splice_read,
	.poll_fd = usp_filemap_poll_fd,
	.get_size = usp_filemap_size,
	.release = cached_release,
};

/* Check that a cache can serve the file: it has positions and a true size, and moves no offset of others. */
static int cached_check(const struct usp_file *below, const char **ret_why)
{
	int64_t size = below->traits & USP_FILE_SEEKABLE ? usp_file_size(below) : -ESPIPE, last = size - 1;

	if (size < 0)
		*ret_why = "it has no positions or no size, and a cache needs both";
	else if (below->traits & USP_FILE_SHARED)
		*ret_why = "others share the offset of the descriptor, which a cache would not move";
	else if (below->fd >= 0 && usp_fd_peek(below, &size) > 0 && usp_file_size(below) <= size)
		*ret_why = "it has more bytes than its size says";
	else if (below->fd >= 0 && size > 0 && usp_fd_peek(below, &last) == 0 && usp_file_size(below) == size)
		*ret_why = "it has fewer bytes than its size says";
	else
		return 0;
	return -EINVAL;
}

static int cached_parse(const struct usp_spec *spec, const struct usp_open_params *params, size_t *ret_budget,
			const char **ret_why)
{
	const char *text = usp_spec_option(spec, "budget");
	int64_t budget = 0;

	*ret_budget = 0;
	if (params->mode != USP_READ || params->append)
		*ret_why = "a cache is for reading";
	else if (text && (usp_size_parse(text, &budget, NULL) < 0 || budget < CACHED_BUDGET_MIN))
		*ret_why = "budget= takes a size of at least 256k";
	else if (!spec->address[0])
		*ret_why = "the source is missing: cached:SPEC";
	else
		*ret_budget = (size_t)budget;
	return *ret_why ? -EINVAL : 0;
}

/* Lay a file over the mapping of below, of which it takes a reference. Its descriptor is lent: it shows what is read. */
static int cached_over(struct usp_file *below, size_t budget, const char *name, struct usp_file **ret_file)
{
	struct cached_source *source;
	int ret = cached_share(usp_file_get(below), budget, &source);

	if (ret < 0 || source->below != below)
		usp_file_put(below);
	if (ret < 0)
		return ret;
	ret = usp_file_new(&cached_ops, USP_READ, name, source, ret_file);
	if (ret < 0) {
		cached_unshare(source);
		return ret;
	}
	(*ret_file)->mapping = source->mapping;
	(*ret_file)->fd = source->below->fd;
	(*ret_file)->traits = USP_FILE_SEEKABLE;
	return 0;
}

static int cached_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		       const char **ret_why)
{
	struct usp_file *below;
	size_t budget;
	int ret = cached_parse(spec, params, &budget, ret_why);

	if (ret == 0)
		ret = usp_open(spec->address, params, &below, ret_why);
	if (ret < 0)
		return ret;
	ret = cached_check(below, ret_why);
	if (ret == 0)
		ret = cached_over(below, budget, usp_spec_text(spec), ret_file);
	usp_file_put(below);
	return ret;
}

static const char *const cached_options[] = {"budget", NULL};

const struct usp_endpoint usp_cached_endpoint = {
	.scheme = "cached",
	.form = "cached:SPEC",
	.summary = "a file or device behind a page cache of this process",
	.modes = USP_READ,
	.options = cached_options,
	.open = cached_open,
};
