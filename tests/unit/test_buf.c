/* SPDX-License-Identifier: MIT */
/* test_buf - what may be asked of a buf, when it is asked, and who drops it (spec 0.2, O1-O8, C2, C10, C15). */
#include <stdio.h>

#include "base/atomic.h"
#include "support.h"

/* --- The doors and their defaults ----------------------------------------------------------------------- */

static void a_buf_without_optional_ops_is_valid_mapped_and_never_stolen(void **state)
{
	struct mock_store store;
	struct usp_buf buf;

	(void)state;
	mock_store_init(&store);
	buf = mock_buf(&store, &mock_minimal_buf_ops, 3, 10, 0);
	assert_int_equal(usp_buf_confirm(NULL, &buf, 0), 0);
	assert_false(usp_buf_try_steal(NULL, &buf));
	assert_true(usp_buf_is_mapped(&buf));
	assert_int_equal(usp_buf_map(NULL, &buf), 0);
	assert_ptr_equal(usp_buf_bytes(&buf), store.bytes + 3);
	usp_buf_release(NULL, &buf);
	mock_store_fini(&store);
}

static void the_doors_pass_on_what_the_ops_answer(void **state)
{
	struct mock_store store;
	struct usp_buf buf, copy;

	(void)state;
	mock_store_init(&store);
	buf = copy = mock_buf(&store, &mock_unmapped_buf_ops, 0, 10, 0);
	store.confirm_error = -EIO;
	assert_int_equal(usp_buf_confirm(NULL, &buf, 0), -EIO);
	store.can_steal = true;
	assert_true(usp_buf_try_steal(NULL, &buf));
	store.refuses_get = true;
	assert_false(usp_buf_get(NULL, &buf, &copy));
	assert_false(usp_buf_is_mapped(&buf));
	store.map_error = -ENOMEM;
	assert_int_equal(usp_buf_map(NULL, &buf), -ENOMEM);
	assert_ptr_equal(buf.ops, &mock_unmapped_buf_ops);
	usp_buf_release(NULL, &buf);
	assert_null(buf.ops);
	mock_store_fini(&store);
}

static void only_the_sole_owner_of_a_folio_can_steal_it(void **state)
{
	struct usp_buf buf = folio_buf(0, 10, 0), copy = buf;

	(void)state;
	assert_true(usp_buf_try_steal(NULL, &buf));
	assert_true(usp_buf_get(NULL, &buf, &copy));
	assert_false(usp_buf_try_steal(NULL, &buf));
	usp_buf_release(NULL, &copy);
	assert_true(usp_buf_try_steal(NULL, &buf));
	usp_buf_release(NULL, &buf);
}

static void the_memory_of_a_gift_is_never_stolen(void **state)
{
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */
	struct usp_gift *gift;
	struct usp_file *end[2];
	struct usp_buf buf;

	(void)state;
	assert_int_equal(usp_gift_new(bytes, sizeof(bytes), NULL, NULL, &gift), 0);
	open_pipe(end, 1, USP_NONBLOCK);
	assert_int_equal(usp_gift_splice(gift, 0, sizeof(bytes), end[1], 0), 10);
	assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
	assert_false(usp_buf_try_steal(NULL, &buf));
	usp_gift_put(gift);
	assert_false(usp_buf_try_steal(NULL, &buf));
	close_pipe(end);
}

static void a_folio_near_the_limit_of_its_count_refuses_more_owners(void **state)
{
	struct usp_buf buf = folio_buf(0, 10, 0), copy = buf;
	struct usp_folio *folio = buf.store;

	(void)state;
	atomic_store(usp_u32(&folio->refs), 1u << 31);
	assert_false(usp_buf_get(NULL, &buf, &copy));
	assert_int_equal(atomic_load(usp_u32(&folio->refs)), 1u << 31);
	atomic_store(usp_u32(&folio->refs), 1);
	usp_buf_release(NULL, &buf);
}

static void folios_are_large_enough_and_aligned(void **state)
{
	static const size_t lens[] = {1, 4095, 4096, 4097, 65536, 100000, 2u << 20, (2u << 20) + 1, 32u << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		struct usp_folio *folio = usp_folio_new(lens[i]);

		assert_non_null(folio);
		assert_true(folio->len >= lens[i]);
		assert_int_equal((uintptr_t)folio->base % PAGE, 0);
		memset(folio->base, (int)i, lens[i]);
		usp_folio_put(folio);
	}
	assert_null(usp_folio_new(0));
	assert_null(usp_folio_new((32u << 20) + 1));
}

