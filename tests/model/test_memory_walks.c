/* SPDX-License-Identifier: MIT */
/*
 * test_memory_walks - random steps on a store in memory, compared with a plain array: what it has, what it lent earlier,
 * and what it took over from pipes whose bytes others share. A walk follows from its seed, which is printed when it fails.
 *
 *   WALKS=100 WALKS_SEED=4711 build-test/tests/test_memory_walks
 */
#include <stdio.h>

#include "support.h"

#define WALKS 60
#define WALK_STEPS 400
#define STORE_MAX (600 * 1024) /* more than two pieces of its own */
#define SLOT_BYTES (4 * PAGE)
#define NR_SLOTS 16
#define NR_LOANS 4

/* Bytes that the store has lent, and what they were then. */
struct loan {
	struct usp_file *pipe[2];
	unsigned char *bytes;
	size_t len;
};

struct walk {
	uint64_t state;
	struct usp_file *store, *pipe[2], *twin[2];
	unsigned char *array, *bytes; /* what the store has; a buffer */
	unsigned char *twin_bytes;    /* what the twin has */
	size_t len, twin_len;
	struct loan loans[NR_LOANS];
};

/* splitmix64, so that neighbouring seeds have nothing in common. */
static size_t draw(struct walk *walk, size_t below)
{
	uint64_t z = walk->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % below;
}

static size_t draw_len(struct walk *walk)
{
	static const size_t lens[] = {1, 100, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, SLOT_BYTES, 3 * SLOT_BYTES, 100000};

	return draw(walk, 3) ? lens[draw(walk, ARRAY_LEN(lens))] : 1 + draw(walk, 5 * SLOT_BYTES);
}

/* Mostly the end, where pages are taken over; else a place in the middle, or behind it. */
static size_t draw_pos(struct walk *walk)
{
	size_t pos = draw(walk, 3) ? walk->len : draw(walk, walk->len + 100);

	return pos < STORE_MAX ? pos : STORE_MAX - 1;
}

static void draw_bytes(struct walk *walk, unsigned char *bytes, size_t len)
{
	pattern_fill(bytes, draw(walk, 1 << 20), len);
}

/* The array after len bytes were written at pos. */
static void note_write(struct walk *walk, size_t pos, const unsigned char *bytes, size_t len)
{
	if (pos > walk->len)
		memset(walk->array + walk->len, 0, pos - walk->len);
	memcpy(walk->array + pos, bytes, len);
	walk->len = walk->len > pos + len ? walk->len : pos + len;
}

static void step_write(struct walk *walk)
{
	size_t pos = draw_pos(walk), len = draw_len(walk);
	ssize_t ret;

	draw_bytes(walk, walk->bytes, len);
	assert_int_equal(usp_file_seek(walk->store, (int64_t)pos, SEEK_SET), pos);
	ret = usp_write(walk->store, walk->bytes, len);
	assert_int_equal(ret, len < STORE_MAX - pos ? len : STORE_MAX - pos);
	note_write(walk, pos, walk->bytes, (size_t)ret);
}

/* Read what the twin has, which must be what it was when it was shared. */
static void check_twin(struct walk *walk)
{
	unsigned char *bytes = walk->bytes;

	if (!walk->twin_len)
		return;
	assert_int_equal(usp_read(walk->twin[0], bytes, walk->twin_len), walk->twin_len);
	assert_memory_equal(bytes, walk->twin_bytes, walk->twin_len);
	walk->twin_len = 0;
}

/* Share what lies in the pipe, so that its first pages have a second owner while they are taken. */
static void share(struct walk *walk, const unsigned char *bytes)
{
	ssize_t ret;

	check_twin(walk);
	ret = usp_tee(walk->pipe[0], walk->twin[1], 1 + draw(walk, 2 * SLOT_BYTES), USP_SPLICE_NONBLOCK);
	assert_true(ret > 0);
	walk->twin_len = (size_t)ret;
	memcpy(walk->twin_bytes, bytes, (size_t)ret);
}

/* Write into the pipe in pieces, and splice from there into the store, in pieces as well. */
static void step_splice(struct walk *walk)
{
	size_t pos = draw_pos(walk), len = draw_len(walk), done = 0, piece = draw(walk, 2) ? len : draw_len(walk);
	unsigned flags = draw(walk, 4) ? USP_SPLICE_MOVE : 0;
	unsigned char *bytes = malloc(len);
	int64_t at = (int64_t)pos;

	assert_non_null(bytes);
	draw_bytes(walk, bytes, len);
	for (size_t part = 1 + draw(walk, len); done < len; done += part) {
		part = part < len - done ? part : len - done;
		assert_int_equal(usp_write(walk->pipe[1], bytes + done, part), part);
	}
	if (draw(walk, 3) == 0)
		share(walk, bytes);
	for (done = 0; done < len && pos + done < STORE_MAX;) {
		ssize_t ret = usp_splice(walk->pipe[0], NULL, walk->store, &at, piece, flags);

		assert_true(ret > 0);
		done += (size_t)ret;
		assert_int_equal(at, pos + done);
	}
	assert_int_equal(usp_pipe_bytes(walk->pipe[0]), len - done);
	note_write(walk, pos, bytes, done);
	if (done < len)
		assert_int_equal(usp_read(walk->pipe[0], bytes, len - done), len - done);
	free(bytes);
}

