/* SPDX-License-Identifier: MIT */
/* fault - the plan of a run, and the driver that reruns scenarios (the wrapped functions are in wrap.c). */
#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <usplice.h>

#include "base/compiler.h"
#include "support.h"
#include "wrap.h"

#define FAULT_TIME_LIMIT_S 120 /* of one run, which takes milliseconds: generous for sanitizers on a busy machine */
#define FAULT_ERRORS_MAX 12
#define FAULT_REPORTS_MAX 8
#define FAULT_WHY_LEN 2048
#define FAULT_FIRST_CALLS 2 /* of each function: those are where something is there for the first time */

/* A fork under AddressSanitizer costs as much as ten without: there, only faults that come once. */
#ifdef USP_HAS_ASAN
#define FAULT_STICKS false
#else
#define FAULT_STICKS true
#endif

struct fault_kind {
	const char *name;
	bool moves;
	int errors[FAULT_ERRORS_MAX];
};

#define FAULT_ROW(name, moves, ...) [FAULT_##name] = {#name, moves, {__VA_ARGS__}},
static const struct fault_kind fault_kinds[FAULT_NR_CALLS] = {FAULT_CALLS(FAULT_ROW)};

/* Shared by the driver and the run, which is a child process. */
static struct fault_state {
	struct fault_plan plan;
	bool has_plan;
	atomic_bool is_armed;
	atomic_bool has_fired;
	int from_fd, to_fd;
	atomic_uint nr_calls[FAULT_NR_CALLS];
	atomic_size_t why_len;
	char why[FAULT_WHY_LEN];
	int64_t notes[FAULT_NR_NOTES];
} * fault_state;

int64_t *fault_notes;
static unsigned long fault_nr_points;
static bool fault_wants_all; /* every variant of a fault at every call */

/* --- In the run --------------------------------------------------------------------------------------- */

void fault_arm(void)
{
	atomic_store(&fault_state->is_armed, true);
}

void fault_disarm(void)
{
	atomic_store(&fault_state->is_armed, false);
}

struct fault_hit fault_hit(void)
{
	return (struct fault_hit){
		.has_fired = atomic_load(&fault_state->has_fired),
		.plan = fault_state->plan,
		.from_fd = fault_state->from_fd,
		.to_fd = fault_state->to_fd,
	};
}

bool fault_is_transient(const struct fault_plan *plan)
{
	if (plan->call == FAULT_pthread_create && !plan->forks)
		return false;
	if (plan->call == FAULT_usp_sys_now_ns)
		return true; /* of what has no time-out; who has one knows better */
	return plan->error == 0 || plan->error == EAGAIN || plan->error == EINTR || plan->error == ECONNABORTED;
}

static bool fault_is_child; /* of a fork in the middle of a run: its calls are its own */

/* Threads of this process but the caller. */
static bool fault_is_alone(void)
{
	struct stat st;

	return stat("/proc/self/task", &st) == 0 && st.st_nlink == 3;
}

/*
 * The process forks in the middle of a call, with whatever locks this thread and others hold. Where no other thread can be in
 * malloc(3) the C library is not told; else fork(3) is, but not where this thread may hold what its handlers wait for.
 */
static void fault_fork(enum fault_call call)
{
	pid_t pid = 0;
	int status;

	if (fault_is_alone())
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	else if (CAN_FORK_BESIDE_THREADS && call != FAULT_usp_alloc && call != FAULT_usp_sys_map_anon)
		pid = fork();
	else
		return;
	if (pid == 0) {
		alarm(FAULT_TIME_LIMIT_S);
		fault_is_child = true;
		end_child(!fault_child_can_copy());
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		fault_complain("no child: %s", strerror(errno));
	else if (WIFSIGNALED(status))
		fault_complain("the child died: %s",
			       WTERMSIG(status) == SIGALRM ? "it hung" : strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		fault_complain("the child cannot use the library");
}

bool fault_fires(enum fault_call call, int from_fd, int to_fd)
{
	const struct fault_plan *plan = &fault_state->plan;
	unsigned nth;

	if (fault_is_child || !atomic_load(&fault_state->is_armed))
		return false;
	nth = atomic_fetch_add(&fault_state->nr_calls[call], 1);
	if (!fault_state->has_plan || call != plan->call || nth < plan->nth || (nth > plan->nth && !plan->is_sticky))
		return false;
	if (!atomic_exchange(&fault_state->has_fired, true)) {
		fault_state->from_fd = from_fd;
		fault_state->to_fd = to_fd;
	}
	if (plan->forks)
		fault_fork(call);
	return !plan->forks;
}

int fault_error(void)
{
	return fault_state->plan.error;
}

size_t fault_cut_len(size_t len)
{
	size_t cut = fault_state->plan.cut == FAULT_TO_HALF  ? len / 2
		     : fault_state->plan.cut == FAULT_BY_ONE ? len - 1
							     : 1;

	return len < 2 ? len : cut;
}

void fault_complain(const char *format, ...)
{
	char line[256];
	size_t len, at;
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line) - 1, format, args);
	va_end(args);
	len = strlen(line);
	line[len++] = '\n';
	line[len] = '\0';
	if (strstr(fault_state->why, line))
		return; /* once is enough */
	at = atomic_fetch_add(&fault_state->why_len, len);
	if (at + len < FAULT_WHY_LEN)
		memcpy(fault_state->why + at, line, len);
}

