/* SPDX-License-Identifier: MIT */
/* format - the bytes of a framed stream, as docs/framed.md has them. Numbers are in network order. */
#ifndef USP_FRAMED_FORMAT_H
#define USP_FRAMED_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hash/hash.h"

#define FRAMED_VERSION 1
#define FRAMED_HEADER_LEN 28 /* of the stream: magic, version, digest, flags, zeros, expected, CRC32C */
#define FRAMED_FRAME_LEN 12  /* in front of a frame: type, length, CRC32C of both */
#define FRAMED_CRC_LEN 4     /* behind the contents of a frame that is no DATA */
#define FRAMED_CONTROL_MAX ((size_t)1024)
#define FRAMED_UNKNOWN UINT64_MAX
#define FRAMED_WRITE_MAX ((size_t)32 << 10) /* contents of a frame of DATA that is copied */

/* The types of frames: four letters. */
#define FRAMED_DATA 0x44415441u /* sender: that many bytes of the source follow */
#define FRAMED_END 0x454e4420u	/* sender: all bytes were sent: how many, and their digest */
#define FRAMED_FAIL 0x4641494cu /* both: given up; a sentence */
#define FRAMED_HAVE 0x48415645u /* receiver: the bytes that it has already, and their digest */
#define FRAMED_DONE 0x444f4e45u /* receiver: all bytes are where they belong: how many */

/* Bytes that wait to be written, or that are gathered until enough are there. */
struct framed_bytes {
	unsigned char base[FRAMED_HEADER_LEN + 2 * (FRAMED_FRAME_LEN + FRAMED_CONTROL_MAX) + FRAMED_WRITE_MAX];
	size_t at, len;
};

struct framed_header {
	uint8_t version;
	uint8_t digest; /* a number: framed_digest_number */
	uint16_t flags;
	uint64_t expected;
};

/* Return the number of a digest (NULL: none), or find the digest of a number: false if there is none of it. */
uint8_t framed_digest_number(const struct usp_hash_ops *digest);
bool framed_digest_find(uint8_t number, const struct usp_hash_ops **ret_digest);

/* Append to bytes. There is room for a header and two frames. */
void framed_put_header(struct framed_bytes *bytes, const struct framed_header *header);
void framed_put_frame(struct framed_bytes *bytes, uint32_t type, uint32_t len);
void framed_put_count(struct framed_bytes *bytes, uint32_t type, uint64_t count, const void *digest, size_t len);
void framed_put_text(struct framed_bytes *bytes, uint32_t type, const char *text);

/* Take apart. NULL, or what is wrong. */
const char *framed_get_header(const unsigned char *base, struct framed_header *ret_header);
const char *framed_get_frame(const unsigned char *base, uint32_t *ret_type, uint32_t *ret_len);

/* Check the CRC at the end of the contents of a frame, whose length with it is len. */
bool framed_is_intact(const unsigned char *base, size_t len);

uint64_t framed_get_count(const unsigned char *base);

/* Copy a text of the peer, so that it can be shown: without characters that control a terminal. */
void framed_clean(const unsigned char *base, size_t len, char *ret_text, size_t room);

#endif
