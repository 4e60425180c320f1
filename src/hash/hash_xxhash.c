/* SPDX-License-Identifier: MIT */
/* hash_xxhash - XXH64, and XXH3 of 64 and 128 bits, by xxHash: fast, and no protection from malice. */
#include "hash/hash.h"

#ifdef USP_HAVE_XXHASH

#define XXH_INLINE_ALL /* no library to load, which would take longer than to copy a small file */
#include <xxhash.h>

static void *xxhash_open_64(void)
{
	XXH64_state_t *state = XXH64_createState();

	if (state)
		XXH64_reset(state, 0);
	return state;
}

static void xxhash_update_64(void *state, const void *bytes, size_t len)
{
	XXH64_update(state, bytes, len);
}

static void xxhash_finish_64(void *state, unsigned char *ret_digest)
{
	XXH64_canonicalFromHash((XXH64_canonical_t *)ret_digest, XXH64_digest(state));
}

static void xxhash_free_64(void *state)
{
	XXH64_freeState(state);
}

static void *xxhash_open_3(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (state)
		XXH3_64bits_reset(state);
	return state;
}

static void xxhash_update_3(void *state, const void *bytes, size_t len)
{
	XXH3_64bits_update(state, bytes, len);
}

static void xxhash_finish_3(void *state, unsigned char *ret_digest)
{
	XXH64_canonicalFromHash((XXH64_canonical_t *)ret_digest, XXH3_64bits_digest(state));
}

static void *xxhash_open_128(void)
{
	XXH3_state_t *state = XXH3_createState();

	if (state)
		XXH3_128bits_reset(state);
	return state;
}

static void xxhash_update_128(void *state, const void *bytes, size_t len)
{
	XXH3_128bits_update(state, bytes, len);
}

static void xxhash_finish_128(void *state, unsigned char *ret_digest)
{
	XXH128_canonicalFromHash((XXH128_canonical_t *)ret_digest, XXH3_128bits_digest(state));
}

static void xxhash_free_3(void *state)
{
	XXH3_freeState(state);
}

#define XXHASH_HOOKS(bits, state_of)                                                                \
	.open = xxhash_open_##bits, .update = xxhash_update_##bits, .finish = xxhash_finish_##bits, \
	.free = xxhash_free_##state_of

#else

static const char *xxhash_missing(void)
{
	return "needs xxHash, without which this usplice was built";
}

#define XXHASH_HOOKS(bits, state_of) .missing = xxhash_missing

#endif

const struct usp_hash_ops usp_hash_xxh64 = {
	.name = "xxh64", .summary = "64 bits, against accidents only", .len = 8, XXHASH_HOOKS(64, 64)};
const struct usp_hash_ops usp_hash_xxh3 = {
	.name = "xxh3", .summary = "64 bits, against accidents only", .len = 8, XXHASH_HOOKS(3, 3)};
const struct usp_hash_ops usp_hash_xxh128 = {
	.name = "xxh128", .summary = "128 bits, against accidents only", .len = 16, XXHASH_HOOKS(128, 3)};
