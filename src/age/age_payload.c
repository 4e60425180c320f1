/* SPDX-License-Identifier: MIT */
/* age_payload - the key of the payload, and the nonces of its chunks. */
#include "age/age_payload.h"

#include <errno.h>
#include <string.h>

int usp_age_secret_parse(const char *kind, const void *secret, size_t len, struct usp_age_keys *ret_keys,
			 const char **ret_why)
{
	*ret_why = "the secret is missing";
	if (!secret)
		return -EINVAL;
	return strcmp(kind, "passphrase") == 0 ? usp_age_passphrase_parse(secret, len, ret_keys, ret_why)
					       : usp_age_identities_parse(secret, len, ret_keys, ret_why);
}

int usp_age_payload_key(const unsigned char file_key[USP_AGE_FILE_KEY_LEN],
			const unsigned char nonce[USP_AGE_PAYLOAD_NONCE_LEN], unsigned char ret_key[USP_AGE_KEY_LEN])
{
	return usp_age_hkdf(file_key, USP_AGE_FILE_KEY_LEN, nonce, USP_AGE_PAYLOAD_NONCE_LEN, "payload", ret_key);
}

void usp_age_chunk_nonce(uint64_t nr, bool is_last, unsigned char ret_nonce[USP_AGE_NONCE_LEN])
{
	memset(ret_nonce, 0, USP_AGE_NONCE_LEN);
	for (unsigned i = 0; i < sizeof(nr); i++)
		ret_nonce[USP_AGE_NONCE_LEN - 2 - i] = (unsigned char)(nr >> 8 * i);
	ret_nonce[USP_AGE_NONCE_LEN - 1] = is_last;
}
