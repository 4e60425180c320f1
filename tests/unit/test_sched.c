/* SPDX-License-Identifier: MIT */
/* test_sched - a thread that is busy becomes a batch thread, and an ordinary one again. */
#include "support.h"

#include <sched.h>
#include <time.h>

#include "base/sys.h"
#include "event/sched.h"

#define MS ((uint64_t)1000000)
#define LOOK (100 * MS)

/* Time as the tests tell it: what counts is how it compares with the processor time, which is real. */
static struct usp_sched sched;
static uint64_t now_ns;

static void work(uint64_t len_ns)
{
	uint64_t end_ns = usp_sys_thread_cpu_ns() + len_ns;

	while (usp_sys_thread_cpu_ns() < end_ns)
		;
}

static int policy_after(uint64_t len_ns, uint64_t work_ns)
{
	work(work_ns);
	now_ns += len_ns;
	usp_sched_look(&sched, now_ns, true);
	return sched_getscheduler(0);
}

static void begin(void)
{
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	now_ns = usp_sys_now_ns();
	usp_sched_begin(&sched, now_ns);
}

static void a_busy_thread_becomes_a_batch_thread_and_comes_back(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(policy_after(LOOK, 0), SCHED_OTHER);
		assert_int_equal(policy_after(LOOK, 26 * MS), SCHED_BATCH);
		assert_int_equal(policy_after(LOOK, 10 * MS), SCHED_BATCH); /* not idle yet */
		assert_int_equal(policy_after(LOOK, 0), SCHED_OTHER);
		assert_int_equal(policy_after(LOOK, 10 * MS), SCHED_OTHER); /* not busy yet */
	}
	usp_sched_end(&sched);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

static void without_bulk_it_is_ordinary_at_once(void **state)
{
	(void)state;
	begin();
	work(30 * MS);
	usp_sched_look(&sched, now_ns += LOOK, false);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_int_equal(policy_after(LOOK, 60 * MS), SCHED_BATCH);
	usp_sched_look(&sched, now_ns, false);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
	assert_int_equal(policy_after(LOOK, 60 * MS), SCHED_BATCH);
	usp_sched_end(&sched);
}

static void a_short_time_says_nothing(void **state)
{
	(void)state;
	begin();
	assert_int_equal(policy_after(LOOK - 1, 50 * MS), SCHED_OTHER);
	assert_int_equal(policy_after(1, 0), SCHED_BATCH);
	assert_int_equal(policy_after(LOOK - 1, 0), SCHED_BATCH);
	usp_sched_end(&sched);
}

/* The work before it says nothing, and a thread that has slept for long was idle. */
static void what_counts_is_the_time_since_the_last_look(void **state)
{
	(void)state;
	work(30 * MS);
	begin();
	assert_int_equal(policy_after(LOOK, 0), SCHED_OTHER);
	assert_int_equal(policy_after(LOOK, 30 * MS), SCHED_BATCH);
	assert_int_equal(policy_after(100 * LOOK, 30 * MS), SCHED_OTHER);
	usp_sched_end(&sched);
}

static void the_end_leaves_an_ordinary_thread(void **state)
{
	(void)state;
	begin();
	assert_int_equal(policy_after(LOOK, 30 * MS), SCHED_BATCH);
	usp_sched_end(&sched);
	assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
}

/* A thread of its own, because nobody but root comes back from SCHED_IDLE. */
static void *run_as(void *policy)
{
	assert_int_equal(sched_setscheduler(0, *(int *)policy, &(struct sched_param){.sched_priority = 0}), 0);
	now_ns = usp_sys_now_ns();
	usp_sched_begin(&sched, now_ns);
	assert_int_equal(policy_after(LOOK, 30 * MS), *(int *)policy);
	assert_int_equal(policy_after(LOOK, 0), *(int *)policy);
	usp_sched_end(&sched);
	assert_int_equal(sched_getscheduler(0), *(int *)policy);
	return NULL;
}

static void a_policy_that_somebody_chose_is_left_alone(void **state)
{
	static int policies[] = {SCHED_IDLE, SCHED_BATCH, SCHED_OTHER | SCHED_RESET_ON_FORK};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, run_as, &policies[i]), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
}

static void *yield_as(void *policy)
{
	assert_int_equal(sched_setscheduler(0, *(int *)policy, &(struct sched_param){.sched_priority = 0}), 0);
	usp_sched_yield_to_others();
	return (void *)(intptr_t)sched_getscheduler(0);
}

static void a_thread_that_only_takes_is_a_batch_thread_for_good(void **state)
{
	static int policies[][2] = {{SCHED_OTHER, SCHED_BATCH}, {SCHED_BATCH, SCHED_BATCH}, {SCHED_IDLE, SCHED_IDLE}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		pthread_t thread;
		void *policy;

		assert_int_equal(pthread_create(&thread, NULL, yield_as, &policies[i][0]), 0);
		assert_int_equal(pthread_join(thread, &policy), 0);
		assert_int_equal((intptr_t)policy, policies[i][1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_busy_thread_becomes_a_batch_thread_and_comes_back),
		CASE(without_bulk_it_is_ordinary_at_once),
		CASE(a_short_time_says_nothing),
		CASE(what_counts_is_the_time_since_the_last_look),
		CASE(the_end_leaves_an_ordinary_thread),
		CASE(a_policy_that_somebody_chose_is_left_alone),
		CASE(a_thread_that_only_takes_is_a_batch_thread_for_good),
	};

	return cmocka_run_group_tests_name("sched", tests, NULL, NULL);
}
