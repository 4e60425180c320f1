/* SPDX-License-Identifier: MIT */
/* copy - what the files of `usplice copy` share: the request, and the run. */
#ifndef USP_CLI_COPY_H
#define USP_CLI_COPY_H

#include <stdatomic.h>
#include <sys/stat.h>
#include <usplice/spec.h>

#include "copy_command.h"
#include "digest_list.h"
#include "progress.h"
#include "stages.h"
#include "watch.h"

struct atomic_file;
struct copy_sources;

/* The sinks of `usplice cat`. */
struct copy_targets {
	char **names; /* lent by the command line */
	unsigned nr;
};

/* The command line, parsed. Sizes are -1 if they were not given. */
struct copy_request {
	const char *source; /* its spec; of several, a name for all of them */
	char *const *sources;
	char *const *sinks;
	unsigned nr_sources, nr_sinks;
	struct copy_targets targets; /* of --to */
	bool is_cat;
	int64_t skip, count, seek;
	uint64_t rate, slow_ns;	    /* 0: no limit; 0: wait for slow sinks */
	uint64_t linger_ns;	    /* 0: the library's default */
	uint64_t idle_ns, total_ns; /* 0: wait for ever */
	enum usp_lane_choice lane;
	enum usp_sparse sparse;
	unsigned preserve; /* ATTRIBUTE_* */
	uint64_t grace_ns; /* of --both; 0: the default */
	bool both;
	bool append, atomic, resume, sync, drop_cache, stop_at_size;
	bool framed, frame, unframe;
	const char *frame_digest; /* of what is sent, or NULL */
	bool no_clobber, overwrite;
	bool no_splice, require_zero_copy, snapshot, no_batch;
	bool continue_on_error;
	bool json, progress, quiet, verbose, help;
	const char *report;
	const char *on_read_error; /* a transform's zero or skip; NULL: stop */
	struct progress_style style;
	const char *watch; /* PID[:FD] of another process, or NULL */
	int64_t size;	   /* that a stream is said to have, for the progress */
	struct stages stages;
	struct digest_list digests;
	const char *verify_file;
	bool verify_written;
	const char *verify_blocks, *write_blocks;
	const char *buffer, *buffer_file; /* NULL without them */
};

/* Return the rows of the options of `usplice copy`, which begin at a struct copy_request. */
struct option_row;
const struct option_row *copy_option_rows(void);

/* Return a sentence about options that contradict each other, or NULL. */
const char *copy_contradiction(const struct copy_request *request);

#define COPY_ERROR_MAX 256
#define COPY_ADDRESS_MAX 128

struct copy_sink {
	const char *spec;
	struct usp_spec *name; /* spec, parsed; NULL if it does not parse */
	struct usp_file *file;
	struct stat object;		/* what it is, or all zero for other things than descriptors and paths */
	struct atomic_file *atomic;	/* with --atomic: the file beside the destination */
	int64_t was;			/* the offset of an inherited one, before it was moved */
	int64_t start;			/* position of the first byte in the sink; 0 in a stream */
	bool has_peer;			/* opening it involves another process: it is opened last */
	int number;			/* of its descriptor: copy_inherited */
	bool is_inherited;		/* opened by another process */
	bool is_new;			/* this run made the file */
	bool is_framed;			/* its bytes go in frames: copy_framed */
	bool is_cut_late;		/* cut the rest of an old file after the run, not before */
	char error[COPY_ERROR_MAX];	/* "" without an error */
	struct copy_command command;	/* of exec: */
	int code;			/* its errno value, negative; 0 without an error */
	char address[COPY_ADDRESS_MAX]; /* where it listened, the first of its addresses; "" if it did not */
};

/* One run of the command. */
struct copy {
	const struct copy_request *request;
	struct usp_spec *source_name; /* NULL if it does not parse */
	struct usp_file *source;
	struct copy_sources *sources; /* NULL where there is only one */
	const char *source_spec;      /* whose turn it is, for messages */
	struct usp_file *verifier;    /* over the source, with --verify-blocks; else NULL */
	struct usp_file *summer;      /* over these, with --write-blocks; else NULL */
	struct usp_file *stage;	      /* the upper one over these, if there are any; else NULL */
	struct usp_file *buffer;      /* of --buffer: one of these stages, lent; NULL without it */
	struct usp_file *lowest; /* the lowest of these that rewrites, lent by the one above it; NULL without one */
	bool stage_counts;	 /* a stage ends after count bytes, so the pump need not */
	struct stat source_object;
	char source_address[COPY_ADDRESS_MAX]; /* as of a sink */
	struct copy_command source_command;    /* of exec:; of several sources, the last one that exited */
	int source_error;		       /* why the source failed, a negative errno value; or 0 */
	char source_why[COPY_ERROR_MAX];       /* the same in words, without a position; "" where they are not noted */
	int source_number;		       /* of its descriptor: copy_inherited */
	int64_t source_was;		       /* the offset of an inherited source, before it was moved */
	int64_t source_start;		       /* position of the first byte in the source; 0 in a stream */
	int64_t count;			       /* most bytes to move, -1 for all */
	bool wants_count;		       /* --stop-at-size: fewer bytes than count are a failure */
	int64_t total;			       /* bytes that will come, or -1 if that is not known */
	struct copy_sink *sinks;
	struct usp_pump *pump;	/* NULL until everything is open */
	int64_t to_skip;	/* bytes of a source without positions that --skip reads and throws away */
	struct usp_hop skipped; /* what was read and not copied, as for --skip: not part of the report */
	struct usp_hop skipped_stages[STAGES_DECODERS]; /* the same of the lowest stages */
	bool is_unframed;				/* the source comes in frames */
	int64_t expected;				/* bytes that its sender expects to send, or -1 */
	int64_t resumed;				/* bytes that the sink of --resume has already */
	_Atomic(const char *) opening;			/* the spec that is being opened, or NULL */
	struct watch watch;
	struct progress progress;
	struct atomic_file *list; /* of --write-blocks, or NULL */
	int list_fd;		  /* -1 without it */
	int report_fd;		  /* -1 without --report */
	bool report_is_new;	  /* this run made the file */
	bool lacks_owner;	  /* sinks that an ordinary user could not give away */
	bool is_silent;		  /* while bytes move: a message would land among them */
	bool was_interrupted;	  /* a signal came while bytes were read back */
	double started;		  /* by progress_now */
	double seconds, cpu_seconds;
};

