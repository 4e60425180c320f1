/* SPDX-License-Identifier: MIT */
/*
 * zerocopy_threshold - from which size on is a zero-copy send cheaper than a copying one, and is io_uring's cheaper still?
 *
 *   zerocopy_threshold                  TCP over loopback, to a thread that discards
 *   zerocopy_threshold HOST PORT        TCP to a peer that discards: socat -u tcp-listen:PORT,fork /dev/null
 *   zerocopy_threshold --udp HOST PORT  UDP to nobody; over a device that drops, which needs no copy:
 *       unshare -n sh -c 'ip link add d0 type ifb && ip link set d0 mtu 65535 up && ip addr add 10.9.9.1/24 dev d0 &&
 *                         ip neigh add 10.9.9.2 lladdr 02:00:00:00:00:02 dev d0 && zerocopy_threshold --udp 10.9.9.2 9'
 *
 * For each size, rounds that copy, of MSG_ZEROCOPY and of IORING_OP_SEND_ZC (8 sends under way; "-" without liburing or a kernel
 * that has it) alternate; what is printed are medians of the sender's processor time, which includes reading the notices. "copied"
 * is the share of notices that said: copied after all.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/errqueue.h> /* needs struct timespec */

#define ROUND_BYTES ((size_t)256 << 20)
#define NR_ROUNDS 5
#define MEMORY_BYTES ((size_t)32 << 20) /* what is sent, over and over: more than the caches of most machines */
#define UDP_BYTES_MAX 65507

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* --- The peer --------------------------------------------------------------------------------------- */

static void *discard(void *arg)
{
	int fd = *(int *)arg;

	while (recv(fd, NULL, 1 << 20, MSG_TRUNC) > 0)
		;
	return NULL;
}

/* A loopback connection; *peer is its other end. */
static int connect_to_thread(int *peer)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM, 0);
	pthread_t thread;

	if (listener < 0 || fd < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 || listen(listener, 1) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0 ||
	    connect(fd, (struct sockaddr *)&address, len) < 0)
		die("loopback");
	*peer = accept(listener, NULL, NULL);
	if (*peer < 0 || pthread_create(&thread, NULL, discard, peer))
		die("peer");
	return fd;
}

static int connect_to_host(const char *host, const char *port, int type)
{
	const struct addrinfo hints = {.ai_socktype = type};
	struct addrinfo *list;
	int fd;

	if (getaddrinfo(host, port, &hints, &list)) {
		fprintf(stderr, "%s: does not resolve\n", host);
		exit(1);
	}
	fd = socket(list->ai_family, type, 0);
	if (fd < 0 || connect(fd, list->ai_addr, list->ai_addrlen) < 0)
		die(host);
	freeaddrinfo(list);
	return fd;
}

/* --- Rounds ----------------------------------------------------------------------------------------- */

struct notices {
	uint64_t nr_done, nr_copied; /* sends */
};

