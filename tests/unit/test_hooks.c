/* SPDX-License-Identifier: MIT */
/* test_hooks - what a file says about itself: poll_fd, get_size and seek; and files over files, which hand them down. */
#include "support.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* --- poll_fd: a file that has to be told before it can go on ------------------------------------------------ */

/* A byte is read, or written, for each signal on the eventfd of its side. */
struct gate {
	int fds[2]; /* reading, writing */
	uint64_t moved;
	unsigned nr_tries;
};

static bool gate_open(struct gate *gate, unsigned side)
{
	eventfd_t value;

	gate->nr_tries++;
	return eventfd_read(gate->fds[side == USP_WRITE], &value) == 0;
}

static ssize_t gate_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct gate *gate = in->priv;

	(void)pos, (void)flags;
	if (!gate_open(gate, USP_READ))
		return -EAGAIN;
	*(unsigned char *)to->iov[0].iov_base = pattern_at(gate->moved++);
	return 1;
}

static ssize_t gate_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct gate *gate = out->priv;

	(void)pos, (void)flags;
	if (!gate_open(gate, USP_WRITE))
		return -EAGAIN;
	assert_int_equal(*(unsigned char *)from->iov[0].iov_base, pattern_at(gate->moved));
	gate->moved++;
	return 1;
}

static int gate_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	const struct gate *gate = file->priv;

	*ret_events = POLLIN; /* to write, too */
	return gate->fds[side == USP_WRITE];
}

static int gate_release(struct usp_file *file)
{
	const struct gate *gate = file->priv;

	close(gate->fds[0]);
	close(gate->fds[1]);
	return 0;
}

static const struct usp_file_ops gate_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "gate",
	.read_iter = gate_read_iter,
	.write_iter = gate_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.release = gate_release,
	.poll_fd = gate_poll_fd,
};

static struct gate gate;

static struct usp_file *open_gate(unsigned mode)
{
	struct usp_file *file;

	gate = (struct gate){.moved = 0};
	for (unsigned i = 0; i < 2; i++)
		gate.fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
	assert_int_equal(usp_file_new(&gate_ops, mode, "gate", &gate, &file), 0);
	return file;
}

static void let_through(unsigned side, unsigned nr)
{
	assert_int_equal(eventfd_write(gate.fds[side == USP_WRITE], nr), 0);
}

static void poll_fd_tells_readiness_of_each_side(void **state)
{
	struct usp_file *file = open_gate(USP_READ | USP_WRITE);
	short events = 0;

	(void)state;
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), gate.fds[0]);
	assert_int_equal(usp_file_poll_fd(file, USP_WRITE, &events), gate.fds[1]);
	assert_int_equal(events, POLLIN);
	assert_int_equal(usp_file_poll_fd(file, USP_READ | USP_WRITE, &events), -EINVAL);
	assert_int_equal(usp_file_poll(file), 0);
	let_through(USP_WRITE, 1);
	assert_int_equal(usp_file_poll(file), POLLOUT);
	let_through(USP_READ, 1);
	assert_int_equal(usp_file_poll(file), POLLIN | POLLOUT);
	drop(&file);
}

static void a_file_of_one_side_is_asked_for_that_side_only(void **state)
{
	struct usp_file *file = open_gate(USP_READ);

	(void)state;
	let_through(USP_WRITE, 1);
	assert_int_equal(usp_file_poll(file), 0);
	let_through(USP_READ, 1);
	assert_int_equal(usp_file_poll(file), POLLIN);
	drop(&file);
}

static ssize_t read_one(void *arg)
{
	unsigned char byte;

	return usp_read(arg, &byte, 1);
}

static ssize_t write_one(void *arg)
{
	unsigned char byte = pattern_at(0);

	return usp_write(arg, &byte, 1);
}

/* What it waits for comes between the call that gave -EAGAIN and the question what to wait for. */
static unsigned nr_refusals;

static ssize_t sudden_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	(void)in, (void)pos, (void)flags;
	if (nr_refusals) {
		nr_refusals--;
		return -EAGAIN;
	}
	*(unsigned char *)to->iov[0].iov_base = pattern_at(0);
	return 1;
}

static ssize_t sudden_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	(void)out, (void)from, (void)pos, (void)flags;
	if (nr_refusals) {
		nr_refusals--;
		return -EAGAIN;
	}
	return 1;
}

