/* SPDX-License-Identifier: MIT */
/* copy_digest - the stages over the source of a copy, and what its digests are. */
#include "copy_digest.h"
#include "cli.h"
#include "copy.h"
#include "copy_blocks.h"
#include "copy_buffer.h"
#include "copy_sources.h"
#include "json.h"
#include "sums.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usplice/transform.h>

#define DIGEST_LINK_MAX 64

/* --- The stage -------------------------------------------------------------------------------------------- */

/* Move bytes of a source to nowhere: 0 or -errno. count: how many, or -1 for all. */
static int digest_drain(struct copy *copy, struct usp_file *source, int64_t count)
{
	const struct usp_pump_params params = {
		.size = sizeof(params),
		.flags = USP_PUMP_NO_PROBE | (count >= 0 ? USP_PUMP_COUNT : 0),
		.count = count >= 0 ? count : 0,
	};

	return copy_discard(copy, source, &params);
}

/* Let the stage see what the sink of --resume has already, and which equals the source. */
static int digest_see_resumed(struct copy *copy)
{
	int error = 0;

	if (copy->resumed > 0)
		error = digest_drain(copy, copy->stage, copy->resumed);
	usp_file_hop(copy->source, USP_READ, &copy->skipped);
	usp_file_hop(copy->stage, USP_READ, &copy->skipped_stages[0]);
	return error;
}

/*
 * Skip what --skip says of the bytes that come out of the stages that decode. Without positions they are decoded and
 * thrown away.
 */
static int digest_skip_plain(struct copy *copy)
{
	int64_t skip = copy->request->skip;
	int error = 0;

	if (skip > 0 && usp_file_seek(copy->stage, skip, SEEK_SET) < 0)
		error = digest_drain(copy, copy->stage, skip);
	usp_file_hop(copy->lowest, USP_READ, &copy->skipped_stages[0]);
	if (copy->stage != copy->lowest)
		usp_file_hop(copy->stage, USP_READ, &copy->skipped_stages[1]);
	return error;
}

/* Note which stage is the lowest. Returns error. */
static int digest_note(struct copy *copy, int error)
{
	if (error == 0 && !copy->lowest)
		copy->lowest = copy->stage;
	return error;
}

/* Put the stages over the source that decode: 0 or -errno. */
static int digest_put_decoding(struct copy *copy, const char **ret_why)
{
	const struct stages *stages = &copy->request->stages;
	bool seeks = copy->request->skip > 0;
	int error = 0;

	if (stages_decrypt(stages))
		error = digest_note(copy, stages_put_decrypt(&copy->stage, stages, seeks, ret_why));
	if (error == 0 && stages->decompress)
		error = digest_note(copy, stages_put_decompress(&copy->stage, seeks, ret_why));
	return error == 0 && stages_decode(stages) ? digest_skip_plain(copy) : error;
}

/* Put the stages over the source that rewrite: 0 or -errno. */
static int digest_put_rewriting(struct copy *copy, const char **ret_why)
{
	const struct stages *stages = &copy->request->stages;
	int error;

	if (!stages_are_asked_for(stages))
		return 0;
	copy->stage = usp_file_get(copy_blocks_top(copy));
	error = digest_put_decoding(copy, ret_why);
	if (error == 0 && stages->compress)
		error = digest_note(copy, stages_put(&copy->stage, stages->compress, copy->count, ret_why));
	if (error == 0 && stages_encrypt(stages))
		error = digest_note(
			copy, stages_put_encrypt(&copy->stage, stages, stages->compress ? -1 : copy->count, ret_why));
	copy->stage_counts |= stages_encode(stages);
	return error;
}

/* Put the stage over them that computes the digests: 0 or -errno. */
static int digest_put(struct copy *copy, const char **ret_why)
{
	int64_t count = copy->stage_counts ? -1 : copy->count;
	char spec[DIGEST_SPEC_MAX];
	int error;

	if (copy->request->digests.nr == 0)
		return 0;
	digest_list_spec(&copy->request->digests, spec);
	if (copy->resumed > 0)
		usp_file_seek(copy->source, copy->source_start - copy->resumed, SEEK_SET);
	if (!copy->stage)
		copy->stage = usp_file_get(copy_blocks_top(copy));
	error = stages_put(&copy->stage, spec, count >= 0 ? count + copy->resumed : -1, ret_why);
	copy->stage_counts = true;
	return error == 0 && copy->resumed > 0 ? digest_see_resumed(copy) : error;
}

