/* SPDX-License-Identifier: MIT */
/*
 * split - formats whose input can be cut into pieces that need no other piece, so that threads work at them at a time.
 *
 * A *unit* is the least that can be cut off: a frame of zstd, a member of BGZF, a block of lz4, 128 KiB for an encoder.
 * A *piece* is a run of whole units.
 */
#ifndef USP_CODEC_SPLIT_H
#define USP_CODEC_SPLIT_H

#include <stdint.h>

#include "codec/codec.h"

#define USP_SPLIT_HEAD_MAX 16
#define USP_SPLIT_ROOM_MAX ((size_t)16 << 20) /* a unit that needs more bytes, or may make more, is no unit */

/* What the units of one frame share. */
struct usp_split_frame {
	unsigned char head[USP_SPLIT_HEAD_MAX];
	size_t head_len; /* 0 between two frames */
};

/* Where a scanner is in a unit. All zeros at its first byte, but for the frame. */
struct usp_scan {
	size_t need; /* bytes of the unit that the next look wants; at last its length */
	size_t room; /* most bytes that the unit makes */
	bool is_end; /* a piece ends behind this unit */
	struct usp_split_frame frame;
	size_t at, size; /* for the scanner itself: the next header in the unit, and what the unit says to make */
	bool has_size, is_last;
};

enum usp_scan_result {
	USP_SCAN_MORE,	/* need has grown */
	USP_SCAN_UNIT,	/* need bytes are a unit, and frame is what follows */
	USP_SCAN_NONE,	/* the unit cannot be cut off */
	USP_SCAN_NEVER, /* nor can what follows */
};

/* A piece for a worker. */
struct usp_piece {
	const unsigned char *in; /* there are before bytes in front of it */
	size_t in_len, before;
	unsigned char *out;
	size_t room, out_len;
	struct usp_split_frame frame; /* at the first byte */
	bool is_first, is_last;	      /* of an encoder */

	/* What run tells join. */
	uint32_t crc;
	bool has_ended, has_begun; /* a frame from before ends here, and one begins that goes on behind */
	size_t end_at, end_out;	   /* where, in the input and the output */
	size_t begin_at, begin_out;
};

struct usp_split {
	/*
	 * Tell whether the frame that begins with these bytes is likely to be cut off. What was held for a frame that turns out to
	 * be too long was held in vain. The decoder of the stream knows the frames before. NULL: it is.
	 */
	bool (*is_likely)(const void *decoder, const unsigned char *frame, size_t len);

	/* Look at the first len bytes of a unit, which are need or more but at the beginning. */
	enum usp_scan_result (*scan)(struct usp_scan *scan, const unsigned char *unit, size_t len);

	/* The state of one worker, and its work: 0 or -errno. A piece of a decoder that fails is decoded as a stream. */
	void *(*open)(int level);
	int (*run)(void *worker, struct usp_piece *piece);
	void (*free)(void *worker); /* takes NULL */

	/*
	 * All pieces in their order, by one thread: check or complete what was made: 0 or -errno, with ret_why as of a
	 * codec. All are NULL if there is nothing to do.
	 */
	void *(*join_open)(void);
	int (*join)(void *joint, struct usp_piece *piece, const char **ret_why);
	void (*join_free)(void *joint);

	size_t before; /* most bytes in front of a piece that a worker needs */
	bool is_encoder;
	bool is_late; /* a decoder of the stream makes nothing of a part of a unit either */
};

/* The tables that are not in the file of their codec. Their scan is NULL in a build without the libraries. */
extern const struct usp_split usp_split_lz4, usp_split_lz4_encode, usp_split_gzip;

#endif
