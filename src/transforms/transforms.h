/* SPDX-License-Identifier: MIT */
/* transforms - what the list knows of a transform. */
#ifndef USP_TRANSFORMS_TRANSFORMS_H
#define USP_TRANSFORMS_TRANSFORMS_H

#include <usplice/endpoint.h>
#include <usplice/transform.h>

struct usp_transform {
	const char *name; /* before the colon of a spec */

	/* Check the text behind the colon: 0, -EINVAL or -EOPNOTSUPP, with a sentence. Opens no file. */
	int (*check)(const char *options, const char **ret_why);

	/*
	 * Open as usp_transform_open, with options that check accepts and parameters that are valid. ret_why is NULL
	 * before the call.
	 */
	int (*open)(const char *options, struct usp_file *below, const struct usp_transform_params *params,
		    struct usp_file **ret_file, const char **ret_why);

	/* As usp_transform_failure, of this file alone; false for files of others. NULL: never. */
	bool (*failure)(const struct usp_file *file, const char **ret_why, uint64_t *ret_offset);
};

/* A transform in the list, as a user sees it. */
struct usp_transform_row {
	const struct usp_transform *transform;
	const char *form, *summary;
	const char *example; /* options that check accepts, unless the build lacks something */
	bool is_rewriting;   /* it makes other bytes */
	const struct usp_transform
		*seekable; /* the same with USP_TRANSFORM_SEEKABLE, or NULL; the check is that of transform */
};

/* Return the transform of this index, or NULL: there are no more. */
const struct usp_transform_row *usp_transform_at(unsigned index);

struct usp_codec_side;

/* Make a stage over below, of which it becomes the owner, that runs a codec: reason and name are for the account. */
int usp_rewrite_open(const struct usp_codec_side *codec, int level, const char *reason, const char *name,
		     struct usp_file *below, const struct usp_transform_params *params, struct usp_file **ret_file);

extern const struct usp_transform usp_blocks_transform, usp_digest_transform, usp_rescue_transform, usp_sums_transform;
extern const struct usp_transform usp_buffer_transform;
extern const struct usp_transform usp_decrypt_transform, usp_encrypt_transform;
extern const struct usp_transform usp_decompress_transform, usp_zstd_transform, usp_gzip_transform, usp_lz4_transform,
	usp_xz_transform;

extern const struct usp_transform usp_decompress_seekable, usp_decrypt_seekable;

#endif
