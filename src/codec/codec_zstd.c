/* SPDX-License-Identifier: MIT */
/*
 * codec_zstd - zstd by libzstd.
 *
 * The stream functions of the library decode into a window of their own and copy from there. Where the caller keeps what it was
 * given, the blocks go into its memory, which is the window: no byte is copied, and less memory goes through the cache of
 * the processor. That is for windows of usual size. All else is for the stream functions.
 */
#include "codec/codec.h"

#ifdef USP_HAVE_ZSTD

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "base/alloc.h"
#include "base/compiler.h"
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
	/* Block by block: not in the header without ZSTD_STATIC_LINKING_ONLY, and a library may lack them. */
	bool has_blocks;
	size_t (*begin)(ZSTD_DCtx *context);
	size_t (*next)(ZSTD_DCtx *context);
	int (*kind)(ZSTD_DCtx *context);
	size_t (*go_on)(ZSTD_DCtx *context, void *out, size_t room, const void *in, size_t len);
	unsigned (*version)(void);
} zstd = {.once = PTHREAD_ONCE_INIT};

/* What kind of input is next. */
#define KIND_BLOCK_HEADER 1
#define KIND_BLOCK 2
#define KIND_LAST_BLOCK 3

#define BLOCKS_VERSION 10500 /* from here on a part of a raw block may be given */

static void zstd_load_blocks(void)
{
	zstd.has_blocks = usp_library_load("libzstd.so.1",
					   (const struct usp_library_function[]){
						   {"ZSTD_decompressBegin", &zstd.begin},
						   {"ZSTD_nextSrcSizeToDecompress", &zstd.next},
						   {"ZSTD_nextInputType", &zstd.kind},
						   {"ZSTD_decompressContinue", &zstd.go_on},
						   {"ZSTD_versionNumber", &zstd.version},
						   {0},
					   }) &&
			  zstd.version() >= BLOCKS_VERSION;
}

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
	if (zstd.is_there)
		zstd_load_blocks();
}

static const char *zstd_missing(void)
{
	pthread_once(&zstd.once, zstd_load);
	return zstd.is_there ? NULL : "needs libzstd.so.1, which cannot be loaded";
}

/* --- The decoder -------------------------------------------------------------------------------------------- */

#define FRAME_LEAST 5 /* magic, and the descriptor */
#define FRAME_MAGIC "\x28\xb5\x2f\xfd"
#define FRAME_MAGIC_LEN ((size_t)4)
#define FRAME_BLOCK_MAX ((size_t)128 << 10)
#define CONTENT_UNKNOWN UINT64_MAX

enum zstd_way {
	ZSTD_BETWEEN, /* a frame may begin */
	ZSTD_STREAM,  /* in a frame, by the stream functions */
	ZSTD_BLOCKS,  /* in a frame, block by block into the window of the caller */
};

struct zstd_decoder {
	ZSTD_DCtx *context;
	enum zstd_way way;
	size_t window;	     /* of a frame that goes block by block */
	uint64_t content;    /* bytes of the frame by its header, or CONTENT_UNKNOWN */
	uint64_t given;	     /* bytes of the frame so far */
	unsigned char *part; /* of what the library wants whole, from an earlier call; NULL until needed */
	size_t part_len;
	bool is_raw;	/* the block may come in parts */
	bool had_frame; /* given is that of the last frame, between two */
};