static void folios_that_are_alive_do_not_overlap(void **state)
{
	struct usp_folio *folios[700]; /* more than one block's worth of the smallest class */

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(folios); i++) {
		folios[i] = usp_folio_new(PAGE);
		assert_non_null(folios[i]);
		pattern_fill(folios[i]->base, i * 977, PAGE);
	}
	for (size_t i = 0; i < ARRAY_LEN(folios); i++)
		assert_pattern(folios[i]->base, i * 977, PAGE);
	for (size_t i = 0; i < ARRAY_LEN(folios); i++)
		usp_folio_put(folios[i]);
}

/* Address space of the process, in bytes. */
static size_t mapped_bytes(void)
{
	unsigned long nr_pages = 0;
	FILE *file = fopen("/proc/self/statm", "re");

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &nr_pages), 1);
	fclose(file);
	return nr_pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void the_pool_keeps_some_memory_and_gives_the_rest_back_at_once(void **state)
{
	const size_t len = (size_t)32 << 20, kept = (size_t)64 << 20, slack = (size_t)4 << 20;
	struct usp_folio *folios[4];
	size_t before, after;

	(void)state;
	usp_trim(NULL);
	before = mapped_bytes();
	for (size_t i = 0; i < ARRAY_LEN(folios); i++)
		assert_non_null(folios[i] = usp_folio_new(len));
	assert_true(mapped_bytes() >= before + 4 * len);
	for (size_t i = 0; i < ARRAY_LEN(folios); i++)
		usp_folio_put(folios[i]);
	after = mapped_bytes();
	assert_true(after >= before + kept && after <= before + kept + slack);
	usp_trim(NULL);
	assert_true(mapped_bytes() <= before + slack);
}

/* --- Released exactly once, whichever way a buf goes ------------------------------------------------------ */

static void reading_releases_each_buf_once(void **state)
{
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 2, USP_NONBLOCK);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	take_bytes(end[0], 0, 4);
	assert_int_equal(store.nr_release, 0);
	take_bytes(end[0], 4, 6);
	assert_int_equal(store.nr_release, 1);
	close_pipe(end);
	mock_store_fini(&store);
}

static void freeing_a_pipe_releases_what_is_in_it(void **state)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 4, .slot_bytes = PAGE};
	struct mock_store store;
	struct usp_buf bufs[3];
	struct usp_pipe *pipe;

	(void)state;
	mock_store_init(&store);
	for (unsigned i = 0; i < 3; i++)
		bufs[i] = mock_buf(&store, &mock_buf_ops, i, 10, 0);
	assert_int_equal(usp_pipe_new(&params, &pipe), 0);
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	assert_int_equal(usp_pipe_push(pipe, bufs, 3), 3);
	usp_pipe_end_write(pipe);
	assert_int_equal(usp_pipe_len(pipe), 30);
	usp_pipe_free(pipe);
	assert_int_equal(store.nr_release, 3);
	mock_store_fini(&store);
}

/* N1: what one turn pushes, in however many pieces, is one to readers and takes its room at once. */
static void readers_see_what_a_turn_pushed_when_it_ends(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 4, .slot_bytes = PAGE, .max_bytes = 100};
	struct usp_buf bufs[3];
	struct usp_pipe *pipe;
	size_t room;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		bufs[i] = folio_buf(i * 10, 10, 0);
	assert_int_equal(usp_pipe_new(&params, &pipe), 0);
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(usp_pipe_push(pipe, &bufs[i], 1), 1);
		assert_int_equal(usp_pipe_len(pipe), 0);
		assert_int_equal(usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK), -EAGAIN);
		assert_int_equal(usp_pipe_room(pipe, &room), 3 - i);
		assert_int_equal(room, 100 - 10 * (i + 1));
	}
	usp_pipe_end_write(pipe);
	assert_int_equal(usp_pipe_len(pipe), 30);
	assert_int_equal(usp_pipe_begin_read(pipe, USP_SPLICE_NONBLOCK), 1);
	assert_int_equal(usp_pipe_peek(pipe, bufs, 3), 3);
	usp_pipe_end_read(pipe);
	usp_pipe_free(pipe);
}

