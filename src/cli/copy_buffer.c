/* SPDX-License-Identifier: MIT */
/* copy_buffer - a large buffer between the source of a copy and its sinks: --buffer and --buffer-file. */
#include "copy_buffer.h"
#include "cli.h"
#include "copy.h"
#include "copy_blocks.h"
#include "json.h"
#include "size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/transform.h>

/* --- The options -------------------------------------------------------------------------------------------- */

static const char file_option[] = "--buffer-file", file_size[] = ",size=";

/* Split PATH,size=SIZE: the size, or NULL. The last one counts: a path may have such letters, too. */
static const char *buffer_file_size(const char *value, size_t *ret_path_len)
{
	const char *found = NULL, *at = value;

	while ((at = strstr(at, file_size)) != NULL) {
		found = at;
		at += strlen(file_size);
	}
	*ret_path_len = found ? (size_t)(found - value) : strlen(value);
	return found ? found + strlen(file_size) : NULL;
}

static char *buffer_spec(const char *buffer, const char *file)
{
	size_t path_len = 0;
	const char *size = file ? buffer_file_size(file, &path_len) : NULL;
	char *spec;
	int len = size ? asprintf(&spec, "buffer:%s,file-size=%s,file=%.*s", buffer, size, (int)path_len, file)
		       : asprintf(&spec, "buffer:%s", buffer);

	return len < 0 ? NULL : spec;
}

static const char *buffer_check(const char *buffer, const char *file)
{
	const char *why = "does not fit into memory";
	char *spec = buffer_spec(buffer, file);

	if (spec && usp_transform_check(spec, &why) == 0)
		why = NULL;
	free(spec);
	return why;
}

const char *option_buffer(const char *value, void *field)
{
	if (strstr(value, "file"))
		return "names a file, which --buffer-file does";
	*(const char **)field = value;
	return buffer_check(value, NULL);
}

const char *option_buffer_file(const char *value, void *field)
{
	size_t path_len;

	if (!buffer_file_size(value, &path_len))
		return "has no size, as in /var/tmp,size=100G";
	*(const char **)field = value;
	return buffer_check("64k", value);
}

const char *copy_buffer_check(const struct copy_request *request)
{
	if (request->buffer_file && !request->buffer)
		return "--buffer-file is a part of a buffer, so it needs --buffer";
	if (request->buffer && request->lane == USP_LANE_KERNEL)
		return "--buffer holds the bytes in this process, so it excludes --lane kernel";
	return NULL;
}

/* --- The stage ---------------------------------------------------------------------------------------------- */

/* Say which option is at fault. */
static int buffer_failed(const struct copy_request *request, int error, const char *why)
{
	size_t path_len;

	if (error == -ENOMEM && why) {
		message_say("--buffer %s: %s", request->buffer, why);
	} else if (request->buffer_file && why) {
		buffer_file_size(request->buffer_file, &path_len);
		message_say("%s %.*s: %s", file_option, (int)path_len, request->buffer_file, strerror(-error));
	} else {
		message_say("--buffer %s: %s", request->buffer, strerror(-error));
	}
	return CLI_FAILED;
}

int copy_buffer_put(const struct copy_request *request, int64_t count, struct usp_file **file)
{
	char *spec = buffer_spec(request->buffer, request->buffer_file);
	const char *why = NULL;
	int error = spec ? stages_put(file, spec, count, &why) : -ENOMEM;

	free(spec);
	return error < 0 ? buffer_failed(request, error, why) : CLI_DONE;
}

int copy_buffer_open(struct copy *copy)
{
	const struct copy_request *request = copy->request;
	int64_t seen = request->digests.nr > 0 ? copy->resumed : 0; /* a digest sees also what the sink has */
	int64_t count = copy->stage_counts || copy->count < 0 ? -1 : copy->count + seen;
	int code;

	if (!request->buffer)
		return CLI_DONE;
	if (!copy->stage)
		copy->stage = usp_file_get(copy_blocks_top(copy));
	code = copy_buffer_put(request, count, &copy->stage);
	if (code != CLI_DONE)
		return code;
	copy->stage_counts |= count >= 0;
	copy->buffer = copy->stage;
	return CLI_DONE;
}

/* --- What it did ---------------------------------------------------------------------------------------------- */

static bool buffer_ask(const struct copy *copy, struct usp_buffer_status *ret_status)
{
	*ret_status = (struct usp_buffer_status){.size = sizeof(*ret_status)};
	return copy->buffer && usp_buffer_status(copy->buffer, ret_status) == 0;
}

static double buffer_percent(uint64_t bytes, const struct usp_buffer_status *status)
{
	if (bytes >= status->capacity) /* more for a moment, if the file became smaller */
		return status->capacity > 0 ? 100 : 0;
	return (double)bytes * 100 / (double)status->capacity;
}

unsigned long long copy_buffer_left(const struct copy *copy)
{
	struct usp_buffer_status status;

	return buffer_ask(copy, &status) ? status.bytes : 0;
}

char *copy_buffer_fill(const struct copy *copy, int *ret_is_paused)
{
	struct usp_buffer_status status;
	char *text;

	*ret_is_paused = 0;
	if (!buffer_ask(copy, &status) || asprintf(&text, "buffer %.0f %%", buffer_percent(status.bytes, &status)) < 0)
		return NULL;
	*ret_is_paused = status.is_paused;
	return text;
}

void copy_buffer_say_trouble(const struct copy *copy)
{
	struct usp_buffer_status status;
	char size[SIZE_TEXT_MAX];
	size_t path_len;

	if (!buffer_ask(copy, &status) || status.file_error == 0)
		return;
	buffer_file_size(copy->request->buffer_file, &path_len);
	message_say("%s %.*s: %s: the buffer held at most %s in it", file_option, (int)path_len,
		    copy->request->buffer_file, strerror(-status.file_error),
		    size_format(size, (double)status.file_most));
}

void copy_buffer_say(const struct copy *copy)
{
	char capacity[SIZE_TEXT_MAX], file_most[SIZE_TEXT_MAX];
	struct usp_buffer_status status;

	if (!buffer_ask(copy, &status))
		return;
	message_say("buffer: at most %.0f %% of %s full, %llu times empty, %llu times full%s%s",
		    buffer_percent(status.most, &status), size_format(capacity, (double)status.capacity),
		    (unsigned long long)status.nr_empty, (unsigned long long)status.nr_full,
		    status.file_most > 0 ? ", most in the file " : "",
		    status.file_most > 0 ? size_format(file_most, (double)status.file_most) : "");
}

void copy_buffer_json(FILE *out, const struct copy *copy)
{
	struct usp_buffer_status status;

	if (!buffer_ask(copy, &status)) {
		fputs("null", out);
		return;
	}
	fprintf(out,
		"{\"capacity\":%llu,\"most\":%llu,\"left\":%llu,\"file_most\":%llu,\"empty\":%llu,\"full\":%llu,\"file_error\":",
		(unsigned long long)status.capacity, (unsigned long long)status.most, (unsigned long long)status.bytes,
		(unsigned long long)status.file_most, (unsigned long long)status.nr_empty,
		(unsigned long long)status.nr_full);
	json_put(out, status.file_error < 0 ? strerror(-status.file_error) : NULL);
	putc('}', out);
}
