/* SPDX-License-Identifier: MIT */
/* test_file - the doors in front of the hooks: errors behind progress, positions, and hooks that say one thing and do another. */
#include "support.h"

#include <fcntl.h>
#include <sys/mman.h>

/* --- Errors behind progress -------------------------------------------------------------------------- */

static void an_error_behind_progress_is_told_once_by_the_next_read(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, 0);
	unsigned char bytes[10];

	(void)state;
	assert_int_equal(usp_file_progress(mock->file, USP_READ, 7, -EIO), 7);
	assert_int_equal(usp_read(mock->file, bytes, sizeof(bytes)), -EIO);
	assert_int_equal(mock->nr_calls, 0);
	assert_int_equal(usp_read(mock->file, bytes, sizeof(bytes)), sizeof(bytes));
	mock_close(mock);
}

static void an_error_behind_progress_is_told_once_by_the_next_write(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_WRITE, 0);

	(void)state;
	assert_int_equal(usp_file_progress(mock->file, USP_WRITE, 7, -ENOSPC), 7);
	assert_int_equal(usp_write(mock->file, "bytes", 5), -ENOSPC);
	put_bytes(mock->file, 0, 5);
	assert_int_equal(mock->len, 5);
	mock_close(mock);
}

static void an_error_behind_progress_is_told_by_splices_too(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_file_progress(mock->file, USP_READ, 1, -EIO), 1);
	assert_int_equal(usp_file_progress(mock->file, USP_WRITE, 1, -EPIPE), 1);
	assert_int_equal(usp_splice(mock->file, NULL, end[1], NULL, 10, 0), -EIO);
	assert_int_equal(usp_splice(mock->file, NULL, end[1], NULL, 10, 0), 10);
	assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 10, 0), -EPIPE);
	assert_int_equal(usp_pipe_bytes(end[0]), 10);
	assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 10, 0), 10);
	close_pipe(end);
	mock_close(mock);
}

/* write_iter says it once, behind bytes that it took. */
static void an_error_that_a_helper_met_behind_progress_is_told_by_the_next_call(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *end[2];

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	put_bytes(end[1], 0, 30);
	SCRIPT(mock, 10, -EDQUOT);
	assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 20, 0), 10);
	assert_int_equal(usp_pipe_bytes(end[0]), 20);
	assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 20, 0), -EDQUOT);
	assert_int_equal(usp_pipe_bytes(end[0]), 20);
	assert_int_equal(usp_splice(end[0], NULL, mock->file, NULL, 20, 0), 20);
	assert_pattern(mock->bytes, 0, 30);
	close_pipe(end);
	mock_close(mock);
}

static ssize_t give_and_fail(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct usp_buf buf = folio_buf(0, 10, 0);
	unsigned *nr_calls = in->priv;

	(void)pos, (void)len, (void)flags;
	assert_int_equal(usp_pipe_push(pipe, &buf, 1), 1);
	return (*nr_calls)++ ? 10 : -EIO;
}

static void an_error_of_a_hook_that_has_pushed_is_told_by_the_next_call(void **state)
{
	const struct usp_file_ops ops = {
		.size = sizeof(struct usp_file_ops), .name = "fails", .splice_read = give_and_fail};
	struct usp_file *file, *end[2];
	unsigned nr_calls = 0;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_file_new(&ops, USP_READ, "fails", &nr_calls, &file), 0);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 10, 0), 10);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 10, 0), -EIO);
	assert_int_equal(nr_calls, 1);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 10, 0), 10);
	drop(&file);
	close_pipe(end);
}

/* Of any type, and whatever moved the bytes: the kernel lane keeps its error in the same place. */
static void an_error_behind_progress_is_told_by_a_shutdown_or_a_sync_that_comes_next(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_WRITE, 0);

	(void)state;
	assert_int_equal(usp_file_progress(mock->file, USP_WRITE, 1, -ECONNRESET), 1);
	assert_int_equal(usp_file_shutdown(mock->file), -ECONNRESET);
	assert_int_equal(usp_file_shutdown(mock->file), 0);
	assert_int_equal(usp_file_progress(mock->file, USP_WRITE, 1, -EIO), 1);
	assert_int_equal(usp_file_sync(mock->file), -EIO);
	assert_int_equal(usp_file_sync(mock->file), 0);
	mock_close(mock);
}

static void waiting_behind_progress_is_no_error(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, 0);
	unsigned char byte;

	(void)state;
	assert_int_equal(usp_file_progress(mock->file, USP_READ, 1, -EAGAIN), 1);
	assert_int_equal(usp_read(mock->file, &byte, 1), 1);
	assert_int_equal(usp_file_progress(mock->file, USP_READ, 1, -EINTR), 1);
	assert_int_equal(usp_read(mock->file, &byte, 1), 1);
	mock_close(mock);
}

