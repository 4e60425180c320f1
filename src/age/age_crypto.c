/* SPDX-License-Identifier: MIT */
/* age_crypto - libcrypto is loaded when the first key is needed, as for digests (hash/hash_openssl.c). */
#include "age/age_crypto.h"

#include <errno.h>
#include <string.h>

#ifdef USP_HAVE_OPENSSL

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <pthread.h>

#include "base/compiler.h"
#include "base/libcrypto.h"
#include "base/library.h"

#define SCRYPT_BLOCK 8 /* r of age */

/* The functions of libcrypto that are used here: X(member, name). */
#define CRYPTO_FUNCTIONS(X)                            \
	X(random, RAND_priv_bytes)                     \
	X(sha256, EVP_sha256)                          \
	X(hmac, HMAC)                                  \
	X(scrypt, EVP_PBE_scrypt)                      \
	X(private_key, EVP_PKEY_new_raw_private_key)   \
	X(public_key, EVP_PKEY_new_raw_public_key)     \
	X(get_public_key, EVP_PKEY_get_raw_public_key) \
	X(key_free, EVP_PKEY_free)                     \
	X(derive_new, EVP_PKEY_CTX_new)                \
	X(derive_free, EVP_PKEY_CTX_free)              \
	X(derive_init, EVP_PKEY_derive_init)           \
	X(derive_set_peer, EVP_PKEY_derive_set_peer)   \
	X(derive, EVP_PKEY_derive)                     \
	X(cipher, EVP_chacha20_poly1305)               \
	X(cipher_new, EVP_CIPHER_CTX_new)              \
	X(cipher_free, EVP_CIPHER_CTX_free)            \
	X(cipher_init, EVP_CipherInit_ex)              \
	X(cipher_update, EVP_CipherUpdate)             \
	X(cipher_final, EVP_CipherFinal_ex)            \
	X(cipher_ctrl, EVP_CIPHER_CTX_ctrl)

#define CRYPTO_MEMBER(member, name) __typeof__(name) *member;
#define CRYPTO_FIND(member, name) {#name, &crypto.member},

static struct {
	pthread_once_t once;
	bool is_there;
	CRYPTO_FUNCTIONS(CRYPTO_MEMBER)
} crypto = {.once = PTHREAD_ONCE_INIT};

static void crypto_load(void)
{
	crypto.is_there = usp_library_load(USP_LIBCRYPTO,
					   (const struct usp_library_function[]){CRYPTO_FUNCTIONS(CRYPTO_FIND){0}});
}

const char *usp_age_crypto_missing(void)
{
	pthread_once(&crypto.once, crypto_load);
	return crypto.is_there ? NULL : "needs " USP_LIBCRYPTO " of OpenSSL, which cannot be loaded";
}

int usp_age_random(unsigned char *ret_bytes, size_t len)
{
	return crypto.random(ret_bytes, (int)len) == 1 ? 0 : -EIO;
}

int usp_age_hmac(const unsigned char *key, size_t key_len, const void *bytes, size_t len,
		 unsigned char ret_mac[USP_AGE_KEY_LEN])
{
	return crypto.hmac(crypto.sha256(), key, (int)key_len, bytes, len, ret_mac, NULL) ? 0 : -ENOMEM;
}

int usp_age_scrypt(const char *passphrase, size_t passphrase_len, const unsigned char *salt, size_t salt_len,
		   unsigned work, unsigned char ret_key[USP_AGE_KEY_LEN])
{
	uint64_t cost = (uint64_t)1 << work, memory = (cost + 2) * 128 * SCRYPT_BLOCK * 2;

	return crypto.scrypt(passphrase, passphrase_len, salt, salt_len, cost, SCRYPT_BLOCK, 1, memory, ret_key,
			     USP_AGE_KEY_LEN) == 1
		       ? 0
		       : -ENOMEM;
}

int usp_age_x25519_public(const unsigned char secret[USP_AGE_KEY_LEN], unsigned char ret_public[USP_AGE_KEY_LEN])
{
	EVP_PKEY *key = crypto.private_key(EVP_PKEY_X25519, NULL, secret, USP_AGE_KEY_LEN);
	size_t len = USP_AGE_KEY_LEN;
	bool is_done = key && crypto.get_public_key(key, ret_public, &len) == 1;

	if (key)
		crypto.key_free(key);
	return is_done ? 0 : -ENOMEM;
}

