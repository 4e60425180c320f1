/* SPDX-License-Identifier: MIT */
/*
 * test_kernel_bugs_memory - what once went wrong in the kernel's own splice with memory that several refer to: whose it
 * is, who may write to it, and when it is free again. The cases are named after the rules C1 to C19 of
 * docs/kernel-rules.md; docs/testing.md has the table of all.
 */
#include <limits.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/atomic.h"
#include "ends.h"
#include "lanes/kpipe.h"
#include "mm/gift.h"
#include "splice/pipe.h"
#include "support.h"

/* --- C1: flags that a slot kept from its last entry (Dirty Pipe) ---------------------------------------------- */

/* What must not be written to, and a second pipe. */
struct dirty {
	unsigned char *bytes;
	int fd;
	struct usp_file *memory, *file, *other[2];
};

static ssize_t dirty_splice_memory(struct dirty *dirty, struct usp_file *end)
{
	return usp_splice(dirty->memory, NULL, end, NULL, 1, 0);
}

static ssize_t dirty_splice_file(struct dirty *dirty, struct usp_file *end)
{
	usp_file_side(dirty->file, USP_READ)->lane = NULL;
	return usp_splice(dirty->file, NULL, end, NULL, 1, 0);
}

static ssize_t dirty_splice_kernel_pages(struct dirty *dirty, struct usp_file *end)
{
	usp_file_side(dirty->file, USP_READ)->lane = &usp_kernel_lane;
	return usp_splice(dirty->file, NULL, end, NULL, 1, 0);
}

static ssize_t dirty_vmsplice(struct dirty *dirty, struct usp_file *end)
{
	return usp_vmsplice(end, &(struct iovec){dirty->bytes, 1}, 1, USP_SPLICE_GIFT);
}

static ssize_t dirty_gift(struct dirty *dirty, struct usp_file *end)
{
	usp_gift_put(give(end, dirty->bytes, 1));
	return 1;
}

static ssize_t dirty_tee(struct dirty *dirty, struct usp_file *end)
{
	dirty_gift(dirty, dirty->other[1]);
	return usp_tee(dirty->other[0], end, 1, 0);
}

static ssize_t dirty_move(struct dirty *dirty, struct usp_file *end)
{
	dirty_gift(dirty, dirty->other[1]);
	return usp_splice(dirty->other[0], NULL, end, NULL, 1, 0);
}

static ssize_t dirty_move_a_part(struct dirty *dirty, struct usp_file *end)
{
	usp_gift_put(give(dirty->other[1], dirty->bytes, 2));
	return usp_splice(dirty->other[0], NULL, end, NULL, 1, 0);
}

static ssize_t (*const dirty_producers[])(struct dirty *, struct usp_file *) = {
	dirty_splice_memory, dirty_splice_file, dirty_splice_kernel_pages, dirty_vmsplice, dirty_gift,
	dirty_tee,	     dirty_move,	dirty_move_a_part,
};

static void dirty_open(struct dirty *dirty)
{
	dirty->bytes = map_pages(1);
	dirty->fd = open_memfd(PAGE);
	dirty->memory = open_bytes(dirty->bytes, PAGE, USP_READ);
	dirty->file = adopt(open_again(dirty->fd, O_RDONLY), USP_READ);
	open_pipe(dirty->other, 2, USP_NONBLOCK);
}

static void dirty_close(struct dirty *dirty)
{
	close_pipe(dirty->other);
	usp_file_put(dirty->memory);
	usp_file_put(dirty->file);
	assert_pattern(dirty->bytes, 0, PAGE);
	assert_file(dirty->fd, PAGE);
	munmap(dirty->bytes, PAGE);
	close(dirty->fd);
}

/* The exploit: each slot has held what may be merged into, then refers to what is not the pipe's; then comes a write. */
static void c01_no_flag_of_a_used_slot_lets_a_write_reach_the_source(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(dirty_producers); i++) {
		struct usp_file *end[2];
		struct dirty dirty;

		dirty_open(&dirty);
		open_pipe(end, 2, USP_NONBLOCK);
		for (unsigned slot = 0; slot < 2; slot++) {
			put_bytes(end[1], 0, PAGE);
			put_bytes(end[1], 0, 1);
			take_bytes(end[0], 0, PAGE);
			take_bytes(end[0], 0, 1);
		}
		assert_int_equal(dirty_producers[i](&dirty, end[1]), 1);
		assert_int_equal(usp_write(end[1], "dirty", 5), 5);
		assert_int_equal(nr_bufs_in(end[0]), 2);
		close_pipe(end);
		dirty_close(&dirty);
	}
}

