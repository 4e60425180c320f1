/* SPDX-License-Identifier: MIT */
/* cmd_copy - `usplice copy`: its options. */
#include "cli.h"
#include "copy.h"
#include "copy_attributes.h"
#include "copy_blocks.h"
#include "copy_both.h"
#include "copy_buffer.h"
#include "copy_framed.h"
#include "copy_guard.h"
#include "copy_size.h"
#include "copy_sources.h"
#include "follow.h"
#include "option.h"
#include "sums.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/transform.h>

#define COPY_SLOW_NS 1000000000

static const char *copy_parse_on_error(const char *value, void *field)
{
	if (strcmp(value, "stop") != 0 && strcmp(value, "continue") != 0)
		return "is neither stop nor continue";
	*(bool *)field = strcmp(value, "continue") == 0;
	return NULL;
}

/* Parse "stop", or what the transform rescue takes. */
static const char *copy_parse_on_read_error(const char *value, void *field)
{
	char spec[64];
	const char *why = NULL;

	*(const char **)field = NULL;
	if (strcmp(value, "stop") == 0)
		return NULL;
	if (snprintf(spec, sizeof(spec), "rescue:%s", value) >= (int)sizeof(spec) ||
	    usp_transform_check(spec, &why) < 0)
		return "is none of stop, skip[:SIZE] and zero[:SIZE], with a power of two from 512 to 1M";
	*(const char **)field = value;
	return NULL;
}

/* Parse "block", "detach" (after one second) or "detach:TIME". */
static const char *copy_parse_on_slow(const char *value, void *field)
{
	static const char detach[] = "detach:";
	uint64_t *slow_ns = field;

	*slow_ns = 0;
	if (strncmp(value, detach, strlen(detach)) == 0)
		return option_time(value + strlen(detach), field) ? "has no time behind detach:, such as 2.5 or 500ms"
								  : NULL;
	if (strcmp(value, "detach") == 0)
		*slow_ns = COPY_SLOW_NS;
	else if (strcmp(value, "block") != 0)
		return "is none of block, detach and detach:TIME";
	return NULL;
}

static const char *copy_parse_format(const char *value, void *field)
{
	*(const char **)field = value;
	return progress_check_format(value);
}

static const char *copy_parse_sparse(const char *value, void *field)
{
	enum usp_sparse *sparse = field;

	if (strcmp(value, "auto") == 0)
		*sparse = USP_SPARSE_AUTO;
	else if (strcmp(value, "always") == 0)
		*sparse = USP_SPARSE_ALWAYS;
	else if (strcmp(value, "never") == 0)
		*sparse = USP_SPARSE_NEVER;
	else
		return "is none of auto, always and never";
	return NULL;
}

static const char *copy_parse_to(const char *value, void *field)
{
	struct copy_targets *targets = field;
	char **names = realloc(targets->names, (targets->nr + 1) * sizeof(names[0]));

	if (!names)
		return "does not fit into memory";
	names[targets->nr++] = (char *)value;
	targets->names = names;
	return NULL;
}

#define FIELD(member) offsetof(struct copy_request, member)

