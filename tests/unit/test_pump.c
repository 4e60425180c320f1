/* SPDX-License-Identifier: MIT */
/* test_pump - moments of a pump that whole transfers meet only by chance; tests/conformance has the transfers. */
#include "base/sys.h"
#include "net.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUF_LEN 1000
#define NR_BUFS 4

/* --- A sink that ends between being waited for and being given a buf ---------------------------------------- */

static struct usp_pump *pump;
static atomic_bool may_fail;

/* Making the reference of the first sink is the moment in which the second one fails. */
static bool failing_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	struct usp_sink_status status = {.size = sizeof(status), .error = 0};

	(void)pipe, (void)copy;
	atomic_store(&may_fail, true);
	while (status.error == 0) {
		sched_yield();
		assert_int_equal(usp_pump_sink_status(pump, 1, &status), 0);
	}
	return usp_folio_get(buf->store);
}

/* Gives the pattern, a buf with each call; the second buf is the one whose sharing takes the time that a failure needs. */
static struct usp_buf_ops failing_ops;

static ssize_t give_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	unsigned *nr_given = in->priv;
	struct usp_buf buf;

	(void)pos, (void)len, (void)flags;
	if (*nr_given == NR_BUFS)
		return 0;
	buf = folio_buf(*nr_given * BUF_LEN, BUF_LEN, 0);
	if (++*nr_given == 2)
		buf.ops = &failing_ops;
	assert_int_equal(usp_pipe_push(pipe, &buf, 1), 1);
	return BUF_LEN;
}

static ssize_t fail_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	(void)pipe, (void)out, (void)pos, (void)len, (void)flags;
	while (!atomic_load(&may_fail))
		sched_yield();
	return -EIO;
}

static void a_sink_that_ends_when_its_turn_comes_costs_the_others_nothing(void **state)
{
	const struct usp_file_ops give_ops = {
		.size = sizeof(struct usp_file_ops), .name = "give", .splice_read = give_splice_read};
	const struct usp_file_ops fail_ops = {
		.size = sizeof(struct usp_file_ops), .name = "fail", .splice_write = fail_splice_write};
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_CONTINUE_ON_ERROR};
	struct mock *good = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_file *source, *bad;
	struct usp_sink_status status = {.size = sizeof(status)};
	unsigned nr_given = 0;

	(void)state;
	failing_ops = usp_folio_buf_ops;
	failing_ops.get = failing_get;
	atomic_store(&may_fail, false);
	assert_int_equal(usp_file_new(&give_ops, USP_READ, "give", &nr_given, &source), 0);
	assert_int_equal(usp_file_new(&fail_ops, USP_WRITE, "fail", NULL, &bad), 0);
	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, good->file), 0);
	assert_int_equal(usp_pump_add_sink(pump, bad), 0);
	assert_int_equal(usp_pump_run(pump), -EIO);
	assert_int_equal(good->len, NR_BUFS * BUF_LEN);
	assert_pattern(good->bytes, 0, NR_BUFS * BUF_LEN);
	assert_int_equal(usp_pump_sink_status(pump, 0, &status), 0);
	assert_int_equal(status.bytes, NR_BUFS * BUF_LEN);
	assert_int_equal(status.error, 0);
	assert_int_equal(usp_pump_sink_status(pump, 2, &status), -EINVAL);
	usp_pump_free(pump);
	drop(&source);
	drop(&bad);
	mock_close(good);
}

/* --- The end, and the beginning ----------------------------------------------------------------------------------- */

static struct usp_file *open_memory(unsigned char *bytes, size_t len)
{
	struct usp_file *file;

	pattern_fill(bytes, 0, len);
	assert_int_equal(usp_open_memory(bytes, len, USP_READ, NULL, NULL, &file), 0);
	return file;
}

static void a_peer_is_told_the_end_although_the_file_is_still_open(void **state)
{
	unsigned char bytes[BUF_LEN], byte;
	struct usp_file *source = open_memory(bytes, sizeof(bytes)), *sink;
	struct pollfd pollfd = {.events = POLLIN};
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	sink = net_file(fds[0], USP_WRITE);
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	net_take(fds[1], 0, BUF_LEN);
	pollfd.fd = fds[1];
	assert_int_equal(poll(&pollfd, 1, 10000), 1);
	assert_int_equal(read(fds[1], &byte, 1), 0);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
	close(fds[1]);
}

