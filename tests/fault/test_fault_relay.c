/* SPDX-License-Identifier: MIT */
/*
 * test_fault_relay - a connection through a relay, with everything failing in turn. Both sides get all bytes, or each gets
 * a beginning of them and is told that it was cut short; what says "try again" costs nothing; and then the relay serves the
 * next client as if nothing had been.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <usplice/relay.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "event/sched.h"
#include "fault.h"
#include "support.h"

#define CHUNK 50000
#define SHORT_LEN 20001
#define TEXT_ROOM 128
#define HASTE 10	/* in waits of the relay: else most of the test would be pauses before a retry */
#define PATIENCE_MS 20	/* with a fault that does not pass by itself */
#define HESITATION_MS 2 /* of a client that is to send a header: the relay has heard by then that it may write to it */
#define TRIES_MAX 20	/* of the relay to get through to the target, with such a fault */
#define WAITS_MAX 150	/* in a row, until nothing will happen any more */
#define NS_PER_MS UINT64_C(1000000)
#define REAL_MS (HASTE * NS_PER_MS) /* of a wait */
#define HEADER "PROXY TCP4 192.0.2.1 198.51.100.7 1111 80\r\n"
#define HEADER_LEN (sizeof(HEADER) - 1)

static size_t stream_len, long_len = 120001;
static char folder[] = "/tmp/usplice-fault-XXXXXX";

struct setting {
	bool is_short; /* one piece will do */
	bool is_unix;
	bool is_by_name;      /* the target has to be looked up */
	bool is_named;	      /* and the relay does not wait for that before it begins */
	bool has_dead_target; /* in front of the one that lives */
	bool has_rules;	      /* which allow the client */
	struct usp_relay_params params;
};

/* A client or a target. What it sends begins with head; all else is the pattern, of which it takes the same. */
struct side {
	int fd;
	const char *head, *takes_head;
	size_t nr_sent, len, nr_taken, wanted;
	bool has_sent, has_ended; /* its own end, the other's */
	int error;
};

struct exchange {
	struct side client, server; /* server.fd is -1 until the relay has connected */
	bool is_stuck;		    /* nothing happened any more, and it was given up */
};

struct scene {
	const struct setting *setting;
	int listener, dead_fd; /* the target's; a port where nobody listens */
	char target[TEXT_ROOM], dead[TEXT_ROOM], address[TEXT_ROOM];
	struct usp_relay *relay;
	bool is_running;
	uint64_t nr_failed;   /* times that the target was to blame */
	pthread_mutex_t lock; /* of is_running */
	pthread_barrier_t begun;
	struct exchange first, second; /* with the fault, and after it */
};

/* --- Sockets -------------------------------------------------------------------------------------------------- */

static void remove_folder(void)
{
	char path[TEXT_ROOM];

	snprintf(path, sizeof(path), "%s/target", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/relay", folder);
	unlink(path);
	rmdir(folder);
}

static socklen_t address_of(const char *text, struct sockaddr_storage *ret_address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ret_address;
	struct sockaddr_un *un = (struct sockaddr_un *)ret_address;

	*ret_address = (struct sockaddr_storage){.ss_family = AF_INET};
	if (strncmp(text, "unix:", 5) == 0) {
		un->sun_family = AF_UNIX;
		snprintf(un->sun_path, sizeof(un->sun_path), "%s", text + 5);
		return sizeof(*un);
	}
	in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	in->sin_port = htons((uint16_t)atoi(strrchr(text, ':') + 1));
	return sizeof(*in);
}

static int open_bound(char text[TEXT_ROOM])
{
	struct sockaddr_storage address;
	socklen_t len = address_of(text, &address);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	fault_check(bind(fd, (struct sockaddr *)&address, len) == 0);
	if (address.ss_family == AF_UNIX)
		return fd;
	fault_check(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
	snprintf(text, TEXT_ROOM, "127.0.0.1:%u", ntohs(((struct sockaddr_in *)&address)->sin_port));
	return fd;
}

static void open_targets(struct scene *it)
{
	snprintf(it->dead, sizeof(it->dead), "127.0.0.1:0");
	snprintf(it->target, sizeof(it->target), it->setting->is_unix ? "unix:%s/target" : "127.0.0.1:0", folder);
	unlink(it->target + strlen("unix:"));
	it->dead_fd = open_bound(it->dead);
	it->listener = open_bound(it->target);
	fault_check(listen(it->listener, 8) == 0);
}

static int connect_client(const struct scene *it)
{
	struct sockaddr_storage address;
	socklen_t len = address_of(it->address, &address);
	int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&address, len) == 0)
		return fd;
	close(fd);
	return -1;
}

