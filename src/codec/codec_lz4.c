/* SPDX-License-Identifier: MIT */
/* codec_lz4 - the frames of lz4 by liblz4. */
#include "codec/codec.h"
#include "codec/lz4_legacy.h"
#include "codec/split.h"

#ifdef USP_HAVE_LZ4

#include <errno.h>
#include <lz4frame.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/library.h"

#define LZ4_PIECE ((size_t)64 << 10) /* of the input, compressed by one call */

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(LZ4F_createDecompressionContext) *create_dctx;
	__typeof__(LZ4F_freeDecompressionContext) *free_dctx;
	__typeof__(LZ4F_decompress) *decompress;
	__typeof__(LZ4F_createCompressionContext) *create_cctx;
	__typeof__(LZ4F_freeCompressionContext) *free_cctx;
	__typeof__(LZ4F_compressBegin) *begin;
	__typeof__(LZ4F_compressBound) *bound;
	__typeof__(LZ4F_compressUpdate) *update;
	__typeof__(LZ4F_compressEnd) *end;
	__typeof__(LZ4F_isError) *is_error;
} lz4 = {.once = PTHREAD_ONCE_INIT};

static void lz4_load(void)
{
	lz4.is_there = usp_library_load("liblz4.so.1", (const struct usp_library_function[]){
							       {"LZ4F_createDecompressionContext", &lz4.create_dctx},
							       {"LZ4F_freeDecompressionContext", &lz4.free_dctx},
							       {"LZ4F_decompress", &lz4.decompress},
							       {"LZ4F_createCompressionContext", &lz4.create_cctx},
							       {"LZ4F_freeCompressionContext", &lz4.free_cctx},
							       {"LZ4F_compressBegin", &lz4.begin},
							       {"LZ4F_compressBound", &lz4.bound},
							       {"LZ4F_compressUpdate", &lz4.update},
							       {"LZ4F_compressEnd", &lz4.end},
							       {"LZ4F_isError", &lz4.is_error},
							       {0},
						       });
}

static const char *lz4_missing(void)
{
	pthread_once(&lz4.once, lz4_load);
	return lz4.is_there ? NULL : "needs liblz4.so.1, which cannot be loaded";
}

/* What the decoder is within. */
enum lz4_place { LZ4_BETWEEN, LZ4_FRAME, LZ4_LEGACY };

struct lz4_decoder {
	LZ4F_dctx *context;
	enum lz4_place place;
	unsigned char head[USP_LZ4_MAGIC_LEN]; /* between frames: the beginning of the next one */
	size_t nr_head;
	struct usp_lz4_legacy *legacy; /* NULL before the first frame of that kind */
};

static void lz4_decoder_free(void *state)
{
	struct lz4_decoder *decoder = state;

	if (decoder) {
		lz4.free_dctx(decoder->context); /* takes NULL */
		usp_lz4_legacy_free(decoder->legacy);
	}
	usp_free(decoder);
}

static void *lz4_decoder_open(int level)
{
	struct lz4_decoder *decoder = usp_alloc(sizeof(*decoder));

	(void)level;
	if (decoder && lz4.is_error(lz4.create_dctx(&decoder->context, LZ4F_VERSION))) {
		usp_free(decoder);
		return NULL;
	}
	return decoder;
}

/* Decode bytes of a frame, up to its end: 0 or -EBADMSG. */
static int lz4_decode_frame(struct lz4_decoder *decoder, struct usp_codec_io *io, const char **ret_why)
{
	size_t out = io->out_len, in = io->in_len;
	size_t left = lz4.decompress(decoder->context, io->out, &out, io->in, &in, NULL);

	if (lz4.is_error(left)) {
		*ret_why = "the data is damaged (lz4)";
		return -EBADMSG;
	}
	io->in += in;
	io->in_len -= in;
	io->out += out;
	io->out_len -= out;
	decoder->place = left ? LZ4_FRAME : LZ4_BETWEEN;
	return 0;
}

/* A magic is there: begin its frame. 0 or -errno. */
static int lz4_begin(struct lz4_decoder *decoder, const char **ret_why)
{
	static const unsigned char legacy[] = {USP_LZ4_LEGACY_MAGIC};
	struct usp_codec_io io = {.in = decoder->head, .in_len = decoder->nr_head, .out = decoder->head};

	decoder->nr_head = 0;
	if (memcmp(decoder->head, legacy, sizeof(legacy)) != 0)
		return lz4_decode_frame(decoder, &io, ret_why); /* takes all of it, and gives nothing yet */
	if (!decoder->legacy)
		decoder->legacy = usp_lz4_legacy_new();
	*ret_why = "there is no memory (lz4)";
	decoder->place = LZ4_LEGACY;
	return decoder->legacy ? 0 : -ENOMEM;
}

/* Go on to the beginning or the end of a frame, or to the end of what there is: 0 or -errno. */
static int lz4_step(struct lz4_decoder *decoder, struct usp_codec_io *io, const char **ret_why)
{
	int ret;

	if (decoder->place == LZ4_FRAME)
		return lz4_decode_frame(decoder, io, ret_why);
	if (decoder->place == LZ4_LEGACY) {
		ret = usp_lz4_legacy_run(decoder->legacy, io, decoder->head, ret_why);
		if (ret != USP_CODEC_DONE)
			return ret;
		decoder->nr_head = USP_LZ4_MAGIC_LEN;
	}
	for (; decoder->nr_head < USP_LZ4_MAGIC_LEN && io->in_len; io->in_len--)
		decoder->head[decoder->nr_head++] = *io->in++;
	return decoder->nr_head == USP_LZ4_MAGIC_LEN ? lz4_begin(decoder, ret_why) : 0;
}

