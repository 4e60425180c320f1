/* SPDX-License-Identifier: MIT */
/*
 * serve - the threads that take requests. Each has an epoll of its own, so that the kernel wakes one for a request, and
 * all for the stop.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/sys.h"
#include "base/thread.h"
#include "mount/counts.h"
#include "mount/inside.h"

#define SERVE_BYTES (MOUNT_READ_BYTES + ((size_t)64 << 10)) /* a write, and what stands in front of it */
#define SERVE_THREADS_MAX 64

struct serve {
	struct usp_mount *mount;
	pthread_t thread;
	int epoll_fd;
	void *buf; /* of SERVE_BYTES; the kernel fills only the first ones */
};

static int serve_watch(int epoll_fd, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return usp_sys_epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static int serve_init(struct serve *serve, struct usp_mount *mount)
{
	int ret;

	serve->mount = mount;
	serve->epoll_fd = usp_sys_epoll();
	serve->buf = usp_sys_map_anon(SERVE_BYTES);
	if (serve->epoll_fd < 0)
		return serve->epoll_fd;
	if (!serve->buf)
		return -ENOMEM;
	ret = serve_watch(serve->epoll_fd, mount->fuse_fd, EPOLLIN | EPOLLEXCLUSIVE);
	return ret < 0 ? ret : serve_watch(serve->epoll_fd, mount->stop_fd, EPOLLIN);
}

static void serve_fini(struct serve *serve)
{
	usp_sys_close(serve->epoll_fd);
	if (serve->buf)
		usp_sys_unmap(serve->buf, SERVE_BYTES);
}

/* Take a request if there is one: 0, also if there is none, or -errno; -ENODEV behind the last one. */
static int serve_take(const struct serve *serve)
{
	struct usp_mount *mount = serve->mount;
	ssize_t len = usp_sys_read(mount->fuse_fd, serve->buf, SERVE_BYTES);
	struct fuse_buf buf = {.mem = serve->buf};

	if (len == -EAGAIN || len == -EINTR || len == -ENOENT) /* another thread has it; its program has gone */
		return 0;
	if (len < 0)
		return (int)len;
	buf.size = (size_t)len;
	if (mount->counts)
		mount_counts_begin(mount->counts, serve->buf);
	mount_session_note(mount, serve->buf, buf.size);
	fuse_session_process_buf(mount->session, &buf);
	return 0;
}

void usp_mount_stop(struct usp_mount *mount)
{
	atomic_store(&mount->must_end, true);
	usp_sys_eventfd_set(mount->stop_fd, true);
	usp_sys_eventfd_set(mount->wake_fd, true);
}

static void *serve_run(void *arg)
{
	const struct serve *serve = arg;
	struct usp_mount *mount = serve->mount;
	struct epoll_event event;
	int ret = 0;

	while (ret == 0 && !atomic_load(&mount->must_end)) {
		ret = usp_sys_epoll_wait(serve->epoll_fd, &event, 1, -1);
		if (ret > 0)
			ret = atomic_load(&mount->must_end) ? 0 : serve_take(serve);
		else if (ret == -EINTR)
			ret = 0;
	}
	if (ret < 0 && ret != -ENODEV)
		atomic_store(&mount->error, ret);
	usp_mount_stop(mount); /* one that ends, ends all */
	return NULL;
}

static unsigned serve_nr_threads(const struct usp_mount *mount)
{
	unsigned nr = usp_sys_nr_processors();

	return mount->params.nr_threads ? mount->params.nr_threads : nr > 8 ? 8 : nr < 2 ? 2 : nr;
}

/* Serve with all threads that can be had; the caller is one of them. */
static void serve_all(struct serve *serves, unsigned nr)
{
	unsigned nr_started = 1;

	while (nr_started < nr && usp_thread_start(&serves[nr_started].thread, serve_run, &serves[nr_started]) == 0)
		nr_started++;
	atomic_store(&serves[0].mount->nr_serving, nr_started);
	serve_run(&serves[0]);
	while (--nr_started > 0)
		pthread_join(serves[nr_started].thread, NULL);
}

int mount_serve(struct usp_mount *mount)
{
	unsigned nr = serve_nr_threads(mount), nr_ready = 0;
	struct serve *serves = usp_alloc_array(nr, sizeof(*serves));
	pthread_t waiter;
	int ret = serves ? 0 : -ENOMEM;

	for (; ret == 0 && nr_ready < nr; nr_ready++)
		ret = serve_init(&serves[nr_ready], mount);
	if (ret == 0)
		ret = usp_thread_start(&waiter, mount_read_waiter, mount);
	if (ret == 0) {
		serve_all(serves, nr);
		pthread_join(waiter, NULL);
		ret = atomic_load(&mount->error);
	}
	while (nr_ready > 0)
		serve_fini(&serves[--nr_ready]);
	usp_free(serves);
	return ret;
}
