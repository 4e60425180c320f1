/* SPDX-License-Identifier: MIT */
/*
 * cached - cached:SPEC, a source that is read through a page cache of its own: a mapping.
 *
 * A mapping belongs to a file or device, not to an open: opens of the same one with the same options share it
 * while one of them is open.
 */
#include <errno.h>
#include <usplice/mapping.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "splice/filemap_source.h"

#define CACHED_BUDGET_MIN ((int64_t)256 << 10)
#define CACHED_THREADS 8 /* measured: random reads of 4 KiB, four at a time, take 1.4 times as long as sixteen */

/* --- The mapping's source ----------------------------------------------------------------------------------- */

static ssize_t cached_read_folios(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	struct usp_filemap_source *source = arg;
	struct usp_iter iter = {.iov = iov, .nr_segs = nr_segs};

	for (unsigned i = 0; i < nr_segs; i++)
		iter.count += iov[i].iov_len;
	return usp_file_read_iter(source->below, &iter, &off, 0);
}

static int cached_get_state(void *arg, struct usp_mapping_state *ret_state)
{
	struct usp_filemap_source *source = arg;

	return usp_filemap_get_state(source->below, ret_state);
}

static void cached_free_source(void *arg)
{
	usp_filemap_source_fini(arg);
	usp_free(arg);
}

static const struct usp_mapping_ops cached_mapping_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "cached",
	.read_folios = cached_read_folios,
	.get_state = cached_get_state,
	.release = cached_free_source,
};

/* Make a source with a mapping over below: 0 or -errno. */
static int cached_make(struct usp_file *below, size_t budget, struct usp_filemap_source **ret_source)
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
	struct usp_filemap_source *source = usp_alloc(sizeof(*source));
	int ret = source ? usp_mapping_new(&cached_mapping_ops, source, &params, &source->mapping) : -ENOMEM;

	if (ret < 0) {
		usp_free(source);
		return ret;
	}
	source->below = usp_file_get(below);
	*ret_source = source;
	return 0;
}

/* Find the source that is open already, or make it: 0 or -errno. */
static int cached_share(struct usp_file *below, size_t budget, struct usp_filemap_source **ret_source)
{
	struct usp_filemap_key key;
	int ret;

	usp_filemap_key_init(&key, &cached_mapping_ops, below, budget, NULL);
	*ret_source = usp_filemap_source_find(&key);
	if (*ret_source)
		return 0;
	ret = cached_make(below, budget, ret_source);
	if (ret == 0)
		*ret_source = usp_filemap_source_add(*ret_source, &key);
	return ret;
}

/* --- Files -------------------------------------------------------------------------------------------------- */

static int cached_release(struct usp_file *file)
{
	usp_filemap_source_put(file->priv);
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

/* The descriptor of the file below is lent: it shows what is read. */
int usp_cached_over(struct usp_file *below, size_t budget, const char *name, struct usp_file **ret_file)
{
	struct usp_filemap_source *source;
	int ret = cached_share(below, budget, &source);

	if (ret < 0)
		return ret;
	ret = usp_file_new(&cached_ops, USP_READ, name, source, ret_file);
	if (ret < 0) {
		usp_filemap_source_put(source);
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
	*ret_why = usp_filemap_objection(below);
	ret = *ret_why ? -EINVAL : 0;
	if (ret == 0)
		ret = usp_cached_over(below, budget, usp_spec_text(spec), ret_file);
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