static void push_owns_also_what_it_refuses(void **state)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 2, .slot_bytes = PAGE};
	struct mock_store store;
	struct usp_buf bufs[5];
	struct usp_pipe *pipe;

	(void)state;
	mock_store_init(&store);
	for (unsigned i = 0; i < 5; i++)
		bufs[i] = mock_buf(&store, &mock_buf_ops, i, 10, 0);
	assert_int_equal(usp_pipe_new(&params, &pipe), 0);
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	assert_int_equal(usp_pipe_push(pipe, bufs, 5), 2);
	assert_int_equal(store.nr_release, 3);
	assert_int_equal(usp_pipe_room(pipe, NULL), 0);
	usp_pipe_end_write(pipe);
	usp_pipe_free(pipe);
	mock_store_fini(&store);
}

static void a_producer_that_loses_its_readers_in_the_middle_of_a_step_completes_it(void **state)
{
	struct mock_store store;
	struct usp_buf buf;
	struct usp_pipe *pipe;

	(void)state;
	mock_store_init(&store);
	buf = mock_buf(&store, &mock_buf_ops, 0, 10, 0);
	assert_int_equal(usp_pipe_new(NULL, &pipe), 0);
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	usp_pipe_close_read(pipe);
	assert_int_equal(usp_pipe_push(pipe, &buf, 1), 1);
	usp_pipe_end_write(pipe);
	assert_int_equal(usp_pipe_len(pipe), 10); /* stranded, and counted as such */
	assert_int_equal(usp_pipe_begin_write(pipe, 0), -EPIPE);
	usp_pipe_free(pipe);
	mock_store_fini(&store);
}

static void advance_releases_what_is_used_up_and_keeps_the_rest(void **state)
{
	struct mock_store store;
	struct usp_buf bufs[2] = {{.ops = NULL}}, seen[3];
	struct usp_pipe *pipe;

	(void)state;
	mock_store_init(&store);
	bufs[0] = mock_buf(&store, &mock_buf_ops, 0, 10, 0);
	bufs[1] = mock_buf(&store, &mock_buf_ops, 10, 10, 0);
	assert_int_equal(usp_pipe_new(NULL, &pipe), 0);
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	assert_int_equal(usp_pipe_push(pipe, bufs, 2), 2);
	usp_pipe_end_write(pipe);
	assert_int_equal(usp_pipe_begin_read(pipe, 0), 1);
	usp_pipe_advance(pipe, 13);
	assert_int_equal(store.nr_release, 1);
	assert_int_equal(usp_pipe_peek(pipe, seen, 3), 1);
	assert_int_equal(seen[0].offset, 13);
	assert_int_equal(seen[0].len, 7);
	assert_int_equal(usp_pipe_len(pipe), 7);
	usp_pipe_advance(pipe, 7);
	usp_pipe_end_read(pipe);
	usp_pipe_close_write(pipe);
	assert_int_equal(usp_pipe_begin_read(pipe, 0), 0);
	usp_pipe_free(pipe);
	mock_store_fini(&store);
}

/* The release op sees its buf as it was; the struct that the caller holds is dead by then (O2). */
static struct usp_buf *release_caller;
static bool release_saw_ops, release_found_caller_live;

static void spy_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	release_saw_ops = buf->ops != NULL;
	release_found_caller_live = release_caller->ops != NULL;
}

static bool spy_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)buf, (void)copy;
	return true;
}

static void a_release_cannot_happen_twice_through_the_same_struct(void **state)
{
	static const struct usp_buf_ops spy_ops = {
		.size = sizeof(struct usp_buf_ops), .name = "spy", .release = spy_release, .get = spy_get};
	struct usp_buf buf = {.ops = &spy_ops, .len = 1};

	(void)state;
	release_caller = &buf;
	usp_buf_release(NULL, &buf);
	assert_true(release_saw_ops);
	assert_false(release_found_caller_live);
}

/* --- Moves and shares ----------------------------------------------------------------------------------- */

