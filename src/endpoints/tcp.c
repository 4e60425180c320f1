/* SPDX-License-Identifier: MIT */
/* tcp - a TCP connection, made or awaited. */
#include "base/addr.h"
#include "base/cidr.h"
#include "base/listen.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "endpoints/stream.h"
#include "lanes/probe.h"

static const struct usp_file_ops tcp_ops = {USP_STREAM_HOOKS, .name = "tcp", .probe = usp_probe_tcp};

static int tcp_find(struct usp_stream *stream, bool is_passive, const char **ret_why)
{
	const char *from = is_passive ? usp_spec_option(stream->spec, "from") : NULL;
	int ret = from ? usp_cidr_list_parse(from, &stream->from, ret_why) : 0;

	if (ret == 0)
		ret = usp_addr_resolve(stream->spec->address, SOCK_STREAM, is_passive, stream->give_up,
				       stream->params->no_peer ? NULL : &stream->resolved, ret_why);
	stream->list = stream->resolved;
	return ret;
}

static int tcp_listen(struct usp_stream *stream, int ret_fds[USP_STREAM_DOORS_MAX])
{
	return usp_stream_listen(stream->list, 1, ret_fds, USP_STREAM_DOORS_MAX);
}

const struct usp_stream_family usp_tcp_family = {
	.ops = &tcp_ops,
	.is_tcp = true,
	.find = tcp_find,
	.listen = tcp_listen,
	.why = usp_stream_why,
};

static int tcp_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		    const char **ret_why)
{
	return usp_stream_connect(&usp_tcp_family, spec, params, ret_file, ret_why);
}

static int tcp_listen_open(const struct usp_spec *spec, const struct usp_open_params *params,
			   struct usp_file **ret_file, const char **ret_why)
{
	return usp_stream_await(&usp_tcp_family, spec, params, ret_file, ret_why);
}

static const char *const tcp_options[] = {"retry", "timeout", "nodelay", NULL};
static const char *const tcp_listen_options[] = {"timeout", "nodelay", "from", NULL};

const struct usp_endpoint usp_tcp_endpoint = {
	.scheme = "tcp",
	.form = "tcp:HOST:PORT",
	.summary = "a TCP connection to a server",
	.modes = USP_READ | USP_WRITE,
	.options = tcp_options,
	.open = tcp_open,
};

const struct usp_endpoint usp_tcp_listen_endpoint = {
	.scheme = "tcp-listen",
	.form = "tcp-listen:[HOST:]PORT",
	.summary = "the first TCP client that comes",
	.modes = USP_READ | USP_WRITE,
	.options = tcp_listen_options,
	.open = tcp_listen_open,
};
