/* SPDX-License-Identifier: MIT */
/* seek_files - compressed files with pieces, made by the libraries and by hand. */
#ifndef USP_TESTS_SEEK_FILES_H
#define USP_TESTS_SEEK_FILES_H

#include <stddef.h>
#include <stdint.h>

/* A file that grows. Free bytes. */
struct seek_file {
	unsigned char *bytes;
	size_t len, room;
};

/* Make a file of len plain bytes in pieces of piece bytes, the last one shorter, with checksums. */
struct seek_format {
	const char *name, *reason;
	void (*make)(const unsigned char *plain, size_t len, size_t piece, struct seek_file *ret_file);
};

/* Those that this build has; the last one has no name. */
extern const struct seek_format seek_formats[];

const struct seek_format *seek_format_named(const char *name); /* or NULL */

/* Add bytes, or a number, to a file. */
void seek_put(struct seek_file *file, const void *bytes, size_t len);
void seek_put_u32(struct seek_file *file, uint32_t number);

#endif