/* The rows of `usplice cat` and `usplice copy`. The first is of cat alone. */
static const struct option_row all_options[] = {
	{"to", 0, "SINK", "write to SINK, and not to standard output; may be\nrepeated", copy_parse_to, FIELD(targets)},
	{"skip", 0, "N", "do not copy the first N bytes of the source", option_size, FIELD(skip)},
	{"count", 0, "N", "copy at most N bytes", option_size, FIELD(count)},
	{"seek", 0, "N", "begin N bytes into each sink, and keep what is before\nand behind", option_size, FIELD(seek)},
	{"append", 0, NULL, "write behind what a file already has", option_flag, FIELD(append)},
	{"resume", 0, NULL, "compare what the sink already has with the source,\nand copy the rest", option_flag,
	 FIELD(resume)},
	{"atomic", 0, NULL, "write a new file beside the sink, sync it, and put it\nin place only when it is whole",
	 option_flag, FIELD(atomic)},
	{"framed", 0, NULL,
	 "send or receive in frames, between two copies, so that a\ncut is noticed: at the end that is a socket, or a pipe",
	 option_flag, FIELD(framed)},
	{"frame", 0, NULL, "the same for the sinks that are sockets or pipes", option_flag, FIELD(frame)},
	{"unframe", 0, NULL, "the same for the source", option_flag, FIELD(unframe)},
	{"frame-digest", 0, "ALG", "the digest of what is sent in frames, or none", copy_framed_parse_digest,
	 FIELD(frame_digest)},
	{"no-clobber", 0, NULL, "refuse to copy onto a file that exists", option_flag, FIELD(no_clobber)},
	{"overwrite", 0, NULL, "overwrite also several files without a question", option_flag, FIELD(overwrite)},
	{"sync", 0, NULL, "bring the bytes to the storage before the end", option_flag, FIELD(sync)},
	{"drop-cache", 0, NULL, "keep what is copied out of the page cache, so that it\ndrives nothing else out",
	 option_flag, FIELD(drop_cache)},
	{"stop-at-size", 0, NULL, "copy only the bytes that the source had at the\nbeginning, or those of --size",
	 option_flag, FIELD(stop_at_size)},
	{"limit-rate", 0, "RATE", "move at most RATE bytes per second", option_rate, FIELD(rate)},
	{"on-slow", 0, "WHAT",
	 "when a sink takes nothing: block, the default, or\ndetach[:TIME] (1s) to go on without it",
	 copy_parse_on_slow, FIELD(slow_ns)},
	{"linger", 0, "TIME", "at the end, wait so long for a peer that takes nothing\nmore (default: 30s)",
	 option_time, FIELD(linger_ns)},
	{"idle-timeout", 0, "TIME", "give up when nothing has moved for so long", option_time, FIELD(idle_ns)},
	{"timeout", 0, "TIME", "give up when the copy is not done after so long", option_time, FIELD(total_ns)},
	{"on-error", 0, "WHAT", "when a sink fails: stop, the default, or continue\nwith the others",
	 copy_parse_on_error, FIELD(continue_on_error)},
	{"on-read-error", 0, "WHAT",
	 "when the source has bytes that cannot be read: stop,\nthe default, or zero[:SIZE] or skip[:SIZE]",
	 copy_parse_on_read_error, FIELD(on_read_error)},
	{"sparse", 0, "WHEN",
	 "make holes: auto, the default, where the source has\nsome, always, also of zeros, or never",
	 copy_parse_sparse, FIELD(sparse)},
	{"preserve", 0, "WHAT,...", "give files also mode, owner, times, xattr or acl of the\nsource", attributes_parse,
	 FIELD(preserve)},
	{"archive", 'a', NULL, "the same with all of them", attributes_parse_all, FIELD(preserve)},
	{"lane", 0, "LANE", "how the bytes travel: auto, the default, kernel\n(never in this process) or user",
	 option_lane, FIELD(lane)},
	{"no-splice", 0, NULL, "the same as --lane user", option_flag, FIELD(no_splice)},
	{"require-zero-copy", 0, NULL, "move nothing and exit with 5 if bytes would be\ncopied", option_flag,
	 FIELD(require_zero_copy)},
	{"snapshot", 0, NULL, "write bytes as they were when they were read, even\nif the source changes meanwhile",
	 option_flag, FIELD(snapshot)},
	{"no-batch", 0, NULL, "stay SCHED_OTHER also while busy between two pipes", option_flag, FIELD(no_batch)},
	{"decrypt", 0, "FILE", "decrypt the source, a file of age, with the identities\nin FILE", option_text,
	 FIELD(stages.identity.path)},
	{"decrypt-passphrase", 0, "FILE", "the same with the passphrase in FILE", option_text,
	 FIELD(stages.passphrase.path)},
	{"encrypt", 0, "RECIPIENT", "write a file of age for RECIPIENT (age1...); may be\nrepeated", option_recipient,
	 FIELD(stages.encrypt)},
	{"encrypt-passphrase", 0, "FILE", "the same for the passphrase in FILE", option_text,
	 FIELD(stages.new_passphrase.path)},
	{"decompress", 0, NULL, "decompress the source: zstd, gzip, lz4 or xz", option_flag, FIELD(stages.decompress)},
	{"compress", 0, "ALG[:LEVEL]", "compress what is written: zstd, gzip, lz4 or xz", option_compress,
	 FIELD(stages.compress)},
	{"digest", 0, "ALG,...",
	 "print digests of what was written: sha256, sha512,\nblake2b, crc32c, xxh64, xxh3, xxh128", option_digest,
	 FIELD(digests)},
	{"verify", 0, "ALG:HEX", "fail at the end, with 3, unless this is the digest", option_verify, FIELD(digests)},
	{"verify-file", 0, "FILE", "the same with the digest that FILE has of the source,\nsuch as SHA256SUMS",
	 option_text, FIELD(verify_file)},
	{"verify-written", 0, NULL, "read back what the sinks have, past the cache, and\ncompare", option_flag,
	 FIELD(verify_written)},
	{"verify-blocks", 0, "FILE", "copy no block that is not what FILE says, and fail\nthere, with 3", option_text,
	 FIELD(verify_blocks)},
	{"write-blocks", 0, "FILE", "write the checksums of the blocks into FILE, or\nALG:FILE, or ALG:SIZE:FILE",
	 option_text, FIELD(write_blocks)},
	{"buffer", 0, "SIZE,...",
	 "read ahead, up to SIZE bytes of memory; start=P% to\nbegin when it is so full, low=P% to pause until then,\nrefill=P% to read on when it is down to that",
	 option_buffer, FIELD(buffer)},
	{"buffer-file", 0, "PATH,size=SIZE",
	 "the same, with a file for what does not fit: in the\ndirectory PATH, or a new file", option_buffer_file,
	 FIELD(buffer_file)},
	{"progress", 0, NULL, "show progress also where standard error is no\nterminal", option_flag, FIELD(progress)},
	{"size", 0, "N", "expect N bytes of a stream, for the percentage", option_size, FIELD(size)},
	{"name", 0, "NAME", "show NAME in front of the progress", option_text, FIELD(style.name)},
	{"format", 0, "FORMAT", "what the progress shows: %N %b %B %t %r %a %p %P %e %l %f", copy_parse_format,
	 FIELD(style.format)},
	{"interval", 'i', "TIME", "show the progress anew every TIME (default: 100ms)", option_time,
	 FIELD(style.interval_ns)},
	{"title", 0, NULL, "show the progress in the terminal's title, too", option_flag, FIELD(style.has_title)},
	{"watch", 'd', "PID[:FD]", "copy nothing: show how far the files of another\nprocess are", option_text,
	 FIELD(watch)},
	{"quiet", 'q', NULL, "show no progress and no summary", option_flag, FIELD(quiet)},
	{"verbose", 'v', NULL, "say at the end how each hop went, and why", option_flag, FIELD(verbose)},
	{"json", 0, NULL, "write the report as JSON on standard error", option_flag, FIELD(json)},
	{"report", 0, "FILE", "write the report as JSON into FILE", option_text, FIELD(report)},
	{"help", 'h', NULL, "show this", option_flag, FIELD(help)},
	{"both", 0, NULL, "copy both ways at once, between two endpoints", option_flag, FIELD(both)},
	{"grace", 0, "TIME",
	 "with --both, when one way has ended: wait so long for an\ninput that cannot know it (default: 500ms)",
	 option_time, FIELD(grace_ns)},
	{.name = NULL},
};
#define COPY_NR_OWN 2 /* the last rows, of `usplice copy` alone */
static const struct option_row *const copy_options = &all_options[1];

