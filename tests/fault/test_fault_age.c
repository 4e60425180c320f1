/* SPDX-License-Identifier: MIT */
/*
 * test_fault_age - bytes are encrypted and decrypted again with everything failing in turn: what comes out is the beginning
 * of what went in, all of it if nothing failed, and never more.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <usplice/endpoint.h>
#include <usplice/transform.h>

#include "age/age_crypto.h"
#include "age_vectors.h"
#include "base/compiler.h"
#include "fault.h"
#include "support.h"

#define AGE_LEN ((size_t)200001) /* four chunks */

static unsigned char plain[AGE_LEN], opened[AGE_LEN + 1];

/* Lay a stage over *file, which becomes the stage: 0 or -errno. */
static int age_lay(const char *spec, const char *secret, struct usp_file **file)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .secret = secret, .secret_len = secret ? strlen(secret) : 0};
	struct usp_file *stage;
	int ret = usp_transform_open(spec, *file, &params, &stage, NULL);

	*file = ret == 0 ? stage : *file;
	return ret;
}

static int age_open(struct usp_file **ret_file)
{
	int ret = usp_open_memory(plain, AGE_LEN, USP_READ, NULL, NULL, ret_file);

	if (ret == 0)
		ret = age_lay("encrypt:" AGE_RECIPIENT_2 "," AGE_RECIPIENT_1, NULL, ret_file);
	if (ret == 0)
		ret = age_lay("decrypt:identity", AGE_IDENTITY_1, ret_file);
	return ret;
}

/* Move all into memory, through a pipe. */
static int age_copy(struct usp_file *file, size_t *ret_len)
{
	struct usp_file *sink;
	int ret = usp_open_memory(opened, sizeof(opened), USP_WRITE, NULL, NULL, &sink);

	if (ret < 0)
		return ret;
	ret = usp_copy_files(file, sink, NULL, NULL);
	*ret_len = (size_t)usp_file_seek(sink, 0, SEEK_CUR);
	usp_file_put(sink);
	return ret;
}

static void age_run(const void *arg)
{
	struct usp_file *file = NULL;
	size_t len = 0;
	int ret;

	(void)arg;
	pattern_fill(plain, 0, AGE_LEN);
	memset(opened, 0, sizeof(opened));
	fault_arm();
	ret = age_open(&file);
	if (ret == 0)
		ret = age_copy(file, &len);
	usp_file_put(file);
	fault_disarm();
	fault_check(ret == 0 || fault_hit().has_fired);
	fault_check(ret != -EBADMSG && ret != -ENOKEY);
	fault_check(ret == 0 ? len == AGE_LEN : len <= AGE_LEN);
	fault_check(pattern_is(opened, 0, len));
}

static const struct fault_scenario scenarios[] = {
	{.name = "encrypt_and_decrypt", .run = age_run},
};

int main(void)
{
	return usp_age_crypto_missing() ? 77 : fault_main(scenarios, usp_array_len(scenarios));
}
