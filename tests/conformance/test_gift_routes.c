/* SPDX-License-Identifier: MIT */
/* test_gift_routes - gifts on whole routes: what arrives are the old bytes, however soon the memory is filled anew. */
#include <sched.h>
#include <stdio.h>

#include "peer.h"

#define NR_BUFFERS 8
#define BUFFER_LEN 100000u
#define NR_SINKS 8
#define NR_ROUNDS 100000u
#define ROUND_LEN 64u

/*
 * A giver sends the stream through a few buffers. The callback of a gift spoils its buffer and fills it with the next piece
 * at once, so that whoever still looks at the old one is found out.
 */
struct giver {
	pthread_mutex_t lock;
	pthread_cond_t is_filled;
	struct buffer {
		struct giver *giver;
		unsigned char *base;
		uint64_t piece;
	} buffers[NR_BUFFERS];
	uint64_t nr_filled, nr_done, nr_given; /* pieces */
	uint64_t nr_pieces;
	size_t piece_len;
	bool is_abandoned; /* the reader has gone */
	struct usp_file *end;
	struct worker worker;
};

static size_t giver_piece_len(const struct giver *giver, uint64_t piece)
{
	size_t off = (size_t)piece * giver->piece_len;

	return stream.len - off < giver->piece_len ? stream.len - off : giver->piece_len;
}

/* Lock held. */
static void giver_fill(struct giver *giver, struct buffer *buffer)
{
	memset(buffer->base, 0xee, giver->piece_len);
	buffer->piece = giver->nr_filled;
	if (giver->nr_filled == giver->nr_pieces)
		return;
	memcpy(buffer->base, stream.base + buffer->piece * giver->piece_len, giver_piece_len(giver, buffer->piece));
	giver->nr_filled++;
	pthread_cond_broadcast(&giver->is_filled);
}

static void giver_done(void *arg)
{
	struct buffer *buffer = arg;
	struct giver *giver = buffer->giver;

	pthread_mutex_lock(&giver->lock);
	giver->nr_done++;
	giver_fill(giver, buffer);
	pthread_mutex_unlock(&giver->lock);
}

/* The buffer with a piece, or NULL if nobody wants it any more. */
static struct buffer *giver_await_piece(struct giver *giver, uint64_t piece)
{
	struct buffer *buffer = NULL;

	pthread_mutex_lock(&giver->lock);
	while (giver->nr_filled <= piece && !giver->is_abandoned)
		pthread_cond_wait(&giver->is_filled, &giver->lock);
	for (unsigned i = 0; i < NR_BUFFERS && !giver->is_abandoned; i++) {
		if (giver->buffers[i].piece == piece)
			buffer = &giver->buffers[i];
	}
	pthread_mutex_unlock(&giver->lock);
	return buffer;
}

/* Give one piece, all of it: 0, or -EPIPE when nobody wants it any more. The gift ends in either case. */
static int giver_give(struct giver *giver, struct buffer *buffer, size_t len)
{
	struct usp_gift *gift;
	size_t done = 0;
	ssize_t ret = usp_gift_new(buffer->base, len, giver_done, buffer, &gift);

	if (ret < 0)
		return (int)ret;
	giver->nr_given++;
	while (done < len) {
		ret = usp_gift_splice(gift, done, len - done, giver->end, 0);
		if (ret < 0)
			break;
		done += (size_t)ret;
	}
	usp_gift_put(gift);
	return ret < 0 ? (int)ret : 0;
}

static ssize_t giver_run(void *arg)
{
	struct giver *giver = arg;
	int ret = 0;

	for (uint64_t piece = 0; piece < giver->nr_pieces && ret == 0; piece++) {
		struct buffer *buffer = giver_await_piece(giver, piece);

		ret = buffer ? giver_give(giver, buffer, giver_piece_len(giver, piece)) : -EPIPE;
	}
	drop(&giver->end);
	return ret;
}

/* The read end of a pipe that is fed with gifts. */
static struct usp_file *giver_start(struct giver *giver, size_t piece_len)
{
	struct usp_file *ends[2];

	*giver = (struct giver){.piece_len = piece_len, .nr_pieces = (stream.len + piece_len - 1) / piece_len};
	pthread_mutex_init(&giver->lock, NULL);
	pthread_cond_init(&giver->is_filled, NULL);
	for (unsigned i = 0; i < NR_BUFFERS; i++) {
		giver->buffers[i].giver = giver;
		giver->buffers[i].base = malloc(piece_len);
		assert_non_null(giver->buffers[i].base);
		giver_fill(giver, &giver->buffers[i]);
	}
	assert_int_equal(usp_pipe_open(NULL, ends), 0);
	giver->end = ends[1];
	worker_start(&giver->worker, giver_run, giver);
	return ends[0];
}

/* What is in a pipe without a reader stays there as long as a writer has it open: the giver has to let go. */
static void giver_abandon(struct giver *giver)
{
	pthread_mutex_lock(&giver->lock);
	giver->is_abandoned = true;
	pthread_cond_broadcast(&giver->is_filled);
	pthread_mutex_unlock(&giver->lock);
}

/* Every gift that was made is done by now, exactly once. */
static ssize_t giver_finish(struct giver *giver)
{
	ssize_t ret = worker_join(&giver->worker);

	assert_int_equal(giver->nr_done, giver->nr_given);
	for (unsigned i = 0; i < NR_BUFFERS; i++)
		free(giver->buffers[i].base);
	pthread_cond_destroy(&giver->is_filled);
	pthread_mutex_destroy(&giver->lock);
	return ret;
}

