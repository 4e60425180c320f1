/* SPDX-License-Identifier: MIT */
/* inflate_zlib - members of gzip by zlib. */
#include "codec/inflate.h"

#ifdef USP_HAVE_ZLIB

#include <errno.h>
#include <pthread.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/library.h"

#define ZLIB_WINDOW (15 + 16) /* the largest one, in a wrapper of gzip */
#define ZLIB_PIECE ((size_t)1 << 30)

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(inflateInit2_) *init;
	__typeof__(inflate) *inflate;
	__typeof__(inflateReset) *reset;
	__typeof__(inflateEnd) *end;
} zlib = {.once = PTHREAD_ONCE_INIT};

static void zlib_load(void)
{
	zlib.is_there = usp_library_load("libz.so.1", (const struct usp_library_function[]){
							      {"inflateInit2_", &zlib.init},
							      {"inflate", &zlib.inflate},
							      {"inflateReset", &zlib.reset},
							      {"inflateEnd", &zlib.end},
							      {0},
						      });
}

static bool zlib_is_there(void)
{
	pthread_once(&zlib.once, zlib_load);
	return zlib.is_there;
}

static void *zlib_open(void)
{
	z_stream *stream = usp_alloc(sizeof(*stream));

	if (stream && zlib.init(stream, ZLIB_WINDOW, ZLIB_VERSION, (int)sizeof(*stream)) != Z_OK) {
		usp_free(stream);
		return NULL;
	}
	return stream;
}

static int zlib_run(void *state, struct usp_codec_io *io)
{
	z_stream *stream = state;
	int ret;

	stream->next_in = (unsigned char *)io->in;
	stream->avail_in = (unsigned)usp_min(io->in_len, ZLIB_PIECE);
	stream->next_out = io->out;
	stream->avail_out = (unsigned)usp_min(io->out_len, ZLIB_PIECE);
	ret = zlib.inflate(stream, Z_NO_FLUSH);
	io->in_len -= (size_t)(stream->next_in - io->in);
	io->in = stream->next_in;
	io->out_len -= (size_t)(stream->next_out - io->out);
	io->out = stream->next_out;
	if (ret == Z_STREAM_END)
		return USP_CODEC_DONE;
	if (ret == Z_OK || (ret == Z_BUF_ERROR && !io->in_len))
		return 0;
	return ret == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static void zlib_reset(void *state)
{
	zlib.reset(state);
}

static void zlib_free(void *state)
{
	if (state)
		zlib.end(state);
	usp_free(state);
}

const struct usp_inflate usp_inflate_zlib = {
	.is_there = zlib_is_there, .open = zlib_open, .run = zlib_run, .reset = zlib_reset, .free = zlib_free};

#else

static bool zlib_is_there(void)
{
	return false;
}

const struct usp_inflate usp_inflate_zlib = {.is_there = zlib_is_there};

#endif
