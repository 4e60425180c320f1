/* SPDX-License-Identifier: MIT */
/* test_fork - what a child has of its parent's: its own caches and locks, and nothing that would disturb the parent. */
#include "support.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <usplice/relay.h>

#include "base/own.h"
#include "lanes/kpipe.h"

#define SLOT 65536
#define NR_CHILDREN 4
#define CHILD_LEN ((size_t)3 << 20)
#define NR_FORKS 200
#define TIME_LIMIT_S 60

/* Both ways to get a child: with the C library's knowledge, and without. */
enum way { BY_FORK, BY_CLONE, NR_FORK_WAYS };

static pid_t make_child(enum way way)
{
	pid_t pid = way == BY_FORK ? fork() : (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	assert_true(pid >= 0);
	if (pid == 0)
		alarm(TIME_LIMIT_S);
	return pid;
}

/* What goes wrong in a child is its exit code: cmocka's own way out would run the rest of the tests twice. */
#define child_check(condition)                                                                 \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			fprintf(stderr, "child: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
			end_child(1);                                                          \
		}                                                                              \
	} while (0)

static void await_child(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- Copies ------------------------------------------------------------------------------------------ */

static int make_file(unsigned salt, size_t len)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	unsigned char bytes[SLOT];

	for (size_t at = 0; fd >= 0 && at < len; at += sizeof(bytes)) {
		pattern_fill(bytes, at + salt, sizeof(bytes));
		if (pwrite(fd, bytes, sizeof(bytes), (off_t)at) != (ssize_t)sizeof(bytes))
			return -1;
	}
	return fd;
}

static bool file_is(int fd, unsigned salt, size_t len)
{
	unsigned char bytes[SLOT];
	bool is_right = true;

	for (size_t at = 0; at < len && is_right; at += sizeof(bytes))
		is_right = pread(fd, bytes, sizeof(bytes), (off_t)at) == (ssize_t)sizeof(bytes) &&
			   pattern_is(bytes, at + salt, sizeof(bytes));
	return is_right;
}

/* A copy through kernel pipes, by splice: the bytes that arrive must be those of this salt. */
static bool copies(unsigned salt, size_t len)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 4, .slot_bytes = SLOT};
	int from = make_file(salt, len), to = memfd_create("test", MFD_CLOEXEC);
	struct usp_file *in, *out, *end[2];
	bool is_right = from >= 0 && to >= 0;

	is_right = is_right && usp_open_fd(from, USP_READ, "from", &in) == 0;
	is_right = is_right && usp_open_fd(dup(to), USP_WRITE, "to", &out) == 0;
	is_right = is_right && usp_pipe_open(&params, end) == 0;
	if (!is_right)
		return false;
	usp_file_side(in, USP_READ)->lane = usp_file_side(out, USP_WRITE)->lane = &usp_kernel_lane;
	for (size_t at = 0; at < len && is_right; at += SLOT)
		is_right = usp_splice(in, NULL, end[1], NULL, SLOT, 0) == SLOT &&
			   usp_splice(end[0], NULL, out, NULL, SLOT, 0) == SLOT;
	close_pipe(end);
	drop(&in);
	drop(&out);
	is_right = is_right && file_is(to, salt, len);
	close(to);
	return is_right;
}

/* Fill a kernel pipe, wait until all have done so, and take out of it what went in. */
static bool child_copies(unsigned salt, int ready, int go)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 4, .slot_bytes = SLOT};
	struct usp_file *in, *end[2];
	unsigned char *bytes = malloc(SLOT);
	bool is_right = usp_open_fd(make_file(salt, SLOT), USP_READ, "from", &in) == 0;

	is_right = is_right && bytes && usp_pipe_open(&params, end) == 0;
	if (!is_right)
		return false;
	usp_file_side(in, USP_READ)->lane = &usp_kernel_lane;
	is_right = usp_splice(in, NULL, end[1], NULL, SLOT, 0) == SLOT;
	is_right = is_right && write(ready, "x", 1) == 1 && read(go, &(char){0}, 1) == 0;
	is_right = is_right && usp_read(end[0], bytes, SLOT) == SLOT && pattern_is(bytes, salt, SLOT);
	close_pipe(end);
	drop(&in);
	free(bytes);
	return is_right;
}

