/* SPDX-License-Identifier: MIT */
/* seekable_table - the pieces of one state of a compressed file, and how one is decompressed. */
#ifndef USP_TRANSFORMS_SEEKABLE_TABLE_H
#define USP_TRANSFORMS_SEEKABLE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <usplice/endpoint.h>
#include <usplice/mapping.h>

#include "codec/seek.h"

/* The table of one state of the file below. */
struct seekable_table {
	unsigned refs; /* the lock of the source guards it */
	uint64_t nr;   /* tells it from those before it */
	struct usp_mapping_state below;
	struct usp_seek_input input;
	struct usp_seek_table pieces;
};

/* Read the table of a file, with one reference: 0 or -errno with a sentence. Blocks. */
int usp_seekable_table_new(struct usp_file *below, struct seekable_table **ret_table, const char **ret_why);

/* Free a table. NULL is allowed. */
void usp_seekable_table_free(struct seekable_table *table);

/* Tell whether the file below is still as it was when the table was read. */
bool usp_seekable_table_is_of(const struct seekable_table *table, const struct usp_mapping_state *state);

/*
 * Decompress a piece into memory for its out_len bytes, and compare it with its checksum: 0, or as usp_seek_decode. Blocks.
 * Safe from several threads.
 */
int usp_seekable_table_decode(const struct seekable_table *table, size_t index, unsigned char *out,
			      const char **ret_why);

#endif
