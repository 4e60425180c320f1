/* SPDX-License-Identifier: MIT */
/* end - sources and sinks for the scenarios, with threads at the other side of streams. */
#include "end.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"
#include "support.h"

unsigned char *end_bytes, *end_zeros;
size_t end_len;
static int end_file_fd, end_listener;
static struct sockaddr_in end_address = {.sin_family = AF_INET};

/* The machine, and not the library, has failed us: there is nothing to test. */
static void end_must(bool is_good, const char *what)
{
	if (is_good)
		return;
	fault_complain("preparing: %s: %s", what, strerror(errno));
	end_child(1);
}

static void end_write_all(int fd, const unsigned char *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t ret = write(fd, bytes + done, len - done);

		end_must(ret > 0, "write");
		done += (size_t)ret;
	}
}

void end_init(size_t len)
{
	socklen_t address_len = sizeof(end_address);

	end_len = len;
	end_bytes = malloc(len);
	end_zeros = calloc(1, len);
	pattern_fill(end_bytes, 0, len);
	end_file_fd = memfd_create("source", MFD_CLOEXEC);
	end_write_all(end_file_fd, end_bytes, len);
	end_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	end_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(end_listener, (struct sockaddr *)&end_address, address_len) < 0 || listen(end_listener, 4) < 0 ||
	    getsockname(end_listener, (struct sockaddr *)&end_address, &address_len) < 0) {
		perror("listening on the loopback");
		exit(1);
	}
}

const unsigned char *end_expected(enum end_kind kind)
{
	return kind == END_ZERO ? end_zeros : end_bytes;
}

void end_tcp_pair(int ret_fds[2])
{
	ret_fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	end_must(connect(ret_fds[0], (struct sockaddr *)&end_address, sizeof(end_address)) == 0, "connect");
	ret_fds[1] = accept4(end_listener, NULL, NULL, SOCK_CLOEXEC);
	end_must(ret_fds[1] >= 0, "accept");
}

/* --- The other side ------------------------------------------------------------------------------------- */

static void *end_feed(void *arg)
{
	struct end *end = arg;

	end_write_all(end->far_fd, end_bytes, end_len);
	shutdown(end->far_fd, SHUT_WR);
	close(end->far_fd);
	end->far_fd = -1;
	return NULL;
}

/* At once, or whoever waits for its zero-copy sends would wait 40 ms. */
static void end_acknowledge(const struct end *end)
{
	if (end->kind == END_TCP)
		setsockopt(end->far_fd, IPPROTO_TCP, TCP_QUICKACK, &(int){1}, sizeof(int));
}

static void *end_drain(void *arg)
{
	struct end *end = arg;
	ssize_t ret;

	while (end->nr_arrived < end_len &&
	       (ret = read(end->far_fd, end->bytes + end->nr_arrived, end_len - end->nr_arrived)) > 0) {
		end->nr_arrived += (size_t)ret;
		end_acknowledge(end);
	}
	if (end->nr_arrived == end_len && read(end->far_fd, &(char){0}, 1) > 0)
		fault_complain("more arrived than there was");
	end_acknowledge(end);
	shutdown(end->far_fd, SHUT_WR); /* it ends, too: somebody may wait for that */
	return NULL;
}

static void end_prepare_stream(struct end *end)
{
	bool is_source = end->mode == USP_READ;
	int fds[2];

	if (end->kind == END_TCP)
		end_tcp_pair(fds);
	else if (end->kind == END_UNIX)
		end_must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0, "socketpair");
	else
		end_must(pipe2(fds, O_CLOEXEC) == 0, "pipe");
	end->fd = fds[is_source ? 0 : 1];
	end->far_fd = fds[is_source ? 1 : 0];
	if (is_source)
		end->spare_fd = dup(end->fd);
	end_must(pthread_create(&end->thread, NULL, is_source ? end_feed : end_drain, end) == 0, "pthread_create");
	end->has_thread = true;
}

static int end_reopen(int fd, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, flags | O_CLOEXEC);
	end_must(fd >= 0, "open");
	return fd;
}

void end_prepare(struct end *end, enum end_kind kind, unsigned mode)
{
	*end = (struct end){.kind = kind, .mode = mode, .fd = -1, .far_fd = -1, .spare_fd = -1};
	if (mode == USP_WRITE)
		end->bytes = calloc(1, end_len);
	if (kind == END_FIFO || kind == END_TCP || kind == END_UNIX)
		end_prepare_stream(end);
	if (kind == END_CACHED)
		end->far_fd = dup(end_file_fd);
	if (kind != END_FILE)
		return;
	end->far_fd = mode == USP_WRITE ? memfd_create("sink", MFD_CLOEXEC) : dup(end_file_fd);
	end->fd = end_reopen(end->far_fd, mode == USP_WRITE ? O_WRONLY : O_RDONLY);
}

