/* SPDX-License-Identifier: MIT */
/* compress - the stages that compress: each is a codec with a level, in a stage that rewrites. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "codec/codec.h"
#include "transforms/transforms.h"

/* Parse a level, which may be missing: 0 or -errno with a sentence. */
static int compress_parse(const struct usp_codec *codec, const char *options, int *ret_level, const char **ret_why)
{
	int level = 0;
	size_t len = strspn(options, "0123456789");

	*ret_why = codec->missing();
	if (*ret_why)
		return -EOPNOTSUPP;
	for (size_t i = 0; i < len && level <= codec->most; i++)
		level = level * 10 + (options[i] - '0');
	*ret_level = len ? level : codec->usual;
	*ret_why = "there is no such level: zstd has 1 to 22, gzip 1 to 9, lz4 1 to 12 and xz 0 to 9";
	return options[len] || *ret_level < codec->least || *ret_level > codec->most ? -EINVAL : 0;
}

static int compress_open(const struct usp_codec *codec, const char *options, struct usp_file *below,
			 const struct usp_transform_params *params, struct usp_file **ret_file)
{
	const char *why;
	char name[16];
	int level = 0;

	compress_parse(codec, options, &level, &why); /* the check has accepted it */
	snprintf(name, sizeof(name), "%s:%d", codec->name, level);
	return usp_rewrite_open(&codec->encoder, level, codec->encoded, name, below, params, ret_file);
}

#define COMPRESS_TRANSFORM(NAME)                                                                                       \
	static int NAME##_check(const char *options, const char **ret_why)                                             \
	{                                                                                                              \
		int level;                                                                                             \
                                                                                                                       \
		return compress_parse(&usp_codec_##NAME, options, &level, ret_why);                                    \
	}                                                                                                              \
                                                                                                                       \
	static int NAME##_open(const char *options, struct usp_file *below, const struct usp_transform_params *params, \
			       struct usp_file **ret_file, const char **ret_why)                                       \
	{                                                                                                              \
		(void)ret_why;                                                                                         \
		return compress_open(&usp_codec_##NAME, options, below, params, ret_file);                             \
	}                                                                                                              \
                                                                                                                       \
	const struct usp_transform usp_##NAME##_transform = {.name = #NAME, .check = NAME##_check, .open = NAME##_open}

COMPRESS_TRANSFORM(zstd);
COMPRESS_TRANSFORM(gzip);
COMPRESS_TRANSFORM(lz4);
COMPRESS_TRANSFORM(xz);
