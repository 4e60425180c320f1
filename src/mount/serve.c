/* SPDX-License-Identifier: MIT */
/*
 * serve - the threads that take requests. Each has an epoll of its own, so that the kernel wakes one for a request, and
 * all for the stop.
 */
#include <errno.h>
#include <linux/fuse.h>

#include "base/alloc.h"
#include "base/sys.h"
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

/* Take a request if there is one: 0, also if there is none, or -errno. Behind the last one -ENODEV, or -ECONNABORTED if it came just then. */
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

size_t mount_serve_len(void)
{
	return SERVE_BYTES;
}

void mount_serve_refuse(struct usp_mount *mount, void *buf)
{
	const struct fuse_in_header *request = buf;
	ssize_t len = usp_sys_read(mount->fuse_fd, buf, SERVE_BYTES);
	const struct fuse_out_header reply = {.len = sizeof(reply),
					      .error = -ENOTCONN,
					      .unique = len >= (ssize_t)sizeof(*request) ? request->unique : 0};

	if (reply.unique) /* the kernel takes none for what wants no answer */
		usp_sys_write(mount->fuse_fd, &reply, sizeof(reply));
}

void mount_serve_stop(struct usp_mount *mount)
{
	atomic_store(&mount->must_end, true);
	usp_sys_eventfd_set(mount->stop_fd, true);
	usp_sys_eventfd_set(mount->wake_fd, true);
}

void usp_mount_stop(struct usp_mount *mount)
{
	if (atomic_load(&mount->is_ending))
		atomic_store(&mount->must_hurry, true);
	mount_serve_stop(mount);
	usp_sys_eventfd_set(mount->end_fd, true);
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
	if (ret < 0 && ret != -ENODEV && ret != -ECONNABORTED)
		atomic_store(&mount->error, ret);
	mount_serve_stop(mount); /* one that ends, ends all */
	mount_thread_end(mount, &mount->nr_threads);
	return NULL;
}

static unsigned serve_nr_threads(const struct usp_mount *mount)
{
	unsigned nr = usp_sys_nr_processors();

	return mount->params.nr_threads ? mount->params.nr_threads : nr > 8 ? 8 : nr < 2 ? 2 : nr;
}

static void *serve_wait_for_reads(void *arg)
{
	struct usp_mount *mount = arg;

	mount_read_waiter(mount);
	mount_thread_end(mount, &mount->nr_threads);
	return NULL;
}

/* Start all threads that can be had: 0, or -errno without one. */
static int serve_start(struct usp_mount *mount)
{
	int ret = mount_thread_start(&mount->waiter, serve_wait_for_reads, mount, &mount->nr_threads);

	if (ret < 0)
		return ret;
	mount->has_waiter = true;
	if (mount->params.flags & USP_MOUNT_WRITE)
		ret = mount_forget_begin(mount);
	while (mount->nr_served < mount->nr_serves && ret == 0) {
		struct serve *serve = &mount->serves[mount->nr_served];

		ret = mount_thread_start(&serve->thread, serve_run, serve, &mount->nr_threads);
		mount->nr_served += ret == 0;
	}
	atomic_store(&mount->nr_serving, mount->nr_served);
	return mount->nr_served > 0 ? 0 : ret;
}

/* The caller takes no requests: one that hangs would be its own. */
int mount_serve(struct usp_mount *mount)
{
	unsigned nr = serve_nr_threads(mount);
	struct pollfd stop = {.fd = mount->stop_fd, .events = POLLIN};
	int ret;

	mount->serves = usp_alloc_array(nr, sizeof(*mount->serves));
	ret = mount->serves ? 0 : -ENOMEM;
	while (ret == 0 && mount->nr_serves < nr)
		ret = serve_init(&mount->serves[mount->nr_serves++], mount);
	if (ret == 0)
		ret = serve_start(mount);
	while (ret == 0 && !atomic_load(&mount->must_end))
		usp_sys_poll(&stop, 1, -1);
	mount_serve_stop(mount);
	return ret;
}

void mount_serve_join(struct usp_mount *mount)
{
	if (mount->has_waiter)
		pthread_join(mount->waiter, NULL);
	mount->has_waiter = false;
	while (mount->nr_served > 0)
		pthread_join(mount->serves[--mount->nr_served].thread, NULL);
	while (mount->nr_serves > 0)
		serve_fini(&mount->serves[--mount->nr_serves]);
	usp_free(mount->serves);
	mount->serves = NULL;
}
