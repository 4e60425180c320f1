/* SPDX-License-Identifier: MIT */
/* cmd_relay - `usplice relay`: its options. */
#include "cli.h"
#include "option.h"
#include "relay.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RELAY_UNSIGNED_MAX 1000000
#define RELAY_PROBES_MAX 127
#define RELAY_S ((uint64_t)1000000000)
#define RELAY_KEEPALIVE_S_MAX 32767

static const char *relay_parse_number(const char *value, unsigned max, const char *why, unsigned *ret_number)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (value[0] < '0' || value[0] > '9' || *end)
		return "is no number";
	if (!number || number > max)
		return why;
	*ret_number = (unsigned)number;
	return NULL;
}

static const char *relay_parse_unsigned(const char *value, void *field)
{
	return relay_parse_number(value, RELAY_UNSIGNED_MAX, "is not between 1 and 1000000", field);
}

static const char *relay_parse_workers(const char *value, void *field)
{
	return relay_parse_number(value, USP_RELAY_WORKERS_MAX, "is not between 1 and 256", field);
}

static const char *relay_parse_probes(const char *value, void *field)
{
	return relay_parse_number(value, RELAY_PROBES_MAX, "is not between 1 and 127", field);
}

static const char *relay_parse_span(const char *value, uint64_t min_ns, uint64_t max_ns, const char *why,
				    uint64_t *ret_ns)
{
	const char *wrong = option_time(value, ret_ns);

	return wrong ? wrong : *ret_ns < min_ns || *ret_ns > max_ns ? why : NULL;
}

/* Parse a time that TCP counts in seconds. */
static const char *relay_parse_keepalive(const char *value, void *field)
{
	return relay_parse_span(value, RELAY_S, RELAY_KEEPALIVE_S_MAX * RELAY_S, "is not between 1s and 32767s", field);
}

static const char *relay_parse_user_timeout(const char *value, void *field)
{
	return relay_parse_span(value, 0, INT32_MAX * (RELAY_S / 1000), "is longer than 24 days", field);
}

/* Parse a mark; SO_MARK is often written in base 16. */
static const char *relay_parse_mark(const char *value, void *field)
{
	char *end;
	unsigned long number = strtoul(value, &end, 0);

	if (value[0] < '0' || value[0] > '9' || *end || number > UINT32_MAX)
		return "is no number of 32 bits, such as 17 or 0x11";
	*(unsigned *)field = (unsigned)number;
	return NULL;
}

static const char *relay_parse_ipv6_bits(const char *value, void *field)
{
	return relay_parse_number(value, 128, "is not between 1 and 128", field);
}

/* Parse "N" or "N/TIME". */
static const char *relay_parse_accept_rate(const char *value, void *field)
{
	struct usp_relay_params *params = field;
	const char *slash = strchr(value, '/');
	char number[sizeof("1000000")] = "";
	size_t len = slash ? (size_t)(slash - value) : strlen(value);

	if (len >= sizeof(number))
		return "is no number between 1 and 1000000, with a time behind a slash or without";
	memcpy(number, value, len);
	if (relay_parse_unsigned(number, &params->accept_rate))
		return "is no number between 1 and 1000000, with a time behind a slash or without";
	params->accept_rate_ns = 0;
	return slash ? option_time(slash + 1, &params->accept_rate_ns) : NULL;
}

/* Add a rule for each block of a list with commas, in the order of the command line. */
static const char *relay_add_rules(const char *what, const char *value, struct word_list *rules)
{
	char rule[128];

	for (;;) {
		size_t len = strcspn(value, ",");

		if ((size_t)snprintf(rule, sizeof(rule), "%s %.*s", what, (int)len, value) >= sizeof(rule))
			return "has a block that is too long";
		if (word_list_add(rules, rule) != 0)
			return "does not fit into memory";
		if (!value[len])
			return NULL;
		value += len + 1;
	}
}

