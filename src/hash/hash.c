/* SPDX-License-Identifier: MIT */
/* hash - the list of algorithms, and digests as text. */
#include "hash/hash.h"

#include <string.h>

#include "base/compiler.h"

static const struct usp_hash_ops *const hashes[] = {
	&usp_hash_sha256, &usp_hash_sha512, &usp_hash_blake2b, &usp_hash_crc32c,
	&usp_hash_xxh64,  &usp_hash_xxh3,   &usp_hash_xxh128,
};

const struct usp_hash_ops *usp_hash_at(unsigned index)
{
	return index < usp_array_len(hashes) ? hashes[index] : NULL;
}

const struct usp_hash_ops *usp_hash_named(const char *name, size_t len)
{
	for (unsigned i = 0; i < usp_array_len(hashes); i++) {
		if (strlen(hashes[i]->name) == len && memcmp(hashes[i]->name, name, len) == 0)
			return hashes[i];
	}
	return NULL;
}

void usp_hash_format(const unsigned char *digest, size_t len, char ret_hex[USP_HASH_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		ret_hex[2 * i] = digits[digest[i] >> 4];
		ret_hex[2 * i + 1] = digits[digest[i] & 0xf];
	}
	ret_hex[2 * len] = '\0';
}

bool usp_hash_is_hex(const char *hex, size_t hex_len, size_t len)
{
	return hex_len == 2 * len && strspn(hex, "0123456789abcdefABCDEF") >= hex_len;
}