static unsigned fault_nr_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned nr = 0;

	while (dir && readdir(dir))
		nr++;
	if (dir)
		closedir(dir);
	return nr;
}

unsigned fault_nr_fds(void)
{
	return fault_nr_entries("/proc/self/fd");
}

static unsigned fault_nr_tasks(void)
{
	return fault_nr_entries("/proc/self/task");
}

/* ThreadSanitizer has a thread of its own, and makes another one with the first thread behind a fork. */
#ifdef __SANITIZE_THREAD__
#define FAULT_NR_OTHERS 1
#else
#define FAULT_NR_OTHERS 0
#endif

/* A look-up that was given up ends by itself. nr_tasks were there before. */
static void fault_await_threads(unsigned nr_tasks)
{
	while (fault_nr_tasks() > nr_tasks + FAULT_NR_OTHERS)
		sched_yield();
}

/* The scenario, between two looks at what is in use. */
static void fault_run_checked(const struct fault_scenario *scenario)
{
	struct usp_usage before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	unsigned nr_fds = fault_nr_fds(), nr_tasks = fault_nr_tasks();
	size_t nr_live;

	usp_trim(&before);
	nr_live = fault_nr_live();
	scenario->run(scenario->arg);
	fault_disarm();
	fault_await_threads(nr_tasks);
	usp_trim(&after);
	fault_check(after.nr_folios == before.nr_folios);
	fault_check(after.folio_bytes == before.folio_bytes);
	fault_check(after.nr_kpipes == before.nr_kpipes);
	fault_check(fault_nr_live() == nr_live);
	fault_check(fault_nr_fds() == nr_fds);
}

/* --- The driver ----------------------------------------------------------------------------------------- */

static void fault_describe(const struct fault_plan *plan, bool has_plan, char *ret_text, size_t len)
{
	static const char *const cuts[] = {"", "moves 1 byte", "moves half", "moves all but 1 byte"};

	if (!has_plan)
		snprintf(ret_text, len, "no fault");
	else if (plan->forks)
		snprintf(ret_text, len, "%s, call %u: the process forks", fault_kinds[plan->call].name, plan->nth);
	else
		snprintf(ret_text, len, "%s, call %u%s: %s", fault_kinds[plan->call].name, plan->nth,
			 plan->is_sticky ? " and all behind it" : "",
			 plan->cut	   ? cuts[plan->cut]
			 : plan->error < 0 ? gai_strerror(plan->error)
					   : strerror(plan->error));
}

/* One run in a process of its own. True if all was well. */
static bool fault_run(const struct fault_scenario *scenario, const struct fault_plan *plan)
{
	int status;
	pid_t pid;

	fault_state->has_plan = plan;
	if (plan)
		fault_state->plan = *plan;
	atomic_store(&fault_state->has_fired, false);
	atomic_store(&fault_state->is_armed, false);
	atomic_store(&fault_state->why_len, 0);
	memset(fault_state->why, 0, sizeof(fault_state->why));
	memset(fault_state->nr_calls, 0, sizeof(fault_state->nr_calls));
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		alarm(FAULT_TIME_LIMIT_S);
		signal(SIGALRM, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		fault_run_checked(scenario);
		end_child(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		fault_complain("no process for the run: %s", strerror(errno));
		return false;
	}
	if (WIFSIGNALED(status))
		fault_complain("the process died: %s",
			       WTERMSIG(status) == SIGALRM ? "it hung" : strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status))
		fault_complain("the process ended with code %d", WEXITSTATUS(status));
	return !atomic_load(&fault_state->why_len);
}

struct fault_tour {
	const struct fault_scenario *scenario;
	unsigned nr_wrong;
	unsigned seen[FAULT_NR_CALLS]; /* calls in any run so far */
};

