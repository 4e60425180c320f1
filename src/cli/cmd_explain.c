/* SPDX-License-Identifier: MIT */
/* cmd_explain - `usplice explain`: plan a route, move a sample where that changes nothing, and show what happened. */
#include "cli.h"
#include "copy.h"
#include "explain.h"
#include "host_port.h"
#include "option.h"
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <usplice/spec.h>
#include <usplice/transform.h>

#define EXPLAIN_SAMPLE ((int64_t)1 << 20)

#define FIELD(member) offsetof(struct explain_request, member)

static const struct option_row explain_options[] = {
	{"sample", 0, "N", "move at most N bytes as a sample (default: 1M; 0: none)", option_size, FIELD(sample)},
	{"lane", 0, "LANE", "how the bytes travel: auto, the default, kernel\nor user", option_lane, FIELD(lane)},
	{"decrypt", 0, "FILE", "decrypt, as usplice copy does", option_text, FIELD(stages.identity.path)},
	{"decrypt-passphrase", 0, "FILE", "the same with the passphrase in FILE", option_text,
	 FIELD(stages.passphrase.path)},
	{"encrypt", 0, "RECIPIENT", "encrypt, as usplice copy does", option_recipient, FIELD(stages.encrypt)},
	{"encrypt-passphrase", 0, "FILE", "the same for the passphrase in FILE", option_text,
	 FIELD(stages.new_passphrase.path)},
	{"decompress", 0, NULL, "decompress, as usplice copy does", option_flag, FIELD(stages.decompress)},
	{"compress", 0, "ALG[:LEVEL]", "compress, as usplice copy does", option_compress, FIELD(stages.compress)},
	{"digest", 0, "ALG,...", "with digests, as usplice copy computes them", option_digest, FIELD(digests)},
	{"verify-blocks", 0, "FILE", "with blocks verified, as usplice copy verifies them", option_text,
	 FIELD(verify_blocks)},
	{"trace", 0, NULL, "show the system calls that were made, with counts\nand times", option_flag, FIELD(trace)},
	{"json", 0, NULL, "write the explanation as JSON", option_flag, FIELD(json)},
	{"dot", 0, NULL, "write a graph for dot(1)", option_flag, FIELD(dot)},
	{"help", 'h', NULL, "show this", option_flag, FIELD(help)},
	{.name = NULL},
};

static int explain_help(void)
{
	fputs("usage: usplice explain [OPTIONS] SOURCE SINK...\n\n"
	      "Show how a copy would go: each hop with its lane, what holds the bytes, whether\n"
	      "they go by reference, and why. A sample is moved only where nobody sees it: a\n"
	      "file without a name stands in for a file, and nothing is read from a stream or\n"
	      "sent to a peer.\n\n",
	      stdout);
	option_print(explain_options);
	fputs("\nSizes take k M G T (powers of 1024) and kB MB GB TB (powers of 1000): 1.5M, 20mb.\n"
	      "Exit code: 0 done, 2 usage, 3 source cannot be opened, 4 sink cannot be opened,\n"
	      "1 anything else.\n",
	      stdout);
	return message_close_stdout();
}

/* --- The ends --------------------------------------------------------------------------------------------------- */

/* Give the stand-in what a file on btrfs may have from chattr(1): with +C it shares no blocks. */
static void explain_copy_attributes(const char *path, int stand_in)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), wanted = 0, own = 0;

	if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &wanted) == 0 && ioctl(stand_in, FS_IOC_GETFLAGS, &own) == 0 &&
	    (wanted ^ own) & FS_NOCOW_FL) {
		own ^= FS_NOCOW_FL;
		ioctl(stand_in, FS_IOC_SETFLAGS, &own);
	}
	if (fd >= 0)
		close(fd);
}

/* Return the folder of a path, with the slash behind it, to be freed; and where the name begins. */
static char *explain_split(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');

	*ret_name = slash ? slash + 1 : path;
	return slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
}

/* Open a file without a name in a folder, on the file system of a file that it stands in for, if there is one. */
static struct usp_file *explain_open_unnamed(const char *folder, const struct stat *like, const char *name)
{
	struct usp_file *file = NULL;
	struct stat st;
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return NULL;
	if ((like && (fstat(fd, &st) < 0 || st.st_dev != like->st_dev)) ||
	    usp_open_fd(fd, USP_WRITE | USP_EXCLUSIVE, name, &file) < 0)
		close(fd);
	return file;
}

/*
 * Open a stand-in for a regular file, or for one that a copy would make. NULL if the path is neither, or if there
 * can be none. *ret_error: a copy could not write there.
 */
static struct usp_file *explain_stand_in(const char *path, const char *name, int *ret_error)
{
	char *real = realpath(path, NULL), *folder;
	struct usp_file *file = NULL;
	struct stat st, link;
	const char *last;

