/* SPDX-License-Identifier: MIT */
/* relay - what a caller holds: configuration, targets, the run of all workers, and their status. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/addr.h"
#include "base/alloc.h"
#include "base/cidr.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sized.h"
#include "base/sys.h"
#include "base/thread.h"
#include "endpoints/stream_address.h"
#include "lanes/kpipe.h"
#include "relay/accept.h"
#include "relay/account.h"
#include "relay/door.h"
#include "relay/keepalive.h"
#include "relay/run.h"
#include "relay/sockaddr.h"
#include "relay/state.h"
#include "relay/worker.h"
#include "splice/file.h"
#include "splice/zerocopy.h"

#define RELAY_BACKLOG 4096
#define RELAY_MODE_MAX 0777
#define RELAY_NS_PER_S 1000000000u
#define RELAY_IPV6_BITS 64 /* the network of one host or customer, which may use any address in it */
#define RELAY_CONNECT_TIMEOUT_NS (5 * (uint64_t)RELAY_NS_PER_S)
#define RELAY_RETRY_AFTER_NS (5 * (uint64_t)RELAY_NS_PER_S)
#define RELAY_RESOLVE_AFTER_NS (30 * (uint64_t)RELAY_NS_PER_S)

/* --- Life ---------------------------------------------------------------------------------------------- */

static bool relay_can(const struct usp_relay_params *params)
{
	const uint64_t times_ns[] = {params->connect_timeout_ns, params->idle_timeout_ns, params->exit_idle_ns,
				     params->drain_timeout_ns,	 params->retry_after_ns,  params->resolve_after_ns,
				     params->accept_rate_ns};

	for (unsigned i = 0; i < usp_array_len(times_ns); i++) {
		if (times_ns[i] > INT64_MAX) /* it is added to the clock */
			return false;
	}
	return usp_keepalive_can(params) && params->nr_workers <= USP_RELAY_WORKERS_MAX && params->backlog <= INT_MAX &&
	       params->unix_mode <= RELAY_MODE_MAX && params->proxy_send <= 2 && params->ipv6_bits <= 128 &&
	       (unsigned)params->balance <= USP_BALANCE_SOURCE && (unsigned)params->lane <= USP_LANE_USER;
}

static void relay_set_defaults(struct usp_relay_params *params)
{
	params->backlog = params->backlog ? params->backlog : RELAY_BACKLOG;
	if (!params->connect_timeout_ns)
		params->connect_timeout_ns = RELAY_CONNECT_TIMEOUT_NS;
	if (!params->retry_after_ns)
		params->retry_after_ns = RELAY_RETRY_AFTER_NS;
	if (!params->resolve_after_ns)
		params->resolve_after_ns = RELAY_RESOLVE_AFTER_NS;
	if (!params->accept_rate_ns)
		params->accept_rate_ns = RELAY_NS_PER_S;
	if (!params->ipv6_bits)
		params->ipv6_bits = RELAY_IPV6_BITS;
}

/* Try the source and the mark, so that a kernel that refuses them fails now and not at every connection. */
static int relay_try_source(const struct usp_relay *relay)
{
	const struct addrinfo *source = relay->source;
	int fd, ret = 0;

	if (!source && !relay->params.mark)
		return 0;
	fd = usp_sys_socket(source ? source->ai_family : AF_INET, SOCK_STREAM, 0);
	if (fd < 0)
		return fd;
	if (relay->params.mark)
		ret = usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_MARK, (int)relay->params.mark);
	if (ret == 0 && source)
		ret = usp_sockaddr_bind(fd, source);
	usp_sys_close(fd);
	return ret;
}

static int relay_make_limits(struct usp_relay *relay)
{
	const struct usp_limits_params params = {
		.connections = relay->params.connections_per_address,
		.rate = relay->params.accept_rate,
		.rate_ns = relay->params.accept_rate_ns,
		.ipv6_bits = relay->params.ipv6_bits,
	};

	return usp_limits_new(&params, &relay->limits);
}

