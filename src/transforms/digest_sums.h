/* SPDX-License-Identifier: MIT */
/* digest_sums - the checksums of a stage: what they are to be, how they grow, and what they were. */
#ifndef USP_TRANSFORMS_DIGEST_SUMS_H
#define USP_TRANSFORMS_DIGEST_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <usplice/transform.h>

#include "hash/hash.h"

#define USP_DIGEST_SUMS_MAX 8
#define USP_DIGEST_NAME_MAX (sizeof("digest:") + USP_DIGEST_SUMS_MAX * sizeof("blake2b,"))

struct usp_digest_sum {
	const struct usp_hash_ops *ops;
	void *state;
	char hex[USP_HASH_HEX_MAX];	 /* "" before the end */
	char expected[USP_HASH_HEX_MAX]; /* "" without one */
};

struct usp_digest_sums {
	struct usp_digest_sum sum[USP_DIGEST_SUMS_MAX];
	unsigned nr;
};

/* Parse the options of a stage, ALG[:HEX],...: 0, or -EINVAL or -EOPNOTSUPP with a sentence. */
int usp_digest_sums_parse(const char *options, struct usp_digest_sums *ret_sums, const char **ret_why);

/* Begin to hash: 0 or -ENOMEM. usp_digest_sums_fini is needed either way. */
int usp_digest_sums_open(struct usp_digest_sums *sums);
void usp_digest_sums_fini(struct usp_digest_sums *sums);

/* Tell whether one of them needs more time than the memory. */
bool usp_digest_sums_are_heavy(const struct usp_digest_sums *sums);

/* The name of the stage: its algorithms, without what is expected. */
void usp_digest_sums_name(const struct usp_digest_sums *sums, char ret_name[USP_DIGEST_NAME_MAX]);

/* Add bytes to all of them. */
void usp_digest_sums_add(struct usp_digest_sums *sums, const void *bytes, size_t len);

/* Finish all of them, once: 0, or -EBADMSG if one is not what is expected. */
int usp_digest_sums_finish(struct usp_digest_sums *sums);

/* Return one of them after they are finished. It refers to the memory of sums. */
void usp_digest_sums_result(const struct usp_digest_sums *sums, unsigned index, struct usp_digest_result *ret_result);

#endif
