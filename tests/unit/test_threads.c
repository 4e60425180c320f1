/* SPDX-License-Identifier: MIT */
/*
 * test_threads - pipes between threads: no byte lost, doubled or changed, no wake-up lost, nobody stopped by somebody
 * else's slow hook (C9, C12, C13, C18). A wake-up that is lost shows as the alarm that ends the program.
 *
 * Threads other than the first do not assert; they return a result that the first one looks at.
 */
#include "support.h"

#include <sched.h>
#include <semaphore.h>
#include <signal.h>

#include "splice/pipe.h"

#define NR_ROUNDS 5000 /* enough to meet every interleaving that matters in a second, and bearable under TSan */
#ifdef __SANITIZE_THREAD__
#define NR_SCRAMBLES 10000
#define NR_CROSSINGS 20000 /* it sees a wrong order of locks at once */
#else
#define NR_SCRAMBLES 100000
#define NR_CROSSINGS 200000
#endif

/* A small generator, so that every run of a thread makes the same choices. */
static unsigned next_random(unsigned *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* --- Records: packets that can be checked wherever they end up ------------------------------------------------ */

struct record {
	uint32_t producer, number, len, sum;
	unsigned char body[200];
};

static uint32_t record_sum(const struct record *record)
{
	uint32_t sum = record->producer * 31 + record->number * 17 + record->len;

	for (uint32_t i = 0; i < record->len; i++)
		sum = sum * 33 + record->body[i];
	return sum;
}

static size_t record_make(struct record *record, uint32_t producer, uint32_t number, uint32_t len)
{
	*record = (struct record){.producer = producer, .number = number, .len = len};
	pattern_fill(record->body, (uint64_t)producer * 1000 + number, len);
	record->sum = record_sum(record);
	return offsetof(struct record, body) + len;
}

static bool record_is_good(const struct record *record, ssize_t len)
{
	return len >= (ssize_t)offsetof(struct record, body) && record->len <= sizeof(record->body) &&
	       len == (ssize_t)(offsetof(struct record, body) + record->len) && record->sum == record_sum(record);
}

/* --- The crowd: producers, consumers of every kind, tee-ers and resizers on one pipe ------------------------------- */

#define NR_PRODUCERS 3
#define NR_READERS 2
#define NR_SPLICERS 2
#define NR_TEE_ERS 2
#define NR_RESIZERS 2

struct crowd {
	struct usp_file *main[2], *side[2],
		*copy[2]; /* producers fill main; splicers move to side; copy takes what tee saw */
	_Atomic(unsigned) nr_started, nr_resizers;
	_Atomic(bool) is_over;
	_Atomic(unsigned) nr_seen[NR_PRODUCERS]; /* records that left main and side */
	_Atomic(uint64_t) numbers[NR_PRODUCERS]; /* the sum of their numbers */
};

static ssize_t crowd_produce(void *arg)
{
	struct crowd *crowd = arg;
	unsigned producer = crowd->nr_started++, random = producer + 1;
	struct record record;

	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		size_t len = record_make(&record, producer, i, next_random(&random) % sizeof(record.body));
		ssize_t ret = usp_write(crowd->main[1], &record, len);

		if (ret != (ssize_t)len)
			return ret < 0 ? ret : -EIO;
	}
	return 0;
}

static ssize_t crowd_count(struct crowd *crowd, struct usp_file *end)
{
	struct record record;
	ssize_t ret;

	while ((ret = usp_read(end, &record, sizeof(record))) > 0) {
		if (!record_is_good(&record, ret) || record.producer >= NR_PRODUCERS)
			return -EBADMSG;
		crowd->nr_seen[record.producer]++;
		crowd->numbers[record.producer] += record.number;
	}
	return ret;
}

static ssize_t crowd_read_main(void *arg)
{
	struct crowd *crowd = arg;

	return crowd_count(crowd, crowd->main[0]);
}

static ssize_t crowd_read_side(void *arg)
{
	struct crowd *crowd = arg;

	return crowd_count(crowd, crowd->side[0]);
}

static ssize_t crowd_splice(void *arg)
{
	struct crowd *crowd = arg;
	ssize_t ret;

	do {
		ret = usp_splice(crowd->main[0], NULL, crowd->side[1], NULL, 1 << 20, 0);
	} while (ret > 0);
	return ret;
}

static ssize_t crowd_tee(void *arg)
{
	struct crowd *crowd = arg;
	ssize_t ret;

	do {
		ret = usp_tee(crowd->main[0], crowd->copy[1], 1 << 20, 0);
	} while (ret > 0);
	return ret;
}

/* What tee saw is not all and some of it twice; but each record must be whole. */
static ssize_t crowd_check_copies(void *arg)
{
	struct crowd *crowd = arg;
	struct record record;
	ssize_t ret;

	while ((ret = usp_read(crowd->copy[0], &record, sizeof(record))) > 0) {
		if (!record_is_good(&record, ret))
			return -EBADMSG;
	}
	return ret;
}

static ssize_t crowd_resize(void *arg)
{
	struct crowd *crowd = arg;
	unsigned random = 99 + crowd->nr_resizers++;

	while (!crowd->is_over) {
		ssize_t ret = usp_pipe_resize(crowd->main[0], (size_t)PAGE << next_random(&random) % 6);

		if (ret < 0 && ret != -EBUSY)
			return ret;
		sched_yield();
	}
	return 0;
}

static void workers_start(struct worker *workers, unsigned nr_workers, ssize_t (*run)(void *), void *arg)
{
	for (unsigned i = 0; i < nr_workers; i++)
		worker_start(&workers[i], run, arg);
}

static void workers_join(struct worker *workers, unsigned nr_workers)
{
	for (unsigned i = 0; i < nr_workers; i++)
		assert_int_equal(worker_join(&workers[i]), 0);
}