static void what_cannot_be_told_before_is_not_zero_copy(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_REQUIRE_ZERO_COPY};
	unsigned char bytes[BUF_LEN];
	struct usp_file *source = open_memory(bytes, sizeof(bytes)), *sink;
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_hop hop = {.size = sizeof(hop)};
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	sink = net_file(fds[0], USP_WRITE);
	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_run(pump), -USP_EWOULDCOPY);
	assert_int_equal(usp_pump_hop(pump, 1, &hop), 0);
	assert_non_null(hop.reason[USP_UNKNOWN]);
	usp_pump_status(pump, &status);
	assert_int_equal(status.bytes, 0);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
	close(fds[1]);
}

/* --- In the middle of a pipeline ---------------------------------------------------------------------------- */

static ssize_t write_on(void *fd)
{
	static unsigned char bytes[1 << 16];

	while (write(*(int *)fd, bytes, sizeof(bytes)) > 0)
		;
	return 0;
}

static ssize_t read_on(void *fd)
{
	static unsigned char bytes[1 << 16];

	while (read(*(int *)fd, bytes, sizeof(bytes)) > 0)
		;
	return 0;
}

static atomic_bool is_always_busy; /* among many others no thread gets a quarter of a processor */

uint64_t __real_usp_sys_thread_cpu_ns(void);
uint64_t __wrap_usp_sys_thread_cpu_ns(void);
uint64_t __wrap_usp_sys_thread_cpu_ns(void)
{
	return is_always_busy ? usp_sys_now_ns() : __real_usp_sys_thread_cpu_ns();
}

#define WATCH_NS 5000000 /* until the next look */

/* A runner, and how often its policy is looked at. */
struct watched {
	pid_t runner;
	unsigned nr_looks;
};

/* Was the runner a batch thread at one of the looks? Then the pump is stopped. */
static ssize_t watch_policy(void *arg)
{
	const struct watched *watched = arg;
	int policy = SCHED_OTHER;

	for (unsigned i = 0; i < watched->nr_looks && policy == SCHED_OTHER; i++) {
		nanosleep(&(struct timespec){.tv_nsec = WATCH_NS}, NULL);
		policy = sched_getscheduler(watched->runner);
	}
	usp_pump_stop(pump);
	return policy == SCHED_BATCH;
}

static bool is_batch_between_pipes(unsigned flags, unsigned nr_looks)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = flags};
	struct worker writer = {.arg = NULL}, reader = {.arg = NULL}, watcher = {.arg = NULL};
	int in[2], out[2];
	struct watched watched = {.runner = gettid(), .nr_looks = nr_looks};
	struct usp_file *source, *sink;
	bool was_batch;

	assert_int_equal(pipe(in) + pipe(out), 0);
	source = net_file(in[0], USP_READ);
	sink = net_file(out[1], USP_WRITE);
	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	worker_start(&writer, write_on, &in[1]);
	worker_start(&reader, read_on, &out[0]);
	worker_start(&watcher, watch_policy, &watched);
	assert_int_equal(usp_pump_run(pump), -ECANCELED);
	was_batch = worker_join(&watcher);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
	worker_join(&writer);
	worker_join(&reader);
	close(in[1]);
	close(out[0]);
	return was_batch;
}

static void a_run_between_pipes_is_a_batch_thread_if_it_may(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN); /* of the writer, whose reader goes first */
	is_always_busy = true;
	assert_true(is_batch_between_pipes(USP_PUMP_BATCH, 20000));
	assert_false(is_batch_between_pipes(0, 200));
	is_always_busy = false;
}

/* --- Plans are for one run --------------------------------------------------------------------------------- */

static struct usp_file *open_memfd(size_t len, unsigned mode)
{
	int fd = memfd_create("plan", MFD_CLOEXEC);
	struct usp_file *file;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	assert_int_equal(usp_open_fd(fd, mode | USP_EXCLUSIVE, "memfd", &file), 0);
	return file;
}

