/* SPDX-License-Identifier: MIT */
/* age_header - the grammar of the header of an age file: the first line, stanzas, and the line with the MAC. */
#ifndef USP_AGE_AGE_HEADER_H
#define USP_AGE_AGE_HEADER_H

#include <stddef.h>
#include <sys/types.h>

#define USP_AGE_HEADER_MAX ((size_t)64 << 10) /* of some 600 recipients */
#define USP_AGE_INTRO "age-encryption.org/v1\n"
#define USP_AGE_MAC_LEN 32
#define USP_AGE_MAC_MARK "---"
#define USP_AGE_STANZA_ARGS 2 /* that are kept: those of the kinds we know have fewer */
#define USP_AGE_BODY_MAX 48   /* bytes that are kept: those of the kinds we know have 32 */

struct usp_age_stanza {
	const char *type, *args[USP_AGE_STANZA_ARGS]; /* in the header; no 0 behind */
	size_t type_len, arg_lens[USP_AGE_STANZA_ARGS];
	unsigned nr_args; /* may be more than are kept */
	unsigned char body[USP_AGE_BODY_MAX];
	size_t body_len; /* may be more than are kept */
};

/* Parse one stanza at the beginning of len bytes: its bytes, 0 if more are needed, or -EBADMSG. */
ssize_t usp_age_stanza_parse(const char *text, size_t len, struct usp_age_stanza *ret_stanza);

/* A header that comes in pieces. Zeroed before the first call. */
struct usp_age_header {
	size_t stanzas_len; /* up to here it was parsed: the first line and the stanzas */
	size_t mac_at;	    /* behind the mark of the last line: the MAC covers the bytes before */
	unsigned nr_stanzas;
	unsigned nr_scrypt;
	unsigned char mac[USP_AGE_MAC_LEN];
};

/*
 * Go on parsing a header whose first len bytes are known by now: its bytes, 0 if more are needed, or -EBADMSG. A
 * stanza of scrypt has to be the only one.
 */
ssize_t usp_age_header_parse(const char *text, size_t len, struct usp_age_header *header);

/*
 * Write a stanza with a body of 32 bytes at *at, up to room characters, and move *at. args is what stands behind
 * the arrow. -EMSGSIZE if there is no room.
 */
int usp_age_stanza_format(char *text, size_t room, size_t *at, const char *args,
			  const unsigned char body[USP_AGE_MAC_LEN]);

#endif