static void without_progress_the_error_is_the_result_and_not_kept(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, 0);
	unsigned char byte;

	(void)state;
	assert_int_equal(usp_file_progress(mock->file, USP_READ, 0, -EIO), -EIO);
	assert_int_equal(usp_file_progress(mock->file, USP_READ, 0, 0), 0);
	assert_int_equal(usp_read(mock->file, &byte, 1), 1);
	mock_close(mock);
}

/* --- Positions ------------------------------------------------------------------------------------------- */

static void a_position_stays_within_its_bounds(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ, USP_FILE_SEEKABLE);

	(void)state;
	assert_int_equal(usp_file_seek(mock->file, 100, SEEK_SET), 100);
	assert_int_equal(usp_file_seek(mock->file, -30, SEEK_CUR), 70);
	assert_int_equal(usp_file_seek(mock->file, -71, SEEK_CUR), -EINVAL);
	assert_int_equal(usp_file_seek(mock->file, -1, SEEK_SET), -EINVAL);
	assert_int_equal(usp_file_seek(mock->file, INT64_MAX, SEEK_CUR), -EINVAL);
	assert_int_equal(usp_file_seek(mock->file, 0, SEEK_END), -EINVAL); /* nobody knows the end */
	assert_int_equal(usp_file_seek(mock->file, 0, 77), -EINVAL);
	assert_int_equal(usp_file_seek(mock->file, 0, SEEK_CUR), 70);
	mock_close(mock);
}

static void a_write_to_a_file_that_appends_moves_the_position_to_the_end(void **state)
{
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct usp_file *file;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "0123456789", 10), 10);
	assert_int_equal(fcntl(fd, F_SETFL, O_APPEND), 0);
	assert_int_equal(usp_open_fd(fd, USP_READ | USP_WRITE, "log", &file), 0);
	assert_int_equal(usp_file_seek(file, 2, SEEK_SET), 2);
	put_bytes(file, 0, 5);
	assert_int_equal(usp_file_seek(file, 0, SEEK_CUR), 15);
	drop(&file);
}

/* --- Hooks that say one thing and do another ---------------------------------------------------------------- */

/* Pushes 300 bytes in two bufs, and answers what the test wants. */
static ssize_t lie;

static ssize_t lying_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	const struct usp_buf bufs[] = {folio_buf(0, 100, 0), folio_buf(100, 200, 0)};

	(void)in, (void)len, (void)flags;
	assert_int_equal(usp_pipe_push(pipe, bufs, ARRAY_LEN(bufs)), ARRAY_LEN(bufs));
	*pos += 7;
	return lie;
}

static void what_is_in_the_ring_counts_whatever_the_hook_says(void **state)
{
	const struct usp_file_ops lying_ops = {
		.size = sizeof(struct usp_file_ops), .name = "lying", .splice_read = lying_splice_read};
	const ssize_t lies[] = {1, 299, 301, 0, -EIO};
	struct usp_file *file, *end[2];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lies); i++) {
		lie = lies[i];
		open_pipe(end, 4, USP_NONBLOCK);
		assert_int_equal(usp_file_new(&lying_ops, USP_READ, "lying", NULL, &file), 0);
		file->traits = USP_FILE_SEEKABLE;
		assert_int_equal(usp_splice(file, NULL, end[1], NULL, 1000, 0), 300);
		assert_int_equal(file->pos, 300);
		take_bytes(end[0], 0, 300);
		close_pipe(end);
		drop(&file);
	}
}

/* --- What a file has not ------------------------------------------------------------------------------------- */

static void a_file_without_hooks_refuses_and_does_nothing(void **state)
{
	struct mock *mock = mock_open(&mock_bare_ops, USP_READ | USP_WRITE, 0);
	short events = 0;
	unsigned char byte = 0;

	(void)state;
	assert_int_equal(usp_read(mock->file, &byte, 1), -EINVAL);
	assert_int_equal(usp_write(mock->file, &byte, 1), -EINVAL);
	assert_int_equal(usp_file_sync(mock->file), 0);
	assert_int_equal(usp_file_shutdown(mock->file), 0);
	assert_int_equal(usp_file_poll(mock->file), POLLIN | POLLOUT);
	assert_int_equal(usp_file_poll_fd(mock->file, USP_READ, &events), -EPERM);
	assert_int_equal(usp_file_fd(mock->file), -ENXIO);
	assert_int_equal(usp_file_seek(mock->file, 0, SEEK_SET), -ESPIPE);
	assert_string_equal(usp_file_type(mock->file), "mock-bare");
	mock_close(mock);
}