static int pump_all(struct usp_file *source, struct usp_file *sink, enum usp_lane_choice lane, unsigned flags,
		    const char *expected_lane)
{
	const struct usp_pump_params params = {.size = sizeof(params), .lane = lane, .flags = flags};
	struct usp_pump *run;
	int ret;

	assert_int_equal(usp_pump_new(source, &params, &run), 0);
	assert_int_equal(usp_pump_add_sink(run, sink), 0);
	ret = usp_pump_run(run);
	assert_string_equal(usp_pump_lane(run), expected_lane);
	usp_pump_free(run);
	return ret;
}

static void assert_planless(struct usp_file *file)
{
	static const struct usp_side planless = {.lane_way = USP_UNKNOWN};

	for (unsigned side = USP_READ; side <= USP_WRITE; side++) {
		const struct usp_side *of = usp_file_side(file, side);

		assert_ptr_equal(of->lane, planless.lane);
		assert_int_equal(of->lane_way, planless.lane_way);
		assert_ptr_equal(of->lane_reason, planless.lane_reason);
		assert_int_equal(of->lane_is_forced, planless.lane_is_forced);
	}
	assert_int_equal(usp_file_flags(file), 0);
}

static void a_run_leaves_its_files_as_they_were_and_still_tells_its_lane(void **state)
{
	static const char *const lanes[] = {"kernel", "kernel", "user"};

	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_AUTO; lane <= USP_LANE_USER; lane++) {
		struct usp_file *source = open_memfd(100000, USP_READ), *sink = open_memfd(0, USP_WRITE);

		assert_int_equal(pump_all(source, sink, lane, 0, lanes[lane]), 0);
		assert_planless(source);
		assert_planless(sink);
		usp_file_put(source);
		usp_file_put(sink);
	}
}

static void a_run_that_is_refused_or_never_ends_leaves_its_files_as_they_were(void **state)
{
	struct usp_file *source = open_memfd(100000, USP_READ), *sink = open_memfd(0, USP_WRITE);
	const struct usp_pump_params params = {.size = sizeof(params), .rate = 1000};
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	struct usp_pump *run;

	(void)state;
	assert_int_equal(pump_all(source, sink, USP_LANE_AUTO, USP_PUMP_REQUIRE_ZERO_COPY, "kernel"), -USP_EWOULDCOPY);
	assert_planless(source);
	assert_planless(sink);
	assert_int_equal(usp_pump_new(source, &params, &run), 0);
	assert_int_equal(usp_pump_add_sink(run, sink), 0);
	assert_int_equal(usp_pump_step(run, &wait), -EAGAIN);
	usp_pump_free(run);
	assert_planless(source);
	assert_planless(sink);
	usp_file_put(source);
	usp_file_put(sink);
}

static void a_check_tells_what_a_run_would_and_touches_nothing(void **state)
{
	const enum usp_lane_choice lanes[] = {USP_LANE_KERNEL, USP_LANE_AUTO, USP_LANE_AUTO};
	const unsigned flags[] = {0, USP_PUMP_REQUIRE_ZERO_COPY, 0};
	const int expected[] = {-EOPNOTSUPP, -USP_EWOULDCOPY, 0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lanes); i++) {
		const struct usp_pump_params params = {.size = sizeof(params), .lane = lanes[i], .flags = flags[i]};
		struct usp_file *sink = open_memfd(0, USP_WRITE), *end[2];
		struct usp_hop hop = {.size = sizeof(hop)};
		struct usp_pump *run;

		open_pipe(end, 16, 0);
		put_bytes(end[1], 0, 100);
		usp_file_put(end[1]);
		assert_int_equal(usp_pump_new(end[0], &params, &run), 0);
		assert_int_equal(usp_pump_check(run), -EINVAL); /* there is no sink yet */
		assert_int_equal(usp_pump_add_sink(run, sink), 0);
		for (unsigned nth = 0; nth < 2; nth++)
			assert_int_equal(usp_pump_check(run), expected[i]);
		assert_int_equal(usp_pump_hop(run, 1, &hop), 0);
		assert_true(i != 1 || hop.reason[USP_COPIED] || hop.reason[USP_UNKNOWN]);
		assert_planless(end[0]);
		assert_planless(sink);
		assert_int_equal(usp_pump_run(run), expected[i]);
		if (i < 2)
			take_bytes(end[0], 0, 100);
		else
			assert_int_equal(usp_pump_check(run), -EINVAL);
		usp_pump_free(run);
		usp_file_put(end[0]);
		usp_file_put(sink);
	}
}

