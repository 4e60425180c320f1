/* SPDX-License-Identifier: MIT */
/* codec_zstd - zstd by libzstd. */
#include "codec/codec.h"

#ifdef USP_HAVE_ZSTD

#include <errno.h>
#include <pthread.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"
#include "base/library.h"
#include "base/sys.h"
#include "base/thread.h"
#include "codec/split.h"

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(ZSTD_createDCtx) *create_dctx;
	__typeof__(ZSTD_freeDCtx) *free_dctx;
	__typeof__(ZSTD_decompressStream) *decompress;
	__typeof__(ZSTD_decompressDCtx) *decompress_all;
	__typeof__(ZSTD_createCCtx) *create_cctx;
	__typeof__(ZSTD_freeCCtx) *free_cctx;
	__typeof__(ZSTD_CCtx_setParameter) *set;
	__typeof__(ZSTD_compressStream2) *compress;
	__typeof__(ZSTD_isError) *is_error;
	__typeof__(ZSTD_getErrorCode) *error_code;
} zstd = {.once = PTHREAD_ONCE_INIT};

static void zstd_load(void)
{
	zstd.is_there = usp_library_load("libzstd.so.1", (const struct usp_library_function[]){
								 {"ZSTD_createDCtx", &zstd.create_dctx},
								 {"ZSTD_freeDCtx", &zstd.free_dctx},
								 {"ZSTD_decompressStream", &zstd.decompress},
								 {"ZSTD_decompressDCtx", &zstd.decompress_all},
								 {"ZSTD_createCCtx", &zstd.create_cctx},
								 {"ZSTD_freeCCtx", &zstd.free_cctx},
								 {"ZSTD_CCtx_setParameter", &zstd.set},
								 {"ZSTD_compressStream2", &zstd.compress},
								 {"ZSTD_isError", &zstd.is_error},
								 {"ZSTD_getErrorCode", &zstd.error_code},
								 {0},
							 });
}

static const char *zstd_missing(void)
{
	pthread_once(&zstd.once, zstd_load);
	return zstd.is_there ? NULL : "needs libzstd.so.1, which cannot be loaded";
}

struct zstd_decoder {
	ZSTD_DCtx *context;
	bool is_within; /* a frame has begun and not ended */
};

static void zstd_decoder_free(void *state)
{
	struct zstd_decoder *decoder = state;

	if (decoder && decoder->context)
		zstd.free_dctx(decoder->context);
	usp_free(decoder);
}

static void *zstd_decoder_open(int level)
{
	struct zstd_decoder *decoder = usp_alloc(sizeof(*decoder));

	(void)level;
	if (!decoder)
		return NULL;
	decoder->context = zstd.create_dctx();
	if (decoder->context)
		return decoder;
	zstd_decoder_free(decoder);
	return NULL;
}

/* Tell what an error of the decoder means: -errno and a sentence. */
static int zstd_failed(size_t result, const char **ret_why)
{
	switch (zstd.error_code(result)) {
	case ZSTD_error_memory_allocation:
		*ret_why = "there is no memory (zstd)";
		return -ENOMEM;
	case ZSTD_error_frameParameter_windowTooLarge:
		*ret_why = "it needs a window of more than 128 MiB (zstd)";
		return -EFBIG;
	case ZSTD_error_checksum_wrong:
		*ret_why = "the data is damaged: a checksum is wrong (zstd)";
		return -EBADMSG;
	case ZSTD_error_prefix_unknown:
		*ret_why = "there is something else behind the data (zstd)";
		return -EBADMSG;
	default:
		*ret_why = "the data is damaged (zstd)";
		return -EBADMSG;
	}
}