static int sudden_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	(void)file, (void)side, (void)ret_events;
	return -EPERM;
}

static const struct usp_file_ops sudden_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "sudden",
	.read_iter = sudden_read_iter,
	.write_iter = sudden_write_iter,
	.poll_fd = sudden_poll_fd,
};

static void a_call_that_blocks_tries_again_where_the_file_is_ready_now(void **state)
{
	struct usp_file *file;

	(void)state;
	assert_int_equal(usp_file_new(&sudden_ops, USP_READ | USP_WRITE, "sudden", NULL, &file), 0);
	nr_refusals = 3;
	assert_int_equal(read_one(file), 1);
	nr_refusals = 3;
	assert_int_equal(write_one(file), 1);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	nr_refusals = 1;
	assert_int_equal(read_one(file), -EAGAIN);
	drop(&file);
}

static void a_call_that_blocks_sleeps_on_poll_fd(void **state)
{
	ssize_t (*const calls[])(void *) = {read_one, write_one};
	const unsigned sides[] = {USP_READ, USP_WRITE};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct usp_file *file = open_gate(sides[i]);
		struct worker worker;

		worker_start(&worker, calls[i], file);
		worker_await_sleep(&worker);
		let_through(sides[i], 1);
		assert_int_equal(worker_join(&worker), 1);
		assert_in_range(gate.nr_tries, 1, 3);
		assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
		assert_int_equal(calls[i](file), -EAGAIN);
		drop(&file);
	}
}

static void a_pump_waits_for_what_poll_fd_says(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	struct usp_file *end[2], *sink = open_gate(USP_WRITE);
	struct usp_pump *pump;

	(void)state;
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 3);
	drop(&end[1]);
	assert_int_equal(usp_pump_new(end[0], NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(usp_pump_step(pump, &wait), -EAGAIN);
		assert_ptr_equal(wait.file, sink);
		assert_int_equal(wait.side, USP_WRITE);
		assert_int_equal(wait.fd, gate.fds[1]);
		assert_int_equal(wait.events, POLLIN);
		assert_true(wait.timeout_ns < 0); /* it need not be asked again and again */
		let_through(USP_WRITE, 1);
	}
	assert_int_equal(usp_pump_step(pump, &wait), 0);
	assert_int_equal(gate.moved, 3);
	usp_pump_free(pump);
	drop(&sink);
	close_pipe(end);
}

/* A table of an older program ends before the new hooks, whatever lies behind it in memory. */
static void a_table_that_ends_before_the_hooks_has_none_of_them(void **state)
{
	struct usp_file_ops old_ops = gate_ops;
	struct usp_file *file;
	short events;

	(void)state;
	old_ops.size = offsetof(struct usp_file_ops, poll_fd);
	old_ops.seek = (int64_t(*)(struct usp_file *, int64_t, int))1;
	old_ops.get_size = (int64_t(*)(const struct usp_file *))1;
	old_ops.release = NULL;
	assert_int_equal(usp_file_new(&old_ops, USP_READ | USP_WRITE, "old", &gate, &file), 0);
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), -EPERM);
	assert_int_equal(usp_file_poll(file), POLLIN | POLLOUT);
	assert_int_equal(usp_file_size(file), -EINVAL);
	assert_int_equal(usp_file_seek(file, 0, SEEK_SET), -ESPIPE);
	drop(&file);
}

/* --- get_size and seek ------------------------------------------------------------------------------------------ */

#define CARD_LEN 1000

/* It can only be positioned at multiples of ten, and knows where its data is. */
static int64_t card_seek(struct usp_file *file, int64_t off, int whence)
{
	int64_t base = whence == SEEK_CUR ? file->pos : whence == SEEK_END ? CARD_LEN : 0;

	if (whence == SEEK_DATA)
		return off < 500 ? 500 : off < CARD_LEN ? off : -ENXIO;
	return (base + off) % 10 ? -EINVAL : base + off;
}

static int64_t card_get_size(const struct usp_file *file)
{
	(void)file;
	return CARD_LEN;
}

static ssize_t card_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	size_t len = to->iov[0].iov_len;

	(void)in, (void)flags;
	if (*pos >= CARD_LEN)
		return 0;
	if (len > (size_t)(CARD_LEN - *pos))
		len = (size_t)(CARD_LEN - *pos);
	pattern_fill(to->iov[0].iov_base, (uint64_t)*pos, len);
	*pos += (int64_t)len;
	return (ssize_t)len;
}

