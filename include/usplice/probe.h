/* SPDX-License-Identifier: MIT */
/*
 * probe.h - find out how the kernel carries bytes: by reference, or as a copy. The account of a pump rests on
 * usp_probe. usp_probe_matrix asks for much more, of one object of each kind. See usp_probe(3).
 */
#ifndef USPLICE_PROBE_H
#define USPLICE_PROBE_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_probe_result {
	size_t size;	    /* sizeof(struct usp_probe_result) */
	enum usp_way way;   /* USP_UNKNOWN where no experiment decides */
	const char *reason; /* one sentence, static: what was found, or why it cannot be known */
};

/*
 * Find out how splice(2) carries the bytes of one hop: out of a file into a kernel pipe (USP_READ), or out
 * of a kernel pipe into the file (USP_WRITE). The answer is about this file: its mount, its protocol, the
 * device that it sends through. The experiments use objects of their own, of the same kind. A page of a file
 * that is read is also dropped from the page cache, and read again; no byte and no offset changes.
 *
 * Takes some milliseconds the first time, and remembers what holds for a whole mount or protocol. Safe from
 * several threads. -EINVAL for a side that is none. *ret_result has its size set.
 */
USP_EXPORT int usp_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);

/* --- The matrix --------------------------------------------------------------------------------------------- */

/* What was found for one cell. */
enum usp_probe_answer {
	USP_PROBE_BY_REFERENCE,
	USP_PROBE_COPIED,
	USP_PROBE_BY_DEVICE, /* O_DIRECT: the device reads or writes the pages, and the processor copies nothing */
	USP_PROBE_REFUSED,
	USP_PROBE_UNDECIDABLE,
	USP_NR_PROBE_ANSWERS,
};

/* Which hop a cell is about. */
enum usp_probe_half {
	USP_PROBE_INTO_PIPE,
	USP_PROBE_OUT_OF_PIPE,
	USP_PROBE_DIRECT,   /* from file to file, without a pipe */
	USP_PROBE_COMPOSED, /* source, pipe, sink: run as a whole, to check that the halves compose */
};

/* What a hop took, without what filled and drained its ends. All are 0 where nothing was measured. */
struct usp_probe_cost {
	uint64_t bytes;
	uint64_t wall_ns;
	uint64_t cpu_ns; /* of the calling thread */
};

/* One cell. The texts are valid while it is handed over; reason, call, flag, rights and state are static. */
struct usp_probe_cell {
	size_t size; /* sizeof(struct usp_probe_cell) */
	enum usp_probe_half half;
	const char *object; /* such as "file in /tmp" */
	const char *peer;   /* the sink of a direct or composed cell; else NULL */
	const char *call;   /* such as "splice"; of a composed cell, that of its source */
	const char *flag;   /* "none", "MOVE", "GIFT" or "MORE" */
	const char *rights; /* "own", "read-only" or "foreign"; NULL where they have no meaning */
	const char *state;  /* "clean", "dirty" or "mapped"; NULL where it has no meaning */
	size_t len;	    /* bytes of the hop; 0: of any number */
	enum usp_probe_answer answer;
	enum usp_probe_answer expected; /* of a composed cell: what the halves say; else the answer */
	int error;			/* positive errno of the call that failed, or 0 */
	const char *reason;		/* one sentence */
	bool is_base;			/* no axis varied: one for each half, object and peer */
	struct usp_probe_cost cost;	/* of base cells */
	struct usp_probe_result
		ledger; /* of base cells: what usp_probe says of the object; size 0 where it was not asked */
};

struct usp_probe_matrix_params {
	size_t size;		 /* sizeof(struct usp_probe_matrix_params) */
	const char *const *dirs; /* make files without names here */
	unsigned nr_dirs;
	struct usp_file *const *files; /* ask usp_probe about these, too: one row each, named by their spec */
	unsigned nr_files;
	bool no_cost; /* measure nothing, which is faster */
};

struct usp_probe_matrix_result {
	size_t size;		      /* sizeof(struct usp_probe_matrix_result) */
	bool copies, aliases;	      /* the controls: a write must copy, and a page of ours must go by reference */
	struct usp_probe_cost memory; /* of memcpy(3) between large buffers; 0 with no_cost */
};

/*
 * Ask how the kernel carries the bytes of one object of each kind: into a pipe, out of a pipe, and from file to
 * file. First comes the base cell of each, then one axis varies at a time: flag, rights, state, length. Files also
 * get every pair of rights and state. Then routes from source to sink are run as a whole.
 *
 * take gets each cell. A result of it that is not 0 ends the run and is returned. All objects are made for the run,
 * have no names, and are gone afterwards. If a control fails, no cell is decided but refusals. With params NULL, there are no
 * directories. The parameters are only read.
 *
 * Blocks for up to some seconds, and for less than a second with no_cost; disks count extra. Files of another owner
 * need root: the calling thread then changes its file user for a moment. Safe from several threads. 0, -EINVAL or
 * -E2BIG for wrong sizes, or -ENOMEM.
 */
USP_EXPORT int usp_probe_matrix(const struct usp_probe_matrix_params *params,
				int (*take)(const struct usp_probe_cell *cell, void *arg), void *arg,
				struct usp_probe_matrix_result *ret_result);

#ifdef __cplusplus
}
#endif
#endif