/*
 * A loop that hears events once relies on the kernel: "not now" is said only where an event follows. Of a connect it means
 * something else.
 */
static bool is_lie(const struct fault_hit *hit)
{
	const struct fault_plan *plan = &hit->plan;
	bool is_edge = plan->call == FAULT_usp_sys_splice || plan->call == FAULT_usp_sys_sendmsg ||
		       plan->call == FAULT_usp_sys_recvmsg || plan->call == FAULT_usp_sys_connect;

	return hit->has_fired && plan->error == EAGAIN && is_edge;
}

/* A signal, or the time, ends the look-up of a name, and the relay does not begin. */
static bool ends_look_up(const struct scene *it, const struct fault_hit *hit)
{
	return it->setting->is_by_name && !it->setting->is_named &&
	       ((hit->plan.call == FAULT_usp_sys_poll && hit->plan.error == EINTR) ||
		hit->plan.call == FAULT_usp_sys_now_ns);
}

/* --- One exchange --------------------------------------------------------------------------------------------- */

/* The byte at an offset of what a side sends. */
static unsigned char byte_at(const char *head, size_t off)
{
	size_t head_len = head ? strlen(head) : 0;

	return off < head_len ? (unsigned char)head[off] : pattern_at(off - head_len);
}

static void side_fail(struct side *side)
{
	side->error = errno;
	side->has_sent = side->has_ended = true;
}

