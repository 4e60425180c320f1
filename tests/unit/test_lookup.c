/* SPDX-License-Identifier: MIT */
/*
 * test_lookup - looking up names: the moment to give up, signals, threads, and what is left behind.
 *
 * The name service and the clock of this program are the test's own. A name says how it is answered, and a wait that would end by
 * time puts the clock forward instead.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <netdb.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <usplice/relay.h>

#include "net.h"

#define NS_PER_S 1000000000
#define LEFT_MAX 16 /* look-ups that nobody waits for any more; LOOKUP_LEFT_MAX */

/* --- The clock ------------------------------------------------------------------------------------------ */

static atomic_bool is_fast;   /* waiting puts the clock forward ... */
static atomic_bool is_served; /* ... but not for a look-up, which is answered */
static _Atomic(int64_t) ahead_ns, last_wait_ns;

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	int ret = (int)syscall(SYS_clock_gettime, clock, ret_now);

	if (ret == 0 && clock == CLOCK_MONOTONIC) {
		int64_t ns = ret_now->tv_nsec + ahead_ns;

		ret_now->tv_sec += ns / NS_PER_S;
		ret_now->tv_nsec = ns % NS_PER_S;
	}
	return ret;
}

/* The kernel changes the timeout that it is given, and wants to know the size of a mask. */
static int wait_really(struct pollfd *fds, nfds_t nr_fds, const struct timespec *timeout)
{
	struct timespec left = timeout ? *timeout : (struct timespec){0};

	return (int)syscall(SYS_ppoll, fds, nr_fds, timeout ? &left : NULL, NULL, 8);
}

