/* SPDX-License-Identifier: MIT */
/* copy_blocks - checksums for the blocks of a copy: the stages over its source, and the list that it writes. */
#include "copy_blocks.h"
#include "atomic.h"
#include "cli.h"
#include "copy.h"
#include "copy_sources.h"
#include "option.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usplice/transform.h>

#define BLOCKS_SPEC_MAX 64
#define BLOCKS_LIST_MODE 0666 /* below the umask */

static const char verify_option[] = "--verify-blocks", write_option[] = "--write-blocks";

/* --- [ALG:[SIZE:]]FILE --------------------------------------------------------------------------------------- */

/* Take "SIZE:" off text, if it begins so: the size, or 0. */
static int64_t blocks_take_size(const char **text)
{
	size_t len = strcspn(*text, ":");
	char size_text[BLOCKS_SPEC_MAX];
	int64_t size;

	if ((*text)[len] != ':' || len >= sizeof(size_text))
		return 0;
	snprintf(size_text, sizeof(size_text), "%.*s", (int)len, *text);
	if (option_size(size_text, &size))
		return 0;
	*text += len + 1;
	return size;
}

/* Name a fast algorithm that this build has. */
static const char *blocks_algorithm(void)
{
	return usp_transform_check("sums:xxh3", NULL) == 0 ? "xxh3" : "crc32c";
}

/* Parse the value of --write-blocks into a spec and the name of a file: NULL, or what is wrong. */
static const char *blocks_parse(const char *text, char ret_spec[BLOCKS_SPEC_MAX], const char **ret_path)
{
	size_t len = strcspn(text, ":");
	const char *why = NULL;
	int64_t size;
	int error;

	snprintf(ret_spec, BLOCKS_SPEC_MAX, "sums:%s", blocks_algorithm());
	*ret_path = text;
	if (text[len] == ':' && len < BLOCKS_SPEC_MAX / 2) {
		char named[BLOCKS_SPEC_MAX];

		snprintf(named, sizeof(named), "sums:%.*s", (int)len, text);
		error = usp_transform_check(named, &why);
		if (error == -EOPNOTSUPP)
			return why;
		if (error == 0) {
			*ret_path = text + len + 1;
			size = blocks_take_size(ret_path);
			snprintf(ret_spec, BLOCKS_SPEC_MAX, size != 0 ? "%s:%lld" : "%s", named, (long long)size);
		}
	}
	why = NULL;
	if (usp_transform_check(ret_spec, &why) < 0)
		return why;
	return (*ret_path)[0] == '\0' ? "it names no file" : NULL;
}

const char *copy_blocks_check(const struct copy_request *request)
{
	char spec[BLOCKS_SPEC_MAX];
	const char *path;

	return request->write_blocks ? blocks_parse(request->write_blocks, spec, &path) : NULL;
}

/* --- The stages ------------------------------------------------------------------------------------------------ */

struct usp_file *copy_blocks_top(const struct copy *copy)
{
	return copy->summer ? copy->summer : copy->verifier ? copy->verifier : copy->source;
}

static int blocks_put(struct copy *copy, const char *spec, struct usp_file **ret_stage, const char **ret_why)
{
	bool counts = copy->count >= 0 && !stages_decode(&copy->request->stages); /* --count is of plain bytes */
	struct usp_file *stage = usp_file_get(copy_blocks_top(copy));
	int error = stages_put(&stage, spec, counts ? copy->count : -1, ret_why);

	if (error < 0)
		usp_file_put(stage);
	else
		*ret_stage = stage;
	copy->stage_counts |= error == 0 && counts;
	return error;
}

/* Refuse a list that is also another file of the copy. object is all zero if there is no such file yet. */
static int blocks_check_same(const struct copy *copy, const char *option, const char *path, const struct stat *object)
{
	struct stat report;
	unsigned i;

	if (usp_copy_is_same(object, &copy->source_object))
		return copy_usage(option, path, "is the same file as the source");
	if (copy->report_fd >= 0 && fstat(copy->report_fd, &report) == 0 && usp_copy_is_same(object, &report))
		return copy_usage(option, path, "is also the file of the report");
	for (i = 0; i < copy->request->nr_sinks; i++) {
		const struct copy_sink *sink = &copy->sinks[i];

		if (usp_copy_is_same(object, &sink->object) ||
		    (copy->list && sink->atomic && atomic_is_same(copy->list, sink->atomic)))
			return copy_usage(option, path, "is also a sink");
	}
	return CLI_DONE;
}

