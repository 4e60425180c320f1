/* SPDX-License-Identifier: MIT */
/* test_late - bufs whose bytes come later: confirm says -EAGAIN, and poll_fd what to wait for. */
#include "late.h"

#include <sys/socket.h>

/* A pipe with a page that is there, and one that is late. The late one is held until late_put. */
static struct late *late_pipe(struct usp_file *end[2], bool has_first)
{
	struct late *late = late_new(has_first ? PAGE : 0);

	open_pipe(end, 16, 0);
	if (has_first)
		put_bytes(end[1], 0, PAGE);
	inject(end[1], late_buf(late));
	return late;
}

static void a_buf_tells_what_to_wait_on(void **state)
{
	struct late *late = late_new(0);
	struct usp_buf buf = late_buf(late), mute = {.ops = &mute_ops, .store = late, .len = PAGE},
		       folio = folio_buf(0, PAGE, 0);
	short events = 0;

	(void)state;
	assert_int_equal(usp_buf_confirm(NULL, &buf, USP_SPLICE_NONBLOCK), -EAGAIN);
	assert_int_equal(usp_buf_poll_fd(NULL, &buf, &events), late->event_fd);
	assert_int_equal(events, POLLIN);
	assert_int_equal(usp_buf_poll_fd(NULL, &mute, &events), -EIO);
	assert_int_equal(usp_buf_poll_fd(NULL, &folio, &events), -EIO);
	usp_buf_release(NULL, &folio);
	usp_buf_release(NULL, &buf);
	late_put(late);
}

/* --- Every way out of a pipe --------------------------------------------------------------------------------- */

static unsigned char taken[4 * PAGE];

/* One call that takes from a pipe without waiting, at most 4 pages. */
struct way {
	const char *name;
	ssize_t (*take)(struct usp_file *in, struct usp_file *out, unsigned flags);
	struct usp_file *(*open)(void);
};

static ssize_t take_by_read(struct usp_file *in, struct usp_file *out, unsigned flags)
{
	(void)out;
	assert_int_equal(usp_file_set_flags(in, flags & USP_SPLICE_NONBLOCK ? USP_NONBLOCK : 0), 0);
	return usp_read(in, taken, sizeof(taken));
}

static ssize_t take_by_vmsplice(struct usp_file *in, struct usp_file *out, unsigned flags)
{
	(void)out;
	return usp_vmsplice(in, &(struct iovec){.iov_base = taken, .iov_len = sizeof(taken)}, 1, flags);
}

static ssize_t take_by_splice(struct usp_file *in, struct usp_file *out, unsigned flags)
{
	return usp_splice(in, NULL, out, NULL, sizeof(taken), flags);
}

static ssize_t look(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	(void)pipe, (void)buf, (void)arg;
	return (ssize_t)len;
}

static ssize_t look_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len, unsigned flags)
{
	(void)out, (void)pos;
	return usp_splice_from_pipe(pipe, len, flags, look, NULL);
}

static const struct usp_file_ops look_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "look",
	.splice_write = look_splice_write,
};

static struct usp_file *open_look(void)
{
	struct usp_file *file;

	assert_int_equal(usp_file_new(&look_ops, USP_WRITE, "look", NULL, &file), 0);
	return file;
}

static struct usp_file *open_spec(const char *spec)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE};
	struct usp_file *file;

	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	return file;
}

static struct usp_file *open_null(void)
{
	return open_spec("null:");
}

static struct usp_file *open_memory(void)
{
	return open_spec("mem:");
}

static int peer = -1;

static struct usp_file *open_socket(int type, unsigned flags)
{
	struct usp_file *file;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(usp_open_fd(fds[0], USP_WRITE | USP_EXCLUSIVE, "socket", &file), 0);
	assert_int_equal(usp_file_set_flags(file, flags), 0);
	peer = fds[1];
	return file;
}

static struct usp_file *open_stream(void)
{
	return open_socket(SOCK_STREAM, USP_NONBLOCK);
}

static struct usp_file *open_blocking_stream(void)
{
	return open_socket(SOCK_STREAM, 0);
}

