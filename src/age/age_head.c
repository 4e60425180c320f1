/* SPDX-License-Identifier: MIT */
/* age_head - what stands before the payload of a file of age: the header and a nonce, and the way to the cipher. */
#include "age/age_head.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"

int usp_age_head_expect(struct usp_age_head *head)
{
	head->text = usp_alloc(USP_AGE_HEADER_ROOM);
	return head->text ? 0 : -ENOMEM;
}

void usp_age_head_fini(struct usp_age_head *head)
{
	usp_age_keys_fini(&head->keys);
	usp_free(head->text);
	head->text = NULL;
}

/* The head is complete: derive the key of the payload, and forget the others. 0 or -errno. */
static int head_end(struct usp_age_head *head, bool is_sealing, const unsigned char file_key[USP_AGE_FILE_KEY_LEN],
		    const unsigned char *nonce, struct usp_age_aead **ret_aead)
{
	unsigned char key[USP_AGE_KEY_LEN];
	int ret = usp_age_payload_key(file_key, nonce, key);

	if (ret == 0)
		ret = usp_age_aead_new(key, is_sealing, ret_aead);
	explicit_bzero(key, sizeof(key));
	if (ret == 0)
		usp_age_head_fini(head);
	return ret;
}

/* Look at the head, as far as it is there: its length, 0 if more is needed, or -errno with a sentence. */
static ssize_t head_parse(struct usp_age_head *head, const char **ret_why)
{
	ssize_t len = usp_age_header_parse(head->text, head->len, &head->header);

	if (len < 0) {
		*ret_why = "this is no header of age";
		return len;
	}
	len += len ? USP_AGE_PAYLOAD_NONCE_LEN : 0;
	if (head->len == USP_AGE_HEADER_ROOM && (!len || (size_t)len > head->len)) {
		*ret_why = "the header of age is too long";
		return -EBADMSG;
	}
	return (size_t)len <= head->len ? len : 0;
}

/* Open a head of len bytes: 0, or -errno with a sentence. */
static int head_open(struct usp_age_head *head, size_t len, struct usp_age_aead **ret_aead, const char **ret_why)
{
	const unsigned char *nonce = (const unsigned char *)head->text + len - USP_AGE_PAYLOAD_NONCE_LEN;
	unsigned char file_key[USP_AGE_FILE_KEY_LEN];
	int ret = usp_age_unwrap(&head->keys, head->text, &head->header, file_key);

	if (ret == 0)
		ret = head_end(head, false, file_key, nonce, ret_aead);
	explicit_bzero(file_key, sizeof(file_key));
	*ret_why = ret == -ENOKEY    ? "none of the keys opens this file of age"
		   : ret == -EBADMSG ? "the header of age was changed"
				     : NULL;
	return ret;
}

ssize_t usp_age_head_take(struct usp_age_head *head, const unsigned char *bytes, size_t len,
			  struct usp_age_aead **ret_aead, const char **ret_why)
{
	size_t before = head->len, taken = usp_min(len, USP_AGE_HEADER_ROOM - before);
	ssize_t ret;

	*ret_why = NULL;
	memcpy(head->text + before, bytes, taken);
	head->len += taken;
	ret = head_parse(head, ret_why);
	if (ret > 0) {
		taken = (size_t)ret - before;
		ret = head_open(head, (size_t)ret, ret_aead, ret_why);
	}
	if (ret < 0) {
		head->len = before;
		return ret;
	}
	return (ssize_t)taken;
}

ssize_t usp_age_head_make(struct usp_age_head *head, unsigned char *ret_bytes, struct usp_age_aead **ret_aead)
{
	unsigned char file_key[USP_AGE_FILE_KEY_LEN];
	ssize_t len = usp_age_random(file_key, sizeof(file_key));

	if (len == 0)
		len = usp_age_wrap(&head->keys, file_key, (char *)ret_bytes, USP_AGE_HEADER_MAX);
	if (len > 0) {
		int ret = usp_age_random(ret_bytes + len, USP_AGE_PAYLOAD_NONCE_LEN);

		if (ret == 0)
			ret = head_end(head, true, file_key, ret_bytes + len, ret_aead);
		len = ret < 0 ? ret : len + USP_AGE_PAYLOAD_NONCE_LEN;
	}
	explicit_bzero(file_key, sizeof(file_key));
	return len;
}