/* The window is at most 128 MiB, which is the default of the library and of zstd(1). */
static int zstd_decode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct zstd_decoder *decoder = state;

	while (io->out_len && (io->in_len || decoder->is_within)) {
		ZSTD_inBuffer in = {.src = io->in, .size = io->in_len};
		ZSTD_outBuffer out = {.dst = io->out, .size = io->out_len};
		size_t left = zstd.decompress(decoder->context, &out, &in);

		if (zstd.is_error(left))
			return zstd_failed(left, ret_why);
		io->in += in.pos;
		io->in_len -= in.pos;
		io->out += out.pos;
		io->out_len -= out.pos;
		decoder->is_within = left;
		if (!left && io->stops_behind)
			return USP_CODEC_BETWEEN;
		if (!in.pos && !out.pos)
			break;
	}
	if (!io->is_end || io->in_len || !io->out_len)
		return 0;
	*ret_why = "the input is cut off (zstd)";
	return decoder->is_within ? -EBADMSG : USP_CODEC_DONE;
}

/* --- Frames one by one -------------------------------------------------------------------------------------- */

#define FRAME_LEAST 5 /* magic, and the descriptor */
#define FRAME_SKIP_HEADER 8
#define FRAME_BLOCK_MAX ((size_t)128 << 10)

static uint64_t zstd_number(const unsigned char *at, size_t len)
{
	uint64_t number = 0;

	while (len--)
		number = number << 8 | at[len];
	return number;
}

/* Bytes of the header of a frame with this descriptor, and of the size of its content in there. */
static size_t zstd_header_len(unsigned descriptor, size_t *ret_size_len)
{
	bool is_single = descriptor & 0x20;

	*ret_size_len = descriptor >> 6 ? (size_t)1 << (descriptor >> 6) : is_single;
	return FRAME_LEAST + !is_single + *ret_size_len;
}

/* Look at the header of a frame, which is whole. What it says of a window or a dictionary is for the decoder of the stream. */
static enum usp_scan_result zstd_scan_header(struct usp_scan *scan, const unsigned char *frame, size_t header_len,
					     size_t size_len)
{
	unsigned descriptor = frame[4];
	uint64_t size = zstd_number(frame + header_len - size_len, size_len) + (size_len == 2 ? 256 : 0);

	if (descriptor & 0x0f & ~0x04u || (!(descriptor & 0x20) && frame[5] > 17 << 3))
		return USP_SCAN_NONE; /* a dictionary, or more than 128 MiB */
	if (size > USP_SPLIT_ROOM_MAX)
		return USP_SCAN_NONE;
	scan->has_size = size_len;
	scan->size = size_len ? (size_t)size : 0;
	scan->at = header_len;
	return USP_SCAN_MORE;
}

/* Look at the header of a block, and go behind it. */
static enum usp_scan_result zstd_scan_block(struct usp_scan *scan, const unsigned char *frame)
{
	uint64_t header = zstd_number(frame + scan->at, 3);
	size_t len = (size_t)(header >> 3);
	unsigned type = header >> 1 & 3;

	if (type == 3 || len > FRAME_BLOCK_MAX)
		return USP_SCAN_NONE;
	scan->room += type == 2 ? FRAME_BLOCK_MAX : len;
	scan->at += 3 + (type == 1 ? 1 : len);
	scan->need = scan->at + 3;
	if (header & 1) {
		scan->is_last = true;
		scan->need = scan->at + (frame[4] & 0x04 ? 4 : 0);
		scan->room = scan->has_size ? scan->size : scan->room;
	}
	return USP_SCAN_MORE;
}

static enum usp_scan_result zstd_scan_begin(struct usp_scan *scan, const unsigned char *frame, size_t len)
{
	size_t header_len, size_len;

	scan->need = FRAME_LEAST;
	if (len < scan->need)
		return USP_SCAN_MORE;
	if ((zstd_number(frame, 4) & ~(uint64_t)15) == ZSTD_MAGIC_SKIPPABLE_START) {
		scan->need = FRAME_SKIP_HEADER;
		if (len < scan->need)
			return USP_SCAN_MORE;
		scan->need += zstd_number(frame + 4, 4);
		return len < scan->need ? USP_SCAN_MORE : USP_SCAN_UNIT;
	}
	if (zstd_number(frame, 4) != ZSTD_MAGICNUMBER)
		return USP_SCAN_NEVER;
	header_len = zstd_header_len(frame[4], &size_len);
	scan->need = header_len + 3;
	return len < scan->need ? USP_SCAN_MORE : zstd_scan_header(scan, frame, header_len, size_len);
}