static void a_direction_that_is_not_open_is_ebadf_at_every_door(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0), *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_pipe *pipe;
	unsigned char byte = 0;
	int64_t pos = 0;

	(void)state;
	assert_int_equal(usp_pipe_new(NULL, &pipe), 0);
	assert_int_equal(usp_read(sink->file, &byte, 1), -EBADF);
	assert_int_equal(usp_write(source->file, &byte, 1), -EBADF);
	assert_int_equal(usp_file_splice_write(pipe, source->file, &pos, 1, 0), -EBADF);
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	assert_int_equal(usp_file_splice_read(sink->file, &pos, pipe, 1, 0), -EBADF);
	assert_int_equal(usp_file_splice_read(source->file, &pos, pipe, 0, 0), 0);
	usp_pipe_end_write(pipe);
	assert_int_equal(usp_file_splice_write(pipe, sink->file, &pos, 0, 0), 0);
	assert_int_equal(source->nr_calls + sink->nr_calls, 0);
	usp_pipe_free(pipe);
	mock_close(source);
	mock_close(sink);
}

static void too_many_segments_are_einval(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_READ | USP_WRITE, 0);
	struct iovec *iov = calloc(1025, sizeof(*iov));

	(void)state;
	assert_non_null(iov);
	assert_int_equal(usp_readv(mock->file, iov, 1025), -EINVAL);
	assert_int_equal(usp_writev(mock->file, iov, 1025), -EINVAL);
	assert_int_equal(mock->nr_calls, 0);
	free(iov);
	mock_close(mock);
}

/* --- The end ------------------------------------------------------------------------------------------ */

static void a_close_tells_an_earlier_error_then_that_of_the_close_and_happens_once(void **state)
{
	struct mock *mock = mock_open(&mock_copy_ops, USP_WRITE, 0);

	(void)state;
	mock->release_error = -ENOSPC;
	assert_int_equal(usp_file_progress(mock->file, USP_WRITE, 1, -EIO), 1);
	assert_int_equal(usp_file_close(mock->file), -EIO);
	assert_int_equal(mock->nr_released, 1);
	assert_int_equal(usp_file_close(mock->file), 0);
	mock_close(mock);
	mock = mock_open(&mock_copy_ops, USP_WRITE, 0);
	mock->release_error = -ENOSPC;
	assert_int_equal(usp_file_close(mock->file), -ENOSPC);
	mock_close(mock);
}

/* Of kinds that have something to free: what comes later must not reach it. */
static void a_closed_file_keeps_its_account_and_its_name_and_does_nothing_any_more(void **state)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	struct usp_file *files[4];
	unsigned char byte;

	(void)state;
	assert_int_equal(usp_open("zero:", &to_read, &files[0], NULL), 0);
	assert_int_equal(usp_open_fd(memfd_create("closed", MFD_CLOEXEC), USP_READ, "memfd", &files[1]), 0);
	assert_int_equal(usp_pipe_open(NULL, &files[2]), 0);
	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		struct usp_hop hop = {.size = sizeof(hop)};

		usp_file_account(files[i], USP_READ, USP_COPIED, 10, "told");
		assert_int_equal(usp_file_close(files[i]), 0);
		usp_file_hop(files[i], USP_READ, &hop);
		assert_int_equal(hop.bytes[USP_COPIED], 10);
		assert_non_null(usp_file_spec(files[i]));
		assert_int_equal(usp_read(files[i], &byte, 1), -EBADF);
		assert_int_equal(usp_write(files[i], &byte, 1), -EBADF);
		assert_int_equal(usp_file_sync(files[i]), -EBADF);
		assert_int_equal(usp_file_shutdown(files[i]), -EBADF);
		assert_int_equal(usp_pread(files[i], &byte, 1, 0), -EBADF);
		assert_int_equal(usp_file_seek(files[i], 0, SEEK_SET), -EBADF);
		assert_int_equal(usp_file_size(files[i]), -EBADF);
		assert_int_equal(usp_pipe_bytes(files[i]), -EBADF);
		assert_int_equal(usp_file_fd(files[i]), -ENXIO);
		assert_int_equal(usp_file_poll(files[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_LEN(files); i++)
		usp_file_put(files[i]);
}

/* --- What one call moves at most (N2) ------------------------------------------------------------------- */

#define CALL_MAX ((ssize_t)0x7ffff000)
#define SEG_BYTES ((size_t)4 << 20)
#define NR_SEGS 1024u /* 4 GiB, all of them the same memory */

/* A file that takes and gives whatever its segments say, which must be what the count says. */
static ssize_t greedy_iter(struct usp_file *file, const struct usp_iter *iter, int64_t *pos, unsigned flags)
{
	size_t sum = 0;

	(void)file;
	(void)pos;
	(void)flags;
	for (unsigned i = 0; i < iter->nr_segs; i++)
		sum += iter->iov[i].iov_len;
	assert_int_equal(sum, iter->count);
	return (ssize_t)sum;
}

static const struct usp_file_ops greedy_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "greedy",
	.read_iter = greedy_iter,
	.write_iter = greedy_iter,
};

