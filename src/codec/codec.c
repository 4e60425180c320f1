/* SPDX-License-Identifier: MIT */
/*
 * codec - the list of the formats, how their libraries are loaded, and the decoder that finds the format.
 *
 * A library is loaded when it is asked for. To load it takes longer than to copy a small file.
 */
#include "codec/codec.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "codec/split.h"

static const struct usp_codec *const codecs[] = {&usp_codec_zstd, &usp_codec_gzip, &usp_codec_lz4, &usp_codec_xz};

const struct usp_codec *usp_codec_at(unsigned index)
{
	return index < usp_array_len(codecs) ? codecs[index] : NULL;
}

/* --- The decoder of any format ------------------------------------------------------------------------------ */

#define SKIPPABLE_HEADER 8 /* of a frame of zstd or lz4 that has no data: a magic and a length */

struct any {
	const struct usp_codec *codec; /* NULL until the format is known */
	void *state;
	unsigned char head[USP_CODEC_MAGIC_MAX];
	size_t nr_head;	  /* bytes that were read to find the format */
	size_t given;	  /* of those, what the decoder has */
	bool has_skipped; /* a skippable frame */
	uint64_t skip;	  /* bytes of a skippable frame that are still to come */
};

static void *any_open(int level)
{
	(void)level;
	return usp_alloc(sizeof(struct any));
}

static void any_free(void *state)
{
	struct any *any = state;

	if (any && any->codec)
		any->codec->decoder.free(any->state);
	usp_free(any);
}

/* Tell whether the first bytes are 0x184D2A50 to 0x184D2A5F, little-endian. */
static bool any_is_skippable(const struct any *any)
{
	return any->nr_head >= 4 && (any->head[0] & 0xf0) == 0x50 && memcmp(any->head + 1, "\x2a\x4d\x18", 3) == 0;
}

static uint32_t any_skip_len(const struct any *any)
{
	const unsigned char *at = any->head + 4;

	return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* Tell whether the first bytes are a magic. True in *ret_may while more bytes may still make it. */
static bool any_is_magic(const struct any *any, const unsigned char *magic, size_t magic_len, bool *ret_may)
{
	size_t len = usp_min(any->nr_head, magic_len);

	if (!magic_len || memcmp(magic, any->head, len) != 0)
		return false;
	*ret_may |= len < magic_len;
	return len == magic_len;
}

/* Find the codec whose magic the first bytes are. True in *ret_may while more bytes may still make one. */
static const struct usp_codec *any_match(const struct any *any, bool *ret_may)
{
	*ret_may = false;
	for (unsigned i = 0; i < usp_array_len(codecs); i++) {
		const struct usp_codec *codec = codecs[i];

		if (any_is_magic(any, codec->magic, codec->magic_len, ret_may) ||
		    any_is_magic(any, codec->old_magic, codec->old_magic_len, ret_may))
			return codec;
	}
	return NULL;
}

/* Drop what a skippable frame has of the input. */
static void any_skip(struct any *any, struct usp_codec_io *io)
{
	size_t len = usp_min(io->in_len, (size_t)any->skip);

	io->in += len;
	io->in_len -= len;
	any->skip -= len;
}

static int any_begin(struct any *any, const struct usp_codec *codec, const char **ret_why)
{
	*ret_why = codec->missing ? codec->missing() : NULL;
	if (*ret_why)
		return -EOPNOTSUPP;
	any->state = codec->decoder.open(0);
	if (!any->state)
		return -ENOMEM;
	any->codec = codec;
	return 0;
}

const struct usp_split *usp_codec_any_split(void *state, const unsigned char *in, size_t len)
{
	struct any *any = state, first = {.nr_head = usp_min(len, USP_CODEC_MAGIC_MAX)};
	const struct usp_split *split;
	const struct usp_codec *codec;
	const char *why;
	bool may;

	memcpy(first.head, in, first.nr_head);
	codec = any->codec || any->nr_head || any->skip ? any->codec : any_match(&first, &may);
	split = codec ? codec->decoder.split : NULL;
	if (!split || !split->scan || (!any->codec && any_begin(any, codec, &why) < 0))
		return NULL;
	return !split->is_likely || split->is_likely(any->state, in, len) ? split : NULL;
}

static void any_resume(void *state, const struct usp_split_frame *frame)
{
	struct any *any = state;

	if (any->codec->decoder.resume)
		any->codec->decoder.resume(any->state, frame);
}

/* Look at one more byte of the head: 0 or -errno. */
static int any_look(struct any *any, unsigned char byte, const char **ret_why)
{
	const struct usp_codec *codec;
	bool may;

	any->head[any->nr_head++] = byte;
	codec = any_match(any, &may);
	if (codec)
		return any_begin(any, codec, ret_why);
	if (any_is_skippable(any)) {
		if (any->nr_head < SKIPPABLE_HEADER)
			return 0;
		any->skip = any_skip_len(any);
		any->has_skipped = true;
		any->nr_head = 0;
		return 0;
	}
	if (may || (any->nr_head < 4 && (any->head[0] & 0xf0) == 0x50))
		return 0;
	*ret_why = "this is no format that is known: zstd, gzip, lz4 and xz are";
	return -EINVAL;
}

/* Give back what this call took of the head, so that the offset of the error is where the head begins. */
static void any_refuse(const struct any *any, struct usp_codec_io *io, size_t taken)
{
	size_t len = usp_min(any->nr_head, taken);

	io->in -= len;
	io->in_len += len;
}

/* Read until the format is known: 0 or -errno. */
static int any_find(struct any *any, struct usp_codec_io *io, const char **ret_why)
{
	size_t before = io->in_len;
	int ret = 0;

	while (!any->codec && io->in_len && ret == 0) {
		any_skip(any, io);
		if (!io->in_len)
			break;
		ret = any_look(any, *io->in++, ret_why);
		io->in_len--;
	}
	if (ret < 0)
		any_refuse(any, io, before - io->in_len);
	if (ret == 0 && !any->codec && io->is_end) {
		if (any->has_skipped && !any->skip && !any->nr_head)
			return USP_CODEC_DONE; /* frames without data only, as an archive of nothing has */
		*ret_why = any->skip || any->nr_head ? "the input is cut off" : "the input has no bytes";
		return any->skip || any->nr_head ? -EBADMSG : -EINVAL;
	}
	return ret;
}

static int any_run(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct any *any = state;
	int ret = any->codec ? 0 : any_find(any, io, ret_why);

	if (ret < 0 || !any->codec)
		return ret;
	while (any->given < any->nr_head) {
		struct usp_codec_io head = {.in = any->head + any->given,
					    .in_len = any->nr_head - any->given,
					    .out = io->out,
					    .out_len = io->out_len,
					    .keeps_window = io->keeps_window};

		ret = any->codec->decoder.run(any->state, &head, ret_why);
		any->given = any->nr_head - head.in_len;
		io->out = head.out;
		io->out_len = head.out_len;
		if (ret < 0 || !io->out_len)
			return ret;
	}
	any->given = any->nr_head = 0;
	return any->codec->decoder.run(any->state, io, ret_why);
}

static size_t any_window(const void *state)
{
	const struct any *any = state;

	return any->codec && any->codec->decoder.window ? any->codec->decoder.window(any->state) : 0;
}

const char *usp_codec_any_found(const void *state)
{
	const struct any *any = state;

	return any->codec ? any->codec->decoded : NULL;
}

const struct usp_codec_side usp_codec_any_decoder = {
	.open = any_open, .run = any_run, .free = any_free, .resume = any_resume, .window = any_window};
