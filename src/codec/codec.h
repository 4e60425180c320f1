/* SPDX-License-Identifier: MIT */
/* codec - the formats of compression: one table for each, in a file of its own. */
#ifndef USP_CODEC_CODEC_H
#define USP_CODEC_CODEC_H

#include <stdbool.h>
#include <stddef.h>

/* What one call may take and give. The call moves in and out on, and shortens both lengths. */
struct usp_codec_io {
	const unsigned char *in;
	size_t in_len;
	unsigned char *out;
	size_t out_len;
	bool is_end;	   /* nothing follows in */
	bool stops_behind; /* a decoder returns USP_CODEC_BETWEEN behind each frame */
	bool keeps_window; /* the caller does what window of the decoder asks for */
};

#define USP_CODEC_DONE 1    /* the input has ended, and everything was given */
#define USP_CODEC_BETWEEN 2 /* a frame has ended, and everything was given */
#define USP_CODEC_MAGIC_MAX 8
#define USP_CODEC_WINDOW_MAX ((size_t)4 << 20) /* of a decoder that has its window in the memory of the caller */
#define USP_CODEC_ROOM (((size_t)128 << 10) + 64)

struct usp_split;
struct usp_split_frame; /* both in split.h */

/*
 * One direction of a codec. run works until in or out is used up: 0, USP_CODEC_DONE, or -errno and a static sentence
 * in *ret_why. -EBADMSG: the input is damaged or cut off. Does not block, except on threads of the library.
 */
struct usp_codec_side {
	void *(*open)(int level); /* NULL without memory; a decoder ignores level */
	int (*run)(void *state, struct usp_codec_io *io, const char **ret_why);
	void (*free)(void *state);     /* takes NULL */
	const struct usp_split *split; /* how threads can share the work; NULL, or one without scan: not at all */
	/* Tell a decoder that whole units of split came before, and in which frame it is. NULL: it need not know. */
	void (*resume)(void *state, const struct usp_split_frame *frame);
	/*
	 * Return how many bytes of its output a decoder reads again in the frame that it is in: its window, which then is the
	 * memory of the caller. The next out has to be right behind what was given, or at the beginning of other memory of
	 * this length and USP_CODEC_ROOM at least. What was given in there and in the memory before it stays as it is. With
	 * less out than USP_CODEC_ROOM a call makes nothing. 0: any out will do. Only with keeps_window in each call. NULL: 0.
	 */
	size_t (*window)(const void *state);
};

struct usp_codec {
	const char *name;
	unsigned char magic[USP_CODEC_MAGIC_MAX];
	size_t magic_len;
	unsigned char old_magic[USP_CODEC_MAGIC_MAX]; /* another one that the decoder knows, with old_magic_len */
	size_t old_magic_len;			      /* 0: none */
	int least, most, usual;			      /* levels */
	const char *decoded, *encoded;		      /* for the account */
	const char *(*missing)(void);		      /* why the library cannot be used, or NULL */
	struct usp_codec_side decoder, encoder;
};

/* A build without a library has a table of the same name whose missing says so. */
extern const struct usp_codec usp_codec_zstd, usp_codec_gzip, usp_codec_lz4, usp_codec_xz;

/* A decoder that finds the format by the first bytes, and the reason for the account once it has, else NULL. */
extern const struct usp_codec_side usp_codec_any_decoder;
const char *usp_codec_any_found(const void *state);

/*
 * Tell how threads can share the work at what comes next, which begins with these bytes of the input. NULL: not at all,
 * or there are too few bytes to know the format.
 */
const struct usp_split *usp_codec_any_split(void *state, const unsigned char *in, size_t len);

/* Return the codec of this index, or NULL: there are no more. */
const struct usp_codec *usp_codec_at(unsigned index);

#endif
