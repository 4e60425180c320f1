/* SPDX-License-Identifier: MIT */
/* hash_openssl - SHA-256, SHA-512 and BLAKE2b-512 by libcrypto. */
#include "hash/hash.h"

#ifdef USP_HAVE_OPENSSL

#include <openssl/evp.h>

static void *openssl_open(const EVP_MD *type)
{
	EVP_MD_CTX *state = EVP_MD_CTX_new();

	if (state && EVP_DigestInit_ex(state, type, NULL) != 1) {
		EVP_MD_CTX_free(state);
		return NULL;
	}
	return state;
}

static void *openssl_open_sha256(void)
{
	return openssl_open(EVP_sha256());
}

static void *openssl_open_sha512(void)
{
	return openssl_open(EVP_sha512());
}

static void *openssl_open_blake2b(void)
{
	return openssl_open(EVP_blake2b512());
}

/* An update of a digest that was opened has no way to fail. */
static void openssl_update(void *state, const void *bytes, size_t len)
{
	EVP_DigestUpdate(state, bytes, len);
}

static void openssl_finish(void *state, unsigned char *ret_digest)
{
	EVP_DigestFinal_ex(state, ret_digest, NULL);
}

static void openssl_free(void *state)
{
	EVP_MD_CTX_free(state);
}

#define OPENSSL_HOOKS(open_hook) \
	.open = (open_hook), .update = openssl_update, .finish = openssl_finish, .free = openssl_free

#else

#define OPENSSL_HOOKS(open_hook) \
	.needs = "this usplice was built without OpenSSL, which sha256, sha512 and blake2b need"

#endif

const struct usp_hash_ops usp_hash_sha256 = {
	.name = "sha256", .len = 32, .is_heavy = true, OPENSSL_HOOKS(openssl_open_sha256)};
const struct usp_hash_ops usp_hash_sha512 = {
	.name = "sha512", .len = 64, .is_heavy = true, OPENSSL_HOOKS(openssl_open_sha512)};
const struct usp_hash_ops usp_hash_blake2b = {
	.name = "blake2b", .len = 64, .is_heavy = true, OPENSSL_HOOKS(openssl_open_blake2b)};
