/* SPDX-License-Identifier: MIT */
/* transforms - the list of transforms, and how a spec finds one. */
#include "transforms/transforms.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "splice/filemap_source.h"

#define TRANSFORM_FLAGS (USP_TRANSFORM_LENGTH | USP_TRANSFORM_INLINE | USP_TRANSFORM_THREAD | USP_TRANSFORM_SEEKABLE)

static const struct usp_transform *const transforms[] = {
	&usp_blocks_transform,	&usp_digest_transform,	&usp_sums_transform, &usp_decompress_transform,
	&usp_zstd_transform,	&usp_gzip_transform,	&usp_lz4_transform,  &usp_xz_transform,
	&usp_decrypt_transform, &usp_encrypt_transform,
};

/* The same, with positions. */
static const struct usp_transform *const seekable[] = {&usp_decompress_seekable, &usp_decrypt_seekable};

static const struct usp_transform *transform_in(const struct usp_transform *const *list, unsigned nr, const char *name,
						size_t len)
{
	for (unsigned i = 0; i < nr; i++) {
		if (strlen(list[i]->name) == len && memcmp(list[i]->name, name, len) == 0)
			return list[i];
	}
	return NULL;
}

/* Find the transform that spec names, and its options. */
static const struct usp_transform *transform_find(const char *spec, const char **ret_options)
{
	size_t len = strcspn(spec, ":");

	*ret_options = spec + len + (spec[len] == ':');
	return transform_in(transforms, usp_array_len(transforms), spec, len);
}

int usp_transform_check(const char *spec, const char **ret_why)
{
	const char *options, *why = "there is no such transform";
	const struct usp_transform *transform = transform_find(spec, &options);
	int ret = transform ? transform->check(options, &why) : -EINVAL;

	if (ret_why)
		*ret_why = ret < 0 ? why : NULL;
	return ret;
}

static bool transform_can(const struct usp_transform_params *params)
{
	const unsigned ways = USP_TRANSFORM_INLINE | USP_TRANSFORM_THREAD;
	bool is_seekable = params->flags & USP_TRANSFORM_SEEKABLE;

	return !(params->flags & ~TRANSFORM_FLAGS) && (params->flags & ways) != ways &&
	       (is_seekable ? params->flags == USP_TRANSFORM_SEEKABLE : !params->budget) &&
	       (params->flags & USP_TRANSFORM_LENGTH ? params->length >= 0 : !params->length);
}

/* Open one that has positions: they are those of a cache, which needs a file that fits. */
static int transform_open_seekable(const char *spec, const char *options, struct usp_file *below,
				   const struct usp_transform_params *params, struct usp_file **ret_file,
				   const char **ret_why)
{
	const struct usp_transform *transform =
		transform_in(seekable, usp_array_len(seekable), spec, strcspn(spec, ":"));

	*ret_why = transform ? usp_filemap_objection(below) : "this transform gives no positions";
	if (!*ret_why && atomic_load(usp_u32(&below->flags)) & USP_DIRECT)
		*ret_why = "it is read by O_DIRECT, which serves whole pages only";
	if (!*ret_why && below->pos)
		*ret_why = "it was begun to be read already";
	return *ret_why ? -ESPIPE : transform->open(options, below, params, ret_file, ret_why);
}

int usp_transform_open(const char *spec, struct usp_file *below, const struct usp_transform_params *params,
		       struct usp_file **ret_file, const char **ret_why)
{
	struct usp_transform_params own = {.length = 0};
	const struct usp_transform *transform;
	const char *options, *why = NULL;
	int ret = usp_transform_check(spec, &why);

	if (ret == 0 && params)
		ret = usp_sized_take(&own, sizeof(own), params);
	if (ret == 0 && (!transform_can(&own) || !(below->mode & USP_READ)))
		ret = -EINVAL;
	if (ret == 0) {
		transform = transform_find(spec, &options);
		ret = own.flags & USP_TRANSFORM_SEEKABLE
			      ? transform_open_seekable(spec, options, below, &own, ret_file, &why)
			      : transform->open(options, below, &own, ret_file, &why);
	}
	if (ret_why)
		*ret_why = ret < 0 ? why : NULL;
	return ret;
}

/* As usp_transform_failure, of this file alone: the transform that made it knows. */
static bool transform_failure(const struct usp_file *file, const char **ret_why, uint64_t *ret_offset)
{
	for (unsigned i = 0; i < usp_array_len(transforms); i++) {
		if (transforms[i]->failure && transforms[i]->failure(file, ret_why, ret_offset))
			return true;
	}
	for (unsigned i = 0; i < usp_array_len(seekable); i++) {
		if (seekable[i]->failure(file, ret_why, ret_offset))
			return true;
	}
	return false;
}

bool usp_transform_failure(const struct usp_file *stage, const char **ret_why, uint64_t *ret_offset)
{
	for (const struct usp_file *file = stage; file; file = file->below) {
		if (transform_failure(file, ret_why, ret_offset))
			return true;
	}
	return false;
}
