/* SPDX-License-Identifier: MIT */
/*
 * inside - what the files of the matrix share. Read them in this order:
 *
 *   bytes     bytes that can be changed after they have gone
 *   pairs     two connected ends of each kind
 *   sources   how each kind brings bytes into a pipe
 *   sinks     how each kind takes bytes out of a pipe
 *   objects   the list of kinds
 *   route     one experiment: source, pipe, sink, the change, and what is seen
 *   judge     what a route says of one half
 *   direct    from file to file without a pipe
 *   cost      processor time and throughput of a hop
 *   ledger    what usp_probe says of an object
 *   matrix    the axes, the order of a run, and the door
 *
 *      source ──hop──▶ pipe ──hop──▶ sink ──▶ look: 'o' or 'n'?
 *        ▲               └──tee──▶ control
 *        │ change 'o' to 'n', after the hops
 */
#ifndef USP_MATRIX_INSIDE_H
#define USP_MATRIX_INSIDE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <usplice/probe.h>

#define MATRIX_OLD 'o'
#define MATRIX_NEW 'n'
#define MATRIX_NAME_MAX 128
#define MATRIX_PAGE ((size_t)4096)
#define MATRIX_LARGE ((size_t)2 << 20)
#define MATRIX_PIPE_DEFAULT ((size_t)65536) /* what fits into a pipe without asking for more */
#define MATRIX_COST_SPAN ((size_t)16 << 20) /* the bytes that a measurement walks through: more than a cache has */

/* --- The axes ------------------------------------------------------------------------------------------- */

enum matrix_rights { MATRIX_OWN, MATRIX_READ_ONLY, MATRIX_FOREIGN, MATRIX_NR_RIGHTS };
enum matrix_state { MATRIX_CLEAN, MATRIX_DIRTY, MATRIX_MAPPED, MATRIX_NR_STATES };

struct matrix_trial {
	size_t len;
	unsigned flags; /* of splice(2) */
	enum matrix_rights rights;
	enum matrix_state state;
};

/* --- bytes ------------------------------------------------------------------------------------------------- */

/* A file, or memory, full of one letter. */
struct matrix_bytes {
	int fd;	      /* -1: memory */
	char *window; /* NULL: not mapped */
	size_t len;
};

/* Fill an empty file, which this call takes also if it fails, and bring its pages into a state. 0, or -errno. */
int usp_matrix_bytes_file(int fd, size_t len, char letter, enum matrix_state state, struct matrix_bytes *ret_bytes);
int usp_matrix_bytes_memory(size_t len, struct matrix_bytes *ret_bytes);
int usp_matrix_bytes_change(const struct matrix_bytes *bytes, char letter);
void usp_matrix_bytes_close(struct matrix_bytes *bytes);

/* Tell whether the pages of the file are its only storage, as in tmpfs: they are never clean. */
bool usp_matrix_is_memory(int fd);

/* --- objects ----------------------------------------------------------------------------------------------- */

struct matrix_run;
struct matrix_object;
struct matrix_source;
struct matrix_sink;

/* The hooks of a source. feed may be NULL. Results are bytes or 0, or -errno. */
struct matrix_source_ops {
	const char *call;
	int (*open)(struct matrix_source *source);	       /* with source->capacity bytes to give */
	int (*feed)(struct matrix_source *source, size_t len); /* bring len old bytes to where the hop takes them */
	ssize_t (*hop)(struct matrix_source *source, int pipe_wr, size_t len, unsigned flags);
};

/* The hooks of a sink. flush and look may be NULL. */
struct matrix_sink_ops {
	const char *call;
	int (*open)(struct matrix_sink *sink);
	ssize_t (*hop)(struct matrix_sink *sink, int pipe_rd, size_t len, unsigned flags);
	void (*flush)(struct matrix_sink *sink); /* let out what MORE holds back */
	ssize_t (*look)(struct matrix_sink *sink, size_t at, char *ret_bytes, size_t len);
	void (*drain)(struct matrix_sink *sink); /* make room again */
};

/* A kind of object, and what can be varied with it. */
struct matrix_kind {
	const char *name; /* of a kind that stands in a directory: what comes before its path */
	const char *path;
	int (*make_pair)(const struct matrix_kind *kind, int ret_pair[2]);
	int domain, type, protocol;
	const struct matrix_source_ops *source;
	const struct matrix_sink_ops *sink;
	const char *fixed; /* why nothing can change its bytes */
	size_t max_len;
	bool in_dir;	 /* one for each directory */
	bool is_file;	 /* rights and states are varied */
	bool is_direct;	 /* opened with O_DIRECT */
	bool is_huge;	 /* of huge pages, and never filled */
	bool is_pipe;	 /* fed at once; another pair is fed through a pipe */
	bool is_written; /* fed by writes of a peer */
	bool is_asked;	 /* usp_probe has an answer of its own for it */
};

struct matrix_verdict {
	enum usp_probe_answer answer;
	int error; /* positive, or 0 */
	const char *reason;
};

struct matrix_object {
	const struct matrix_kind *kind;
	char name[MATRIX_NAME_MAX];
	const char *dir;
	enum matrix_state base_state;
	struct matrix_verdict base[2]; /* into a pipe, out of a pipe: what the run found */
};

/* Make the list of all objects for these directories. NULL without memory; free it with usp_free. */
struct matrix_object *usp_matrix_objects(const char *const *dirs, unsigned nr_dirs, unsigned *ret_nr);

/* Open an empty file of the kind without a name. */
int usp_matrix_object_file(const struct matrix_object *object);

