/* SPDX-License-Identifier: MIT */
/* test_helpers - the helpers that authors name in their tables (H1-H16), and what they make of odd bufs (C1, C14). */
#include "net.h"
#include "support.h"

#include <sys/socket.h>

static struct usp_pipe *open_ring(unsigned nr_slots)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = nr_slots, .slot_bytes = PAGE};
	struct usp_pipe *pipe;

	assert_int_equal(usp_pipe_new(&params, &pipe), 0);
	return pipe;
}

static void push_buf(struct usp_pipe *pipe, struct usp_buf buf)
{
	assert_int_equal(usp_pipe_begin_write(pipe, USP_SPLICE_NONBLOCK), 0);
	assert_int_equal(usp_pipe_push(pipe, &buf, 1), 1);
	usp_pipe_end_write(pipe);
}

/* --- usp_copy_splice_read ------------------------------------------------------------------------------------ */

static void copying_fills_one_folio_for_each_slot_by_one_read(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);
	struct usp_buf bufs[4];
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 16, USP_NONBLOCK);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 2 * PAGE + 10, 0), 2 * PAGE + 10);
	assert_int_equal(source->nr_calls, 1);
	assert_int_equal(source->nr_segs[0], 3);
	assert_int_equal(source->file->pos, 2 * PAGE + 10);
	assert_int_equal(peek_bufs(end[0], bufs, 4), 3);
	for (unsigned i = 0; i < 3; i++) {
		assert_ptr_equal(bufs[i].ops, &usp_folio_buf_ops);
		assert_int_equal(bufs[i].offset, 0);
		assert_int_equal(bufs[i].len, i < 2 ? PAGE : 10);
		assert_int_equal(bufs[i].flags, 0);
	}
	take_bytes(end[0], 0, 2 * PAGE + 10);
	close_pipe(end);
	mock_close(source);
}

static void copying_keeps_only_the_folios_that_were_filled(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_usage before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 16, USP_NONBLOCK);
	usp_trim(&before);
	SCRIPT(source, PAGE + 1);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 16 * PAGE, 0), PAGE + 1);
	usp_trim(&after);
	assert_int_equal(after.nr_folios, before.nr_folios + 2);
	assert_int_equal(nr_bufs_in(end[0]), 2);
	close_pipe(end);
	mock_close(source);
}

static void copying_passes_on_the_end_and_errors_and_leaves_no_folio(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);
	struct usp_usage before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	usp_trim(&before);
	SCRIPT(source, 0, -EIO, -EINVAL);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 100, 0), 0);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 100, 0), -EIO);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 100, 0), -EINVAL);
	usp_trim(&after);
	assert_int_equal(after.nr_folios, before.nr_folios);
	assert_int_equal(source->file->pos, 0);
	close_pipe(end);
	mock_close(source);
}

static void copying_into_a_full_pipe_is_eagain_and_no_false_end(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_pipe *pipe = open_ring(1);
	struct usp_buf buf = folio_buf(0, 10, 0);
	int64_t pos = 0;

	(void)state;
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	assert_int_equal(usp_pipe_push(pipe, &buf, 1), 1);
	assert_int_equal(usp_copy_splice_read(source->file, &pos, pipe, 10, 0), -EAGAIN);
	usp_pipe_end_write(pipe);
	assert_int_equal(source->nr_calls, 0);
	usp_pipe_free(pipe);
	mock_close(source);
}

static void copying_is_accounted_as_copied_with_a_reason(void **state)
{
	struct mock *file = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct usp_file *end[2];
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_splice(file->file, NULL, end[1], NULL, 100, 0), 100);
	assert_int_equal(usp_splice(end[0], NULL, file->file, NULL, 60, 0), 60);
	for (unsigned i = 0; i < 2; i++) {
		usp_file_hop(file->file, i ? USP_WRITE : USP_READ, &hop);
		assert_int_equal(hop.bytes[USP_COPIED], i ? 60 : 100);
		assert_int_equal(hop.bytes[USP_BY_REFERENCE], 0);
		assert_int_equal(hop.bytes[USP_UNKNOWN], 0);
		assert_int_equal(hop.nr_calls, 1);
		assert_non_null(hop.reason[USP_COPIED]);
		assert_null(hop.reason[USP_BY_REFERENCE]);
		assert_string_equal(hop.lane, "user");
	}
	close_pipe(end);
	mock_close(file);
}