static void children_that_copy_at_once_get_their_own_bytes(void **state)
{
	(void)state;
	for (enum way way = 0; way < NR_FORK_WAYS; way++) {
		pid_t children[NR_CHILDREN];
		int ready[2], go[2];

		assert_true(copies(0, SLOT)); /* a kernel pipe waits for reuse now */
		assert_int_equal(pipe(ready), 0);
		assert_int_equal(pipe(go), 0);
		for (unsigned i = 0; i < NR_CHILDREN; i++) {
			children[i] = make_child(way);
			if (children[i] == 0) {
				close(go[1]);
				end_child(!child_copies(1000 + i, ready[1], go[0]) || !copies(i, CHILD_LEN));
			}
		}
		for (unsigned i = 0; i < NR_CHILDREN; i++)
			assert_int_equal(read(ready[0], &(char){0}, 1), 1);
		close(go[1]);
		assert_true(copies(7, CHILD_LEN));
		for (unsigned i = 0; i < NR_CHILDREN; i++)
			await_child(children[i]);
		close(go[0]);
		close(ready[0]);
		close(ready[1]);
	}
}

static void a_child_of_a_child_gets_its_own_bytes_too(void **state)
{
	pid_t child;

	(void)state;
	assert_true(copies(0, SLOT));
	child = make_child(BY_CLONE);
	if (child == 0) {
		pid_t grandchild;
		int status;

		child_check(copies(1, SLOT));
		grandchild = fork();
		if (grandchild == 0)
			end_child(!copies(2, CHILD_LEN));
		child_check(copies(3, CHILD_LEN));
		child_check(waitpid(grandchild, &status, 0) == grandchild && status == 0);
		end_child(0);
	}
	await_child(child);
}

/* --- Descriptors that a child inherits ------------------------------------------------------------------- */

static unsigned nr_pipes_open(void)
{
	unsigned nr = 0;
	struct stat st;

	for (int fd = 0; fd < 256; fd++)
		nr += fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
	return nr;
}

static void a_child_closes_the_kernel_pipes_that_were_idle_and_counts_none_as_its_own(void **state)
{
	unsigned nr_before = nr_pipes_open();

	(void)state;
	for (enum way way = 0; way < NR_FORK_WAYS; way++) {
		pid_t child;

		assert_true(copies(0, SLOT));
		assert_int_equal(nr_pipes_open(), nr_before + 2);
		child = make_child(way);
		if (child == 0) {
			struct usp_usage usage = {.size = sizeof(usage)};

			usp_trim(&usage);
			child_check(nr_pipes_open() == nr_before);
			child_check(usage.nr_kpipes == 0);
			end_child(0);
		}
		await_child(child);
		assert_true(copies(5, CHILD_LEN)); /* the parent's are what they were */
		usp_trim(NULL);
	}
}

/* Daemons do that: close all that they did not ask for, and go on with other files under the same numbers. */
static void what_a_child_opens_under_the_numbers_of_closed_kernel_pipes_stays_open(void **state)
{
	pid_t child;

	(void)state;
	assert_true(copies(0, SLOT));
	child = make_child(BY_FORK);
	if (child == 0) {
		int fds[2];

		for (int fd = 3; fd < 256; fd++)
			close(fd);
		child_check(pipe(fds) == 0); /* the very numbers, as likely as not */
		child_check(copies(1, SLOT));
		usp_trim(NULL);
		child_check(write(fds[1], "x", 1) == 1 && read(fds[0], &(char){0}, 1) == 1);
		end_child(0);
	}
	await_child(child);
}