static void side_send(struct side *side)
{
	static unsigned char bytes[CHUNK];
	size_t len = usp_min(side->len - side->nr_sent, sizeof(bytes));
	ssize_t ret;

	for (size_t i = 0; i < len; i++)
		bytes[i] = byte_at(side->head, side->nr_sent + i);
	ret = len ? send(side->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
	if (ret < 0 && errno != EAGAIN)
		side_fail(side);
	side->nr_sent += ret > 0 ? (size_t)ret : 0;
	if (ret < 0 || side->nr_sent < side->len)
		return;
	shutdown(side->fd, SHUT_WR);
	side->has_sent = true;
}

static void side_take(struct side *side)
{
	static unsigned char bytes[CHUNK];
	ssize_t ret = recv(side->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (ret < 0 && errno != EAGAIN)
		side_fail(side);
	side->has_ended |= ret == 0;
	for (ssize_t i = 0; i < ret; i++, side->nr_taken++) {
		if (bytes[i] != byte_at(side->takes_head, side->nr_taken)) {
			fault_complain("byte %zu is another's", side->nr_taken);
			return;
		}
	}
}

static bool side_is_done(const struct side *side)
{
	return side->fd < 0 || (side->has_sent && side->has_ended);
}

static struct pollfd side_poll(const struct side *side)
{
	return (struct pollfd){
		.fd = side_is_done(side) ? -1 : side->fd,
		.events = (side->has_sent ? 0 : POLLOUT) | (side->has_ended ? 0 : POLLIN),
	};
}

static void side_go(struct side *side, int revents)
{
	if (revents & (POLLOUT | POLLERR) && !side->has_sent)
		side_send(side);
	if (revents & (POLLIN | POLLHUP | POLLERR) && !side->has_ended)
		side_take(side);
}

/* The bytes that each side should get, with the header where it is passed on. */
static void exchange_prepare(struct exchange *exchange, const struct scene *it)
{
	const struct usp_relay_params *params = &it->setting->params;

	exchange->server = (struct side){.fd = -1, .len = stream_len, .wanted = stream_len};
	exchange->client = exchange->server;
	if (params->proxy_accept) {
		exchange->client.head = HEADER;
		exchange->client.len += HEADER_LEN;
	}
	if (params->proxy_send) {
		exchange->server.takes_head = HEADER;
		exchange->server.wanted += HEADER_LEN;
	}
}

/* Tell whether the relay opened a connection and gave it up before it had anything to say: another may come. */
static bool exchange_forget_server(struct exchange *exchange, const struct scene *it)
{
	struct exchange fresh;

	if (exchange->server.fd < 0 || !side_is_done(&exchange->server) || exchange->server.nr_taken)
		return false;
	close(exchange->server.fd);
	exchange_prepare(&fresh, it);
	exchange->server = fresh.server;
	return true;
}

static unsigned exchange_patience(void)
{
	struct fault_hit hit = fault_hit();

	return is_lie(&hit) ? 6 : WAITS_MAX;
}

/* Until the client is done, and the target if it was reached. A fault that does not pass by itself passes after a while. */
static void exchange_go(struct exchange *exchange, const struct scene *it)
{
	struct side *client = &exchange->client, *server = &exchange->server;
	unsigned nr_waits = 0, nr_tries = 0;

	while (nr_waits < exchange_patience() && (!side_is_done(client) || !side_is_done(server))) {
		struct pollfd fds[] = {
			side_poll(client),
			side_poll(server),
			{.fd = server->fd < 0 ? it->listener : -1, .events = POLLIN},
		};

		nr_waits = poll(fds, usp_array_len(fds), PATIENCE_MS) ? 0 : nr_waits + 1;
		if ((nr_waits || nr_tries > TRIES_MAX) && fault_hit().has_fired)
			fault_disarm();
		side_go(client, fds[0].revents);
		side_go(server, fds[1].revents);
		if (fds[2].revents)
			server->fd = accept4(it->listener, NULL, NULL, SOCK_CLOEXEC);
		if (!side_is_done(client))
			nr_tries += exchange_forget_server(exchange, it);
	}
	exchange->is_stuck = nr_waits;
}

static void side_close(const struct side *side, bool is_reset)
{
	const struct linger linger = {.l_onoff = is_reset, .l_linger = 0};

	if (side->fd < 0)
		return;
	setsockopt(side->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(side->fd);
}

static void exchange_run(struct exchange *exchange, const struct scene *it)
{
	exchange_prepare(exchange, it);
	exchange->client.fd = connect_client(it);
	if (it->setting->params.proxy_accept)
		poll(NULL, 0, HESITATION_MS);
	exchange_go(exchange, it);
	side_close(&exchange->client, exchange->is_stuck);
	side_close(&exchange->server, exchange->is_stuck);
}

static bool side_has_all(const struct side *side)
{
	return !side->error && side->nr_sent == side->len && side->nr_taken == side->wanted;
}

static bool exchange_is_complete(const struct exchange *exchange)
{
	return side_has_all(&exchange->client) && side_has_all(&exchange->server);
}

/* --- The helper: it makes no call that may fail by plan --------------------------------------------------------- */

static bool is_busy(struct scene *it)
{
	struct usp_relay_status status = {.size = sizeof(status), .nr_connections = 0};

	pthread_mutex_lock(&it->lock);
	if (it->is_running)
		usp_relay_status(it->relay, &status);
	pthread_mutex_unlock(&it->lock);
	return status.nr_connections;
}

static void stop_relay(struct scene *it)
{
	pthread_mutex_lock(&it->lock);
	if (it->is_running)
		usp_relay_stop(it->relay);
	pthread_mutex_unlock(&it->lock);
}

/* What the relay opened for a client that has gone, and nobody accepted. */
static void forget_connections(const struct scene *it)
{
	int fd;

	while ((fd = accept4(it->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

static void *helper_run(void *arg)
{
	struct scene *it = arg;

	pthread_barrier_wait(&it->begun);
	if (!it->relay)
		return NULL;
	exchange_run(&it->first, it);
	while (is_busy(it))
		sched_yield();
	fault_disarm();
	forget_connections(it);
	exchange_run(&it->second, it);
	stop_relay(it);
	return NULL;
}

/* --- The scenario ------------------------------------------------------------------------------------------------ */

static int open_relay(struct scene *it)
{
	static const char *const rules[] = {"deny 192.0.2.0/24", "allow 127.0.0.0/8", "allow unix:"};
	char by_name[TEXT_ROOM];
	const char *targets[] = {it->dead, it->setting->is_by_name ? by_name : it->target};
	unsigned nr_dead = it->setting->has_dead_target ? 1 : 0;
	int ret = usp_relay_new(&it->setting->params, &it->relay);

	snprintf(by_name, sizeof(by_name), "localhost%s", strchr(it->target, ':'));
	snprintf(it->address, sizeof(it->address), it->setting->is_unix ? "unix:%s/relay" : "127.0.0.1:0", folder);
	if (ret == 0 && it->setting->params.proxy_accept)
		ret = usp_relay_accept_proxy(it->relay, "127.0.0.1,::1", NULL);
	if (ret == 0)
		ret = usp_relay_listen(it->relay, it->address, NULL);
	if (ret == 0 && it->setting->is_named)
		ret = usp_relay_name_targets(it->relay, &targets[1 - nr_dead], nr_dead + 1, NULL, NULL);
	else if (ret == 0)
		ret = usp_relay_set_targets(it->relay, &targets[1 - nr_dead], nr_dead + 1, NULL, NULL);
	if (ret == 0 && it->setting->has_rules)
		ret = usp_relay_set_rules(it->relay, rules, usp_array_len(rules), NULL, NULL);
	if (ret == 0)
		ret = (int)usp_relay_address(it->relay, 0, it->address, sizeof(it->address));
	if (ret < 0) {
		usp_relay_free(it->relay);
		it->relay = NULL;
	}
	return ret < 0 ? ret : 0;
}

static int run_relay(struct scene *it, struct usp_relay_status *ret_status)
{
	struct usp_relay_target_status target = {.size = sizeof(target)};
	int ret = open_relay(it);

	it->is_running = ret == 0;
	pthread_barrier_wait(&it->begun);
	if (ret < 0)
		return ret;
	ret = usp_relay_run(it->relay);
	pthread_mutex_lock(&it->lock);
	it->is_running = false;
	pthread_mutex_unlock(&it->lock);
	usp_relay_status(it->relay, ret_status);
	if (usp_relay_target_status(it->relay, 0, &target) == 0)
		it->nr_failed = target.nr_failed;
	usp_relay_free(it->relay);
	return ret;
}

/* Only a reset says that it was cut short; a relay that cannot ask for one, and a UNIX socket, know only the end. */
static void check_side(const struct scene *it, const struct side *side, const char *name)
{
	enum fault_call call = fault_hit().plan.call;

	if (side->fd < 0 || side->nr_taken == side->wanted || it->setting->is_unix || call == FAULT_usp_sys_setsockopt)
		return;
	if (!side->error)
		fault_complain("the %s got %zu bytes of %zu and then the end", name, side->nr_taken, side->wanted);
}

/* What this machine is short of is not the target's fault. */
static bool is_shortage(const struct fault_plan *plan)
{
	return plan->error == EMFILE || plan->error == ENFILE || plan->error == ENOBUFS || plan->error == ENOMEM ||
	       plan->error == EADDRNOTAVAIL || plan->error == EADDRINUSE;
}

static void check_scene(const struct scene *it, int ret, const struct usp_relay_status *status)
{
	struct fault_hit hit = fault_hit();
	bool is_excused = is_lie(&hit) || ends_look_up(it, &hit);
	bool is_late = hit.has_fired && hit.plan.call == FAULT_usp_sys_now_ns; /* its time-outs may be over */
	bool must_succeed = !hit.has_fired || (fault_is_transient(&hit.plan) && !is_excused && !is_late);

	fault_check(ret <= 0 && (ret == 0 || !must_succeed));
	fault_check(!is_late || ret == 0 || (ret == -ETIMEDOUT && is_excused));
	fault_check(!it->first.is_stuck || is_excused);
	if (!it->first.is_stuck) {
		check_side(it, &it->first.client, "client");
		check_side(it, &it->first.server, "target");
	}
	if (must_succeed)
		fault_check(exchange_is_complete(&it->first));
	if (ret < 0)
		return;
	fault_check(exchange_is_complete(&it->second));
	fault_check(status->nr_connections == 0 && status->nr_kernel_flows == 0);
	if (hit.has_fired && is_shortage(&hit.plan) && !it->setting->has_dead_target)
		fault_check(it->nr_failed == 0);
	if (exchange_is_complete(&it->first))
		fault_check(status->delivered[0] == 2 * stream_len && status->delivered[1] == 2 * stream_len);
}

static void run_setting(const void *arg)
{
	static struct scene scene;
	struct usp_relay_status status = {.size = sizeof(status)};
	pthread_t helper;
	int ret;

	scene = (struct scene){.setting = arg};
	stream_len = scene.setting->is_short ? SHORT_LEN : long_len;
	pthread_mutex_init(&scene.lock, NULL);
	pthread_barrier_init(&scene.begun, NULL, 2);
	open_targets(&scene);
	fault_check(pthread_create(&helper, NULL, helper_run, &scene) == 0);
	fault_arm();
	ret = run_relay(&scene, &status);
	fault_disarm();
	pthread_join(helper, NULL);
	pthread_barrier_destroy(&scene.begun);
	close(scene.listener);
	close(scene.dead_fd);
	check_scene(&scene, ret, &status);
}

/* It goes on as the thread that it is, and ends as it began. */
static void run_busy(const void *arg)
{
	static const uint64_t work_ns = 30 * NS_PER_MS, look_ns = 100 * NS_PER_MS;
	uint64_t now_ns = usp_sys_now_ns(), end_ns = usp_sys_thread_cpu_ns() + work_ns;
	struct usp_sched sched;

	(void)arg;
	fault_arm();
	usp_sched_begin(&sched, now_ns);
	while (usp_sys_thread_cpu_ns() < end_ns)
		;
	usp_sched_look(&sched, now_ns + look_ns, true);
	usp_sched_look(&sched, now_ns + 10 * look_ns, true);
	usp_sched_end(&sched);
	fault_disarm();
	fault_check(usp_sys_get_policy() == SCHED_OTHER || fault_hit().plan.is_sticky);
}

#define PARAMS(...)                                         \
	.params = {.size = sizeof(struct usp_relay_params), \
		   .retry_after_ns = 1,                     \
		   .connect_timeout_ns = 70 * REAL_MS,      \
		   __VA_ARGS__}
#define SETTING(...)                                       \
	.run = run_setting, .arg = &(const struct setting) \
	{                                                  \
		__VA_ARGS__                                \
	}

static const struct fault_scenario scenarios[] = {
	{.name = "a_connection_adapts", SETTING(PARAMS(.lane = USP_LANE_AUTO))},
	{.name = "a_connection_adapts_without_a_ring", SETTING(PARAMS(.lane = USP_LANE_AUTO, .no_uring = true))},
	{.name = "a_connection_inside_the_kernel", SETTING(PARAMS(.lane = USP_LANE_KERNEL))},
	{.name = "a_connection_in_memory", SETTING(PARAMS(.lane = USP_LANE_USER))},
	{.name = "a_connection_over_unix_sockets", SETTING(.is_unix = true, PARAMS(.lane = USP_LANE_AUTO))},
	{.name = "a_unix_socket_with_a_mode", SETTING(.is_short = true, .is_unix = true, PARAMS(.unix_mode = 0666))},
	{.name = "a_target_refuses", SETTING(.is_short = true, .has_dead_target = true, PARAMS(.lane = USP_LANE_AUTO))},
	{.name = "a_target_by_name", SETTING(.is_short = true, .is_by_name = true, PARAMS(.no_uring = true))},
	{.name = "a_target_that_is_named",
	 .run = run_setting,
	 .arg = &(const struct setting){.is_short = true,
					.is_by_name = true,
					.is_named = true,
					.params = {.size = sizeof(struct usp_relay_params),
						   .retry_after_ns = 1,
						   .connect_timeout_ns = 3000 * REAL_MS,
						   .no_uring = true}}},
	/* Time enough for the header also on a machine that is busy: the client may be a thread that waits for its turn. */
	{.name = "a_header_is_passed_on",
	 SETTING(.is_short = true, .params = {.size = sizeof(struct usp_relay_params),
					      .retry_after_ns = 1,
					      .connect_timeout_ns = 3000 * REAL_MS,
					      .proxy_accept = true,
					      .proxy_send = 1})},
	{.name = "a_connection_with_limits",
	 SETTING(.is_short = true, PARAMS(.rate = 1 << 26, .rate_total = 1 << 26, .idle_timeout_ns = 20000 * REAL_MS,
					  .connections_max = 1, .source = "127.0.0.1"))},
	{.name = "a_client_with_an_address",
	 SETTING(.is_short = true, .has_rules = true,
		 PARAMS(.connections_per_address = 2, .accept_rate = 100, .no_uring = true))},
	{.name = "a_busy_thread", .run = run_busy},
	{.name = "two_workers", SETTING(.is_short = true, PARAMS(.nr_workers = 2))},
};

int main(void)
{
	const char *len = getenv("USP_FAULT_BYTES");
	int ret;

	long_len = len ? strtoul(len, NULL, 0) : long_len;
	if (!mkdtemp(folder))
		return 1;
	fault_haste = HASTE;
	ret = fault_main(scenarios, usp_array_len(scenarios));
	remove_folder();
	return ret;
}