static void a_producer_leaves_nothing_of_what_a_slot_held_before(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0);
	struct mock_store store;
	struct usp_file *end[2];
	struct usp_buf buf, stale;

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 1, USP_NONBLOCK);
	stale = mock_buf(&store, &mock_buf_ops, 7, 10, USP_BUF_PACKET | USP_BUF_GIFT);
	stale.priv = (uintptr_t)0xa5a5a5a5;
	inject(end[1], stale);
	take_bytes(end[0], 7, 10);
	assert_int_equal(usp_splice(source->file, NULL, end[1], NULL, 1, 0), 1);
	assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
	assert_int_equal(buf.flags, 0);
	assert_int_equal(buf.priv, 0);
	assert_int_equal(buf.offset, 0);
	assert_int_equal(usp_write(end[1], "Z", 1), -EAGAIN); /* so nothing merges into it either */
	close_pipe(end);
	mock_store_fini(&store);
	mock_close(source);
}

/* --- usp_iter_splice_write ------------------------------------------------------------------------------------ */

static void writing_hands_over_all_ready_bufs_at_once_and_unmerged(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 8, USP_NONBLOCK);
	inject(end[1], folio_buf(0, 10, 0));
	inject(end[1], folio_buf(10, PAGE, 0));
	inject(end[1], folio_buf(10 + PAGE, 5, 0));
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, PAGE + 12, 0), PAGE + 12);
	assert_int_equal(sink->nr_calls, 1);
	assert_int_equal(sink->nr_segs[0], 3);
	assert_int_equal(sink->asked[0], PAGE + 12);
	assert_pattern(sink->bytes, 0, PAGE + 12);
	take_bytes(end[0], PAGE + 12, 3);
	close_pipe(end);
	mock_close(sink);
}

static void writing_goes_on_after_a_short_write(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, USP_FILE_SEEKABLE);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 8, USP_NONBLOCK);
	for (unsigned i = 0; i < 4; i++)
		inject(end[1], folio_buf(i * 10, 10, 0));
	SCRIPT(sink, 15, 5, 1);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 40, 0), 40);
	assert_int_equal(sink->nr_calls, 4);
	assert_int_equal(sink->asked[1], 25);
	assert_int_equal(sink->asked[2], 20);
	assert_int_equal(sink->nr_segs[1], 3); /* the partial buf was trimmed, the eaten one is gone */
	assert_int_equal(sink->file->pos, 40);
	assert_pattern(sink->bytes, 0, 40);
	close_pipe(end);
	mock_close(sink);
}

static void writing_more_bufs_than_one_batch_holds_loses_none(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 2048, USP_NONBLOCK | USP_PACKET);
	for (unsigned i = 0; i < 2000; i++)
		put_bytes(end[1], i, 1);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 4000, 0), 2000);
	assert_pattern(sink->bytes, 0, 2000);
	close_pipe(end);
	mock_close(sink);
}

static void a_confirm_that_fails_anywhere_leaves_the_batch_unwritten(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, USP_FILE_SEEKABLE);
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 10, 10, 0));
	inject(end[1], folio_buf(20, 10, 0));
	store.confirm_error = -EIO;
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 30, 0), -EIO);
	store.confirm_error = -ENODATA; /* the file was truncated under us: looks like the end (O4) */
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 30, 0), 0);
	assert_int_equal(sink->nr_calls, 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 30);
	store.confirm_error = 0;
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 30, 0), 30);
	assert_pattern(sink->bytes, 0, 30);
	close_pipe(end);
	mock_store_fini(&store);
	mock_close(sink);
}

static void fail_confirm_from_now_on(struct mock *mock)
{
	struct mock_store *store = mock->arg;

	store->confirm_error = -EIO;
}

