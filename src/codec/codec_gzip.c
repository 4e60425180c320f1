/* SPDX-License-Identifier: MIT */
/* codec_gzip - gzip: decoded by ISA-L or zlib, encoded by zlib. */
#include "codec/codec.h"
#include "codec/split.h"

#ifdef USP_HAVE_ZLIB

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/library.h"
#include "codec/inflate.h"

#define GZIP_WINDOW (15 + 16) /* the largest one, in a wrapper of gzip */
#define GZIP_PIECE ((size_t)1 << 30)
#define GZIP_MEMORY 8 /* the default of zlib */

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(deflateInit2_) *deflate_init;
	__typeof__(deflate) *deflate;
	__typeof__(deflateEnd) *deflate_end;
} gzip = {.once = PTHREAD_ONCE_INIT};

static void gzip_load(void)
{
	gzip.is_there = usp_library_load("libz.so.1", (const struct usp_library_function[]){
							      {"deflateInit2_", &gzip.deflate_init},
							      {"deflate", &gzip.deflate},
							      {"deflateEnd", &gzip.deflate_end},
							      {0},
						      });
}

static const char *gzip_missing(void)
{
	pthread_once(&gzip.once, gzip_load);
	return gzip.is_there && usp_inflate_zlib.is_there() ? NULL : "needs libz.so.1, which cannot be loaded";
}

/* Where a decoder is: gzip(1) allows zeros behind the last member. */
enum gzip_place { GZIP_FIRST, GZIP_WITHIN, GZIP_BETWEEN, GZIP_PADDING };

struct gzip_decoder {
	const struct usp_inflate *inflate;
	void *member;
	enum gzip_place place;
};

static void gzip_decoder_free(void *state)
{
	struct gzip_decoder *gz = state;

	if (gz)
		gz->inflate->free(gz->member);
	usp_free(gz);
}

void *usp_gzip_decoder_open(const struct usp_inflate *inflate)
{
	struct gzip_decoder *gz = usp_alloc(sizeof(*gz));

	if (!gz)
		return NULL;
	gz->inflate = inflate;
	gz->member = inflate->open();
	if (gz->member)
		return gz;
	gzip_decoder_free(gz);
	return NULL;
}

static void *gzip_decoder_open(int level)
{
	(void)level;
	return usp_gzip_decoder_open(usp_inflate_isal.is_there() ? &usp_inflate_isal : &usp_inflate_zlib);
}

/* Skip zeros behind a member. Anything else but another member is an error. */
static int gzip_look_behind(struct gzip_decoder *gz, struct usp_codec_io *io, const char **ret_why)
{
	while (io->in_len && *io->in == 0) {
		gz->place = GZIP_PADDING;
		io->in++;
		io->in_len--;
	}
	if (!io->in_len)
		return 0;
	if (gz->place == GZIP_PADDING || *io->in != usp_codec_gzip.magic[0]) {
		*ret_why = "there is something else behind the data (gzip)";
		return -EBADMSG;
	}
	gz->place = GZIP_WITHIN;
	return 0;
}

/* Decode a piece of a member: 0 or -errno. */
static int gzip_inflate(struct gzip_decoder *gz, struct usp_codec_io *io, const char **ret_why)
{
	int ret = gz->inflate->run(gz->member, io);

	if (ret == USP_CODEC_DONE) {
		gz->place = GZIP_BETWEEN;
		gz->inflate->reset(gz->member);
		return 0;
	}
	if (ret < 0)
		*ret_why = ret == -ENOMEM ? "there is no memory (gzip)" : "the data is damaged (gzip)";
	return ret;
}

static int gzip_decode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct gzip_decoder *gz = state;
	size_t room;
	int ret = 0;

	do {
		room = io->out_len;
		if (gz->place >= GZIP_BETWEEN)
			ret = gzip_look_behind(gz, io, ret_why);
		else if (gz->place == GZIP_FIRST && io->in_len)
			gz->place = GZIP_WITHIN;
		if (ret == 0 && gz->place == GZIP_WITHIN && io->out_len) {
			ret = gzip_inflate(gz, io, ret_why);
			if (ret == 0 && gz->place == GZIP_BETWEEN && io->stops_behind)
				return USP_CODEC_BETWEEN;
		}
	} while (ret == 0 && io->out_len && (io->in_len || io->out_len < room));
	if (ret < 0 || !io->is_end || io->in_len || !io->out_len)
		return ret;
	*ret_why = "the input is cut off (gzip)";
	return gz->place < GZIP_BETWEEN ? -EBADMSG : USP_CODEC_DONE;
}

/* --- The members of BGZF ------------------------------------------------------------------------------------ */

/*
 * BGZF, the format of bgzip(1), has a member for 64 KiB at most, and says the length of each in its header. A wrong length
 * makes the piece fail, and then the stream is decoded without it.
 */
#define BGZF_HEADER 18
#define BGZF_MOST ((size_t)64 << 10) /* of what a member makes */
#define BGZF_LEAST 26		     /* header and trailer */