static const struct way ways[] = {
	{"read", take_by_read, NULL},
	{"vmsplice", take_by_vmsplice, NULL},
	{"actor", take_by_splice, open_look},
	{"drop", take_by_splice, open_null},
	{"memory", take_by_splice, open_memory},
	{"socket", take_by_splice, open_stream},
};

static void finish(struct usp_file *end[2], struct usp_file **out, struct late *late)
{
	late_put(late);
	drop(out);
	close_pipe(end);
	if (peer >= 0)
		close(peer);
	peer = -1;
}

static void a_call_that_does_not_wait_says_eagain_for_late_bytes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
		struct usp_file *end[2], *out = ways[i].open ? ways[i].open() : NULL;
		struct late *late = late_pipe(end, false);

		assert_int_equal(ways[i].take(end[0], out, USP_SPLICE_NONBLOCK), -EAGAIN);
		assert_int_equal(usp_pipe_bytes(end[0]), PAGE);
		late_arrive(late);
		assert_int_equal(ways[i].take(end[0], out, USP_SPLICE_NONBLOCK), PAGE);
		assert_int_equal(usp_pipe_bytes(end[0]), 0);
		finish(end, &out, late);
	}
}

static void the_bytes_in_front_of_late_ones_go_at_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
		struct usp_file *end[2], *out = ways[i].open ? ways[i].open() : NULL;
		struct late *late = late_pipe(end, true);

		assert_int_equal(ways[i].take(end[0], out, USP_SPLICE_NONBLOCK), PAGE);
		assert_int_equal(ways[i].take(end[0], out, USP_SPLICE_NONBLOCK), -EAGAIN);
		assert_int_equal(usp_pipe_bytes(end[0]), PAGE);
		finish(end, &out, late);
	}
}

static void an_error_of_late_bytes_comes_when_they_are_used(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
		struct usp_file *end[2], *out = ways[i].open ? ways[i].open() : NULL;
		struct late *late = late_pipe(end, false);

		late->error = -EBADMSG;
		late_arrive(late);
		assert_int_equal(ways[i].take(end[0], out, USP_SPLICE_NONBLOCK), -EBADMSG);
		assert_int_equal(usp_pipe_bytes(end[0]), PAGE);
		finish(end, &out, late);
	}
}

/* A batch with a failed fill behind good bytes: these go, and the error comes when it is in front. */
static void the_bytes_in_front_of_a_failed_fill_go_first(void **state)
{
	static const int errors[] = {-EBADMSG, -ENODATA};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_LEN(ways); i++) {
		const struct way *way = &ways[i / 2];
		struct usp_file *end[2], *out = way->open ? way->open() : NULL;
		struct late *late = late_pipe(end, true);
		ssize_t ret;

		late->error = errors[i % 2];
		late_arrive(late);
		assert_int_equal(way->take(end[0], out, USP_SPLICE_NONBLOCK), PAGE);
		assert_int_equal(usp_pipe_bytes(end[0]), PAGE);
		ret = way->take(end[0], out, USP_SPLICE_NONBLOCK);
		assert_true(ret == errors[i % 2] || (ret == 0 && errors[i % 2] == -ENODATA));
		finish(end, &out, late);
	}
}

/* One that waits, in a worker. */
struct taking {
	const struct way *way;
	struct usp_file *in, *out;
};

static ssize_t take_and_wait(void *arg)
{
	const struct taking *taking = arg;

	return taking->way->take(taking->in, taking->out, 0);
}

static void a_call_that_waits_sleeps_until_the_bytes_are_there(void **state)
{
	static const struct way blocking_socket = {"socket", take_by_splice, open_blocking_stream};

	(void)state;
	for (unsigned i = 0; i <= ARRAY_LEN(ways); i++) {
		const struct way *way = i < ARRAY_LEN(ways) - 1 ? &ways[i] : &blocking_socket;
		struct usp_file *end[2], *out = way->open ? way->open() : NULL;
		struct late *late = late_pipe(end, false);
		struct taking taking = {.way = way, .in = end[0], .out = out};
		struct worker worker;

		worker_start(&worker, take_and_wait, &taking);
		worker_await_sleep(&worker);
		late_arrive(late);
		assert_int_equal(worker_join(&worker), PAGE);
		assert_in_range(late->nr_confirm, 2, 4); /* it slept */
		finish(end, &out, late);
	}
}

