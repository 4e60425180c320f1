/* SPDX-License-Identifier: MIT */
/* age_keys - the stanzas of X25519 and scrypt. Keys are wiped where they are not needed any more. */
#include "age/age_keys.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "age/age_text.h"
#include "base/alloc.h"
#include "base/compiler.h"

#define KEYS_X25519_INFO "age-encryption.org/v1/X25519"
#define KEYS_SCRYPT_INFO "age-encryption.org/v1/scrypt"
#define KEYS_SALT_LEN 16
#define KEYS_WORK 18	 /* log2 of N: a second, as age has it */
#define KEYS_WORK_MAX 22 /* a file may not ask for more: this needs 4 GiB */
#define KEYS_WRAPPED_LEN (USP_AGE_FILE_KEY_LEN + USP_AGE_TAG_LEN)

static const unsigned char no_nonce[USP_AGE_NONCE_LEN]; /* each key that wraps is used once */

/* --- Reading keys ------------------------------------------------------------------------------------------- */

void usp_age_keys_fini(struct usp_age_keys *keys)
{
	if (keys->pairs)
		explicit_bzero(keys->pairs, keys->nr_pairs * sizeof(keys->pairs[0]));
	if (keys->passphrase)
		explicit_bzero(keys->passphrase, keys->passphrase_len);
	usp_free(keys->pairs);
	usp_free(keys->passphrase);
	*keys = (struct usp_age_keys){.pairs = NULL};
}

/* Count what stands between separators. */
static size_t keys_count(const char *text, size_t len, char separator)
{
	size_t nr = 1;

	for (size_t i = 0; i < len; i++)
		nr += text[i] == separator;
	return nr;
}

/* Read one identity: 0, -EINVAL or -ENOMEM. */
static int keys_add_identity(const char *line, size_t len, struct usp_age_keys *keys)
{
	struct usp_age_pair *pair = &keys->pairs[keys->nr_pairs];
	int ret = usp_age_bech32_decode(line, len, "age-secret-key-", pair->secret);

	keys->nr_pairs++; /* also after a failure: to be wiped */
	return ret < 0 ? ret : usp_age_x25519_public(pair->secret, pair->public);
}

int usp_age_identities_parse(const char *text, size_t len, struct usp_age_keys *ret_keys, const char **ret_why)
{
	int ret = 0;

	*ret_keys = (struct usp_age_keys){
		.pairs = usp_alloc_array(keys_count(text, len, '\n'), sizeof(struct usp_age_pair))};
	if (!ret_keys->pairs)
		return -ENOMEM;
	for (size_t at = 0; at < len && ret == 0;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t next = end ? (size_t)(end - text) + 1 : len, line = next - at - (end ? 1 : 0);

		line -= line && text[at + line - 1] == '\r';
		if (line && text[at] != '#')
			ret = keys_add_identity(text + at, line, ret_keys);
		at = next;
	}
	*ret_why = "a line is no identity of age: AGE-SECRET-KEY-1...";
	if (ret == 0 && !ret_keys->nr_pairs) {
		*ret_why = "there is no identity of age";
		ret = -EINVAL;
	}
	if (ret < 0)
		usp_age_keys_fini(ret_keys);
	return ret;
}

int usp_age_recipients_parse(const char *text, struct usp_age_keys *ret_keys, const char **ret_why)
{
	int ret = 0;

	*ret_keys = (struct usp_age_keys){
		.pairs = usp_alloc_array(keys_count(text, strlen(text), ','), sizeof(struct usp_age_pair))};
	if (!ret_keys->pairs)
		return -ENOMEM;
	for (const char *at = text; ret == 0; at++) {
		size_t len = strcspn(at, ",");

		ret = usp_age_bech32_decode(at, len, "age", ret_keys->pairs[ret_keys->nr_pairs++].public);
		at += len;
		if (!*at)
			break;
	}
	*ret_why = "that is no recipient of age: age1...";
	if (ret < 0)
		usp_age_keys_fini(ret_keys);
	return ret;
}