static void a_whole_move_changes_the_owner_and_keeps_the_flags(void **state)
{
	struct mock_store store;
	struct usp_file *a[2], *b[2];
	struct usp_buf buf;

	(void)state;
	mock_store_init(&store);
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	inject(a[1], mock_buf(&store, &mock_buf_ops, 5, 10, USP_BUF_GIFT | USP_BUF_PACKET));
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10, 0), 10);
	assert_int_equal(peek_bufs(b[0], &buf, 1), 1);
	assert_int_equal(buf.flags, USP_BUF_GIFT | USP_BUF_PACKET);
	assert_int_equal(buf.offset, 5);
	assert_int_equal(buf.len, 10);
	close_pipe(a);
	assert_int_equal(store.nr_get, 0);
	assert_int_equal(store.nr_release, 0);
	close_pipe(b);
	assert_int_equal(store.nr_release, 1);
	mock_store_fini(&store);
}

static void a_partial_move_makes_a_second_owner(void **state)
{
	const unsigned flags = USP_BUF_GIFT | USP_BUF_PACKET;
	struct mock_store store;
	struct usp_file *a[2], *b[2];
	struct usp_buf buf;

	(void)state;
	mock_store_init(&store);
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	inject(a[1], mock_buf(&store, &mock_buf_ops, 0, 10, flags));
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 4, 0), 4);
	assert_int_equal(store.nr_get, 1);
	assert_int_equal(peek_bufs(b[0], &buf, 1), 1);
	assert_int_equal(buf.flags, USP_BUF_PACKET);
	assert_int_equal(buf.len, 4);
	assert_int_equal(peek_bufs(a[0], &buf, 1), 1);
	assert_int_equal(buf.flags, flags);
	assert_int_equal(buf.offset, 4);
	assert_int_equal(buf.len, 6);
	assert_int_equal(usp_pipe_bytes(a[0]), 6);
	close_pipe(a);
	assert_int_equal(store.nr_release, 1);
	close_pipe(b);
	assert_int_equal(store.nr_release, 2);
	mock_store_fini(&store);
}

static void a_shared_buf_loses_gift_and_can_merge_and_stays_a_packet(void **state)
{
	struct mock_store store;
	struct usp_file *a[2], *b[2];
	struct usp_buf bufs[3];

	(void)state;
	mock_store_init(&store);
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	inject(a[1], mock_buf(&store, &mock_buf_ops, 0, 10, USP_BUF_GIFT | USP_BUF_PACKET));
	put_bytes(a[1], 0, 5);
	assert_int_equal(usp_tee(a[0], b[1], 100, 0), 15);
	assert_int_equal(peek_bufs(b[0], bufs, 3), 2);
	assert_int_equal(bufs[0].flags, USP_BUF_PACKET);
	assert_int_equal(bufs[1].flags, 0);
	assert_int_equal(peek_bufs(a[0], bufs, 3), 2);
	assert_int_equal(bufs[0].flags, USP_BUF_GIFT | USP_BUF_PACKET);
	assert_int_equal(bufs[1].flags, USP_BUF_CAN_MERGE);
	close_pipe(a);
	close_pipe(b);
	mock_store_fini(&store);
}

static void a_refused_share_is_efault_if_nothing_moved(void **state)
{
	struct mock_store store;
	struct usp_file *a[2], *b[2];

	(void)state;
	mock_store_init(&store);
	store.refuses_get = true;
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	inject(a[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	assert_int_equal(usp_tee(a[0], b[1], 10, 0), -EFAULT);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 5, 0), -EFAULT);
	assert_int_equal(store.nr_refused, 2);
	assert_int_equal(usp_pipe_bytes(a[0]), 10);
	assert_int_equal(usp_pipe_bytes(b[0]), 0);
	assert_int_equal(nr_bufs_in(b[0]), 0);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10, 0), 10); /* a whole move needs no second owner */
	take_bytes(b[0], 0, 10);
	close_pipe(a);
	close_pipe(b);
	mock_store_fini(&store);
}

static void a_refused_share_is_a_short_count_if_something_moved(void **state)
{
	struct mock_store store;
	struct usp_file *a[2], *b[2];

	(void)state;
	mock_store_init(&store);
	store.refuses_get = true;
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	put_bytes(a[1], 0, 7);
	inject(a[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	assert_int_equal(usp_tee(a[0], b[1], 17, 0), 7);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 16, 0), 7);
	assert_int_equal(usp_pipe_bytes(a[0]), 10);
	close_pipe(a);
	close_pipe(b);
	mock_store_fini(&store);
}