static bool lz4_may_end(const struct lz4_decoder *decoder)
{
	if (decoder->place == LZ4_LEGACY)
		return usp_lz4_legacy_may_end(decoder->legacy);
	return decoder->place == LZ4_BETWEEN && !decoder->nr_head;
}

static int lz4_decode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct lz4_decoder *decoder = state;

	while (io->out_len && (io->in_len || !lz4_may_end(decoder))) {
		bool was_within = decoder->place == LZ4_FRAME;
		size_t in = io->in_len, out = io->out_len;
		int ret = lz4_step(decoder, io, ret_why);

		if (ret < 0)
			return ret;
		if (was_within && decoder->place == LZ4_BETWEEN && io->stops_behind)
			return USP_CODEC_BETWEEN;
		if (in == io->in_len && out == io->out_len)
			break;
	}
	if (!io->is_end || io->in_len || !io->out_len)
		return 0;
	*ret_why = "the input is cut off (lz4)";
	return lz4_may_end(decoder) ? USP_CODEC_DONE : -EBADMSG;
}

/* Let a decoder begin within a frame, behind its header. */
static void lz4_resume(void *state, const struct usp_split_frame *frame)
{
	struct lz4_decoder *decoder = state;
	size_t in = frame->head_len, out = 0;

	decoder->place = in ? LZ4_FRAME : LZ4_BETWEEN;
	if (in)
		lz4.decompress(decoder->context, NULL, &out, frame->head, &in, NULL);
}

/* liblz4 wants room for all that a call may give, so it gives into memory of our own. */
struct lz4_encoder {
	LZ4F_cctx *context;
	LZ4F_preferences_t preferences;
	unsigned char *made;
	size_t room, from, len; /* of made: its size, and what waits there */
	bool has_ended;
};

static void lz4_encoder_free(void *state)
{
	struct lz4_encoder *encoder = state;

	if (encoder) {
		lz4.free_cctx(encoder->context); /* takes NULL */
		usp_free(encoder->made);
	}
	usp_free(encoder);
}

/* The frame is as lz4(1) makes it: blocks of 4 MiB that do not refer to each other, and a checksum. */
static void *lz4_encoder_open(int level)
{
	struct lz4_encoder *encoder = usp_alloc(sizeof(*encoder));

	if (!encoder)
		return NULL;
	encoder->preferences = (LZ4F_preferences_t){
		.frameInfo = {.blockSizeID = LZ4F_max4MB,
			      .blockMode = LZ4F_blockIndependent,
			      .contentChecksumFlag = LZ4F_contentChecksumEnabled},
		.compressionLevel = level,
	};
	encoder->room = usp_max(lz4.bound(LZ4_PIECE, &encoder->preferences), (size_t)LZ4F_HEADER_SIZE_MAX);
	encoder->made = usp_alloc(encoder->room);
	if (encoder->made && !lz4.is_error(lz4.create_cctx(&encoder->context, LZ4F_VERSION))) {
		encoder->len = lz4.begin(encoder->context, encoder->made, encoder->room, &encoder->preferences);
		if (!lz4.is_error(encoder->len))
			return encoder;
	}
	lz4_encoder_free(encoder);
	return NULL;
}

/* Compress the next piece, or end the frame: 0 or -errno. */
static int lz4_make(struct lz4_encoder *encoder, struct usp_codec_io *io, const char **ret_why)
{
	size_t piece = usp_min(io->in_len, LZ4_PIECE), len;

	if (piece)
		len = lz4.update(encoder->context, encoder->made, encoder->room, io->in, piece, NULL);
	else
		len = lz4.end(encoder->context, encoder->made, encoder->room, NULL);
	if (lz4.is_error(len)) {
		*ret_why = "lz4 cannot compress, for lack of memory";
		return -ENOMEM;
	}
	encoder->has_ended = !piece;
	encoder->from = 0;
	encoder->len = len;
	io->in += piece;
	io->in_len -= piece;
	return 0;
}

static int lz4_encode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct lz4_encoder *encoder = state;
	int ret = 0;

	for (;;) {
		size_t len = usp_min(encoder->len, io->out_len);

		memcpy(io->out, encoder->made + encoder->from, len);
		encoder->from += len;
		encoder->len -= len;
		io->out += len;
		io->out_len -= len;
		if (encoder->len || encoder->has_ended || !(io->in_len || io->is_end))
			break;
		ret = lz4_make(encoder, io, ret_why);
		if (ret < 0)
			return ret;
	}
	return encoder->has_ended && !encoder->len ? USP_CODEC_DONE : 0;
}

#else

static const char *lz4_missing(void)
{
	return "needs liblz4, without which this usplice was built";
}

#define lz4_decoder_open NULL
#define lz4_decode NULL
#define lz4_decoder_free NULL
#define lz4_resume NULL
#define lz4_encoder_open NULL
#define lz4_encode NULL
#define lz4_encoder_free NULL

#endif

const struct usp_codec usp_codec_lz4 = {
	.name = "lz4",
	.magic = {0x04, 0x22, 0x4d, 0x18},
	.magic_len = 4,
	.old_magic = {USP_LZ4_LEGACY_MAGIC},
	.old_magic_len = USP_LZ4_MAGIC_LEN,
	.least = 1,
	.most = 12,
	.usual = 1,
	.decoded = "decompressed (lz4)",
	.encoded = "compressed (lz4)",
	.missing = lz4_missing,
	.decoder = {.open = lz4_decoder_open,
		    .run = lz4_decode,
		    .free = lz4_decoder_free,
		    .split = &usp_split_lz4,
		    .resume = lz4_resume},
	.encoder = {.open = lz4_encoder_open,
		    .run = lz4_encode,
		    .free = lz4_encoder_free,
		    .split = &usp_split_lz4_encode},
};
