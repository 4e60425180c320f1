/* SPDX-License-Identifier: MIT */
/* test_loop - descriptors, timers, tasks and wake-ups of an event loop. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "event/loop.h"
#include "support.h"

#define MS UINT64_C(1000000)
#define NR_TIMERS 1000
#define NR_WAKES 100
#define NR_EVENTS_MAX 64

static struct usp_loop *loop;

/* What happened, in order: the tags of whatever was called. */
static unsigned trace[NR_EVENTS_MAX], nr_traced;

static void note(unsigned tag)
{
	assert_true(nr_traced < NR_EVENTS_MAX);
	trace[nr_traced++] = tag;
}

#define assert_trace(...)                                           \
	do {                                                        \
		const unsigned wanted[] = {__VA_ARGS__};            \
                                                                    \
		assert_int_equal(nr_traced, ARRAY_LEN(wanted));     \
		assert_memory_equal(trace, wanted, sizeof(wanted)); \
		nr_traced = 0;                                      \
	} while (0)

static void begin(void)
{
	nr_traced = 0;
	assert_int_equal(usp_loop_new(&loop), 0);
}

/* A timer that notes its tag, and may do something else. */
struct mark {
	struct usp_timer timer;
	unsigned tag;
	void (*also)(struct mark *mark);
	struct mark *other;
};

static void mark_fired(struct usp_timer *timer)
{
	struct mark *mark = usp_container_of(timer, struct mark, timer);

	assert_true(usp_loop_now(loop) >= timer->when_ns);
	assert_int_equal(timer->index, 0);
	note(mark->tag);
	if (mark->also)
		mark->also(mark);
}

static void mark_arm(struct mark *mark, unsigned tag, uint64_t after_ns)
{
	mark->timer.fired = mark_fired;
	mark->tag = tag;
	assert_int_equal(usp_loop_arm(loop, &mark->timer, usp_loop_now(loop) + after_ns), 0);
}

static void mark_stop(struct mark *mark)
{
	(void)mark;
	usp_loop_stop(loop);
}

static void run(void)
{
	assert_int_equal(usp_loop_run(loop), 0);
	usp_loop_free(loop);
}

/* --- Timers ------------------------------------------------------------------------------------------------ */

static void timers_fire_in_order_and_not_too_early(void **state)
{
	struct mark marks[4] = {{.tag = 0}};
	uint64_t since_ns;

	(void)state;
	begin();
	since_ns = usp_loop_now(loop);
	mark_arm(&marks[0], 3, 20 * MS);
	mark_arm(&marks[1], 1, 0);
	mark_arm(&marks[2], 4, 30 * MS);
	mark_arm(&marks[3], 2, 10 * MS);
	marks[2].also = mark_stop;
	run();
	assert_trace(1, 2, 3, 4);
	assert_true(usp_sys_now_ns() - since_ns >= 30 * MS);
}

static void a_timer_that_is_armed_again_is_moved(void **state)
{
	struct mark marks[3] = {{.tag = 0}};

	(void)state;
	begin();
	mark_arm(&marks[0], 1, 1 * MS);
	mark_arm(&marks[1], 2, 30 * MS);
	mark_arm(&marks[2], 3, 40 * MS);
	marks[2].also = mark_stop;
	mark_arm(&marks[0], 1, 35 * MS); /* later */
	mark_arm(&marks[1], 2, 5 * MS);	 /* earlier */
	run();
	assert_trace(2, 1, 3);
}

static void a_timer_that_is_disarmed_does_not_fire(void **state)
{
	struct mark marks[3] = {{.tag = 0}};

	(void)state;
	begin();
	usp_loop_disarm(loop, &marks[0].timer); /* was never armed */
	for (unsigned i = 0; i < ARRAY_LEN(marks); i++)
		mark_arm(&marks[i], i, (i + 1) * MS);
	usp_loop_disarm(loop, &marks[1].timer);
	usp_loop_disarm(loop, &marks[1].timer);
	marks[2].also = mark_stop;
	run();
	assert_trace(0, 2);
}

static void mark_disarm_other(struct mark *mark)
{
	usp_loop_disarm(loop, &mark->other->timer);
}

static void mark_rearm(struct mark *mark)
{
	if (nr_traced < 3)
		mark_arm(mark, mark->tag, 1 * MS);
	else
		usp_loop_stop(loop);
}

