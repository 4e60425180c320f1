/* SPDX-License-Identifier: MIT */
/* stages - the stages that rewrite which a command line asks for. */
#include "stages.h"

#include <stddef.h>
#include <string.h>
#include <usplice/transform.h>

const char *option_compress(const char *value, void *field)
{
	static const char *const names[] = {"zstd", "gzip", "lz4", "xz"};
	size_t len = strcspn(value, ":"), i;
	const char *why = NULL;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i]) != len || memcmp(names[i], value, len) != 0)
			continue;
		if (usp_transform_check(value, &why) < 0)
			return why;
		*(const char **)field = value;
		return NULL;
	}
	return "is none of zstd, gzip, lz4 and xz, with or without a level as in zstd:19";
}

int stages_put(struct usp_file **file, const char *spec, int64_t count, const char **ret_why)
{
	const struct usp_transform_params params = {
		.size = sizeof(params),
		.flags = count >= 0 ? USP_TRANSFORM_LENGTH : 0,
		.length = count >= 0 ? count : 0,
	};

	return usp_transform_open(spec, *file, &params, file, ret_why);
}