int usp_age_passphrase_parse(const char *text, size_t len, struct usp_age_keys *ret_keys, const char **ret_why)
{
	*ret_keys = (struct usp_age_keys){.pairs = NULL};
	len -= len && text[len - 1] == '\n';
	*ret_why = "the passphrase is empty";
	if (!len)
		return -EINVAL;
	ret_keys->passphrase = usp_alloc(len);
	if (!ret_keys->passphrase)
		return -ENOMEM;
	memcpy(ret_keys->passphrase, text, len);
	ret_keys->passphrase_len = len;
	return 0;
}

/* --- The keys that wrap ----------------------------------------------------------------------------------------- */

/* The key of one recipient: by the secret of either side, and the public keys of both. */
static int keys_x25519(const unsigned char *secret, const unsigned char *peer, const unsigned char *share,
		       const unsigned char *recipient, unsigned char ret_key[USP_AGE_KEY_LEN])
{
	unsigned char shared[USP_AGE_KEY_LEN], salt[2 * USP_AGE_KEY_LEN];
	int ret = usp_age_x25519(secret, peer, shared);

	memcpy(salt, share, USP_AGE_KEY_LEN);
	memcpy(salt + USP_AGE_KEY_LEN, recipient, USP_AGE_KEY_LEN);
	if (ret == 0)
		ret = usp_age_hkdf(shared, sizeof(shared), salt, sizeof(salt), KEYS_X25519_INFO, ret_key);
	explicit_bzero(shared, sizeof(shared));
	return ret;
}

static int keys_scrypt(const struct usp_age_keys *keys, const unsigned char salt[KEYS_SALT_LEN], unsigned work,
		       unsigned char ret_key[USP_AGE_KEY_LEN])
{
	unsigned char labelled[sizeof(KEYS_SCRYPT_INFO) - 1 + KEYS_SALT_LEN];

	memcpy(labelled, KEYS_SCRYPT_INFO, sizeof(KEYS_SCRYPT_INFO) - 1);
	memcpy(labelled + sizeof(KEYS_SCRYPT_INFO) - 1, salt, KEYS_SALT_LEN);
	return usp_age_scrypt(keys->passphrase, keys->passphrase_len, labelled, sizeof(labelled), work, ret_key);
}

/* --- Unwrapping ----------------------------------------------------------------------------------------------- */

/* Decrypt a file key: 0, -EBADMSG or -ENOMEM. Wipes the key that wraps it. */
static int keys_open(unsigned char key[USP_AGE_KEY_LEN], const struct usp_age_stanza *stanza,
		     unsigned char ret_file_key[USP_AGE_FILE_KEY_LEN])
{
	struct usp_age_aead *aead;
	int ret = usp_age_aead_new(key, false, &aead);

	explicit_bzero(key, USP_AGE_KEY_LEN);
	if (ret == 0) {
		ret = usp_age_unseal(aead, no_nonce, stanza->body, KEYS_WRAPPED_LEN, ret_file_key);
		usp_age_aead_free(aead);
	}
	return ret;
}

/* Try all identities: 0, -ENOKEY, -EBADMSG for a stanza that is none, -ENOMEM. */
static int keys_try_x25519(const struct usp_age_keys *keys, const struct usp_age_stanza *stanza,
			   unsigned char ret_file_key[USP_AGE_FILE_KEY_LEN])
{
	unsigned char share[USP_AGE_KEY_LEN], key[USP_AGE_KEY_LEN];

	if (stanza->nr_args != 1 || stanza->body_len != KEYS_WRAPPED_LEN ||
	    usp_age_base64_decode(stanza->args[0], stanza->arg_lens[0], share, sizeof(share)) != sizeof(share))
		return -EBADMSG;
	for (unsigned i = 0; i < keys->nr_pairs; i++) {
		const struct usp_age_pair *pair = &keys->pairs[i];
		int ret = keys_x25519(pair->secret, share, share, pair->public, key);

		if (ret < 0)
			return ret;
		ret = keys_open(key, stanza, ret_file_key);
		if (ret != -EBADMSG)
			return ret;
	}
	return -ENOKEY;
}

