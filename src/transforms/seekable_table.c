/* SPDX-License-Identifier: MIT */
/* seekable_table - the pieces of one state of a compressed file, and how one is decompressed. */
#include "transforms/seekable_table.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "hash/hash.h"
#include "mm/folio.h"
#include "splice/filemap_source.h"

static int table_read_below(void *arg, void *bytes, size_t len, int64_t off)
{
	return usp_filemap_below_read(arg, bytes, len, off);
}

void usp_seekable_table_free(struct seekable_table *table)
{
	if (table)
		usp_seek_fini(&table->pieces);
	usp_free(table);
}

/* Compare what came out with the checksum of the table, of which a build without xxHash cannot tell: 0 or -errno. */
static int table_verify(const struct usp_seek_table *pieces, size_t index, const unsigned char *bytes,
			const char **ret_why)
{
	const struct usp_seek_piece *piece = &pieces->pieces[index];
	const struct usp_hash_ops *hash = &usp_hash_xxh64;
	unsigned char digest[USP_HASH_LEN_MAX];
	uint32_t low = 0;
	void *state;

	if (!pieces->has_xxh64 || (hash->missing && hash->missing()))
		return 0;
	state = hash->open();
	if (!state)
		return -ENOMEM;
	hash->update(state, bytes, piece->out_len);
	hash->finish(state, digest);
	hash->free(state);
	for (unsigned i = 4; i < 8; i++)
		low = low << 8 | digest[i];
	*ret_why = "the data is damaged: it has another checksum than the table says (zstd)";
	return low == piece->check ? 0 : -EBADMSG;
}

/* What is read of a piece goes into memory of the pool, which is warm and need not be cleared. */
int usp_seekable_table_decode(const struct seekable_table *table, size_t index, unsigned char *out,
			      const char **ret_why)
{
	struct usp_seek_input input = table->input;
	struct usp_folio *folio = usp_folio_new(usp_min(table->pieces.pieces[index].in_len, USP_SEEK_READ));
	int ret;

	if (folio) {
		input.room = folio->base;
		input.room_len = folio->len;
	}
	ret = usp_seek_decode(&table->pieces, index, &input, out, ret_why);
	if (folio)
		usp_folio_put(folio);
	return ret < 0 ? ret : table_verify(&table->pieces, index, out, ret_why);
}

/*
 * Decompress the last piece, and throw it away: where the end is must not be believed, because an end tells nobody that
 * something is missing. 0, -ESPIPE with a sentence, or -errno.
 */
static int table_check_end(const struct seekable_table *table, const char **ret_why)
{
	const struct usp_seek_table *pieces = &table->pieces;
	size_t last = pieces->nr_pieces - 1;
	unsigned char *bytes;
	int ret;

	if (!pieces->nr_pieces)
		return 0;
	bytes = usp_alloc(pieces->pieces[last].out_len);
	ret = bytes ? usp_seekable_table_decode(table, last, bytes, ret_why) : -ENOMEM;
	usp_free(bytes);
	return ret == -EBADMSG || ret == -EFBIG ? -ESPIPE : ret;
}

/* Read the table of a file: 0 or -errno with a sentence. */
int usp_seekable_table_new(struct usp_file *below, struct seekable_table **ret_table, const char **ret_why)
{
	struct seekable_table *table = usp_alloc(sizeof(*table));
	int ret = table ? usp_filemap_get_state(below, &table->below) : -ENOMEM;

	if (ret == 0) {
		table->refs = 1;
		table->input =
			(struct usp_seek_input){.len = table->below.bytes, .read = table_read_below, .arg = below};
		ret = usp_seek_open(&table->input, &table->pieces, ret_why);
	}
	if (ret == 0) {
		ret = table_check_end(table, ret_why);
		if (ret < 0)
			usp_seek_fini(&table->pieces);
	}
	if (ret < 0)
		usp_free(table);
	else
		*ret_table = table;
	return ret;
}

bool usp_seekable_table_is_of(const struct seekable_table *table, const struct usp_mapping_state *state)
{
	return table->below.bytes == state->bytes && table->below.version[0] == state->version[0] &&
	       table->below.version[1] == state->version[1];
}