static void c01_every_producer_sets_every_field_of_a_slot(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(dirty_producers); i++) {
		struct usp_file *end[2];
		struct usp_pipe *pipe;
		struct usp_buf buf;
		struct dirty dirty;

		dirty_open(&dirty);
		open_pipe(end, 2, USP_NONBLOCK);
		pipe = usp_file_pipe(end[0]);
		memset(pipe->bufs, POISON, pipe->ring_size * sizeof(pipe->bufs[0]));
		for (unsigned slot = 0; slot < pipe->ring_size; slot++)
			pipe->bufs[slot].ops = NULL;
		assert_int_equal(dirty_producers[i](&dirty, end[1]), 1);
		assert_int_equal(peek_bufs(end[0], &buf, 1), 1);
		assert_int_equal(buf.flags & ~USP_BUF_GIFT, 0);
		assert_int_equal(buf.len, 1);
		assert_int_equal(buf.offset, 0);
		assert_int_equal(buf.priv, 0);
		take_bytes(end[0], 0, 1);
		close_pipe(end);
		dirty_close(&dirty);
	}
}

/* --- C2: more references than a count can hold ---------------------------------------------------------------- */

static void c02_a_count_near_its_end_is_refused_by_every_sharer(void **state)
{
	_Alignas(512) unsigned char bytes[100]; /* in one page, which is one entry */
	struct usp_file *a[2], *b[2];
	struct usp_gift *gift;

	(void)state;
	pattern_fill(bytes, 0, sizeof(bytes));
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	gift = give(a[1], bytes, sizeof(bytes));
	atomic_store(usp_u32(&gift->folio.refs), UINT_MAX / 2 + 1);
	assert_int_equal(usp_tee(a[0], b[1], 100, 0), -EFAULT);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 99, 0), -EFAULT);
	assert_int_equal(usp_gift_splice(gift, 0, 100, b[1], 0), -EFAULT);
	assert_int_equal(atomic_load(usp_u32(&gift->folio.refs)), UINT_MAX / 2 + 1);
	assert_int_equal(nr_bufs_in(b[0]), 0);
	put_bytes(b[1], 0, 10); /* and nobody has kept a turn */
	atomic_store(usp_u32(&gift->folio.refs), 2);
	take_bytes(a[0], 0, 100);
	usp_gift_put(gift);
	close_pipe(a);
	close_pipe(b);
}

/* --- C4: memory that is shared across a fork ------------------------------------------------------------------ */

/* 300 bytes: copied from memory, referred to in memory, and written. */
static void fork_fill(struct usp_file *end, unsigned char *pages)
{
	assert_int_equal(usp_vmsplice(end, &(struct iovec){pages, 100}, 1, 0), 100);
	assert_int_equal(usp_vmsplice(end, &(struct iovec){pages + 100, 100}, 1, USP_SPLICE_GIFT), 100);
	put_bytes(end, 200, 100);
}

/* One side's part: change all memory, and use up and refill the pipe, so that its folios are written again. */
static bool fork_spoil(struct usp_file *end[2], unsigned char *pages)
{
	_Alignas(512) unsigned char bytes[300]; /* in one page, which is one entry */
	bool is_good = usp_read(end[0], bytes, sizeof(bytes)) == sizeof(bytes) && pattern_is(bytes, 0, sizeof(bytes));

	memset(pages, 0xee, PAGE);
	memset(bytes, 0xee, sizeof(bytes));
	while (usp_vmsplice(end[1], &(struct iovec){bytes, sizeof(bytes)}, 1, USP_SPLICE_NONBLOCK) > 0)
		;
	return is_good;
}

static bool fork_is_unspoiled(struct usp_file *end[2])
{
	_Alignas(512) unsigned char bytes[300]; /* in one page, which is one entry */

	return usp_read(end[0], bytes, sizeof(bytes)) == sizeof(bytes) && pattern_is(bytes, 0, sizeof(bytes));
}