static int relay_init(struct usp_relay *relay, unsigned nr_workers)
{
	int ret;

	relay_set_defaults(&relay->params);
	pthread_mutex_init(&relay->lock, NULL);
	relay->process = usp_own_nr();
	ret = usp_resolver_init(&relay->resolver, relay);
	relay->keeper_fd = -1;
	relay->rights = (struct usp_name_rights){
		.mode = relay->params.unix_mode,
		.user = relay->params.unix_user,
		.group = relay->params.unix_group,
		.has_user = relay->params.has_unix_user,
		.has_group = relay->params.has_unix_group,
	};
	relay->shared_rate.per_second = relay->params.rate_total;
	if (ret == 0 && relay->params.source)
		ret = usp_sockaddr_resolve_source(relay->params.source, &relay->source);
	relay->params.source = NULL; /* it is the caller's text */
	if (ret == 0)
		ret = relay_try_source(relay);
	if (ret == 0 && (relay->params.connections_per_address || relay->params.accept_rate))
		ret = relay_make_limits(relay);
	for (unsigned i = 0; i < nr_workers && ret == 0; i++) {
		relay->nr_workers = i + 1;
		ret = usp_worker_init(&relay->workers[i], relay);
		if (ret == 0)
			ret = usp_accept_init(&relay->workers[i]);
	}
	return ret;
}

int usp_relay_new(const struct usp_relay_params *params, struct usp_relay **ret_relay)
{
	struct usp_relay_params own = {.size = sizeof(own)};
	int ret = params ? usp_sized_take(&own, sizeof(own), params) : 0;
	unsigned nr_workers = own.nr_workers ? own.nr_workers : 1;
	struct usp_relay *relay;

	if (ret < 0 || !relay_can(&own))
		return ret < 0 ? ret : -EINVAL;
	relay = usp_alloc(sizeof(*relay) + nr_workers * sizeof(relay->workers[0]));
	if (!relay)
		return -ENOMEM;
	relay->params = own;
	ret = relay_init(relay, nr_workers);
	if (ret < 0) {
		usp_relay_free(relay);
		return ret;
	}
	*ret_relay = relay;
	return 0;
}

static void relay_close_metrics_doors(struct usp_relay *relay)
{
	while (relay->nr_metrics_doors)
		usp_door_close(&relay->metrics_doors[--relay->nr_metrics_doors]);
}

void usp_relay_free(struct usp_relay *relay)
{
	if (!relay)
		return;
	usp_relay_call_keeper(relay);
	usp_metrics_free(relay->metrics);
	relay_close_metrics_doors(relay);
	for (unsigned i = 0; i < relay->nr_workers; i++) {
		usp_handover_fini(&relay->workers[i]);
		usp_worker_fini(&relay->workers[i]);
	}
	for (unsigned i = 0; i < relay->nr_listeners; i++)
		usp_door_close(&relay->listeners[i]);
	usp_targets_put(relay->targets);
	usp_resolver_fini(&relay->resolver);
	usp_rules_put(relay->rules);
	usp_limits_free(relay->limits);
	usp_stream_resolve_free(relay->source);
	usp_free(relay->proxy_from);
	pthread_mutex_destroy(&relay->lock);
	usp_free(relay);
}

/* --- Where it listens and what it connects to ------------------------------------------------------------ */