/* It is the file of the key that is wrong, and not the source. */
static int digest_bad_key(struct copy *copy, const char *why)
{
	const struct stages *stages = &copy->request->stages;

	copy_note_source(copy, "%s", why);
	return stages->identity.path ? copy_usage("--decrypt", stages->identity.path, why)
				     : copy_usage("--decrypt-passphrase", stages->passphrase.path, why);
}

int copy_digest_open(struct copy *copy)
{
	const char *why = NULL;
	int error = digest_put_rewriting(copy, &why), code;

	if (error == 0) {
		code = copy_buffer_open(copy);
		if (code != CLI_DONE)
			return code;
		error = digest_put(copy, &why);
	}
	if (error < 0 && copy_digest_say_damaged(copy, error))
		return CLI_SOURCE;
	if (error == -EINVAL && why && !copy->lowest && stages_decrypt(&copy->request->stages))
		return digest_bad_key(copy, why);
	return error < 0 ? copy_source_failed(copy, error, why) : CLI_DONE;
}

/* --- What it found ------------------------------------------------------------------------------------------ */

/* Ask for the digest of an item: false if it is not known. */
static bool digest_ask(const struct copy *copy, unsigned index, struct usp_digest_result *ret_result)
{
	*ret_result = (struct usp_digest_result){.size = sizeof(*ret_result)};
	return copy->stage && usp_digest_result(copy->stage, index, ret_result) == 0;
}

/* Return how many bytes left a file and were not thrown away before. */
static uint64_t digest_bytes(const struct usp_file *file, const struct usp_hop *skipped)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	uint64_t bytes = 0;
	int way;

	usp_file_hop(file, USP_READ, &hop);
	for (way = 0; way < USP_NR_WAYS; way++)
		bytes += hop.bytes[way] - skipped->bytes[way];
	return bytes;
}

uint64_t copy_digest_input(const struct copy *copy, uint64_t bytes)
{
	return (uint64_t)copy->source_start + (copy->lowest ? digest_bytes(copy->source, &copy->skipped) : bytes);
}

bool copy_digest_say_damaged(struct copy *copy, int error)
{
	const char *why, *source;
	uint64_t offset;
	long long at;

	if (!copy->stage || !usp_transform_failure(copy->stage, &why, &offset))
		return false;
	source = copy_sources_place(copy, copy->source_start + (int64_t)offset, &at);
	copy_note_source(copy, "%s%s", error == -EOPNOTSUPP ? "its format " : "", why);
	if (error == -EOPNOTSUPP)
		message_say("source %s: its format %s", source, why);
	else if (usp_transform_failed(copy->stage) == copy->lowest)
		message_say("source %s: at byte %lld: %s", source, at, why);
	else
		message_say("source %s: at byte %llu of what comes out of %s: %s", copy->request->source,
			    (unsigned long long)offset, usp_file_spec(copy->lowest), why);
	return true;
}

bool copy_digest_are_known(const struct copy *copy)
{
	struct usp_digest_result result;
	unsigned i;

	for (i = 0; i < copy->request->digests.nr; i++) {
		if (!digest_ask(copy, i, &result))
			return false;
	}
	return true;
}

bool copy_digest_say_wrong(struct copy *copy, uint64_t bytes)
{
	struct usp_digest_result result;
	bool has_said = false;
	unsigned i;

	for (i = 0; i < copy->request->digests.nr; i++) {
		if (!digest_ask(copy, i, &result) || result.is_expected)
			continue;
		message_say("source %s: at byte %lld: its %s is %s, and not %s", copy->request->source,
			    (long long)copy->source_start + (long long)bytes, result.algorithm, result.hex,
			    result.expected);
		copy_note_source(copy, "its %s is %s, and not %s", result.algorithm, result.hex, result.expected);
		has_said = true;
	}
	return has_said;
}

