/* SPDX-License-Identifier: MIT */
/* age_head - what stands before the payload of a file of age: the header and a nonce, and the way to the cipher. */
#ifndef USP_AGE_AGE_HEAD_H
#define USP_AGE_AGE_HEAD_H

#include "age/age_payload.h"

/* All zeros but for the keys, which it owns. They are wiped at the end of the head. */
struct usp_age_head {
	struct usp_age_keys keys;
	char *text; /* of USP_AGE_HEADER_ROOM bytes, while the head comes; else NULL */
	size_t len; /* bytes of text */
	struct usp_age_header header;
};

/* Make room for the head of a file that is decrypted: 0 or -ENOMEM. */
int usp_age_head_expect(struct usp_age_head *head);

void usp_age_head_fini(struct usp_age_head *head);

/*
 * Take bytes of the head of a file that is decrypted. Returns how many belong to it: all, or fewer at its end, and then
 * *ret_aead is the cipher of the payload, which the caller owns. Or -errno, with a sentence or NULL, and nothing is
 * taken.
 */
ssize_t usp_age_head_take(struct usp_age_head *head, const unsigned char *bytes, size_t len,
			  struct usp_age_aead **ret_aead, const char **ret_why);

/*
 * Write the head of a file that is encrypted into USP_AGE_HEADER_ROOM bytes: its length, and *ret_aead as of
 * usp_age_head_take. Or -errno.
 */
ssize_t usp_age_head_make(struct usp_age_head *head, unsigned char *ret_bytes, struct usp_age_aead **ret_aead);

#endif
