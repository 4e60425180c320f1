/* SPDX-License-Identifier: MIT */
/* seek_xz - the blocks of xz, by the indexes of its streams, with liblzma. */
#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/library.h"
#include "codec/codec.h"
#include "codec/seek.h"

#ifdef USP_HAVE_LZMA
#include <lzma.h>
#endif

#if defined(USP_HAVE_LZMA) && LZMA_VERSION >= 50040002 /* has lzma_file_info_decoder */

#include <pthread.h>

#define XZ_MEMORY ((uint64_t)512 << 20) /* as of the decoder of a stream; what a piece does not fill is not touched */
#define XZ_INDEX_MEMORY ((uint64_t)64 << 20)
#define XZ_READ ((size_t)64 << 10)
#define XZ_PADDING 8 /* in check of a piece: above the kind of the checksum, the bytes of padding in front of it */

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(lzma_file_info_decoder) *file_info;
	__typeof__(lzma_code) *code;
	__typeof__(lzma_end) *end;
	__typeof__(lzma_index_end) *index_end;
	__typeof__(lzma_index_block_count) *nr_blocks;
	__typeof__(lzma_index_iter_init) *iter_init;
	__typeof__(lzma_index_iter_next) *iter_next;
	__typeof__(lzma_block_header_decode) *header;
	__typeof__(lzma_block_compressed_size) *compressed_size;
	__typeof__(lzma_block_decoder) *block;
	__typeof__(lzma_raw_decoder_memusage) *memory;
	__typeof__(lzma_filters_free) *filters_free;
} xz = {.once = PTHREAD_ONCE_INIT};

static void xz_load(void)
{
	xz.is_there = usp_library_load("liblzma.so.5", (const struct usp_library_function[]){
							       {"lzma_file_info_decoder", &xz.file_info},
							       {"lzma_code", &xz.code},
							       {"lzma_end", &xz.end},
							       {"lzma_index_end", &xz.index_end},
							       {"lzma_index_block_count", &xz.nr_blocks},
							       {"lzma_index_iter_init", &xz.iter_init},
							       {"lzma_index_iter_next", &xz.iter_next},
							       {"lzma_block_header_decode", &xz.header},
							       {"lzma_block_compressed_size", &xz.compressed_size},
							       {"lzma_block_decoder", &xz.block},
							       {"lzma_raw_decoder_memusage", &xz.memory},
							       {"lzma_filters_free", &xz.filters_free},
							       {0},
						       });
}

/* --- The index ---------------------------------------------------------------------------------------------- */

/* Read where the decoder of the index wants to: 0 or -errno. */
static int xz_read(const struct usp_seek_input *input, lzma_stream *stream, unsigned char *buffer, int64_t *off)
{
	size_t len = usp_min(XZ_READ, (size_t)(input->len - *off));
	int ret = input->read(input->arg, buffer, len, *off);

	stream->next_in = buffer;
	stream->avail_in = len;
	*off += (int64_t)len;
	return ret;
}

static int xz_run_index(const struct usp_seek_input *input, lzma_stream *stream, unsigned char *buffer)
{
	lzma_ret ret = LZMA_OK;
	int64_t off = 0;
	int error = 0;

	while (ret == LZMA_OK && error == 0) {
		if (!stream->avail_in && off < input->len)
			error = xz_read(input, stream, buffer, &off);
		if (error < 0)
			return error;
		ret = xz.code(stream, LZMA_RUN);
		if (ret == LZMA_SEEK_NEEDED && stream->seek_pos <= (uint64_t)input->len) {
			off = (int64_t)stream->seek_pos;
			stream->avail_in = 0;
			ret = LZMA_OK;
		}
	}
	return ret == LZMA_STREAM_END ? 0 : ret == LZMA_MEM_ERROR ? -ENOMEM : -ESPIPE;
}

/* Read the index of all streams: 0 or -errno. */
static int xz_read_index(const struct usp_seek_input *input, lzma_index **ret_index)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	unsigned char *buffer = usp_alloc(XZ_READ);
	int ret = -ENOMEM;

	*ret_index = NULL;
	if (buffer && xz.file_info(&stream, ret_index, XZ_INDEX_MEMORY, (uint64_t)input->len) == LZMA_OK)
		ret = xz_run_index(input, &stream, buffer);
	xz.end(&stream);
	usp_free(buffer);
	return ret;
}

static int xz_add_blocks(const struct usp_seek_input *input, struct usp_seek_table *table, const lzma_index *index,
			 const char **ret_why)
{
	lzma_index_iter iter;
	int ret = 0;

	xz.iter_init(&iter, index);
	while (ret == 0 && !xz.iter_next(&iter, LZMA_INDEX_ITER_NONEMPTY_BLOCK)) {
		uint32_t padding = (uint32_t)(iter.block.total_size - iter.block.unpadded_size);
		struct usp_seek_piece piece = {.in_off = (int64_t)iter.block.compressed_file_offset,
					       .check = (uint32_t)iter.stream.flags->check | padding << XZ_PADDING};

		ret = usp_seek_add(table, input, &piece, iter.block.total_size, iter.block.uncompressed_size, ret_why);
	}
	return ret;
}

