/* SPDX-License-Identifier: MIT */
/* pipe_model - what a pipe has to do, written from docs/kernel-rules.md with bytes that are copied: slow, short and plain. */
#ifndef USP_FUZZ_PIPE_MODEL_H
#define USP_FUZZ_PIPE_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MODEL_SLOT_MAX 8192
#define MODEL_ENTRIES_MAX 64

/* One slot. The memory behind it has room for room bytes, of which start were already used up and len are to be read. */
struct model_entry {
	size_t start, len, room;
	bool is_packet, can_merge;
	unsigned char bytes[MODEL_SLOT_MAX]; /* from start on */
};

struct model_pipe {
	struct model_entry *entries[MODEL_ENTRIES_MAX];
	unsigned nr_entries, nr_slots;
	size_t slot_bytes, max_bytes; /* max_bytes 0: no limit */
	bool has_reader, has_writer;
};

void model_open(struct model_pipe *pipe, unsigned nr_slots, size_t slot_bytes, size_t max_bytes);
void model_close(struct model_pipe *pipe);

size_t model_len(const struct model_pipe *pipe);
bool model_is_full(const struct model_pipe *pipe);

/* As the nonblocking calls: bytes, 0 or -errno. */
ssize_t model_write(struct model_pipe *pipe, const unsigned char *bytes, size_t len, bool is_packet);
ssize_t model_read(struct model_pipe *pipe, unsigned char *ret_bytes, size_t len);
ssize_t model_resize(struct model_pipe *pipe, size_t len);

/* vmsplice and a source of references: bytes begin page_off bytes behind the start of a page. */
ssize_t model_put(struct model_pipe *pipe, const unsigned char *bytes, size_t len, size_t page_off);

/* A sink, or vmsplice at the read end: as read, but packets mean nothing. */
ssize_t model_take(struct model_pipe *pipe, unsigned char *ret_bytes, size_t len);

/* splice (is_move) or tee between two pipes. */
ssize_t model_transfer(struct model_pipe *in, struct model_pipe *out, size_t len, bool is_move);

#endif
