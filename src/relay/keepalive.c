/* SPDX-License-Identifier: MIT */
/*
 * keepalive - how TCP finds out that a peer has vanished.
 *
 * A silent connection looks the same with and without a peer. After a time of silence the kernel
 * probes the peer (SO_KEEPALIVE), and a live peer answers, also with a closed window. While bytes
 * are on their way the kernel does not probe but sends them again, for about a quarter of an hour.
 * TCP_USER_TIMEOUT shortens that, and ends closed windows as well.
 */
#include "relay/keepalive.h"

#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "base/sys.h"

#define KEEPALIVE_NS_PER_S ((uint64_t)1000000000)
#define KEEPALIVE_NS_PER_MS ((uint64_t)1000000)
#define KEEPALIVE_S_MAX 32767 /* MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL */
#define KEEPALIVE_PROBES_MAX 127
#define KEEPALIVE_S 60
#define KEEPALIVE_INTERVAL_S 10
#define KEEPALIVE_PROBES 6

bool usp_keepalive_can(const struct usp_relay_params *params)
{
	return params->keepalive_ns <= KEEPALIVE_S_MAX * KEEPALIVE_NS_PER_S &&
	       params->keepalive_interval_ns <= KEEPALIVE_S_MAX * KEEPALIVE_NS_PER_S &&
	       params->keepalive_probes <= KEEPALIVE_PROBES_MAX &&
	       params->user_timeout_ns <= INT_MAX * KEEPALIVE_NS_PER_MS;
}

/* Convert to units of unit_ns, rounded up. */
static int keepalive_units(uint64_t len_ns, uint64_t unit_ns)
{
	return (int)((len_ns + unit_ns - 1) / unit_ns);
}

static int keepalive_seconds(uint64_t len_ns, int seconds)
{
	return len_ns ? keepalive_units(len_ns, KEEPALIVE_NS_PER_S) : seconds;
}

static void keepalive_ask(int fd, const struct usp_relay_params *params)
{
	int idle_s = keepalive_seconds(params->keepalive_ns, KEEPALIVE_S);
	int interval_s = keepalive_seconds(params->keepalive_interval_ns, KEEPALIVE_INTERVAL_S);
	int probes = params->keepalive_probes ? (int)params->keepalive_probes : KEEPALIVE_PROBES;

	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle_s);
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPCNT, probes);
	usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

static void keepalive_set_user_timeout(int fd, const struct usp_relay_params *params)
{
	if (params->user_timeout_ns)
		usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
				       keepalive_units(params->user_timeout_ns, KEEPALIVE_NS_PER_MS));
}

void usp_keepalive_set(int fd, const struct usp_relay_params *params)
{
	if (!params->no_keepalive)
		keepalive_ask(fd, params);
	keepalive_set_user_timeout(fd, params);
}

void usp_keepalive_set_passed(int fd, const struct usp_relay_params *params)
{
	bool is_chosen = params->keepalive_ns || params->keepalive_interval_ns || params->keepalive_probes;

	if (!params->no_keepalive && (is_chosen || usp_sys_getsockopt_int(fd, SOL_SOCKET, SO_KEEPALIVE) == 0))
		keepalive_ask(fd, params);
	keepalive_set_user_timeout(fd, params);
}