/* Derive the shared secret. libcrypto refuses one that is all zero. */
static int crypto_derive(EVP_PKEY *own, EVP_PKEY *peer, unsigned char ret_shared[USP_AGE_KEY_LEN])
{
	EVP_PKEY_CTX *ctx = crypto.derive_new(own, NULL);
	size_t len = USP_AGE_KEY_LEN;
	int ret = -ENOMEM;

	if (ctx && crypto.derive_init(ctx) == 1 && crypto.derive_set_peer(ctx, peer) == 1)
		ret = crypto.derive(ctx, ret_shared, &len) == 1 ? 0 : -EBADMSG;
	if (ctx)
		crypto.derive_free(ctx);
	return ret;
}

int usp_age_x25519(const unsigned char secret[USP_AGE_KEY_LEN], const unsigned char public[USP_AGE_KEY_LEN],
		   unsigned char ret_shared[USP_AGE_KEY_LEN])
{
	static const unsigned char zero[USP_AGE_KEY_LEN];
	EVP_PKEY *own = crypto.private_key(EVP_PKEY_X25519, NULL, secret, USP_AGE_KEY_LEN);
	EVP_PKEY *peer = crypto.public_key(EVP_PKEY_X25519, NULL, public, USP_AGE_KEY_LEN);
	int ret = own && peer ? crypto_derive(own, peer, ret_shared) : -ENOMEM;

	if (ret == 0 && usp_age_is_equal(ret_shared, zero, sizeof(zero)))
		ret = -EBADMSG;
	if (own)
		crypto.key_free(own);
	if (peer)
		crypto.key_free(peer);
	return ret;
}

/* The context of libcrypto goes by our name. */
static EVP_CIPHER_CTX *crypto_ctx(struct usp_age_aead *aead)
{
	return (EVP_CIPHER_CTX *)(void *)aead;
}

int usp_age_aead_new(const unsigned char key[USP_AGE_KEY_LEN], bool is_sealing, struct usp_age_aead **ret_aead)
{
	EVP_CIPHER_CTX *ctx = crypto.cipher_new();

	if (ctx && crypto.cipher_init(ctx, crypto.cipher(), NULL, key, NULL, is_sealing) != 1) {
		crypto.cipher_free(ctx);
		ctx = NULL;
	}
	if (!ctx)
		return -ENOMEM;
	*ret_aead = (struct usp_age_aead *)(void *)ctx;
	return 0;
}

void usp_age_aead_free(struct usp_age_aead *aead)
{
	if (aead)
		crypto.cipher_free(crypto_ctx(aead)); /* this wipes the key */
}

int usp_age_seal(struct usp_age_aead *aead, const unsigned char nonce[USP_AGE_NONCE_LEN], const unsigned char *from,
		 size_t len, unsigned char *to)
{
	EVP_CIPHER_CTX *ctx = crypto_ctx(aead);
	int done = 0, end = 0;

	if (crypto.cipher_init(ctx, NULL, NULL, NULL, nonce, 1) != 1 ||
	    (len && crypto.cipher_update(ctx, to, &done, from, (int)len) != 1) ||
	    crypto.cipher_final(ctx, to + len, &end) != 1 ||
	    crypto.cipher_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, USP_AGE_TAG_LEN, to + len) != 1)
		return -ENOMEM;
	return 0;
}

int usp_age_unseal(struct usp_age_aead *aead, const unsigned char nonce[USP_AGE_NONCE_LEN], const unsigned char *from,
		   size_t len, unsigned char *to)
{
	EVP_CIPHER_CTX *ctx = crypto_ctx(aead);
	unsigned char tag[USP_AGE_TAG_LEN], rest[USP_AGE_TAG_LEN];
	int done = 0, end = 0;

	if (len < USP_AGE_TAG_LEN)
		return -EBADMSG;
	len -= USP_AGE_TAG_LEN;
	memcpy(tag, from + len, sizeof(tag));
	if (crypto.cipher_init(ctx, NULL, NULL, NULL, nonce, 0) != 1 ||
	    crypto.cipher_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, USP_AGE_TAG_LEN, tag) != 1 ||
	    (len && crypto.cipher_update(ctx, to, &done, from, (int)len) != 1))
		return -ENOMEM;
	return crypto.cipher_final(ctx, rest, &end) == 1 ? 0 : -EBADMSG;
}

