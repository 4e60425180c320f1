/* SPDX-License-Identifier: MIT */
/* age_crypto - the primitives of age, by libcrypto: X25519, HKDF-SHA256, scrypt and ChaCha20-Poly1305. */
#ifndef USP_AGE_AGE_CRYPTO_H
#define USP_AGE_AGE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>

#define USP_AGE_KEY_LEN 32
#define USP_AGE_NONCE_LEN 12
#define USP_AGE_TAG_LEN 16
#define USP_AGE_HKDF_INFO_MAX 64

/* A cipher with its key. */
struct usp_age_aead;

/* Return NULL if libcrypto can be used, else a sentence. Loads it with the first call. */
const char *usp_age_crypto_missing(void);

/*
 * All the functions below need a libcrypto that is there. They return 0, or -ENOMEM where libcrypto fails, which
 * it does without memory only.
 */

/* Fill with random bytes that are fit for keys. -EIO if the system has none. */
int usp_age_random(unsigned char *ret_bytes, size_t len);

/* HMAC-SHA256 of len bytes. */
int usp_age_hmac(const unsigned char *key, size_t key_len, const void *bytes, size_t len,
		 unsigned char ret_mac[USP_AGE_KEY_LEN]);

/* HKDF-SHA256 with an output of 32 bytes. The text has its limit above. */
int usp_age_hkdf(const unsigned char *secret, size_t secret_len, const unsigned char *salt, size_t salt_len,
		 const char *info, unsigned char ret_key[USP_AGE_KEY_LEN]);

/* scrypt with N = 2^work, r = 8, p = 1. */
int usp_age_scrypt(const char *passphrase, size_t passphrase_len, const unsigned char *salt, size_t salt_len,
		   unsigned work, unsigned char ret_key[USP_AGE_KEY_LEN]);

/* The public key of a secret one. */
int usp_age_x25519_public(const unsigned char secret[USP_AGE_KEY_LEN], unsigned char ret_public[USP_AGE_KEY_LEN]);

/* The shared secret of two parties. -EBADMSG if it is all zero: the public key is one of low order. */
int usp_age_x25519(const unsigned char secret[USP_AGE_KEY_LEN], const unsigned char public[USP_AGE_KEY_LEN],
		   unsigned char ret_shared[USP_AGE_KEY_LEN]);

/* Make a cipher for a key, and free it with its key. free takes NULL. */
int usp_age_aead_new(const unsigned char key[USP_AGE_KEY_LEN], bool is_sealing, struct usp_age_aead **ret_aead);
void usp_age_aead_free(struct usp_age_aead *aead);

/* Encrypt len bytes into len + 16. to may be from. */
int usp_age_seal(struct usp_age_aead *aead, const unsigned char nonce[USP_AGE_NONCE_LEN], const unsigned char *from,
		 size_t len, unsigned char *to);

/*
 * Decrypt len bytes, of which the last 16 are the tag, into len - 16. to may be from. -EBADMSG if they were not
 * made with this key and nonce: to then has bytes that must not be used.
 */
int usp_age_unseal(struct usp_age_aead *aead, const unsigned char nonce[USP_AGE_NONCE_LEN], const unsigned char *from,
		   size_t len, unsigned char *to);

/* Tell in constant time whether two keys are the same. */
bool usp_age_is_equal(const unsigned char *a, const unsigned char *b, size_t len);

#endif