static void a_confirm_that_fails_after_a_short_write_keeps_what_was_written(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, USP_FILE_SEEKABLE);
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 10, 10, 0));
	SCRIPT(sink, 5);
	sink->on_call = fail_confirm_from_now_on;
	sink->arg = &store;
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 20, 0), 5);
	assert_int_equal(sink->nr_calls, 1);
	assert_int_equal(sink->file->pos, 5);
	assert_int_equal(usp_pipe_bytes(end[0]), 15);
	close_pipe(end);
	mock_store_fini(&store);
	mock_close(sink);
}

static void writing_needs_a_write_iter(void **state)
{
	static const struct usp_file_ops ops = {
		.size = sizeof(struct usp_file_ops), .name = "no-write-iter", .splice_write = usp_iter_splice_write};
	struct usp_file *end[2], *file;

	(void)state;
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_file_new(&ops, USP_WRITE, "x", NULL, &file), 0);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, file, NULL, 10, 0), -EINVAL);
	take_bytes(end[0], 0, 10);
	usp_file_put(file);
	close_pipe(end);
}

/* --- usp_drop_splice_write ------------------------------------------------------------------------------------ */

static void dropping_confirms_and_does_not_map(void **state)
{
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct mock_store store;
	struct usp_file *end[2];
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 4, USP_NONBLOCK);
	inject(end[1], mock_buf(&store, &mock_unmapped_buf_ops, 0, 10, 0));
	inject(end[1], folio_buf(10, 10, 0));
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 15, 0), 15);
	assert_int_equal(store.nr_confirm, 1);
	assert_int_equal(store.nr_map, 0);
	assert_int_equal(store.nr_release, 1);
	usp_file_hop(sink->file, USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 15);
	assert_int_equal(hop.bytes[USP_COPIED], 0);
	take_bytes(end[0], 15, 5);
	close_pipe(end);
	mock_store_fini(&store);
	mock_close(sink);
}

static void dropping_follows_the_rules_for_an_empty_pipe(void **state)
{
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, 0);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 15, USP_SPLICE_NONBLOCK), -EAGAIN);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 15, 0), 10);
	drop(&end[1]);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 15, 0), 0);
	close_pipe(end);
	mock_close(sink);
}

static void dropping_stops_at_a_confirm_that_fails(void **state)
{
	struct mock *sink = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	mock_store_init(&store);
	store.confirm_error = -EIO;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 10);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 10, 10, 0));
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 20, 0), 10);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 20, 0), -EIO);
	store.confirm_error = -ENODATA;
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 20, 0), 0);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
	close_pipe(end);
	mock_store_fini(&store);
	mock_close(sink);
}

/* --- usp_splice_from_pipe --------------------------------------------------------------------------------------- */

/* An actor that checks the pattern, and answers by a script as the mock files do. */
struct actor {
	uint64_t off;
	ssize_t script[8];
	unsigned nr_calls;
	bool saw_empty, saw_wrong;
	struct usp_buf *keep; /* becomes a second owner of the first buf */
};

static ssize_t scripted_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct actor *actor = arg;
	ssize_t ret = actor->nr_calls < ARRAY_LEN(actor->script) ? actor->script[actor->nr_calls] : MOCK_ALL;

	if (actor->keep && actor->nr_calls == 0) {
		*actor->keep = *buf;
		assert_true(usp_buf_get(pipe, buf, actor->keep));
	}
	actor->nr_calls++;
	if (len == 0)
		actor->saw_empty = true;
	if (!pattern_is(usp_buf_bytes(buf), actor->off, len))
		actor->saw_wrong = true;
	if (ret == MOCK_TOO_MUCH)
		return (ssize_t)len + 1;
	if (ret > (ssize_t)len)
		ret = (ssize_t)len;
	if (ret > 0)
		actor->off += (uint64_t)ret;
	return ret;
}