/* Print the name of an algorithm as sha256sum --tag and b2sum --tag do. */
static void digest_print_tag(const char *algorithm)
{
	if (strcmp(algorithm, "blake2b") == 0) {
		fputs("BLAKE2b", stderr);
		return;
	}
	for (; *algorithm != '\0'; algorithm++)
		fputc(toupper((unsigned char)*algorithm), stderr);
}

void copy_digest_say(const struct copy *copy)
{
	struct usp_digest_result result;
	bool is_escaped;
	char *name;
	unsigned i;

	char *source = copy->sources ? NULL : sums_name(copy->request->source);

	is_escaped = sums_escape(source		 ? source
				 : copy->sources ? "-"
						 : "?",
				 &name); /* as of a pipe with all of them */
	for (i = 0; i < copy->request->digests.nr; i++) {
		if (!copy->request->digests.items[i].is_told || !digest_ask(copy, i, &result))
			continue;
		fputs(is_escaped ? "\\" : "", stderr);
		digest_print_tag(result.algorithm);
		fputs(" (", stderr);
		message_put(stderr, name ? name : "?");
		fprintf(stderr, ") = %s\n", result.hex);
	}
	free(name);
	free(source);
}

void copy_digest_json(FILE *out, const struct copy *copy)
{
	struct usp_digest_result result;
	unsigned i;

	putc('{', out);
	for (i = 0; i < copy->request->digests.nr; i++) {
		bool is_known = digest_ask(copy, i, &result);

		if (i > 0)
			putc(',', out);
		json_put(out, copy->request->digests.items[i].name);
		putc(':', out);
		json_put(out, is_known ? result.hex : NULL);
	}
	putc('}', out);
}

/* --- Reading back ------------------------------------------------------------------------------------------- */

/*
 * Open what a sink wrote, which may have no name, for reading past the page cache. What O_DIRECT does not reach, as the
 * tail of a file, is dropped from the cache before.
 */
static int digest_reopen(const struct copy_sink *sink)
{
	char path[DIGEST_LINK_MAX];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", usp_file_fd(sink->file));
	fd = open(path, O_RDONLY | O_DIRECT | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0 && fdatasync(fd) == 0)
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return fd < 0 ? -errno : fd;
}

/* Compare bytes of a file with the digest of what was copied: 0, -EBADMSG or -errno. Takes the descriptor. */
static int digest_compare(struct copy *copy, int fd, const struct copy_sink *sink, uint64_t bytes)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = USP_TRANSFORM_LENGTH, .length = copy->resumed + (int64_t)bytes};
	struct usp_digest_result copied;
	struct usp_file *file, *stage;
	char spec[DIGEST_SPEC_MAX];
	int64_t error = usp_open_fd(fd, USP_READ | USP_EXCLUSIVE, sink->spec, &file);

	if (error < 0) {
		close(fd);
		return (int)error;
	}
	if (!digest_ask(copy, 0, &copied))
		error = -EIO;
	if (error == 0)
		error = usp_file_seek(file, sink->start - copy->resumed, SEEK_SET);
	if (error >= 0) {
		snprintf(spec, sizeof(spec), "digest:%s:%s", copied.algorithm, copied.hex);
		error = usp_transform_open(spec, file, &params, &stage, NULL);
	}
	if (error < 0) {
		usp_file_put(file);
		return (int)error;
	}
	error = digest_drain(copy, stage, -1);
	if (copy->request->drop_cache) /* the tail that O_DIRECT does not reach; clean by now */
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	usp_file_put(stage);
	return (int)error;
}

int copy_digest_read_back(struct copy *copy, const struct copy_sink *sink, uint64_t bytes, char *text)
{
	int fd = digest_reopen(sink), error = fd < 0 ? fd : digest_compare(copy, fd, sink, bytes);

	if (error == 0)
		return 0;
	copy->was_interrupted |= error == -EINTR;
	if (error == -EBADMSG)
		snprintf(text, COPY_ERROR_MAX, "what was read back is not what was written");
	else
		snprintf(text, COPY_ERROR_MAX, "what was written cannot be read back: %s", strerror(-error));
	return error;
}
