/* SPDX-License-Identifier: MIT */
/* hash - checksums of bytes that come in pieces: one table for each algorithm, and their list. */
#ifndef USP_HASH_HASH_H
#define USP_HASH_HASH_H

#include <stdbool.h>
#include <stddef.h>

#define USP_HASH_LEN_MAX 64			    /* bytes of the longest digest */
#define USP_HASH_HEX_MAX (2 * USP_HASH_LEN_MAX + 1) /* as hexadecimal text, with the 0 at its end */

/* An algorithm. */
struct usp_hash_ops {
	const char *name;    /* such as "sha256" */
	const char *summary; /* for lists */
	const char *(*missing)(
		void);	     /* what it lacks here, as "needs X, ..."; NULL from the call, or no hook: nothing */
	size_t len;	     /* bytes of the digest */
	bool is_heavy;	     /* slower than memory: worth a thread of its own */
	void *(*open)(void); /* the state before the first byte; NULL without memory */
	void (*update)(void *state, const void *bytes, size_t len);
	void (*finish)(void *state,
		       unsigned char *ret_digest); /* len bytes; the state is used up, and is still to be freed */
	void (*free)(void *state);		   /* NULL is allowed */
};

/* SHA-2 and BLAKE2b by OpenSSL, CRC32C (by ISA-L where it is there), and the family of xxHash. */
extern const struct usp_hash_ops usp_hash_sha256, usp_hash_sha512, usp_hash_blake2b;
extern const struct usp_hash_ops usp_hash_crc32c;
extern const struct usp_hash_ops usp_hash_xxh64, usp_hash_xxh3, usp_hash_xxh128;

/* Return the algorithm of this index, or NULL: there are no more. */
const struct usp_hash_ops *usp_hash_at(unsigned index);

/* Find the algorithm of this name, also one that this build lacks: NULL if there is none. */
const struct usp_hash_ops *usp_hash_named(const char *name, size_t len);

/* Write a digest of len bytes as hexadecimal digits. */
void usp_hash_format(const unsigned char *digest, size_t len, char ret_hex[USP_HASH_HEX_MAX]);

/* Tell whether the text of hex_len characters is a digest of len bytes, in hexadecimal digits of either case. */
bool usp_hash_is_hex(const char *hex, size_t hex_len, size_t len);

#endif
