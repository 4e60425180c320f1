/* SPDX-License-Identifier: MIT */
/* door - the sockets at which a metrics server listens, for programs that have no other ones. */
#include "metrics/door.h"

#include <assert.h>
#include <errno.h>

#include "base/addr.h"
#include "base/sys.h"
#include "endpoints/stream_address.h"

#define DOOR_BACKLOG 64
#define DOOR_NAME_NS UINT64_C(1000000000) /* for the lock of a name, at the end */

int usp_metrics_listen(const char *address, struct usp_metrics_doors *ret_doors, const char **ret_why)
{
	int ret;

	static_assert(USP_STREAM_DOORS_MAX <= USP_METRICS_DOORS_MAX, "the server takes all doors of an address");
	*ret_doors = (struct usp_metrics_doors){.nr_fds = 0};
	*ret_why = NULL;
	ret = usp_stream_listen_at(address, NULL, DOOR_BACKLOG, ret_doors->fds, &ret_doors->name, ret_why);
	if (ret < 0)
		return ret;
	ret_doors->nr_fds = (unsigned)ret;
	return 0;
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
