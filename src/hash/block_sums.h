/* SPDX-License-Identifier: MIT */
/*
 * block_sums - a list of checksums, one for each block of some bytes, and its form as a file.
 *
 *   # usplice blocks ALG SIZE LENGTH
 *   HEX
 *   ...
 *
 * SIZE is that of a block, a power of two from 4096 to 1048576. LENGTH counts all bytes, so the last block may be
 * shorter. Each block has one line of lower-case digits. Every line ends with a newline, and nothing follows.
 */
#ifndef USP_HASH_BLOCK_SUMS_H
#define USP_HASH_BLOCK_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash/hash.h"

#define USP_BLOCK_MIN ((size_t)4096)
#define USP_BLOCK_MAX ((size_t)1 << 20)
#define USP_BLOCK_DEFAULT ((size_t)64 << 10)

struct usp_block_sums {
	const struct usp_hash_ops *hash;
	size_t block_len;
	uint64_t length;	/* bytes in all blocks */
	uint64_t nr, room;	/* blocks: in the list, and for how many there is memory */
	unsigned char *digests; /* hash->len bytes each */
};

/* Parse ALG[:SIZE], SIZE in bytes, and begin an empty list: 0, -EINVAL or -EOPNOTSUPP, with a sentence. */
int usp_block_sums_parse(const char *options, struct usp_block_sums *ret_sums, const char **ret_why);

/*
 * Read a list from a file: 0, -EINVAL for a malformed one, -EOPNOTSUPP for an algorithm that this build lacks, each
 * with a sentence, or -errno. The caller frees it.
 */
int usp_block_sums_read(const char *path, struct usp_block_sums *ret_sums, const char **ret_why);

/* Write the list to a descriptor: 0 or -errno. Blocks. */
int usp_block_sums_write(const struct usp_block_sums *sums, int fd);

/* Make sure that one more digest fits: 0 or -ENOMEM. */
int usp_block_sums_reserve(struct usp_block_sums *sums);

/* Return where the digest of a block is. */
static inline unsigned char *usp_block_sums_digest(const struct usp_block_sums *sums, uint64_t nr)
{
	return sums->digests + nr * sums->hash->len;
}

void usp_block_sums_fini(struct usp_block_sums *sums);

#endif