static void an_actor_is_shown_one_buf_after_the_other_up_to_the_length(void **state)
{
	struct usp_pipe *pipe = open_ring(4);
	struct actor actor = {.script = {MOCK_ALL, MOCK_ALL, MOCK_ALL}};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		push_buf(pipe, folio_buf(i * 10, 10, 0));
	assert_int_equal(usp_splice_from_pipe(pipe, 25, 0, scripted_actor, &actor), 25);
	assert_int_equal(actor.nr_calls, 3);
	assert_false(actor.saw_wrong);
	assert_int_equal(usp_pipe_len(pipe), 5);
	usp_pipe_free(pipe);
}

static void an_actor_that_uses_a_part_is_shown_the_rest(void **state)
{
	struct usp_pipe *pipe = open_ring(4);
	struct actor actor = {.script = {3, 4, MOCK_ALL, MOCK_ALL}};

	(void)state;
	push_buf(pipe, folio_buf(0, 10, 0));
	push_buf(pipe, folio_buf(10, 10, 0));
	assert_int_equal(usp_splice_from_pipe(pipe, 100, 0, scripted_actor, &actor), 20);
	assert_int_equal(actor.nr_calls, 4);
	assert_false(actor.saw_wrong);
	usp_pipe_free(pipe);
}

static void an_actor_stops_with_zero_or_an_error_and_progress_beats_both(void **state)
{
	static const ssize_t stops[] = {0, -EIO};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct usp_pipe *pipe = open_ring(4);
		struct actor actor = {.script = {MOCK_ALL, stops[i], stops[i]}};

		push_buf(pipe, folio_buf(0, 10, 0));
		push_buf(pipe, folio_buf(10, 10, 0));
		assert_int_equal(usp_splice_from_pipe(pipe, 100, 0, scripted_actor, &actor), 10);
		assert_int_equal(usp_splice_from_pipe(pipe, 100, 0, scripted_actor, &actor), stops[i]);
		assert_int_equal(usp_pipe_len(pipe), 10);
		usp_pipe_free(pipe);
	}
}

static void an_actor_that_claims_too_much_is_caught(void **state)
{
	struct usp_pipe *pipe = open_ring(4);
	struct actor actor = {.script = {MOCK_TOO_MUCH}};

	(void)state;
	push_buf(pipe, folio_buf(0, 10, 0));
	push_buf(pipe, folio_buf(10, 10, 0));
	assert_int_equal(usp_splice_from_pipe(pipe, 100, 0, scripted_actor, &actor), -EIO);
	assert_int_equal(usp_pipe_len(pipe), 20);
	usp_pipe_free(pipe);
}

static void an_actor_may_keep_a_buf(void **state)
{
	struct usp_pipe *pipe = open_ring(4);
	struct usp_buf kept = {.ops = NULL};
	struct actor actor = {.script = {MOCK_ALL}, .keep = &kept};

	(void)state;
	push_buf(pipe, folio_buf(0, 10, 0));
	assert_int_equal(usp_splice_from_pipe(pipe, 100, 0, scripted_actor, &actor), 10);
	usp_pipe_free(pipe);
	assert_pattern(usp_buf_bytes(&kept), 0, 10);
	usp_buf_release(NULL, &kept);
}

static void an_actor_sees_only_confirmed_and_mapped_bytes(void **state)
{
	struct usp_pipe *pipe = open_ring(4);
	struct actor actor = {.script = {3, MOCK_ALL, MOCK_ALL}};
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	push_buf(pipe, mock_buf(&store, &mock_unmapped_buf_ops, 0, 10, 0));
	assert_int_equal(usp_splice_from_pipe(pipe, 100, 0, scripted_actor, &actor), 10);
	assert_false(actor.saw_wrong);
	assert_int_equal(store.nr_map, 1);
	assert_true(store.nr_confirm >= 1);
	usp_pipe_free(pipe);
	mock_store_fini(&store);
}

static void an_actor_is_not_called_for_an_empty_or_ended_pipe(void **state)
{
	struct usp_pipe *pipe = open_ring(4);
	struct actor actor = {.script = {MOCK_ALL}};

	(void)state;
	assert_int_equal(usp_splice_from_pipe(pipe, 100, USP_SPLICE_NONBLOCK, scripted_actor, &actor), -EAGAIN);
	usp_pipe_close_write(pipe);
	assert_int_equal(usp_splice_from_pipe(pipe, 100, 0, scripted_actor, &actor), 0);
	assert_int_equal(actor.nr_calls, 0);
	usp_pipe_free(pipe);
}