const struct option_row *copy_option_rows(void)
{
	return copy_options;
}

/* The rows of `usplice cat`: all but the last ones. */
static struct option_row cat_options[sizeof(all_options) / sizeof(all_options[0]) - COPY_NR_OWN];

static const struct option_row *copy_cat_options(void)
{
	memcpy(cat_options, all_options, sizeof(cat_options));
	cat_options[sizeof(cat_options) / sizeof(cat_options[0]) - 1] = (struct option_row){.name = NULL};
	return cat_options;
}

static int copy_help(bool is_cat)
{
	fputs(is_cat ? "usage: usplice cat [OPTIONS] SOURCE...\n\n"
		       "Copy several sources, one behind the other, to standard output or to the sinks\n"
		       "of --to, by reference where possible.\n"
		     : "usage: usplice copy [OPTIONS] SOURCE SINK...\n"
		       "       usplice copy --both [OPTIONS] END END\n\n"
		       "Copy one source to one or many sinks, by reference where possible.\n",
	      stdout);
	fputs("Both may be a path, - (standard input or output), tcp:HOST:PORT, unix:PATH,\n"
	      "tcp-listen:PORT, fd:N, exec:COMMAND and more: see usplice-endpoints(7).\n\n",
	      stdout);
	option_print(is_cat ? copy_cat_options() : copy_options);
	fputs("\nSizes take k M G T (powers of 1024) and kB MB GB TB (powers of 1000): 1.5M, 20mb.\n"
	      "Exit code: 0 done, 2 usage, 3 source failed, 4 sink failed, 5 would have\n"
	      "copied, 128+n stopped by signal n, 1 anything else.\n",
	      stdout);
	return message_close_stdout();
}

