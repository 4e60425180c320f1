/* SPDX-License-Identifier: MIT */
/*
 * copy_sources - several sources of one copy, one behind the other.
 *
 * All are looked at before anything is made: one that is missing shows then. The first ones stay open.
 * Descriptors are few, so the other files are opened again when their turn comes. A source that
 * involves another process, such as a FIFO, is opened at its turn, too: its writer may only come when
 * the source before it has ended.
 */
#include "copy_sources.h"
#include "cli.h"
#include "copy.h"
#include "json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define SOURCES_NR_OPEN 256 /* that stay open from the look to their turn, at most */
#define SOURCES_SHARE 4	    /* of the descriptors that the process may have */

struct source {
	struct usp_spec *name; /* NULL if it does not parse */
	int number;	       /* of its descriptor: copy_inherited */
	struct usp_file *file; /* until its turn; NULL: open it then */
	struct stat object;    /* all zero for other things than descriptors and existing paths */
	int64_t start;	       /* bytes of those before it */
};

struct copy_sources {
	unsigned nr, next; /* next: whose turn comes next */
	struct source list[];
};

const char *copy_sources_check(const struct copy_request *request)
{
	if (request->nr_sources < 2)
		return NULL;
	if (request->resume)
		return "--resume takes one source";
	if (request->verify_file)
		return "--verify-file looks for one name, so it takes one source";
	if (request->require_zero_copy)
		return "--require-zero-copy is decided before the first byte, so it takes one source";
	return NULL;
}

int copy_sources_init(struct copy *copy)
{
	unsigned i, nr = copy->request->nr_sources;

	if (nr < 2)
		return 0;
	copy->sources = calloc(1, sizeof(*copy->sources) + nr * sizeof(copy->sources->list[0]));
	if (!copy->sources)
		return -ENOMEM;
	copy->sources->nr = nr;
	for (i = 0; i < nr; i++) {
		struct source *source = &copy->sources->list[i];

		if (usp_spec_parse(copy->request->sources[i], &source->name, NULL) < 0)
			source->name = NULL;
		source->number = copy_inherited(source->name, USP_READ);
	}
	return 0;
}

void copy_sources_fini(struct copy *copy)
{
	unsigned i;

	for (i = 0; copy->sources && i < copy->sources->nr; i++) {
		usp_file_put(copy->sources->list[i].file);
		usp_spec_free(copy->sources->list[i].name);
	}
	free(copy->sources);
}

/* --- Opening ------------------------------------------------------------------------------------------- */

static int sources_open_one(struct copy *copy, unsigned index, bool may_wait, const char **ret_why)
{
	const struct usp_open_params params = {
		.size = sizeof(params),
		.mode = USP_READ,
		.no_peer = !may_wait,
		.may_run = true,
		.exited = copy_command_exited,
		.exited_arg = &copy->source_command,
	};
	struct source *source = &copy->sources->list[index];
	int error;

	copy->source_spec = copy->request->sources[index];
	copy->opening = copy->source_spec;
	*ret_why = NULL;
	if (source->number == COPY_NOT_OPEN) {
		*ret_why = "this descriptor is not open";
		return -EBADF;
	}
	if (source->number >= 0)
		return copy_open_twin(source->number, &params, &source->file, ret_why);
	error = usp_open(copy->source_spec, &params, &source->file, ret_why);
	if (error == 0 && usp_ring_memory(source->file, NULL, NULL, NULL) == 0) {
		usp_file_put(source->file);
		source->file = NULL;
		*ret_why = COPY_RING_WHY;
		error = -EINVAL;
	}
	return error;
}

/* Tell whether a source is a file that this process may read, without opening it. */
static bool sources_is_readable_file(struct source *source)
{
	const char *path = copy_path(source->name);

	if (path && stat(path, &source->object) == 0 && S_ISREG(source->object.st_mode) &&
	    faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
		return true;
	source->object = (struct stat){.st_mode = 0};
	return false;
}

/* Return how many sources may stay open. */
static unsigned sources_nr_open(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= (rlim_t)SOURCES_NR_OPEN * SOURCES_SHARE)
		return SOURCES_NR_OPEN;
	return (unsigned)limit.rlim_cur / SOURCES_SHARE;
}

int copy_sources_look(struct copy *copy)
{
	unsigned nr_open = sources_nr_open();
	const char *why;
	unsigned i;
	int error;

	for (i = 0; i < copy->sources->nr; i++) {
		struct source *source = &copy->sources->list[i];

		if (i >= nr_open && sources_is_readable_file(source))
			continue;
		error = sources_open_one(copy, i, false, &why);
		if (error < 0 && error != -EINPROGRESS)
			return copy_source_failed(copy, error, why);
		if (error == 0 && fstat(usp_file_fd(source->file), &source->object) < 0)
			source->object = (struct stat){.st_mode = 0};
	}
	return CLI_DONE;
}

