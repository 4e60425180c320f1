/* SPDX-License-Identifier: MIT */
/* blocks_buf - a block, whose checksum is verified once, and the bufs over it. */
#ifndef USP_TRANSFORMS_BLOCKS_BUF_H
#define USP_TRANSFORMS_BLOCKS_BUF_H

#include <pthread.h>
#include <stdatomic.h>

#include "hash/hash.h"
#include "mm/folio.h"

/* Counted by its folio, and freed with the last reference. */
struct block {
	struct usp_folio folio; /* over the bytes of inner; first, so that bufs over a block are addressable */
	struct usp_buf inner;	/* where the bytes are */
	const char *reason;	/* why they were copied; NULL if they were not */
	const struct usp_hash_ops *hash;
	unsigned char expected[USP_HASH_LEN_MAX];
	pthread_mutex_t lock; /* whoever hashes: the others wait for the result */
	atomic_int state;     /* BLOCK_UNKNOWN, 0 if the bytes are the expected ones, or -EBADMSG */
};

/* Make a block, which takes over the reference of inner; on failure inner stays with the caller. */
struct block *usp_block_new(const struct usp_buf *inner, const struct usp_hash_ops *hash, const char *reason);

/* Compute the digest of the bytes, which are there: 0 or -ENOMEM. */
int usp_block_digest(const struct block *block, unsigned char *ret_digest);

/* Verify the block, once: 0, -EBADMSG, -EAGAIN if its bytes are not there yet, or -errno. */
int usp_block_verify(struct block *block);

/* Note that the bytes need not be verified: their checksum was just computed. */
void usp_block_set_good(struct block *block);

/* Bufs over a block: confirm verifies it. Their store is the block. */
extern const struct usp_buf_ops usp_block_buf_ops;

#endif
