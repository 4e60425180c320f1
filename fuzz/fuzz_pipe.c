/* SPDX-License-Identifier: MIT */
/*
 * fuzz_pipe - sequences of operations on three pipes, decoded from bytes. Each operation is done to the library and to the
 * model; results, contents, sizes and readiness must agree after every one, and at the end nothing may be left.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <usplice.h>

#include "fuzz.h"
#include "mm/folio.h"
#include "pipe_model.h"

#define NR_PIPES 3
#define LEN_MAX 20000
#define ARENA_LEN 32768 /* memory that is given by reference, and must never change */
#define SLOTS_MAX 32
#define OPS_MAX 256

static unsigned char arena[ARENA_LEN] __attribute__((aligned(4096))), arena_before[ARENA_LEN];

struct input {
	const uint8_t *data;
	size_t len;
};

/* A pipe of the library, the model of it, and what the test knows about its ends. */
struct pair {
	struct usp_file *end[2];
	struct model_pipe model;
	bool is_packet;
};

struct fuzz {
	struct input input;
	struct pair pairs[NR_PIPES];
	struct usp_file *source, *sink; /* memory: the arena, and somewhere to write to */
	unsigned counter;		/* every byte that is written differs from those around it */
	unsigned char ours[LEN_MAX], theirs[LEN_MAX], sunk[LEN_MAX];
};

static unsigned input_u8(struct input *input)
{
	if (!input->len)
		return 0;
	input->len--;
	return *input->data++;
}

/* Any length, and whole pages more often than by chance. */
static size_t input_len(struct input *input)
{
	size_t value = input_u8(input) << 8;

	value |= input_u8(input);
	return value & 0x8000 ? value % 5 * 4096 : value % LEN_MAX;
}

/* --- Before and after --------------------------------------------------------------------------------- */

static void fuzz_open_pair(struct fuzz *fuzz, struct pair *pair)
{
	unsigned shape = input_u8(&fuzz->input);
	struct usp_pipe_params params = {
		.size = sizeof(params),
		.nr_slots = 1u << shape % 5,
		.slot_bytes = shape & 0x20 ? 8192 : 4096,
		.max_bytes = shape & 0x40 ? 10000 : 0,
		.flags = USP_NONBLOCK,
	};

	pair->is_packet = false;
	FUZZ_CHECK(usp_pipe_open(&params, pair->end) == 0);
	model_open(&pair->model, (unsigned)params.nr_slots, params.slot_bytes, params.max_bytes);
}

static void fuzz_begin(struct fuzz *fuzz, const uint8_t *data, size_t len)
{
	fuzz->input = (struct input){.data = data, .len = len};
	fuzz->counter = 0;
	if (!arena_before[1]) {
		for (size_t i = 0; i < ARENA_LEN; i++)
			arena[i] = arena_before[i] = (unsigned char)(i * 7 + (i >> 8) * 31);
	}
	for (unsigned i = 0; i < NR_PIPES; i++)
		fuzz_open_pair(fuzz, &fuzz->pairs[i]);
	FUZZ_CHECK(usp_open_memory(arena, ARENA_LEN, USP_READ, NULL, NULL, &fuzz->source) == 0);
	FUZZ_CHECK(usp_open_memory(fuzz->sunk, LEN_MAX, USP_WRITE, NULL, NULL, &fuzz->sink) == 0);
}

static void fuzz_end(struct fuzz *fuzz, size_t nr_folios_before)
{
	size_t nr_folios, bytes;

	for (unsigned i = 0; i < NR_PIPES; i++) {
		usp_file_put(fuzz->pairs[i].end[0]);
		usp_file_put(fuzz->pairs[i].end[1]);
		model_close(&fuzz->pairs[i].model);
	}
	usp_file_put(fuzz->source);
	usp_file_put(fuzz->sink);
	usp_folio_usage(&nr_folios, &bytes);
	FUZZ_CHECK(nr_folios == nr_folios_before && bytes == 0);
	FUZZ_CHECK(memcmp(arena, arena_before, ARENA_LEN) == 0);
}