static const char *relay_parse_allow(const char *value, void *field)
{
	return relay_add_rules("allow", value, field);
}

static const char *relay_parse_deny(const char *value, void *field)
{
	return relay_add_rules("deny", value, field);
}

/* Find the index of a name, for an enum with one name for each value; some may be NULL. */
static const char *relay_parse_name(const char *value, const char *const *names, unsigned nr, const char *why,
				    int *ret_index)
{
	for (unsigned i = 0; i < nr; i++) {
		if (names[i] && strcmp(value, names[i]) == 0) {
			*ret_index = (int)i;
			return NULL;
		}
	}
	return why;
}

static const char *relay_parse_balance(const char *value, void *field)
{
	static const char *const names[] = {
		[USP_BALANCE_ROUNDROBIN] = "roundrobin",
		[USP_BALANCE_LEASTCONN] = "leastconn",
		[USP_BALANCE_SOURCE] = "source",
	};
	int index = 0;
	const char *why = relay_parse_name(value, names, 3, "is none of roundrobin, leastconn and source", &index);

	*(enum usp_balance *)field = (enum usp_balance)index;
	return why;
}

static const char *relay_parse_level(const char *value, void *field)
{
	static const char *const names[] = {
		[MESSAGE_ERROR] = "error",
		[MESSAGE_WARNING] = "warning",
		[MESSAGE_NOTICE] = "notice",
		[MESSAGE_INFO] = "info",
	};
	int index = 0;
	const char *why =
		relay_parse_name(value, names, MESSAGE_INFO + 1, "is none of error, warning, notice and info", &index);

	*(enum message_level *)field = (enum message_level)index;
	return why;
}

static const char *relay_parse_quiet(const char *value, void *field)
{
	(void)value;
	*(enum message_level *)field = MESSAGE_ERROR;
	return NULL;
}

static const char *relay_parse_access_format(const char *value, void *field)
{
	static const char *const names[] = {[ACCESS_TEXT] = "text", [ACCESS_JSON] = "json"};
	int index = 0;
	const char *why = relay_parse_name(value, names, 2, "is neither text nor json", &index);

	*(enum access_format *)field = (enum access_format)index;
	return why;
}

/*
 * Parse one or two sides, one for each time the option is given. Two lists, or a list and all,
 * would be ambiguous.
 */
static const char *relay_parse_proxy_accept(const char *value, struct relay_request *request)
{
	bool is_list = *value == '=';

	if (request->proxy_from || (is_list && request->params.proxy_accept))
		return "comes behind another accept: put all blocks into one list";
	request->params.proxy_accept = true;
	request->proxy_from = is_list ? value + 1 : NULL;
	return NULL;
}

static const char *relay_parse_proxy(const char *value, void *field)
{
	static const char accept[] = "accept";
	struct relay_request *request = field;
	struct usp_relay_params *params = &request->params;
	size_t len = strlen(accept);

	if (strncmp(value, accept, len) == 0 && (!value[len] || value[len] == '='))
		return relay_parse_proxy_accept(value + len, request);
	if (strcmp(value, "send") == 0 || strcmp(value, "send-v2") == 0)
		params->proxy_send = 2;
	else if (strcmp(value, "send-v1") == 0)
		params->proxy_send = 1;
	else
		return "is none of accept, accept=CIDR[,CIDR...], send, send-v1 and send-v2";
	return NULL;
}

/* Add a host; the option may be given several times. */
static const char *relay_parse_metrics_host(const char *value, void *field)
{
	struct relay_request *request = field;

	if (request->nr_metrics_hosts == RELAY_METRICS_HOSTS_MAX)
		return "is one too many: at most 64 may be given";
	request->metrics_hosts[request->nr_metrics_hosts++] = value;
	return NULL;
}

#define FIELD(member) offsetof(struct relay_request, member)