static void end_loan(struct loan *loan, unsigned char *bytes)
{
	for (size_t done = 0; done < loan->len;) {
		ssize_t ret = usp_read(loan->pipe[0], bytes, loan->len);

		assert_true(ret > 0);
		assert_memory_equal(bytes, loan->bytes + done, (size_t)ret);
		done += (size_t)ret;
	}
	loan->len = 0;
}

/* Let a pipe refer to bytes of the store; later they must be what they are now. */
static void step_lend(struct walk *walk)
{
	struct loan *loan = &walk->loans[draw(walk, NR_LOANS)];
	int64_t pos = (int64_t)draw(walk, walk->len + 1);
	size_t start = (size_t)pos;
	ssize_t ret;

	end_loan(loan, walk->bytes);
	ret = usp_splice(walk->store, &pos, loan->pipe[1], NULL, draw_len(walk), USP_SPLICE_NONBLOCK);
	assert_true(ret > 0 || (ret == 0 && start == walk->len));
	loan->len = (size_t)ret;
	assert_true(loan->len <= NR_SLOTS * SLOT_BYTES);
	memcpy(loan->bytes, walk->array + start, loan->len);
}

static void step_check(struct walk *walk)
{
	size_t pos = draw(walk, walk->len + 1), len = draw(walk, 4) ? draw_len(walk) : STORE_MAX;
	ssize_t ret = usp_pread(walk->store, walk->bytes, len, (int64_t)pos);

	assert_int_equal(ret, len < walk->len - pos ? len : walk->len - pos);
	assert_memory_equal(walk->bytes, walk->array + pos, (size_t)ret);
	assert_int_equal(usp_file_size(walk->store), walk->len);
}

static void walk_open(struct walk *walk)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = NR_SLOTS, .slot_bytes = SLOT_BYTES};
	const struct usp_open_params both = {.size = sizeof(both), .mode = USP_READ | USP_WRITE};
	char spec[32];

	snprintf(spec, sizeof(spec), "mem:,max=%d", STORE_MAX);
	assert_int_equal(usp_open(spec, &both, &walk->store, NULL), 0);
	assert_int_equal(usp_pipe_open(&params, walk->pipe), 0);
	assert_int_equal(usp_pipe_open(&params, walk->twin), 0);
	walk->array = malloc(STORE_MAX);
	walk->bytes = malloc(STORE_MAX + 1);
	walk->twin_bytes = malloc(NR_SLOTS * SLOT_BYTES);
	assert_true(walk->array && walk->bytes && walk->twin_bytes);
	for (unsigned i = 0; i < NR_LOANS; i++) {
		assert_int_equal(usp_pipe_open(&params, walk->loans[i].pipe), 0);
		walk->loans[i].bytes = malloc(NR_SLOTS * SLOT_BYTES);
		assert_non_null(walk->loans[i].bytes);
	}
}

static uint64_t walk_close(struct walk *walk)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	check_twin(walk);
	for (unsigned i = 0; i < NR_LOANS; i++) {
		end_loan(&walk->loans[i], walk->bytes);
		close_pipe(walk->loans[i].pipe);
		free(walk->loans[i].bytes);
	}
	usp_file_hop(walk->store, USP_WRITE, &hop);
	close_pipe(walk->pipe);
	close_pipe(walk->twin);
	usp_file_put(walk->store);
	free(walk->array);
	free(walk->bytes);
	free(walk->twin_bytes);
	return hop.bytes[USP_BY_REFERENCE];
}

static unsigned long number(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 0) : otherwise;
}

static void a_store_has_what_was_written_and_what_it_lent_does_not_change(void **state)
{
	static void (*const steps[])(struct walk *) = {step_write, step_splice, step_splice, step_splice,
						       step_lend,  step_lend,	step_check};
	unsigned long seed = number("WALKS_SEED", 1), nr = number("WALKS", WALKS);
	uint64_t taken = 0;

	(void)state;
	for (unsigned long i = 0; i < nr; i++) {
		struct walk walk = {.state = seed + i};

		print_message("# walk %lu\n", seed + i);
		walk_open(&walk);
		for (unsigned step = 0; step < WALK_STEPS; step++)
			steps[draw(&walk, ARRAY_LEN(steps))](&walk);
		taken += walk_close(&walk);
	}
	assert_true(taken > 0); /* else the walks have not met what they are for */
}

int main(void)
{
	const struct CMUnitTest tests[] = {CASE(a_store_has_what_was_written_and_what_it_lent_does_not_change)};

	return cmocka_run_group_tests_name("random walks of memory", tests, NULL, NULL);
}
