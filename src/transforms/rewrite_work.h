/* SPDX-License-Identifier: MIT */
/*
 * rewrite_work - what makes the bytes of a rewrite: it pulls bufs of the file below, and a codec makes folios of them, as
 * a stream or in pieces that several threads work at.
 */
#ifndef USP_TRANSFORMS_REWRITE_WORK_H
#define USP_TRANSFORMS_REWRITE_WORK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <usplice/endpoint.h>
#include <usplice/transform.h>

#include "codec/codec.h"
#include "pieces/pieces.h"

#define USP_REWRITE_FOLIO ((size_t)256 << 10)

/* How the input goes from here on. */
enum rewrite_way {
	WAY_CHOOSE,  /* a frame may begin: look at its first bytes */
	WAY_PIECES,  /* in pieces, by several threads */
	WAY_LEAVING, /* as a stream: first what was taken for pieces */
	WAY_STREAM
};

/* It belongs to the caller's thread, or to the stage's own once there is one. */
struct rewrite_work {
	struct usp_file *file; /* the stage: the file below it is read */
	const struct usp_codec_side *codec;
	void *state;
	int level;
	bool has_length;
	int64_t left; /* bytes until the input ends, with has_length */
	struct usp_pipe *pulled;
	bool has_pulled_all, is_done;
	enum rewrite_way way;
	bool may_split;		   /* threads may share the work, if the format is such */
	struct usp_pieces *pieces; /* NULL until there is a format that can be split */
	bool has_units;		   /* pieces have made something */
	bool must_leave;	   /* go on as a stream when the pieces are done */
	bool has_cut_all;	   /* an encoder has its last piece */
	int below_error;	   /* of the file below, which comes again */
	size_t left_done;	   /* of what was taken for pieces: the stream has it */
	/* Where the codec works: made of it, and not passed on, are filled bytes behind begun. */
	struct usp_folio *folio;
	size_t begun, filled;
	bool is_lent; /* the folio is a window, a part of which is too little for a sink to keep all of it */
	struct usp_folio *before; /* what the codec made before this folio, and may still read; or NULL */
	uint64_t seen;		  /* bytes of the input that the codec took */
	int error;		  /* what comes behind the bytes that were made, or 0 */
	const char *why;	  /* static, or NULL */
	bool has_thread;	  /* of its own: nobody waits for what the codec has made so far */
	atomic_bool must_quit;
};

/* Begin with parameters that are valid: 0 or -ENOMEM, and usp_rewrite_work_fini is needed either way. */
int usp_rewrite_work_init(struct rewrite_work *work, const struct usp_codec_side *codec, int level,
			  const struct usp_transform_params *params, bool may_split);
void usp_rewrite_work_fini(struct rewrite_work *work);

/*
 * Make the next folio: 1 with bytes in it, 0 at the end, -EAGAIN or -errno. An error waits until the bytes are gone.
 * Blocks unless flags have USP_SPLICE_NONBLOCK.
 */
int usp_rewrite_work_make(struct rewrite_work *work, unsigned flags);

/* What was made went on. */
void usp_rewrite_work_drop(struct rewrite_work *work);

/* As poll_fd of the stage: what to wait for before there is more to work at; -EPERM if there is something. */
int usp_rewrite_work_poll_fd(struct rewrite_work *work, unsigned side, short *ret_events);

#endif
