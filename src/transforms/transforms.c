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

static const struct usp_transform_row transforms[] = {
	{&usp_blocks_transform, "blocks:FILE", "verify each block by a list of checksums", "list", false, NULL},
	{&usp_buffer_transform, "buffer:SIZE[,...]", "read ahead, between two ends that are not steady", "1M", false,
	 NULL},
	{&usp_digest_transform, "digest:ALG[:HEX],...", "compute checksums, and compare them", "crc32c", false, NULL},
	{&usp_rescue_transform, "rescue:zero[:STEP]", "go on behind what cannot be read", "zero", false, NULL},
	{&usp_sums_transform, "sums:ALG[:SIZE]", "make a list of checksums of blocks", "crc32c", false, NULL},
	{&usp_decompress_transform, "decompress", "decompress any of the formats", "", true, &usp_decompress_seekable},
	{&usp_zstd_transform, "zstd[:LEVEL]", "compress", "", true, NULL},
	{&usp_gzip_transform, "gzip[:LEVEL]", "compress", "", true, NULL},
	{&usp_lz4_transform, "lz4[:LEVEL]", "compress", "", true, NULL},
	{&usp_xz_transform, "xz[:LEVEL]", "compress", "", true, NULL},
	{&usp_decrypt_transform, "decrypt:KIND", "decrypt age by an identity or a passphrase", "passphrase", true,
	 &usp_decrypt_seekable},
	{&usp_encrypt_transform, "encrypt:KIND", "encrypt for age1..., or for a passphrase", "passphrase", true, NULL},
};

const struct usp_transform_row *usp_transform_at(unsigned index)
{
	return index < usp_array_len(transforms) ? &transforms[index] : NULL;
}

/* Find the transform that spec names, and its options. */
static const struct usp_transform_row *transform_find(const char *spec, const char **ret_options)
{
	size_t len = strcspn(spec, ":");

	*ret_options = spec + len + (spec[len] == ':');
	for (unsigned i = 0; i < usp_array_len(transforms); i++) {
		const struct usp_transform *transform = transforms[i].transform;

		if (strlen(transform->name) == len && memcmp(transform->name, spec, len) == 0)
			return &transforms[i];
	}
	return NULL;
}

int usp_transform_check(const char *spec, const char **ret_why)
{
	const char *options, *why = "there is no such transform";
	const struct usp_transform_row *row = transform_find(spec, &options);
	int ret = row ? row->transform->check(options, &why) : -EINVAL;

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
static int transform_open_seekable(const struct usp_transform *seekable, const char *options, struct usp_file *below,
				   const struct usp_transform_params *params, struct usp_file **ret_file,
				   const char **ret_why)
{
	*ret_why = seekable ? usp_filemap_objection(below) : "this transform gives no positions";
	if (!*ret_why && atomic_load(usp_u32(&below->flags)) & USP_DIRECT)
		*ret_why = "it is read by O_DIRECT, which serves whole pages only";
	if (!*ret_why && below->pos)
		*ret_why = "it was begun to be read already";
	return *ret_why ? -ESPIPE : seekable->open(options, below, params, ret_file, ret_why);
}

int usp_transform_open(const char *spec, struct usp_file *below, const struct usp_transform_params *params,
		       struct usp_file **ret_file, const char **ret_why)
{
	struct usp_transform_params own = {.length = 0};
	const struct usp_transform_row *row;
	const char *options, *why = NULL;
	int ret = usp_transform_check(spec, &why);

	if (ret == 0 && params)
		ret = usp_sized_take(&own, sizeof(own), params);
	if (ret == 0 && (!transform_can(&own) || !(below->mode & USP_READ)))
		ret = -EINVAL;
	if (ret == 0) {
		row = transform_find(spec, &options);
		ret = own.flags & USP_TRANSFORM_SEEKABLE
			      ? transform_open_seekable(row->seekable, options, below, &own, ret_file, &why)
			      : row->transform->open(options, below, &own, ret_file, &why);
		if (ret == 0 && row->is_rewriting)
			(*ret_file)->traits |= USP_FILE_REWRITES;
	}
	if (ret_why)
		*ret_why = ret < 0 ? why : NULL;
	return ret;
}

/* As usp_transform_failure, of this file alone: the transform that made it knows. */
static bool transform_failure(const struct usp_file *file, const char **ret_why, uint64_t *ret_offset)
{
	for (unsigned i = 0; i < usp_array_len(transforms); i++) {
		const struct usp_transform *transform = transforms[i].transform, *seekable = transforms[i].seekable;

		if (transform->failure && transform->failure(file, ret_why, ret_offset))
			return true;
		if (seekable && seekable->failure(file, ret_why, ret_offset))
			return true;
	}
	return false;
}

const struct usp_file *usp_transform_failed(const struct usp_file *stage)
{
	const char *why;
	uint64_t offset;

	while (stage && !transform_failure(stage, &why, &offset))
		stage = stage->below;
	return stage;
}

bool usp_transform_failure(const struct usp_file *stage, const char **ret_why, uint64_t *ret_offset)
{
	const struct usp_file *failed = usp_transform_failed(stage);

	return failed && transform_failure(failed, ret_why, ret_offset);
}