static enum usp_scan_result bgzf_scan(struct usp_scan *scan, const unsigned char *member, size_t len)
{
	static const unsigned char first[] = {0x1f, 0x8b, 8, 4}, extra[] = {6, 0, 'B', 'C', 2, 0};
	const unsigned char *size;

	if (len < BGZF_HEADER) {
		scan->need = BGZF_HEADER;
		return USP_SCAN_MORE;
	}
	if (memcmp(member, first, sizeof(first)) != 0 || memcmp(member + 10, extra, sizeof(extra)) != 0)
		return USP_SCAN_NEVER;
	scan->need = (size_t)(member[16] | member[17] << 8) + 1;
	if (scan->need < BGZF_LEAST)
		return USP_SCAN_NEVER;
	if (len < scan->need)
		return USP_SCAN_MORE;
	size = member + scan->need - 4;
	scan->room = ((size_t)size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24) + 1;
	return scan->room > BGZF_MOST + 1 ? USP_SCAN_NEVER : USP_SCAN_UNIT; /* full room would look like too little */
}

static int bgzf_work(void *worker, struct usp_piece *piece)
{
	struct gzip_decoder *gz = worker;
	struct usp_codec_io io = {
		.in = piece->in, .in_len = piece->in_len, .out = piece->out, .out_len = piece->room, .is_end = true};
	const char *why;
	int ret;

	gz->place = GZIP_FIRST;
	ret = gzip_decode(gz, &io, &why);
	if (ret != USP_CODEC_DONE || gz->place == GZIP_PADDING)
		return ret < 0 ? ret : -EBADMSG;
	piece->out_len = piece->room - io.out_len;
	return 0;
}

static void gzip_resume(void *state, const struct usp_split_frame *frame)
{
	struct gzip_decoder *gz = state;

	(void)frame;
	gz->place = GZIP_BETWEEN;
}

static const struct usp_split bgzf_split = {
	.scan = bgzf_scan, .open = gzip_decoder_open, .run = bgzf_work, .free = gzip_decoder_free};

#define GZIP_BGZF (&bgzf_split)

/* --- The encoder -------------------------------------------------------------------------------------------- */

struct gzip {
	z_stream stream;
};

/* Let zlib see a piece of io. */
static void gzip_lend(struct gzip *gz, const struct usp_codec_io *io)
{
	gz->stream.next_in = (unsigned char *)io->in;
	gz->stream.avail_in = (unsigned)usp_min(io->in_len, GZIP_PIECE);
	gz->stream.next_out = io->out;
	gz->stream.avail_out = (unsigned)usp_min(io->out_len, GZIP_PIECE);
}

static void gzip_take_back(struct gzip *gz, struct usp_codec_io *io)
{
	io->in_len -= (size_t)(gz->stream.next_in - io->in);
	io->in = gz->stream.next_in;
	io->out_len -= (size_t)(gz->stream.next_out - io->out);
	io->out = gz->stream.next_out;
}

static void *gzip_encoder_open(int level)
{
	struct gzip *gz = usp_alloc(sizeof(*gz));

	if (gz && gzip.deflate_init(&gz->stream, level, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY, Z_DEFAULT_STRATEGY,
				    ZLIB_VERSION, (int)sizeof(gz->stream)) != Z_OK) {
		usp_free(gz);
		return NULL;
	}
	return gz;
}

static void gzip_encoder_free(void *state)
{
	struct gzip *gz = state;

	if (gz)
		gzip.deflate_end(&gz->stream);
	usp_free(gz);
}

static int gzip_encode(void *state, struct usp_codec_io *io, const char **ret_why)
{
	struct gzip *gz = state;
	int ret = Z_OK;

	(void)ret_why;
	while (io->out_len && (io->in_len || io->is_end) && ret == Z_OK) {
		gzip_lend(gz, io);
		ret = gzip.deflate(&gz->stream, io->is_end && io->in_len <= GZIP_PIECE ? Z_FINISH : Z_NO_FLUSH);
		gzip_take_back(gz, io);
	}
	return ret == Z_STREAM_END ? USP_CODEC_DONE : 0;
}

#else

static const char *gzip_missing(void)
{
	return "needs zlib, without which this usplice was built";
}

#define GZIP_BGZF NULL
#define gzip_resume NULL
#define gzip_decoder_open NULL
#define gzip_decode NULL
#define gzip_decoder_free NULL
#define gzip_encoder_open NULL
#define gzip_encode NULL
#define gzip_encoder_free NULL

#endif

const struct usp_codec usp_codec_gzip = {
	.name = "gzip",
	.magic = {0x1f, 0x8b},
	.magic_len = 2,
	.least = 1,
	.most = 9,
	.usual = 6,
	.decoded = "decompressed (gzip)",
	.encoded = "compressed (gzip)",
	.missing = gzip_missing,
	.decoder = {.open = gzip_decoder_open,
		    .run = gzip_decode,
		    .free = gzip_decoder_free,
		    .split = GZIP_BGZF,
		    .resume = gzip_resume},
	.encoder = {.open = gzip_encoder_open, .run = gzip_encode, .free = gzip_encoder_free, .split = &usp_split_gzip},
};