static void fill_iov(struct iovec iov[NR_SEGS], unsigned char *base)
{
	for (unsigned i = 0; i < NR_SEGS; i++)
		iov[i] = (struct iovec){.iov_base = base, .iov_len = SEG_BYTES};
}

static void reads_and_writes_are_cut_to_what_one_call_moves(void **state)
{
	static unsigned char byte; /* nothing looks at the memory */
	static struct iovec iov[NR_SEGS];
	struct usp_file *file;

	(void)state;
	fill_iov(iov, &byte);
	assert_int_equal(usp_file_new(&greedy_ops, USP_READ | USP_WRITE, "greedy", NULL, &file), 0);
	assert_int_equal(usp_readv(file, iov, NR_SEGS), CALL_MAX);
	assert_int_equal(usp_writev(file, iov, NR_SEGS), CALL_MAX);
	assert_int_equal(usp_read(file, &byte, NR_SEGS * SEG_BYTES), CALL_MAX);
	assert_int_equal(usp_write(file, &byte, NR_SEGS * SEG_BYTES), CALL_MAX);
	assert_int_equal(usp_writev(file, iov, 511), 511 * SEG_BYTES);
	usp_file_put(file);
}

/* Pipes of 4 GiB, by reference to memory that is not there. */
static void splices_are_cut_to_what_one_call_moves(void **state)
{
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = NR_SEGS, .slot_bytes = SEG_BYTES, .flags = USP_NONBLOCK};
	size_t len = NR_SEGS * SEG_BYTES;
	void *base = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	static struct iovec iov[NR_SEGS];
	struct usp_file *in[2], *out[2], *null = NULL;
	struct usp_gift *gift;

	(void)state;
	if (base == MAP_FAILED)
		skip();
	fill_iov(iov, base);
	assert_int_equal(usp_pipe_open(&params, in), 0);
	assert_int_equal(usp_pipe_open(&params, out), 0);
	assert_int_equal(usp_open("null:", &to_write, &null, NULL), 0);
	assert_int_equal(usp_gift_new(base, len, NULL, NULL, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, len, in[1], 0), CALL_MAX);
	assert_int_equal(usp_vmsplice(in[1], iov, NR_SEGS, USP_SPLICE_GIFT), CALL_MAX);
	assert_int_equal(usp_tee(in[0], out[1], len, 0), CALL_MAX);
	assert_int_equal(usp_splice(out[0], NULL, null, NULL, len, 0), CALL_MAX);
	assert_int_equal(usp_vmsplice(out[1], iov, NR_SEGS, USP_SPLICE_GIFT), CALL_MAX);
	assert_int_equal(usp_splice(out[0], NULL, null, NULL, SIZE_MAX >> 1, 0), CALL_MAX);
	assert_int_equal(usp_splice(in[0], NULL, out[1], NULL, SIZE_MAX, 0), CALL_MAX);
	usp_gift_put(gift);
	close_pipe(in);
	close_pipe(out);
	usp_file_put(null);
	munmap(base, len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_error_behind_progress_is_told_once_by_the_next_read),
		CASE(an_error_behind_progress_is_told_once_by_the_next_write),
		CASE(an_error_behind_progress_is_told_by_splices_too),
		CASE(an_error_that_a_helper_met_behind_progress_is_told_by_the_next_call),
		CASE(an_error_of_a_hook_that_has_pushed_is_told_by_the_next_call),
		CASE(an_error_behind_progress_is_told_by_a_shutdown_or_a_sync_that_comes_next),
		CASE(waiting_behind_progress_is_no_error),
		CASE(without_progress_the_error_is_the_result_and_not_kept),
		CASE(a_position_stays_within_its_bounds),
		CASE(a_write_to_a_file_that_appends_moves_the_position_to_the_end),
		CASE(what_is_in_the_ring_counts_whatever_the_hook_says),
		CASE(a_file_without_hooks_refuses_and_does_nothing),
		CASE(a_direction_that_is_not_open_is_ebadf_at_every_door),
		CASE(too_many_segments_are_einval),
		CASE(a_close_tells_an_earlier_error_then_that_of_the_close_and_happens_once),
		CASE(a_closed_file_keeps_its_account_and_its_name_and_does_nothing_any_more),
		CASE(reads_and_writes_are_cut_to_what_one_call_moves),
		CASE(splices_are_cut_to_what_one_call_moves),
	};

	return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