static bool read_notice(int fd, struct notices *notices)
{
	char control[256];
	struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};
	struct sock_extended_err error;
	uint32_t nr;

	if (recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
		return false;
	memcpy(&error, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(error));
	nr = error.ee_data - error.ee_info + 1;
	notices->nr_done += nr;
	notices->nr_copied += error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED ? nr : 0;
	return true;
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Send ROUND_BYTES in pieces of len, and wait for all notices. Processor seconds per GiB. */
static double run_round(int fd, const char *memory, size_t len, bool is_zerocopy, struct notices *notices)
{
	uint64_t nr_sends = 0, before = notices->nr_done;
	double start = cpu_seconds();

	for (size_t sent = 0, at = 0; sent < ROUND_BYTES;) {
		ssize_t ret = send(fd, memory + at, len, is_zerocopy ? MSG_ZEROCOPY : 0);

		while (is_zerocopy && read_notice(fd, notices))
			;
		if (ret < 0 && errno == ENOBUFS)
			continue;
		if (ret < 0)
			die("send");
		nr_sends++;
		sent += (size_t)ret;
		at = at + 2 * len > MEMORY_BYTES ? 0 : at + len;
	}
	while (is_zerocopy && notices->nr_done - before < nr_sends) {
		struct pollfd pollfd = {.fd = fd};

		poll(&pollfd, 1, 1000);
		while (read_notice(fd, notices))
			;
	}
	return (cpu_seconds() - start) / ((double)ROUND_BYTES / (1 << 30));
}

/* --- The same by io_uring ----------------------------------------------------------------------------- */

#ifdef USP_HAVE_URING
#include <liburing.h>

#define URING_DEPTH 8	      /* sends under way */
#define URING_PENDING_MAX 256 /* sends whose memory the kernel still has: a notice may wait for an acknowledgement */
#ifndef IORING_SEND_ZC_REPORT_USAGE /* liburing 2.3 is older than it */
#define IORING_SEND_ZC_REPORT_USAGE (1u << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1u << 31)
#endif

struct uring_sends {
	unsigned nr_sending, nr_pending;
	struct notices *notices;
};

/* Takes one completion: bytes of a send, 0 of a notice. */
static size_t take_completion(struct io_uring *ring, struct uring_sends *sends)
{
	struct io_uring_cqe *cqe = NULL;
	size_t len = 0;

	if (io_uring_submit_and_wait(ring, 1) < 0 || io_uring_peek_cqe(ring, &cqe) < 0)
		die("io_uring");
	if (cqe->flags & IORING_CQE_F_NOTIF) {
		sends->notices->nr_done++;
		sends->notices->nr_copied += (unsigned)cqe->res & IORING_NOTIF_USAGE_ZC_COPIED ? 1 : 0;
	} else if (cqe->res < 0) {
		errno = -cqe->res;
		die("SEND_ZC");
	} else {
		len = (size_t)cqe->res;
		sends->nr_sending--;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		sends->nr_pending--;
	io_uring_cqe_seen(ring, cqe);
	return len;
}

/* As run_round; negative if the kernel has no such thing. */
static double run_uring_round(int fd, const char *memory, size_t len, struct notices *notices)
{
	struct io_uring ring;
	struct io_uring_probe *probe = io_uring_get_probe();
	bool is_there = probe && io_uring_opcode_supported(probe, IORING_OP_SEND_ZC);
	struct uring_sends sends = {.notices = notices};
	double start = cpu_seconds();

	io_uring_free_probe(probe);
	if (!is_there || io_uring_queue_init(URING_PENDING_MAX, &ring, 0) < 0)
		return -1;
	for (size_t sent = 0, at = 0, nr_given = 0; sent < ROUND_BYTES || sends.nr_pending;) {
		while (sends.nr_sending < URING_DEPTH && sends.nr_pending < URING_PENDING_MAX &&
		       nr_given < ROUND_BYTES) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

			io_uring_prep_send_zc(sqe, fd, memory + at, len, MSG_WAITALL, IORING_SEND_ZC_REPORT_USAGE);
			sends.nr_sending++;
			sends.nr_pending++;
			nr_given += len;
			at = at + 2 * len > MEMORY_BYTES ? 0 : at + len;
		}
		sent += take_completion(&ring, &sends);
	}
	io_uring_queue_exit(&ring);
	return (cpu_seconds() - start) / ((double)ROUND_BYTES / (1 << 30));
}
#else
static double run_uring_round(int fd, const char *memory, size_t len, struct notices *notices)
{
	(void)fd, (void)memory, (void)len, (void)notices;
	return -1;
}
#endif

/* --- All of it ---------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

static void print_way(const char *name, const double seconds[NR_ROUNDS], double copying, const struct notices *notices)
{
	double median = seconds[NR_ROUNDS / 2];

	if (median < 0)
		printf("  %s -", name);
	else
		printf("  %s %.3f (%.2f x, copied %3.0f %%)", name, median, median / copying,
		       100.0 * (double)notices->nr_copied / (double)(notices->nr_done ? notices->nr_done : 1));
}

static void run_size(int fd, const char *memory, size_t len)
{
	double seconds[3][NR_ROUNDS];
	struct notices notices = {0}, uring_notices = {0};

	for (unsigned i = 0; i < NR_ROUNDS; i++) {
		seconds[0][i] = run_round(fd, memory, len, false, &notices);
		seconds[1][i] = run_round(fd, memory, len, true, &notices);
		seconds[2][i] = run_uring_round(fd, memory, len, &uring_notices);
	}
	for (unsigned i = 0; i < 3; i++)
		qsort(seconds[i], NR_ROUNDS, sizeof(double), compare);
	printf("%8zu  copy %.3f s/GiB", len, seconds[0][NR_ROUNDS / 2]);
	print_way("zero-copy", seconds[1], seconds[0][NR_ROUNDS / 2], &notices);
	print_way("SEND_ZC", seconds[2], seconds[0][NR_ROUNDS / 2], &uring_notices);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool is_udp = argc == 4 && strcmp(argv[1], "--udp") == 0;
	char *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd, peer = -1, on = 1;

	if (argc != 1 && argc != 3 && !is_udp) {
		fprintf(stderr, "usage: zerocopy_threshold [[--udp] HOST PORT]\n");
		return 2;
	}
	if (memory == MAP_FAILED)
		die("mmap");
	madvise(memory, MEMORY_BYTES, MADV_HUGEPAGE);
	memset(memory, 'x', MEMORY_BYTES);
	if (argc == 1)
		fd = connect_to_thread(&peer);
	else
		fd = connect_to_host(argv[argc - 2], argv[argc - 1], is_udp ? SOCK_DGRAM : SOCK_STREAM);
	if (setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) < 0)
		die("SO_ZEROCOPY");
	for (size_t len = 4096; len <= (is_udp ? UDP_BYTES_MAX : (size_t)4 << 20); len *= 2)
		run_size(fd, memory, len);
	if (is_udp)
		run_size(fd, memory, UDP_BYTES_MAX);
	return 0;
}
