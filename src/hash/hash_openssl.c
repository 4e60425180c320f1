/* SPDX-License-Identifier: MIT */
/*
 * hash_openssl - SHA-256, SHA-512 and BLAKE2b-512 by libcrypto.
 *
 * libcrypto is loaded when the first digest is asked for. To load it takes longer than to copy a small file, and
 * most copies need no digest.
 */
#include "hash/hash.h"

#ifdef USP_HAVE_OPENSSL

#include <openssl/evp.h>
#include <pthread.h>

#include "base/libcrypto.h"
#include "base/library.h"

static struct {
	pthread_once_t once;
	bool is_there;
	__typeof__(EVP_MD_CTX_new) *ctx_new;
	__typeof__(EVP_MD_CTX_free) *ctx_free;
	__typeof__(EVP_DigestInit_ex) *init;
	__typeof__(EVP_DigestUpdate) *update;
	__typeof__(EVP_DigestFinal_ex) *final;
	__typeof__(EVP_sha256) *sha256;
	__typeof__(EVP_sha512) *sha512;
	__typeof__(EVP_blake2b512) *blake2b512;
} openssl = {.once = PTHREAD_ONCE_INIT};

static void openssl_load(void)
{
	openssl.is_there = usp_library_load(USP_LIBCRYPTO, (const struct usp_library_function[]){
								   {"EVP_MD_CTX_new", &openssl.ctx_new},
								   {"EVP_MD_CTX_free", &openssl.ctx_free},
								   {"EVP_DigestInit_ex", &openssl.init},
								   {"EVP_DigestUpdate", &openssl.update},
								   {"EVP_DigestFinal_ex", &openssl.final},
								   {"EVP_sha256", &openssl.sha256},
								   {"EVP_sha512", &openssl.sha512},
								   {"EVP_blake2b512", &openssl.blake2b512},
								   {0},
							   });
}

static const char *openssl_missing(void)
{
	pthread_once(&openssl.once, openssl_load);
	return openssl.is_there ? NULL : "needs " USP_LIBCRYPTO " of OpenSSL, which cannot be loaded";
}

static void *openssl_open(const EVP_MD *type)
{
	EVP_MD_CTX *state = openssl.ctx_new();

	if (state && openssl.init(state, type, NULL) != 1) {
		openssl.ctx_free(state);
		return NULL;
	}
	return state;
}

static void *openssl_open_sha256(void)
{
	return openssl_missing() ? NULL : openssl_open(openssl.sha256());
}

static void *openssl_open_sha512(void)
{
	return openssl_missing() ? NULL : openssl_open(openssl.sha512());
}

static void *openssl_open_blake2b(void)
{
	return openssl_missing() ? NULL : openssl_open(openssl.blake2b512());
}

/* An update of a digest that was opened has no way to fail. */
static void openssl_update(void *state, const void *bytes, size_t len)
{
	openssl.update(state, bytes, len);
}

static void openssl_finish(void *state, unsigned char *ret_digest)
{
	openssl.final(state, ret_digest, NULL);
}

static void openssl_free(void *state)
{
	if (state)
		openssl.ctx_free(state);
}

#define OPENSSL_HOOKS(open_hook)                                                                             \
	.missing = openssl_missing, .open = (open_hook), .update = openssl_update, .finish = openssl_finish, \
	.free = openssl_free

#else

static const char *openssl_missing(void)
{
	return "needs OpenSSL, without which this usplice was built";
}

#define OPENSSL_HOOKS(open_hook) .missing = openssl_missing

#endif

const struct usp_hash_ops usp_hash_sha256 = {
	.name = "sha256", .summary = "256 bits", .len = 32, .is_heavy = true, OPENSSL_HOOKS(openssl_open_sha256)};
const struct usp_hash_ops usp_hash_sha512 = {
	.name = "sha512", .summary = "512 bits", .len = 64, .is_heavy = true, OPENSSL_HOOKS(openssl_open_sha512)};
const struct usp_hash_ops usp_hash_blake2b = {
	.name = "blake2b", .summary = "512 bits", .len = 64, .is_heavy = true, OPENSSL_HOOKS(openssl_open_blake2b)};