static void timers_are_changed_from_inside_of_timers(void **state)
{
	struct mark marks[3] = {{.tag = 0}};

	(void)state;
	begin();
	mark_arm(&marks[0], 1, 0);
	mark_arm(&marks[1], 2, 0); /* due in the same round */
	marks[0].also = mark_disarm_other;
	marks[0].other = &marks[1];
	mark_arm(&marks[2], 3, 1 * MS);
	marks[2].also = mark_rearm;
	run();
	assert_trace(1, 3, 3);
}

static uint64_t last_ns;
static unsigned nr_fired;

static void many_fired(struct usp_timer *timer)
{
	assert_true(timer->when_ns >= last_ns);
	last_ns = timer->when_ns;
	nr_fired++;
}

static struct usp_timer many[NR_TIMERS];

/* In an order that a heap has to sort, with every third one moved and every fifth one taken out. */
static void a_thousand_timers_fire_in_order(void **state)
{
	struct mark last = {.also = mark_stop};
	unsigned nr_left = 0;
	uint64_t now_ns;

	(void)state;
	begin();
	now_ns = usp_loop_now(loop);
	last_ns = nr_fired = 0;
	memset(many, 0, sizeof(many));
	for (unsigned i = 0; i < NR_TIMERS; i++) {
		many[i].fired = many_fired;
		assert_int_equal(usp_loop_arm(loop, &many[i], now_ns + i * 7919 % NR_TIMERS), 0);
	}
	for (unsigned i = 0; i < NR_TIMERS; i += 3)
		assert_int_equal(usp_loop_arm(loop, &many[i], now_ns + i * 104729 % (3 * NR_TIMERS)), 0);
	for (unsigned i = 0; i < NR_TIMERS; i++) {
		if (i % 5 == 0)
			usp_loop_disarm(loop, &many[i]);
		nr_left += many[i].index != 0;
	}
	assert_int_equal(nr_left, NR_TIMERS * 4 / 5);
	mark_arm(&last, 1, 1 * MS);
	run();
	assert_int_equal(nr_fired, nr_left);
}

/* --- Tasks ------------------------------------------------------------------------------------------------- */

struct job {
	struct usp_task task;
	unsigned tag;
	struct usp_task *next; /* to defer when this one runs */
	bool must_stop;
};

static void job_run(struct usp_task *task)
{
	struct job *job = usp_container_of(task, struct job, task);

	note(job->tag);
	if (job->next)
		usp_loop_defer(loop, job->next);
	if (job->must_stop)
		usp_loop_stop(loop);
}

static void tasks_run_once_and_in_order(void **state)
{
	struct job jobs[3] = {{.tag = 0}};

	(void)state;
	begin();
	for (unsigned i = 0; i < ARRAY_LEN(jobs); i++) {
		jobs[i] = (struct job){.task.run = job_run, .tag = i, .must_stop = i == 2};
		usp_loop_defer(loop, &jobs[i].task);
		usp_loop_defer(loop, &jobs[i].task);
	}
	run();
	assert_trace(0, 1, 2);
}

static void what_a_task_defers_runs_in_the_next_round(void **state)
{
	struct job first = {.task.run = job_run, .tag = 1}, second = {.task.run = job_run, .tag = 2};
	struct job third = {.task.run = job_run, .tag = 3, .must_stop = true};
	struct mark mark = {.tag = 0};

	(void)state;
	begin();
	first.next = &third.task;
	usp_loop_defer(loop, &first.task);
	usp_loop_defer(loop, &second.task);
	mark_arm(&mark, 4, 0); /* due in the first round, before its tasks */
	run();
	assert_trace(4, 1, 2, 3);
}

static void busy_run(struct usp_task *task)
{
	usp_loop_defer(loop, task);
}

static void a_task_that_goes_on_for_ever_leaves_timers_their_turn(void **state)
{
	struct usp_task busy = {.run = busy_run};
	struct mark mark = {.also = mark_stop};

	(void)state;
	begin();
	usp_loop_defer(loop, &busy);
	mark_arm(&mark, 1, 2 * MS);
	run();
	assert_trace(1);
}

static void what_was_deferred_last_is_finished_after_the_run(void **state)
{
	struct job first = {.task.run = job_run, .tag = 1, .must_stop = true}, second = {.task.run = job_run, .tag = 2};

	(void)state;
	begin();
	first.next = &second.task;
	usp_loop_defer(loop, &first.task);
	assert_int_equal(usp_loop_run(loop), 0);
	assert_trace(1);
	usp_loop_finish(loop);
	assert_trace(2);
	usp_loop_finish(loop);
	assert_int_equal(nr_traced, 0);
	usp_loop_free(loop);
}

