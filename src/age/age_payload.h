/* SPDX-License-Identifier: MIT */
/* age_payload - what stands behind the header of age: chunks of 64 KiB, each with a tag, under a key of their own. */
#ifndef USP_AGE_AGE_PAYLOAD_H
#define USP_AGE_AGE_PAYLOAD_H

#include <stdint.h>

#include "age/age_keys.h"

#define USP_AGE_PLAIN_LEN ((size_t)64 << 10) /* bytes of a whole chunk */
#define USP_AGE_SEALED_LEN (USP_AGE_PLAIN_LEN + USP_AGE_TAG_LEN)
#define USP_AGE_HEADER_ROOM (USP_AGE_HEADER_MAX + USP_AGE_PAYLOAD_NONCE_LEN)

/*
 * Read the keys to decrypt with: 0, -EINVAL with a sentence, or -ENOMEM. kind: "identity" or "passphrase". secret may
 * be NULL, which is -EINVAL.
 */
int usp_age_secret_parse(const char *kind, const void *secret, size_t len, struct usp_age_keys *ret_keys,
			 const char **ret_why);

/* Derive the key of the payload: 0 or -ENOMEM. Wipe it after use. */
int usp_age_payload_key(const unsigned char file_key[USP_AGE_FILE_KEY_LEN],
			const unsigned char nonce[USP_AGE_PAYLOAD_NONCE_LEN], unsigned char ret_key[USP_AGE_KEY_LEN]);

/* Write the nonce of a chunk: its number from 0 on, and whether it is the last one. */
void usp_age_chunk_nonce(uint64_t nr, bool is_last, unsigned char ret_nonce[USP_AGE_NONCE_LEN]);

#endif
