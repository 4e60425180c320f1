/* SPDX-License-Identifier: MIT */
/* lz4_legacy - blocks go from the input, or from where they were put together, into memory for one of them. */
#include "codec/lz4_legacy.h"

#ifdef USP_HAVE_LZ4

#include <errno.h>
#include <lz4.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/library.h"

#define LEGACY_PLAIN ((size_t)8 << 20) /* of a block, at most */
#define LEGACY_PACKED ((size_t)LZ4_COMPRESSBOUND(8 << 20))

static __typeof__(LZ4_decompress_safe) *legacy_decompress;

static void legacy_load(void)
{
	if (!usp_library_load("liblz4.so.1", (const struct usp_library_function[]){
						     {"LZ4_decompress_safe", &legacy_decompress},
						     {0},
					     }))
		legacy_decompress = NULL;
}

struct usp_lz4_legacy {
	unsigned char length[USP_LZ4_MAGIC_LEN]; /* of the block, as it came */
	size_t nr_length;			 /* bytes of it that are there */
	size_t packed_len, gathered;		 /* of the block: all, and what is in packed */
	size_t plain_at, plain_len;		 /* what waits in plain: where, and up to where */
	unsigned char *packed, *plain;
};

struct usp_lz4_legacy *usp_lz4_legacy_new(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct usp_lz4_legacy *legacy = usp_alloc(sizeof(*legacy));

	pthread_once(&once, legacy_load);
	if (!legacy)
		return NULL;
	legacy->packed = usp_alloc(LEGACY_PACKED);
	legacy->plain = usp_alloc(LEGACY_PLAIN);
	if (legacy_decompress && legacy->packed && legacy->plain)
		return legacy;
	usp_lz4_legacy_free(legacy);
	return NULL;
}

void usp_lz4_legacy_free(struct usp_lz4_legacy *legacy)
{
	if (legacy) {
		usp_free(legacy->packed);
		usp_free(legacy->plain);
	}
	usp_free(legacy);
}

bool usp_lz4_legacy_may_end(const struct usp_lz4_legacy *legacy)
{
	return !legacy->nr_length && legacy->plain_at == legacy->plain_len;
}

/* Give of what waits. */
static void legacy_give(struct usp_lz4_legacy *legacy, struct usp_codec_io *io)
{
	size_t len = usp_min(legacy->plain_len - legacy->plain_at, io->out_len);

	memcpy(io->out, legacy->plain + legacy->plain_at, len);
	legacy->plain_at += len;
	io->out += len;
	io->out_len -= len;
}

/* Take bytes of the input, up to room: how many. */
static size_t legacy_take(struct usp_codec_io *io, unsigned char *to, size_t room)
{
	size_t len = usp_min(room, io->in_len);

	memcpy(to, io->in, len);
	io->in += len;
	io->in_len -= len;
	return len;
}

/* Take the length of a block: true when all of it is there. */
static bool legacy_take_length(struct usp_lz4_legacy *legacy, struct usp_codec_io *io)
{
	const unsigned char *at = legacy->length;

	legacy->nr_length +=
		legacy_take(io, legacy->length + legacy->nr_length, sizeof(legacy->length) - legacy->nr_length);
	if (legacy->nr_length < sizeof(legacy->length))
		return false;
	legacy->packed_len = (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
	return true;
}

/* Decode the block, if all of it is there: true, with *ret_len below 0 for a damaged one. */
static bool legacy_decode(struct usp_lz4_legacy *legacy, struct usp_codec_io *io, int *ret_len)
{
	const unsigned char *from = legacy->packed;

	if (!legacy->gathered && io->in_len >= legacy->packed_len) {
		from = io->in;
		io->in += legacy->packed_len;
		io->in_len -= legacy->packed_len;
	} else {
		legacy->gathered +=
			legacy_take(io, legacy->packed + legacy->gathered, legacy->packed_len - legacy->gathered);
		if (legacy->gathered < legacy->packed_len)
			return false;
	}
	*ret_len = legacy_decompress((const char *)from, (char *)legacy->plain, (int)legacy->packed_len,
				     (int)LEGACY_PLAIN);
	return true;
}

int usp_lz4_legacy_run(struct usp_lz4_legacy *legacy, struct usp_codec_io *io,
		       unsigned char ret_magic[USP_LZ4_MAGIC_LEN], const char **ret_why)
{
	int len;

	for (;;) {
		legacy_give(legacy, io);
		if (legacy->plain_at < legacy->plain_len)
			return 0;
		if (legacy->nr_length < sizeof(legacy->length) && !legacy_take_length(legacy, io))
			return 0;
		if (legacy->packed_len > LEGACY_PACKED) {
			memcpy(ret_magic, legacy->length, USP_LZ4_MAGIC_LEN);
			legacy->nr_length = 0;
			return USP_CODEC_DONE;
		}
		if (!legacy_decode(legacy, io, &len))
			return 0;
		if (len < 0) {
			*ret_why = "the data is damaged (lz4)";
			return -EBADMSG;
		}
		legacy->plain_at = legacy->nr_length = legacy->gathered = 0;
		legacy->plain_len = (size_t)len;
	}
}

#endif