/* C12: the resizers race with everybody who has looked at the ring. */
static void c12_every_record_arrives_once_whatever_the_crowd_does(void **state)
{
	static struct crowd crowd;
	struct worker producers[NR_PRODUCERS], readers[NR_READERS], splicers[NR_SPLICERS];
	struct worker tee_ers[NR_TEE_ERS], resizers[NR_RESIZERS], side_reader, checker;

	(void)state;
	open_pipe(crowd.main, 8, USP_PACKET);
	open_pipe(crowd.side, 4, 0);
	open_pipe(crowd.copy, 4, 0);
	workers_start(producers, NR_PRODUCERS, crowd_produce, &crowd);
	workers_start(readers, NR_READERS, crowd_read_main, &crowd);
	workers_start(splicers, NR_SPLICERS, crowd_splice, &crowd);
	workers_start(tee_ers, NR_TEE_ERS, crowd_tee, &crowd);
	workers_start(resizers, NR_RESIZERS, crowd_resize, &crowd);
	worker_start(&side_reader, crowd_read_side, &crowd);
	worker_start(&checker, crowd_check_copies, &crowd);

	workers_join(producers, NR_PRODUCERS);
	drop(&crowd.main[1]);
	workers_join(readers, NR_READERS);
	workers_join(splicers, NR_SPLICERS);
	workers_join(tee_ers, NR_TEE_ERS);
	drop(&crowd.side[1]);
	drop(&crowd.copy[1]);
	workers_join(&side_reader, 1);
	workers_join(&checker, 1);
	crowd.is_over = true;
	workers_join(resizers, NR_RESIZERS);
	for (unsigned i = 0; i < NR_PRODUCERS; i++) {
		assert_int_equal(crowd.nr_seen[i], NR_ROUNDS);
		assert_int_equal(crowd.numbers[i], (uint64_t)NR_ROUNDS * (NR_ROUNDS - 1) / 2);
	}
	close_pipe(crowd.main);
	close_pipe(crowd.side);
	close_pipe(crowd.copy);
}

/* --- A chain: one stream through several threads stays in order ------------------------------------------------- */

#define CHAIN_LEN (4u << 20)

struct chain {
	struct usp_file *a[2], *b[2], *c[2];
	struct mock *sink;
};

static ssize_t chain_write(void *arg)
{
	struct chain *chain = arg;
	unsigned char bytes[20000];
	unsigned random = 5;
	uint64_t off = 0;

	while (off < CHAIN_LEN) {
		size_t len = next_random(&random) % sizeof(bytes) + 1;
		ssize_t ret;

		len = len < CHAIN_LEN - off ? len : CHAIN_LEN - off;
		pattern_fill(bytes, off, len);
		ret = usp_write(chain->a[1], bytes, len);
		if (ret != (ssize_t)len)
			return ret < 0 ? ret : -EIO;
		off += len;
	}
	drop(&chain->a[1]);
	return 0;
}

static ssize_t chain_splice(void *arg)
{
	struct chain *chain = arg;
	unsigned random = 6;
	ssize_t ret;

	do {
		ret = usp_splice(chain->a[0], NULL, chain->b[1], NULL, next_random(&random) % 9000 + 1, 0);
	} while (ret > 0);
	drop(&chain->b[1]);
	return ret;
}

/* Everything goes to c by tee and to the sink by splice, as a fan-out of two does. */
static ssize_t chain_fan_out(void *arg)
{
	struct chain *chain = arg;
	ssize_t ret, left;

	while ((ret = usp_tee(chain->b[0], chain->c[1], 1 << 20, 0)) > 0) {
		for (left = ret; left > 0; left -= ret) {
			ret = usp_splice(chain->b[0], NULL, chain->sink->file, NULL, (size_t)left, 0);
			if (ret <= 0)
				return ret < 0 ? ret : -EIO;
		}
	}
	drop(&chain->c[1]);
	return ret;
}

static ssize_t chain_check(void *arg)
{
	struct chain *chain = arg;
	unsigned char bytes[7000];
	uint64_t off = 0;
	ssize_t ret;

	while ((ret = usp_read(chain->c[0], bytes, sizeof(bytes))) > 0) {
		if (!pattern_is(bytes, off, (size_t)ret))
			return -EBADMSG;
		off += (uint64_t)ret;
	}
	return ret < 0 ? ret : (ssize_t)off;
}

static void a_stream_through_a_chain_of_threads_stays_in_order(void **state)
{
	struct chain chain;
	struct worker writer, splicer, fan, checker;

	(void)state;
	open_pipe(chain.a, 4, 0);
	open_pipe(chain.b, 2, 0);
	open_pipe(chain.c, 8, 0);
	chain.sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	worker_start(&writer, chain_write, &chain);
	worker_start(&splicer, chain_splice, &chain);
	worker_start(&fan, chain_fan_out, &chain);
	worker_start(&checker, chain_check, &chain);
	assert_int_equal(worker_join(&writer), 0);
	assert_int_equal(worker_join(&splicer), 0);
	assert_int_equal(worker_join(&fan), 0);
	assert_int_equal(worker_join(&checker), CHAIN_LEN);
	assert_int_equal(chain.sink->len, CHAIN_LEN);
	assert_pattern(chain.sink->bytes, 0, CHAIN_LEN);
	close_pipe(chain.a);
	close_pipe(chain.b);
	close_pipe(chain.c);
	mock_close(chain.sink);
}

/* --- Crossing: A to B while B to A (C9) -------------------------------------------------------------------------- */

#define CROSSING_BODY 20
#define CROSSING_LEN (offsetof(struct record, body) + CROSSING_BODY)
#define NR_CROSSING 32

struct crossing {
	struct usp_file *a[2], *b[2];
	bool is_tee;
};