/*
 * Open and check all endpoints, and bring them to where the copy begins. An exit code; the error
 * has been said.
 */
int copy_open(struct copy *copy);

/*
 * Check, as steps of copy_open, whether something is named twice, or an option cannot be honoured.
 * An exit code; the error has been said.
 */
int copy_check_same(struct copy *copy);
int copy_check_options(struct copy *copy);

#define COPY_RING_WHY "a new ring, which no program fills; a program gives its own away as a descriptor, fd:N"

/*
 * Bring what is open to where the copy begins, except for what has to be read for that. The last
 * step of copy_open.
 */
int copy_seek(struct copy *copy);

/*
 * Read and drop copy->to_skip bytes of the source, after the last check that can refuse the copy.
 * run_flags are those of the run that follows (USP_PUMP_*). An exit code.
 */
int copy_skip(struct copy *copy, unsigned run_flags);

/*
 * Move bytes of a source to nowhere, by a pump of these parameters: 0 or -errno. A signal ends it with -EINTR.
 */
int copy_discard(struct copy *copy, struct usp_file *source, const struct usp_pump_params *params);

/*
 * Return the number of the inherited descriptor that name means: COPY_NO_NUMBER if it means none,
 * COPY_NOT_OPEN if there is no such descriptor. Call it before anything is opened: later a
 * descriptor of ours may have that number.
 */
#define COPY_NO_NUMBER (-1)
#define COPY_NOT_OPEN (-2)
int copy_inherited(const struct usp_spec *name, unsigned mode);

/* Return the path that name means, or NULL. name may be NULL, for a spec that does not parse. */
static inline const char *copy_path(const struct usp_spec *name)
{
	return name ? usp_spec_path(name) : NULL;
}

/* Open what a descriptor of this number leads to, and leave it open for others. */
int copy_open_twin(int number, const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why);

/*
 * Open a sink with usp_open, or the source if sink is NULL. A descriptor that the command needs
 * again stays open when the file is closed.
 */
int copy_open_spec(const struct copy *copy, const struct copy_sink *sink, const struct usp_open_params *params,
		   struct usp_file **ret_file, const char **ret_why);

/* Note where an endpoint listens, and say it if the kernel chose the port. arg is a struct copy_door. */
struct copy_door {
	const char *side, *text;
	const struct usp_spec *name; /* NULL if it does not parse */
	char *address;		     /* of COPY_ADDRESS_MAX bytes */
};
void copy_note_door(void *arg, const char *address);

/*
 * Open the file of --report, before anything is copied, so that an error shows now and not after an hour. With may_make it
 * may be made. An exit code; the error has been said.
 */
int copy_open_report(struct copy *copy, bool may_make);

/*
 * Tell whether a sink, or any sink, is standard error, too, as after 2>&1: what is said lands among the
 * data. A terminal may be both. errors is the stat of standard error.
 */
bool copy_is_spoken_into(const struct copy_sink *sink, const struct stat *errors);
bool copy_speaks_into_data(const struct copy *copy);

/* Tell whether both are the same socket. Unlike a file, a socket can be source and sink at once. */
bool copy_is_same_socket(const struct stat *a, const struct stat *b);

/*
 * Undo a copy that does not begin: remove the empty files that it made, and restore the offsets
 * that others share. copy_remove_report removes the report.
 */
void copy_undo(const struct copy *copy);
void copy_remove_report(const struct copy *copy);

/*
 * Say that an endpoint failed before the copy began, and return the exit code, which is the
 * signal's if one interrupted. why is usp_open's sentence, or NULL. copy_usage is for requests that
 * can never work.
 */
int copy_source_failed(struct copy *copy, int error, const char *why);
int copy_sink_failed(struct copy *copy, struct copy_sink *sink, int error, const char *why);
int copy_usage(const char *side, const char *spec, const char *why);

/*
 * Say what an error of the run means, at an endpoint that may be a command. A time-out is that of an option if it has been
 * reached.
 */
void copy_run_error_text(const struct copy *copy, const struct copy_command *command, int error,
			 char text[COPY_ERROR_MAX]);

/* Note in words why the source failed, for the other end of a framed stream. The first words count. */
void copy_note_source(struct copy *copy, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Note an error of a sink, a negative errno value and a sentence, for the report. */
void copy_note_sink(struct copy_sink *sink, int error, const char *why);

/* Say why the pump did not begin, and leave no trace: an exit code. */
int copy_not_begun(const struct copy *copy, int error);

/*
 * Finish a sink. One that has everything is synced, closed and put in place; one that was cut short
 * is only closed. False if this sink failed, now or before.
 */
bool copy_finish_sink(struct copy *copy, struct copy_sink *sink, unsigned index, bool is_whole);

/* Finish what can be finished after a run with this result, 0 or -errno, and say what failed: an exit code. */
int copy_judge(struct copy *copy, int result);

/* Run the whole copy: an exit code. */
int copy_main(const struct copy_request *request);

#endif