static const struct option_row relay_options[] = {
	{"workers", 'w', "N", "threads that serve connections (default: 1)", relay_parse_workers,
	 FIELD(params.nr_workers)},
	{"connections-max", 'c', "N", "serve at most N clients at a time; others wait", relay_parse_unsigned,
	 FIELD(params.connections_max)},
	{"backlog", 0, "N", "clients that the kernel lets wait (default: 4096)", relay_parse_unsigned,
	 FIELD(params.backlog)},
	{"balance", 0, "HOW", "roundrobin (default), leastconn, or source: by the\nclient's address",
	 relay_parse_balance, FIELD(params.balance)},
	{"targets", 0, "FILE", "more targets, one a line; SIGHUP reads it again", option_text, FIELD(targets_file)},
	{"connect-timeout", 0, "TIME", "try the next target after this time (default: 5s)", option_time,
	 FIELD(params.connect_timeout_ns)},
	{"retry-after", 0, "TIME", "leave out a target that failed for this time\n(default: 5s)", option_time,
	 FIELD(params.retry_after_ns)},
	{"resolve-interval", 0, "TIME", "look up names of targets again after this time\n(default: 30s)", option_time,
	 FIELD(params.resolve_after_ns)},
	{"idle-timeout", 0, "TIME", "close a connection on which nothing moved for this\ntime", option_time,
	 FIELD(params.idle_timeout_ns)},
	{"keepalive-time", 0, "TIME",
	 "ask TCP peers that are silent for this time whether\nthey are there (default: 60s)", relay_parse_keepalive,
	 FIELD(params.keepalive_ns)},
	{"keepalive-interval", 0, "TIME", "and again after this time (default: 10s)", relay_parse_keepalive,
	 FIELD(params.keepalive_interval_ns)},
	{"keepalive-probes", 0, "N", "give a peer up that answers none of N (default: 6)", relay_parse_probes,
	 FIELD(params.keepalive_probes)},
	{"no-keepalive", 0, NULL, "do not ask", option_flag, FIELD(params.no_keepalive)},
	{"user-timeout", 0, "TIME", "give a TCP peer up that acknowledges nothing for this\ntime (default: never)",
	 relay_parse_user_timeout, FIELD(params.user_timeout_ns)},
	{"exit-idle-time", 0, "TIME", "exit when there was no connection for this time", option_time,
	 FIELD(params.exit_idle_ns)},
	{"drain-timeout", 0, "TIME", "after SIGTERM, close what is left after this time\n(default: wait)", option_time,
	 FIELD(params.drain_timeout_ns)},
	{"limit-rate", 0, "RATE", "at most RATE bytes a second, each way of each\nconnection", option_rate,
	 FIELD(params.rate)},
	{"limit-total", 0, "RATE", "at most RATE bytes a second, all together", option_rate, FIELD(params.rate_total)},
	{"proxy-protocol", 0, "WAY",
	 "accept: clients send a PROXY header, with =CIDR,...\nonly those; send, send-v1: targets get one (twice: both)",
	 relay_parse_proxy, 0},
	{"source", 0, "ADDRESS", "connect to targets from this address", option_text, FIELD(params.source)},
	{"mark", 0, "N", "mark the packets to targets (SO_MARK)", relay_parse_mark, FIELD(params.mark)},
	{"lane", 0, "LANE", "auto (default), kernel or user: how bytes are carried", option_lane, FIELD(params.lane)},
	{"no-batch", 0, NULL, "stay SCHED_OTHER also while busy with bulk", option_flag, FIELD(params.no_batch)},
	{"no-io-uring", 0, NULL, "carry small messages by recv and send, as where there\nis no io_uring", option_flag,
	 FIELD(params.no_uring)},
	{"metrics", 0, "ADDRESS", "serve /metrics for Prometheus and / for people there", option_text, FIELD(metrics)},
	{"metrics-host", 0, "NAME", "the name under which metrics are asked for (may be\ngiven several times)",
	 relay_parse_metrics_host, 0},
	{"unix-mode", 0, "MODE", "of the UNIX sockets that it makes, such as 0660", relay_parse_unix_mode,
	 FIELD(params)},
	{"unix-user", 0, "NAME", "their owner", relay_parse_unix_user, FIELD(params)},
	{"unix-group", 0, "NAME", "their group", relay_parse_unix_group, FIELD(params)},
	{"user", 0, "NAME", "become this user when it listens", relay_parse_user, FIELD(user)},
	{"group", 0, "NAME", "become this group when it listens", relay_parse_group, FIELD(group)},
	{"allow", 0, "ADDRESSES", "serve only clients from these blocks, such as\n10.0.0.0/8,::1; also several times",
	 relay_parse_allow, FIELD(rules)},
	{"deny", 0, "ADDRESSES", "refuse clients from these blocks; the first rule that\nhas the client decides",
	 relay_parse_deny, FIELD(rules)},
	{"access-file", 0, "FILE", "more rules, one a line: allow BLOCK or deny BLOCK;\nSIGHUP reads it again",
	 option_text, FIELD(access_file)},
	{"connections-per-address", 0, "N", "serve at most N connections of each address at a time",
	 relay_parse_unsigned, FIELD(params.connections_per_address)},
	{"accept-rate", 0, "N[/TIME]", "serve at most N new connections of each address in\nTIME (default: 1s)",
	 relay_parse_accept_rate, FIELD(params)},
	{"ipv6-prefix", 0, "BITS", "IPv6 clients that begin with the same BITS are one\naddress for both (default: 64)",
	 relay_parse_ipv6_bits, FIELD(params.ipv6_bits)},
	{"log-level", 0, "LEVEL", "say what is an error, warning, notice or info (default)", relay_parse_level,
	 FIELD(log_level)},
	{"quiet", 'q', NULL, "say nothing but errors: --log-level error", relay_parse_quiet, FIELD(log_level)},
	{"access-log", 0, "FILE", "write a line there for each connection; -: standard\noutput; SIGHUP opens it again",
	 option_text, FIELD(access_log)},
	{"access-log-format", 0, "HOW", "text (default) or json", relay_parse_access_format, FIELD(access_format)},
	{"help", 'h', NULL, "show this help", option_flag, FIELD(help)},
	{NULL, 0, NULL, NULL, NULL, 0},
};

