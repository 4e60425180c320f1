/* SPDX-License-Identifier: MIT */
/* ahead - a thread that reads ahead into a buffer, for the stage that gives out what is there (transforms/buffer.c). */
#ifndef USP_SPLICE_AHEAD_H
#define USP_SPLICE_AHEAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <usplice/endpoint.h>

#include "splice/level.h"
#include "splice/pipe.h"
#include "splice/spill.h"

struct usp_ahead {
	struct usp_file *file; /* the stage itself */
	pthread_mutex_t lock;  /* of these: */
	struct usp_level level;
	struct usp_folio *open; /* or NULL */
	size_t given, filled;	/* of open: the caller has got, and the thread has filled so much */
	uint64_t spilled, most_spilled;
	int spill_error;
	bool is_over;	   /* nothing more comes into front */
	int result;	   /* what comes behind the last byte */
	unsigned nr_taken; /* times that the caller took something, or asked for the first time */
	bool must_wake;	   /* the thread waits for room */
	bool keeps;	   /* the last kernel pipe is still in the turn of pulled, because more may go into it */
	int ready_fd;	   /* eventfd for the caller; -1 until it is asked for */
	bool is_ready;	   /* as ready_fd says */
	/* Up to here. */
	struct usp_pipe *front;
	struct usp_pipe *pulled; /* of the thread, down to seen */
	int64_t *pos;		 /* where it reads what is below: the position of that, or own_pos */
	bool packs;		 /* what is below copies, or needs its memory back: read it into open */
	bool has_length;
	int64_t left;	    /* bytes until the input ends, with has_length */
	unsigned nr_kpipes; /* most bufs of front that are kernel pipes, each of pull_len; 0: none */
	struct usp_spill spill;
	bool has_ended; /* the input has */
	bool is_source; /* the last step waits for what is below */
	unsigned seen;	/* nr_taken when the last step began */
	size_t memory, folio_len, take_len, pull_len;
	int64_t own_pos; /* ahead of an offset that others share; not for the caller while there is a thread */
	int64_t offset;	 /* the one that others share, as the caller has moved it behind what it took */
	size_t wake_len; /* room that is worth to wake the thread, once all was full */
	pthread_t thread;
	bool has_thread;
	unsigned process; /* that made the stage */
	int wake_fd;	  /* eventfd for the thread */
	atomic_bool must_quit;
	_Atomic(uint64_t) progress_ns;
};

/* Take the lock; and give it back, after the caller's descriptor was told whether there is something to get. */
void usp_ahead_lock(struct usp_ahead *ahead);
void usp_ahead_unlock(struct usp_ahead *ahead);

/* Tell whether the caller can get something now, if it may. Lock held. */
bool usp_ahead_has_some(const struct usp_ahead *ahead);

/* Return the bytes that still fit into the memory. Lock held. */
size_t usp_ahead_room(const struct usp_ahead *ahead);

/* The thread: fill a buffer until all of the input is in front, or must_quit. arg is the struct usp_ahead. */
void *usp_ahead_run(void *arg);

#endif