static void bytes_in_a_kernel_pipe_are_the_parents_and_a_child_cannot_take_them(void **state)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 4, .slot_bytes = SLOT, .flags = USP_NONBLOCK};
	struct usp_file *in, *out, *end[2], *other[2];
	int to = memfd_create("test", MFD_CLOEXEC);
	unsigned nr_before = nr_pipes_open();
	struct usp_usage usage = {.size = sizeof(usage)};
	unsigned char byte;
	pid_t child;

	(void)state;
	assert_int_equal(usp_open_fd(make_file(9, SLOT), USP_READ, "from", &in), 0);
	assert_int_equal(usp_open_fd(dup(to), USP_WRITE, "to", &out), 0);
	assert_int_equal(usp_pipe_open(&params, end), 0);
	assert_int_equal(usp_pipe_open(&params, other), 0);
	usp_file_side(in, USP_READ)->lane = usp_file_side(out, USP_WRITE)->lane = &usp_kernel_lane;
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, SLOT, 0), SLOT);
	child = make_child(BY_FORK);
	if (child == 0) {
		child_check(usp_splice(end[0], NULL, out, NULL, SLOT, 0) == -ESTALE);
		child_check(usp_read(end[0], &byte, 1) == -ESTALE);
		child_check(usp_tee(end[0], other[1], SLOT, 0) < 0);
		close_pipe(end);
		child_check(nr_pipes_open() == nr_before);
		child_check(copies(1, SLOT)); /* not with that one */
		usp_trim(&usage);
		child_check(usage.nr_kpipes == 0);
		end_child(0);
	}
	await_child(child);
	assert_int_equal(usp_splice(end[0], NULL, out, NULL, SLOT, 0), SLOT);
	assert_true(file_is(to, 9, SLOT));
	close(to);
	close_pipe(end);
	close_pipe(other);
	drop(&in);
	drop(&out);
}

/* --- Locks ---------------------------------------------------------------------------------------------- */

static atomic_bool must_end;

/* Keeps both pools, their locks and the probe's busy. */
static ssize_t hammer(void *arg)
{
	unsigned salt = *(const unsigned *)arg;
	bool is_right = true;

	while (!atomic_load(&must_end) && is_right)
		is_right = copies(salt, SLOT);
	return !is_right;
}

static void a_child_can_copy_whatever_other_threads_did_when_it_was_made(void **state)
{
	static unsigned salts[2] = {50, 60};
	struct worker workers[2];

	(void)state;
	if (!CAN_FORK_BESIDE_THREADS)
		skip();
	atomic_store(&must_end, false);
	for (unsigned i = 0; i < 2; i++)
		worker_start(&workers[i], hammer, &salts[i]);
	for (unsigned i = 0; i < NR_FORKS; i++) {
		pid_t child = make_child(BY_FORK);

		if (child == 0) {
			child_check(copies(i, 2 * SLOT));
			usp_trim(NULL);
			child_check(copies(i, SLOT));
			end_child(0);
		}
		await_child(child);
	}
	atomic_store(&must_end, true);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(worker_join(&workers[i]), 0);
}

/* Held here, in a child it is open, and what it guards is nothing yet. */
static void assert_lock_is_new_in_children(struct usp_own_lock *lock)
{
	assert_true(usp_own_lock(lock));
	for (enum way way = 0; way < NR_FORK_WAYS; way++) {
		pid_t child = make_child(way);

		if (child == 0) {
			child_check(usp_own_lock(lock));
			usp_own_unlock(lock);
			child_check(!usp_own_lock(lock));
			end_child(0);
		}
		await_child(child);
	}
	usp_own_unlock(lock);
	assert_false(usp_own_lock(lock));
	usp_own_unlock(lock);
}

