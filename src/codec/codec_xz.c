/* SPDX-License-Identifier: MIT */
/* codec_xz - xz by liblzma. */
#include "codec/codec.h"

#ifdef USP_HAVE_LZMA

#include <errno.h>
#include <lzma.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/library.h"
#include "base/sys.h"
#include "base/thread.h"

/* xz -9 needs 65 MiB to decode; each thread needs that, and its input and output. */
#define XZ_MEMORY ((uint64_t)512 << 20)
#define XZ_THREADED_MEMORY ((uint64_t)256 << 20)
#define XZ_ENCODER_MEMORY ((uint64_t)1 << 30)

#if LZMA_VERSION >= 50040002
#define XZ_HAS_THREADED_DECODER 1
#endif

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(lzma_stream_decoder) *decoder;
#ifdef XZ_HAS_THREADED_DECODER
	__typeof__(lzma_stream_decoder_mt) *decoder_mt;
#endif
	__typeof__(lzma_stream_encoder_mt) *encoder_mt;
	__typeof__(lzma_easy_encoder) *encoder;
	__typeof__(lzma_stream_encoder_mt_memusage) *encoder_memory;
	__typeof__(lzma_code) *code;
	__typeof__(lzma_end) *end;
} xz = {.once = PTHREAD_ONCE_INIT};

static void xz_load(void)
{
	xz.is_there = usp_library_load("liblzma.so.5", (const struct usp_library_function[]){
							       {"lzma_stream_decoder", &xz.decoder},
#ifdef XZ_HAS_THREADED_DECODER
							       {"lzma_stream_decoder_mt", &xz.decoder_mt},
#endif
							       {"lzma_stream_encoder_mt", &xz.encoder_mt},
							       {"lzma_easy_encoder", &xz.encoder},
							       {"lzma_stream_encoder_mt_memusage", &xz.encoder_memory},
							       {"lzma_code", &xz.code},
							       {"lzma_end", &xz.end},
							       {0},
						       });
}

static const char *xz_missing(void)
{
	pthread_once(&xz.once, xz_load);
	return xz.is_there ? NULL : "needs liblzma.so.5, which cannot be loaded";
}

static lzma_ret xz_decoder_init(lzma_stream *stream)
{
	unsigned nr_processors = usp_sys_nr_processors();

#ifdef XZ_HAS_THREADED_DECODER
	const lzma_mt threads = {
		.flags = LZMA_CONCATENATED,
		.threads = nr_processors,
		.memlimit_threading = XZ_THREADED_MEMORY,
		.memlimit_stop = XZ_MEMORY,
	};

	if (nr_processors > 1 && usp_thread_is_possible())
		return xz.decoder_mt(stream, &threads);
#endif
	(void)nr_processors;
	return xz.decoder(stream, XZ_MEMORY, LZMA_CONCATENATED);
}

static void xz_free(void *state)
{
	if (state)
		xz.end(state);
	usp_free(state);
}

static void *xz_decoder_open(int level)
{
	lzma_stream *stream = usp_alloc(sizeof(*stream)); /* zeros are LZMA_STREAM_INIT */

	(void)level;
	if (stream && xz_decoder_init(stream) != LZMA_OK) {
		xz_free(stream);
		return NULL;
	}
	return stream;
}

static lzma_ret xz_encoder_init(lzma_stream *stream, int level)
{
	lzma_mt threads = {.threads = usp_sys_nr_processors(), .preset = (uint32_t)level, .check = LZMA_CHECK_CRC64};

	if (threads.threads < 2 || !usp_thread_is_possible())
		return xz.encoder(stream, (uint32_t)level, LZMA_CHECK_CRC64);
	while (threads.threads > 1 && xz.encoder_memory(&threads) > XZ_ENCODER_MEMORY)
		threads.threads--;
	return xz.encoder_mt(stream, &threads);
}

static void *xz_encoder_open(int level)
{
	lzma_stream *stream = usp_alloc(sizeof(*stream));

	if (stream && xz_encoder_init(stream, level) != LZMA_OK) {
		xz_free(stream);
		return NULL;
	}
	return stream;
}

static int xz_error(lzma_ret ret, const char **ret_why)
{
	if (ret == LZMA_MEM_ERROR) {
		*ret_why = "there is no memory (xz)";
		return -ENOMEM;
	}
	*ret_why = ret == LZMA_MEMLIMIT_ERROR ? "the data needs more than 512 MiB of memory (xz)"
		   : ret == LZMA_BUF_ERROR    ? "the input is cut off (xz)"
					      : "the data is damaged (xz)";
	return ret == LZMA_MEMLIMIT_ERROR ? -EFBIG : -EBADMSG;
}

/* Both directions. lzma_code tells LZMA_BUF_ERROR when it can do nothing twice, which is an error at the end only. */
static int xz_run(void *state, struct usp_codec_io *io, const char **ret_why)
{
	lzma_stream *stream = state;
	lzma_ret ret = LZMA_OK;

	stream->next_in = io->in;
	stream->avail_in = io->in_len;
	stream->next_out = io->out;
	stream->avail_out = io->out_len;
	while (ret == LZMA_OK && stream->avail_out && (stream->avail_in || io->is_end))
		ret = xz.code(stream, io->is_end ? LZMA_FINISH : LZMA_RUN);
	io->in = stream->next_in;
	io->in_len = stream->avail_in;
	io->out = stream->next_out;
	io->out_len = stream->avail_out;
	if (ret == LZMA_STREAM_END)
		return USP_CODEC_DONE;
	return ret == LZMA_OK || (ret == LZMA_BUF_ERROR && !io->is_end) ? 0 : xz_error(ret, ret_why);
}

#else

static const char *xz_missing(void)
{
	return "needs liblzma, without which this usplice was built";
}

#define xz_decoder_open NULL
#define xz_encoder_open NULL
#define xz_run NULL
#define xz_free NULL

#endif

const struct usp_codec usp_codec_xz = {
	.name = "xz",
	.magic = {0xfd, '7', 'z', 'X', 'Z', 0},
	.magic_len = 6,
	.least = 0,
	.most = 9,
	.usual = 6,
	.decoded = "decompressed (xz)",
	.encoded = "compressed (xz)",
	.missing = xz_missing,
	.decoder = {.open = xz_decoder_open, .run = xz_run, .free = xz_free},
	.encoder = {.open = xz_encoder_open, .run = xz_run, .free = xz_free},
};