/* One run, its report, and what it called. True if the fault fired. */
static bool fault_visit(struct fault_tour *tour, const struct fault_plan *plan)
{
	bool is_good = fault_run(tour->scenario, plan);
	char what[128];

	for (unsigned i = 0; i < FAULT_NR_CALLS; i++) {
		unsigned nr_calls = atomic_load(&fault_state->nr_calls[i]);

		tour->seen[i] = nr_calls > tour->seen[i] ? nr_calls : tour->seen[i];
	}
	if (!is_good && tour->nr_wrong++ < FAULT_REPORTS_MAX) {
		fault_describe(plan, plan, what, sizeof(what));
		print_error("%s: %s\n%s", tour->scenario->name, what, fault_state->why);
	}
	return atomic_load(&fault_state->has_fired);
}

/* Return which variant a call sees. Calls that take turns, for the source and for the sink, see all of them, too. */
static unsigned fault_variant(unsigned nth, unsigned nr_variants)
{
	return (nth + nth / nr_variants) % nr_variants;
}

/*
 * One variant of a fault, of nr_variants, at call 0, 1, 2 ... until it does not fire any more. The first calls see all
 * variants. Each later one sees one of them: what a call does with its errors depends on the kind of the error, and
 * rarely on how many calls there were before. $USP_FAULT_ALL asks for all. A run that went wrong may have ended early.
 */
static void fault_visit_all(struct fault_tour *tour, struct fault_plan plan, unsigned variant, unsigned nr_variants)
{
	unsigned nr = plan.forks ? FAULT_FIRST_CALLS : tour->seen[plan.call] + 1;

	for (plan.nth = 0; plan.nth < nr; plan.nth++) {
		if (!fault_wants_all && plan.nth >= FAULT_FIRST_CALLS &&
		    fault_variant(plan.nth, nr_variants) != variant)
			continue;
		if (!fault_visit(tour, &plan))
			break;
		fault_nr_points++;
	}
}

static unsigned fault_nr_errors(const struct fault_kind *kind)
{
	unsigned nr = 0;

	while (nr < FAULT_ERRORS_MAX && kind->errors[nr])
		nr++;
	return nr;
}

static void fault_visit_call(struct fault_tour *tour, enum fault_call call)
{
	const struct fault_kind *kind = &fault_kinds[call];
	unsigned nr_errors = fault_nr_errors(kind);

	for (unsigned i = 0; i < nr_errors; i++) {
		struct fault_plan plan = {.call = call, .error = kind->errors[i]};

		fault_visit_all(tour, plan, i, nr_errors);
		plan.is_sticky = true;
		if (FAULT_STICKS && !fault_is_transient(&plan) && call != FAULT_usp_sys_recvmsg_notice)
			fault_visit_all(tour, plan, i, nr_errors);
	}
	fault_visit_all(tour, (struct fault_plan){.call = call, .forks = true}, 0, 1);
	for (enum fault_cut cut = FAULT_TO_ONE; kind->moves && cut < FAULT_NR_CUTS; cut++)
		fault_visit_all(tour, (struct fault_plan){.call = call, .cut = cut}, cut - FAULT_TO_ONE,
				FAULT_NR_CUTS - FAULT_TO_ONE);
}

unsigned fault_explore(const struct fault_scenario *scenario)
{
	struct fault_tour tour = {.scenario = scenario};
	bool is_done[FAULT_NR_CALLS] = {false}, is_more;

	memset(fault_notes, 0, sizeof(fault_state->notes));
	fault_visit(&tour, NULL);
	do { /* a fault may lead to calls that the run without one did not make */
		is_more = false;
		for (enum fault_call call = 0; call < FAULT_NR_CALLS; call++) {
			if (is_done[call] || !tour.seen[call])
				continue;
			fault_visit_call(&tour, call);
			is_done[call] = is_more = true;
		}
	} while (is_more && tour.nr_wrong < FAULT_REPORTS_MAX);
	return tour.nr_wrong;
}

static void fault_test(void **state)
{
	assert_int_equal(fault_explore(*state), 0);
}

int fault_main(const struct fault_scenario *scenarios, unsigned nr_scenarios)
{
	struct CMUnitTest *tests = calloc(nr_scenarios, sizeof(tests[0]));
	int nr_failed;

	fault_state = mmap(NULL, sizeof(*fault_state), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!tests || fault_state == MAP_FAILED)
		return 1;
	fault_notes = fault_state->notes;
	fault_wants_all = getenv("USP_FAULT_ALL");
	for (unsigned i = 0; i < nr_scenarios; i++)
		tests[i] = (struct CMUnitTest){
			.name = scenarios[i].name,
			.test_func = fault_test,
			.initial_state = (void *)&scenarios[i],
		};
	if (getenv("USP_FAULT_SCENARIO"))
		cmocka_set_test_filter(getenv("USP_FAULT_SCENARIO"));
	nr_failed = _cmocka_run_group_tests("faults", tests, nr_scenarios, NULL, NULL);
	printf("# %lu fault points in %u scenarios\n", fault_nr_points, nr_scenarios);
	free(tests);
	return nr_failed;
}