static void a_lock_that_is_held_in_the_parent_is_open_in_a_child_and_its_state_is_new_there(void **state)
{
	static struct usp_own_lock lock;

	(void)state;
	assert_memory_equal(&(pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER, &(pthread_mutex_t){0},
			    sizeof(pthread_mutex_t));
	assert_lock_is_new_in_children(&lock);
}

/* A kernel that does not wipe memory in a child: the process is known by its number. */
static void a_lock_in_memory_that_nothing_wipes_is_open_in_a_child_too(void **state)
{
	static struct usp_own_lock lock;

	(void)state;
	atomic_store(&lock.state, &lock.spare);
	assert_lock_is_new_in_children(&lock);
}

static ssize_t ask_number(void *arg)
{
	(void)arg;
	return usp_own_nr();
}

static void threads_share_the_number_of_their_process_and_children_have_others(void **state)
{
	struct worker worker;
	unsigned nr = usp_own_nr();
	pid_t child;

	(void)state;
	worker_start(&worker, ask_number, NULL);
	assert_int_equal(worker_join(&worker), nr);
	child = make_child(BY_CLONE);
	if (child == 0) {
		pid_t grandchild = make_child(BY_CLONE);
		unsigned own;
		int status;

		if (grandchild == 0) {
			unsigned deep = usp_own_nr(); /* its parent did not ask before */

			end_child(deep == nr);
		}
		own = usp_own_nr();
		child_check(own != nr);
		child_check(waitpid(grandchild, &status, 0) == grandchild && status == 0);
		end_child(0);
	}
	await_child(child);
	assert_int_equal(usp_own_nr(), nr);
}

/* --- Memory --------------------------------------------------------------------------------------------- */

static void memory_in_a_pipe_is_in_both_processes_and_each_gives_back_its_own(void **state)
{
	(void)state;
	for (enum way way = 0; way < NR_FORK_WAYS; way++) {
		struct usp_file *end[2];
		pid_t child;

		open_pipe(end, 4, USP_NONBLOCK);
		put_bytes(end[1], 0, PAGE);
		child = make_child(way);
		if (child == 0) {
			unsigned char bytes[PAGE];
			struct usp_usage usage = {.size = sizeof(usage)};

			child_check(usp_read(end[0], bytes, PAGE) == PAGE && pattern_is(bytes, 0, PAGE));
			close_pipe(end);
			usp_trim(&usage);
			child_check(usage.nr_folios == 0 && usage.folio_bytes == 0);
			child_check(copies(1, SLOT));
			end_child(0);
		}
		await_child(child);
		take_bytes(end[0], 0, PAGE);
		close_pipe(end);
	}
}

static void count_done(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void a_gift_is_given_back_once_in_each_process(void **state)
{
	atomic_uint *nr_done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static unsigned char bytes[PAGE];
	struct usp_file *end[2];
	struct usp_gift *gift;
	pid_t child;

	(void)state;
	assert_ptr_not_equal(nr_done, MAP_FAILED);
	open_pipe(end, 4, USP_NONBLOCK);
	assert_int_equal(usp_gift_new(bytes, PAGE, count_done, nr_done, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, PAGE, end[1], 0), PAGE);
	child = make_child(BY_FORK);
	if (child == 0) {
		usp_gift_put(gift);
		child_check(atomic_load(nr_done) == 0);
		close_pipe(end);
		child_check(atomic_load(nr_done) == 1);
		end_child(0);
	}
	await_child(child);
	usp_gift_put(gift);
	close_pipe(end);
	assert_int_equal(atomic_load(nr_done), 2);
	munmap(nr_done, PAGE);
}

/* --- Descriptors that stand for something in the parent ------------------------------------------------------ */

static bool is_readable(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1;
}

static void what_a_child_does_to_its_pipe_is_no_event_in_the_parent(void **state)
{
	struct usp_file *end[2];
	short events;
	pid_t child;
	int fd;

	(void)state;
	open_pipe(end, 4, USP_NONBLOCK);
	fd = usp_file_poll_fd(end[0], USP_READ, &events);
	put_bytes(end[1], 0, PAGE);
	assert_true(is_readable(fd));
	child = make_child(BY_FORK);
	if (child == 0) {
		unsigned char bytes[PAGE];
		int own;

		child_check(usp_read(end[0], bytes, PAGE) == PAGE);
		own = usp_file_poll_fd(end[0], USP_READ, &events);
		child_check(own >= 0 && !is_readable(own));
		child_check(usp_write(end[1], bytes, PAGE) == PAGE);
		child_check(is_readable(own));
		child_check(usp_read(end[0], bytes, PAGE) == PAGE);
		child_check(!is_readable(own));
		end_child(0);
	}
	await_child(child);
	assert_true(is_readable(fd));
	take_bytes(end[0], 0, PAGE);
	assert_false(is_readable(fd));
	close_pipe(end);
}

static ssize_t run_pump(void *arg)
{
	return usp_pump_run(arg);
}

/* The source of the pump: its first byte says that the run has begun. */
static void a_stop_in_a_child_stops_no_pump_of_the_parent(void **state)
{
	int from[2], to[2];
	struct usp_file *source, *sink;
	struct usp_pump *pump;
	struct worker worker;
	char byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(from), 0);
	assert_int_equal(pipe(to), 0);
	assert_int_equal(usp_open_fd(from[0], USP_READ, "from", &source), 0);
	assert_int_equal(usp_open_fd(to[1], USP_WRITE, "to", &sink), 0);
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	worker_start(&worker, run_pump, pump);
	assert_int_equal(write(from[1], "x", 1), 1);
	assert_int_equal(read(to[0], &byte, 1), 1);
	child = make_child(BY_FORK);
	if (child == 0) {
		struct usp_pump_wait wait = {.size = sizeof(wait)};

		usp_pump_stop(pump);
		child_check(usp_pump_step(pump, &wait) < 0);
		usp_pump_free(pump);
		end_child(0);
	}
	await_child(child);
	worker_await_sleep(&worker); /* and does not spin over a stop that is not its own */
	assert_int_equal(write(from[1], "y", 1), 1);
	assert_int_equal(read(to[0], &byte, 1), 1);
	close(from[1]);
	assert_int_equal(worker_join(&worker), 0);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
	close(to[0]);
}

static void a_pump_that_the_parent_has_begun_does_not_go_on_in_a_child(void **state)
{
	struct usp_file *source, *sink;
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	struct usp_pump *pump;
	int from[2];
	pid_t child;

	(void)state;
	assert_int_equal(pipe(from), 0);
	assert_int_equal(usp_open_fd(from[0], USP_READ, "from", &source), 0);
	assert_int_equal(
		usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			 &sink, NULL),
		0);
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_step(pump, &wait), -EAGAIN);
	assert_int_equal(write(from[1], "x", 1), 1);
	child = make_child(BY_FORK);
	if (child == 0) {
		child_check(usp_pump_step(pump, &wait) == -ESTALE);
		usp_pump_free(pump);
		end_child(0);
	}
	await_child(child);
	close(from[1]);
	assert_int_equal(usp_pump_step(pump, &wait), 0);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
}