static void a_file_that_was_once_pumped_with_a_forced_lane_falls_back_in_a_later_run(void **state)
{
	struct usp_file *source = open_memfd(100000, USP_READ), *sink = open_memfd(0, USP_WRITE);
	struct stat st;

	(void)state;
	assert_int_equal(pump_all(source, sink, USP_LANE_KERNEL, 0, "kernel"), 0);
	assert_int_equal(fcntl(usp_file_fd(sink), F_SETFL, O_APPEND), 0); /* which splice(2) refuses */
	assert_int_equal(usp_file_seek(source, 0, SEEK_SET), 0);
	assert_int_equal(pump_all(source, sink, USP_LANE_AUTO, 0, "mixed"), 0);
	assert_int_equal(fstat(usp_file_fd(sink), &st), 0);
	assert_int_equal(st.st_size, 200000);
	usp_file_put(source);
	usp_file_put(sink);
}

static void a_pump_needs_files_of_the_right_direction_and_a_sink(void **state)
{
	struct mock *source = mock_open(&mock_copy_ops, USP_READ, 0), *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	source->size = 0;
	assert_int_equal(usp_pump_new(sink->file, NULL, &pump), -EINVAL);
	assert_int_equal(usp_pump_new(source->file, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, source->file), -EINVAL);
	assert_int_equal(usp_pump_run(pump), -EINVAL);
	assert_int_equal(usp_pump_add_sink(pump, sink->file), 0);
	assert_int_equal(usp_pump_hop(pump, 2, &hop), -EINVAL);
	assert_int_equal(usp_pump_run(pump), 0);
	assert_int_equal(usp_pump_run(pump), -EINVAL); /* once */
	usp_pump_free(pump);
	usp_pump_free(NULL);
	mock_close(source);
	mock_close(sink);
}

/* --- Shortage -------------------------------------------------------------------------------------------- */

/* No descriptor can be opened from now on. The number of the first that could, to undo it. */
static rlim_t take_descriptors(void)
{
	struct rlimit limit;
	rlim_t old;
	int next = dup(0);

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	old = limit.rlim_cur;
	limit.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return old;
}

static void give_descriptors(rlim_t old)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = old;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static ssize_t run_pump(void *arg)
{
	return usp_pump_run(arg);
}

/* A run that ends before has failed. */
static void await_byte(int fd, const struct worker *worker)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char byte;

	while (poll(&ready, 1, 10) == 0)
		assert_false(worker->is_done);
	assert_int_equal(read(fd, &byte, 1), 1);
}

static void without_descriptors_a_run_goes_on_in_memory_and_sees_a_stop(void **state)
{
	struct usp_file *source, *sinks[2];
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	for (unsigned nr_sinks = 1; nr_sinks <= 2; nr_sinks++) {
		struct worker worker;
		int from[2], to[2][2];
		rlim_t old;

		assert_int_equal(pipe(from), 0);
		assert_int_equal(usp_open_fd(from[0], USP_READ, "from", &source), 0);
		assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
		for (unsigned i = 0; i < nr_sinks; i++) {
			assert_int_equal(pipe(to[i]), 0);
			assert_int_equal(usp_open_fd(to[i][1], USP_WRITE, "to", &sinks[i]), 0);
			assert_int_equal(usp_pump_add_sink(pump, sinks[i]), 0);
		}
		old = take_descriptors();
		worker_start(&worker, run_pump, pump);
		assert_int_equal(write(from[1], "x", 1), 1);
		for (unsigned i = 0; i < nr_sinks; i++)
			await_byte(to[i][0], &worker);
		usp_pump_stop(pump);
		assert_int_equal(worker_join(&worker), -ECANCELED);
		give_descriptors(old);
		usp_file_hop(source, USP_READ, &hop);
		assert_int_equal(hop.bytes[USP_COPIED], 1);
		usp_pump_free(pump);
		drop(&source);
		close(from[1]);
		for (unsigned i = 0; i < nr_sinks; i++) {
			drop(&sinks[i]);
			close(to[i][0]);
		}
	}
}

/* --- What a caller asks for, and is told --------------------------------------------------------------------------- */

static struct usp_file *open_spec(const char *spec, unsigned mode)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = mode};
	struct usp_file *file;

	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	return file;
}