static const struct usp_file_ops card_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "card",
	.read_iter = card_read_iter,
	.splice_read = usp_copy_splice_read,
	.get_size = card_get_size,
	.seek = card_seek,
};

/* Without a seek of its own: the door counts. */
static const struct usp_file_ops sized_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "sized",
	.read_iter = card_read_iter,
	.splice_read = usp_copy_splice_read,
	.get_size = card_get_size,
};

static struct usp_file *open_card(const struct usp_file_ops *ops)
{
	struct usp_file *file;

	assert_int_equal(usp_file_new(ops, USP_READ, "card", NULL, &file), 0);
	file->traits = USP_FILE_SEEKABLE;
	return file;
}

static void the_seek_hook_decides_and_the_door_notes_it(void **state)
{
	struct usp_file *file = open_card(&card_ops);

	(void)state;
	assert_int_equal(usp_file_size(file), CARD_LEN);
	assert_int_equal(usp_file_seek(file, 20, SEEK_SET), 20);
	assert_int_equal(usp_file_seek(file, 5, SEEK_CUR), -EINVAL);
	assert_int_equal(file->pos, 20);
	assert_int_equal(usp_file_seek(file, -100, SEEK_END), 900);
	assert_int_equal(usp_file_seek(file, 0, SEEK_DATA), 500);
	assert_int_equal(usp_file_seek(file, CARD_LEN, SEEK_DATA), -ENXIO);
	assert_int_equal(file->pos, 500);
	assert_int_equal(usp_file_close(file), 0);
	assert_int_equal(usp_file_size(file), -EBADF);
	assert_int_equal(usp_file_seek(file, 0, SEEK_SET), -EBADF);
	drop(&file);
}

static void a_size_is_enough_to_seek_from_the_end(void **state)
{
	struct usp_file *file = open_card(&sized_ops);
	unsigned char bytes[20];

	(void)state;
	assert_int_equal(usp_file_seek(file, -10, SEEK_END), CARD_LEN - 10);
	assert_int_equal(usp_read(file, bytes, sizeof(bytes)), 10);
	assert_pattern(bytes, CARD_LEN - 10, 10);
	assert_int_equal(usp_file_seek(file, 0, SEEK_DATA), -EINVAL);
	drop(&file);
}

static void memory_has_a_size(void **state)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *file;

	(void)state;
	assert_int_equal(usp_open("mem:hello", &to_read, &file, NULL), 0);
	assert_int_equal(usp_file_size(file), 5);
	assert_int_equal(usp_file_seek(file, -1, SEEK_END), 4);
	drop(&file);
	assert_int_equal(usp_open("mem:", &to_write, &file, NULL), 0);
	assert_int_equal(usp_file_size(file), 0);
	put_bytes(file, 0, 300);
	assert_int_equal(usp_file_size(file), 300);
	drop(&file);
}

/* --- Files over files --------------------------------------------------------------------------------------------- */

/* Counts what passes, and knows nothing else. */
static uint64_t nr_seen;
static unsigned nr_gone;

static ssize_t watch_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	ssize_t ret = usp_stack_read_iter(in, to, pos, flags);

	nr_seen += ret > 0 ? (uint64_t)ret : 0;
	return ret;
}

static ssize_t watch_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	ssize_t ret = usp_stack_write_iter(out, from, pos, flags);

	nr_seen += ret > 0 ? (uint64_t)ret : 0;
	return ret;
}

static int watch_release(struct usp_file *file)
{
	nr_gone++;
	return usp_stack_release(file);
}

static const struct usp_file_ops watch_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "watch",
	.read_iter = watch_read_iter,
	.write_iter = watch_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.poll = usp_stack_poll,
	.poll_fd = usp_stack_poll_fd,
	.get_size = usp_stack_size,
	.seek = usp_stack_seek,
	.sync = usp_stack_sync,
	.shutdown = usp_stack_shutdown,
	.abort = usp_stack_abort,
	.release = watch_release,
};

static struct usp_file *over(struct usp_file *below)
{
	struct usp_file *file;

	nr_seen = nr_gone = 0;
	assert_int_equal(usp_stack_new(&watch_ops, below, below->mode, "watch", NULL, &file), 0);
	return file;
}

