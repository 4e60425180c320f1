/* SPDX-License-Identifier: MIT */
/*
 * fuzz_age - any bytes are a file of age for a fixed identity, or refused with one of two errors. What is gathered from
 * pieces is the same as what lies in one buf, and so are the bytes that go on before an error.
 */
#include <errno.h>
#include <string.h>

#include <usplice/endpoint.h>
#include <usplice/transform.h>

#include "age/age_crypto.h"
#include "age/age_header.h"
#include "fuzz.h"

#define PLAIN_MAX ((size_t)1 << 20)

static const char identity[] = "AGE-SECRET-KEY-1SJAC3YAW20YQLJJLN6ESJYH6WFULU5WDDK30X79KUU5YTP6M3T5SU5VGN8";

/* Bytes that come in pieces. */
struct age_input {
	const uint8_t *data;
	size_t len, piece;
};

static ssize_t input_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct age_input *input = in->priv;
	size_t len = input->len < input->piece ? input->len : input->piece;

	(void)pos, (void)flags;
	len = len < to->iov[0].iov_len ? len : to->iov[0].iov_len;
	memcpy(to->iov[0].iov_base, input->data, len);
	input->data += len;
	input->len -= len;
	return (ssize_t)len;
}

static const struct usp_file_ops input_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "input",
	.read_iter = input_read_iter,
	.splice_read = usp_copy_splice_read,
};

/* Decrypt: the bytes that go on, and the result in *ret_result. */
static size_t age_decrypt(const uint8_t *data, size_t len, size_t piece, uint8_t *ret_plain, ssize_t *ret_result)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .secret = identity, .secret_len = sizeof(identity) - 1};
	struct age_input input = {.data = data, .len = len, .piece = piece};
	struct usp_file *below, *stage;
	const char *why;
	uint64_t offset;
	size_t done = 0;

	FUZZ_CHECK(usp_file_new(&input_ops, USP_READ, "input", &input, &below) == 0);
	FUZZ_CHECK(usp_transform_open("decrypt:identity", below, &params, &stage, NULL) == 0);
	while (done < PLAIN_MAX && (*ret_result = usp_read(stage, ret_plain + done, PLAIN_MAX - done)) > 0)
		done += (size_t)*ret_result;
	FUZZ_CHECK(usp_transform_failure(stage, &why, &offset) == (*ret_result < 0));
	FUZZ_CHECK(*ret_result >= 0 || offset <= len);
	usp_file_put(stage);
	return done;
}

/* A header that was parsed in steps is the same as one that was parsed at once. */
static void age_check_header(const char *text, size_t len)
{
	struct usp_age_header once = {.stanzas_len = 0}, steps = {.stanzas_len = 0};
	ssize_t whole = usp_age_header_parse(text, len, &once), ret = 0;

	FUZZ_CHECK(whole == -EBADMSG || (whole >= 0 && (size_t)whole <= len));
	for (size_t i = 0; i <= len && ret == 0; i++)
		ret = usp_age_header_parse(text, i, &steps);
	FUZZ_CHECK(ret == whole);
	FUZZ_CHECK(whole <= 0 || (once.mac_at == steps.mac_at && once.nr_stanzas == steps.nr_stanzas));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint8_t whole[PLAIN_MAX], pieces[PLAIN_MAX];
	ssize_t whole_result, pieces_result;
	size_t whole_len, pieces_len;

	age_check_header((const char *)data, len < 4096 ? len : 4096);
	if (usp_age_crypto_missing())
		return 0;
	whole_len = age_decrypt(data, len, len + 1, whole, &whole_result);
	pieces_len = age_decrypt(data, len, 1 + len % 1000, pieces, &pieces_result);
	FUZZ_CHECK(whole_result == 0 || whole_result == -EBADMSG || whole_result == -ENOKEY);
	FUZZ_CHECK(whole_result == pieces_result && whole_len == pieces_len);
	FUZZ_CHECK(memcmp(whole, pieces, whole_len) == 0);
	return 0;
}
