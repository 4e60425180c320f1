/* SPDX-License-Identifier: MIT */
/* pipe_model - what a pipe has to do, written from docs/kernel-rules.md with bytes that are copied: slow, short and plain. */
#include "pipe_model.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"

#define PAGE 4096

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

void model_open(struct model_pipe *pipe, unsigned nr_slots, size_t slot_bytes, size_t max_bytes)
{
	*pipe = (struct model_pipe){
		.nr_slots = nr_slots,
		.slot_bytes = slot_bytes,
		.max_bytes = max_bytes,
		.has_reader = true,
		.has_writer = true,
	};
}

static void model_drop_first(struct model_pipe *pipe)
{
	free(pipe->entries[0]);
	pipe->nr_entries--;
	memmove(pipe->entries, pipe->entries + 1, pipe->nr_entries * sizeof(pipe->entries[0]));
}

void model_close(struct model_pipe *pipe)
{
	while (pipe->nr_entries)
		model_drop_first(pipe);
}

size_t model_len(const struct model_pipe *pipe)
{
	size_t len = 0;

	for (unsigned i = 0; i < pipe->nr_entries; i++)
		len += pipe->entries[i]->len;
	return len;
}

bool model_is_full(const struct model_pipe *pipe)
{
	return pipe->nr_entries >= pipe->nr_slots || (pipe->max_bytes && model_len(pipe) >= pipe->max_bytes);
}

/* Bytes that may still come, by the limit in bytes. */
static size_t model_budget(const struct model_pipe *pipe)
{
	size_t len = model_len(pipe);

	if (!pipe->max_bytes)
		return SIZE_MAX;
	return len < pipe->max_bytes ? pipe->max_bytes - len : 0;
}

static void model_push(struct model_pipe *pipe, struct model_entry entry, const unsigned char *bytes)
{
	struct model_entry *slot = malloc(sizeof(*slot));

	FUZZ_CHECK(slot && pipe->nr_entries < MODEL_ENTRIES_MAX && entry.len <= MODEL_SLOT_MAX);
	*slot = entry;
	memcpy(slot->bytes, bytes, entry.len);
	pipe->entries[pipe->nr_entries++] = slot;
}

/* R10: what would not fill a slot goes behind the newest bytes, if it fits there whole. */
static size_t model_merge(struct model_pipe *pipe, const unsigned char *bytes, size_t len)
{
	struct model_entry *last = pipe->nr_entries ? pipe->entries[pipe->nr_entries - 1] : NULL;
	size_t odd = len % pipe->slot_bytes;

	if (!odd || !last || !last->can_merge || odd > model_budget(pipe) ||
	    last->start + last->len + odd > least(last->room, pipe->slot_bytes))
		return 0;
	memcpy(last->bytes + last->len, bytes, odd);
	last->len += odd;
	return odd;
}

ssize_t model_write(struct model_pipe *pipe, const unsigned char *bytes, size_t len, bool is_packet)
{
	size_t done;

	if (len == 0)
		return 0;
	if (!pipe->has_reader)
		return -EPIPE;
	done = model_merge(pipe, bytes, len);
	while (done < len && !model_is_full(pipe)) {
		size_t part = least(least(len - done, pipe->slot_bytes), model_budget(pipe));

		model_push(
			pipe,
			(struct model_entry){
				.len = part, .room = pipe->slot_bytes, .is_packet = is_packet, .can_merge = !is_packet},
			bytes + done);
		done += part;
	}
	return done ? (ssize_t)done : -EAGAIN;
}

/* Take len bytes away from the first entry, which has them. */
static void model_use(struct model_pipe *pipe, size_t len)
{
	struct model_entry *first = pipe->entries[0];

	first->start += len;
	first->len -= len;
	memmove(first->bytes, first->bytes + len, first->len);
	if (!first->len)
		model_drop_first(pipe);
}

static ssize_t model_consume(struct model_pipe *pipe, unsigned char *ret_bytes, size_t len, bool minds_packets)
{
	size_t done = 0;
	bool is_packet = false;

	if (len == 0)
		return 0;
	if (!pipe->nr_entries)
		return pipe->has_writer ? -EAGAIN : 0;
	while (done < len && pipe->nr_entries && !is_packet) {
		struct model_entry *first = pipe->entries[0];
		size_t part = least(first->len, len - done);

		is_packet = minds_packets && first->is_packet;
		memcpy(ret_bytes + done, first->bytes, part);
		model_use(pipe, is_packet ? first->len : part); /* R22: the rest of a packet is lost */
		done += part;
	}
	return (ssize_t)done;
}

ssize_t model_read(struct model_pipe *pipe, unsigned char *ret_bytes, size_t len)
{
	return model_consume(pipe, ret_bytes, len, true);
}

ssize_t model_take(struct model_pipe *pipe, unsigned char *ret_bytes, size_t len)
{
	return model_consume(pipe, ret_bytes, len, false);
}

ssize_t model_resize(struct model_pipe *pipe, size_t len)
{
	unsigned nr_slots = 1;

	while (nr_slots * pipe->slot_bytes < len)
		nr_slots *= 2;
	if (nr_slots < pipe->nr_entries)
		return -EBUSY;
	pipe->nr_slots = nr_slots;
	return (ssize_t)(nr_slots * pipe->slot_bytes);
}

ssize_t model_put(struct model_pipe *pipe, const unsigned char *bytes, size_t len, size_t page_off)
{
	size_t done = 0;

	if (!pipe->has_reader)
		return -EPIPE;
	if (model_is_full(pipe))
		return -EAGAIN;
	while (done < len && !model_is_full(pipe)) {
		size_t most = pipe->slot_bytes == PAGE ? PAGE - (page_off + done) % PAGE : pipe->slot_bytes;
		size_t part = least(least(len - done, most), model_budget(pipe));

		model_push(pipe, (struct model_entry){.len = part, .room = part}, bytes + done);
		done += part;
	}
	return (ssize_t)done;
}

/* T1-T13, in the order in which the two sides are looked at. */
static int model_transfer_check(const struct model_pipe *in, const struct model_pipe *out)
{
	if (!in->nr_entries && in->has_writer)
		return -EAGAIN;
	if (!out->has_reader)
		return -EPIPE;
	return model_is_full(out) ? -EAGAIN : 0;
}

ssize_t model_transfer(struct model_pipe *in, struct model_pipe *out, size_t len, bool is_move)
{
	size_t done = 0;
	unsigned at = 0;
	int ret;

	if (len == 0)
		return 0;
	if (in == out)
		return -EINVAL;
	ret = model_transfer_check(in, out);
	if (ret < 0)
		return ret;
	while (done < len && at < in->nr_entries && !model_is_full(out)) {
		struct model_entry copy = *in->entries[at];
		size_t whole = copy.len;

		copy.len = least(least(whole, len - done), least(out->slot_bytes, model_budget(out)));
		copy.can_merge = copy.can_merge && is_move && copy.len == whole;
		model_push(out, copy, in->entries[at]->bytes);
		done += copy.len;
		if (is_move)
			model_use(in, copy.len);
		else if (copy.len < whole)
			break; /* a tee cannot go on inside of a page */
		else
			at++;
	}
	return (ssize_t)done;
}