/* --- Bufs without bytes, in every position (C14) ------------------------------------------------------------------ */

enum consumer { BY_READ, BY_VMSPLICE, BY_WRITE_ITER, BY_DROP, BY_SPLICE, NR_CONSUMERS };

struct consumers {
	struct usp_file *in[2], *out[2];
	struct mock *sink, *null;
	unsigned char bytes[64];
};

static ssize_t consume(struct consumers *c, enum consumer consumer)
{
	switch (consumer) {
	case BY_READ:
		return usp_read(c->in[0], c->bytes, sizeof(c->bytes));
	case BY_VMSPLICE:
		return usp_vmsplice(c->in[0], &(struct iovec){c->bytes, sizeof(c->bytes)}, 1, USP_SPLICE_NONBLOCK);
	case BY_WRITE_ITER:
		return usp_splice(c->in[0], NULL, c->sink->file, NULL, 64, 0);
	case BY_DROP:
		return usp_splice(c->in[0], NULL, c->null->file, NULL, 64, 0);
	default:
		return usp_splice(c->in[0], NULL, c->out[1], NULL, 64, 0);
	}
}

static void consumers_open(struct consumers *c)
{
	open_pipe(c->in, 8, USP_NONBLOCK);
	open_pipe(c->out, 8, USP_NONBLOCK);
	c->sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	c->null = mock_open(&mock_drop_ops, USP_WRITE, 0);
}

static void consumers_close(struct consumers *c)
{
	close_pipe(c->in);
	close_pipe(c->out);
	mock_close(c->sink);
	mock_close(c->null);
}

/* Three bufs of ten bytes, with nr_empty bufs of none before the buf at position. */
static void inject_around(struct consumers *c, struct mock_store *store, unsigned position, unsigned nr_empty)
{
	for (unsigned i = 0; i <= 3; i++) {
		for (unsigned j = 0; i == position && j < nr_empty; j++)
			inject(c->in[1], mock_buf(store, &mock_buf_ops, 0, 0, 0));
		if (i < 3)
			inject(c->in[1], folio_buf(i * 10, 10, 0));
	}
}

static void every_consumer_skips_and_releases_bufs_without_bytes(void **state)
{
	(void)state;
	for (unsigned run = 0; run < NR_CONSUMERS * 4 * 2; run++) {
		enum consumer consumer = run % NR_CONSUMERS;
		unsigned position = run / NR_CONSUMERS % 4, nr_empty = 1 + run / NR_CONSUMERS / 4;
		struct consumers c;
		struct mock_store store;
		ssize_t ret, sum = 0;

		mock_store_init(&store);
		consumers_open(&c);
		inject_around(&c, &store, position, nr_empty);
		while ((ret = consume(&c, consumer)) > 0)
			sum += ret;
		assert_int_equal(sum, 30);
		assert_int_equal(ret, -EAGAIN); /* never a false end of input */
		assert_int_equal(nr_bufs_in(c.in[0]), 0);
		if (consumer != BY_SPLICE)
			assert_int_equal(store.nr_release, nr_empty);
		if (consumer == BY_WRITE_ITER)
			assert_int_equal(c.sink->nr_segs[0], 3);
		consumers_close(&c);
		mock_store_fini(&store);
	}
}

static void an_actor_is_never_shown_a_buf_without_bytes(void **state)
{
	(void)state;
	for (unsigned position = 0; position <= 3; position++) {
		struct usp_pipe *pipe = open_ring(8);
		struct actor actor = {.script = {MOCK_ALL, MOCK_ALL, MOCK_ALL, MOCK_ALL}};
		struct mock_store store;

		mock_store_init(&store);
		for (unsigned i = 0; i <= 3; i++) {
			if (i == position)
				push_buf(pipe, mock_buf(&store, &mock_buf_ops, 0, 0, 0));
			if (i < 3)
				push_buf(pipe, folio_buf(i * 10, 10, 0));
		}
		assert_int_equal(usp_splice_from_pipe(pipe, 30, 0, scripted_actor, &actor), 30);
		assert_false(actor.saw_empty);
		assert_false(actor.saw_wrong);
		usp_pipe_free(pipe);
		mock_store_fini(&store);
	}
}