/* Sockets do not heed the flag of a call, so this waits. */
static void a_blocking_socket_waits_for_late_bytes_even_with_the_flag(void **state)
{
	struct usp_file *end[2], *out = open_blocking_stream();
	struct late *late = late_pipe(end, false);
	struct call call = {.in = end[0], .out = out, .len = PAGE, .flags = USP_SPLICE_NONBLOCK};
	struct worker worker;

	(void)state;
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	late_arrive(late);
	assert_int_equal(worker_join(&worker), PAGE);
	assert_in_range(late->nr_confirm, 2, 4);
	finish(end, &out, late);
}

static void a_table_that_says_eagain_and_not_what_to_wait_for_is_eio(void **state)
{
	struct usp_file *end[2], *out = open_memory();
	struct late *late = late_new(0);

	(void)state;
	open_pipe(end, 4, 0);
	assert_true(usp_folio_get(&late->folio));
	inject(end[1], (struct usp_buf){.ops = &mute_ops, .store = late, .len = PAGE});
	assert_int_equal(usp_splice(end[0], NULL, out, NULL, PAGE, 0), -EIO);
	assert_int_equal(usp_pipe_bytes(end[0]), PAGE);
	finish(end, &out, late);
}

static void references_move_between_pipes_before_their_bytes_are_there(void **state)
{
	struct usp_file *from[2], *to[2], *copy[2], *none = NULL;
	struct late *late = late_pipe(from, false);

	(void)state;
	open_pipe(to, 4, 0);
	open_pipe(copy, 4, 0);
	assert_int_equal(usp_tee(from[0], copy[1], PAGE, 0), PAGE);
	assert_int_equal(usp_splice(from[0], NULL, to[1], NULL, PAGE, 0), PAGE);
	assert_int_equal(late->nr_confirm, 0);
	late_arrive(late);
	take_bytes(to[0], 0, PAGE);
	take_bytes(copy[0], 0, PAGE);
	close_pipe(to);
	close_pipe(copy);
	finish(from, &none, late);
}

/* --- Readiness ------------------------------------------------------------------------------------------------ */

static void a_pipe_with_late_bytes_in_front_is_not_readable_yet(void **state)
{
	struct usp_file *end[2], *out = open_memory();
	struct late *late = late_pipe(end, false);
	struct pollfd fd;

	(void)state;
	assert_int_equal(usp_file_poll(end[0]), 0);
	assert_int_equal(usp_blocked_side(end[0], out), USP_READ);
	fd.fd = usp_file_poll_fd(end[0], USP_READ, &fd.events);
	assert_int_equal(fd.fd, late->event_fd);
	assert_int_equal(poll(&fd, 1, 0), 0);
	drop(&end[1]);
	assert_int_equal(usp_file_poll(end[0]), 0); /* the end comes behind the bytes */
	late_arrive(late);
	assert_int_equal(usp_file_poll(end[0]), POLLIN | POLLHUP);
	fd.fd = usp_file_poll_fd(end[0], USP_READ, &fd.events);
	assert_int_not_equal(fd.fd, late->event_fd);
	assert_int_equal(poll(&fd, 1, 0), 1);
	take_bytes(end[0], 0, PAGE);
	finish(end, &out, late);
}

/* --- Pumps ------------------------------------------------------------------------------------------------------ */

#define NR_PAGES 12 /* more than the pipe of a sink holds */

static struct late_source source;
static struct usp_file *sinks[2];
static struct usp_pump *pump;

static void pump_open(unsigned nr_sinks, struct usp_pump_params params)
{
	late_source_open(&source, NR_PAGES);
	params.size = sizeof(params);
	assert_int_equal(usp_pump_new(source.file, &params, &pump), 0);
	for (unsigned i = 0; i < nr_sinks; i++) {
		sinks[i] = open_memory();
		assert_int_equal(usp_pump_add_sink(pump, sinks[i]), 0);
	}
}

