/* SPDX-License-Identifier: MIT */
/* test_budget - kernel pipes of two pages, as an ordinary user gets them behind pipe-user-pages-soft: all works as before. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "peer.h"

#define NOBODY 65534
#define BUDGET_LEN 3333333
#define HOGS_MAX 4096
#define HOG_BYTES (1 << 20) /* the widest that an ordinary user may have */
#define TINY_BYTES (2 * 4096)
#define NR_SINKS 4

/* Pipes that take the budget of this user; each is known by its read end and its write end. */
static int hogs[HOGS_MAX][2];
static unsigned nr_hogs;

static int hog_open(void)
{
	if (nr_hogs == HOGS_MAX || pipe2(hogs[nr_hogs], O_CLOEXEC) < 0)
		return -1;
	return fcntl(hogs[nr_hogs++][0], F_GETPIPE_SZ);
}

/* Wide pipes first, then narrow ones, until a new pipe has two pages and cannot be widened. */
static void take_the_budget(void)
{
	int size;

	do {
		size = hog_open();
		if (size > TINY_BYTES)
			fcntl(hogs[nr_hogs - 1][0], F_SETPIPE_SZ, HOG_BYTES);
	} while (size > TINY_BYTES);
	assert_int_equal(size, TINY_BYTES);
	assert_int_equal(fcntl(hogs[nr_hogs - 1][0], F_SETPIPE_SZ, HOG_BYTES), -1);
	assert_int_equal(errno, EPERM);
}

static void give_the_budget_back(void)
{
	while (nr_hogs) {
		nr_hogs--;
		close(hogs[nr_hogs][0]);
		close(hogs[nr_hogs][1]);
	}
}

/* The stream from tmpfs to some sinks; what the ledger says. */
static struct usp_route_total run_route(unsigned nr_sinks, enum usp_lane_choice lane)
{
	static const unsigned kinds[NR_SINKS] = {PEER_TCP, PEER_FIFO, PEER_TMPFS, PEER_UNIX};
	const struct usp_pump_params params = {.size = sizeof(params), .lane = lane};
	static struct peer sinks[NR_SINKS];
	struct usp_route_total total = {.size = sizeof(total)};
	struct usp_pump *pump;
	struct peer source;

	peer_open_source(&source, &peer_kinds[PEER_TMPFS], stream.len);
	assert_int_equal(usp_pump_new(source.file, &params, &pump), 0);
	for (unsigned i = 0; i < nr_sinks; i++) {
		peer_open_sink(&sinks[i], &peer_kinds[kinds[i]], stream.len);
		assert_int_equal(usp_pump_add_sink(pump, sinks[i].file), 0);
	}
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_total(pump, &total);
	assert_int_equal(total.by_reference + total.copied + total.unknown, nr_sinks * stream.len);
	usp_pump_free(pump);
	peer_close_source(&source);
	for (unsigned i = 0; i < nr_sinks; i++)
		assert_true(peer_close_sink(&sinks[i], stream.len));
	return total;
}

static void a_copy_goes_through_pipes_of_two_pages(void **state)
{
	(void)state;
	take_the_budget();
	run_route(1, USP_LANE_KERNEL);
	run_route(1, USP_LANE_AUTO);
	give_the_budget_back();
}

static void a_fan_out_goes_through_pipes_of_two_pages(void **state)
{
	(void)state;
	take_the_budget();
	run_route(NR_SINKS, USP_LANE_AUTO);
	give_the_budget_back();
}

/*
 * A wide pipe that was made before the budget was gone waits in the pool, and its twins are narrow: tee(2) cannot double
 * what is in it, and the bytes go on in memory.
 */
static void what_tee_cannot_double_is_copied_and_the_ledger_says_so(void **state)
{
	struct usp_route_total rich = {.size = sizeof(rich)}, poor = {.size = sizeof(poor)};

	(void)state;
	rich = run_route(NR_SINKS, USP_LANE_AUTO);
	usp_trim(NULL);
	run_route(1, USP_LANE_KERNEL);
	take_the_budget();
	poor = run_route(NR_SINKS, USP_LANE_AUTO);
	give_the_budget_back();
	assert_true(poor.copied > rich.copied);
}

/* True if this is now an ordinary user, whose descriptors can still be opened again through /proc. */
static bool become_nobody(void)
{
	const struct rlimit files = {.rlim_cur = 2 * HOGS_MAX + 100, .rlim_max = 2 * HOGS_MAX + 100};

	return setrlimit(RLIMIT_NOFILE, &files) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0 &&
	       prctl(PR_SET_DUMPABLE, 1) == 0;
}

static bool has_soft_limit(void)
{
	FILE *file = fopen("/proc/sys/fs/pipe-user-pages-soft", "re");
	long pages = 0;

	if (!file)
		return false;
	if (fscanf(file, "%ld", &pages) != 1)
		pages = 0;
	fclose(file);
	return pages > 0 && pages <= 65536;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_copy_goes_through_pipes_of_two_pages),
		CASE(a_fan_out_goes_through_pipes_of_two_pages),
		CASE(what_tee_cannot_double_is_copied_and_the_ledger_says_so),
	};
	int ret;

	if (getuid() != 0 || !has_soft_limit()) {
		printf("skipped: only root can become a user whose budget for pipes nobody else needs\n");
		return 77;
	}
	if (stream_open(BUDGET_LEN) < 0 || !become_nobody())
		return 1;
	ret = cmocka_run_group_tests_name("budget", tests, NULL, NULL);
	stream_close();
	return ret;
}
