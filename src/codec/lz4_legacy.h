/* SPDX-License-Identifier: MIT */
/*
 * lz4_legacy - the frames that `lz4 -l` writes, and the kernel's images have: liblz4 decodes their blocks only.
 *
 * Behind the magic come blocks of at most 8 MiB of plain bytes: the length of the compressed ones, little-endian, and
 * these. There is no end mark. The input ends, or a length follows that is too large for a block: the magic of the
 * next frame.
 */
#ifndef USP_CODEC_LZ4_LEGACY_H
#define USP_CODEC_LZ4_LEGACY_H

#include <stdbool.h>

#include "codec/codec.h"

#define USP_LZ4_MAGIC_LEN 4
#define USP_LZ4_LEGACY_MAGIC 0x02, 0x21, 0x4c, 0x18

struct usp_lz4_legacy;

/* Make a decoder of the blocks behind a magic: NULL without memory, some 16 MiB. free takes NULL. */
struct usp_lz4_legacy *usp_lz4_legacy_new(void);
void usp_lz4_legacy_free(struct usp_lz4_legacy *legacy);

/* As run of struct usp_codec_side. USP_CODEC_DONE: the magic of another frame was taken, and is in ret_magic. */
int usp_lz4_legacy_run(struct usp_lz4_legacy *legacy, struct usp_codec_io *io,
		       unsigned char ret_magic[USP_LZ4_MAGIC_LEN], const char **ret_why);

/* Tell whether the input may end here. */
bool usp_lz4_legacy_may_end(const struct usp_lz4_legacy *legacy);

#endif