static void one_call_copies_everything_and_tells_how(void **state)
{
	struct usp_route_total total = {.size = sizeof(total)};
	unsigned char bytes[BUF_LEN];
	struct usp_file *source = open_memory(bytes, sizeof(bytes)), *sink = open_memfd(0, USP_WRITE);

	(void)state;
	assert_int_equal(usp_copy_files(source, sink, NULL, &total), 0);
	assert_int_equal(total.by_reference + total.copied + total.unknown, BUF_LEN);
	assert_int_equal(usp_copy_files(source, sink, NULL, NULL), 0); /* it is at its end */
	assert_int_equal(usp_file_size(sink), BUF_LEN);
	assert_int_equal(usp_copy_files(sink, source, NULL, NULL), -EINVAL);
	drop(&source);
	drop(&sink);
}

/* A file that holds the pattern, by its name. */
static void make_named(char *name, size_t len)
{
	unsigned char bytes[BUF_LEN];
	int fd = mkstemp(name);

	pattern_fill(bytes, 0, len);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

static int64_t size_of(const char *name)
{
	struct stat st;

	return stat(name, &st) < 0 ? -1 : st.st_size;
}

static void two_specs_are_copied_with_what_was_there_before_cut(void **state)
{
	struct usp_route_total total = {.size = sizeof(total)};
	char from[] = "/tmp/usplice-XXXXXX", to[] = "/tmp/usplice-XXXXXX";

	(void)state;
	make_named(from, 1000);
	make_named(to, BUF_LEN);
	assert_int_equal(usp_copy(from, to, NULL, &total), 0);
	assert_int_equal(total.by_reference + total.copied + total.unknown, 1000);
	assert_int_equal(size_of(to), 1000);
	assert_int_equal(usp_copy("mem:", to, NULL, NULL), 0);
	assert_int_equal(size_of(to), 0);
	assert_int_equal(usp_copy(from, "/dev/full", NULL, NULL), -ENOSPC);
	assert_int_equal(usp_copy(from, "/nowhere/at/all", NULL, NULL), -ENOENT);
	unlink(from);
	unlink(to);
}

static void one_end_may_be_open_and_stays_so(void **state)
{
	unsigned char bytes[1000], got[1001];
	struct usp_route_total total = {.size = sizeof(total)};
	char name[] = "/tmp/usplice-XXXXXX";
	struct usp_file *file;

	(void)state;
	make_named(name, BUF_LEN);
	pattern_fill(bytes, 0, sizeof(bytes));
	file = open_memory(bytes, sizeof(bytes));
	assert_int_equal(usp_copy_to(file, name, NULL, &total), 0);
	assert_int_equal(total.by_reference + total.copied + total.unknown, sizeof(bytes));
	assert_int_equal(size_of(name), sizeof(bytes));
	assert_int_equal(usp_file_seek(file, 0, SEEK_SET), 0);
	assert_int_equal(usp_copy_to(file, "/dev/full", NULL, NULL), -ENOSPC);
	assert_int_equal(usp_copy_to(file, "/nowhere/at/all", NULL, NULL), -ENOENT);
	drop(&file);

	file = open_memfd(0, USP_READ | USP_WRITE);
	assert_int_equal(usp_copy_from(name, file, NULL, &total), 0);
	assert_int_equal(usp_copy_from("/nowhere/at/all", file, NULL, NULL), -ENOENT);
	assert_int_equal(usp_pread(file, got, sizeof(got), 0), sizeof(bytes));
	assert_memory_equal(got, bytes, sizeof(bytes));
	drop(&file);
	unlink(name);
}

/* Two ends of one object have one device and number; a loop device needs rights, and is tried by tests/cli. */
static void one_object_is_told_from_two(void **state)
{
	char path[] = "/tmp/usplice-XXXXXX";
	struct stat file, other, fifo[2], null;
	int fds[2];

	(void)state;
	make_named(path, 10);
	assert_int_equal(stat(path, &file), 0);
	unlink(path);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(fstat(fds[0], &fifo[0]), 0);
	assert_int_equal(fstat(fds[1], &fifo[1]), 0);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(stat("/dev/null", &null), 0);
	assert_true(usp_copy_is_same(&file, &file));
	assert_true(usp_copy_is_same(&fifo[0], &fifo[1]));
	assert_false(usp_copy_is_same(&file, &fifo[0]));
	assert_false(usp_copy_is_same(&null, &null)); /* what is written there is not read */
	other = file;
	other.st_ino++;
	assert_false(usp_copy_is_same(&file, &other));
}

static void a_copy_that_is_refused_leaves_the_sink_as_it_is(void **state)
{
	const struct usp_pump_params rows[] = {
		{.size = sizeof(rows[0]), .flags = USP_PUMP_REQUIRE_ZERO_COPY},
		{.size = sizeof(rows[0]), .lane = USP_LANE_KERNEL},
		{.size = sizeof(rows[0]), .lane = 99},
		{.size = sizeof(rows[0]), .count = 7},
		{.size = 0},
	};
	const struct usp_pump_params bounded = {
		.size = sizeof(bounded), .flags = USP_PUMP_COUNT, .count = (int64_t)1 << 20};
	char from[] = "/tmp/usplice-XXXXXX", to[] = "/tmp/usplice-XXXXXX", other[sizeof(from) + 16];

	(void)state;
	make_named(from, 1000);
	make_named(to, BUF_LEN);
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
		assert_true(usp_copy("mem:hello", to, &rows[i], NULL) < 0);
	assert_int_equal(usp_copy("/nowhere/at/all", to, NULL, NULL), -ENOENT);
	assert_int_equal(size_of(to), BUF_LEN);

	assert_int_equal(usp_copy(from, from, NULL, NULL), -EINVAL);
	unlink(to);
	assert_int_equal(link(from, to), 0);
	assert_int_equal(usp_copy(from, to, NULL, NULL), -EINVAL);
	snprintf(other, sizeof(other), "%s,append", to);
	assert_int_equal(usp_copy(from, other, &bounded, NULL), -EINVAL);
	assert_int_equal(size_of(from), 1000);
	unlink(from);
	unlink(to);
}

/* Neither by its number: it would not end, or begin in the middle. */
static void a_file_is_not_copied_onto_a_descriptor_of_it(void **state)
{
	const struct usp_pump_params bounded = {
		.size = sizeof(bounded), .flags = USP_PUMP_COUNT, .count = (int64_t)1 << 20};
	char from[] = "/tmp/usplice-XXXXXX", to[16];
	int fd;

	(void)state;
	make_named(from, 1000);
	fd = open(from, O_RDWR | O_APPEND);
	snprintf(to, sizeof(to), "fd:%d", fd);
	assert_int_equal(usp_copy(from, to, &bounded, NULL), -EINVAL);
	assert_int_equal(usp_copy(to, from, &bounded, NULL), -EINVAL);
	assert_int_equal(size_of(from), 1000);
	close(fd);
	unlink(from);
}

static void a_descriptor_of_the_caller_stays_open(void **state)
{
	char from[] = "/tmp/usplice-XXXXXX", to[16];
	unsigned char bytes[2000];
	int pipe[2];

	(void)state;
	make_named(from, 1000);
	assert_int_equal(pipe2(pipe, O_CLOEXEC), 0);
	snprintf(to, sizeof(to), "fd:%d", pipe[1]);
	assert_int_equal(usp_copy(from, to, NULL, NULL), 0);
	assert_int_equal(usp_copy(from, to, NULL, NULL), 0);
	assert_int_equal(read(pipe[0], bytes, sizeof(bytes)), 2000);
	assert_pattern(bytes, 0, 1000);
	assert_pattern(bytes + 1000, 0, 1000);
	close(pipe[0]);
	close(pipe[1]);
	assert_int_equal(usp_copy(from, to, NULL, NULL), -EBADF);
	unlink(from);
}

static void parameters_that_are_zero_move_everything(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params)};
	unsigned char bytes[BUF_LEN];
	struct usp_file *source = open_memory(bytes, sizeof(bytes)), *sink = open_memfd(0, USP_WRITE);

	(void)state;
	assert_int_equal(usp_copy_files(source, sink, &params, NULL), 0);
	assert_int_equal(usp_file_size(sink), BUF_LEN);
	drop(&source);
	drop(&sink);
}

