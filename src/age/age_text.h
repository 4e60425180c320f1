/* SPDX-License-Identifier: MIT */
/* age_text - bytes as text: base64 without padding, and bech32. Other spellings of the same bytes are refused. */
#ifndef USP_AGE_AGE_TEXT_H
#define USP_AGE_AGE_TEXT_H

#include <stddef.h>
#include <sys/types.h>

#define USP_AGE_BASE64_LEN(len) (((len)*4 + 2) / 3) /* characters of len bytes */
#define USP_AGE_BECH32_LEN 32			    /* bytes in a key */

/* Decode len characters: bytes, or -EBADMSG, also where they are more than room. */
ssize_t usp_age_base64_decode(const char *text, size_t len, unsigned char *ret_bytes, size_t room);

/* Encode len bytes into USP_AGE_BASE64_LEN(len) characters, with no 0 behind. */
void usp_age_base64_encode(const unsigned char *bytes, size_t len, char *ret_text);

/* Decode the 32 bytes of a key whose prefix (before the 1) is given in lower case: 0 or -EINVAL. */
int usp_age_bech32_decode(const char *text, size_t len, const char *prefix,
			  unsigned char ret_bytes[USP_AGE_BECH32_LEN]);

#endif
