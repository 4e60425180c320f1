/* SPDX-License-Identifier: MIT */
/* relay_sink - what stands behind the relay: reads, discards, answers, or does not read at all. */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay_load.h"

/* What has come of the next request of a connection. */
struct sink_request {
	load_header header;
	size_t nr_received;
};

struct sink {
	const struct load_plan *plan;
	struct load_shared *shared;
	int epoll_fd, listener;
	unsigned char *buffer, *answer;
	struct sink_request *requests; /* by descriptor */
};

static size_t sink_nr_descriptors(void)
{
	struct rlimit limit;

	bench_check(getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
	return limit.rlim_cur;
}

static void sink_accept(struct sink *sink)
{
	int fd;

	while ((fd = accept4(sink->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		sink->requests[fd] = (struct sink_request){.nr_received = 0};
		load_congestion(fd, sink->shared->sink_congestion);
		if (sink->plan->kind != LOAD_TRICKLE)
			load_watch(sink->epoll_fd, fd, EPOLLIN);
		load_add(&sink->shared->nr_accepted, 1);
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		bench_die("accept", errno);
}

/* Bytes of the request that is under way, up to its end: how many. */
static size_t sink_go_on(struct sink_request *request, const unsigned char *bytes, size_t len)
{
	size_t left = sizeof(request->header), taken;

	if (request->nr_received >= left)
		left = request->header;
	taken = left - request->nr_received < len ? left - request->nr_received : len;
	if (request->nr_received < sizeof(request->header))
		memcpy((unsigned char *)&request->header + request->nr_received, bytes, taken);
	request->nr_received += taken;
	return taken;
}

/* Answer every complete request with as many bytes. */
static void sink_answer(struct sink *sink, int fd, size_t len)
{
	struct sink_request *request = &sink->requests[fd];

	for (size_t done = 0; done < len;) {
		done += sink_go_on(request, sink->buffer + done, len - done);
		if (request->nr_received < sizeof(request->header) || request->nr_received < request->header)
			continue;
		request->nr_received = 0;
		if (send(fd, sink->answer, request->header, MSG_NOSIGNAL) < 0)
			return; /* the end of the connection comes as an event of its own */
	}
}

static ssize_t sink_take(struct sink *sink, int fd)
{
	if (sink->plan->kind == LOAD_LIGHT)
		return recv(fd, NULL, LOAD_DISCARD_BYTES, MSG_DONTWAIT | MSG_TRUNC);
	return recv(fd, sink->buffer, LOAD_PIECE_BYTES, MSG_DONTWAIT);
}

static void sink_receive(struct sink *sink, int fd)
{
	ssize_t len = sink_take(sink, fd);

	if (len < 0 && errno == EAGAIN)
		return;
	if (len <= 0) {
		close(fd);
		return;
	}
	load_add(&sink->shared->nr_bytes, (uint64_t)len);
	if (sink->plan->kind != LOAD_REAL && sink->plan->kind != LOAD_LIGHT)
		sink_answer(sink, fd, (size_t)len);
}

void load_sink(const struct load_plan *plan, struct load_shared *shared, int listener)
{
	struct sink sink = {
		.plan = plan,
		.shared = shared,
		.epoll_fd = (int)bench_check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1"),
		.listener = listener,
		.buffer = bench_memory(LOAD_PIECE_BYTES),
		.answer = bench_memory(LOAD_PIECE_BYTES),
		.requests = calloc(sink_nr_descriptors(), sizeof(*sink.requests)),
	};
	struct epoll_event events[LOAD_NR_EVENTS];

	if (!sink.requests)
		bench_die("calloc", ENOMEM);
	load_watch(sink.epoll_fd, listener, EPOLLIN);
	for (;;) {
		int nr = (int)bench_check(epoll_wait(sink.epoll_fd, events, LOAD_NR_EVENTS, -1), "epoll_wait");

		for (int i = 0; i < nr; i++) {
			if (events[i].data.fd == listener)
				sink_accept(&sink);
			else
				sink_receive(&sink, events[i].data.fd);
		}
	}
}
