/* SPDX-License-Identifier: MIT */
/* peer - the two ends of a route that carries the stream: each a file for the pump, and whoever feeds or drains it. */
#ifndef USP_TESTS_PEER_H
#define USP_TESTS_PEER_H

#include "net.h"
#include "stream.h"
#include "support.h"

struct peer;

struct peer_kind {
	const char *name;
	bool has_kernel_lane;
	void (*open_source)(struct peer *peer);
	void (*open_sink)(struct peer *peer);
};

enum {
	PEER_TMPFS,
	PEER_DISK,
	PEER_FIFO,
	PEER_TCP,
	PEER_UNIX,
	PEER_MEMORY,
	PEER_PIPE,
	NR_PEER_KINDS,
};
#define NR_PEER_KERNEL_KINDS PEER_MEMORY /* those with a kernel lane come first */

extern const struct peer_kind peer_kinds[NR_PEER_KINDS];

struct peer {
	struct usp_file *file; /* for the pump */
	size_t len;	       /* of the stream, from its beginning */

	/* The other side: one of these. */
	int far_fd; /* of a stream, or of the file itself, or -1 */
	struct usp_file *far_file;
	unsigned char *memory;

	pthread_t thread;
	bool has_thread;
	bool is_held; /* a sink that nobody reads yet, a source that does not end */
	size_t nr_arrived;
	unsigned char digest[EVP_MAX_MD_SIZE]; /* of what arrived */
};

/* A source that gives the first len bytes of the stream and then ends; a sink with room for as many. */
void peer_open_source(struct peer *peer, const struct peer_kind *kind, size_t len);
void peer_open_sink(struct peer *peer, const struct peer_kind *kind, size_t len);

/* A sink that nobody reads until it is let go, with little room; how much fits where that is known, else 0. */
size_t peer_open_held_sink(struct peer *peer, const struct peer_kind *kind, size_t len);
void peer_let_go(struct peer *peer);

/* A source that gives len bytes and then nothing more, but does not end. */
void peer_open_held_source(struct peer *peer, const struct peer_kind *kind, size_t len);

/* The reader of a held sink goes away; a connection ends with a reset. */
void peer_die(struct peer *peer);

/* Drop the file, and wait for the other side to end. */
void peer_close_source(struct peer *peer);

/* The same, and then say whether exactly the bytes [0, len) of the stream arrived. Of the dead nobody knows that. */
bool peer_close_sink(struct peer *peer, size_t len);

/*
 * Of a connection that is reset: the beginning of the stream arrived, at least the len bytes that were acknowledged, and at most those
 * that were sent. In between nobody knows: an acknowledgement may be on its way when the reset is sent.
 */
bool peer_close_cut_sink(struct peer *peer, size_t len, size_t sent);
void peer_close_dead_sink(struct peer *peer);

#endif