/* A record there and one back, so that both pipes have some even if the other thread sleeps: all calls take both locks. */
static ssize_t crossing_splice(struct usp_file *const from[2], struct usp_file *const to[2], bool is_back)
{
	struct usp_file *in = is_back ? to[0] : from[0], *out = is_back ? from[1] : to[1];

	return usp_splice(in, NULL, out, NULL, CROSSING_LEN, USP_SPLICE_NONBLOCK);
}

/* A tee adds a record, so one is read. */
static ssize_t crossing_tee(struct usp_file *const from[2], struct usp_file *const to[2], bool is_back)
{
	struct record seen;
	ssize_t ret;

	if (!is_back)
		return usp_tee(from[0], to[1], CROSSING_LEN, USP_SPLICE_NONBLOCK);
	ret = usp_read(to[0], &seen, sizeof(seen));
	return ret <= 0 || record_is_good(&seen, ret) ? ret : -EBADMSG;
}

static ssize_t crossing_run(const struct crossing *crossing, struct usp_file *const from[2],
			    struct usp_file *const to[2])
{
	ssize_t ret = 0;

	for (unsigned i = 0; i < NR_CROSSINGS && (ret >= 0 || ret == -EAGAIN); i++)
		ret = crossing->is_tee ? crossing_tee(from, to, i % 2) : crossing_splice(from, to, i % 2);
	return ret == -EAGAIN || ret > 0 ? 0 : ret;
}

static ssize_t crossing_ab(void *arg)
{
	struct crossing *crossing = arg;

	return crossing_run(crossing, crossing->a, crossing->b);
}

static ssize_t crossing_ba(void *arg)
{
	struct crossing *crossing = arg;

	return crossing_run(crossing, crossing->b, crossing->a);
}

static void crossing_open(struct crossing *crossing, bool is_tee)
{
	*crossing = (struct crossing){.is_tee = is_tee};
	open_pipe(crossing->a, 64, USP_PACKET | USP_NONBLOCK);
	open_pipe(crossing->b, 64, USP_PACKET | USP_NONBLOCK);
	for (unsigned i = 0; i < NR_CROSSING; i++) {
		struct record record;
		size_t len = record_make(&record, 0, i, CROSSING_BODY);

		assert_int_equal(usp_write(i % 2 ? crossing->a[1] : crossing->b[1], &record, len), CROSSING_LEN);
	}
}

/* Two each way: one alone may long keep to its beat with the other, and never meet it between the locks. */
static void crossing_run_all(struct crossing *crossing)
{
	struct worker ab[2], ba[2];

	workers_start(ab, ARRAY_LEN(ab), crossing_ab, crossing);
	workers_start(ba, ARRAY_LEN(ba), crossing_ba, crossing);
	workers_join(ab, ARRAY_LEN(ab));
	workers_join(ba, ARRAY_LEN(ba));
}

static void crossing_close(struct crossing *crossing)
{
	close_pipe(crossing->a);
	close_pipe(crossing->b);
}

static void c09_crossing_splices_neither_lock_up_nor_lose_anything(void **state)
{
	struct crossing crossing;
	unsigned nr_seen = 0, numbers = 0;

	(void)state;
	crossing_open(&crossing, false);
	crossing_run_all(&crossing);
	for (unsigned i = 0; i < 2; i++) {
		struct record record;
		ssize_t ret;

		while ((ret = usp_read(i ? crossing.a[0] : crossing.b[0], &record, sizeof(record))) > 0) {
			assert_true(record_is_good(&record, ret));
			nr_seen++;
			numbers += record.number;
		}
		assert_int_equal(ret, -EAGAIN);
	}
	assert_int_equal(nr_seen, NR_CROSSING);
	assert_int_equal(numbers, (NR_CROSSING - 1) * NR_CROSSING / 2);
	crossing_close(&crossing);
}

static void c09_crossing_tees_do_not_lock_up(void **state)
{
	struct crossing crossing;

	(void)state;
	crossing_open(&crossing, true);
	crossing_run_all(&crossing);
	crossing_close(&crossing);
}

/* --- Wake-ups ------------------------------------------------------------------------------------------------------ */

struct pong {
	struct usp_file *in, *out;
	bool by_splice;
};

static ssize_t pong_run(void *arg)
{
	struct pong *pong = arg;
	unsigned char byte;

	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		ssize_t ret;

		if (pong->by_splice) {
			ret = usp_splice(pong->in, NULL, pong->out, NULL, 1, 0);
		} else {
			ret = usp_read(pong->in, &byte, 1);
			if (ret == 1)
				ret = usp_write(pong->out, &byte, 1);
		}
		if (ret != 1)
			return ret < 0 ? ret : -EIO;
	}
	return 0;
}

static void one_byte_goes_back_and_forth_without_a_lost_wake_up(void **state)
{
	(void)state;
	for (unsigned by_splice = 0; by_splice < 2; by_splice++) {
		struct usp_file *there[2], *back[2];
		struct pong pong;
		struct worker worker;
		unsigned char byte;

		open_pipe(there, 1, 0);
		open_pipe(back, 1, 0);
		pong = (struct pong){.in = there[0], .out = back[1], .by_splice = by_splice};
		worker_start(&worker, pong_run, &pong);
		for (unsigned i = 0; i < NR_ROUNDS; i++) {
			put_bytes(there[1], i, 1);
			assert_int_equal(usp_read(back[0], &byte, 1), 1);
			assert_int_equal(byte, pattern_at(i));
		}
		assert_int_equal(worker_join(&worker), 0);
		close_pipe(there);
		close_pipe(back);
	}
}

#define NR_WAITERS 4