static void a_limit_is_said_by_its_flag_and_may_be_zero(void **state)
{
	static const struct {
		unsigned flags;
		int64_t count;
		int ret;
		int64_t moved;
	} rows[] = {
		{USP_PUMP_COUNT, 0, 0, 0},	  {USP_PUMP_COUNT, 7, 0, 7}, {USP_PUMP_COUNT, INT64_MAX, 0, BUF_LEN},
		{USP_PUMP_COUNT, -1, -EINVAL, 0}, {0, 7, -EINVAL, 0},	     {0, -1, -EINVAL, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		const struct usp_pump_params params = {
			.size = sizeof(params), .flags = rows[i].flags, .count = rows[i].count};
		unsigned char bytes[BUF_LEN];
		struct usp_file *source = open_memory(bytes, sizeof(bytes)), *sink = open_memfd(0, USP_WRITE);

		assert_int_equal(usp_copy_files(source, sink, &params, NULL), rows[i].ret);
		assert_int_equal(usp_file_size(sink), rows[i].moved);
		drop(&source);
		drop(&sink);
	}
}

static atomic_uint nr_written, nr_batch;

static ssize_t note_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	(void)out, (void)pos, (void)flags;
	atomic_fetch_add(&nr_written, 1);
	atomic_fetch_add(&nr_batch, sched_getscheduler(0) == SCHED_BATCH);
	return (ssize_t)from->count;
}

