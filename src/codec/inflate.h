/* SPDX-License-Identifier: MIT */
/* inflate - the members of gzip, by one of two libraries. */
#ifndef USP_CODEC_INFLATE_H
#define USP_CODEC_INFLATE_H

#include <stdbool.h>

#include "codec/codec.h"

/* How a library decodes one member, from its first byte to the end of its trailer. */
struct usp_inflate {
	bool (*is_there)(void);
	void *(*open)(void); /* NULL without memory */
	/* Work until in or out is used up: 0, USP_CODEC_DONE at the end of the member, -EBADMSG or -ENOMEM. */
	int (*run)(void *state, struct usp_codec_io *io);
	void (*reset)(void *state); /* for another member, also after an error */
	void (*free)(void *state);  /* takes NULL */
};

/* A build without a library has a table of the same name that is never there. ISA-L is the faster one. */
extern const struct usp_inflate usp_inflate_zlib, usp_inflate_isal;

/* As open of the decoder of gzip, with this library. */
void *usp_gzip_decoder_open(const struct usp_inflate *inflate);

#endif
