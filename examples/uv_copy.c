/* SPDX-License-Identifier: MIT */
/* uv_copy - copy one source to several sinks, in a loop of libuv. Ctrl-C ends it, and the report says how far it came. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice.h>
#include <uv.h>

#define MAX_WAITS 17 /* one for the source, and one for each sink */

/* A descriptor that the pump waits for. A handle of libuv is freed by its own callback, so it has memory of its own. */
struct watch {
	uv_poll_t poll;
	int fd;
};

static uv_loop_t loop;
static uv_timer_t timer; /* for waits that are limited */
static uv_idle_t idle;	 /* for a pump that only lets others go first */
static uv_signal_t interrupt;
static struct usp_pump *pump;
static struct watch *watches[MAX_WAITS];
static int result;

static void step(void);

static void check(const char *what, int error)
{
	if (error >= 0)
		return;
	fprintf(stderr, "uv_copy: %s: %s\n", what,
		strerror(-error)); /* the errors of libuv are negative numbers, too */
	exit(1);
}

static void free_watch(uv_handle_t *handle)
{
	free(handle->data);
}

/* The descriptor is ready, or has an error: the pump finds out which. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)poll, (void)status, (void)events;
	step();
}

static void on_time(uv_timer_t *it)
{
	(void)it;
	step();
}

static void on_idle(uv_idle_t *it)
{
	(void)it;
	step();
}

static void on_interrupt(uv_signal_t *it, int number)
{
	(void)it, (void)number;
	usp_pump_stop(pump);
	step();
}

static void drop_watch(struct watch **it)
{
	if (*it)
		uv_close((uv_handle_t *)&(*it)->poll, free_watch);
	*it = NULL;
}

static void watch_fd(struct watch **it, int fd, short events)
{
	/* Without events only errors count. UV_PRIORITIZED asks for nothing that comes otherwise. */
	int wanted = (events & POLLIN ? UV_READABLE : 0) | (events & POLLOUT ? UV_WRITABLE : 0);

	if (!*it) {
		*it = calloc(1, sizeof(**it));
		check("calloc", *it ? 0 : -ENOMEM);
		(*it)->fd = fd;
		check("uv_poll_init", uv_poll_init(&loop, &(*it)->poll, fd));
		(*it)->poll.data = *it;
	}
	check("uv_poll_start", uv_poll_start(&(*it)->poll, wanted ? wanted : UV_PRIORITIZED, on_ready));
}

/* libuv has one handle for a descriptor: several sinks that wait for the same one share it. */
static unsigned merge(struct usp_pump_wait *waits, unsigned nr)
{
	unsigned nr_fds = 0;

	for (unsigned i = 0; i < nr; i++) {
		unsigned same = 0;

		if (waits[i].fd < 0)
			continue;
		while (same < nr_fds && waits[same].fd != waits[i].fd)
			same++;
		if (same < nr_fds)
			waits[same].events |= waits[i].events;
		else
			waits[nr_fds++] = waits[i];
	}
	return nr_fds;
}

static void wait_for(struct usp_pump_wait *waits, unsigned nr)
{
	int64_t least_ns = -1;
	unsigned nr_fds;

	for (unsigned i = 0; i < nr; i++) {
		if (waits[i].timeout_ns >= 0 && (least_ns < 0 || waits[i].timeout_ns < least_ns))
			least_ns = waits[i].timeout_ns;
	}
	nr_fds = merge(waits, nr);
	for (unsigned i = 0; i < MAX_WAITS; i++) { /* first: a descriptor may now have another place */
		if (watches[i] && (i >= nr_fds || watches[i]->fd != waits[i].fd))
			drop_watch(&watches[i]);
	}
	for (unsigned i = 0; i < nr_fds; i++)
		watch_fd(&watches[i], waits[i].fd, waits[i].events);
	if (least_ns == 0) /* no timer: one that starts itself with no time would keep the loop from all else */
		check("uv_idle_start", uv_idle_start(&idle, on_idle));
	else if (least_ns > 0)
		check("uv_timer_start", uv_timer_start(&timer, on_time, (uint64_t)(least_ns + 999999) / 1000000, 0));
}

static void end(void)
{
	for (unsigned i = 0; i < MAX_WAITS; i++)
		drop_watch(&watches[i]);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_close((uv_handle_t *)&idle, NULL);
	uv_close((uv_handle_t *)&interrupt, NULL);
}

/* Do what goes without waiting. A program does its other work between two steps. */
static void step(void)
{
	struct usp_pump_wait waits[MAX_WAITS] = {{.size = sizeof(waits[0])}};

	uv_timer_stop(&timer);
	uv_idle_stop(&idle);
	for (unsigned i = 0; i < MAX_WAITS; i++) {
		if (watches[i])
			uv_poll_stop(&watches[i]->poll); /* the step may close what it waited for */
	}
	result = usp_pump_step(pump, &waits[0]);
	if (result == -EAGAIN)
		wait_for(waits, usp_pump_waits(pump, waits, MAX_WAITS));
	else
		end();
}

static int report(struct usp_file *const *sinks, unsigned nr)
{
	struct usp_sink_status status = {.size = sizeof(status)};

	for (unsigned i = 0; i < nr; i++) {
		int error = usp_file_close(sinks[i]); /* some disks tell only here that they are full */

		if (error && !result)
			result = error;
		usp_pump_sink_status(pump, i, &status);
		printf("%s: %llu bytes\n", usp_file_spec(sinks[i]), (unsigned long long)status.bytes);
	}
	if (result)
		fprintf(stderr, "uv_copy: %s\n", strerror(-result));
	return result != 0;
}

int main(int argc, char **argv)
{
	const struct usp_open_params reads = {.size = sizeof(reads), .mode = USP_READ};
	const struct usp_open_params writes = {.size = sizeof(writes), .mode = USP_WRITE};
	struct usp_file *source, *sinks[MAX_WAITS - 1];
	unsigned nr = (unsigned)argc - 2;
	int failed;

	check("a source and up to 16 sinks, please", argc >= 3 && nr < MAX_WAITS ? 0 : -EINVAL);
	check("uv_loop_init", uv_loop_init(&loop));
	check("uv_timer_init", uv_timer_init(&loop, &timer));
	check("uv_idle_init", uv_idle_init(&loop, &idle));
	check("uv_signal_init", uv_signal_init(&loop, &interrupt));
	check("uv_signal_start", uv_signal_start(&interrupt, on_interrupt, SIGINT));
	check(argv[1], usp_open(argv[1], &reads, &source, NULL));
	check("pump", usp_pump_new(source, NULL, &pump));
	for (unsigned i = 0; i < nr; i++) {
		check(argv[2 + i], usp_open(argv[2 + i], &writes, &sinks[i], NULL));
		check("pump", usp_pump_add_sink(pump, sinks[i]));
	}
	step();
	uv_run(&loop, UV_RUN_DEFAULT);
	failed = report(sinks, nr);
	check("uv_loop_close", uv_loop_close(&loop));
	usp_pump_free(pump);
	for (unsigned i = 0; i < nr; i++)
		usp_file_put(sinks[i]);
	usp_file_put(source);
	return failed;
}