static void zstd_decoder_free(void *state)
{
	struct zstd_decoder *decoder = state;

	if (decoder && decoder->context)
		zstd.free_dctx(decoder->context);
	if (decoder)
		usp_free(decoder->part);
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

static size_t zstd_window(const void *state)
{
	const struct zstd_decoder *decoder = state;

	return decoder->way == ZSTD_BLOCKS ? decoder->window : 0;
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

/* The size of the content by the header of a frame, or 0. */
static uint64_t zstd_content(const unsigned char *frame, size_t header_len, size_t size_len)
{
	return zstd_number(frame + header_len - size_len, size_len) + (size_len == 2 ? 256 : 0);
}

/* Return the window of a frame, or 0 if it is too large for blocks, or needs a dictionary. */
static size_t zstd_frame_window(const unsigned char *frame, size_t header_len, size_t size_len)
{
	uint64_t window = zstd_content(frame, header_len, size_len), base;

	if (frame[4] & 0x0f & ~0x04u)
		return 0;
	if (!(frame[4] & 0x20)) {
		base = (uint64_t)1 << (10 + (frame[5] >> 3));
		window = base + base / 8 * (frame[5] & 7);
	}
	return window <= USP_CODEC_WINDOW_MAX ? (size_t)usp_max(window, (uint64_t)1) : 0;
}

/*
 * Have len bytes of the input in one piece, those of earlier calls in front: 1 with *ret_at, 0 if they have not all come,
 * or -ENOMEM.
 */
static int zstd_have(struct zstd_decoder *decoder, struct usp_codec_io *io, size_t len, const unsigned char **ret_at,
		     const char **ret_why)
{
	size_t more;

	*ret_at = decoder->part_len ? decoder->part : io->in;
	if (decoder->part_len ? decoder->part_len >= len : io->in_len >= len)
		return 1;
	if (!io->in_len)
		return 0;
	more = usp_min(len - decoder->part_len, io->in_len);
	if (!decoder->part)
		decoder->part = usp_alloc(FRAME_BLOCK_MAX);
	if (!decoder->part) {
		*ret_why = "there is no memory (zstd)";
		return -ENOMEM;
	}
	memcpy(decoder->part + decoder->part_len, io->in, more);
	decoder->part_len += more;
	io->in += more;
	io->in_len -= more;
	*ret_at = decoder->part;
	return decoder->part_len == len;
}

/* The first len bytes that zstd_have gave are done with. */
static void zstd_done(struct zstd_decoder *decoder, struct usp_codec_io *io, size_t len)
{
	if (!decoder->part_len) {
		io->in += len;
		io->in_len -= len;
	} else {
		decoder->part_len -= len;
		memmove(decoder->part, decoder->part + len, decoder->part_len);
	}
}

/*
 * The frame has ended: USP_CODEC_BETWEEN, or -EBADMSG if it is not as long as its header says. The library does not look
 * where the last block is empty.
 */
static int zstd_end_frame(struct zstd_decoder *decoder, const char **ret_why)
{
	decoder->way = ZSTD_BETWEEN;
	decoder->had_frame = true;
	if (decoder->content == CONTENT_UNKNOWN || decoder->content == decoder->given)
		return USP_CODEC_BETWEEN;
	*ret_why = "the data is damaged: a frame has another length than its header says (zstd)";
	return -EBADMSG;
}

/* Choose the way through the frame that begins: 0, also if its header has not all come, or -errno. */
static int zstd_choose(struct zstd_decoder *decoder, struct usp_codec_io *io, const char **ret_why)
{
	const unsigned char *at = decoder->part_len ? decoder->part : io->in;
	size_t len = decoder->part_len ? decoder->part_len : io->in_len, size_len = 0, header_len;
	int ret;

	decoder->way = ZSTD_STREAM;
	decoder->content = CONTENT_UNKNOWN;
	decoder->given = 0;
	if (!zstd.has_blocks || !io->keeps_window || memcmp(at, FRAME_MAGIC, usp_min(len, FRAME_MAGIC_LEN)) != 0)
		return 0;
	decoder->way = ZSTD_BETWEEN;
	ret = zstd_have(decoder, io, FRAME_LEAST, &at, ret_why);
	if (ret <= 0)
		return ret;
	header_len = zstd_header_len(at[4], &size_len);
	ret = zstd_have(decoder, io, header_len, &at, ret_why);
	if (ret <= 0)
		return ret;
	decoder->way = ZSTD_STREAM;
	decoder->content = size_len ? zstd_content(at, header_len, size_len) : CONTENT_UNKNOWN;
	decoder->window = zstd_frame_window(at, header_len, size_len);
	if (!decoder->window || zstd.is_error(zstd.begin(decoder->context)))
		return 0;
	decoder->way = ZSTD_BLOCKS;
	return 0;
}

/* Decode as the library does it: 0, USP_CODEC_BETWEEN behind the frame, or -errno. What was kept of its header comes first. */
static int zstd_stream(struct zstd_decoder *decoder, struct usp_codec_io *io, const char **ret_why)
{
	bool has_part = decoder->part_len;
	ZSTD_inBuffer in = {.src = has_part ? decoder->part : io->in,
			    .size = has_part ? decoder->part_len : io->in_len};
	ZSTD_outBuffer out = {.dst = io->out, .size = io->out_len};
	size_t left = zstd.decompress(decoder->context, &out, &in);

	if (zstd.is_error(left))
		return zstd_failed(left, ret_why);
	zstd_done(decoder, io, in.pos);
	io->out += out.pos;
	io->out_len -= out.pos;
	decoder->given += out.pos;
	return left ? 0 : zstd_end_frame(decoder, ret_why);
}

/* Decode the next part of a frame that goes block by block: as zstd_stream. */
static int zstd_block(struct zstd_decoder *decoder, struct usp_codec_io *io, const char **ret_why)
{
	size_t len = zstd.next(decoder->context), result;
	int kind = zstd.kind(decoder->context), ret;
	bool is_block = kind == KIND_BLOCK || kind == KIND_LAST_BLOCK;
	const unsigned char *at;

	if (is_block && (io->out_len < USP_CODEC_ROOM || len > FRAME_BLOCK_MAX)) /* the library refuses the latter */
		return 0;
	if (is_block && decoder->is_raw && io->in_len)
		len = usp_min(len, io->in_len);
	ret = zstd_have(decoder, io, len, &at, ret_why);
	if (ret <= 0)
		return ret;
	if (kind == KIND_BLOCK_HEADER)
		decoder->is_raw = (at[0] >> 1 & 3) == 0;
	if (kind == KIND_BLOCK_HEADER && zstd_number(at, len) >> 1 == 2) { /* the library takes it for an empty one */
		*ret_why = "the data is damaged: a compressed block has no bytes (zstd)";
		return -EBADMSG;
	}
	result = zstd.go_on(decoder->context, io->out, io->out_len, at, len);
	if (zstd.is_error(result))
		return zstd_failed(result, ret_why);
	zstd_done(decoder, io, len);
	io->out += result;
	io->out_len -= result;
	decoder->given += result;
	return zstd.next(decoder->context) ? 0 : zstd_end_frame(decoder, ret_why);
}

/* The window is at most 128 MiB, which is the default of the library and of zstd(1). */
static int zstd_decode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct zstd_decoder *decoder = state;
	int ret = 0;

	while (io->out_len && (io->in_len || decoder->way != ZSTD_BETWEEN)) {
		const struct usp_codec_io before = *io;
		size_t part_len = decoder->part_len;
		enum zstd_way way = decoder->way;

		if (way == ZSTD_BETWEEN)
			ret = zstd_choose(decoder, io, ret_why);
		else
			ret = way == ZSTD_BLOCKS ? zstd_block(decoder, io, ret_why) : zstd_stream(decoder, io, ret_why);
		if (ret < 0 || (ret == USP_CODEC_BETWEEN && io->stops_behind))
			return ret;
		if (io->in_len == before.in_len && io->out_len == before.out_len && decoder->way == way &&
		    decoder->part_len == part_len)
			break;
	}
	if (!io->is_end || io->in_len || !io->out_len)
		return 0;
	if (decoder->way == ZSTD_BETWEEN && !decoder->part_len)
		return USP_CODEC_DONE;
	*ret_why = "the input is cut off (zstd)";
	return -EBADMSG;
}

/* --- Frames one by one -------------------------------------------------------------------------------------- */

#define FRAME_SKIP_HEADER 8

/* Look at the header of a frame, which is whole. What it says of a window or a dictionary is for the decoder of the stream. */
static enum usp_scan_result zstd_scan_header(struct usp_scan *scan, const unsigned char *frame, size_t header_len,
					     size_t size_len)
{
	unsigned descriptor = frame[4];
	uint64_t size = zstd_content(frame, header_len, size_len);

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

/* A frame that tells its size is looked at. Another one is as long as the last one, and the first one may be long. */
static bool zstd_is_likely(const void *state, const unsigned char *frame, size_t len)
{
	const struct zstd_decoder *decoder = state;
	size_t size_len;

	if (len < FRAME_LEAST)
		return false;
	if (memcmp(frame, FRAME_MAGIC, FRAME_MAGIC_LEN) != 0)
		return true;
	zstd_header_len(frame[4], &size_len);
	return size_len || (decoder->had_frame && decoder->given <= USP_SPLIT_ROOM_MAX);
}

static const struct usp_split zstd_split = {.is_likely = zstd_is_likely,
					    .scan = zstd_scan,
					    .open = zstd_worker_open,
					    .run = zstd_work,
					    .free = zstd_worker_free};

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
#define zstd_window NULL
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
	.decoder = {.open = zstd_decoder_open,
		    .run = zstd_decode,
		    .free = zstd_decoder_free,
		    .split = ZSTD_SPLIT,
		    .window = zstd_window},
	.encoder = {.open = zstd_encoder_open, .run = zstd_encode, .free = zstd_encoder_free},
};