static void c04_after_a_fork_neither_side_sees_what_the_other_one_writes(void **state)
{
	(void)state;
	for (unsigned child_spoils = 0; child_spoils < 2; child_spoils++) {
		unsigned char *pages = map_pages(1);
		struct usp_file *end[2];
		int sync[2], status;
		pid_t pid;

		open_pipe(end, 4, USP_NONBLOCK);
		fork_fill(end[1], pages);
		assert_int_equal(pipe(sync), 0);
		pid = fork();
		if (pid == 0) {
			close(sync[1]);
			if (child_spoils)
				end_child(!fork_spoil(end, pages));
			end_child(read(sync[0], &(char){0}, 1) != 0 || !fork_is_unspoiled(end));
		}
		if (!child_spoils)
			assert_true(fork_spoil(end, pages));
		close(sync[0]);
		close(sync[1]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		if (child_spoils)
			assert_true(fork_is_unspoiled(end));
		close_pipe(end);
		munmap(pages, PAGE);
	}
}

static void c04_memory_that_was_not_gifted_may_change_at_once(void **state)
{
	unsigned char *pages = map_pages(1);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_vmsplice(end[1], &(struct iovec){pages, PAGE}, 1, 0), PAGE);
	memset(pages, 0xee, PAGE);
	take_bytes(end[0], 0, PAGE);
	close_pipe(end);
	munmap(pages, PAGE);
}

/* --- C8: shared pages that somebody writes to ----------------------------------------------------------------- */

/* Every way from one pipe to another, with a write behind each: what may not be written to must not be. */
static void route_through_pipes(struct usp_file *source, size_t len)
{
	struct usp_file *a[2], *b[2], *c[2];
	unsigned char byte = pattern_at(len);

	open_pipe(a, 16, USP_NONBLOCK);
	open_pipe(b, 16, USP_NONBLOCK);
	open_pipe(c, 16, USP_NONBLOCK);
	for (int64_t off = 0; off < (int64_t)len;)
		assert_true(usp_splice(source, &off, a[1], NULL, len - (size_t)off, 0) > 0);
	assert_int_equal(usp_tee(a[0], b[1], len, 0), len);
	assert_int_equal(usp_write(b[1], &byte, 1), 1);
	assert_int_equal(usp_splice(a[0], NULL, c[1], NULL, 100, 0), 100);
	assert_int_equal(usp_write(c[1], "x", 1), 1);
	assert_int_equal(usp_splice(a[0], NULL, c[1], NULL, len, 0), len - 100);
	assert_int_equal(usp_write(c[1], "x", 1), 1);
	assert_int_equal(usp_pipe_resize(c[0], 32 * PAGE), 32 * PAGE);
	assert_int_equal(usp_write(c[1], "x", 1), 1);
	take_bytes(b[0], 0, len + 1);
	close_pipe(a);
	close_pipe(b);
	close_pipe(c);
}

/* To sinks of every kind at once: they share what comes from the source. */
static void route_to_sinks(struct usp_file *source, size_t len)
{
	struct usp_file *sinks[4];
	unsigned char bytes[4 * PAGE];
	int file_fd = open_memfd(0), fd[2];
	struct usp_pump *pump;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	sinks[0] = adopt(open_again(file_fd, O_WRONLY), USP_WRITE);
	sinks[1] = adopt(fd[0], USP_WRITE);
	sinks[2] = open_bytes(bytes, sizeof(bytes), USP_WRITE);
	assert_int_equal(
		usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			 &sinks[3], NULL),
		0);
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	for (unsigned i = 0; i < ARRAY_LEN(sinks); i++)
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_free(pump);
	for (unsigned i = 0; i < ARRAY_LEN(sinks); i++)
		usp_file_put(sinks[i]);
	assert_file(file_fd, len);
	assert_pattern(bytes, 0, len);
	assert_int_equal(read(fd[1], bytes, sizeof(bytes)), len);
	assert_pattern(bytes, 0, len);
	close(file_fd);
	close(fd[1]);
}

/* Memory that cannot be written to: whoever tries, dies. */
static void c08_no_route_writes_to_the_memory_of_its_source(void **state)
{
	const size_t len = 2 * PAGE + 100;
	unsigned char *pages = map_pages(3);
	struct usp_file *source = open_bytes(pages, len, USP_READ);

	(void)state;
	assert_int_equal(mprotect(pages, 3 * PAGE, PROT_READ), 0);
	route_through_pipes(source, len);
	route_to_sinks(source, len);
	usp_file_put(source);
	munmap(pages, 3 * PAGE);
}

static void c08_no_route_writes_to_the_pages_of_a_file(void **state)
{
	const size_t len = 2 * PAGE + 100;
	int fd = open_memfd(len);
	struct usp_file *source = adopt(open_again(fd, O_RDONLY), USP_READ);

	(void)state;
	for (unsigned is_kernel = 0; is_kernel < 2; is_kernel++) {
		usp_file_side(source, USP_READ)->lane = is_kernel ? &usp_kernel_lane : NULL;
		route_through_pipes(source, len);
	}
	assert_int_equal(usp_file_seek(source, 0, SEEK_SET), 0);
	route_to_sinks(source, len);
	assert_file(fd, len);
	usp_file_put(source);
	close(fd);
}