/* Read a work factor: 1 to 99, without a zero in front; 0 for other texts. */
static unsigned keys_work(const char *text, size_t len)
{
	unsigned work = 0;

	if (len < 1 || len > 2 || text[0] == '0')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return 0;
		work = work * 10 + (unsigned)(text[i] - '0');
	}
	return work;
}

/* Try the passphrase: 0, -ENOKEY, -EBADMSG for a stanza that is none, -ENOMEM. */
static int keys_try_scrypt(const struct usp_age_keys *keys, const struct usp_age_stanza *stanza,
			   unsigned char ret_file_key[USP_AGE_FILE_KEY_LEN])
{
	unsigned char salt[KEYS_SALT_LEN], key[USP_AGE_KEY_LEN];
	unsigned work;
	int ret;

	if (stanza->nr_args != 2 || stanza->body_len != KEYS_WRAPPED_LEN ||
	    usp_age_base64_decode(stanza->args[0], stanza->arg_lens[0], salt, sizeof(salt)) != sizeof(salt))
		return -EBADMSG;
	work = keys_work(stanza->args[1], stanza->arg_lens[1]);
	if (!work || work > KEYS_WORK_MAX)
		return -EBADMSG;
	ret = keys_scrypt(keys, salt, work, key);
	if (ret == 0)
		ret = keys_open(key, stanza, ret_file_key);
	return ret == -EBADMSG ? -ENOKEY : ret;
}

static bool keys_is(const struct usp_age_stanza *stanza, const char *type)
{
	return stanza->type_len == strlen(type) && memcmp(stanza->type, type, stanza->type_len) == 0;
}

/* Compute the MAC of the first len characters of a header. */
static int keys_mac(const unsigned char *file_key, const char *text, size_t len, unsigned char ret_mac[USP_AGE_MAC_LEN])
{
	unsigned char key[USP_AGE_KEY_LEN];
	int ret = usp_age_hkdf(file_key, USP_AGE_FILE_KEY_LEN, NULL, 0, "header", key);

	if (ret == 0)
		ret = usp_age_hmac(key, sizeof(key), text, len, ret_mac);
	explicit_bzero(key, sizeof(key));
	return ret;
}

static int keys_check_mac(const unsigned char *file_key, const char *text, const struct usp_age_header *header)
{
	unsigned char mac[USP_AGE_MAC_LEN];
	int ret = keys_mac(file_key, text, header->mac_at, mac);

	return ret < 0 ? ret : usp_age_is_equal(mac, header->mac, sizeof(mac)) ? 0 : -EBADMSG;
}

int usp_age_unwrap(const struct usp_age_keys *keys, const char *text, const struct usp_age_header *header,
		   unsigned char ret_file_key[USP_AGE_FILE_KEY_LEN])
{
	size_t at = sizeof(USP_AGE_INTRO) - 1;
	int ret = -ENOKEY;

	while (at < header->stanzas_len && ret == -ENOKEY) {
		struct usp_age_stanza stanza;
		ssize_t len = usp_age_stanza_parse(text + at, header->stanzas_len - at, &stanza);

		if (len <= 0)
			return -EBADMSG;
		if (keys->nr_pairs && keys_is(&stanza, "X25519"))
			ret = keys_try_x25519(keys, &stanza, ret_file_key);
		else if (keys->passphrase && keys_is(&stanza, "scrypt"))
			ret = keys_try_scrypt(keys, &stanza, ret_file_key);
		at += (size_t)len;
	}
	return ret == 0 ? keys_check_mac(ret_file_key, text, header) : ret;
}

/* --- Wrapping ------------------------------------------------------------------------------------------------- */

/* Encrypt a file key: 0 or -ENOMEM. Wipes the key that wraps it. */
static int keys_close(unsigned char key[USP_AGE_KEY_LEN], const unsigned char *file_key,
		      unsigned char ret_body[KEYS_WRAPPED_LEN])
{
	struct usp_age_aead *aead;
	int ret = usp_age_aead_new(key, true, &aead);

	explicit_bzero(key, USP_AGE_KEY_LEN);
	if (ret == 0) {
		ret = usp_age_seal(aead, no_nonce, file_key, USP_AGE_FILE_KEY_LEN, ret_body);
		usp_age_aead_free(aead);
	}
	return ret;
}