static int xz_read_table(const struct usp_seek_input *input, struct usp_seek_table *table, const char **ret_why)
{
	lzma_index *index;
	int ret;

	*ret_why = "needs a liblzma.so.5 of version 5.4, which cannot be loaded";
	pthread_once(&xz.once, xz_load);
	if (!xz.is_there)
		return -EOPNOTSUPP;
	table->reason = "decompressed (xz), by its index";
	ret = xz_read_index(input, &index);
	*ret_why = ret == -ESPIPE ? "its index makes no sense, or is too large (xz)" : NULL;
	if (ret == 0)
		ret = xz_add_blocks(input, table, index, ret_why);
	if (index)
		xz.index_end(index, NULL);
	return ret;
}

/* --- Blocks ------------------------------------------------------------------------------------------------- */

static const char damaged[] = "the data is damaged (xz)";

static int xz_error(lzma_ret ret, const char **ret_why)
{
	*ret_why = ret == LZMA_MEM_ERROR ? "there is no memory (xz)" : damaged;
	return ret == LZMA_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

/* Read the header of a block, and make its decoder: the length of the header, or -errno. */
static int xz_begin(const struct usp_seek_piece *piece, const struct usp_seek_input *input, lzma_block *block,
		    lzma_stream *stream, const char **ret_why)
{
	unsigned char head[LZMA_BLOCK_HEADER_SIZE_MAX];
	lzma_ret result;
	int ret = input->read(input->arg, head, usp_min(sizeof(head), piece->in_len), piece->in_off);

	if (ret < 0)
		return ret;
	*ret_why = damaged;
	block->header_size = lzma_block_header_size_decode(head[0]);
	if (!head[0] || block->header_size >= piece->in_len)
		return -EBADMSG;
	result = xz.header(block, NULL, head);
	if (result != LZMA_OK)
		return xz_error(result, ret_why);
	if (xz.memory(block->filters) > XZ_MEMORY) {
		*ret_why = "the data needs more than 512 MiB of memory (xz)";
		ret = -EFBIG;
	} else if (xz.compressed_size(block, piece->in_len - (piece->check >> XZ_PADDING)) != LZMA_OK) {
		ret = -EBADMSG;
	} else {
		result = xz.block(stream, block);
		ret = result == LZMA_OK ? (int)block->header_size : xz_error(result, ret_why);
	}
	xz.filters_free(block->filters, NULL); /* the decoder has copied them */
	return ret;
}

/* Decode what stands behind the header: 0 or -errno. */
static int xz_decode_rest(const struct usp_seek_piece *piece, const struct usp_seek_input *input, lzma_stream *stream,
			  size_t at, unsigned char *buffer, const char **ret_why)
{
	lzma_ret result = LZMA_OK;
	int ret;

	while (result == LZMA_OK) {
		if (!stream->avail_in && at < piece->in_len) {
			stream->next_in = buffer;
			stream->avail_in = usp_min(XZ_READ, piece->in_len - at);
			ret = input->read(input->arg, buffer, stream->avail_in, piece->in_off + (int64_t)at);
			if (ret < 0)
				return ret;
			at += stream->avail_in;
		}
		result = xz.code(stream, at == piece->in_len ? LZMA_FINISH : LZMA_RUN);
	}
	if (result == LZMA_STREAM_END && !stream->avail_in && at == piece->in_len && !stream->avail_out)
		return 0;
	return xz_error(result, ret_why);
}

static int xz_decode(const struct usp_seek_piece *piece, const struct usp_seek_input *input, unsigned char *out,
		     const char **ret_why)
{
	lzma_filter filters[LZMA_FILTERS_MAX + 1];
	lzma_block block = {
		.version = 1, .check = (lzma_check)(piece->check & ((1u << XZ_PADDING) - 1)), .filters = filters};
	lzma_stream stream = {.next_out = out, .avail_out = piece->out_len};
	unsigned char *buffer = usp_alloc(XZ_READ);
	int ret = buffer ? xz_begin(piece, input, &block, &stream, ret_why) : -ENOMEM;

	if (ret >= 0)
		ret = xz_decode_rest(piece, input, &stream, (size_t)ret, buffer, ret_why);
	xz.end(&stream);
	usp_free(buffer);
	return ret;
}

#else

static int xz_read_table(const struct usp_seek_input *input, struct usp_seek_table *table, const char **ret_why)
{
	(void)input, (void)table;
	*ret_why = "this build cannot seek in xz";
	return -EOPNOTSUPP;
}

#define xz_decode NULL

#endif

const struct usp_seek_format usp_seek_xz = {
	.magic = {0xfd, '7', 'z', 'X', 'Z', 0}, .magic_len = 6, .read_table = xz_read_table, .decode = xz_decode};