static void one_write_wakes_as_many_readers_as_it_has_bytes(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 1, 0);
	for (unsigned round = 0; round < 100; round++) {
		unsigned char bytes[2 * NR_WAITERS];
		struct call calls[2 * NR_WAITERS];
		struct worker workers[2 * NR_WAITERS];
		unsigned sum = 0;

		for (unsigned i = 0; i < 2 * NR_WAITERS; i++) {
			calls[i] = (struct call){.in = end[0], .base = &bytes[i], .len = 1};
			worker_start(&workers[i], call_read, &calls[i]);
		}
		for (unsigned i = 0; round < 10 && i < 2 * NR_WAITERS; i++)
			worker_await_sleep(&workers[i]);
		put_bytes(end[1], 0, 2 * NR_WAITERS);
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++) {
			assert_int_equal(worker_join(&workers[i]), 1);
			sum += bytes[i];
		}
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++)
			sum -= pattern_at(i);
		assert_int_equal(sum, 0);
	}
	close_pipe(end);
}

static void readers_and_splicers_that_wait_together_are_all_served(void **state)
{
	struct usp_file *end[2], *other[2];

	(void)state;
	open_pipe(end, 2, 0);
	open_pipe(other, 2 * NR_WAITERS, USP_NONBLOCK);
	assert_int_equal(usp_file_set_flags(other[1], 0), 0);
	for (unsigned round = 0; round < 100; round++) {
		unsigned char bytes[NR_WAITERS];
		struct call calls[2 * NR_WAITERS];
		struct worker workers[2 * NR_WAITERS];

		for (unsigned i = 0; i < 2 * NR_WAITERS; i++) {
			calls[i] = (struct call){.in = end[0], .out = other[1], .base = &bytes[i / 2], .len = 1};
			worker_start(&workers[i], i % 2 ? call_splice : call_read, &calls[i]);
		}
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++)
			put_bytes(end[1], i, 1);
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++)
			assert_int_equal(worker_join(&workers[i]), 1);
		assert_int_equal(usp_pipe_bytes(other[0]), NR_WAITERS);
		assert_int_equal(usp_read(other[0], bytes, NR_WAITERS), NR_WAITERS);
	}
	close_pipe(end);
	close_pipe(other);
}

/*
 * C13: of the kernel's waiters some were woken one at a time and some all at once, and a resize woke writers before
 * they could see the room. Here eight readers, two splicers and a resizer fight for single bytes in a pipe of few slots.
 */
struct scramble {
	struct usp_file *main[2], *side[2];
	_Atomic(unsigned) nr_bytes;
	_Atomic(bool) is_over;
};

static ssize_t scramble_count(struct scramble *scramble, struct usp_file *end)
{
	unsigned char byte;
	ssize_t ret;

	while ((ret = usp_read(end, &byte, 1)) > 0)
		scramble->nr_bytes++;
	return ret;
}

static ssize_t scramble_read(void *arg)
{
	struct scramble *scramble = arg;

	return scramble_count(scramble, scramble->main[0]);
}

static ssize_t scramble_read_side(void *arg)
{
	struct scramble *scramble = arg;

	return scramble_count(scramble, scramble->side[0]);
}

static ssize_t scramble_splice(void *arg)
{
	struct scramble *scramble = arg;
	ssize_t ret;

	do {
		ret = usp_splice(scramble->main[0], NULL, scramble->side[1], NULL, 1, 0);
	} while (ret > 0);
	return ret;
}

static ssize_t scramble_resize(void *arg)
{
	struct scramble *scramble = arg;

	for (unsigned i = 0; !scramble->is_over; i++) {
		ssize_t ret = usp_pipe_resize(scramble->main[0], (size_t)PAGE << i % 3);

		if (ret < 0 && ret != -EBUSY)
			return ret;
		sched_yield();
	}
	return 0;
}

static void c13_no_wake_up_is_lost_among_readers_splicers_and_a_resizer(void **state)
{
	static struct scramble scramble;
	struct worker readers[8], splicers[2], side_reader, resizer;

	(void)state;
	open_pipe(scramble.main, 1, USP_PACKET); /* so that every byte takes a slot */
	open_pipe(scramble.side, 1, 0);
	workers_start(readers, ARRAY_LEN(readers), scramble_read, &scramble);
	workers_start(splicers, ARRAY_LEN(splicers), scramble_splice, &scramble);
	worker_start(&side_reader, scramble_read_side, &scramble);
	worker_start(&resizer, scramble_resize, &scramble);
	for (unsigned i = 0; i < NR_SCRAMBLES; i++)
		assert_int_equal(usp_write(scramble.main[1], "x", 1), 1);
	drop(&scramble.main[1]);
	workers_join(readers, ARRAY_LEN(readers));
	workers_join(splicers, ARRAY_LEN(splicers));
	drop(&scramble.side[1]);
	workers_join(&side_reader, 1);
	scramble.is_over = true;
	workers_join(&resizer, 1);
	assert_int_equal(scramble.nr_bytes, NR_SCRAMBLES);
	close_pipe(scramble.main);
	close_pipe(scramble.side);
}

static void closing_the_write_end_wakes_everybody_who_waits_for_data(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		ssize_t (*const runs[3])(void *) = {call_read, call_splice, call_tee};
		struct usp_file *end[2], *other[2];
		struct call calls[2 * NR_WAITERS];
		struct worker workers[2 * NR_WAITERS];
		unsigned char bytes[2 * NR_WAITERS];

		open_pipe(end, 1, 0);
		open_pipe(other, 1, 0);
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++) {
			calls[i] = (struct call){.in = end[0], .out = other[1], .base = &bytes[i], .len = 1};
			worker_start(&workers[i], runs[i % 3], &calls[i]);
		}
		for (unsigned i = 0; round < 5 && i < 2 * NR_WAITERS; i++)
			worker_await_sleep(&workers[i]);
		drop(&end[1]);
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++)
			assert_int_equal(worker_join(&workers[i]), 0);
		close_pipe(end);
		close_pipe(other);
	}
}