/* Set options that accepted sockets inherit. */
static void relay_prepare_tcp(const struct usp_relay *relay, const struct usp_door *door)
{
	usp_sys_setsockopt_int(door->fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (door->process)
		usp_keepalive_set(door->fd, &relay->params);
	else
		usp_keepalive_set_passed(door->fd, &relay->params);
}

static int relay_add_listener(struct usp_relay *relay, const struct usp_door *door, const char **ret_why)
{
	unsigned index = relay->nr_listeners;
	int ret;

	if (index == USP_RELAY_LISTENERS_MAX || relay->has_run)
		return -EINVAL;
	relay->listener_is_tcp[index] = door->address.ss_family != AF_UNIX;
	relay->listeners[relay->nr_listeners++] = *door;
	ret = usp_resolver_check(&relay->resolver, ret_why);
	if (ret < 0)
		relay->nr_listeners = index;
	else if (relay->listener_is_tcp[index])
		relay_prepare_tcp(relay, door);
	return ret;
}

int usp_relay_listen_fd(struct usp_relay *relay, int fd)
{
	struct usp_door door;
	const char *why;
	int ret = usp_door_adopt(fd, &door);

	return ret < 0 ? ret : relay_add_listener(relay, &door, &why);
}

int usp_relay_listen(struct usp_relay *relay, const char *address, const char **ret_why)
{
	const char *why = NULL;
	struct usp_door doors[USP_DOORS_MAX];
	unsigned nr_before = relay->nr_listeners;
	int nr = usp_door_listen(address, &relay->rights, (int)relay->params.backlog, doors, &why),
	    ret = nr < 0 ? nr : 0;

	for (int i = 0; i < nr; i++) {
		if (ret == 0)
			ret = relay_add_listener(relay, &doors[i], &why);
		if (ret < 0)
			usp_door_close(&doors[i]);
	}
	if (ret == -ELOOP)
		why = "a target is this very address";
	while (ret < 0 && relay->nr_listeners > nr_before)
		usp_door_close(&relay->listeners[--relay->nr_listeners]);
	if (ret < 0 && ret_why)
		*ret_why = why;
	return ret;
}

int usp_relay_accept_proxy(struct usp_relay *relay, const char *blocks, const char **ret_why)
{
	struct usp_cidr_list *from;
	const char *why = NULL;
	int ret = usp_cidr_list_parse(blocks, &from, &why);

	if (ret < 0) {
		if (ret_why)
			*ret_why = why;
		return ret;
	}
	usp_free(relay->proxy_from);
	relay->proxy_from = from;
	relay->params.proxy_accept = true;
	return 0;
}

static int relay_make_metrics(struct usp_relay *relay)
{
	const struct usp_metrics_source source = usp_reporter_source(&relay->reporter);
	int fds[USP_DOORS_MAX];

	static_assert(USP_DOORS_MAX <= USP_METRICS_DOORS_MAX, "the server takes all doors of an address");
	for (unsigned i = 0; i < relay->nr_metrics_doors; i++)
		fds[i] = relay->metrics_doors[i].fd;
	relay->reporter.relay = relay;
	return usp_metrics_new(&source, fds, relay->nr_metrics_doors, &relay->metrics);
}

int usp_relay_serve_metrics(struct usp_relay *relay, const char *address, const char **ret_why)
{
	const char *why = NULL;
	int nr, ret = -EINVAL;

	if (!relay->metrics) {
		nr = usp_door_listen(address, &relay->rights, RELAY_BACKLOG, relay->metrics_doors, &why);
		relay->nr_metrics_doors = nr < 0 ? 0 : (unsigned)nr;
		ret = nr < 0 ? nr : relay_make_metrics(relay);
		if (ret < 0)
			relay_close_metrics_doors(relay);
	}
	if (ret < 0 && ret_why)
		*ret_why = why;
	return ret;
}

int usp_relay_add_metrics_host(struct usp_relay *relay, const char *name, const char **ret_why)
{
	const char *why = NULL;
	int ret = relay->metrics ? usp_metrics_add_host(relay->metrics, name, &why) : -EINVAL;

	if (ret < 0 && ret_why)
		*ret_why = why;
	return ret;
}

static int relay_told(int ret, unsigned failed, const char *why, unsigned *ret_failed, const char **ret_why)
{
	if (ret < 0 && ret_failed)
		*ret_failed = failed;
	if (ret < 0 && ret_why)
		*ret_why = why;
	return ret;
}

int usp_relay_set_targets(struct usp_relay *relay, const char *const *addresses, unsigned nr_targets,
			  unsigned *ret_failed, const char **ret_why)
{
	const char *why = NULL;
	unsigned failed = 0;
	int ret = usp_resolver_set(&relay->resolver, addresses, nr_targets, &failed, &why);

	return relay_told(ret, failed, why, ret_failed, ret_why);
}

int usp_relay_name_targets(struct usp_relay *relay, const char *const *addresses, unsigned nr_targets,
			   unsigned *ret_failed, const char **ret_why)
{
	const char *why = NULL;
	unsigned failed = 0;
	int ret = usp_resolver_name(&relay->resolver, addresses, nr_targets, &failed, &why);

	return relay_told(ret, failed, why, ret_failed, ret_why);
}

int usp_relay_set_rules(struct usp_relay *relay, const char *const *rules, unsigned nr_rules, unsigned *ret_failed,
			const char **ret_why)
{
	struct usp_rules *made, *old;
	const char *why = NULL;
	unsigned failed = 0;
	int ret = usp_rules_new(rules, nr_rules, &made, &failed, &why);

	if (ret < 0)
		return relay_told(ret, failed, why, ret_failed, ret_why);
	pthread_mutex_lock(&relay->lock);
	old = relay->rules;
	relay->rules = made;
	atomic_fetch_add_explicit(&relay->rules_version, 1, memory_order_release);
	pthread_mutex_unlock(&relay->lock);
	usp_rules_put(old);
	return 0;
}

static ssize_t relay_print_address(int fd, char *ret_text, size_t len)
{
	struct sockaddr_storage address;
	socklen_t address_len = sizeof(address);
	int ret = usp_sys_getsockname(fd, (struct sockaddr *)&address, &address_len);

	if (ret < 0)
		return ret;
	return (ssize_t)usp_addr_print((struct sockaddr *)&address, address_len, ret_text, len);
}

ssize_t usp_relay_address(struct usp_relay *relay, unsigned index, char *ret_text, size_t len)
{
	return index < relay->nr_listeners ? relay_print_address(relay->listeners[index].fd, ret_text, len) : -EINVAL;
}

ssize_t usp_relay_metrics_address(struct usp_relay *relay, char *ret_text, size_t len)
{
	return relay->metrics ? relay_print_address(relay->metrics_doors[0].fd, ret_text, len) : -EINVAL;
}

/* --- Names that outlive the right to remove them ---------------------------------------------------------------- */

int usp_relay_set_keeper(struct usp_relay *relay, int fd)
{
	if (relay->has_run || relay->keeper_fd >= 0)
		return -EINVAL;
	relay->keeper_fd = fd;
	return 0;
}

static void relay_for_doors(struct usp_relay *relay, void (*act)(struct usp_door *door))
{
	for (unsigned i = 0; i < relay->nr_listeners; i++)
		act(&relay->listeners[i]);
	for (unsigned i = 0; i < relay->nr_metrics_doors; i++)
		act(&relay->metrics_doors[i]);
}

/* The sockets with a name stay open here: so their inode numbers are not given to other files. */
int usp_relay_keep_names(struct usp_relay *relay, int fd)
{
	struct pollfd end = {.fd = fd, .events = POLLIN};
	int ret;

	if (relay->process == usp_own_nr())
		return -EINVAL;
	relay_for_doors(relay, usp_door_keep);
	do
		ret = usp_sys_poll(&end, 1, -1);
	while (ret == -EINTR);
	relay_for_doors(relay, usp_door_remove);
	return ret < 0 ? ret : 0;
}

/* --- The run ----------------------------------------------------------------------------------------------- */

bool usp_relay_is_turning(struct usp_relay *relay)
{
	unsigned asked = atomic_load(&relay->nr_asked);
	bool is_turning = true;

	for (unsigned i = 0; i < relay->nr_workers; i++) {
		struct usp_worker *worker = &relay->workers[i];

		if (atomic_load(&worker->is_running) && atomic_load(&worker->nr_answered) != asked)
			is_turning = false;
	}
	if (is_turning) /* otherwise the last question still waits for its answers */
		atomic_store(&relay->nr_asked, asked + 1);
	usp_relay_wake(relay);
	return is_turning;
}

static void *relay_run_worker(void *arg)
{
	struct usp_worker *worker = arg;

	worker->error = usp_run_worker(worker);
	if (worker->error < 0)
		usp_relay_stop(worker->relay);
	return NULL;
}

/* Start the other workers. */
static int relay_start_workers(struct usp_relay *relay)
{
	int ret = 0;

	for (unsigned i = 1; i < relay->nr_workers && ret == 0; i++) {
		struct usp_worker *worker = &relay->workers[i];

		ret = usp_thread_start(&worker->thread, relay_run_worker, worker);
		worker->has_thread = ret == 0;
	}
	return ret;
}

static int relay_join_workers(struct usp_relay *relay, int error)
{
	for (unsigned i = 1; i < relay->nr_workers; i++) {
		struct usp_worker *worker = &relay->workers[i];

		if (!worker->has_thread)
			continue;
		pthread_join(worker->thread, NULL);
		worker->has_thread = false;
		error = error ? error : worker->error;
	}
	return error;
}

int usp_relay_run(struct usp_relay *relay)
{
	int ret;

	if (relay->has_run || !relay->nr_listeners)
		return -EINVAL;
	if (relay->process != usp_own_nr())
		return -ESTALE; /* the loops have the epoll instances of the parent */
	relay->has_run = true;
	atomic_store(&relay->busy_ns, usp_sys_now_ns());
	if (relay->metrics)
		usp_reporter_begin(&relay->reporter, usp_loop_now(relay->workers[0].loop));
	ret = relay->metrics ? usp_metrics_start(relay->metrics, relay->workers[0].loop) : 0;
	if (ret == 0)
		ret = usp_resolver_begin(&relay->resolver);
	if (ret == 0)
		ret = relay_start_workers(relay);
	if (ret == 0)
		ret = usp_run_worker(&relay->workers[0]);
	if (ret < 0)
		usp_relay_stop(relay);
	ret = relay_join_workers(relay, ret);
	usp_resolver_end(&relay->resolver);
	usp_metrics_free(relay->metrics); /* before its loop */
	relay->metrics = NULL;
	relay_close_metrics_doors(relay);
	return ret;
}

/* --- Status -------------------------------------------------------------------------------------------- */
