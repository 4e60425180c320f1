/* SPDX-License-Identifier: MIT */
/*
 * test_chain - ten small pipes in a row, and a tee into a pipe of its own between every two: nothing is lost, the
 * memory is that of the slots, nobody waits for ever, and nothing is left.
 *
 *   writer ─▶ pipe 0 ─splice─▶ pipe 1 ─splice─▶ … ─▶ pipe 9 ─▶ reader
 *                └─tee─▶ side 0 ─▶ reader
 */
#include "support.h"

#include <sched.h>

#define NR_PIPES 10
#define NR_SLOTS 4
#define CHAIN_LEN ((size_t)4 << 20)
#define PIECE_LEN 5000 /* no multiple of a page */

struct link {
	struct usp_file *pipe[2], *side[2], *next; /* next: the write end of the pipe behind */
};

struct chain {
	struct link links[NR_PIPES];
};

static ssize_t chain_write(void *arg)
{
	struct chain *chain = arg;
	unsigned char bytes[PIECE_LEN];
	ssize_t ret = 0;

	for (size_t off = 0; off < CHAIN_LEN && ret >= 0; off += (size_t)ret) {
		size_t len = CHAIN_LEN - off < PIECE_LEN ? CHAIN_LEN - off : PIECE_LEN;

		pattern_fill(bytes, off, len);
		ret = usp_write(chain->links[0].pipe[1], bytes, len);
	}
	drop(&chain->links[0].pipe[1]);
	return ret < 0 ? ret : 0;
}

/* Hand on what a tee has seen, all of it. */
static ssize_t link_move(struct link *link, size_t len)
{
	while (len) {
		ssize_t ret = usp_splice(link->pipe[0], NULL, link->next, NULL, len, 0);

		if (ret <= 0)
			return ret < 0 ? ret : -EIO;
		len -= (size_t)ret;
	}
	return 0;
}

static ssize_t link_run(void *arg)
{
	struct link *link = arg;
	ssize_t ret;

	while ((ret = usp_tee(link->pipe[0], link->side[1], CHAIN_LEN, 0)) > 0) {
		ret = link_move(link, (size_t)ret);
		if (ret < 0)
			break;
	}
	drop(&link->side[1]);
	drop(&link->next);
	return ret;
}

/* Read everything: 0 if it is what was written. */
static ssize_t end_read(void *arg)
{
	struct usp_file *end = arg;
	unsigned char bytes[PIECE_LEN];
	size_t off = 0;
	ssize_t ret;

	while ((ret = usp_read(end, bytes, sizeof(bytes))) > 0) {
		if (!pattern_is(bytes, off, (size_t)ret))
			return -EBADMSG;
		off += (size_t)ret;
	}
	return ret < 0 ? ret : off == CHAIN_LEN ? 0 : -EIO;
}

static void chain_open(struct chain *chain)
{
	for (unsigned i = 0; i < NR_PIPES; i++) {
		open_pipe(chain->links[i].pipe, NR_SLOTS, 0);
		if (i > 0) {
			chain->links[i - 1].next = chain->links[i].pipe[1];
			chain->links[i].pipe[1] = NULL;
			open_pipe(chain->links[i - 1].side, NR_SLOTS, 0);
		}
	}
}

static void ten_pipes_with_tees_need_the_memory_of_their_slots(void **state)
{
	struct worker writer, reader, movers[NR_PIPES - 1], sides[NR_PIPES - 1];
	struct usp_usage usage = {.size = sizeof(usage)};
	struct chain chain = {0};
	size_t peak = 0;

	(void)state;
	chain_open(&chain);
	worker_start(&reader, end_read, chain.links[NR_PIPES - 1].pipe[0]);
	for (unsigned i = 0; i < NR_PIPES - 1; i++) {
		worker_start(&sides[i], end_read, chain.links[i].side[0]);
		worker_start(&movers[i], link_run, &chain.links[i]);
	}
	worker_start(&writer, chain_write, &chain);
	while (!atomic_load(&reader.is_done)) {
		usp_trim(&usage);
		peak = usage.folio_bytes > peak ? usage.folio_bytes : peak;
		sched_yield();
	}
	assert_int_equal(worker_join(&writer), 0);
	for (unsigned i = 0; i < NR_PIPES - 1; i++) {
		assert_int_equal(worker_join(&movers[i]), 0);
		assert_int_equal(worker_join(&sides[i]), 0);
		drop(&chain.links[i].pipe[0]);
		drop(&chain.links[i].side[0]);
	}
	assert_int_equal(worker_join(&reader), 0);
	drop(&chain.links[NR_PIPES - 1].pipe[0]);
	print_message("# at most %zu bytes of memory for %zu that went through\n", peak, CHAIN_LEN);
	/* A page for each slot, if no two pipes share one, and one that is being written. */
	assert_true(peak > 0 && peak <= (size_t)((2 * NR_PIPES - 1) * NR_SLOTS + 1) * PAGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(ten_pipes_with_tees_need_the_memory_of_their_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