static void closing_the_read_end_wakes_everybody_who_waits_for_room(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 50; round++) {
		ssize_t (*const runs[3])(void *) = {call_write, call_splice, call_tee};
		struct usp_file *end[2], *other[2];
		struct call calls[2 * NR_WAITERS];
		struct worker workers[2 * NR_WAITERS];
		unsigned char byte = 0;

		open_pipe(end, 1, 0);
		open_pipe(other, 1, 0);
		put_bytes(end[1], 0, PAGE);
		put_bytes(other[1], 0, PAGE);
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++) {
			calls[i] = (struct call){.in = other[0], .out = end[1], .base = &byte, .len = 1};
			worker_start(&workers[i], runs[i % 3], &calls[i]);
		}
		for (unsigned i = 0; round < 5 && i < 2 * NR_WAITERS; i++)
			worker_await_sleep(&workers[i]);
		drop(&end[0]);
		for (unsigned i = 0; i < 2 * NR_WAITERS; i++)
			assert_int_equal(worker_join(&workers[i]), -EPIPE);
		assert_int_equal(usp_pipe_bytes(other[0]), PAGE);
		close_pipe(end);
		close_pipe(other);
	}
}

/* --- An outside loop: poll(2) on the descriptors, and nonblocking calls ------------------------------------------------ */

static ssize_t polled_write(void *arg)
{
	struct usp_file *end = arg;
	unsigned char bytes[3000];
	unsigned random = 3;
	uint64_t off = 0;
	short events;
	struct pollfd fd = {.fd = usp_file_poll_fd(end, USP_WRITE, &events), .events = POLLIN};

	while (off < 1u << 20) {
		size_t len = next_random(&random) % sizeof(bytes) + 1;
		ssize_t ret;

		pattern_fill(bytes, off, len);
		ret = usp_write(end, bytes, len);
		if (ret > 0)
			off += (uint64_t)ret;
		else if (ret != -EAGAIN || poll(&fd, 1, -1) != 1)
			return ret;
	}
	usp_file_put(end);
	return (ssize_t)off;
}

static void an_outside_loop_misses_no_change(void **state)
{
	struct usp_file *end[2];
	unsigned char bytes[1000];
	struct worker writer;
	uint64_t off = 0;
	short events;
	struct pollfd fd;
	ssize_t ret;

	(void)state;
	open_pipe(end, 2, USP_NONBLOCK);
	fd = (struct pollfd){.fd = usp_file_poll_fd(end[0], USP_READ, &events), .events = POLLIN};
	worker_start(&writer, polled_write, end[1]);
	while ((ret = usp_read(end[0], bytes, sizeof(bytes))) != 0) {
		if (ret == -EAGAIN) {
			assert_int_equal(poll(&fd, 1, -1), 1);
			continue;
		}
		assert_true(ret > 0);
		assert_pattern(bytes, off, (size_t)ret);
		off += (uint64_t)ret;
	}
	assert_int_equal(worker_join(&writer), off);
	usp_file_put(end[0]);
}

/* --- Hooks that block on their outside hold up nobody else (C18) ----------------------------------------------------- */

struct gate {
	sem_t entered, open;
};

static void wait_at_gate(struct mock *mock)
{
	struct gate *gate = mock->arg;

	sem_post(&gate->entered);
	while (sem_wait(&gate->open) < 0)
		;
}

static struct mock *open_gated(struct gate *gate, const struct usp_file_ops *ops, unsigned mode)
{
	struct mock *mock = mock_open(ops, mode, 0);

	sem_init(&gate->entered, 0, 0);
	sem_init(&gate->open, 0, 0);
	mock->on_call = wait_at_gate;
	mock->arg = gate;
	return mock;
}

static void await_entered(struct gate *gate)
{
	while (sem_wait(&gate->entered) < 0)
		;
}

static void a_source_that_blocks_does_not_keep_readers_from_the_pipe(void **state)
{
	struct gate gate;
	struct mock *source = open_gated(&gate, &mock_copy_ops, USP_READ);
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2], *other[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	open_pipe(other, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 40);
	call = (struct call){.in = source->file, .out = end[1], .len = 10};
	worker_start(&worker, call_splice, &call);
	await_entered(&gate);
	assert_int_equal(usp_pipe_bytes(end[0]), 40);
	assert_int_equal(usp_file_poll(end[0]), POLLIN);
	take_bytes(end[0], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 10, 0), 10);
	assert_int_equal(usp_tee(end[0], other[1], 10, 0), 10);
	assert_int_equal(usp_splice(end[0], NULL, other[1], NULL, 20, 0), 20);
	assert_int_equal(usp_read(end[0], &(char){0}, 1), -EAGAIN);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&worker), 10);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	close_pipe(other);
	mock_close(source);
	mock_close(sink);
}

static void a_nonblocking_writer_is_told_that_another_one_is_in_the_middle_of_a_step(void **state)
{
	struct gate gate;
	struct mock *source = open_gated(&gate, &mock_copy_ops, USP_READ),
		    *second = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	call = (struct call){.in = source->file, .out = end[1], .len = 10};
	worker_start(&worker, call_splice, &call);
	await_entered(&gate);
	assert_int_equal(usp_write(end[1], "x", 1), -EAGAIN);
	assert_int_equal(usp_splice(second->file, NULL, end[1], NULL, 1, 0), -EAGAIN);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&worker), 10);
	put_bytes(end[1], 10, 1);
	take_bytes(end[0], 0, 11);
	close_pipe(end);
	mock_close(source);
	mock_close(second);
}

static void a_blocking_writer_waits_for_its_turn(void **state)
{
	struct gate gate;
	struct mock *source = open_gated(&gate, &mock_copy_ops, USP_READ);
	struct usp_file *end[2];
	unsigned char byte = pattern_at(10);
	struct call splice, write;
	struct worker splicer, writer;

	(void)state;
	open_pipe(end, 4, 0);
	splice = (struct call){.in = source->file, .out = end[1], .len = 10};
	write = (struct call){.out = end[1], .base = &byte, .len = 1};
	worker_start(&splicer, call_splice, &splice);
	await_entered(&gate);
	worker_start(&writer, call_write, &write);
	worker_await_sleep(&writer);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&splicer), 10);
	assert_int_equal(worker_join(&writer), 1);
	take_bytes(end[0], 0, 11);
	close_pipe(end);
	mock_close(source);
}

