/* SPDX-License-Identifier: MIT */
/* threads - the threads of a mount are counted until they end, so that nobody has to wait for one that hangs. */
#include "base/thread.h"

#include "base/sys.h"
#include "mount/inside.h"

int mount_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg, _Atomic(unsigned) *nr)
{
	int ret;

	atomic_fetch_add(nr, 1);
	ret = usp_thread_start(ret_thread, run, arg);
	if (ret < 0)
		atomic_fetch_sub(nr, 1);
	return ret;
}

void mount_thread_end(struct usp_mount *mount, _Atomic(unsigned) *nr)
{
	atomic_fetch_sub(nr, 1);
	usp_sys_eventfd_set(mount->end_fd, true);
}

bool mount_thread_left(struct usp_mount *mount, const _Atomic(unsigned) *nr, uint64_t end_ns, int64_t *ret_left_ns)
{
	uint64_t now_ns = usp_sys_now_ns();

	usp_sys_eventfd_set(mount->end_fd, false);
	*ret_left_ns = end_ns ? (int64_t)(end_ns - now_ns) : -1;
	return atomic_load(nr) > 0 && !atomic_load(&mount->must_hurry) && (!end_ns || now_ns < end_ns);
}

bool mount_thread_wait(struct usp_mount *mount, const _Atomic(unsigned) *nr, uint64_t end_ns)
{
	struct pollfd fd = {.fd = mount->end_fd, .events = POLLIN};
	int64_t left_ns;

	while (mount_thread_left(mount, nr, end_ns, &left_ns))
		usp_sys_poll(&fd, 1, left_ns);
	return atomic_load(nr) == 0;
}