const char *copy_contradiction(const struct copy_request *request)
{
	if (request->append + request->resume + request->atomic + (request->seek >= 0) > 1)
		return "--append, --resume, --atomic and --seek exclude each other";
	if (copy_both_check(request))
		return copy_both_check(request);
	if (copy_guard_check(request))
		return copy_guard_check(request);
	if (copy_framed_check(request))
		return copy_framed_check(request);
	if (copy_sources_check(request))
		return copy_sources_check(request);
	if (copy_size_check(request))
		return copy_size_check(request);
	if (copy_attributes_check(request))
		return copy_attributes_check(request);
	if (request->resume && request->nr_sinks > 1)
		return "--resume takes one sink";
	if (request->slow_ns > 0 && (request->idle_ns > 0 || request->total_ns > 0))
		return "--on-slow detach excludes --idle-timeout and --timeout, which end the copy";
	if (request->no_splice && request->lane == USP_LANE_KERNEL)
		return "--no-splice and --lane kernel exclude each other";
	if (request->snapshot && request->require_zero_copy)
		return "--snapshot copies, so it excludes --require-zero-copy";
	if (request->snapshot && request->lane == USP_LANE_KERNEL)
		return "--snapshot reads into this process, so it excludes --lane kernel";
	if (request->lane == USP_LANE_KERNEL && (request->digests.nr > 0 || request->verify_file))
		return "a digest needs the bytes in this process, so it excludes --lane kernel";
	if (request->lane == USP_LANE_KERNEL && request->verify_written)
		return "--verify-written needs the bytes in this process, so it excludes --lane kernel";
	if (request->drop_cache && request->nr_sources > 1)
		return "--drop-cache takes one source";
	if (request->on_read_error && request->nr_sources > 1)
		return "--on-read-error takes one source";
	if (request->on_read_error && request->lane == USP_LANE_KERNEL)
		return "--on-read-error reads into this process, so it excludes --lane kernel";
	if (request->on_read_error && request->require_zero_copy)
		return "--on-read-error copies, so it excludes --require-zero-copy";
	if (stages_are_asked_for(&request->stages) && request->resume)
		return "--resume compares bytes, so it excludes --decrypt, --decompress, --compress and --encrypt";
	if (stages_are_asked_for(&request->stages) && request->lane == USP_LANE_KERNEL)
		return "--decrypt, --decompress, --compress and --encrypt need the bytes in this process, so they exclude --lane kernel";
	if (stages_are_asked_for(&request->stages) && request->require_zero_copy)
		return "--decrypt, --decompress, --compress and --encrypt make new bytes, so they exclude --require-zero-copy";
	if (request->lane == USP_LANE_KERNEL && (request->verify_blocks || request->write_blocks))
		return "checksums of blocks need the bytes in this process, so they exclude --lane kernel";
	if (request->verify_blocks && (request->skip >= 0 || request->count >= 0))
		return "--verify-blocks is about the whole source, so it excludes --skip and --count";
	if (request->resume && (request->verify_blocks || request->write_blocks))
		return "checksums of blocks need the whole source, so they exclude --resume";
	if (request->lane == USP_LANE_KERNEL && request->sparse == USP_SPARSE_ALWAYS)
		return "--sparse always looks at the bytes in this process, so it excludes --lane kernel";
	if (request->quiet && request->progress)
		return "--quiet and --progress exclude each other";
	if (request->quiet && request->verbose)
		return "--quiet and --verbose exclude each other";
	return copy_buffer_check(request) ? copy_buffer_check(request) : stages_contradiction(&request->stages);
}