	*ret_error = 0;
	if (real ? stat(real, &st) < 0 || !S_ISREG(st.st_mode) : errno != ENOENT) {
		free(real);
		return NULL;
	}
	if (real && access(real, W_OK) < 0)
		*ret_error = errno;
	else if (!real && lstat(path, &link) == 0)
		*ret_error = ENOENT; /* a link that leads nowhere: a copy makes no file through it */
	folder = explain_split(real ? real : path, &last);
	if (folder && *ret_error == 0)
		file = explain_open_unnamed(folder, real ? &st : NULL, name);
	if (file && real)
		explain_copy_attributes(real, usp_file_fd(file));
	if (!file && !real && *ret_error == 0)
		*ret_error = errno;
	free(folder);
	free(real);
	return file;
}

/* Open a sink: the exit code. *ret_is_safe: a sample may be written to it. */
static int explain_open_sink(const char *text, struct usp_file **ret_file, bool *ret_is_safe)
{
	struct usp_spec *spec;
	const char *why;
	int error = 0, code;

	*ret_is_safe = true;
	if (usp_spec_parse(text, &spec, &why) == 0) {
		if (usp_spec_path(spec) && usp_spec_nr_options(spec) == 0)
			*ret_file = explain_stand_in(usp_spec_path(spec), text, &error);
		usp_spec_free(spec);
	}
	if (error) {
		message_say("sink %s: %s", text, strerror(error));
		return CLI_SINK;
	}
	if (*ret_file)
		return CLI_DONE;
	code = probe_open(text, USP_WRITE, true, ret_file);
	*ret_is_safe = code == CLI_DONE && (strcmp(usp_file_type(*ret_file), "null") == 0 ||
					    strcmp(usp_file_type(*ret_file), "memory") == 0);
	return code;
}

/* Tell whether the bytes of a regular file are stored. Those that the kernel makes may be there only once. */
static bool explain_is_stored(const struct usp_file *source)
{
	static const long generated[] = {PROC_SUPER_MAGIC, SYSFS_MAGIC, TRACEFS_MAGIC, DEBUGFS_MAGIC, SECURITYFS_MAGIC};
	struct statfs fs;
	size_t i;

	if (fstatfs(usp_file_fd(source), &fs) < 0)
		return false;
	for (i = 0; i < sizeof(generated) / sizeof(generated[0]); i++) {
		if ((long)fs.f_type == generated[i])
			return false;
	}
	return true;
}

/* Tell whether bytes can be read from the source so that nobody misses them. */
static bool explain_can_read(const struct explain_request *request, const struct usp_file *source)
{
	static const char *const types[] = {"regular", "block", "cached", "memory", "zero", "null"};
	struct usp_spec *spec;
	const char *why;
	bool is_own = false;
	size_t i;

	if (usp_spec_parse(request->source, &spec, &why) == 0) {
		is_own = usp_spec_descriptor(spec, USP_READ) < 0;
		usp_spec_free(spec);
	}
	for (i = 0; is_own && i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(usp_file_type(source), types[i]) == 0)
			return usp_file_fd(source) < 0 || explain_is_stored(source);
	}
	return false;
}

/* Look at the object that a spec names, by its path or descriptor, or that a cache is over; st_mode is 0 if there is none. */
static struct stat explain_look(const char *text, unsigned side)
{
	struct stat st = {.st_mode = 0};
	struct usp_spec *spec;
	const char *why;

	if (usp_spec_parse(text, &spec, &why) < 0)
		return st;
	if (strcmp(usp_spec_scheme(spec), "cached") == 0)
		st = explain_look(usp_spec_address(spec), side);
	else if ((usp_spec_path(spec) ? stat(usp_spec_path(spec), &st) : fstat(usp_spec_descriptor(spec, side), &st)) <
		 0)
		st.st_mode = 0;
	usp_spec_free(spec);
	return st;
}

/* Tell whether two paths where nothing is yet name one new file. */
static bool explain_is_same_name(const char *a, const char *b)
{
	const char *names[] = {a, b};
	struct stat folders[2];
	int i;

	for (i = 0; i < 2; i++) {
		char *folder = explain_split(names[i], &names[i]);

		if (!folder || stat(folder, &folders[i]) < 0)
			folders[i].st_ino = 0;
		free(folder);
	}
	return folders[0].st_ino && folders[0].st_ino == folders[1].st_ino && folders[0].st_dev == folders[1].st_dev &&
	       strcmp(names[0], names[1]) == 0;
}