static void a_count_near_overflow_leaves_both_rings_as_they_were(void **state)
{
	struct usp_buf buf = folio_buf(0, 10, 0);
	struct usp_folio *folio = buf.store;
	struct usp_file *a[2], *b[2];

	(void)state;
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	inject(a[1], buf);
	atomic_store(usp_u32(&folio->refs), 1u << 31);
	assert_int_equal(usp_tee(a[0], b[1], 10, 0), -EFAULT);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 9, 0), -EFAULT);
	assert_int_equal(atomic_load(usp_u32(&folio->refs)), 1u << 31);
	atomic_store(usp_u32(&folio->refs), 1);
	assert_int_equal(usp_pipe_bytes(b[0]), 0);
	take_bytes(a[0], 0, 10);
	close_pipe(a);
	close_pipe(b);
}

/* --- A private word per buf --------------------------------------------------------------------------------- */

/* Each owner's priv is a counter of its own; get makes a new one, release frees it. */
static unsigned nr_privates;

static void private_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	free((void *)buf->priv);
	nr_privates--;
}

static bool private_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)buf;
	copy->priv = (uintptr_t)malloc(1);
	nr_privates++;
	return copy->priv;
}

static void what_get_puts_into_the_copy_is_what_its_release_sees(void **state)
{
	static const struct usp_buf_ops private_ops = {
		.size = sizeof(struct usp_buf_ops), .name = "private", .release = private_release, .get = private_get};
	struct usp_file *a[2], *b[2], *c[2];
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 2, USP_NONBLOCK);
	open_pipe(c, 2, USP_NONBLOCK);
	nr_privates = 1;
	inject(a[1],
	       (struct usp_buf){.ops = &private_ops, .store = &store.folio, .len = 10, .priv = (uintptr_t)malloc(1)});
	assert_int_equal(usp_tee(a[0], b[1], 10, 0), 10);
	assert_int_equal(usp_splice(a[0], NULL, c[1], NULL, 5, 0), 5);
	assert_int_equal(nr_privates, 3);
	take_bytes(c[0], 0, 5);
	assert_int_equal(nr_privates, 2);
	take_bytes(b[0], 0, 10);
	close_pipe(a);
	close_pipe(b);
	close_pipe(c);
	assert_int_equal(nr_privates, 0); /* and AddressSanitizer saw no double free (C10) */
	mock_store_fini(&store);
}

/* --- When bytes are confirmed and mapped ---------------------------------------------------------------------- */

static void moving_sharing_counting_and_dropping_confirm_nothing(void **state)
{
	struct mock_store store;
	struct usp_file *a[2], *b[2];

	(void)state;
	mock_store_init(&store);
	open_pipe(a, 2, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	inject(a[1], mock_buf(&store, &mock_unmapped_buf_ops, 0, 10, 0));
	assert_int_equal(usp_tee(a[0], b[1], 10, 0), 10);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 5, 0), 5);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 5, 0), 5);
	assert_int_equal(usp_pipe_bytes(b[0]), 20);
	close_pipe(a);
	close_pipe(b);
	assert_int_equal(store.nr_confirm, 0);
	assert_int_equal(store.nr_map, 0);
	mock_store_fini(&store);
}

static void each_consumer_that_touches_bytes_confirms_them_first(void **state)
{
	struct mock *copy = mock_open(&mock_copy_ops, USP_WRITE, 0), *null = mock_open(&mock_drop_ops, USP_WRITE, 0);
	struct mock_store store;
	struct usp_file *end[2];
	_Alignas(512) unsigned char bytes[10]; /* in one page, which is one entry */

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 2, USP_NONBLOCK);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	take_bytes(end[0], 0, 10);
	assert_int_equal(store.nr_confirm, 1);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	assert_int_equal(usp_vmsplice(end[0], &(struct iovec){bytes, 10}, 1, 0), 10);
	assert_int_equal(store.nr_confirm, 2);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	assert_int_equal(usp_splice(end[0], NULL, copy->file, NULL, 10, 0), 10);
	assert_int_equal(store.nr_confirm, 3);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	assert_int_equal(usp_splice(end[0], NULL, null->file, NULL, 10, 0), 10);
	assert_int_equal(store.nr_confirm, 4);
	close_pipe(end);
	mock_close(copy);
	mock_close(null);
	mock_store_fini(&store);
}

