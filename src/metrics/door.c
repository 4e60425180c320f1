/* SPDX-License-Identifier: MIT */
/* door - the sockets at which a metrics server listens, for programs that have no other ones. */
#include "metrics/door.h"

#include <errno.h>
#include <string.h>

#include "base/addr.h"
#include "base/listen.h"
#include "base/sys.h"
#include "endpoints/stream.h"

#define DOOR_BACKLOG 64
#define DOOR_LOOKUP_NS UINT64_C(15000000000)
#define DOOR_NAME_NS UINT64_C(1000000000) /* for the lock of a name, at the end */

static int door_listen_unix(const char *path, struct usp_metrics_doors *doors)
{
	struct sockaddr_un address;
	int ret = usp_addr_of_path(path, &address);

	if (ret == 0)
		ret = usp_unix_listen(&address, NULL, DOOR_BACKLOG, &doors->name);
	if (ret < 0)
		return ret;
	doors->fds[doors->nr_fds++] = ret;
	return 0;
}

static int door_listen_tcp(const char *text, struct usp_metrics_doors *doors, const char **ret_why)
{
	struct addrinfo *list;
	int ret = usp_addr_resolve(text, SOCK_STREAM, true, usp_sys_now_ns() + DOOR_LOOKUP_NS, &list, ret_why);

	if (ret < 0)
		return ret;
	ret = usp_stream_listen(list, DOOR_BACKLOG, doors->fds, USP_METRICS_DOORS_MAX);
	freeaddrinfo(list);
	if (ret < 0)
		return ret;
	doors->nr_fds = (unsigned)ret;
	return 0;
}

int usp_metrics_listen(const char *address, struct usp_metrics_doors *ret_doors, const char **ret_why)
{
	static const char unix_scheme[] = "unix:", tcp_scheme[] = "tcp:";
	int ret;

	*ret_doors = (struct usp_metrics_doors){.nr_fds = 0};
	*ret_why = NULL;
	if (strstr(address, "://")) {
		*ret_why = "a URL is no address here: HOST:PORT or unix:PATH";
		return -EINVAL;
	}
	if (strncmp(address, unix_scheme, strlen(unix_scheme)) == 0)
		ret = door_listen_unix(address + strlen(unix_scheme), ret_doors);
	else if (strncmp(address, tcp_scheme, strlen(tcp_scheme)) == 0)
		ret = door_listen_tcp(address + strlen(tcp_scheme), ret_doors, ret_why);
	else
		ret = door_listen_tcp(address, ret_doors, ret_why);
	if (ret < 0 && !*ret_why)
		*ret_why = ret == -ENOENT ? "there is no such directory" : usp_stream_why(ret);
	return ret;
}

void usp_metrics_unlisten(struct usp_metrics_doors *doors)
{
	usp_name_remove(&doors->name, usp_sys_now_ns() + DOOR_NAME_NS);
	while (doors->nr_fds > 0)
		usp_sys_close(doors->fds[--doors->nr_fds]);
}

ssize_t usp_metrics_print_address(const struct usp_metrics_doors *doors, char *ret_text, size_t len)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	socklen_t address_len = sizeof(address);
	int ret =
		doors->nr_fds ? usp_sys_getsockname(doors->fds[0], (struct sockaddr *)&address, &address_len) : -EINVAL;

	return ret < 0 ? ret : (ssize_t)usp_addr_print((struct sockaddr *)&address, address_len, ret_text, len);
}