/* --- Sockets ---------------------------------------------------------------------------------------------- */

/* One that the library opened itself, because only such a one sends without copying; and its peer. */
static struct usp_file *open_tcp(int *ret_peer)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(address);
	struct usp_file *file;
	char spec[32];

	assert_int_equal(bind(listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
	snprintf(spec, sizeof(spec), "tcp:127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	*ret_peer = accept(listener, NULL, NULL);
	assert_true(*ret_peer >= 0);
	close(listener);
	return file;
}

/* A child that puts the file would wait for a peer that takes nothing, and reset the connection in the end. */
static void a_child_neither_takes_the_parents_notices_nor_resets_its_connection(void **state)
{
	atomic_uint *nr_done = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 4, .slot_bytes = CHILD_LEN};
	unsigned char *bytes = malloc(CHILD_LEN), *got = malloc(CHILD_LEN);
	struct usp_file *sink, *end[2];
	struct usp_gift *gift;
	int peer, file_flags;
	size_t sent, at;
	pid_t child;

	(void)state;
	assert_true(bytes && got && nr_done != MAP_FAILED);
	pattern_fill(bytes, 0, CHILD_LEN);
	sink = open_tcp(&peer);
	usp_file_set_flags(sink, USP_NONBLOCK);
	assert_int_equal(usp_pipe_open(&params, end), 0);
	assert_int_equal(usp_gift_new(bytes, CHILD_LEN, count_done, nr_done, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, CHILD_LEN, end[1], 0), CHILD_LEN);
	usp_gift_put(gift);
	sent = (size_t)usp_splice(end[0], NULL, sink, NULL, CHILD_LEN, USP_SPLICE_NONBLOCK);
	assert_in_range(sent, 1, CHILD_LEN);
	close_pipe(end);
	assert_int_equal(atomic_load(nr_done), 0); /* the kernel reads from it */
	file_flags = fcntl(usp_file_fd(sink), F_GETFL);
	child = make_child(BY_FORK);
	if (child == 0) {
		child_check(usp_file_sync(sink) == 0);
		drop(&sink);
		child_check(atomic_load(nr_done) == 1);
		end_child(0);
	}
	await_child(child);
	assert_int_equal(fcntl(usp_file_fd(sink), F_GETFL), file_flags);
	for (at = 0; at < sent;) {
		ssize_t len = read(peer, got + at, CHILD_LEN - at);

		assert_true(len > 0);
		at += (size_t)len;
	}
	assert_memory_equal(got, bytes, sent);
	usp_file_set_flags(sink, 0);
	assert_int_equal(usp_file_sync(sink), 0);
	assert_int_equal(atomic_load(nr_done), 2);
	drop(&sink);
	close(peer);
	free(bytes);
	free(got);
	munmap(nr_done, PAGE);
}

/* --- Relays ------------------------------------------------------------------------------------------------- */

static void a_relay_is_its_makers_and_what_a_child_frees_goes_on_there(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct usp_relay *relay;
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char spec[128];
	pid_t child;

	(void)state;
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/usplice-test-fork.%d", getpid());
	snprintf(spec, sizeof(spec), "unix:%s", address.sun_path);
	assert_int_equal(usp_relay_new(NULL, &relay), 0);
	assert_int_equal(usp_relay_listen(relay, spec, NULL), 0);
	assert_int_equal(usp_relay_serve_metrics(relay, "127.0.0.1:0", NULL), 0);
	child = make_child(BY_FORK);
	if (child == 0) {
		child_check(usp_relay_run(relay) == -ESTALE);
		usp_relay_free(relay);
		end_child(0);
	}
	await_child(child);
	assert_int_equal(connect(client, (struct sockaddr *)&address, sizeof(address)), 0);
	close(client);
	usp_relay_free(relay);
	assert_int_equal(access(address.sun_path, F_OK), -1);
}

/* The relay's process makes the keeper, and ends without freeing anything. What the keeper holds shows that it has ended, too. */
static void relay_with_keeper(const char *spec, int held, int held_end)
{
	struct usp_relay *relay;
	int fds[2];
	pid_t keeper;

	child_check(usp_relay_new(NULL, &relay) == 0 && usp_relay_listen(relay, spec, NULL) == 0);
	child_check(usp_relay_serve_metrics(relay, "127.0.0.1:0", NULL) == 0);
	child_check(pipe2(fds, O_CLOEXEC) == 0);
	child_check(usp_relay_keep_names(relay, fds[0]) == -EINVAL); /* not in this process */
	keeper = make_child(BY_FORK);
	if (keeper == 0) {
		close(fds[1]);
		close(held_end);
		child_check(usp_relay_keep_names(relay, fds[0]) == 0);
		end_child(0);
	}
	close(held);
	child_check(usp_relay_set_keeper(relay, fds[1]) == 0);
	child_check(usp_relay_set_keeper(relay, fds[1]) == -EINVAL);
	end_child(0);
}

static void a_keeper_removes_the_names_of_a_relay_that_is_gone(void **state)
{
	char spec[128], byte;
	int held[2];
	pid_t child;

	(void)state;
	snprintf(spec, sizeof(spec), "unix:/tmp/usplice-test-kept.%d", getpid());
	assert_int_equal(pipe2(held, O_CLOEXEC), 0);
	child = make_child(BY_FORK);
	if (child == 0)
		relay_with_keeper(spec, held[1], held[0]);
	close(held[1]);
	await_child(child);
	assert_int_equal(read(held[0], &byte, 1), 0);
	close(held[0]);
	assert_int_equal(access(spec + strlen("unix:"), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(children_that_copy_at_once_get_their_own_bytes),
		CASE(a_child_of_a_child_gets_its_own_bytes_too),
		CASE(a_child_closes_the_kernel_pipes_that_were_idle_and_counts_none_as_its_own),
		CASE(what_a_child_opens_under_the_numbers_of_closed_kernel_pipes_stays_open),
		CASE(bytes_in_a_kernel_pipe_are_the_parents_and_a_child_cannot_take_them),
		CASE(a_child_can_copy_whatever_other_threads_did_when_it_was_made),
		CASE(a_lock_that_is_held_in_the_parent_is_open_in_a_child_and_its_state_is_new_there),
		CASE(a_lock_in_memory_that_nothing_wipes_is_open_in_a_child_too),
		CASE(threads_share_the_number_of_their_process_and_children_have_others),
		CASE(memory_in_a_pipe_is_in_both_processes_and_each_gives_back_its_own),
		CASE(a_gift_is_given_back_once_in_each_process),
		CASE(what_a_child_does_to_its_pipe_is_no_event_in_the_parent),
		CASE(a_stop_in_a_child_stops_no_pump_of_the_parent),
		CASE(a_pump_that_the_parent_has_begun_does_not_go_on_in_a_child),
		CASE(a_child_neither_takes_the_parents_notices_nor_resets_its_connection),
		CASE(a_relay_is_its_makers_and_what_a_child_frees_goes_on_there),
		CASE(a_keeper_removes_the_names_of_a_relay_that_is_gone),
	};

	return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