static void a_buf_is_mapped_once_however_often_it_is_read(void **state)
{
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 2, USP_NONBLOCK);
	inject(end[1], mock_buf(&store, &mock_unmapped_buf_ops, 7, 10, 0));
	take_bytes(end[0], 7, 4);
	take_bytes(end[0], 11, 4);
	take_bytes(end[0], 15, 2);
	assert_int_equal(store.nr_map, 1);
	assert_int_equal(store.nr_release, 1);
	close_pipe(end);
	mock_store_fini(&store);
}

static void a_buf_that_cannot_be_mapped_stays_where_it_is(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct mock_store store;
	struct usp_file *end[2];
	_Alignas(512) unsigned char bytes[20]; /* in one page, which is one entry */

	(void)state;
	mock_store_init(&store);
	store.map_error = -ENOMEM;
	open_pipe(end, 2, USP_NONBLOCK);
	put_bytes(end[1], 0, 3);
	inject(end[1], mock_buf(&store, &mock_unmapped_buf_ops, 3, 10, 0));
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), 3);
	assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), -ENOMEM);
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 10, 0), -ENOMEM);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
	store.map_error = 0;
	take_bytes(end[0], 3, 10);
	close_pipe(end);
	mock_close(sink);
	mock_store_fini(&store);
}

static void a_sink_gets_the_bytes_of_mapped_and_unmapped_bufs_in_order(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct mock_store store;
	struct usp_file *end[2];

	(void)state;
	mock_store_init(&store);
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 3);
	inject(end[1], mock_buf(&store, &mock_unmapped_buf_ops, 3, 10, 0));
	inject(end[1], folio_buf(13, 5, 0));
	inject(end[1], mock_buf(&store, &mock_unmapped_buf_ops, 18, 10, 0));
	assert_int_equal(usp_splice(end[0], NULL, sink->file, NULL, 28, 0), 28);
	assert_int_equal(sink->len, 28);
	assert_pattern(sink->bytes, 0, 28);
	close_pipe(end);
	mock_close(sink);
	mock_store_fini(&store);
}

int main(void)
{
	const struct CMUnitTest doors[] = {
		CASE(a_buf_without_optional_ops_is_valid_mapped_and_never_stolen),
		CASE(the_doors_pass_on_what_the_ops_answer),
		CASE(only_the_sole_owner_of_a_folio_can_steal_it),
		CASE(the_memory_of_a_gift_is_never_stolen),
		CASE(a_folio_near_the_limit_of_its_count_refuses_more_owners),
		CASE(folios_are_large_enough_and_aligned),
		CASE(folios_that_are_alive_do_not_overlap),
		CASE(the_pool_keeps_some_memory_and_gives_the_rest_back_at_once),
	};
	const struct CMUnitTest release[] = {
		CASE(reading_releases_each_buf_once),
		CASE(freeing_a_pipe_releases_what_is_in_it),
		CASE(readers_see_what_a_turn_pushed_when_it_ends),
		CASE(push_owns_also_what_it_refuses),
		CASE(a_producer_that_loses_its_readers_in_the_middle_of_a_step_completes_it),
		CASE(advance_releases_what_is_used_up_and_keeps_the_rest),
		CASE(a_release_cannot_happen_twice_through_the_same_struct),
	};
	const struct CMUnitTest moves[] = {
		CASE(a_whole_move_changes_the_owner_and_keeps_the_flags),
		CASE(a_partial_move_makes_a_second_owner),
		CASE(a_shared_buf_loses_gift_and_can_merge_and_stays_a_packet),
		CASE(a_refused_share_is_efault_if_nothing_moved),
		CASE(a_refused_share_is_a_short_count_if_something_moved),
		CASE(a_count_near_overflow_leaves_both_rings_as_they_were),
		CASE(what_get_puts_into_the_copy_is_what_its_release_sees),
	};
	const struct CMUnitTest bytes[] = {
		CASE(moving_sharing_counting_and_dropping_confirm_nothing),
		CASE(each_consumer_that_touches_bytes_confirms_them_first),
		CASE(a_buf_is_mapped_once_however_often_it_is_read),
		CASE(a_buf_that_cannot_be_mapped_stays_where_it_is),
		CASE(a_sink_gets_the_bytes_of_mapped_and_unmapped_bufs_in_order),
	};
	int nr_failed = 0;

	nr_failed += cmocka_run_group_tests_name("buf: doors", doors, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("buf: release", release, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("buf: moves", moves, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("buf: bytes", bytes, NULL, NULL);
	return nr_failed != 0;
}