/* --- sources and sinks ------------------------------------------------------------------------------------- */

struct matrix_run {
	struct usp_probe_matrix_params params;
	int (*take)(const struct usp_probe_cell *cell, void *arg);
	void *arg;
	bool fills_by_vmsplice; /* how pages are put into a pipe by reference on this kernel */
	struct usp_probe_matrix_result result;
	struct matrix_object *objects;
	unsigned nr_objects;
	uint64_t clock_ns; /* what reading the clock of the processor twice takes of it */
};

struct matrix_source {
	const struct matrix_run *run;
	const struct matrix_object *object;
	const struct matrix_trial *trial;
	size_t capacity, pos;
	struct matrix_bytes bytes;
	int fd;	       /* what the hop takes from: bytes.fd, or one of its own */
	int fed_fd;    /* where the bytes are fed in */
	int feeder[2]; /* a pipe on the way there */
};

struct matrix_sink {
	const struct matrix_object *object;
	const struct matrix_trial *trial;
	size_t capacity, pos;
	struct matrix_bytes bytes;
	int fd;	     /* what the hop gives to: bytes.fd, or one of its own */
	int look_fd; /* the other end of a pair */
};

/* Open a source or a sink. It is to be closed also after a failure: 0, or -errno. */
int usp_matrix_source_open(struct matrix_source *source, const struct matrix_run *run,
			   const struct matrix_object *object, const struct matrix_trial *trial, size_t capacity);
void usp_matrix_source_close(struct matrix_source *source);
int usp_matrix_sink_open(struct matrix_sink *sink, const struct matrix_object *object, const struct matrix_trial *trial,
			 size_t capacity);
void usp_matrix_sink_close(struct matrix_sink *sink);

/* The pages of the run itself, as a source that goes by reference. */
extern const struct matrix_kind usp_matrix_pages_kind;

extern const struct matrix_source_ops usp_matrix_file_source, usp_matrix_fed_source, usp_matrix_tee_source,
	usp_matrix_write_source, usp_matrix_vmsplice_source, usp_matrix_device_source, usp_matrix_piece_source;
extern const struct matrix_sink_ops usp_matrix_file_sink, usp_matrix_pair_sink, usp_matrix_drop_sink,
	usp_matrix_read_sink, usp_matrix_vmsplice_sink;

/* Splice until len bytes have gone, or a call moves none: the bytes, or -errno if the first call fails. */
ssize_t usp_matrix_splice(int in, size_t *pos_in, int out, size_t *pos_out, size_t len, unsigned flags);

/* --- pairs: what goes into ret_pair[1] comes out of ret_pair[0] ------------------------------------------- */

int usp_matrix_make_pipe(const struct matrix_kind *kind, int ret_pair[2]);
int usp_matrix_make_stream(const struct matrix_kind *kind, int ret_pair[2]);
int usp_matrix_make_udp(const struct matrix_kind *kind, int ret_pair[2]);
int usp_matrix_make_unix(const struct matrix_kind *kind, int ret_pair[2]);
int usp_matrix_make_pty(const struct matrix_kind *kind, int ret_pair[2]);

/* Make a nonblocking pipe for len bytes. */
int usp_matrix_pipe(size_t len, int ret_pipe[2]);

/* --- route -------------------------------------------------------------------------------------------------- */

struct matrix_outcome {
	ssize_t in, out;    /* bytes of the two hops, or -errno */
	char seen, control; /* what came out after the change: a letter, '?' for several, 0 for nothing */
	bool in_by_device, out_by_device;
	bool is_stale; /* the page cache of an O_DIRECT file does not tell how the hop went */
};

/*
 * Open both, send bytes through a pipe and into the sink, change them, look, and close. A sink of NULL is the pipe itself.
 * 0, or -errno.
 */
int usp_matrix_try(const struct matrix_run *run, const struct matrix_object *from, const struct matrix_trial *in_trial,
		   const struct matrix_object *to, const struct matrix_trial *out_trial,
		   struct matrix_outcome *ret_outcome);

/* --- judge, cost, direct ------------------------------------------------------------------------------------ */

struct matrix_verdict usp_matrix_judge_in(const struct matrix_run *run, const struct matrix_object *object,
					  const struct matrix_trial *trial);
struct matrix_verdict usp_matrix_judge_out(const struct matrix_run *run, const struct matrix_object *object,
					   const struct matrix_trial *trial);

/* Find out what this kernel copies and shares in any case, and how pages go by reference. */
void usp_matrix_controls(struct matrix_run *run);

/* Ask usp_probe about one side of an object. *ret_result stays as it is where no such object can be made. */
void usp_matrix_ledger(const struct matrix_object *object, unsigned side, struct usp_probe_result *ret_result);

/* An answer out of what a failed call says. hop: the call was the hop itself. */
struct matrix_verdict usp_matrix_failed(int error, bool is_hop);

struct usp_probe_cost usp_matrix_cost_in(const struct matrix_run *run, const struct matrix_object *object,
					 const struct matrix_trial *trial);
struct usp_probe_cost usp_matrix_cost_out(const struct matrix_run *run, const struct matrix_object *object,
					  const struct matrix_trial *trial);

/* Measure memcpy(3) between large buffers, and the clock. */
void usp_matrix_cost_begin(struct matrix_run *run);

/* From file to file in the same directory, by copy_file_range(2) or by shared extents. */
struct matrix_verdict usp_matrix_direct(const struct matrix_object *object, size_t len, bool is_clone);

#endif