/* --- One operation --------------------------------------------------------------------------------------- */

static void fuzz_write(struct fuzz *fuzz, struct pair *pair)
{
	size_t len = input_len(&fuzz->input);

	if (!pair->end[1])
		return;
	for (size_t i = 0; i < len; i++, fuzz->counter++)
		fuzz->ours[i] = (unsigned char)(fuzz->counter * 13 + (fuzz->counter >> 8) * 5);
	FUZZ_CHECK(usp_write(pair->end[1], fuzz->ours, len) ==
		   model_write(&pair->model, fuzz->ours, len, pair->is_packet));
}

static void fuzz_compare(const struct fuzz *fuzz, ssize_t ours, ssize_t theirs)
{
	FUZZ_CHECK(ours == theirs);
	FUZZ_CHECK(ours <= 0 || memcmp(fuzz->ours, fuzz->theirs, (size_t)ours) == 0);
}

static void fuzz_read(struct fuzz *fuzz, struct pair *pair)
{
	size_t len = input_len(&fuzz->input);

	if (pair->end[0])
		fuzz_compare(fuzz, usp_read(pair->end[0], fuzz->ours, len),
			     model_read(&pair->model, fuzz->theirs, len));
}

static void fuzz_vmsplice_out(struct fuzz *fuzz, struct pair *pair)
{
	const struct iovec iov = {.iov_base = fuzz->ours, .iov_len = input_len(&fuzz->input)};

	if (pair->end[0])
		fuzz_compare(fuzz, usp_vmsplice(pair->end[0], &iov, 1, USP_SPLICE_NONBLOCK),
			     model_take(&pair->model, fuzz->theirs, iov.iov_len));
}

static void fuzz_sink(struct fuzz *fuzz, struct pair *pair)
{
	size_t len = input_len(&fuzz->input);
	int64_t off = 0;
	ssize_t ret;

	if (!pair->end[0])
		return;
	ret = usp_splice(pair->end[0], NULL, fuzz->sink, &off, len, USP_SPLICE_NONBLOCK);
	memcpy(fuzz->ours, fuzz->sunk, LEN_MAX);
	fuzz_compare(fuzz, ret, model_take(&pair->model, fuzz->theirs, len));
	FUZZ_CHECK(off == (ret > 0 ? ret : 0));
}

static void fuzz_vmsplice_in(struct fuzz *fuzz, struct pair *pair, unsigned flags)
{
	size_t off = input_u8(&fuzz->input) * 64, len = input_len(&fuzz->input) % (ARENA_LEN - off);
	const struct iovec iov = {.iov_base = arena + off, .iov_len = len};

	if (!pair->end[1])
		return;
	FUZZ_CHECK(usp_vmsplice(pair->end[1], &iov, 1, flags | USP_SPLICE_NONBLOCK) ==
		   (len ? model_put(&pair->model, arena + off, len, off) : 0));
}

static void fuzz_source(struct fuzz *fuzz, struct pair *pair)
{
	int64_t off = input_u8(&fuzz->input) * 160, start = off;
	size_t len = input_len(&fuzz->input), left = (size_t)(off < ARENA_LEN ? ARENA_LEN - off : 0);
	ssize_t ret;

	if (!pair->end[1] || !len)
		return;
	ret = usp_splice(fuzz->source, &off, pair->end[1], NULL, len, 0);
	FUZZ_CHECK(ret == model_put(&pair->model, arena + (left ? start : 0), len < left ? len : left, 0));
	FUZZ_CHECK(off == start + (ret > 0 ? ret : 0));
}

