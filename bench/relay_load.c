/* SPDX-License-Identifier: MIT */
/*
 * relay_load - the load for a relay: a client before it and a sink behind it, a process each, and a control.
 *
 *   relay_load real|light CONNECTIONS SECONDS FILE  bulk in one direction; light sends FILE and discards
 *   relay_load messages BYTES CONNECTIONS SECONDS   a request and an answer of BYTES, one at a time on each connection
 *   relay_load connections BYTES PARALLEL SECONDS   the same with a connection for each request
 *   relay_load idle BYTES CONNECTIONS               quiet connections, then one request on each
 *   relay_load trickle SECONDS                      single bytes towards a sink that does not read
 *
 * It says a word for each stage, and goes on when it reads a line: "target PORT" is answered with the relay's port;
 * "begin", "idle", "used" and "end" give the driver the time to look at the relay. The end comes with what was counted.
 */
#include <netinet/in.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay_load.h"

#define LOAD_BACKLOG 4096
#define LOAD_READY_SECONDS 60
#define LOAD_WARM_SECONDS 0.3

struct load_moment {
	double now, cpu;
	uint64_t nr_bytes, nr_done, nr_failed;
};

static pid_t load_children[2];

static int load_listen(unsigned *ret_port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = (int)bench_check(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"), one = 1;
	socklen_t len = sizeof(addr);

	bench_check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), "TCP_NODELAY");
	bench_check(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), "bind");
	bench_check(listen(fd, LOAD_BACKLOG), "listen");
	bench_check(getsockname(fd, (struct sockaddr *)&addr, &len), "getsockname");
	*ret_port = ntohs(addr.sin_port);
	return fd;
}

