/* SPDX-License-Identifier: MIT */
/* subject - the endpoint under test: one row of the conformance table for each way to open one. */
#ifndef USP_TESTS_SUBJECT_H
#define USP_TESTS_SUBJECT_H

#include "net.h"
#include "support.h"

/* What an endpoint is, as far as the cases must know. */
#define ROW_SEEKABLE 0x1u /* has positions */
#define ROW_STREAM 0x2u	  /* somebody at the other end: it can be empty, full or dead */
#define ROW_DATAGRAM 0x4u /* bytes come in datagrams */
#define ROW_KERNEL 0x8u	  /* can go on the kernel lane */
#define ROW_ENDLESS 0x10u /* a source that never ends */
#define ROW_SPLICED 0x20u /* has neither read nor write: it is only for splices */
#define ROW_DROPS 0x40u	  /* a sink that keeps nothing */
#define ROW_APPENDS 0x80u /* a sink that splice refuses */
#define ROW_HANGUP 0x100u /* the end of its input is a hang-up, which may take bytes with it */
#define ROW_EMPTY 0x200u  /* a source without bytes */
#define ROW_PIPE 0x400u	  /* an end of a pipe of ours: splice moves references and calls no hook */
#define ROW_WHOLE 0x800u  /* a source that gives whole lines, and never a part of one */
#define ROW_AHEAD 0x1000u /* a source with a thread that reads: what was fed comes soon, and not at once */

struct subject;

struct row {
	const char *name;
	const char *endpoint; /* which one: usp_<endpoint>_endpoint, or NULL */
	unsigned traits;
	/* Open subject->file. A source of no stream has len pattern bytes. NULL: there is none. */
	void (*open_source)(struct subject *subject, size_t len);
	void (*open_sink)(struct subject *subject);
	/* The bytes [off, off + len) that a source gives. NULL: the pattern. */
	void (*fill)(unsigned char *bytes, uint64_t off, size_t len);
};

extern const struct row rows[];
extern const unsigned nr_rows;

struct subject {
	const struct row *row;
	struct usp_file *file;
	int far_fd;		   /* the other end of a stream, or the stored bytes; or -1 */
	struct usp_file *far_file; /* the same, of a pipe of ours */
	unsigned char *memory;
	unsigned nr_done; /* calls of the callback of memory */
	bool is_kept;	  /* examples.h has what it was given */
	char path[64];
};

/* A directory for the paths of the rows, and its end. */
int subject_open_folder(void **state);
int subject_close_folder(void **state);

/* Open the row as a source that gives the pattern bytes [0, len) and then ends; a stream where ends is unset does not. */
void subject_open_source(struct subject *subject, const struct row *row, size_t len, bool ends);
void subject_open_sink(struct subject *subject, const struct row *row);
void subject_close(struct subject *subject);

/* Streams: give the source the pattern bytes [off, off + len), and then end it. */
void subject_feed(struct subject *subject, uint64_t off, size_t len);
void subject_end(struct subject *subject);

/* Take exactly the pattern bytes [off, off + len) that a sink got, and fail the test if they are not there. */
void subject_take(struct subject *subject, uint64_t off, size_t len);

/* Nothing more came, and nothing ever will: the other end sees the end. */
void subject_take_end(struct subject *subject);

#endif