int usp_age_hkdf(const unsigned char *secret, size_t secret_len, const unsigned char *salt, size_t salt_len,
		 const char *info, unsigned char ret_key[USP_AGE_KEY_LEN])
{
	unsigned char first[USP_AGE_KEY_LEN], text[USP_AGE_HKDF_INFO_MAX + 1];
	static const unsigned char no_salt[USP_AGE_KEY_LEN];
	size_t len = usp_min(strlen(info), sizeof(text) - 1);
	int ret = usp_age_hmac(salt_len ? salt : no_salt, salt_len ? salt_len : sizeof(no_salt), secret, secret_len,
			       first);

	memcpy(text, info, len);
	text[len] = 1; /* the number of the only block */
	if (ret == 0)
		ret = usp_age_hmac(first, sizeof(first), text, len + 1, ret_key);
	explicit_bzero(first, sizeof(first));
	return ret;
}

#else

const char *usp_age_crypto_missing(void)
{
	return "needs OpenSSL, without which this usplice was built";
}

int usp_age_random(unsigned char *ret_bytes, size_t len)
{
	(void)ret_bytes, (void)len;
	return -EOPNOTSUPP;
}

int usp_age_hmac(const unsigned char *key, size_t key_len, const void *bytes, size_t len,
		 unsigned char ret_mac[USP_AGE_KEY_LEN])
{
	(void)key, (void)key_len, (void)bytes, (void)len, (void)ret_mac;
	return -EOPNOTSUPP;
}

int usp_age_hkdf(const unsigned char *secret, size_t secret_len, const unsigned char *salt, size_t salt_len,
		 const char *info, unsigned char ret_key[USP_AGE_KEY_LEN])
{
	(void)secret, (void)secret_len, (void)salt, (void)salt_len, (void)info, (void)ret_key;
	return -EOPNOTSUPP;
}

int usp_age_scrypt(const char *passphrase, size_t passphrase_len, const unsigned char *salt, size_t salt_len,
		   unsigned work, unsigned char ret_key[USP_AGE_KEY_LEN])
{
	(void)passphrase, (void)passphrase_len, (void)salt, (void)salt_len, (void)work, (void)ret_key;
	return -EOPNOTSUPP;
}

int usp_age_x25519_public(const unsigned char secret[USP_AGE_KEY_LEN], unsigned char ret_public[USP_AGE_KEY_LEN])
{
	(void)secret, (void)ret_public;
	return -EOPNOTSUPP;
}

int usp_age_x25519(const unsigned char secret[USP_AGE_KEY_LEN], const unsigned char public[USP_AGE_KEY_LEN],
		   unsigned char ret_shared[USP_AGE_KEY_LEN])
{
	(void)secret, (void)public, (void)ret_shared;
	return -EOPNOTSUPP;
}

int usp_age_aead_new(const unsigned char key[USP_AGE_KEY_LEN], bool is_sealing, struct usp_age_aead **ret_aead)
{
	(void)key, (void)is_sealing, (void)ret_aead;
	return -EOPNOTSUPP;
}

void usp_age_aead_free(struct usp_age_aead *aead)
{
	(void)aead;
}

int usp_age_seal(struct usp_age_aead *aead, const unsigned char nonce[USP_AGE_NONCE_LEN], const unsigned char *from,
		 size_t len, unsigned char *to)
{
	(void)aead, (void)nonce, (void)from, (void)len, (void)to;
	return -EOPNOTSUPP;
}

int usp_age_unseal(struct usp_age_aead *aead, const unsigned char nonce[USP_AGE_NONCE_LEN], const unsigned char *from,
		   size_t len, unsigned char *to)
{
	(void)aead, (void)nonce, (void)from, (void)len, (void)to;
	return -EOPNOTSUPP;
}

#endif

bool usp_age_is_equal(const unsigned char *a, const unsigned char *b, size_t len)
{
	unsigned char differs = 0;

	for (size_t i = 0; i < len; i++)
		differs |= a[i] ^ b[i];
	return differs == 0;
}