/* Write the stanza of a recipient, with a secret for it alone: 0 or -errno. */
static int keys_wrap_x25519(const unsigned char *recipient, const unsigned char *file_key, char *text, size_t room,
			    size_t *at)
{
	unsigned char secret[USP_AGE_KEY_LEN], share[USP_AGE_KEY_LEN], key[USP_AGE_KEY_LEN], body[KEYS_WRAPPED_LEN];
	char args[sizeof("X25519 ") + USP_AGE_BASE64_LEN(USP_AGE_KEY_LEN)] = "X25519 ";
	int ret;

	ret = usp_age_random(secret, sizeof(secret));
	if (ret == 0)
		ret = usp_age_x25519_public(secret, share);
	if (ret == 0)
		ret = keys_x25519(secret, recipient, share, recipient, key);
	explicit_bzero(secret, sizeof(secret));
	if (ret == 0)
		ret = keys_close(key, file_key, body);
	if (ret < 0)
		return ret == -EBADMSG ? -EINVAL : ret; /* a recipient of low order */
	usp_age_base64_encode(share, sizeof(share), args + strlen(args));
	return usp_age_stanza_format(text, room, at, args, body);
}

/* Write the stanza of a passphrase: 0 or -errno. */
static int keys_wrap_scrypt(const struct usp_age_keys *keys, const unsigned char *file_key, char *text, size_t room,
			    size_t *at)
{
	unsigned char salt[KEYS_SALT_LEN], key[USP_AGE_KEY_LEN], body[KEYS_WRAPPED_LEN];
	char encoded[USP_AGE_BASE64_LEN(KEYS_SALT_LEN) + 1] = "", args[64];
	int ret;

	ret = usp_age_random(salt, sizeof(salt));
	if (ret == 0)
		ret = keys_scrypt(keys, salt, KEYS_WORK, key);
	if (ret == 0)
		ret = keys_close(key, file_key, body);
	if (ret < 0)
		return ret;
	usp_age_base64_encode(salt, sizeof(salt), encoded);
	snprintf(args, sizeof(args), "scrypt %s %d", encoded, KEYS_WORK);
	return usp_age_stanza_format(text, room, at, args, body);
}

/* Write the last line: 0 or -errno. */
static int keys_sign(const unsigned char *file_key, char *text, size_t room, size_t *at)
{
	unsigned char mac[USP_AGE_MAC_LEN];
	size_t len = sizeof(USP_AGE_MAC_MARK " \n") - 1 + USP_AGE_BASE64_LEN(USP_AGE_MAC_LEN);
	int ret;

	if (room - *at < len)
		return -EMSGSIZE;
	memcpy(text + *at, USP_AGE_MAC_MARK " ", sizeof(USP_AGE_MAC_MARK " ") - 1);
	ret = keys_mac(file_key, text, *at + sizeof(USP_AGE_MAC_MARK) - 1, mac);
	usp_age_base64_encode(mac, sizeof(mac), text + *at + sizeof(USP_AGE_MAC_MARK " ") - 1);
	*at += len;
	text[*at - 1] = '\n';
	return ret;
}

ssize_t usp_age_wrap(const struct usp_age_keys *keys, const unsigned char file_key[USP_AGE_FILE_KEY_LEN], char *text,
		     size_t room)
{
	size_t at = sizeof(USP_AGE_INTRO) - 1;
	int ret = 0;

	memcpy(text, USP_AGE_INTRO, at);
	for (unsigned i = 0; i < keys->nr_pairs && ret == 0; i++)
		ret = keys_wrap_x25519(keys->pairs[i].public, file_key, text, room, &at);
	if (keys->passphrase && ret == 0)
		ret = keys_wrap_scrypt(keys, file_key, text, room, &at);
	if (ret == 0)
		ret = keys_sign(file_key, text, room, &at);
	return ret < 0 ? ret : (ssize_t)at;
}
