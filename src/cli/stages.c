/* SPDX-License-Identifier: MIT */
/* stages - the stages that rewrite which a command line asks for. */
#include "stages.h"
#include "cli.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <usplice/transform.h>

const char *option_compress(const char *value, void *field)
{
	static const char *const names[] = {"zstd", "gzip", "lz4", "xz"};
	size_t len = strcspn(value, ":"), i;
	const char *why = NULL;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int error;

		if (strlen(names[i]) != len || memcmp(names[i], value, len) != 0)
			continue;
		if (value[len] == ':' && value[len + 1] == '\0')
			return "has no level behind the colon";
		error = usp_transform_check(value, &why);
		if (error < 0)
			return error == -EOPNOTSUPP
				       ? why
				       : "has a level that is none: zstd has 1 to 22, gzip 1 to 9, lz4 1 to 12, xz 0 to 9";
		*(const char **)field = value;
		return NULL;
	}
	return "is none of zstd, gzip, lz4 and xz, with or without a level as in zstd:19";
}

const char *option_recipient(const char *value, void *field)
{
	static const char prefix[] = "encrypt:";
	char one[STAGES_ENCRYPT_MAX], *spec = field;
	size_t len = strlen(spec), room = STAGES_ENCRYPT_MAX - len;
	const char *why = NULL;
	int error;

	if (strlen(value) + sizeof(prefix) > room)
		return "is one recipient too many";
	if (strchr(value, ','))
		return "is more than one recipient: repeat the option";
	snprintf(one, sizeof(one), "%s%s", prefix, value);
	if (strncmp(value, "age1", strlen("age1")) != 0)
		return "is no recipient of age: age1...";
	error = usp_transform_check(one, &why);
	if (error < 0)
		return error == -EOPNOTSUPP ? why : "is no recipient of age: age1...";
	snprintf(spec + len, room, "%s%s", len > 0 ? "," : prefix, value);
	return NULL;
}

const char *stages_contradiction(const struct stages *stages)
{
	if (stages->identity.path && stages->passphrase.path)
		return "--decrypt and --decrypt-passphrase exclude each other";
	if (stages->encrypt[0] != '\0' && stages->new_passphrase.path)
		return "--encrypt and --encrypt-passphrase exclude each other";
	return NULL;
}

int stages_read_secrets(struct stages *stages)
{
	int code = secret_read(&stages->identity, "--decrypt");

	if (code == CLI_DONE)
		code = secret_read(&stages->passphrase, "--decrypt-passphrase");
	return code == CLI_DONE ? secret_read(&stages->new_passphrase, "--encrypt-passphrase") : code;
}

void stages_wipe(struct stages *stages)
{
	secret_wipe(&stages->identity);
	secret_wipe(&stages->passphrase);
	secret_wipe(&stages->new_passphrase);
}

static int stages_put_with(struct usp_file **file, const char *spec, const struct secret *secret, int64_t count,
			   const char **ret_why)
{
	const struct usp_transform_params params = {
		.size = sizeof(params),
		.flags = count >= 0 ? USP_TRANSFORM_LENGTH : 0,
		.length = count >= 0 ? count : 0,
		.secret = secret ? secret->text : NULL,
		.secret_len = secret ? secret->len : 0,
	};

	return usp_transform_open(spec, *file, &params, file, ret_why);
}

/* Put a stage that decodes over *file. With positions, if they are wanted and there is a table for them. */
static int stages_put_decoder(struct usp_file **file, const char *spec, const struct secret *secret, bool seeks,
			      const char **ret_why)
{
	const struct usp_transform_params params = {
		.size = sizeof(params),
		.flags = USP_TRANSFORM_SEEKABLE,
		.secret = secret ? secret->text : NULL,
		.secret_len = secret ? secret->len : 0,
	};
	int error = seeks ? usp_transform_open(spec, *file, &params, file, ret_why) : -ESPIPE;

	if (error != -ESPIPE && error != -EFBIG && error != -EOPNOTSUPP)
		return error;
	return stages_put_with(file, spec, secret, -1, ret_why);
}

int stages_put_decrypt(struct usp_file **file, const struct stages *stages, bool seeks, const char **ret_why)
{
	return stages->identity.path
		       ? stages_put_decoder(file, "decrypt:identity", &stages->identity, seeks, ret_why)
		       : stages_put_decoder(file, "decrypt:passphrase", &stages->passphrase, seeks, ret_why);
}

int stages_put_decompress(struct usp_file **file, bool seeks, const char **ret_why)
{
	return stages_put_decoder(file, "decompress", NULL, seeks, ret_why);
}

int stages_put_encrypt(struct usp_file **file, const struct stages *stages, int64_t count, const char **ret_why)
{
	return stages->new_passphrase.path
		       ? stages_put_with(file, "encrypt:passphrase", &stages->new_passphrase, count, ret_why)
		       : stages_put_with(file, stages->encrypt, NULL, count, ret_why);
}

int stages_put(struct usp_file **file, const char *spec, int64_t count, const char **ret_why)
{
	return stages_put_with(file, spec, NULL, count, ret_why);
}
