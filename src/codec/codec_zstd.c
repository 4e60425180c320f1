/* SPDX-License-Identifier: MIT */
/* codec_zstd - zstd by libzstd. */
#include "codec/codec.h"

#ifdef USP_HAVE_ZSTD

#include <errno.h>
#include <pthread.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/sys.h"

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(ZSTD_createDCtx) *create_dctx;
	__typeof__(ZSTD_freeDCtx) *free_dctx;
	__typeof__(ZSTD_decompressStream) *decompress;
	__typeof__(ZSTD_createCCtx) *create_cctx;
	__typeof__(ZSTD_freeCCtx) *free_cctx;
	__typeof__(ZSTD_CCtx_setParameter) *set;
	__typeof__(ZSTD_compressStream2) *compress;
	__typeof__(ZSTD_isError) *is_error;
} zstd = {.once = PTHREAD_ONCE_INIT};

static void zstd_load(void)
{
	zstd.is_there = usp_codec_load("libzstd.so.1", (const struct usp_codec_function[]){
							       {"ZSTD_createDCtx", &zstd.create_dctx},
							       {"ZSTD_freeDCtx", &zstd.free_dctx},
							       {"ZSTD_decompressStream", &zstd.decompress},
							       {"ZSTD_createCCtx", &zstd.create_cctx},
							       {"ZSTD_freeCCtx", &zstd.free_cctx},
							       {"ZSTD_CCtx_setParameter", &zstd.set},
							       {"ZSTD_compressStream2", &zstd.compress},
							       {"ZSTD_isError", &zstd.is_error},
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

/* The window is at most 128 MiB, which is the default of the library and of zstd(1). */
static int zstd_decode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct zstd_decoder *decoder = state;

	while (io->out_len && (io->in_len || decoder->is_within)) {
		ZSTD_inBuffer in = {.src = io->in, .size = io->in_len};
		ZSTD_outBuffer out = {.dst = io->out, .size = io->out_len};
		size_t left = zstd.decompress(decoder->context, &out, &in);

		if (zstd.is_error(left)) {
			*ret_why = "the data is damaged, or needs a window of more than 128 MiB (zstd)";
			return -EBADMSG;
		}
		io->in += in.pos;
		io->in_len -= in.pos;
		io->out += out.pos;
		io->out_len -= out.pos;
		decoder->is_within = left;
		if (!in.pos && !out.pos)
			break;
	}
	if (!io->is_end || io->in_len || !io->out_len)
		return 0;
	*ret_why = "the input is cut off (zstd)";
	return decoder->is_within ? -EBADMSG : USP_CODEC_DONE;
}

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
	if (nr_processors > 1)
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

#else

static const char *zstd_missing(void)
{
	return "this build has no zstd";
}

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
	.decoder = {.open = zstd_decoder_open, .run = zstd_decode, .free = zstd_decoder_free},
	.encoder = {.open = zstd_encoder_open, .run = zstd_encode, .free = zstd_encoder_free},
};