/* Tell whether two sinks are one object, or one new file. */
static bool explain_is_same_sink(const char *a, const char *b)
{
	struct stat of_a = explain_look(a, USP_WRITE), of_b = explain_look(b, USP_WRITE);
	struct usp_spec *specs[2] = {NULL, NULL};
	const char *why;
	bool is_same = copy_is_same(&of_a, &of_b);

	if (of_a.st_mode == 0 && of_b.st_mode == 0 && usp_spec_parse(a, &specs[0], &why) == 0 &&
	    usp_spec_parse(b, &specs[1], &why) == 0 && usp_spec_path(specs[0]) && usp_spec_path(specs[1]))
		is_same = explain_is_same_name(usp_spec_path(specs[0]), usp_spec_path(specs[1]));
	usp_spec_free(specs[0]);
	usp_spec_free(specs[1]);
	return is_same;
}

/* Refuse what a copy refuses: an object that is both source and sink, or two sinks. */
static int explain_check_same(const struct explain_request *request)
{
	struct stat source = explain_look(request->source, USP_READ), sink;
	unsigned i, j;

	for (i = 0; i < request->nr_sinks; i++) {
		sink = explain_look(request->sinks[i], USP_WRITE);
		if (copy_is_same(&source, &sink))
			return copy_usage("sink", request->sinks[i], "is the same file as the source");
		for (j = 0; j < i; j++) {
			if (explain_is_same_sink(request->sinks[j], request->sinks[i]))
				return copy_usage("sink", request->sinks[i], "is given twice");
		}
	}
	return CLI_DONE;
}

static int explain_open(struct explanation *explanation)
{
	const struct explain_request *request = explanation->request;
	bool is_safe, all_safe = true;
	int code = probe_open(request->source, USP_READ, false, &explanation->source);
	unsigned i;

	for (i = 0; i < request->nr_sinks && code == CLI_DONE; i++) {
		code = explain_open_sink(request->sinks[i], &explanation->sinks[i], &is_safe);
		all_safe = all_safe && is_safe;
	}
	if (code != CLI_DONE)
		return code;
	if (request->sample == 0)
		explanation->why_no_sample = "none was asked for";
	else if (strcmp(usp_file_type(explanation->source), "regular") == 0 && usp_file_size(explanation->source) <= 0)
		explanation->why_no_sample = "the source is empty, or does not tell its size";
	else if (!explain_can_read(request, explanation->source))
		explanation->why_no_sample = "what is read from this source is missing afterwards";
	else if (!all_safe)
		explanation->why_no_sample = "a sink would take the bytes for the real ones";
	return CLI_DONE;
}

/* Return how many bytes of its input a stage that encodes gets: those of the sample. -1: all, to be limited behind it. */
static int64_t explain_input(const struct explanation *explanation)
{
	return stages_encode(&explanation->request->stages) ? explanation->request->sample : -1;
}

/* Put the stages over the source that rewrite: 0 or -errno. */
static int explain_put_rewriting(struct explanation *explanation, const char **ret_why)
{
	const struct stages *stages = &explanation->request->stages;
	int64_t input = explain_input(explanation);
	struct usp_file **top = &explanation->source;
	int error = 0;

	if (stages_decrypt(stages))
		error = stages_put_decrypt(top, stages, false, ret_why);
	if (error == 0 && stages->decompress)
		error = stages_put(top, "decompress", -1, ret_why);
	if (error == 0 && stages->compress)
		error = stages_put(top, stages->compress, input, ret_why);
	if (error == 0 && stages_encrypt(stages))
		error = stages_put_encrypt(top, stages, stages->compress ? -1 : input, ret_why);
	return error;
}

/* Put the stage that verifies blocks over the source: an exit code. */
static int explain_put_verifier(struct explanation *explanation)
{
	const char *list = explanation->request->verify_blocks, *why = NULL;
	char *spec;
	int error;

	if (!list)
		return CLI_DONE;
	if (asprintf(&spec, "blocks:%s", list) < 0)
		return CLI_FAILED;
	error = stages_put(&explanation->source, spec, -1, &why);
	free(spec);
	if (error < 0)
		return copy_usage("--verify-blocks", list, error == -EINVAL && why ? why : strerror(-error));
	return CLI_DONE;
}

/* Put the stages over the source that are asked for: an exit code. */
static int explain_put_stages(struct explanation *explanation)
{
	const struct explain_request *request = explanation->request;
	char digest_spec[DIGEST_SPEC_MAX];
	const char *why = NULL;
	int code, error;

	if (request->verify_blocks || request->digests.nr > 0 || stages_are_asked_for(&request->stages))
		explanation->bottom = usp_file_get(explanation->source);
	code = explain_put_verifier(explanation);
	if (code != CLI_DONE)
		return code;
	error = explain_put_rewriting(explanation, &why);
	if (error == 0 && request->digests.nr > 0) {
		digest_list_spec(&request->digests, digest_spec);
		error = stages_put(&explanation->source, digest_spec, -1, &why);
	}
	if (error == 0)
		return CLI_DONE;
	message_say("source %s: %s", request->source, why ? why : strerror(-error));
	return error == -EINVAL && why ? CLI_USAGE : CLI_FAILED;
}