/* The compiler believes that ppoll only writes to it, and must not look into this function. */
__attribute__((noinline)) static bool is_socket(const struct pollfd *fd)
{
	struct stat st;

	return fstat(fd->fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

int ppoll(struct pollfd *fds, nfds_t nr_fds, const struct timespec *timeout, const sigset_t *mask)
{
	const struct timespec none = {0};
	bool is_look_up = nr_fds && !is_socket(fds), skips = is_fast && timeout && !(is_look_up && is_served);
	int64_t wait_ns = timeout ? timeout->tv_sec * NS_PER_S + timeout->tv_nsec : -1;
	int ret;

	assert_null(mask);
	last_wait_ns = wait_ns;
	ret = wait_really(fds, nr_fds, skips ? &none : timeout);
	if (ret == 0 && skips)
		ahead_ns += wait_ns;
	return ret;
}

/* --- The name service ------------------------------------------------------------------------------------- */

static sem_t answers; /* one for each question about "gate" */
static atomic_uint nr_asked, nr_lists;
static _Atomic(pthread_t) asked_in;
static atomic_bool takes_signals; /* the thread that asked the last question */

static int (*real_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
static void (*real_freeaddrinfo)(struct addrinfo *);

static int find_real(void **state)
{
	(void)state;
	real_getaddrinfo = (__typeof__(real_getaddrinfo))(uintptr_t)dlsym(RTLD_NEXT, "getaddrinfo");
	real_freeaddrinfo = (__typeof__(real_freeaddrinfo))(uintptr_t)dlsym(RTLD_NEXT, "freeaddrinfo");
	return sem_init(&answers, 0, 0);
}

void freeaddrinfo(struct addrinfo *list)
{
	nr_lists--;
	real_freeaddrinfo(list);
}

/* "gate" is answered when the test says so, "slow" after two seconds, "nobody" never well. */
static void answer_when_due(const char *name)
{
	sigset_t mask;

	nr_asked++;
	asked_in = pthread_self();
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	takes_signals = false;
	for (int signo = 1; signo <= SIGSYS; signo++)
		takes_signals |= signo != SIGKILL && signo != SIGSTOP && !sigismember(&mask, signo);
	if (strcmp(name, "slow") == 0)
		ahead_ns += (int64_t)2 * NS_PER_S;
	while (strcmp(name, "gate") == 0 && sem_wait(&answers) < 0)
		;
}

int getaddrinfo(const char *name, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list)
{
	bool is_look_up = !(hints->ai_flags & AI_NUMERICHOST && hints->ai_flags & AI_NUMERICSERV);
	bool is_ours = name && strchr("gns", name[0]); /* no question of this test goes to the network */
	int ret = EAI_AGAIN;

	if (is_look_up)
		answer_when_due(name ? name : "");
	if (!is_look_up || !name || strcmp(name, "nobody") != 0)
		ret = real_getaddrinfo(is_look_up && is_ours ? "127.0.0.1" : name, port, hints, ret_list);
	nr_lists += ret == 0;
	return ret;
}

static unsigned nr_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned nr = 0;

	while (dir && readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static unsigned nr_fds_before;

static int before(void **state)
{
	is_fast = is_served = false;
	ahead_ns = 0;
	nr_asked = 0;
	nr_fds_before = nr_fds();
	return support_before(state);
}

/* Whatever was left behind ends when it is answered, and leaves no list of addresses and no descriptor. */
static int after(void **state)
{
	while (nr_lists || nr_fds() > nr_fds_before) {
		sem_post(&answers);
		sched_yield();
	}
	while (sem_trywait(&answers) == 0)
		;
	return support_after(state);
}

#define TIMED(f) cmocka_unit_test_setup_teardown(f, before, after)

/* --- Opening ------------------------------------------------------------------------------------------------ */

struct opening {
	char spec[128];
	struct usp_file *file;
	const char *why;
};

static ssize_t opening_run(void *arg)
{
	struct opening *opening = arg;
	struct usp_open_params params = {.size = sizeof(params),
					 .mode = strstr(opening->spec, "udp-") ? USP_READ : USP_WRITE};

	return usp_open(opening->spec, &params, &opening->file, &opening->why);
}

__attribute__((format(printf, 1, 2))) static struct opening opening_of(const char *format, ...)
{
	struct opening opening = {.file = NULL};
	va_list args;

	va_start(args, format);
	vsnprintf(opening.spec, sizeof(opening.spec), format, args);
	va_end(args);
	return opening;
}

/* The spec of an endpoint that asks for a name. */
static const char *const by_name[] = {"tcp:gate:9", "tcp-listen:gate:0", "udp:gate:9", "udp-listen:gate:0"};

static int listen_somewhere(unsigned *ret_port)
{
	int fd = net_bound(SOCK_STREAM, ret_port);

	assert_int_equal(listen(fd, 1), 0);
	return fd;
}

/* --- Without a look-up ---------------------------------------------------------------------------------------- */

static void a_numeric_address_is_not_looked_up(void **state)
{
	static const char *const specs[] = {
		"tcp:127.0.0.1:1",	  "tcp:[::1]:1",  "udp:127.0.0.1:9",	   "udp:[::1]:9",
		"udp-listen:127.0.0.1:0", "udp-listen:0", "tcp-listen:0,timeout=0"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		struct opening opening = opening_of("%s", specs[i]);

		if (opening_run(&opening) == 0)
			drop(&opening.file);
	}
	assert_int_equal(nr_asked, 0);
}

/* --- With one --------------------------------------------------------------------------------------------------- */

static void a_name_is_looked_up_in_a_thread_that_takes_no_signals(void **state)
{
	unsigned port;
	int listener = listen_somewhere(&port);
	struct opening opening = opening_of("tcp:now:%u", port);

	(void)state;
	assert_int_equal(opening_run(&opening), 0);
	assert_int_equal(nr_asked, 1);
	assert_false(pthread_equal(asked_in, pthread_self()));
	assert_false(takes_signals);
	drop(&opening.file);
	close(listener);
}

static void a_service_by_name_is_a_look_up(void **state)
{
	struct opening opening = opening_of("tcp:127.0.0.1:no-such-service");

	(void)state;
	assert_int_equal(opening_run(&opening), -EINVAL);
	assert_string_equal(opening.why, "no service of this name has a port");
	assert_int_equal(nr_asked, 1);
	assert_false(pthread_equal(asked_in, pthread_self()));
}

static void a_look_up_ends_with_the_timeout(void **state)
{
	(void)state;
	is_fast = true;
	for (size_t i = 0; i < ARRAY_LEN(by_name); i++) {
		struct opening opening = opening_of("%s,timeout=1.5", by_name[i]);

		assert_int_equal(opening_run(&opening), -ETIMEDOUT);
		assert_string_equal(opening.why, "the name service did not answer in time");
		assert_true(last_wait_ns > 0 && last_wait_ns <= (int64_t)3 * NS_PER_S / 2);
	}
}

static void no_time_at_all_is_enough_for_a_numeric_address_only(void **state)
{
	unsigned port;
	int listener = listen_somewhere(&port);
	struct opening numeric = opening_of("tcp:127.0.0.1:%u,timeout=0", port),
		       named = opening_of("tcp:gate:%u,timeout=0", port);

	(void)state;
	assert_int_equal(opening_run(&numeric), 0);
	assert_int_equal(opening_run(&named), -ETIMEDOUT);
	drop(&numeric.file);
	close(listener);
}

static void nothing_happened(int signo)
{
	(void)signo;
}

static void a_signal_ends_a_look_up(void **state)
{
	const struct sigaction action = {.sa_handler = nothing_happened, .sa_flags = SA_RESTART};
	struct sigaction old;

	(void)state;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	for (size_t i = 0; i < ARRAY_LEN(by_name); i++) {
		struct opening opening = opening_of("%s", by_name[i]);
		struct worker worker;

		worker_start(&worker, opening_run, &opening);
		while (nr_asked == i)
			sched_yield();
		worker_await_sleep(&worker);
		assert_int_equal(pthread_kill(worker.thread, SIGUSR1), 0);
		assert_int_equal(worker_join(&worker), -EINTR);
		assert_null(opening.why);
	}
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
}

/* A queue that is full answers no client: the wait for a connection would end by time only. */
static int listen_without_room(unsigned *ret_port, int ret_clients[2])
{
	int listener = net_bound(SOCK_STREAM, ret_port);

	assert_int_equal(listen(listener, 0), 0);
	for (unsigned i = 0; i < 2; i++) {
		ret_clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		net_connect(ret_clients[i], *ret_port);
	}
	return listener;
}

static void one_timeout_is_for_look_up_and_connection_together(void **state)
{
	int clients[2];
	unsigned port;
	int listener = listen_without_room(&port, clients);
	struct opening client = opening_of("tcp:slow:%u,timeout=5", port),
		       listening = opening_of("tcp-listen:slow:0,timeout=5");

	(void)state;
	is_fast = is_served = true;
	assert_int_equal(opening_run(&client), -ETIMEDOUT);
	assert_true(last_wait_ns > 0 && last_wait_ns <= (int64_t)3 * NS_PER_S);
	assert_string_equal(client.why, "nobody came or answered in time");
	assert_int_equal(opening_run(&listening), -ETIMEDOUT);
	assert_true(last_wait_ns > 0 && last_wait_ns <= (int64_t)3 * NS_PER_S);
	for (unsigned i = 0; i < 2; i++)
		close(clients[i]);
	close(listener);
}

/* Two seconds of one go into the look-up: then there is one attempt, and none after it. */
static void the_time_of_retry_counts_from_the_start(void **state)
{
	struct opening opening = opening_of("tcp:slow:%u,retry=1", net_free_port(SOCK_STREAM));

	(void)state;
	is_fast = is_served = true;
	assert_int_equal(opening_run(&opening), -ECONNREFUSED);
	assert_true(ahead_ns < (int64_t)3 * NS_PER_S);
}

static void a_name_service_without_an_answer_is_no_timeout(void **state)
{
	struct opening opening = opening_of("tcp:nobody:80,timeout=60");

	(void)state;
	assert_int_equal(opening_run(&opening), -EHOSTUNREACH);
	assert_string_equal(opening.why, "the name service does not answer");
}

/* --- What is left behind ------------------------------------------------------------------------------------------ */

static void leave_look_ups(unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		struct opening opening = opening_of("udp:gate:9,timeout=0");

		assert_int_equal(opening_run(&opening), -ETIMEDOUT);
	}
}

static void look_ups_that_are_left_behind_are_bounded(void **state)
{
	struct opening more = opening_of("udp:now:9"), numeric = opening_of("udp:127.0.0.1:9");

	(void)state;
	leave_look_ups(LEFT_MAX);
	assert_int_equal(opening_run(&more), -EAGAIN);
	assert_string_equal(more.why, "too many look-ups before it still wait for the name service");
	assert_int_equal(opening_run(&numeric), 0);
	drop(&numeric.file);
	sem_post(&answers);
	while (opening_run(&more) == -EAGAIN)
		sched_yield();
	assert_non_null(more.file);
	drop(&more.file);
}

static void an_answer_may_come_at_the_moment_to_give_up(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct opening opening = opening_of("udp:now:9,timeout=0.%06u", i % 200);
		ssize_t ret = opening_run(&opening);

		assert_true(ret == 0 || ret == -ETIMEDOUT || ret == -EAGAIN);
		if (ret == 0)
			drop(&opening.file);
	}
}

/* Its threads are not there, and its look-ups do not wait for them. */
static void a_child_has_left_nothing_behind(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (!CAN_FORK_BESIDE_THREADS)
		skip();
	leave_look_ups(LEFT_MAX);
	pid = fork();
	if (pid == 0) {
		struct opening opening = opening_of("udp:now:9");

		end_child(opening_run(&opening) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void a_process_may_end_before_its_look_ups(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	if (!CAN_FORK_BESIDE_THREADS)
		skip();
	pid = fork();
	if (pid == 0) {
		leave_look_ups(1);
		exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- The relay ------------------------------------------------------------------------------------------------------ */

#define RELAY_LOOKUP_NS ((int64_t)15 * NS_PER_S)

static void a_relay_does_not_wait_for_ever_for_an_address(void **state)
{
	static const char *const good[] = {"127.0.0.1:9"}, *const bad[] = {"127.0.0.1:9", "gate:9"};
	const struct usp_relay_params params = {.size = sizeof(params), .source = "gate"};
	struct usp_relay_target_status status = {.size = sizeof(status)};
	struct usp_relay *relay = NULL;
	unsigned failed = 7;
	const char *why;

	(void)state;
	is_fast = true;
	assert_int_equal(usp_relay_new(&params, &relay), -ETIMEDOUT);
	assert_int_equal(usp_relay_new(NULL, &relay), 0);
	assert_int_equal(usp_relay_listen(relay, "gate:0", &why), -ETIMEDOUT);
	assert_string_equal(why, "the name service did not answer in time");
	assert_int_equal(usp_relay_serve_metrics(relay, "gate:0", &why), -ETIMEDOUT);
	assert_int_equal(usp_relay_set_targets(relay, good, 1, NULL, NULL), 0);
	assert_int_equal(usp_relay_set_targets(relay, bad, 2, &failed, &why), -ETIMEDOUT);
	assert_string_equal(why, "the name service did not answer in time");
	assert_int_equal(failed, 1);
	assert_int_equal(usp_relay_target_status(relay, 0, &status), 0);
	assert_string_equal(status.name, good[0]);
	assert_true(last_wait_ns > RELAY_LOOKUP_NS - NS_PER_S && last_wait_ns <= RELAY_LOOKUP_NS);
	usp_relay_free(relay);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TIMED(a_numeric_address_is_not_looked_up),
		TIMED(a_name_is_looked_up_in_a_thread_that_takes_no_signals),
		TIMED(a_service_by_name_is_a_look_up),
		TIMED(a_look_up_ends_with_the_timeout),
		TIMED(no_time_at_all_is_enough_for_a_numeric_address_only),
		TIMED(a_signal_ends_a_look_up),
		TIMED(one_timeout_is_for_look_up_and_connection_together),
		TIMED(the_time_of_retry_counts_from_the_start),
		TIMED(a_name_service_without_an_answer_is_no_timeout),
		TIMED(look_ups_that_are_left_behind_are_bounded),
		TIMED(an_answer_may_come_at_the_moment_to_give_up),
		TIMED(a_child_has_left_nothing_behind),
		TIMED(a_process_may_end_before_its_look_ups),
		TIMED(a_relay_does_not_wait_for_ever_for_an_address),
	};

	return cmocka_run_group_tests(tests, find_real, NULL);
}
