/* SPDX-License-Identifier: MIT */
/* stages - the stages that rewrite which a command line asks for: they lie over the source, in this order. */
#ifndef USP_CLI_STAGES_H
#define USP_CLI_STAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "secret.h"

struct usp_file;

#define STAGES_DECODERS 2	/* decrypt and decompress */
#define STAGES_ENCRYPT_MAX 8192 /* characters: more than a hundred recipients */

struct stages {
	struct secret identity, passphrase; /* to decrypt with one of them */
	bool decompress;
	const char *compress;		  /* a spec of usp_transform_open, or NULL */
	char encrypt[STAGES_ENCRYPT_MAX]; /* such a spec, or "" */
	struct secret new_passphrase;	  /* to encrypt with */
};

static inline bool stages_decrypt(const struct stages *stages)
{
	return stages->identity.path || stages->passphrase.path;
}

static inline bool stages_encrypt(const struct stages *stages)
{
	return stages->encrypt[0] != '\0' || stages->new_passphrase.path;
}

/* Tell whether stages turn the bytes of the source into others, of which --skip and --count speak. */
static inline bool stages_decode(const struct stages *stages)
{
	return stages_decrypt(stages) || stages->decompress;
}

/* Tell whether stages turn the bytes of the copy into others. */
static inline bool stages_encode(const struct stages *stages)
{
	return stages->compress || stages_encrypt(stages);
}

static inline bool stages_are_asked_for(const struct stages *stages)
{
	return stages_decode(stages) || stages_encode(stages);
}

/* Parse ALG[:LEVEL], for tables of options; field is a const char *. */
const char *option_compress(const char *value, void *field);

/* Add a recipient, age1..., to the spec of encrypt; field is that spec. */
const char *option_recipient(const char *value, void *field);

/* Return a sentence about options that contradict each other, or NULL. */
const char *stages_contradiction(const struct stages *stages);

/* Read the secrets. An exit code; the error has been said. Wipe them in any case. */
int stages_read_secrets(struct stages *stages);
void stages_wipe(struct stages *stages);

/*
 * Put the stage that decrypts or decompresses over *file, as stages_put. seeks: with positions, if the bytes below have
 * a table for them; usp_file_seek tells.
 */
int stages_put_decrypt(struct usp_file **file, const struct stages *stages, bool seeks, const char **ret_why);
int stages_put_decompress(struct usp_file **file, bool seeks, const char **ret_why);

/* Put the stage that encrypts over *file, as stages_put. */
int stages_put_encrypt(struct usp_file **file, const struct stages *stages, int64_t count, const char **ret_why);

/*
 * Put a stage over *file, which it replaces, and which it owns then; on failure *file stays. count: the bytes of its
 * input, or -1 for all. 0, or -errno and why as usp_open.
 */
int stages_put(struct usp_file **file, const char *spec, int64_t count, const char **ret_why);

#endif