/* --- The library's part ---------------------------------------------------------------------------------- */

static void end_done(void *arg)
{
	struct end *end = arg;

	end->nr_done++;
}

/* The fills read from a descriptor of the cache, which end->fd names. */
static void end_open_cached(struct end *end, const struct usp_open_params *params)
{
	char spec[64];

	snprintf(spec, sizeof(spec), "cached:/proc/self/fd/%d,budget=256k", end->far_fd);
	end->error = usp_open(spec, params, &end->file, NULL);
	end->fd = end->error == 0 ? usp_file_fd(end->file) : -1;
}

void end_open(struct end *end)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = end->mode};

	if (end->kind == END_ZERO)
		end->error = usp_open("zero:", &params, &end->file, NULL);
	else if (end->kind == END_NULL)
		end->error = usp_open("null:", &params, &end->file, NULL);
	else if (end->kind == END_MEMORY)
		end->error = usp_open_memory(end->mode == USP_WRITE ? end->bytes : end_bytes, end_len, end->mode,
					     end_done, end, &end->file);
	else if (end->kind == END_CACHED)
		end_open_cached(end, &params);
	else
		end->error = usp_open_fd(end->fd, end->mode | USP_EXCLUSIVE, "end", &end->file);
	fault_check(end->error == 0 ? end->file != NULL : end->file == NULL);
}

/* The close that failed is told, and no other; without a fault all is well. */
static void end_check_close(const struct end *end)
{
	struct fault_hit hit = fault_hit();
	bool is_hit = hit.plan.is_sticky || hit.to_fd == end->fd;

	if (!hit.has_fired)
		fault_check(end->close_result == 0);
	else if (hit.plan.call == FAULT_usp_sys_close && end->fd >= 0)
		fault_check(end->close_result == (is_hit ? -hit.plan.error : 0));
}

void end_close(struct end *end)
{
	end_close_below(end, NULL);
}

void end_close_below(struct end *end, struct usp_file *stage)
{
	end->was_open = end->file;
	end->close_result = stage ? usp_file_close(stage) : end->file ? usp_file_close(end->file) : 0;
	usp_file_put(end->file);
	end->file = NULL;
	if (end->was_open && end->kind != END_CACHED)
		end_check_close(end);
	if (!end->was_open && end->fd >= 0)
		fault_check(close(end->fd) == 0); /* a failed open leaves it with the caller */
}

/* --- Afterwards ---------------------------------------------------------------------------------------- */

static void end_await(int fd)
{
	struct pollfd pollfd = {.fd = fd, .events = POLLIN};

	poll(&pollfd, 1, -1);
}

static void end_check_stream_rest(struct end *end, size_t taken)
{
	unsigned char *rest = malloc(end_len);
	size_t len = 0;
	ssize_t ret;

	while ((ret = read(end->spare_fd, rest + len, end_len - len)) != 0) {
		if (ret < 0 && errno != EAGAIN)
			break;
		if (ret < 0)
			end_await(end->spare_fd);
		else
			len += (size_t)ret;
		if (len == end_len)
			break;
	}
	if (taken == END_UNKNOWN)
		taken = end_len - len;
	if (len + taken != end_len)
		fault_complain("%zu bytes taken and %zu left of %zu", taken, len, end_len);
	else
		fault_check(memcmp(rest, end_bytes + taken, len) == 0);
	free(rest);
}

static void end_close_far(struct end *end)
{
	if (end->has_thread)
		pthread_join(end->thread, NULL);
	if (end->far_fd >= 0)
		close(end->far_fd);
	if (end->spare_fd >= 0)
		close(end->spare_fd);
}

/* Zero-copy sends may hold memory of a source until their socket is closed. */
static void end_check_done(const struct end *end)
{
	if (end->kind == END_MEMORY)
		fault_check(end->nr_done == end->was_open);
}

void end_check_rest(struct end *end, size_t taken)
{
	end_check_done(end);
	if (end->spare_fd >= 0)
		end_check_stream_rest(end, taken);
	end_close_far(end);
}

void end_collect(struct end *end)
{
	end_check_done(end);
	if (end->has_thread)
		pthread_join(end->thread, NULL);
	end->has_thread = false;
	if (end->kind == END_FILE) {
		ssize_t ret = pread(end->far_fd, end->bytes, end_len, 0);

		end->nr_arrived = ret > 0 ? (size_t)ret : 0;
		fault_check(pread(end->far_fd, &(char){0}, 1, (off_t)end_len) == 0);
	}
	end_close_far(end);
}
