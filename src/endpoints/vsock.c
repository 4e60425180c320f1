/* SPDX-License-Identifier: MIT */
/* vsock - a connection between a virtual machine and its host, made or awaited. */
#include <errno.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h> /* needs the line above */

#include "base/addr.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "endpoints/stream.h"

/* No experiment tells what the transports to the hypervisors do with pages. */
static const struct usp_file_ops vsock_ops = {USP_STREAM_HOOKS, .name = "vsock"};

static int vsock_find(struct usp_stream *stream, bool is_passive, const char **ret_why)
{
	struct sockaddr_vm *address = (struct sockaddr_vm *)&stream->address;
	int ret = usp_addr_of_vsock(stream->spec->address, is_passive, address, ret_why);

	if (ret == 0)
		usp_stream_set_address(stream, sizeof(*address));
	return ret;
}

/* Without it the kernel gives up after two seconds. */
static void vsock_prepare(int fd, uint64_t give_up)
{
	uint64_t now = usp_sys_now_ns(), left = give_up > now ? (give_up - now) / 1000 + 1 : 1;
	const struct timeval patience = {.tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000)};

	usp_sys_setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience, sizeof(patience));
}

/* Return a sentence for an error of a vsock, or NULL: without a transport to that CID there is no way. */
static const char *vsock_why(int error)
{
	switch (error) {
	case -EAFNOSUPPORT:
		return "this kernel has no vsock";
	case -ENODEV:
		return "there is no virtual machine or host of that CID, or no driver for it";
	default:
		return usp_stream_why(error);
	}
}

const struct usp_stream_family usp_vsock_family = {
	.ops = &vsock_ops,
	.always_copies = true,
	.refusal = -ECONNRESET,
	.find = vsock_find,
	.listen = usp_stream_listen_one,
	.prepare = vsock_prepare,
	.why = vsock_why,
};

static int vsock_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		      const char **ret_why)
{
	return usp_stream_connect(&usp_vsock_family, spec, params, ret_file, ret_why);
}

static int vsock_listen_open(const struct usp_spec *spec, const struct usp_open_params *params,
			     struct usp_file **ret_file, const char **ret_why)
{
	return usp_stream_await(&usp_vsock_family, spec, params, ret_file, ret_why);
}

static const char *const vsock_options[] = {"retry", "timeout", NULL};
static const char *const vsock_listen_options[] = {"timeout", NULL};

const struct usp_endpoint usp_vsock_endpoint = {
	.scheme = "vsock",
	.form = "vsock:CID:PORT",
	.summary = "a connection between a virtual machine and its host",
	.modes = USP_READ | USP_WRITE,
	.options = vsock_options,
	.open = vsock_open,
};

const struct usp_endpoint usp_vsock_listen_endpoint = {
	.scheme = "vsock-listen",
	.form = "vsock-listen:[CID:]PORT",
	.summary = "the first client that comes from there",
	.modes = USP_READ | USP_WRITE,
	.options = vsock_listen_options,
	.open = vsock_listen_open,
};