static enum usp_scan_result zstd_scan(struct usp_scan *scan, const unsigned char *frame, size_t len)
{
	enum usp_scan_result result = USP_SCAN_MORE;

	if (!scan->at)
		result = zstd_scan_begin(scan, frame, len);
	while (result == USP_SCAN_MORE && len >= scan->need) {
		if (scan->is_last)
			return USP_SCAN_UNIT;
		result = zstd_scan_block(scan, frame);
	}
	return result;
}

static void *zstd_worker_open(int level)
{
	(void)level;
	return zstd.create_dctx();
}

static int zstd_work(void *worker, struct usp_piece *piece)
{
	size_t len = zstd.decompress_all(worker, piece->out, piece->room, piece->in, piece->in_len);

	if (zstd.is_error(len))
		return -EBADMSG;
	piece->out_len = len;
	return 0;
}

static void zstd_worker_free(void *worker)
{
	zstd.free_dctx(worker); /* takes NULL */
}

static const struct usp_split zstd_split = {
	.scan = zstd_scan, .open = zstd_worker_open, .run = zstd_work, .free = zstd_worker_free};

/* --- The encoder -------------------------------------------------------------------------------------------- */

static void zstd_encoder_free(void *state)
{
	zstd.free_cctx(state); /* takes NULL */
}

static void *zstd_encoder_open(int level)
{
	unsigned nr_processors = usp_sys_nr_processors();
	ZSTD_CCtx *context = zstd.create_cctx();

	if (!context)
		return NULL;
	zstd.set(context, ZSTD_c_compressionLevel, level);
	zstd.set(context, ZSTD_c_checksumFlag, 1); /* as zstd(1) */
	if (nr_processors > 1 && usp_thread_is_possible())
		zstd.set(context, ZSTD_c_nbWorkers, (int)nr_processors); /* refused by a library without threads */
	return context;
}

static int zstd_encode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	ZSTD_inBuffer in = {.src = io->in, .size = io->in_len};
	ZSTD_outBuffer out = {.dst = io->out, .size = io->out_len};
	size_t left;

	do {
		left = zstd.compress(state, &out, &in, io->is_end ? ZSTD_e_end : ZSTD_e_continue);
		if (zstd.is_error(left)) {
			*ret_why = "zstd cannot compress, for lack of memory";
			return -ENOMEM;
		}
	} while (out.pos < out.size && (io->is_end ? left > 0 : in.pos < in.size));
	io->in += in.pos;
	io->in_len -= in.pos;
	io->out += out.pos;
	io->out_len -= out.pos;
	return io->is_end && left == 0 ? USP_CODEC_DONE : 0;
}

#define ZSTD_SPLIT (&zstd_split)

#else

static const char *zstd_missing(void)
{
	return "needs libzstd, without which this usplice was built";
}

#define ZSTD_SPLIT NULL
#define zstd_decoder_open NULL
#define zstd_decode NULL
#define zstd_decoder_free NULL
#define zstd_encoder_open NULL
#define zstd_encode NULL
#define zstd_encoder_free NULL

#endif

const struct usp_codec usp_codec_zstd = {
	.name = "zstd",
	.magic = {0x28, 0xb5, 0x2f, 0xfd},
	.magic_len = 4,
	.least = 1,
	.most = 22,
	.usual = 3,
	.decoded = "decompressed (zstd)",
	.encoded = "compressed (zstd)",
	.missing = zstd_missing,
	.decoder = {.open = zstd_decoder_open, .run = zstd_decode, .free = zstd_decoder_free, .split = ZSTD_SPLIT},
	.encoder = {.open = zstd_encoder_open, .run = zstd_encode, .free = zstd_encoder_free},
};
