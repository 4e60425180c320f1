/* SPDX-License-Identifier: MIT */
/* digest_list - the digests that a command line asks for, and what is expected of them. */
#ifndef USP_CLI_DIGEST_LIST_H
#define USP_CLI_DIGEST_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_ITEMS_MAX 8
#define DIGEST_NAME_MAX 16
#define DIGEST_HEX_MAX 129
#define DIGEST_SPEC_MAX (8 + DIGEST_ITEMS_MAX * (DIGEST_NAME_MAX + DIGEST_HEX_MAX + 1))

struct digest_item {
	char name[DIGEST_NAME_MAX];    /* of the algorithm */
	char expected[DIGEST_HEX_MAX]; /* in lower case; "" if no digest is expected */
	bool is_told;		       /* the digest is printed at the end */
};

struct digest_list {
	struct digest_item items[DIGEST_ITEMS_MAX];
	unsigned nr;
};

/*
 * Add a digest of name_len characters, and what is expected of it: hex_len characters at hex, or NULL.
 * NULL, or a sentence about what is wrong with them.
 */
const char *digest_list_add(struct digest_list *list, const char *name, size_t name_len, const char *hex,
			    size_t hex_len, bool is_told);

/* Write the list as a spec of usp_transform_open. */
void digest_list_spec(const struct digest_list *list, char ret_spec[DIGEST_SPEC_MAX]);

/* Parse ALG[,ALG...] and ALG:HEX, for tables of options. */
const char *option_digest(const char *value, void *field);
const char *option_verify(const char *value, void *field);

#endif