/* Open a file again: it must be the one that was there at first. */
static int sources_open_again(struct copy *copy, unsigned index)
{
	struct source *source = &copy->sources->list[index];
	struct stat object;
	const char *why;
	int error = sources_open_one(copy, index, true, &why);

	if (error < 0 || !S_ISREG(source->object.st_mode))
		return error;
	if (fstat(usp_file_fd(source->file), &object) == 0 && usp_copy_is_same(&object, &source->object))
		return 0;
	return -ESTALE;
}

/* Return the bytes that all sources have given up to now. */
static int64_t sources_given(const struct copy *copy)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	int64_t sum;
	unsigned way;

	if (copy->source)
		usp_file_hop(copy->source, USP_READ, &hop);
	sum = (int64_t)hop.holes;
	for (way = 0; way < USP_WAYS_MAX; way++)
		sum += (int64_t)hop.bytes[way];
	return sum;
}

/* Open a source at its turn. A signal must reach a call that waits for a peer. */
static int sources_open_late(struct copy *copy, unsigned index)
{
	bool was_interruptible;
	int error;

	if (S_ISREG(copy->sources->list[index].object.st_mode))
		return sources_open_again(copy, index);
	was_interruptible = watch_set_interruptible(&copy->watch, true);
	error = sources_open_again(copy, index);
	watch_set_interruptible(&copy->watch, was_interruptible);
	return error == -EINTR && watch_signo(&copy->watch) != 0 ? -ECANCELED : error;
}

/* Give the next source to the sequence. */
static int sources_next(void *arg, struct usp_file **ret_file)
{
	struct copy *copy = arg;
	struct copy_sources *sources = copy->sources;
	unsigned index = sources->next;
	struct source *source = &sources->list[index];
	int error = 0;

	if (index == sources->nr)
		return 0;
	sources->next++;
	source->start = sources_given(copy);
	copy->source_spec = copy->request->sources[index];
	if (!source->file)
		error = sources_open_late(copy, index);
	if (error < 0)
		return error;
	*ret_file = source->file;
	source->file = NULL;
	return 1;
}

int copy_sources_open(struct copy *copy)
{
	const struct usp_sequence_params params = {.size = sizeof(params), .next = sources_next, .arg = copy};
	int error = usp_sequence_open(&params, copy->request->source, &copy->source);

	if (error == -ECANCELED)
		error = -EINTR;
	return error < 0 ? copy_source_failed(copy, error, NULL) : CLI_DONE;
}

/* --- What they are --------------------------------------------------------------------------------------- */

const char *copy_sources_find(const struct copy *copy, const struct stat *object)
{
	unsigned i;

	if (!copy->sources)
		return usp_copy_is_same(&copy->source_object, object) ? copy->request->source : NULL;
	for (i = 0; i < copy->sources->nr; i++) {
		if (usp_copy_is_same(&copy->sources->list[i].object, object))
			return copy->request->sources[i];
	}
	return NULL;
}

int64_t copy_sources_total(const struct copy *copy)
{
	int64_t total = 0;
	unsigned i;

	for (i = 0; i < copy->sources->nr; i++) {
		const struct source *source = &copy->sources->list[i];

		if (!S_ISREG(source->object.st_mode) || source->number >= 0)
			return -1;
		total += source->object.st_size;
	}
	return total;
}

const char *copy_sources_place(const struct copy *copy, int64_t offset, long long *ret_at)
{
	unsigned i = copy->sources ? copy->sources->next : 0;

	*ret_at = (long long)offset;
	if (i == 0)
		return copy->source_spec;
	for (i--; i > 0 && copy->sources->list[i].start > offset; i--)
		;
	*ret_at = (long long)(offset - copy->sources->list[i].start);
	return copy->request->sources[i];
}

void copy_sources_json(FILE *out, const struct copy *copy)
{
	const struct copy_sources *sources = copy->sources;
	unsigned i;

	if (!sources)
		return;
	fputs(",\"sources\":[", out);
	for (i = 0; i < sources->nr; i++) {
		int64_t end = i + 1 < sources->next ? sources->list[i + 1].start : sources_given(copy);

		fputs(i > 0 ? ",{\"spec\":" : "{\"spec\":", out);
		json_put(out, copy->request->sources[i]);
		fprintf(out, ",\"bytes\":%lld}", i < sources->next ? (long long)(end - sources->list[i].start) : 0);
	}
	putc(']', out);
}