static void a_pipe_of_bufs_without_bytes_is_empty_for_every_consumer(void **state)
{
	(void)state;
	for (unsigned run = 0; run < NR_CONSUMERS * 2; run++) {
		bool has_writer = run / NR_CONSUMERS;
		struct consumers c;
		struct mock_store store;

		mock_store_init(&store);
		consumers_open(&c);
		for (unsigned i = 0; i < 3; i++)
			inject(c.in[1], mock_buf(&store, &mock_buf_ops, 0, 0, 0));
		if (!has_writer)
			drop(&c.in[1]);
		assert_int_equal(consume(&c, run % NR_CONSUMERS), has_writer ? -EAGAIN : 0);
		assert_int_equal(store.nr_release, 3);
		consumers_close(&c);
		mock_store_fini(&store);
	}
}

/* --- What comes while a call goes on is for the next one (N1) ------------------------------------------------------- */

/* The write end into which a buf of the next kind puts ten bytes more, when it is confirmed. */
static struct usp_file *follower_end;

static int followed_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe, (void)buf;
	if (follower_end)
		inject(follower_end, folio_buf(10, 10, 0));
	follower_end = NULL;
	return 0;
}

static void followed_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	usp_folio_buf_ops.release(pipe, buf);
}

static bool followed_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	return usp_folio_buf_ops.get(pipe, buf, copy);
}

static const struct usp_buf_ops followed_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "followed",
	.confirm = followed_confirm,
	.release = followed_release,
	.get = followed_get,
};

static ssize_t take_all_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	(void)pipe, (void)buf, (void)arg;
	return (ssize_t)len;
}

static ssize_t actor_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	(void)out, (void)pos;
	return usp_splice_from_pipe(pipe, len, flags, take_all_actor, NULL);
}

static const struct usp_file_ops actor_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "actor",
	.splice_write = actor_splice_write,
};

static void a_call_takes_no_more_than_was_there_when_it_began(void **state)
{
	int fds[2];
	struct usp_file *sink[2], *end[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(usp_open_fd(fds[0], USP_WRITE, "socket", &sink[0]), 0);
	assert_int_equal(usp_file_new(&actor_ops, USP_WRITE, "actor", NULL, &sink[1]), 0);
	for (unsigned run = 0; run < BY_SPLICE + 2; run++) {
		struct usp_buf buf = folio_buf(0, 10, 0);
		struct consumers c;
		ssize_t ret;

		consumers_open(&c);
		memcpy(end, c.in, sizeof(end));
		buf.ops = &followed_buf_ops;
		inject(end[1], buf);
		follower_end = end[1];
		ret = run < BY_SPLICE ? consume(&c, run) : usp_splice(end[0], NULL, sink[run - BY_SPLICE], NULL, 64, 0);
		assert_int_equal(ret, 10);
		take_bytes(end[0], 10, 10);
		consumers_close(&c);
	}
	usp_file_put(sink[0]);
	usp_file_put(sink[1]);
	close(fds[1]);
}

static void tee_takes_no_share_of_a_buf_without_bytes(void **state)
{
	(void)state;
	for (unsigned position = 0; position <= 3; position++) {
		struct consumers c;
		struct mock_store store;

		mock_store_init(&store);
		consumers_open(&c);
		inject_around(&c, &store, position, 2);
		assert_int_equal(usp_tee(c.in[0], c.out[1], 64, 0), 30);
		take_bytes(c.out[0], 0, 30);
		take_bytes(c.in[0], 0, 30);
		consumers_close(&c);
		assert_int_equal(store.nr_get, 0);
		mock_store_fini(&store);
	}
}

/* --- The kernel's hooks in a table ---------------------------------------------------------------------------- */

/* Bytes in memory are nothing for a kernel pipe, and a file without a descriptor is nothing for the kernel. */
static void the_kernels_hooks_in_a_table_fall_back_to_the_copying_helpers(void **state)
{
	struct usp_file_ops ops = mock_copy_ops;
	struct mock *mock;
	struct usp_file *end[2];

	(void)state;
	ops.splice_read = usp_kernel_splice_read;
	ops.splice_write = usp_kernel_splice_write;
	mock = mock_open(&ops, USP_READ | USP_WRITE, 0);
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_splice(mock->file, NULL, end[1], NULL, 10, 0), 10);
	assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 10, 0), 10);
	assert_pattern(mock->bytes, 0, 10);
	mock_close(mock);

	ops.read_iter = NULL;
	ops.write_iter = NULL;
	mock = mock_open(&ops, USP_READ | USP_WRITE, 0);
	assert_int_equal(usp_splice(mock->file, NULL, end[1], NULL, 10, 0), -EINVAL);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 10, 0), -EINVAL);
	take_bytes(end[0], 0, 10);
	mock_close(mock);
	close_pipe(end);
}