static void a_file_over_a_pipe_waits_as_the_pipe_does(void **state)
{
	struct usp_file *end[2], *file;
	struct worker worker;
	unsigned char byte;
	short events;

	(void)state;
	open_pipe(end, 4, 0);
	file = over(end[0]);
	assert_int_equal(usp_file_poll(file), 0);
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), usp_file_poll_fd(end[0], USP_READ, &events));
	worker_start(&worker, read_one, file);
	worker_await_sleep(&worker);
	put_bytes(end[1], 0, 2);
	assert_int_equal(worker_join(&worker), 1);
	assert_int_equal(usp_file_poll(file), POLLIN);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	assert_int_equal(usp_read(file, &byte, 1), 1);
	assert_int_equal(usp_read(file, &byte, 1), -EAGAIN);
	assert_int_equal(nr_seen, 2);
	drop(&end[1]);
	assert_int_equal(usp_read(file, &byte, 1), 0);
	drop(&file);
	assert_int_equal(nr_gone, 1);
}

/* Only its own USP_NONBLOCK keeps a socket from waiting; the file over it must not wait in it. */
static void a_file_over_a_socket_does_not_wait_in_the_socket(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	struct usp_file *below, *file, *end[2];
	struct usp_pump *pump;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(usp_open_fd(fds[0], USP_READ | USP_EXCLUSIVE, "socket", &below), 0);
	file = over(below);
	open_pipe(end, 4, 0);
	assert_int_equal(usp_pump_new(file, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, end[1]), 0);
	assert_int_equal(usp_pump_step(pump, &wait), -EAGAIN);
	assert_ptr_equal(wait.file, file);
	assert_int_equal(wait.fd, fds[0]);
	assert_int_equal(wait.events, POLLIN);
	assert_int_equal(write(fds[1], "abc", 3), 3);
	assert_int_equal(usp_pump_step(pump, &wait), -EAGAIN);
	assert_int_equal(usp_pipe_bytes(end[0]), 3);
	close(fds[1]);
	assert_int_equal(usp_pump_step(pump, &wait), 0);
	assert_string_equal(usp_pump_lane(pump), "user");
	usp_pump_free(pump);
	close_pipe(end);
	drop(&file);
}

static struct usp_file *open_temporary(unsigned mode, int *ret_fd)
{
	char path[] = "/tmp/usplice-hooks-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);
	unsigned char bytes[CARD_LEN];
	struct usp_file *file;

	assert_true(fd >= 0);
	unlink(path);
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(lseek(fd, 100, SEEK_SET), 100);
	*ret_fd = dup(fd);
	assert_int_equal(usp_open_fd(fd, mode, "temporary", &file), 0);
	return file;
}

static void a_file_over_a_shared_descriptor_moves_the_shared_offset(void **state)
{
	struct usp_file *file;
	unsigned char bytes[50];
	int fd;

	(void)state;
	file = over(open_temporary(USP_READ | USP_WRITE, &fd));
	assert_int_equal(file->traits, USP_FILE_SEEKABLE | USP_FILE_SHARED);
	assert_int_equal(usp_file_size(file), CARD_LEN);
	assert_int_equal(usp_read(file, bytes, 50), 50);
	assert_pattern(bytes, 100, 50);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 150);
	assert_int_equal(file->pos, 150);
	assert_int_equal(usp_pread(file, bytes, 10, 7), 10);
	assert_pattern(bytes, 7, 10);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 150);
	assert_int_equal(usp_file_seek(file, -20, SEEK_END), CARD_LEN - 20);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), CARD_LEN - 20);
	put_bytes(file, CARD_LEN - 20, 30);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), CARD_LEN + 10);
	assert_int_equal(usp_file_size(file), CARD_LEN + 10);
	assert_int_equal(usp_file_sync(file), 0);
	drop(&file);
	close(fd);
}

static void a_route_goes_over_stacks_at_both_ends(void **state)
{
	struct usp_route_total total = {.size = sizeof(total)};
	struct usp_file *source, *sink;
	int fds[2];

	(void)state;
	source = over(open_temporary(USP_READ, &fds[0]));
	sink = over(open_temporary(USP_WRITE, &fds[1]));
	assert_int_equal(usp_copy_files(source, sink, NULL, &total), 0);
	assert_int_equal(nr_seen, 2 * (CARD_LEN - 100));
	assert_int_equal(total.copied, CARD_LEN - 100);
	assert_int_equal(total.by_reference + total.unknown, 0);
	assert_int_equal(lseek(fds[1], 0, SEEK_CUR), CARD_LEN);
	drop(&source);
	drop(&sink);
	close(fds[0]);
	close(fds[1]);
}

