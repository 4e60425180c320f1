/* SPDX-License-Identifier: MIT */
/* relay_load - what the three processes of the relay's load share: the plan, the counters, the latencies. */
#ifndef USP_BENCH_RELAY_LOAD_H
#define USP_BENCH_RELAY_LOAD_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "bench.h"

#define LOAD_PIECE_BYTES ((size_t)64 << 10)  /* of a write, and of a read that keeps the bytes */
#define LOAD_DISCARD_BYTES ((size_t)1 << 20) /* of a sendfile, and of a read that drops them */
#define LOAD_NR_EVENTS 256
#define LOAD_NAME_MAX 16 /* TCP_CA_NAME_MAX, which not every C library has */

/* Buckets of latency: 128 to each power of two, so a bucket is at most 0.8 % wide. */
#define LOAD_SUB_BITS 7
#define LOAD_NR_BUCKETS (48u << LOAD_SUB_BITS)

enum load_kind {
	LOAD_REAL,	  /* bulk: the client writes from memory, the sink reads */
	LOAD_LIGHT,	  /* bulk: the client sends a file, the sink discards */
	LOAD_MESSAGES,	  /* one request after the other on each connection */
	LOAD_CONNECTIONS, /* a connection for each request */
	LOAD_IDLE,	  /* connections that are quiet, and then one request on each */
	LOAD_TRICKLE,	  /* a sink that never reads, and a client that goes on in single bytes */
};

enum load_phase {
	LOAD_WARM,
	LOAD_MEASURE,
	LOAD_DONE,
};

struct load_plan {
	enum load_kind kind;
	unsigned nr_connections;
	size_t message_len; /* of a request, which begins with its length, and of its answer; 0: a mix */
	double seconds;
	const char *path; /* of the file that LOAD_LIGHT sends */
};

/* In memory that all processes see. */
struct load_shared {
	_Atomic enum load_phase phase; /* set by the control */
	atomic_bool is_ready;	       /* the client is where measuring can begin */
	_Atomic uint64_t nr_bytes;     /* that reached the sink */
	_Atomic uint64_t nr_accepted;
	_Atomic uint64_t nr_done;   /* requests that were answered */
	_Atomic uint64_t nr_failed; /* connections that did not get that far */
	_Atomic uint64_t latency[LOAD_NR_BUCKETS];
	char client_congestion[LOAD_NAME_MAX + 1], sink_congestion[LOAD_NAME_MAX + 1];
};

/* A request begins with its length, so that the sink knows it. */
typedef uint32_t load_header;

static inline void load_add(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_fetch_add_explicit(counter, value, memory_order_relaxed);
}

static inline enum load_phase load_phase(const struct load_shared *shared)
{
	return atomic_load_explicit(&shared->phase, memory_order_relaxed);
}

/* The congestion control that a connected socket has, into name. */
static inline void load_congestion(int fd, char name[LOAD_NAME_MAX + 1])
{
	socklen_t len = LOAD_NAME_MAX;

	bench_check(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), "TCP_CONGESTION");
}

/* Add a descriptor to an epoll for good. */
static inline void load_watch(int epoll_fd, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	bench_check(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

/* The two ends of the load. Neither returns; both end the process if something is not as it should be. */
_Noreturn void load_sink(const struct load_plan *plan, struct load_shared *shared, int listener);
_Noreturn void load_client(const struct load_plan *plan, struct load_shared *shared, unsigned relay_port,
			   unsigned sink_port);

#endif