/* --- usp_take_from_pipe ----------------------------------------------------------------------------------------- */

struct kept {
	struct usp_buf bufs[4];
	unsigned nr_bufs, most;
};

static int keep_buf(void *arg, const struct usp_buf *own)
{
	struct kept *kept = arg;

	if (kept->nr_bufs == kept->most)
		return -ENOSPC;
	kept->bufs[kept->nr_bufs++] = *own;
	return 0;
}

static void forget_bufs(struct kept *kept)
{
	while (kept->nr_bufs)
		usp_buf_release(NULL, &kept->bufs[--kept->nr_bufs]);
}

static void a_sink_that_keeps_gets_the_page_itself_or_a_copy(void **state)
{
	struct mock *sink = mock_open(&mock_bare_ops, USP_WRITE, 0);
	struct usp_pipe *pipe = open_ring(8);
	struct usp_buf own = folio_buf(0, 10, USP_BUF_PACKET), twin = folio_buf(10, 10, 0), copy = twin;
	struct kept kept = {.most = 4};
	struct mock_store store;
	struct usp_hop hop;

	(void)state;
	mock_store_init(&store);
	assert_true(usp_buf_get(NULL, &twin, &copy));
	push_buf(pipe, own);
	push_buf(pipe, twin);
	push_buf(pipe, mock_buf(&store, &mock_unmapped_buf_ops, 20, 10, 0));
	assert_int_equal(usp_take_from_pipe(pipe, sink->file, 100, USP_SPLICE_MOVE, keep_buf, &kept), 30);
	assert_ptr_equal(kept.bufs[0].store, own.store);
	assert_ptr_not_equal(kept.bufs[1].store, twin.store);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(kept.bufs[i].flags, 0);
		assert_pattern(usp_buf_bytes(&kept.bufs[i]), 10 * i, 10);
	}
	hop = net_hop(sink->file, USP_WRITE);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], 10);
	assert_int_equal(hop.bytes[USP_COPIED], 20);
	forget_bufs(&kept);
	usp_buf_release(NULL, &copy);
	usp_pipe_free(pipe);
	mock_store_fini(&store);
	mock_close(sink);
}

static void without_move_all_that_is_kept_is_copied(void **state)
{
	struct mock *sink = mock_open(&mock_bare_ops, USP_WRITE, 0);
	struct usp_pipe *pipe = open_ring(4);
	struct kept kept = {.most = 4};
	struct usp_hop hop;

	(void)state;
	push_buf(pipe, folio_buf(0, 10, 0));
	assert_int_equal(usp_take_from_pipe(pipe, sink->file, 7, 0, keep_buf, &kept), 7);
	assert_int_equal(usp_take_from_pipe(pipe, sink->file, 7, 0, keep_buf, &kept), 3);
	assert_pattern(usp_buf_bytes(&kept.bufs[1]), 7, 3);
	hop = net_hop(sink->file, USP_WRITE);
	assert_int_equal(hop.bytes[USP_COPIED], 10);
	forget_bufs(&kept);
	usp_pipe_free(pipe);
	mock_close(sink);
}

