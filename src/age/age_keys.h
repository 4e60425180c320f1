/* SPDX-License-Identifier: MIT */
/* age_keys - who can read an age file: identities, recipients and passphrases, and the file key that they wrap. */
#ifndef USP_AGE_AGE_KEYS_H
#define USP_AGE_AGE_KEYS_H

#include "age/age_crypto.h"
#include "age/age_header.h"

#define USP_AGE_FILE_KEY_LEN 16
#define USP_AGE_PAYLOAD_NONCE_LEN 16

struct usp_age_pair {
	unsigned char secret[USP_AGE_KEY_LEN]; /* zero of a recipient */
	unsigned char public[USP_AGE_KEY_LEN];
};

/* Pairs, or a passphrase. */
struct usp_age_keys {
	struct usp_age_pair *pairs;
	unsigned nr_pairs;
	char *passphrase; /* or NULL */
	size_t passphrase_len;
};

/*
 * Read keys: 0, -EINVAL with a sentence, or -ENOMEM. On failure *ret_keys is empty.
 *
 * The lines of an identity file; recipients with commas between them; a passphrase, with or without a newline.
 */
int usp_age_identities_parse(const char *text, size_t len, struct usp_age_keys *ret_keys, const char **ret_why);
int usp_age_recipients_parse(const char *text, struct usp_age_keys *ret_keys, const char **ret_why);
int usp_age_passphrase_parse(const char *text, size_t len, struct usp_age_keys *ret_keys, const char **ret_why);

/* Wipe and free. Takes empty ones. */
void usp_age_keys_fini(struct usp_age_keys *keys);

/*
 * Find the file key of a header that was parsed, and check its MAC: 0, -ENOKEY if none of the keys fits, -EBADMSG
 * for a header that was changed, -ENOMEM.
 */
int usp_age_unwrap(const struct usp_age_keys *keys, const char *text, const struct usp_age_header *header,
		   unsigned char ret_file_key[USP_AGE_FILE_KEY_LEN]);

/* Make a header for a file key: its bytes, up to room, or -EMSGSIZE, -ENOMEM. */
ssize_t usp_age_wrap(const struct usp_age_keys *keys, const unsigned char file_key[USP_AGE_FILE_KEY_LEN], char *text,
		     size_t room);

#endif