static unsigned nr_batch_of(unsigned flags, const struct usp_file_ops *ops)
{
	const struct usp_pump_params params = {.size = sizeof(params), .flags = flags};
	struct usp_file *source = open_spec("mem:bytes", USP_READ), *sinks[2];

	nr_written = nr_batch = 0;
	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	for (unsigned i = 0; i < ARRAY_LEN(sinks); i++) {
		assert_int_equal(usp_file_new(ops, USP_WRITE, "note", NULL, &sinks[i]), 0);
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]), 0);
	}
	assert_int_equal(usp_pump_run(pump), 0);
	assert_true(nr_written >= ARRAY_LEN(sinks));
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	usp_pump_free(pump);
	for (unsigned i = 0; i < ARRAY_LEN(sinks); i++)
		drop(&sinks[i]);
	drop(&source);
	assert_true(nr_batch == 0 || nr_batch == nr_written);
	return nr_batch;
}

/* They do not interrupt the thread that makes their bytes, which stays as it is. */
static void threads_of_files_among_several_sinks_are_batch_threads(void **state)
{
	static const struct usp_file_ops note_ops = {.size = sizeof(struct usp_file_ops),
						     .name = "note",
						     .write_iter = note_write_iter,
						     .splice_write = usp_iter_splice_write};

	(void)state;
	assert_true(nr_batch_of(USP_PUMP_BATCH, &note_ops) > 0);
	assert_int_equal(nr_batch_of(0, &note_ops), 0);
}

static void time_outs_of_several_sinks_need_turns(void **state)
{
	struct usp_file *source = open_spec("mem:hello", USP_READ), *sink = open_spec("null:", USP_WRITE);
	struct usp_pump_params params = {.size = sizeof(params), .idle_ns = 1000000000};

	(void)state;
	for (unsigned nth = 0; nth < 2; nth++) {
		assert_int_equal(usp_pump_new(source, &params, &pump), 0);
		assert_int_equal(usp_pump_add_sink(pump, sink), 0);
		assert_int_equal(usp_pump_add_sink(pump, sink), 0);
		assert_int_equal(usp_pump_run(pump), nth ? 0 : -EINVAL);
		usp_pump_free(pump);
		params.flags = USP_PUMP_TURNS;
	}
	drop(&source);
	drop(&sink);
}

static void a_hop_tells_what_it_lies_between(void **state)
{
	struct usp_file *source = open_spec("mem:hello", USP_READ), *sink = open_spec("null:", USP_WRITE);
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	assert_int_equal(usp_pump_hop(pump, 0, &hop), 0);
	assert_string_equal(hop.from, "mem:hello");
	assert_string_equal(hop.to, "pipe");
	assert_int_equal(usp_pump_hop(pump, 1, &hop), 0);
	assert_string_equal(hop.from, "pipe");
	assert_string_equal(hop.to, "null:");
	assert_int_equal(usp_pump_hop(pump, 2, &hop), -EINVAL);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
}

static ssize_t break_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	unsigned *nr_given = in->priv;

	return *nr_given ? -EIO : give_splice_read(in, pos, pipe, len, flags);
}