static void pump_close(unsigned nr_sinks, bool is_whole)
{
	for (unsigned i = 0; i < nr_sinks; i++) {
		if (is_whole) {
			assert_int_equal(usp_file_size(sinks[i]), NR_PAGES * PAGE);
			assert_int_equal(usp_pread(sinks[i], taken, sizeof(taken), 0), -EBADF); /* a sink only */
		}
		drop(&sinks[i]);
	}
	usp_pump_free(pump);
	late_source_close(&source);
}

static void a_step_waits_for_the_source_and_not_for_the_sink(void **state)
{
	(void)state;
	for (unsigned nr_sinks = 1; nr_sinks <= 2; nr_sinks++) {
		struct usp_pump_wait wait = {.size = sizeof(wait)}, waits[3] = {{.size = sizeof(wait)}};
		struct usp_pump_status status = {.size = sizeof(status)};

		pump_open(nr_sinks, (struct usp_pump_params){.flags = 0});
		for (unsigned i = 0; i < NR_PAGES; i++) {
			assert_int_equal(usp_pump_step(pump, &wait), -EAGAIN);
			for (unsigned j = 0; j < usp_pump_waits(pump, waits, 3); j++) {
				if (waits[j].fd < 0)
					continue; /* of the source, when all sinks are late */
				assert_ptr_equal(waits[j].file, source.file);
				assert_int_equal(waits[j].side, USP_READ);
				assert_int_equal(waits[j].fd, source.pages[i]->event_fd);
				assert_int_equal(waits[j].events, POLLIN);
				assert_true(waits[j].timeout_ns < 0);
			}
			late_arrive(source.pages[i]);
		}
		assert_int_equal(usp_pump_step(pump, &wait), 0);
		usp_pump_status(pump, &status);
		assert_int_equal(status.bytes, NR_PAGES * PAGE);
		pump_close(nr_sinks, true);
	}
}

/* References move without their bytes: a full pipe is what it waits for. */
static void a_pump_into_a_full_pipe_waits_for_the_pipe(void **state)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};
	struct usp_file *end[2];

	(void)state;
	late_source_open(&source, NR_PAGES);
	open_pipe(end, 4, 0);
	assert_int_equal(usp_pump_new(source.file, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, end[1]), 0);
	assert_int_equal(usp_pump_step(pump, &wait), -EAGAIN);
	assert_ptr_equal(wait.file, end[1]);
	assert_int_equal(wait.side, USP_WRITE);
	for (unsigned i = 0; i < NR_PAGES; i++) {
		late_arrive(source.pages[i]);
		take_bytes(end[0], (uint64_t)i * PAGE, PAGE);
		assert_int_equal(usp_pump_step(pump, &wait), i + 5 < NR_PAGES ? -EAGAIN : 0);
		if (i + 5 >= NR_PAGES)
			break;
	}
	close_pipe(end);
	pump_close(0, false);
}

static ssize_t run_pump(void *arg)
{
	return usp_pump_run(arg);
}

/* One sink, several in turns, several in threads: each sleeps while the bytes are late. */
static const struct {
	unsigned nr_sinks, flags;
} runs[] = {{1, 0}, {2, USP_PUMP_TURNS}, {2, 0}};

static void a_run_sleeps_until_the_bytes_are_there(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(runs); i++) {
		struct worker worker;

		pump_open(runs[i].nr_sinks, (struct usp_pump_params){.flags = runs[i].flags});
		worker_start(&worker, run_pump, pump);
		worker_await_sleep(&worker);
		usleep(20000); /* enough for a loop that does not sleep to be seen below */
		for (unsigned j = 0; j < NR_PAGES; j++)
			late_arrive(source.pages[j]);
		assert_int_equal(worker_join(&worker), 0);
		for (unsigned j = 0; j < NR_PAGES; j++)
			assert_in_range(source.pages[j]->nr_confirm, 1, 100);
		pump_close(runs[i].nr_sinks, true);
	}
}

