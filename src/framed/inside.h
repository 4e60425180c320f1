/* SPDX-License-Identifier: MIT */
/*
 * inside - what the files of this folder share. From the top: framed (the doors), sender and receiver (the hooks),
 * stream (frames into and out of the file below), format (their bytes).
 */
#ifndef USP_FRAMED_INSIDE_H
#define USP_FRAMED_INSIDE_H

#include <usplice/endpoint.h>
#include <usplice/framed.h>

#include "framed/format.h"

enum framed_stage {
	FRAMED_NEW,   /* no header yet */
	FRAMED_FLOWS, /* between frames, or in the middle of one of DATA */
	FRAMED_ENDED, /* the end mark was queued, or received */
	FRAMED_TOLD,  /* the other side was told, or has told, how it went */
};

struct framed {
	unsigned flags; /* USP_FRAMED_*: those of the sender */
	enum framed_stage stage;
	const struct usp_hash_ops *digest; /* NULL: none */
	void *state;			   /* of the digest of all bytes */
	void *seen;		  /* of those that usp_framed_see takes, with RESUME; NULL once they are told */
	uint64_t expected, total; /* bytes */
	uint64_t have;		  /* of the receiver, as it has told */
	unsigned char have_digest[USP_HASH_LEN_MAX];
	uint32_t left;		    /* bytes that the frame of DATA still needs */
	uint32_t type, control_len; /* of the frame that comes in; control_len 0: its head is awaited */
	struct usp_pipe *pipe;	    /* of a sender: where these bytes are; they were hashed */
	struct framed_bytes out, in;
	uint64_t timeout_ns;
	bool was_told;	 /* what the receiver has */
	bool is_asking;	 /* between usp_framed_ask and _agree */
	bool is_shut;	 /* below was shut down */
	bool is_early;	 /* the receiver had begun its answer before the end mark was sent */
	bool has_failed; /* told the receiver so */
	int error;	 /* that ended it, or 0 */
	char why[USP_FRAMED_WHY_MAX];
};

/* --- stream -------------------------------------------------------------------------------------------------- */

/* Note why the stream has failed, in a sentence, and return error. The first one counts. */
int framed_failed(struct framed *framed, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Write what waits: 0 when all is written, -EAGAIN, or -errno. */
int framed_flush(struct usp_file *file, unsigned flags);

/* Gather len bytes: 0, -EAGAIN, -ENODATA at the end of the stream below, or -errno. The caller sets in.len to 0 behind it. */
int framed_gather(struct usp_file *file, size_t len);

/*
 * Receive the head of a frame, and all of it unless it is DATA: 0, or as framed_gather; -EBADMSG for one that is
 * damaged. type is set, and for DATA left; else the contents, of control_len - FRAMED_CRC_LEN bytes, are in.
 */
int framed_next(struct usp_file *file);

/* Be done with the contents of such a frame. */
void framed_drop(struct framed *framed);

/* Wait until a side of the file below may be ready: 0, -ETIMEDOUT or -EINTR. */
int framed_await(struct usp_file *file, unsigned side, uint64_t moment_ns);

/* Take the sentence of a frame of FAIL, behind a prefix, and be done with it: -EREMOTEIO. */
int framed_told(struct framed *framed, const char *prefix);

/*
 * Let the side of the file below carry the bytes, by splice(2) where no digest has to see them. A file with positions
 * is left alone: the kernel would copy it as a whole, frames included.
 */
void framed_lend_side(struct usp_file *file);

/* Close the file below, keep its account for those that still hold this one, and free what belongs to it. */
int framed_release(struct usp_file *file);

void framed_free(struct framed *framed);

void framed_hash(struct framed *framed, const void *bytes, size_t len);

/* --- sender and receiver --------------------------------------------------------------------------------------- */

extern const struct usp_file_ops usp_framed_sender_ops, usp_framed_receiver_ops;

/* Queue the header: once. */
void framed_sender_begin(struct framed *framed);

/* Queue that the sender gives up, where a frame may begin. */
void framed_sender_give_up(struct usp_file *file, const char *why);

/* Receive the header: 0, -EAGAIN or -errno. */
int framed_receiver_begin(struct usp_file *file);

#endif