static void a_pipe_may_grow_and_not_shrink_while_a_producer_is_in_the_middle_of_a_step(void **state)
{
	struct gate gate;
	struct mock *source = open_gated(&gate, &mock_copy_ops, USP_READ);
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	call = (struct call){.in = source->file, .out = end[1], .len = 4 * PAGE};
	worker_start(&worker, call_splice, &call);
	await_entered(&gate);
	assert_int_equal(usp_pipe_resize(end[0], 2 * PAGE), -EBUSY);
	assert_int_equal(usp_pipe_capacity(end[0]), 4 * PAGE);
	assert_int_equal(usp_pipe_resize(end[0], 8 * PAGE), 8 * PAGE);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&worker), 4 * PAGE);
	take_bytes(end[0], 0, 4 * PAGE);
	assert_int_equal(usp_pipe_resize(end[0], 2 * PAGE), 2 * PAGE);
	close_pipe(end);
	mock_close(source);
}

static void a_sink_that_blocks_does_not_keep_writers_from_the_pipe(void **state)
{
	struct gate gate;
	struct mock *sink = open_gated(&gate, &mock_copy_ops, USP_WRITE);
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	call = (struct call){.in = end[0], .out = sink->file, .len = 10};
	worker_start(&worker, call_splice, &call);
	await_entered(&gate);
	put_bytes(end[1], 10, 3 * PAGE + 5); /* also into the very buf that is being written */
	assert_int_equal(usp_pipe_resize(end[1], 8 * PAGE), 8 * PAGE);
	assert_int_equal(usp_file_poll(end[1]), POLLOUT);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&worker), 10);
	assert_pattern(sink->bytes, 0, 10);
	take_bytes(end[0], 10, 3 * PAGE + 5);
	close_pipe(end);
	mock_close(sink);
}

static void a_nonblocking_consumer_is_told_that_another_one_is_in_the_middle_of_a_step(void **state)
{
	struct gate gate;
	struct mock *sink = open_gated(&gate, &mock_copy_ops, USP_WRITE);
	struct usp_file *end[2], *other[2];
	unsigned char byte;
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	open_pipe(other, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 20);
	call = (struct call){.in = end[0], .out = sink->file, .len = 10};
	worker_start(&worker, call_splice, &call);
	await_entered(&gate);
	assert_int_equal(usp_read(end[0], &byte, 1), -EAGAIN);
	assert_int_equal(usp_tee(end[0], other[1], 1, 0), -EAGAIN);
	assert_int_equal(usp_splice(end[0], NULL, other[1], NULL, 1, 0), -EAGAIN);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&worker), 10);
	take_bytes(end[0], 10, 10);
	close_pipe(end);
	close_pipe(other);
	mock_close(sink);
}

static void a_blocking_reader_waits_for_the_consumer_before_it(void **state)
{
	struct gate gate;
	struct mock *sink = open_gated(&gate, &mock_copy_ops, USP_WRITE);
	struct usp_file *end[2];
	unsigned char bytes[20];
	struct call splice, read;
	struct worker splicer, reader;

	(void)state;
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 20);
	splice = (struct call){.in = end[0], .out = sink->file, .len = 10};
	read = (struct call){.in = end[0], .base = bytes, .len = sizeof(bytes)};
	worker_start(&splicer, call_splice, &splice);
	await_entered(&gate);
	worker_start(&reader, call_read, &read);
	worker_await_sleep(&reader);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&splicer), 10);
	assert_int_equal(worker_join(&reader), 10);
	assert_pattern(bytes, 10, 10);
	close_pipe(end);
	mock_close(sink);
}

static void a_reader_that_leaves_while_a_source_blocks_does_not_make_its_bytes_vanish(void **state)
{
	struct gate gate;
	struct mock *source = open_gated(&gate, &mock_copy_ops, USP_READ);
	struct usp_file *end[2];
	struct call call;
	struct worker worker;

	(void)state;
	open_pipe(end, 4, 0);
	call = (struct call){.in = source->file, .out = end[1], .len = 10};
	worker_start(&worker, call_splice, &call);
	await_entered(&gate);
	drop(&end[0]);
	sem_post(&gate.open);
	assert_int_equal(worker_join(&worker), 10);
	assert_int_equal(usp_pipe_bytes(end[1]), 10);
	assert_int_equal(call_splice(&call), -EPIPE);
	close_pipe(end);
	mock_close(source);
}

static sem_t signal_handled;

static void handle_signal(int number)
{
	(void)number;
	sem_post(&signal_handled);
}

static void a_signal_does_not_end_a_wait_on_a_pipe(void **state)
{
	struct sigaction action = {.sa_handler = handle_signal}, old; /* without SA_RESTART */
	struct usp_file *end[2];
	unsigned char bytes[5];
	struct call call;
	struct worker worker;

	(void)state;
	sem_init(&signal_handled, 0, 0);
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	open_pipe(end, 1, 0);
	call = (struct call){.in = end[0], .base = bytes, .len = sizeof(bytes)};
	worker_start(&worker, call_read, &call);
	worker_await_sleep(&worker);
	assert_int_equal(pthread_kill(worker.thread, SIGUSR1), 0);
	while (sem_wait(&signal_handled) < 0)
		;
	put_bytes(end[1], 0, 5);
	assert_int_equal(worker_join(&worker), 5);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	close_pipe(end);
}

/* --- Gifts between threads -------------------------------------------------------------------------------------------- */

#define NR_GIFTS 4
#define GIFT_LEN (3 * PAGE)

