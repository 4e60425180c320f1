/* SPDX-License-Identifier: MIT */
/* late - bytes that come later: bufs whose confirm says -EAGAIN until then, and a source that lends such bufs. */
#ifndef USP_TESTS_LATE_H
#define USP_TESTS_LATE_H

#include "support.h"

/* A page. Its bytes are others before it has arrived. The folio comes first, so it is addressable. */
struct late {
	struct usp_folio folio;
	unsigned char bytes[PAGE], coming[PAGE];
	size_t len; /* of the page */
	size_t valid; /* what of it arrives: all, unless a test says less. confirm cuts a buf there, and then says -ENODATA */
	int error;    /* what a fill that failed leaves */
	int event_fd; /* readable when the page is there */
	_Atomic(bool) is_there;
	_Atomic(unsigned) nr_confirm;
};

extern const struct usp_buf_ops late_ops;
extern const struct usp_buf_ops mute_ops; /* it breaks its word: it may be late, and does not say what to wait for */

/* A page of the pattern from off on, or of at most PAGE bytes. The caller has the first reference, until late_put. */
struct late *late_new(uint64_t off);
struct late *late_new_of(const void *bytes, size_t len);
void late_put(struct late *late);

/* A buf over all of the page, with a reference of its own. */
struct usp_buf late_buf(struct late *late);

/* The bytes, or the error, are there. */
void late_arrive(struct late *late);

/* --- A source -------------------------------------------------------------------------------------------------- */

#define LATE_PAGES_MAX 256

/* It lends page for page, and ends behind the last one. */
struct late_source {
	struct late *pages[LATE_PAGES_MAX];
	unsigned nr, next;
	size_t at; /* in the next page */
	struct usp_file *file;
};

/* Open a source of pages of the pattern, or of any bytes. close drops the file and the pages. */
void late_source_open(struct late_source *source, unsigned nr_pages);
void late_source_open_of(struct late_source *source, const void *bytes, size_t len);
void late_source_close(struct late_source *source);

#endif