static struct load_shared *load_share(void)
{
	void *shared =
		mmap(NULL, sizeof(struct load_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (shared == MAP_FAILED)
		bench_die("mmap", errno);
	return shared;
}

/* An end of the load has given up and has said why. */
static void load_child_ended(int number)
{
	(void)number;
	_exit(1);
}

static pid_t load_fork(void)
{
	pid_t pid = (pid_t)bench_check(fork(), "fork");

	if (pid == 0) {
		signal(SIGCHLD, SIG_DFL);
		bench_check(prctl(PR_SET_PDEATHSIG, SIGKILL), "PR_SET_PDEATHSIG");
	}
	return pid;
}

/* Say a stage and wait until the driver has done its part; what it said is a number or nothing. */
static unsigned load_stage(const char *stage)
{
	char line[64];

	printf("%s\n", stage);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
	return (unsigned)strtoul(line, NULL, 10);
}

static void load_pause(double seconds)
{
	struct timespec left = {.tv_sec = (time_t)seconds,
				.tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};

	nanosleep(&left, NULL);
}

static void load_await_ready(const struct load_shared *shared)
{
	double limit = bench_now() + LOAD_READY_SECONDS;

	while (!atomic_load(&shared->is_ready)) {
		if (bench_now() > limit) {
			fprintf(stderr, "only %ju connections came through\n",
				(uintmax_t)atomic_load(&shared->nr_accepted));
			exit(1);
		}
		load_pause(0.001);
	}
}

static void load_await_done(const struct load_shared *shared, unsigned nr_done)
{
	double limit = bench_now() + LOAD_READY_SECONDS;

	while (atomic_load(&shared->nr_done) < nr_done) {
		if (bench_now() > limit)
			bench_die("answers", ETIMEDOUT);
		load_pause(0.001);
	}
}

static struct load_moment load_look(const struct load_shared *shared)
{
	struct load_moment moment = {
		.now = bench_now(),
		.nr_bytes = atomic_load(&shared->nr_bytes),
		.nr_done = atomic_load(&shared->nr_done),
		.nr_failed = atomic_load(&shared->nr_failed),
	};

	for (unsigned i = 0; i < 2; i++) {
		struct timespec used;
		clockid_t clock;

		if (clock_getcpuclockid(load_children[i], &clock) == 0 && clock_gettime(clock, &used) == 0)
			moment.cpu += (double)used.tv_sec + (double)used.tv_nsec / 1e9;
	}
	return moment;
}

/* The latency that a share of all requests did not exceed, in microseconds. */
static double load_percentile(const struct load_shared *shared, double share)
{
	uint64_t total = 0, seen = 0;
	unsigned i, shift;

	for (i = 0; i < LOAD_NR_BUCKETS; i++)
		total += shared->latency[i];
	for (i = 0; i < LOAD_NR_BUCKETS; i++) {
		seen += shared->latency[i];
		if (seen > 0 && (double)seen >= share * (double)total)
			break;
	}
	if (total == 0)
		return 0;
	shift = i >> LOAD_SUB_BITS ? (i >> LOAD_SUB_BITS) - 1 : 0;
	return (double)((uint64_t)(i - (shift << LOAD_SUB_BITS)) << shift) / 1e3;
}

static void load_report(const struct load_shared *shared, const struct load_moment *from, const struct load_moment *to)
{
	char line[512];

	snprintf(
		line, sizeof(line),
		"end {\"seconds\": %.6f, \"cpu\": %.6f, \"bytes\": %ju, \"done\": %ju, \"failed\": %ju, \"p50\": %.1f, "
		"\"p90\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f, \"congestion\": \"%s %s\"}",
		to->now - from->now, to->cpu - from->cpu, (uintmax_t)(to->nr_bytes - from->nr_bytes),
		(uintmax_t)(to->nr_done - from->nr_done), (uintmax_t)(to->nr_failed - from->nr_failed),
		load_percentile(shared, 0.5), load_percentile(shared, 0.9), load_percentile(shared, 0.99),
		load_percentile(shared, 0.999), shared->client_congestion, shared->sink_congestion);
	load_stage(line);
}

/* What runs all the time is looked at for a while. */
static void load_measure(const struct load_plan *plan, struct load_shared *shared)
{
	struct load_moment from, to;

	load_await_ready(shared);
	load_pause(LOAD_WARM_SECONDS);
	load_stage("begin");
	atomic_store(&shared->phase, LOAD_MEASURE);
	from = load_look(shared);
	load_pause(plan->seconds);
	to = load_look(shared);
	atomic_store(&shared->phase, LOAD_DONE);
	load_report(shared, &from, &to);
}

static void load_measure_idle(const struct load_plan *plan, struct load_shared *shared)
{
	struct load_moment from = load_look(shared), to;

	load_await_ready(shared);
	load_stage("idle");
	atomic_store(&shared->phase, LOAD_MEASURE);
	load_await_done(shared, plan->nr_connections);
	load_stage("used");
	to = load_look(shared);
	load_report(shared, &from, &to);
}

/* The length of a message: "mix", or a number of bytes with room for the length itself. */
static bool load_parse_len(const char *text, struct load_plan *plan)
{
	plan->message_len = strcmp(text, "mix") == 0 ? 0 : bench_bytes(text);
	return plan->message_len <= LOAD_PIECE_BYTES &&
	       (!plan->message_len || plan->message_len >= sizeof(load_header));
}

static bool load_parse(int argc, char **argv, struct load_plan *plan)
{
	const char *kind = argc > 2 ? argv[1] : "";

	*plan = (struct load_plan){.nr_connections = 1, .message_len = 1};
	if ((strcmp(kind, "real") == 0 || strcmp(kind, "light") == 0) && argc == 5) {
		plan->kind = strcmp(kind, "real") == 0 ? LOAD_REAL : LOAD_LIGHT;
		plan->nr_connections = (unsigned)bench_bytes(argv[2]);
		plan->seconds = strtod(argv[3], NULL);
		plan->path = argv[4];
		return true;
	}
	if ((strcmp(kind, "messages") == 0 || strcmp(kind, "connections") == 0) && argc == 5) {
		plan->kind = strcmp(kind, "messages") == 0 ? LOAD_MESSAGES : LOAD_CONNECTIONS;
		plan->nr_connections = (unsigned)bench_bytes(argv[3]);
		plan->seconds = strtod(argv[4], NULL);
		return load_parse_len(argv[2], plan) && (plan->message_len || plan->kind == LOAD_MESSAGES);
	}
	if (strcmp(kind, "idle") == 0 && argc == 4) {
		plan->kind = LOAD_IDLE;
		plan->nr_connections = (unsigned)bench_bytes(argv[3]);
		return load_parse_len(argv[2], plan) && plan->message_len;
	}
	if (strcmp(kind, "trickle") == 0 && argc == 3) {
		plan->kind = LOAD_TRICKLE;
		plan->seconds = strtod(argv[2], NULL);
		return true;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct load_shared *shared = load_share();
	struct load_plan plan;
	unsigned sink_port, relay_port;
	char target[32];
	int listener;

	if (!load_parse(argc, argv, &plan))
		bench_die("relay_load", EINVAL);
	listener = load_listen(&sink_port);
	signal(SIGCHLD, load_child_ended);
	load_children[0] = load_fork();
	if (load_children[0] == 0)
		load_sink(&plan, shared, listener);
	snprintf(target, sizeof(target), "target %u", sink_port);
	relay_port = load_stage(target);
	load_children[1] = load_fork();
	if (load_children[1] == 0)
		load_client(&plan, shared, relay_port ? relay_port : sink_port, sink_port);
	if (plan.kind == LOAD_IDLE)
		load_measure_idle(&plan, shared);
	else
		load_measure(&plan, shared);
	signal(SIGCHLD, SIG_DFL);
	return 0;
}