/* Find the digest of the source in the file of --verify-file. An exit code. */
static int copy_find_sums(struct copy_request *request)
{
	char *name;
	int code;

	if (!request->verify_file)
		return CLI_DONE;
	name = sums_name(request->source);
	code = sums_find(request->verify_file, name ? name : request->source, &request->digests);
	free(name);
	return code;
}

/* To compare what was written, know a digest of what was copied: a fast one that this build has. */
static void copy_add_digest(struct copy_request *request)
{
	static const char *const names[] = {"xxh128", "sha256", "crc32c"};
	size_t i;

	for (i = 0; request->verify_written && request->digests.nr == 0 && i < sizeof(names) / sizeof(names[0]); i++)
		digest_list_add(&request->digests, names[i], strlen(names[i]), NULL, 0, false);
}

/* Run what the command line asks for. name is that of the command. */
static int copy_request_run(struct copy_request *request, const char *name)
{
	const char *why = copy_contradiction(request);
	int code;

	if (why) {
		message_say("%s: %s", name, why);
		return CLI_USAGE;
	}
	why = copy_blocks_check(request);
	if (why) {
		message_say("%s: --write-blocks %s: %s", name, request->write_blocks, why);
		return CLI_USAGE;
	}
	if (copy_find_sums(request) != CLI_DONE)
		return CLI_USAGE;
	copy_add_digest(request);
	if (request->no_splice)
		request->lane = USP_LANE_USER;
	code = stages_read_secrets(&request->stages);
	if (code == CLI_DONE)
		code = request->both ? copy_both_main(request) : copy_main(request);
	stages_wipe(&request->stages);
	return code;
}

/* Follow another process instead of copying. An exit code. */
static int copy_watch(const struct copy_request *request, int nr_operands)
{
	if (nr_operands > 0) {
		message_say("copy: --watch copies nothing, so it takes no source and no sink");
		return CLI_USAGE;
	}
	return follow_main(request->watch, &request->style);
}

int cmd_copy(int argc, char **argv)
{
	struct copy_request request = {
		.skip = -1, .count = -1, .seek = -1, .size = -1, .sparse = USP_SPARSE_AUTO, .nr_sources = 1};
	int first = option_parse(copy_options, argc, argv, &request);

	if (first < 0)
		return CLI_USAGE;
	if (request.help)
		return copy_help(false);
	if (request.watch)
		return copy_watch(&request, argc - first);
	if (argc - first < 2) {
		message_say("copy: needs a source and at least one sink (usplice copy --help tells more)");
		return CLI_USAGE;
	}
	request.source = argv[first];
	request.sources = argv + first;
	request.sinks = argv + first + 1;
	request.nr_sinks = (unsigned)(argc - first - 1);
	return copy_request_run(&request, "copy");
}

/* Name several sources in one word or two. NULL without memory. */
static char *cat_name_sources(const struct copy_request *request)
{
	char *name;

	if (request->nr_sources == 1)
		return strdup(request->sources[0]);
	return asprintf(&name, "%s and %u more", request->sources[0], request->nr_sources - 1) < 0 ? NULL : name;
}

static int cat_run(struct copy_request *request)
{
	static char standard_output[] = "-";
	static char *const standard_sinks[] = {standard_output};
	char *name = cat_name_sources(request);
	int code = CLI_FAILED;

	request->source = name;
	request->sinks = request->targets.nr > 0 ? request->targets.names : standard_sinks;
	request->nr_sinks = request->targets.nr > 0 ? request->targets.nr : 1;
	if (name)
		code = copy_request_run(request, "cat");
	else
		message_say("out of memory");
	free(name);
	return code;
}

int cmd_cat(int argc, char **argv)
{
	struct copy_request request = {
		.skip = -1, .count = -1, .seek = -1, .size = -1, .sparse = USP_SPARSE_AUTO, .is_cat = true};
	int first = option_parse(copy_cat_options(), argc, argv, &request), code = CLI_USAGE;

	if (first >= 0 && request.help) {
		code = copy_help(true);
	} else if (first >= 0 && request.watch) {
		code = copy_watch(&request, argc - first);
	} else if (first >= 0 && first == argc) {
		message_say("cat: needs at least one source (usplice cat --help tells more)");
	} else if (first >= 0) {
		request.sources = argv + first;
		request.nr_sources = (unsigned)(argc - first);
		code = cat_run(&request);
	}
	free(request.targets.names);
	return code;
}