static void what_a_sink_does_not_keep_stays_in_the_pipe(void **state)
{
	struct mock *sink = mock_open(&mock_bare_ops, USP_WRITE, 0);
	struct usp_pipe *pipe = open_ring(4);
	struct kept kept = {.most = 1};

	(void)state;
	push_buf(pipe, folio_buf(0, 10, 0));
	push_buf(pipe, folio_buf(10, 10, 0));
	assert_int_equal(usp_take_from_pipe(pipe, sink->file, 100, USP_SPLICE_MOVE, keep_buf, &kept), 10);
	assert_int_equal(usp_take_from_pipe(pipe, sink->file, 100, USP_SPLICE_MOVE, keep_buf, &kept), -ENOSPC);
	assert_int_equal(usp_take_from_pipe(pipe, sink->file, 100, 0, keep_buf, &kept), -ENOSPC);
	assert_int_equal(usp_pipe_len(pipe), 10);
	forget_bufs(&kept);
	usp_pipe_free(pipe);
	mock_close(sink);
}

int main(void)
{
	const struct CMUnitTest copying[] = {
		CASE(the_kernels_hooks_in_a_table_fall_back_to_the_copying_helpers),
		CASE(copying_fills_one_folio_for_each_slot_by_one_read),
		CASE(copying_keeps_only_the_folios_that_were_filled),
		CASE(copying_passes_on_the_end_and_errors_and_leaves_no_folio),
		CASE(copying_into_a_full_pipe_is_eagain_and_no_false_end),
		CASE(copying_is_accounted_as_copied_with_a_reason),
		CASE(a_producer_leaves_nothing_of_what_a_slot_held_before),
	};
	const struct CMUnitTest writing[] = {
		CASE(writing_hands_over_all_ready_bufs_at_once_and_unmerged),
		CASE(writing_goes_on_after_a_short_write),
		CASE(writing_more_bufs_than_one_batch_holds_loses_none),
		CASE(a_confirm_that_fails_anywhere_leaves_the_batch_unwritten),
		CASE(a_confirm_that_fails_after_a_short_write_keeps_what_was_written),
		CASE(writing_needs_a_write_iter),
	};
	const struct CMUnitTest dropping[] = {
		CASE(dropping_confirms_and_does_not_map),
		CASE(dropping_follows_the_rules_for_an_empty_pipe),
		CASE(dropping_stops_at_a_confirm_that_fails),
	};
	const struct CMUnitTest actors[] = {
		CASE(an_actor_is_shown_one_buf_after_the_other_up_to_the_length),
		CASE(an_actor_that_uses_a_part_is_shown_the_rest),
		CASE(an_actor_stops_with_zero_or_an_error_and_progress_beats_both),
		CASE(an_actor_that_claims_too_much_is_caught),
		CASE(an_actor_may_keep_a_buf),
		CASE(an_actor_sees_only_confirmed_and_mapped_bytes),
		CASE(a_sink_that_keeps_gets_the_page_itself_or_a_copy),
		CASE(without_move_all_that_is_kept_is_copied),
		CASE(what_a_sink_does_not_keep_stays_in_the_pipe),
		CASE(an_actor_is_not_called_for_an_empty_or_ended_pipe),
	};
	const struct CMUnitTest empties[] = {
		CASE(every_consumer_skips_and_releases_bufs_without_bytes),
		CASE(an_actor_is_never_shown_a_buf_without_bytes),
		CASE(a_pipe_of_bufs_without_bytes_is_empty_for_every_consumer),
		CASE(tee_takes_no_share_of_a_buf_without_bytes),
		CASE(a_call_takes_no_more_than_was_there_when_it_began),
	};
	int nr_failed = 0;

	nr_failed += cmocka_run_group_tests_name("helpers: copy_splice_read", copying, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("helpers: iter_splice_write", writing, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("helpers: drop_splice_write", dropping, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("helpers: splice_from_pipe", actors, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("helpers: bufs without bytes", empties, NULL, NULL);
	return nr_failed != 0;
}