struct giver {
	struct usp_file *end;
	unsigned char *bytes[NR_GIFTS];
	struct gift_slot {
		struct giver *giver;
		sem_t free;
		_Atomic(unsigned) nr_done;
	} slots[NR_GIFTS];
};

static void giver_done(void *arg)
{
	struct gift_slot *slot = arg;
	unsigned index = (unsigned)(slot - slot->giver->slots);

	memset(slot->giver->bytes[index], 0xee, GIFT_LEN); /* a race here is a notification that came too early */
	slot->nr_done++;
	sem_post(&slot->free);
}

static ssize_t giver_run(void *arg)
{
	struct giver *giver = arg;

	for (unsigned i = 0; i < 500; i++) {
		struct gift_slot *slot = &giver->slots[i % NR_GIFTS];
		unsigned char *bytes = giver->bytes[i % NR_GIFTS];
		struct usp_gift *gift;
		size_t done = 0;
		ssize_t ret = 0;

		while (sem_wait(&slot->free) < 0)
			;
		pattern_fill(bytes, (uint64_t)i * GIFT_LEN, GIFT_LEN);
		if (usp_gift_new(bytes, GIFT_LEN, giver_done, slot, &gift) < 0)
			return -ENOMEM;
		for (; done < GIFT_LEN && ret >= 0; done += (size_t)(ret > 0 ? ret : 0))
			ret = usp_gift_splice(gift, done, GIFT_LEN - done, giver->end, 0);
		usp_gift_put(gift);
		if (ret < 0)
			return ret;
	}
	drop(&giver->end);
	return 0;
}

static void gifts_are_free_again_only_when_the_other_thread_has_read_them(void **state)
{
	static struct giver giver;
	struct usp_file *end[2], *other[2];
	unsigned char bytes[1000];
	struct call call;
	struct worker worker;
	uint64_t off = 0;
	ssize_t ret;

	(void)state;
	open_pipe(end, 8, 0);
	open_pipe(other, 2, 0);
	giver.end = end[1];
	for (unsigned i = 0; i < NR_GIFTS; i++) {
		giver.slots[i].giver = &giver;
		giver.slots[i].nr_done = 0;
		sem_init(&giver.slots[i].free, 0, 1);
		giver.bytes[i] = aligned_alloc(PAGE, GIFT_LEN);
		assert_non_null(giver.bytes[i]);
	}
	worker_start(&worker, giver_run, &giver);
	do { /* through a second pipe in parts, so that bufs are split */
		call = (struct call){.in = end[0], .out = other[1], .len = 700};
		ret = call_splice(&call);
		if (ret > 0) {
			assert_int_equal(usp_read(other[0], bytes, sizeof(bytes)), ret);
			assert_pattern(bytes, off, (size_t)ret);
			off += (uint64_t)ret;
		}
	} while (ret > 0);
	assert_int_equal(ret, 0);
	assert_int_equal(worker_join(&worker), 0);
	assert_int_equal(off, 500 * GIFT_LEN);
	usp_file_put(end[0]);
	close_pipe(other);
	for (unsigned i = 0; i < NR_GIFTS; i++) {
		assert_int_equal(giver.slots[i].nr_done, 500 / NR_GIFTS);
		free(giver.bytes[i]);
	}
}

/* --- The pool ------------------------------------------------------------------------------------------------------------ */

static ssize_t folio_churn(void *arg)
{
	struct usp_folio *folios[16] = {NULL};
	unsigned random = *(unsigned *)arg, mark = random;

	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		unsigned index = next_random(&random) % ARRAY_LEN(folios);
		struct usp_folio **folio = &folios[index];

		if (*folio) {
			if ((*folio)->base[0] != (unsigned char)(mark + index))
				return -EBADMSG;
			usp_folio_put(*folio);
			*folio = NULL;
		} else {
			*folio = usp_folio_new((size_t)1 << (10 + next_random(&random) % 10));
			if (!*folio)
				return -ENOMEM;
			(*folio)->base[0] = (unsigned char)(mark + index);
		}
		if (i % 512 == 0)
			usp_trim(&(struct usp_usage){.size = sizeof(struct usp_usage), 0});
	}
	for (unsigned i = 0; i < ARRAY_LEN(folios); i++) {
		if (folios[i])
			usp_folio_put(folios[i]);
	}
	return 0;
}

static void the_pool_never_gives_one_folio_to_two_threads(void **state)
{
	struct worker workers[3];
	unsigned seeds[3] = {10, 90, 170};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		worker_start(&workers[i], folio_churn, &seeds[i]);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(worker_join(&workers[i]), 0);
}

/* --- Calls of several slots are one to the other side (N1) ---------------------------------------------------------- */

#define WHOLE_FIRST 100u
#define WHOLE_LEN (2 * PAGE + 200u) /* its odd bytes merge behind the first ones, unless these were read meanwhile */

struct whole {
	struct usp_file *end[2];
	sem_t is_read;
};

static ssize_t whole_write(void *arg)
{
	struct whole *whole = arg;
	static unsigned char bytes[WHOLE_LEN];

	pattern_fill(bytes, WHOLE_FIRST, WHOLE_LEN);
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		ssize_t ret = usp_write(whole->end[1], bytes, WHOLE_LEN);

		if (ret != WHOLE_LEN)
			return ret < 0 ? ret : -EIO;
		while (sem_wait(&whole->is_read) < 0)
			;
	}
	return 0;
}