/* --- C10: private data that is freed for each owner ----------------------------------------------------------- */

#define NR_PRIVATES 8

/* Each owner's priv is the number of a private object; what is freed twice is seen. */
static unsigned nr_privates, nr_frees[NR_PRIVATES];
static bool private_refuses;

static void private_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	nr_frees[buf->priv]++;
}

static bool private_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)buf;
	if (!private_refuses)
		copy->priv = nr_privates++;
	return !private_refuses;
}

static const struct usp_buf_ops private_ops = {
	.size = sizeof(struct usp_buf_ops), .name = "private", .release = private_release, .get = private_get};

static void c10_what_belongs_to_one_owner_is_freed_once_by_it(void **state)
{
	struct usp_file *a[2], *b[2], *c[2];
	struct mock_store store;

	(void)state;
	mock_store_init(&store);
	open_pipe(a, 4, USP_NONBLOCK);
	open_pipe(b, 4, USP_NONBLOCK);
	open_pipe(c, 4, USP_NONBLOCK);
	memset(nr_frees, 0, sizeof(nr_frees));
	nr_privates = 1;
	inject(a[1], (struct usp_buf){.ops = &private_ops, .store = &store.folio, .len = 30, .priv = 0});
	assert_int_equal(usp_tee(a[0], b[1], 30, 0), 30);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 10, 0), 10);
	private_refuses = true;
	assert_int_equal(usp_tee(a[0], c[1], 20, 0), -EFAULT);
	assert_int_equal(usp_splice(a[0], NULL, c[1], NULL, 10, 0), -EFAULT);
	private_refuses = false;
	assert_int_equal(usp_splice(a[0], NULL, c[1], NULL, 20, 0), 20); /* the whole rest: nobody is asked */
	assert_int_equal(usp_pipe_resize(b[0], 16 * PAGE), 16 * PAGE);
	take_bytes(b[0], 0, 30);
	assert_int_equal(nr_privates, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(nr_frees[i], i == 1); /* tee's copy has been read; the others are still there */
	close_pipe(a);
	close_pipe(b);
	close_pipe(c);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(nr_frees[i], 1);
	mock_store_fini(&store);
}

/* --- C15: stealing what others still refer to ----------------------------------------------------------------- */

static void assert_nothing_can_be_stolen(struct usp_file *read_end, unsigned nr_bufs)
{
	struct usp_buf bufs[8];

	assert_int_equal(peek_bufs(read_end, bufs, ARRAY_LEN(bufs)), nr_bufs);
	for (unsigned i = 0; i < nr_bufs; i++)
		assert_false(usp_buf_try_steal(NULL, &bufs[i]));
}

static void c15_only_a_page_that_nobody_else_has_can_be_stolen(void **state)
{
	unsigned char *pages = map_pages(2);
	struct usp_file *memory = open_bytes(pages, 2 * PAGE, USP_READ), *zero, *a[2], *b[2];
	struct usp_buf buf;

	(void)state;
	assert_int_equal(
		usp_open("zero:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ},
			 &zero, NULL),
		0);
	open_pipe(a, 8, USP_NONBLOCK);
	open_pipe(b, 8, USP_NONBLOCK);
	put_bytes(a[1], 0, 100);
	assert_int_equal(usp_tee(a[0], b[1], 100, 0), 100);
	assert_nothing_can_be_stolen(a[0], 1);
	assert_nothing_can_be_stolen(b[0], 1);
	take_bytes(b[0], 0, 100);
	assert_int_equal(usp_splice(a[0], NULL, b[1], NULL, 50, 0), 50); /* a part is a second owner */
	assert_nothing_can_be_stolen(a[0], 1);
	assert_nothing_can_be_stolen(b[0], 1);
	take_bytes(a[0], 50, 50);
	assert_int_equal(peek_bufs(b[0], &buf, 1), 1);
	assert_true(usp_buf_try_steal(NULL, &buf)); /* and now there is none */
	take_bytes(b[0], 0, 50);
	assert_int_equal(usp_splice(zero, NULL, a[1], NULL, PAGE, USP_SPLICE_MOVE), PAGE);
	assert_int_equal(usp_splice(memory, NULL, a[1], NULL, PAGE, USP_SPLICE_MOVE), PAGE);
	assert_int_equal(usp_vmsplice(a[1], &(struct iovec){pages, PAGE}, 1, USP_SPLICE_GIFT), PAGE);
	usp_gift_put(give(a[1], pages, 2 * PAGE)); /* one piece of memory in two entries */
	assert_nothing_can_be_stolen(a[0], 5);
	close_pipe(a);
	close_pipe(b);
	usp_file_put(memory);
	usp_file_put(zero);
	munmap(pages, 2 * PAGE);
}

