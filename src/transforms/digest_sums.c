/* SPDX-License-Identifier: MIT */
/* digest_sums - the checksums of a stage: what they are to be, how they grow, and what they were. */
#include "transforms/digest_sums.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sized.h"

/* Parse one ALG[:HEX] of len characters. */
static int sum_parse(const char *text, size_t len, struct usp_digest_sum *ret_sum, const char **ret_why)
{
	const char *colon = memchr(text, ':', len);
	size_t name_len = colon ? (size_t)(colon - text) : len, hex_len = colon ? len - name_len - 1 : 0;

	*ret_sum = (struct usp_digest_sum){.ops = usp_hash_named(text, name_len)};
	if (!ret_sum->ops) {
		*ret_why =
			"there is no such algorithm: sha256, sha512, blake2b, crc32c, xxh64, xxh3 and xxh128 are known";
		return -EINVAL;
	}
	*ret_why = ret_sum->ops->missing ? ret_sum->ops->missing() : NULL;
	if (*ret_why)
		return -EOPNOTSUPP;
	*ret_why = "the digest has another length, or other characters than hexadecimal digits";
	if (colon && !usp_hash_is_hex(colon + 1, hex_len, ret_sum->ops->len))
		return -EINVAL;
	for (size_t i = 0; i < hex_len; i++)
		ret_sum->expected[i] = (char)(colon[1 + i] | (colon[1 + i] >= 'A' ? 0x20 : 0));
	return 0;
}

static bool sums_have(const struct usp_digest_sums *sums, const struct usp_hash_ops *ops)
{
	for (unsigned i = 0; i < sums->nr; i++) {
		if (sums->sum[i].ops == ops)
			return true;
	}
	return false;
}

int usp_digest_sums_parse(const char *options, struct usp_digest_sums *ret_sums, const char **ret_why)
{
	ret_sums->nr = 0;
	for (const char *at = options;; at++) {
		size_t len = strcspn(at, ",");
		struct usp_digest_sum sum;
		int ret = sum_parse(at, len, &sum, ret_why);

		if (ret < 0)
			return ret;
		if (sums_have(ret_sums, sum.ops)) {
			*ret_why = "an algorithm is named twice";
			return -EINVAL;
		}
		ret_sums->sum[ret_sums->nr++] = sum; /* there are fewer algorithms than USP_DIGEST_SUMS_MAX */
		at += len;
		if (!*at)
			return 0;
	}
}

int usp_digest_sums_open(struct usp_digest_sums *sums)
{
	for (unsigned i = 0; i < sums->nr; i++) {
		sums->sum[i].state = sums->sum[i].ops->open();
		if (!sums->sum[i].state)
			return -ENOMEM;
	}
	return 0;
}

void usp_digest_sums_fini(struct usp_digest_sums *sums)
{
	for (unsigned i = 0; i < sums->nr; i++) {
		if (sums->sum[i].state)
			sums->sum[i].ops->free(sums->sum[i].state);
	}
}

bool usp_digest_sums_are_heavy(const struct usp_digest_sums *sums)
{
	bool is_heavy = false;

	for (unsigned i = 0; i < sums->nr; i++)
		is_heavy |= sums->sum[i].ops->is_heavy;
	return is_heavy;
}

void usp_digest_sums_name(const struct usp_digest_sums *sums, char ret_name[USP_DIGEST_NAME_MAX])
{
	size_t at = (size_t)snprintf(ret_name, USP_DIGEST_NAME_MAX, "digest:");

	for (unsigned i = 0; i < sums->nr; i++)
		at += (size_t)snprintf(ret_name + at, USP_DIGEST_NAME_MAX - at, "%s%s", i ? "," : "",
				       sums->sum[i].ops->name);
}

void usp_digest_sums_add(struct usp_digest_sums *sums, const void *bytes, size_t len)
{
	for (unsigned i = 0; i < sums->nr; i++)
		sums->sum[i].ops->update(sums->sum[i].state, bytes, len);
}

int usp_digest_sums_finish(struct usp_digest_sums *sums)
{
	unsigned char bytes[USP_HASH_LEN_MAX];
	int ret = 0;

	for (unsigned i = 0; i < sums->nr; i++) {
		struct usp_digest_sum *sum = &sums->sum[i];

		sum->ops->finish(sum->state, bytes);
		usp_hash_format(bytes, sum->ops->len, sum->hex);
		if (sum->expected[0] && strcmp(sum->hex, sum->expected) != 0)
			ret = -EBADMSG;
	}
	return ret;
}

void usp_digest_sums_result(const struct usp_digest_sums *sums, unsigned index, struct usp_digest_result *ret_result)
{
	const struct usp_digest_sum *sum = &sums->sum[index];
	const struct usp_digest_result result = {
		.algorithm = sum->ops->name,
		.hex = sum->hex,
		.expected = sum->expected[0] ? sum->expected : NULL,
		.is_expected = !sum->expected[0] || strcmp(sum->hex, sum->expected) == 0,
	};

	usp_sized_give(ret_result, &result, sizeof(result));
}