static void a_write_of_several_slots_is_never_seen_in_part(void **state)
{
	static unsigned char bytes[2 * WHOLE_LEN];
	struct whole whole;
	struct worker worker;

	(void)state;
	open_pipe(whole.end, 16, 0);
	sem_init(&whole.is_read, 0, 0);
	put_bytes(whole.end[1], 0, WHOLE_FIRST);
	worker_start(&worker, whole_write, &whole);
	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		size_t first = (size_t)usp_read(whole.end[0], bytes, sizeof(bytes)), len = first;

		if (first == WHOLE_FIRST)
			len += (size_t)usp_read(whole.end[0], bytes + first, sizeof(bytes) - first);
		assert_int_equal(len, WHOLE_FIRST + WHOLE_LEN);
		assert_pattern(bytes, 0, len);
		put_bytes(whole.end[1], 0,
			  WHOLE_FIRST); /* the other one waits, so that is in front of its next write */
		sem_post(&whole.is_read);
	}
	take_bytes(whole.end[0], 0, WHOLE_FIRST);
	assert_int_equal(worker_join(&worker), 0);
	sem_destroy(&whole.is_read);
	close_pipe(whole.end);
}

/* A pipe that a writer is in the middle of. */
static struct {
	struct usp_pipe *pipe;
	unsigned nr_looks, nr_parts; /* what a reader would have found each time the writer let go of it */
	struct usp_file *reader;     /* reads what is there before the first slot is filled, once; or NULL */
} watched;

void __real_usp_pipe_unlock(struct usp_pipe *pipe);
void __wrap_usp_pipe_unlock(struct usp_pipe *pipe);

void __wrap_usp_pipe_unlock(struct usp_pipe *pipe)
{
	size_t len;

	__real_usp_pipe_unlock(pipe);
	if (pipe != watched.pipe)
		return;
	len = usp_pipe_len(pipe);
	watched.nr_looks++;
	watched.nr_parts += len != WHOLE_FIRST && len != WHOLE_FIRST + WHOLE_LEN;
}

unsigned __real_usp_pipe_push(struct usp_pipe *pipe, const struct usp_buf *bufs, unsigned nr_bufs);
unsigned __wrap_usp_pipe_push(struct usp_pipe *pipe, const struct usp_buf *bufs, unsigned nr_bufs);

unsigned __wrap_usp_pipe_push(struct usp_pipe *pipe, const struct usp_buf *bufs, unsigned nr_bufs)
{
	if (pipe == watched.pipe && watched.reader) {
		take_bytes(watched.reader, 0, WHOLE_FIRST);
		watched.reader = NULL;
	}
	return __real_usp_pipe_push(pipe, bufs, nr_bufs);
}

static void at_each_moment_of_a_write_there_is_all_of_it_or_nothing(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 16, 0);
	put_bytes(end[1], 0, WHOLE_FIRST);
	watched.pipe = usp_file_pipe(end[1]);
	put_bytes(end[1], WHOLE_FIRST, WHOLE_LEN);
	watched.pipe = NULL;
	assert_true(watched.nr_looks > 0);
	assert_int_equal(watched.nr_parts, 0);
	take_bytes(end[0], 0, WHOLE_FIRST + WHOLE_LEN);
	close_pipe(end);
}

static void odd_bytes_arrive_although_those_that_they_were_to_join_are_read_meanwhile(void **state)
{
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 16, 0);
	put_bytes(end[1], 0, WHOLE_FIRST);
	watched.pipe = usp_file_pipe(end[1]);
	watched.reader = end[0];
	put_bytes(end[1], WHOLE_FIRST, WHOLE_LEN);
	watched.pipe = NULL;
	assert_null(watched.reader);
	take_bytes(end[0], WHOLE_FIRST, WHOLE_LEN);
	close_pipe(end);
}

int main(void)
{
	const struct CMUnitTest crowds[] = {
		CASE(c12_every_record_arrives_once_whatever_the_crowd_does),
		CASE(a_stream_through_a_chain_of_threads_stays_in_order),
		CASE(c09_crossing_splices_neither_lock_up_nor_lose_anything),
		CASE(c09_crossing_tees_do_not_lock_up),
		CASE(gifts_are_free_again_only_when_the_other_thread_has_read_them),
		CASE(the_pool_never_gives_one_folio_to_two_threads),
	};
	const struct CMUnitTest wake_ups[] = {
		CASE(one_byte_goes_back_and_forth_without_a_lost_wake_up),
		CASE(one_write_wakes_as_many_readers_as_it_has_bytes),
		CASE(readers_and_splicers_that_wait_together_are_all_served),
		CASE(c13_no_wake_up_is_lost_among_readers_splicers_and_a_resizer),
		CASE(closing_the_write_end_wakes_everybody_who_waits_for_data),
		CASE(closing_the_read_end_wakes_everybody_who_waits_for_room),
		CASE(an_outside_loop_misses_no_change),
	};
	const struct CMUnitTest blocking[] = {
		CASE(a_source_that_blocks_does_not_keep_readers_from_the_pipe),
		CASE(a_nonblocking_writer_is_told_that_another_one_is_in_the_middle_of_a_step),
		CASE(a_blocking_writer_waits_for_its_turn),
		CASE(a_pipe_may_grow_and_not_shrink_while_a_producer_is_in_the_middle_of_a_step),
		CASE(a_sink_that_blocks_does_not_keep_writers_from_the_pipe),
		CASE(a_nonblocking_consumer_is_told_that_another_one_is_in_the_middle_of_a_step),
		CASE(a_blocking_reader_waits_for_the_consumer_before_it),
		CASE(a_reader_that_leaves_while_a_source_blocks_does_not_make_its_bytes_vanish),
		CASE(a_signal_does_not_end_a_wait_on_a_pipe),
	};
	const struct CMUnitTest whole[] = {
		CASE(at_each_moment_of_a_write_there_is_all_of_it_or_nothing),
		CASE(odd_bytes_arrive_although_those_that_they_were_to_join_are_read_meanwhile),
		CASE(a_write_of_several_slots_is_never_seen_in_part),
	};
	int nr_failed = 0;

	nr_failed += cmocka_run_group_tests_name("threads: crowds", crowds, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("threads: wake-ups", wake_ups, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("threads: hooks that block", blocking, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("threads: calls of several slots", whole, NULL, NULL);
	return nr_failed != 0;
}