static int blocks_open_verifier(struct copy *copy)
{
	const char *path = copy->request->verify_blocks, *why = NULL;
	struct stat object;
	int code = CLI_DONE, error;
	char *spec;

	if (stat(path, &object) == 0)
		code = blocks_check_same(copy, verify_option, path, &object);
	if (code != CLI_DONE)
		return code;
	error = asprintf(&spec, "blocks:%s", path) < 0 ? -ENOMEM : 0;
	if (error == 0) {
		error = blocks_put(copy, spec, &copy->verifier, &why);
		free(spec);
	}
	if (error == 0)
		return CLI_DONE;
	return copy_usage(verify_option, path,
			  why && (error == -EINVAL || error == -EOPNOTSUPP) ? why : strerror(-error));
}

/* Make the list's file beside its destination before anything is copied, so that an error shows now. */
static int blocks_open_list(struct copy *copy, const char *path)
{
	const char *why = NULL;
	struct usp_spec *name;
	struct stat old;
	int error = usp_spec_parse(path, &name, &why);

	if (error == 0) {
		error = atomic_open(name, BLOCKS_LIST_MODE, &copy->list, &copy->list_fd, &old, &why);
		usp_spec_free(name);
	}
	if (error < 0) {
		message_say("%s %s: %s", write_option, path, why ? why : strerror(-error));
		return error == -EINVAL ? CLI_USAGE : CLI_FAILED;
	}
	return blocks_check_same(copy, write_option, path, &old);
}

static int blocks_open_summer(struct copy *copy)
{
	char spec[BLOCKS_SPEC_MAX];
	const char *path, *why = NULL;
	int error, code;

	blocks_parse(copy->request->write_blocks, spec, &path); /* copy_blocks_check has accepted it */
	code = blocks_open_list(copy, path);
	if (code != CLI_DONE)
		return code;
	error = blocks_put(copy, spec, &copy->summer, &why);
	return error == 0 ? CLI_DONE : copy_source_failed(copy, error, why);
}

int copy_blocks_open(struct copy *copy)
{
	int code = CLI_DONE;

	if (copy->request->verify_blocks)
		code = blocks_open_verifier(copy);
	if (code == CLI_DONE && copy->request->write_blocks)
		code = blocks_open_summer(copy);
	return code;
}

/* --- The end ----------------------------------------------------------------------------------------------------- */

bool copy_blocks_say_wrong(struct copy *copy, uint64_t bytes)
{
	const char *source;
	long long at;

	if (!copy->verifier)
		return false;
	source = copy_sources_place(copy, copy->source_start + (int64_t)bytes, &at);
	copy_note_source(copy, "it is not what %s says", copy->request->verify_blocks);
	if (copy->lowest) /* the bytes of the copy are others than those of the source */
		message_say("source %s: a block is not what %s says (%s)", copy->request->source,
			    copy->request->verify_blocks, strerror(EBADMSG));
	else
		message_say("source %s: at byte %lld: from here on it is not what %s says (%s)", source, at,
			    copy->request->verify_blocks, strerror(EBADMSG));
	return true;
}

static int blocks_close_list(struct copy *copy)
{
	int ret = close(copy->list_fd) < 0 ? -errno : 0;

	copy->list_fd = -1;
	return ret;
}

int copy_blocks_commit(struct copy *copy)
{
	int error;

	if (!copy->summer)
		return CLI_DONE;
	error = usp_sums_write(copy->summer, copy->list_fd);
	if (error == 0 && fsync(copy->list_fd) < 0)
		error = -errno;
	if (error == 0)
		error = atomic_link(copy->list, copy->list_fd);
	if (error == 0)
		error = blocks_close_list(copy);
	if (error == 0) {
		error = atomic_commit(copy->list, false);
		copy->list = NULL;
	}
	if (error == 0)
		return CLI_DONE;
	message_say("%s %s: %s", write_option, copy->request->write_blocks, strerror(-error));
	return CLI_FAILED;
}

void copy_blocks_close(struct copy *copy)
{
	usp_file_put(copy->summer);
	usp_file_put(copy->verifier);
	atomic_discard(copy->list);
	if (copy->list_fd >= 0)
		close(copy->list_fd);
}
