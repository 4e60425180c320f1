/* SPDX-License-Identifier: MIT */
/* copy_rescue - go on behind what cannot be read of a source: --on-read-error. */
#include "copy_rescue.h"
#include "cli.h"
#include "copy.h"

#include <inttypes.h>
#include <string.h>
#include <usplice/transform.h>

#define RESCUE_SPEC_MAX 64
#define RESCUE_LINES 10 /* ranges that are said; the report has all */

int copy_rescue_open(struct copy *copy)
{
	const char *how = copy->request->on_read_error, *why = NULL;
	char spec[RESCUE_SPEC_MAX];
	int error;

	if (!how || !copy->source)
		return CLI_DONE;
	snprintf(spec, sizeof(spec), "rescue:%s", how);
	error = usp_transform_open(spec, copy->source, NULL, &copy->source, &why);
	if (error < 0)
		return copy_usage("--on-read-error", how, why ? why : strerror(-error));
	return CLI_DONE;
}

int copy_rescue_say(const struct copy *copy)
{
	const char *source = copy->request->source;
	uint64_t len, sum = 0;
	unsigned nr = 0;
	int64_t off;

	if (!copy->request->on_read_error || !copy->source)
		return CLI_DONE;
	for (; usp_rescue_range(copy->source, nr, &off, &len) == 0; nr++) {
		if (nr < RESCUE_LINES)
			message_say("source %s: at byte %" PRId64 ": %" PRIu64 " bytes cannot be read", source, off,
				    len);
		sum += len;
	}
	if (nr == 0)
		return CLI_DONE;
	if (nr > RESCUE_LINES)
		message_say("source %s: and %u more places, which the report lists", source, nr - RESCUE_LINES);
	message_say("source %s: %" PRIu64 " bytes in %u place%s could not be read, and %s", source, sum, nr,
		    nr > 1 ? "s" : "",
		    strncmp(copy->request->on_read_error, "zero", strlen("zero")) == 0 ? "are zeros in what was written"
										       : "were left out");
	return CLI_SOURCE;
}

void copy_rescue_json(FILE *out, const struct copy *copy)
{
	uint64_t len;
	int64_t off;
	unsigned i;

	putc('[', out);
	for (i = 0; copy->request->on_read_error && copy->source && usp_rescue_range(copy->source, i, &off, &len) == 0;
	     i++)
		fprintf(out, "%s{\"offset\":%" PRId64 ",\"bytes\":%" PRIu64 "}", i > 0 ? "," : "", off, len);
	putc(']', out);
}