/* --- Routes ---------------------------------------------------------------------------------------------------- */

static struct giver giver;
static struct peer peers[NR_SINKS];

static struct usp_pump *pump_of(struct usp_file *source, unsigned flags, unsigned nr_sinks)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = flags};
	struct usp_pump *pump;

	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	usp_file_put(source);
	for (unsigned i = 0; i < nr_sinks; i++)
		assert_int_equal(usp_pump_add_sink(pump, peers[i].file), 0);
	return pump;
}

static ssize_t pump_run(void *pump)
{
	return usp_pump_run(pump);
}

static void gifts_arrive_at_one_sink_as_they_were(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < NR_PEER_KINDS; kind++) {
		struct usp_pump *pump;

		peer_open_sink(&peers[0], &peer_kinds[kind], stream.len);
		pump = pump_of(giver_start(&giver, BUFFER_LEN), 0, 1);
		assert_int_equal(usp_pump_run(pump), 0);
		usp_pump_free(pump);
		assert_true(peer_close_sink(&peers[0], stream.len));
		assert_int_equal(giver_finish(&giver), 0);
		assert_int_equal(giver.nr_done, giver.nr_pieces);
	}
}

static void gifts_arrive_at_eight_sinks_as_they_were(void **state)
{
	struct usp_pump *pump;

	(void)state;
	for (unsigned i = 0; i < NR_SINKS; i++)
		peer_open_sink(&peers[i], &peer_kinds[i % NR_PEER_KINDS], stream.len);
	pump = pump_of(giver_start(&giver, BUFFER_LEN), 0, NR_SINKS);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_free(pump);
	for (unsigned i = 0; i < NR_SINKS; i++)
		assert_true(peer_close_sink(&peers[i], stream.len));
	assert_int_equal(giver_finish(&giver), 0);
	assert_int_equal(giver.nr_done, giver.nr_pieces);
}

static void gifts_are_done_when_their_only_sink_is_reset(void **state)
{
	struct usp_sink_status status = {.size = sizeof(status)};
	struct usp_pump *pump;
	struct worker worker;

	(void)state;
	peer_open_held_sink(&peers[0], &peer_kinds[PEER_TCP], stream.len);
	pump = pump_of(giver_start(&giver, BUFFER_LEN), 0, 1);
	worker_start(&worker, pump_run, pump);
	do
		assert_int_equal(usp_pump_sink_status(pump, 0, &status), 0);
	while (status.bytes == 0);
	peer_die(&peers[0]);
	assert_true((int)worker_join(&worker) < 0);
	usp_pump_free(pump);
	peer_close_dead_sink(&peers[0]);
	giver_abandon(&giver);
	assert_int_equal(giver_finish(&giver), -EPIPE);
	assert_true(giver.nr_done < giver.nr_pieces);
}

static void gifts_outlive_the_one_of_eight_sinks_that_is_reset(void **state)
{
	struct usp_sink_status status = {.size = sizeof(status)};
	struct usp_pump *pump;
	struct worker worker;

	(void)state;
	peer_open_held_sink(&peers[0], &peer_kinds[PEER_TCP], stream.len);
	for (unsigned i = 1; i < NR_SINKS; i++)
		peer_open_sink(&peers[i], &peer_kinds[i % NR_PEER_KINDS], stream.len);
	pump = pump_of(giver_start(&giver, BUFFER_LEN), USP_PUMP_CONTINUE_ON_ERROR, NR_SINKS);
	worker_start(&worker, pump_run, pump);
	do
		assert_int_equal(usp_pump_sink_status(pump, 0, &status), 0);
	while (status.bytes == 0);
	peer_die(&peers[0]);
	assert_true((int)worker_join(&worker) < 0);
	usp_pump_free(pump);
	peer_close_dead_sink(&peers[0]);
	for (unsigned i = 1; i < NR_SINKS; i++)
		assert_true(peer_close_sink(&peers[i], stream.len));
	assert_int_equal(giver_finish(&giver), 0);
	assert_int_equal(giver.nr_done, giver.nr_pieces);
}

/* --- Many rounds between two threads -------------------------------------------------------------------------------- */

static void no_notice_of_very_many_is_early_late_or_missing(void **state)
{
	unsigned char bytes[3 * ROUND_LEN];
	struct usp_file *end;
	size_t len = stream.len, off = 0;
	ssize_t ret;

	(void)state;
	stream.len = NR_ROUNDS * ROUND_LEN < len ? NR_ROUNDS * ROUND_LEN : len;
	end = giver_start(&giver, ROUND_LEN);
	while ((ret = usp_read(end, bytes, off % sizeof(bytes) + 1)) > 0) {
		assert_memory_equal(bytes, stream.base + off, (size_t)ret);
		off += (size_t)ret;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(off, stream.len);
	drop(&end);
	assert_int_equal(giver_finish(&giver), 0);
	assert_int_equal(giver.nr_done, giver.nr_pieces);
	stream.len = len;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(gifts_arrive_at_one_sink_as_they_were),
		CASE(gifts_arrive_at_eight_sinks_as_they_were),
		CASE(gifts_are_done_when_their_only_sink_is_reset),
		CASE(gifts_outlive_the_one_of_eight_sinks_that_is_reset),
		CASE(no_notice_of_very_many_is_early_late_or_missing),
	};
	int ret;

	if (stream_open(NR_ROUNDS * ROUND_LEN) < 0)
		return 1;
	ret = cmocka_run_group_tests_name("gift routes", tests, NULL, NULL);
	stream_close();
	return ret;
}