static int relay_help(void)
{
	puts("usage: usplice relay [OPTIONS] LISTEN TARGET [TARGET...]\n\n"
	     "Accept connections at LISTEN and connect each with a TARGET, both ways. LISTEN is\n"
	     "[HOST]:PORT, unix:PATH, or systemd or systemd:NAME for sockets from the service\n"
	     "manager. A TARGET is HOST:PORT or unix:PATH.\n");
	option_print(relay_options);
	puts("\nTIME is in seconds, or has a unit: 500ms, 2.5s, 10m, 1h.\n"
	     "SIGTERM lets connections end and exits; a second one closes them. SIGUSR1 says how\n"
	     "it stands. SIGHUP reads files again and opens the access log again.\n"
	     "See usplice-relay(1).");
	return message_close_stdout();
}

int cmd_relay(int argc, char **argv)
{
	/* static, because a thread may still use it to read a file after the relay has ended */
	static struct relay_request request = {.params.size = sizeof(request.params), .log_level = MESSAGE_INFO};
	int first = option_parse(relay_options, argc, argv, &request);

	if (first < 0)
		return CLI_USAGE;
	if (request.help)
		return relay_help();
	if (argc - first < (request.targets_file ? 1 : 2)) {
		message_say("relay: where to listen and at least one target are needed (usplice relay --help)");
		return CLI_USAGE;
	}
	if (request.nr_metrics_hosts && !request.metrics) {
		message_say("relay: --metrics-host needs --metrics");
		return CLI_USAGE;
	}
	request.listen = argv[first];
	request.targets = argv + first + 1;
	request.nr_targets = (unsigned)(argc - first - 1);
	return relay_main(&request);
}