static void explain_close(struct explanation *explanation)
{
	unsigned i;

	usp_pump_free(explanation->pump);
	usp_file_put(explanation->source);
	usp_file_put(explanation->bottom);
	for (i = 0; i < explanation->request->nr_sinks; i++)
		usp_file_put(explanation->sinks[i]);
	free(explanation->sinks);
}

/* --- The route ---------------------------------------------------------------------------------------------------- */

static void explain_say_ended(const struct explanation *explanation, int error)
{
	const char *why;
	uint64_t offset;

	if (usp_transform_failure(explanation->source, &why, &offset))
		message_say("the sample ended: %s: at byte %llu of its input: %s",
			    usp_file_spec(usp_transform_failed(explanation->source)), (unsigned long long)offset, why);
	else
		message_say("the sample ended: %s", strerror(-error));
}

/* Plan, or plan and move a sample. */
static int explain_go(struct explanation *explanation)
{
	const struct explain_request *request = explanation->request;
	bool counts = explain_input(explanation) < 0;
	const struct usp_pump_params params = {.size = sizeof(params),
					       .lane = request->lane,
					       .flags = counts ? USP_PUMP_COUNT : 0,
					       .count = counts ? request->sample : 0};
	int code = explain_put_stages(explanation), error;
	unsigned i;

	if (code != CLI_DONE)
		return code;
	error = usp_pump_new(explanation->source, &params, &explanation->pump);
	for (i = 0; i < request->nr_sinks && error == 0; i++)
		error = usp_pump_add_sink(explanation->pump, explanation->sinks[i]);
	if (error == 0)
		error = usp_pump_check(explanation->pump); /* with the experiments, which are no part of the trace */
	if (request->trace)
		usp_trace_start();
	if (error == 0 && !explanation->why_no_sample)
		error = usp_pump_run(explanation->pump);
	if (request->trace) {
		usp_trace_stop();
		explanation->calls[0].size = sizeof(explanation->calls[0]);
		explanation->nr_calls = usp_trace_calls(explanation->calls, EXPLAIN_CALLS_MAX);
	}
	if (error == -EOPNOTSUPP) {
		message_say("--lane kernel: splice(2) cannot carry the bytes of this route");
		return CLI_USAGE;
	}
	if (error < 0)
		explain_say_ended(explanation, error);
	return error < 0 ? CLI_FAILED : CLI_DONE;
}

static int explain_main(const struct explain_request *request)
{
	struct explanation explanation = {.request = request,
					  .sinks = calloc(request->nr_sinks, sizeof(explanation.sinks[0]))};
	bool is_planned = false;
	int code;

	if (!explanation.sinks) {
		message_say("%s", strerror(ENOMEM));
		return CLI_FAILED;
	}
	code = host_port_check(request->source, request->sinks, request->nr_sinks);
	if (code == CLI_DONE)
		code = explain_check_same(request);
	if (code == CLI_DONE)
		code = explain_open(&explanation);
	if (code == CLI_DONE) {
		code = explain_go(&explanation);
		is_planned = explanation.pump && code != CLI_USAGE;
	}
	if (is_planned) {
		if (request->json)
			explain_json(&explanation);
		else if (request->dot)
			explain_dot(&explanation);
		else
			explain_draw(&explanation);
	}
	explain_close(&explanation);
	return message_close_stdout() == CLI_DONE ? code : CLI_FAILED;
}

int cmd_explain(int argc, char **argv)
{
	struct explain_request request = {.sample = EXPLAIN_SAMPLE};
	int first = option_parse(explain_options, argc, argv, &request), code;
	const char *why;

	if (first < 0)
		return CLI_USAGE;
	if (request.help)
		return explain_help();
	if (argc - first < 2) {
		message_say("explain: needs a source and at least one sink (usplice explain --help tells more)");
		return CLI_USAGE;
	}
	if (request.json && request.dot) {
		message_say("explain: --json and --dot exclude each other");
		return CLI_USAGE;
	}
	why = stages_contradiction(&request.stages);
	if (why) {
		message_say("explain: %s", why);
		return CLI_USAGE;
	}
	request.source = argv[first];
	request.sinks = argv + first + 1;
	request.nr_sinks = (unsigned)(argc - first - 1);
	code = stages_read_secrets(&request.stages);
	if (code == CLI_DONE)
		code = explain_main(&request);
	stages_wipe(&request.stages);
	return code;
}