static ssize_t refuse_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	(void)out, (void)from, (void)pos, (void)flags;
	return -ENOSPC;
}

static void an_error_has_a_side_a_file_an_operation_and_an_offset(void **state)
{
	const struct usp_file_ops break_ops = {
		.size = sizeof(struct usp_file_ops), .name = "break", .splice_read = break_splice_read};
	const struct usp_file_ops full_ops = {.size = sizeof(struct usp_file_ops),
					      .name = "full",
					      .write_iter = refuse_write_iter,
					      .splice_write = usp_iter_splice_write};
	struct usp_pump_error error = {.size = sizeof(error)};
	struct usp_file *source, *null = open_spec("null:", USP_WRITE), *full;
	unsigned nr_given = 0;

	(void)state;
	assert_int_equal(usp_file_new(&break_ops, USP_READ, "break", &nr_given, &source), 0);
	assert_int_equal(usp_file_new(&full_ops, USP_WRITE, "full", NULL, &full), 0);
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, null), 0);
	usp_pump_error(pump, &error);
	assert_int_equal(error.error, 0);
	assert_int_equal(usp_pump_run(pump), -EIO);
	usp_pump_error(pump, &error);
	assert_int_equal(error.error, -EIO);
	assert_int_equal(error.side, USP_READ);
	assert_string_equal(error.spec, "break");
	assert_string_equal(error.operation, "read");
	assert_int_equal(error.off, BUF_LEN);
	usp_pump_free(pump);
	drop(&source);

	source = open_spec("mem:hello", USP_READ);
	assert_int_equal(usp_pump_new(source,
				      &(struct usp_pump_params){.size = sizeof(struct usp_pump_params),
								.flags = USP_PUMP_CONTINUE_ON_ERROR},
				      &pump),
			 0);
	assert_int_equal(usp_pump_add_sink(pump, null), 0);
	assert_int_equal(usp_pump_add_sink(pump, full), 0);
	assert_int_equal(usp_pump_run(pump), -ENOSPC);
	usp_pump_error(pump, &error);
	assert_int_equal(error.error, -ENOSPC);
	assert_int_equal(error.side, USP_WRITE);
	assert_int_equal(error.sink, 1);
	assert_string_equal(error.spec, "full");
	assert_string_equal(error.operation, "write");
	assert_int_equal(error.off, 0);
	assert_int_equal(error.stranded, 5);
	usp_pump_free(pump);
	drop(&source);
	drop(&null);
	drop(&full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_sink_that_ends_when_its_turn_comes_costs_the_others_nothing),
		CASE(a_peer_is_told_the_end_although_the_file_is_still_open),
		CASE(what_cannot_be_told_before_is_not_zero_copy),
		CASE(a_run_between_pipes_is_a_batch_thread_if_it_may),
		CASE(a_run_leaves_its_files_as_they_were_and_still_tells_its_lane),
		CASE(a_run_that_is_refused_or_never_ends_leaves_its_files_as_they_were),
		CASE(a_check_tells_what_a_run_would_and_touches_nothing),
		CASE(a_file_that_was_once_pumped_with_a_forced_lane_falls_back_in_a_later_run),
		CASE(a_pump_needs_files_of_the_right_direction_and_a_sink),
		CASE(without_descriptors_a_run_goes_on_in_memory_and_sees_a_stop),
		CASE(one_call_copies_everything_and_tells_how),
		CASE(two_specs_are_copied_with_what_was_there_before_cut),
		CASE(one_end_may_be_open_and_stays_so),
		CASE(one_object_is_told_from_two),
		CASE(a_copy_that_is_refused_leaves_the_sink_as_it_is),
		CASE(a_file_is_not_copied_onto_a_descriptor_of_it),
		CASE(a_descriptor_of_the_caller_stays_open),
		CASE(parameters_that_are_zero_move_everything),
		CASE(a_limit_is_said_by_its_flag_and_may_be_zero),
		CASE(time_outs_of_several_sinks_need_turns),
		CASE(threads_of_files_among_several_sinks_are_batch_threads),
		CASE(a_hop_tells_what_it_lies_between),
		CASE(an_error_has_a_side_a_file_an_operation_and_an_offset),
	};

	return cmocka_run_group_tests_name("pump", tests, NULL, NULL);
}