/* --- Descriptors -------------------------------------------------------------------------------------------- */

struct reader {
	struct usp_watch watch;
	int fds[2]; /* of a pipe */
	unsigned tag, events, nr_calls;
	void (*also)(struct reader *reader);
};

static void reader_ready(struct usp_watch *watch, unsigned events)
{
	struct reader *reader = usp_container_of(watch, struct reader, watch);

	reader->events |= events;
	reader->nr_calls++;
	note(reader->tag);
	if (reader->also)
		reader->also(reader);
}

static void reader_open(struct reader *reader, unsigned tag, unsigned events)
{
	*reader = (struct reader){.watch.ready = reader_ready, .tag = tag};
	assert_int_equal(pipe2(reader->fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(usp_loop_watch(loop, reader->fds[0], events, &reader->watch), 0);
}

static void reader_write(struct reader *reader)
{
	assert_int_equal(write(reader->fds[1], "x", 1), 1);
}

static void reader_close(struct reader *reader)
{
	close(reader->fds[0]);
	close(reader->fds[1]);
}

static void reader_stop(struct reader *reader)
{
	(void)reader;
	usp_loop_stop(loop);
}

static void a_descriptor_is_told_of_with_its_events(void **state)
{
	struct reader readers[2];

	(void)state;
	begin();
	reader_open(&readers[0], 1, EPOLLIN);
	reader_open(&readers[1], 2, EPOLLIN);
	readers[1].also = reader_stop;
	reader_write(&readers[1]);
	run();
	assert_trace(2);
	assert_int_equal(readers[1].events, EPOLLIN);
	reader_close(&readers[0]);
	reader_close(&readers[1]);
}

static void reader_stop_after_five(struct reader *reader)
{
	if (reader->nr_calls == 5)
		usp_loop_stop(loop);
}

/* Nothing is read: a level is told again and again, an edge once. */
static void edges_and_levels_are_the_callers_choice(void **state)
{
	struct reader level, edge;

	(void)state;
	begin();
	reader_open(&level, 1, EPOLLIN);
	reader_open(&edge, 2, EPOLLIN | EPOLLET);
	reader_write(&level);
	reader_write(&edge);
	level.also = reader_stop_after_five;
	run();
	assert_int_equal(level.nr_calls, 5);
	assert_int_equal(edge.nr_calls, 1);
	reader_close(&level);
	reader_close(&edge);
}

static struct reader *other_reader;

static void reader_unwatch_other(struct reader *reader)
{
	usp_loop_unwatch(loop, other_reader->fds[0]);
	usp_loop_unwatch(loop, reader->fds[0]);
}

static void a_descriptor_that_is_not_watched_any_more_is_not_told_of(void **state)
{
	struct reader readers[2];
	struct mark mark = {.also = mark_stop};

	(void)state;
	begin();
	reader_open(&readers[0], 1, EPOLLIN);
	reader_open(&readers[1], 2, EPOLLIN);
	other_reader = &readers[1];
	readers[0].also = reader_unwatch_other;
	reader_write(&readers[0]);
	mark_arm(&mark, 3, 5 * MS);
	run();
	assert_trace(1, 3); /* and a level would have been told again */
	reader_close(&readers[0]);
	reader_close(&readers[1]);
}

static void what_is_watched_for_can_be_changed(void **state)
{
	struct reader reader, other;

	(void)state;
	begin();
	reader_open(&reader, 1, EPOLLIN);
	other = (struct reader){.watch.ready = reader_ready, .tag = 2, .also = reader_stop};
	reader_write(&reader);
	assert_int_equal(usp_loop_change(loop, reader.fds[0], EPOLLIN | EPOLLET, &other.watch), 0);
	run();
	assert_trace(2);
	reader_close(&reader);
}

static void a_descriptor_that_cannot_be_watched_is_refused(void **state)
{
	struct reader reader;

	(void)state;
	begin();
	reader_open(&reader, 1, EPOLLIN);
	assert_int_equal(usp_loop_watch(loop, reader.fds[0], EPOLLIN, &reader.watch), -EEXIST);
	assert_int_equal(usp_loop_watch(loop, -1, EPOLLIN, &reader.watch), -EBADF);
	usp_loop_free(loop);
	usp_loop_free(NULL);
	reader_close(&reader);
}

/* --- Wake-ups ------------------------------------------------------------------------------------------------- */

static atomic_uint nr_woken;

static void count_wake(void *arg)
{
	assert_ptr_equal(arg, &nr_woken);
	if (atomic_fetch_add(&nr_woken, 1) + 1 == NR_WAKES)
		usp_loop_stop(loop);
}

/* Each wake waits for the one before to be heard, so that none may be lost. */
static ssize_t wake_many(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < NR_WAKES; i++) {
		usp_loop_wake(loop);
		while (atomic_load(&nr_woken) == i)
			sched_yield();
	}
	return 0;
}

static void another_thread_wakes_the_loop_every_time(void **state)
{
	struct worker waker;

	(void)state;
	begin();
	atomic_store(&nr_woken, 0);
	usp_loop_on_wake(loop, count_wake, &nr_woken);
	worker_start(&waker, wake_many, NULL);
	assert_int_equal(usp_loop_run(loop), 0);
	assert_int_equal(worker_join(&waker), 0);
	usp_loop_free(loop);
	assert_int_equal(nr_woken, NR_WAKES);
}

static void wakes_before_the_run_count_as_one(void **state)
{
	struct mark mark = {.also = mark_stop};

	(void)state;
	begin();
	atomic_store(&nr_woken, 0);
	usp_loop_wake(loop); /* nobody to tell yet */
	usp_loop_on_wake(loop, count_wake, &nr_woken);
	for (unsigned i = 0; i < 5; i++)
		usp_loop_wake(loop);
	mark_arm(&mark, 1, 5 * MS);
	run();
	assert_int_equal(nr_woken, 1);
}

static void handle_signal(int number)
{
	(void)number;
	usp_loop_wake(loop);
}

static void stop_on_wake(void *arg)
{
	(void)arg;
	usp_loop_stop(loop);
}

static ssize_t run_loop(void *arg)
{
	(void)arg;
	return usp_loop_run(loop);
}

/* The signal interrupts the wait itself. */
static void a_signal_handler_wakes_the_loop(void **state)
{
	const struct sigaction action = {.sa_handler = handle_signal};
	struct sigaction old;
	struct worker runner;

	(void)state;
	begin();
	usp_loop_on_wake(loop, stop_on_wake, NULL);
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	worker_start(&runner, run_loop, NULL);
	worker_await_sleep(&runner);
	assert_int_equal(pthread_kill(runner.thread, SIGUSR1), 0);
	assert_int_equal(worker_join(&runner), 0);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
	usp_loop_free(loop);
}

/* --- The end ---------------------------------------------------------------------------------------------------- */

/* Whoever was ready in that round is still told, and so are timers and tasks. */
static void a_stop_lets_the_round_end(void **state)
{
	struct job job = {.task.run = job_run, .tag = 9};
	struct reader readers[2];

	(void)state;
	begin();
	for (unsigned i = 0; i < 2; i++) {
		reader_open(&readers[i], 1, EPOLLIN);
		readers[i].also = reader_stop;
		reader_write(&readers[i]);
	}
	usp_loop_defer(loop, &job.task);
	run();
	assert_trace(1, 1, 9);
	reader_close(&readers[0]);
	reader_close(&readers[1]);
}

static void a_loop_that_was_stopped_before_does_not_run(void **state)
{
	struct mark mark = {.tag = 0};

	(void)state;
	begin();
	mark_arm(&mark, 1, 0);
	usp_loop_stop(loop);
	run();
	assert_int_equal(nr_traced, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(timers_fire_in_order_and_not_too_early),
		CASE(a_timer_that_is_armed_again_is_moved),
		CASE(a_timer_that_is_disarmed_does_not_fire),
		CASE(timers_are_changed_from_inside_of_timers),
		CASE(a_thousand_timers_fire_in_order),
		CASE(tasks_run_once_and_in_order),
		CASE(what_a_task_defers_runs_in_the_next_round),
		CASE(a_task_that_goes_on_for_ever_leaves_timers_their_turn),
		CASE(what_was_deferred_last_is_finished_after_the_run),
		CASE(a_descriptor_is_told_of_with_its_events),
		CASE(edges_and_levels_are_the_callers_choice),
		CASE(a_descriptor_that_is_not_watched_any_more_is_not_told_of),
		CASE(what_is_watched_for_can_be_changed),
		CASE(a_descriptor_that_cannot_be_watched_is_refused),
		CASE(another_thread_wakes_the_loop_every_time),
		CASE(wakes_before_the_run_count_as_one),
		CASE(a_signal_handler_wakes_the_loop),
		CASE(a_stop_lets_the_round_end),
		CASE(a_loop_that_was_stopped_before_does_not_run),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