static void a_stop_ends_a_run_that_waits_for_late_bytes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(runs); i++) {
		struct worker worker;

		pump_open(runs[i].nr_sinks, (struct usp_pump_params){.flags = runs[i].flags});
		worker_start(&worker, run_pump, pump);
		worker_await_sleep(&worker);
		usp_pump_stop(pump);
		assert_int_equal(worker_join(&worker), -ECANCELED);
		pump_close(runs[i].nr_sinks, false);
	}
}

/* The source is late, and no sink is slow. */
static void a_time_out_for_late_bytes_is_that_of_the_source(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct usp_pump_error error = {.size = sizeof(error)};

		pump_open(runs[i].nr_sinks, (struct usp_pump_params){
						    .flags = runs[i].flags | USP_PUMP_DETACH_SLOW,
						    .slow_ns = 1000000,
						    .idle_ns = 30000000,
					    });
		assert_int_equal(usp_pump_run(pump), -ETIMEDOUT);
		usp_pump_error(pump, &error);
		assert_int_equal(error.side, USP_READ);
		assert_string_equal(error.spec, "late");
		for (unsigned j = 0; j < runs[i].nr_sinks; j++) {
			struct usp_sink_status status = {.size = sizeof(status)};

			assert_int_equal(usp_pump_sink_status(pump, j, &status), 0);
			assert_int_equal(status.error, 0);
		}
		pump_close(runs[i].nr_sinks, false);
	}
}

static void a_sink_that_waited_for_late_bytes_is_not_slow(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(runs); i++) {
		struct worker worker;

		pump_open(runs[i].nr_sinks, (struct usp_pump_params){.flags = runs[i].flags | USP_PUMP_DETACH_SLOW,
								     .slow_ns = 300000000});
		worker_start(&worker, run_pump, pump);
		worker_await_sleep(&worker);
		usleep(900000); /* longer than slow_ns, which a busy machine does not reach */
		for (unsigned j = 0; j < NR_PAGES; j++)
			late_arrive(source.pages[j]);
		assert_int_equal(worker_join(&worker), 0);
		pump_close(runs[i].nr_sinks, true);
	}
}

static void a_failed_fill_ends_the_run_with_its_error(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(runs); i++) {
		struct usp_sink_status status = {.size = sizeof(status)};

		pump_open(runs[i].nr_sinks, (struct usp_pump_params){.flags = runs[i].flags});
		source.pages[1]->error = -EBADMSG;
		for (unsigned j = 0; j < NR_PAGES; j++)
			late_arrive(source.pages[j]);
		assert_int_equal(usp_pump_run(pump), -EBADMSG);
		assert_int_equal(usp_pump_sink_status(pump, 0, &status), 0);
		assert_true(status.bytes <= PAGE); /* never the bytes that are not there */
		pump_close(runs[i].nr_sinks, false);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_buf_tells_what_to_wait_on),
		CASE(a_call_that_does_not_wait_says_eagain_for_late_bytes),
		CASE(the_bytes_in_front_of_late_ones_go_at_once),
		CASE(an_error_of_late_bytes_comes_when_they_are_used),
		CASE(the_bytes_in_front_of_a_failed_fill_go_first),
		CASE(a_call_that_waits_sleeps_until_the_bytes_are_there),
		CASE(a_blocking_socket_waits_for_late_bytes_even_with_the_flag),
		CASE(a_table_that_says_eagain_and_not_what_to_wait_for_is_eio),
		CASE(references_move_between_pipes_before_their_bytes_are_there),
		CASE(a_pipe_with_late_bytes_in_front_is_not_readable_yet),
		CASE(a_step_waits_for_the_source_and_not_for_the_sink),
		CASE(a_pump_into_a_full_pipe_waits_for_the_pipe),
		CASE(a_run_sleeps_until_the_bytes_are_there),
		CASE(a_stop_ends_a_run_that_waits_for_late_bytes),
		CASE(a_time_out_for_late_bytes_is_that_of_the_source),
		CASE(a_sink_that_waited_for_late_bytes_is_not_slow),
		CASE(a_failed_fill_ends_the_run_with_its_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