/* What a short sink did not take is read again, whoever has the offset. */
static void what_a_sink_did_not_take_stays_in_the_file_below(void **state)
{
	(void)state;
	for (unsigned is_own = 0; is_own <= 1; is_own++) {
		struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
		unsigned char bytes[10];
		struct usp_file *file;
		int fd;

		file = over(open_temporary(USP_READ | (is_own ? USP_EXCLUSIVE : 0), &fd));
		SCRIPT(sink, 30, -EAGAIN, -EAGAIN);
		assert_int_equal(usp_file_set_flags(sink->file, USP_NONBLOCK), 0);
		assert_int_equal(usp_splice_direct(file, NULL, sink->file, NULL, 100, USP_SPLICE_NONBLOCK, NULL), 30);
		assert_int_equal(file->pos, 130);
		assert_int_equal(usp_read(file, bytes, sizeof(bytes)), sizeof(bytes));
		assert_pattern(bytes, 130, sizeof(bytes));
		assert_int_equal(usp_file_seek(file, 5, SEEK_CUR), 145);
		assert_int_equal(lseek(fd, 0, SEEK_CUR), is_own ? 100 : 145);
		drop(&file);
		close(fd);
		mock_close(sink);
	}
}

/* A run that ends early leaves a shared offset where a loop of reads and writes would. */
static void a_run_that_fails_gives_back_what_it_read_below(void **state)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *file;
	int fd;

	(void)state;
	file = over(open_temporary(USP_READ, &fd));
	SCRIPT(sink, 40, -EIO);
	assert_int_equal(usp_copy_files(file, sink->file, NULL, NULL), -EIO);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 140);
	drop(&file);
	close(fd);
	mock_close(sink);
}

static void closing_closes_the_file_below_and_gives_its_error(void **state)
{
	struct mock *below = mock_open(&mock_copy_ops, USP_READ, 0);
	struct usp_file *kept = usp_file_get(below->file), *file = over(below->file);
	unsigned char byte;

	(void)state;
	below->release_error = -EDQUOT;
	assert_int_equal(usp_file_close(file), -EDQUOT);
	assert_int_equal(nr_gone, 1);
	assert_int_equal(usp_read(kept, &byte, 1), -EBADF);
	assert_int_equal(usp_file_close(file), 0);
	drop(&file);
	below->release_error = 0;
	mock_close(below);
}

static void a_file_over_another_cannot_do_more_than_that(void **state)
{
	struct usp_file *end[2], *file;

	(void)state;
	open_pipe(end, 4, 0);
	assert_int_equal(usp_stack_new(&watch_ops, end[0], USP_READ | USP_WRITE, "watch", NULL, &file), -EINVAL);
	assert_int_equal(usp_stack_new(&(struct usp_file_ops){.name = "none"}, end[0], USP_READ, "watch", NULL, &file),
			 -EINVAL);
	assert_int_equal(usp_file_poll(end[0]), 0); /* it is still the caller's */
	close_pipe(end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(poll_fd_tells_readiness_of_each_side),
		CASE(a_file_of_one_side_is_asked_for_that_side_only),
		CASE(a_call_that_blocks_tries_again_where_the_file_is_ready_now),
		CASE(a_call_that_blocks_sleeps_on_poll_fd),
		CASE(a_pump_waits_for_what_poll_fd_says),
		CASE(a_table_that_ends_before_the_hooks_has_none_of_them),
		CASE(the_seek_hook_decides_and_the_door_notes_it),
		CASE(a_size_is_enough_to_seek_from_the_end),
		CASE(memory_has_a_size),
		CASE(a_file_over_a_pipe_waits_as_the_pipe_does),
		CASE(a_file_over_a_socket_does_not_wait_in_the_socket),
		CASE(a_file_over_a_shared_descriptor_moves_the_shared_offset),
		CASE(a_route_goes_over_stacks_at_both_ends),
		CASE(what_a_sink_did_not_take_stays_in_the_file_below),
		CASE(a_run_that_fails_gives_back_what_it_read_below),
		CASE(closing_closes_the_file_below_and_gives_its_error),
		CASE(a_file_over_another_cannot_do_more_than_that),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
