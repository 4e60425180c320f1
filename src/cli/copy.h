/* SPDX-License-Identifier: MIT */
/* copy - what the files that make up `usplice copy` share: what was asked for, and the run. */
#ifndef USP_CLI_COPY_H
#define USP_CLI_COPY_H

#include <sys/stat.h>
#include <usplice/spec.h>

#include "progress.h"
#include "watch.h"

struct atomic_file;

/* The command line, as it was parsed. Sizes are -1 where they were not given. */
struct copy_request {
	const char *source;
	char *const *sinks;
	unsigned nr_sinks;
	int64_t skip, count, seek;
	uint64_t rate, slow_ns; /* 0: no limit; 0: wait for slow sinks */
	uint64_t linger_ns;	/* 0: the library's default */
	enum usp_lane_choice lane;
	bool append, atomic, resume, sync;
	bool no_splice, require_zero_copy, snapshot, no_batch;
	bool continue_on_error;
	bool json, progress, quiet, verbose, help;
	const char *report;
};

#define COPY_ERROR_MAX 256

struct copy_sink {
	const char *spec;
	struct usp_spec *name; /* the same, parsed; NULL if it does not parse */
	struct usp_file *file;
	struct stat object;	    /* what it is, or all zero for what is neither a descriptor nor a path */
	struct atomic_file *atomic; /* with --atomic: the file beside the destination */
	int64_t was;		    /* the offset of one that was inherited, before it was moved */
	int64_t start;		    /* where in the sink the first byte goes; 0 in a stream */
	bool has_peer;		    /* it waits for another process, or that would notice: opened last */
	int number;		    /* of its descriptor: copy_inherited */
	bool is_inherited;	    /* opened by another process */
	bool is_new;		    /* this run made the file */
	bool is_cut_late;	    /* what an old file has behind the new bytes goes after the run, not before */
	char error[COPY_ERROR_MAX]; /* "" while all is well */
};

/* One run of the command. */
struct copy {
	const struct copy_request *request;
	struct usp_spec *source_name; /* NULL if it does not parse */
	struct usp_file *source;
	struct stat source_object;
	int source_number;    /* of its descriptor: copy_inherited */
	int64_t source_was;   /* the offset of a source that was inherited, before it was moved */
	int64_t source_start; /* where in the source the first byte comes from; 0 in a stream */
	int64_t count;	      /* bytes to move at most, -1 for all */
	int64_t total;	      /* bytes that will come, as far as that is known, or -1 */
	struct copy_sink *sinks;
	struct usp_pump *pump;	       /* NULL until everything is open */
	int64_t to_skip;	       /* bytes of a source without positions that --skip reads and throws away */
	struct usp_hop skipped;	       /* what --skip read and threw away is no part of the report */
	_Atomic(const char *) opening; /* the spec that is being opened, or NULL */
	struct watch watch;
	struct progress progress;
	int report_fd;	    /* -1 without --report */
	bool report_is_new; /* this run made the file */
	bool is_silent;	    /* while bytes move: what is said would land among them */
	double seconds, cpu_seconds;
};

/* Open and check all endpoints, and bring them to where the copy begins. An exit code; the error has been told. */
int copy_open(struct copy *copy);

/* Its steps: is something there twice, or asked for in vain? An exit code, and what is wrong has been told. */
int copy_check_same(struct copy *copy);
int copy_check_options(struct copy *copy);

/* Its last step: bring what is open to where the copy begins, except for what has to be read for that. */
int copy_place(struct copy *copy);

/* Read and drop copy->to_skip bytes of the source, when nothing can be refused any more. An exit code. */
int copy_skip(struct copy *copy);

/*
 * The number of the descriptor that was there at the start and that name means: COPY_NO_NUMBER if it means none, COPY_NOT_OPEN
 * if there is no such descriptor. Asked before anything is opened: later a descriptor of ours may have that number.
 */
#define COPY_NO_NUMBER (-1)
#define COPY_NOT_OPEN (-2)
int copy_inherited(const struct usp_spec *name, unsigned mode);

/* The path that name means, or NULL. NULL is allowed: a spec that does not parse. */
static inline const char *copy_path(const struct usp_spec *name)
{
	return name ? usp_spec_path(name) : NULL;
}

/* usp_open of a sink, or of the source if that is NULL. A descriptor that the command needs once more stays open when the file goes. */
int copy_open_spec(const struct copy *copy, const struct copy_sink *sink, const struct usp_open_params *params,
		   struct usp_file **ret_file, const char **ret_why);

/* Are they the same file, FIFO or block device? */
bool copy_is_same(const struct stat *a, const struct stat *b);

/* Are they the same socket? Unlike a file it can be source and destination at once. */
bool copy_is_same_socket(const struct stat *a, const struct stat *b);

/*
 * Leave no trace of a copy that does not begin: remove the files that it made and did not write into, and bring the offsets
 * that others share back to where they were. The report is removed by itself.
 */
void copy_undo(const struct copy *copy);
void copy_remove_report(const struct copy *copy);

/*
 * An endpoint failed before the copy began: say so and give the exit code, which is the signal's if one interrupted. why is
 * usp_open's sentence, or NULL. copy_usage is for what can never work as it was asked for.
 */
int copy_source_failed(struct copy *copy, int error, const char *why);
int copy_sink_failed(struct copy *copy, struct copy_sink *sink, int error, const char *why);
int copy_usage(const char *side, const char *spec, const char *why);

/* Do all that was asked for: an exit code. */
int copy_main(const struct copy_request *request);

#endif
