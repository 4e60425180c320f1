/* own_loop - connect two endpoints both ways, in an event loop of the program's own. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <usplice.h>

/* flow[0] goes from file[0] to file[1], flow[1] the other way. */
struct flow {
	struct usp_pump *pump;
	struct usp_pump_wait wait; /* what it waits for, unless it is over */
	int is_over, result;
};

static struct usp_file *file[2];
static struct flow flow[2];
static int is_watched[2];
static int epoll_fd;

static void check(const char *what, int ret)
{
	if (ret >= 0)
		return;
	fprintf(stderr, "own_loop: %s: %s\n", what, strerror(-ret));
	exit(1);
}

static void step(struct flow *it)
{
	it->wait.size = sizeof(it->wait);
	it->result = usp_pump_step(it->pump, &it->wait);
	it->is_over = it->result != -EAGAIN;
}

/*
 * Both flows may wait for the same descriptor, one to read and one to write. One that nobody waits for is not watched: epoll
 * tells that its peer has gone whether it is asked or not.
 */
static void watch(int end)
{
	struct epoll_event event = {.events = 0};
	int op;

	for (int i = 0; i < 2; i++) {
		if (!flow[i].is_over && flow[i].wait.file == file[end])
			event.events |= (unsigned)flow[i].wait.events;
	}
	if (!event.events && !is_watched[end])
		return;
	op = !event.events ? EPOLL_CTL_DEL : is_watched[end] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	is_watched[end] = event.events != 0;
	check(usp_file_spec(file[end]), epoll_ctl(epoll_fd, op, usp_file_fd(file[end]), &event) < 0 ? -errno : 0);
}

/* Milliseconds until one of the flows has to go on in any case, or -1. */
static int patience(void)
{
	int64_t least_ns = -1;

	for (int i = 0; i < 2; i++) {
		int64_t ns = flow[i].is_over ? -1 : flow[i].wait.timeout_ns;

		if (ns >= 0 && (least_ns < 0 || ns < least_ns))
			least_ns = ns;
	}
	return least_ns < 0 ? -1 : (int)((least_ns + 999999) / 1000000);
}

/* A program has other descriptors in its loop, too; here are only these. */
static void loop(void)
{
	struct epoll_event events[2];

	while (!(flow[0].is_over && flow[1].is_over)) {
		int nr;

		watch(0);
		watch(1);
		nr = epoll_wait(epoll_fd, events, 2, patience());
		check("epoll_wait", nr < 0 && errno != EINTR ? -errno : 0);
		for (int i = 0; i < 2; i++) {
			if (!flow[i].is_over) /* one that still has to wait says so again */
				step(&flow[i]);
			if (flow[i].is_over && flow[i].result < 0)
				return; /* it makes no sense to go on in one direction */
		}
	}
}

int main(int argc, char **argv)
{
	const struct usp_open_params both = {.size = sizeof(both), .mode = USP_READ | USP_WRITE};
	struct usp_pump_status status = {.size = sizeof(status)};

	check("two endpoints, please", argc == 3 ? 0 : -EINVAL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	check("epoll_create1", epoll_fd < 0 ? -errno : 0);
	for (int i = 0; i < 2; i++)
		check(argv[i + 1], usp_open(argv[i + 1], &both, &file[i], NULL));
	for (int i = 0; i < 2; i++) {
		check("pump", usp_pump_new(file[i], NULL, &flow[i].pump));
		check("pump", usp_pump_add_sink(flow[i].pump, file[!i]));
		step(&flow[i]);
	}
	loop();
	for (int i = 0; i < 2; i++) {
		usp_pump_status(flow[i].pump, &status);
		printf("%s: %llu bytes%s%s\n", usp_file_spec(file[i]), (unsigned long long)status.bytes,
		       flow[i].result < 0 ? ", " : "", flow[i].result < 0 ? strerror(-flow[i].result) : "");
	}
	for (int i = 0; i < 2; i++) {
		usp_pump_free(flow[i].pump);
		check(usp_file_spec(file[i]), usp_file_close(file[i]));
		usp_file_put(file[i]);
	}
	return flow[0].result || flow[1].result;
}