static void fuzz_transfer(struct fuzz *fuzz, struct pair *pair, bool is_move)
{
	struct pair *to = &fuzz->pairs[input_u8(&fuzz->input) % NR_PIPES];
	size_t len = input_len(&fuzz->input);
	ssize_t ret;

	if (!pair->end[0] || !to->end[1])
		return;
	ret = is_move ? usp_splice(pair->end[0], NULL, to->end[1], NULL, len, 0)
		      : usp_tee(pair->end[0], to->end[1], len, 0);
	FUZZ_CHECK(ret == model_transfer(&pair->model, &to->model, len, is_move));
}

static void fuzz_resize(struct fuzz *fuzz, struct pair *pair)
{
	size_t len = (size_t)input_u8(&fuzz->input) * 1024 % (SLOTS_MAX * pair->model.slot_bytes);
	struct usp_file *end = pair->end[0] ? pair->end[0] : pair->end[1];

	if (end)
		FUZZ_CHECK(usp_pipe_resize(end, len) == model_resize(&pair->model, len));
}

static void fuzz_close(struct fuzz *fuzz, struct pair *pair)
{
	unsigned side = input_u8(&fuzz->input) & 1;

	usp_file_put(pair->end[side]);
	pair->end[side] = NULL;
	*(side ? &pair->model.has_writer : &pair->model.has_reader) = false;
}

static void fuzz_toggle_packets(struct pair *pair)
{
	if (!pair->end[1])
		return;
	pair->is_packet = !pair->is_packet;
	FUZZ_CHECK(usp_file_set_flags(pair->end[1], USP_NONBLOCK | (pair->is_packet ? USP_PACKET : 0)) == 0);
}

static void fuzz_step(struct fuzz *fuzz)
{
	unsigned what = input_u8(&fuzz->input);
	struct pair *pair = &fuzz->pairs[(what >> 4) % NR_PIPES];

	switch (what & 15) {
	case 0 ... 2:
		return fuzz_write(fuzz, pair);
	case 3:
	case 4:
		return fuzz_read(fuzz, pair);
	case 5:
	case 6:
		return fuzz_transfer(fuzz, pair, true);
	case 7:
	case 8:
		return fuzz_transfer(fuzz, pair, false);
	case 9:
		return fuzz_vmsplice_in(fuzz, pair, 0);
	case 10:
		return fuzz_vmsplice_in(fuzz, pair, USP_SPLICE_GIFT);
	case 11:
		return fuzz_source(fuzz, pair);
	case 12:
		return fuzz_sink(fuzz, pair);
	case 13:
		return fuzz_resize(fuzz, pair);
	case 14:
		return what & 0x80 ? fuzz_close(fuzz, pair) : fuzz_vmsplice_out(fuzz, pair);
	default:
		return fuzz_toggle_packets(pair);
	}
}

/* --- What can be seen from outside, after every step --------------------------------------------------------- */

static void fuzz_check(const struct pair *pair)
{
	const struct model_pipe *model = &pair->model;
	unsigned bits;

	for (unsigned i = 0; i < 2; i++) {
		if (!pair->end[i])
			continue;
		FUZZ_CHECK(usp_pipe_bytes(pair->end[i]) == (ssize_t)model_len(model));
		FUZZ_CHECK(usp_pipe_capacity(pair->end[i]) == (ssize_t)(model->nr_slots * model->slot_bytes));
		if (i == 0)
			bits = (model->nr_entries ? POLLIN : 0) | (model->has_writer ? 0 : POLLHUP);
		else
			bits = (model_is_full(model) ? 0 : POLLOUT) | (model->has_reader ? 0 : POLLERR);
		FUZZ_CHECK(usp_file_poll(pair->end[i]) == bits);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz fuzz;
	size_t nr_folios, bytes;

	usp_folio_usage(&nr_folios, &bytes);
	fuzz_begin(&fuzz, data, len);
	for (unsigned i = 0; i < OPS_MAX && fuzz.input.len; i++) {
		fuzz_step(&fuzz);
		for (unsigned j = 0; j < NR_PIPES; j++)
			fuzz_check(&fuzz.pairs[j]);
	}
	fuzz_end(&fuzz, nr_folios);
	return 0;
}