/* --- C16: memory of pipes that nobody accounts for ------------------------------------------------------------ */

static void c16_the_memory_of_pipes_is_bounded_and_comes_back(void **state)
{
	struct usp_file *end[2], *copies[4][2];
	struct usp_usage before = {.size = sizeof(before)}, full = {.size = sizeof(full)}, now = {.size = sizeof(now)};

	(void)state;
	usp_trim(&before);
	open_pipe(end, 8, USP_NONBLOCK | USP_PACKET);
	for (unsigned i = 0; i < ROUNDS_MAX && usp_write(end[1], "x", 1) == 1; i++)
		; /* a byte in each slot: the dearest way to fill a pipe */
	usp_trim(&full);
	assert_int_equal(full.folio_bytes - before.folio_bytes, usp_pipe_capacity(end[0]));
	for (unsigned i = 0; i < 4; i++) {
		open_pipe(copies[i], 8, USP_NONBLOCK);
		assert_int_equal(usp_tee(end[0], copies[i][1], 100, 0), 8);
	}
	assert_int_equal(usp_pipe_resize(end[0], 4 * PAGE), -EBUSY);
	assert_int_equal(usp_pipe_resize(end[0], SIZE_MAX), -EINVAL);
	assert_int_equal(usp_pipe_capacity(end[0]), 8 * PAGE);
	usp_trim(&now);
	assert_int_equal(now.folio_bytes, full.folio_bytes);
	assert_int_equal(now.nr_folios, full.nr_folios);
	close_pipe(end);
	usp_trim(&now);
	assert_int_equal(now.nr_folios, full.nr_folios); /* the copies have them */
	for (unsigned i = 0; i < 4; i++)
		close_pipe(copies[i]);
	usp_trim(&now);
	assert_int_equal(now.nr_folios, before.nr_folios);
	assert_int_equal(now.folio_bytes, before.folio_bytes);
}

/* --- C19: what is spliced is shared, and no snapshot ---------------------------------------------------------- */

/* Whether a later change of the source is seen is the kernel's business; that each byte is old or new is ours. */
static void c19_a_source_that_changes_gives_old_bytes_or_new_ones(void **state)
{
	const size_t len = 2 * PAGE;
	int fd = open_memfd(len);
	struct usp_file *source = adopt(open_again(fd, O_RDONLY), USP_READ), *end[2];
	unsigned char bytes[2 * PAGE], new[100];

	(void)state;
	memset(new, 0xee, sizeof(new));
	for (unsigned is_kernel = 0; is_kernel < 2; is_kernel++) {
		usp_file_side(source, USP_READ)->lane = is_kernel ? &usp_kernel_lane : NULL;
		open_pipe(end, 4, USP_NONBLOCK);
		while (usp_pipe_bytes(end[0]) < (ssize_t)len)
			assert_true(usp_splice(source, NULL, end[1], NULL, len, 0) > 0);
		assert_int_equal(pwrite(fd, new, sizeof(new), PAGE - 50), sizeof(new));
		assert_int_equal(usp_read(end[0], bytes, sizeof(bytes)), len);
		for (size_t i = 0; i < len; i++)
			assert_true(bytes[i] == pattern_at(i) || (i >= PAGE - 50 && i < PAGE + 50 && bytes[i] == 0xee));
		close_pipe(end);
		assert_int_equal(usp_file_seek(source, 0, SEEK_SET), 0);
	}
	usp_file_put(source);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(c01_no_flag_of_a_used_slot_lets_a_write_reach_the_source),
		CASE(c01_every_producer_sets_every_field_of_a_slot),
		CASE(c02_a_count_near_its_end_is_refused_by_every_sharer),
		CASE(c04_after_a_fork_neither_side_sees_what_the_other_one_writes),
		CASE(c04_memory_that_was_not_gifted_may_change_at_once),
		CASE(c08_no_route_writes_to_the_memory_of_its_source),
		CASE(c08_no_route_writes_to_the_pages_of_a_file),
		CASE(c10_what_belongs_to_one_owner_is_freed_once_by_it),
		CASE(c15_only_a_page_that_nobody_else_has_can_be_stolen),
		CASE(c16_the_memory_of_pipes_is_bounded_and_comes_back),
		CASE(c19_a_source_that_changes_gives_old_bytes_or_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
