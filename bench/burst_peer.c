/* SPDX-License-Identifier: MIT */
/*
 * burst_peer - the two ends of a pipeline that are not steady.
 *
 *   burst_peer source LEN BURST PAUSE    LEN bytes of memory into standard output, BURST at a time, with pauses of PAUSE ms
 *   burst_peer sink BURST PAUSE          standard input by read(2) in the same way; its first burst is half as long, so that the
 *                                        pauses of both do not meet
 */
#include <unistd.h>

#include "bench.h"

#define PEER_CHUNK ((size_t)1 << 20)

/* A pause after each burst. */
struct burst {
	size_t len, left;
	struct timespec pause;
};

static struct burst burst_new(const char *len, const char *pause)
{
	uint64_t ms = bench_bytes(pause);
	struct burst burst = {.len = bench_bytes(len),
			      .pause = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000 * 1000000)}};

	burst.left = burst.len;
	return burst;
}

/* Return how much of len may go now. */
static size_t burst_next(const struct burst *burst, size_t len)
{
	len = len < PEER_CHUNK ? len : PEER_CHUNK;
	return len < burst->left ? len : burst->left;
}

static void burst_went(struct burst *burst, size_t len)
{
	burst->left -= len;
	if (burst->left)
		return;
	burst->left = burst->len;
	nanosleep(&burst->pause, NULL);
}

static void peer_source(size_t len, struct burst *burst)
{
	unsigned char *base = bench_memory(PEER_CHUNK);

	while (len) {
		size_t done = (size_t)bench_check(write(STDOUT_FILENO, base, burst_next(burst, len)), "write");

		len -= done;
		burst_went(burst, done);
	}
}

static void peer_sink(struct burst *burst)
{
	unsigned char *base = bench_memory(PEER_CHUNK);
	size_t done;

	burst->left = burst->len / 2;
	while ((done = (size_t)bench_check(read(STDIN_FILENO, base, burst_next(burst, PEER_CHUNK)), "read")) > 0)
		burst_went(burst, done);
}

int main(int argc, char **argv)
{
	struct burst burst;

	if (argc == 5 && strcmp(argv[1], "source") == 0) {
		burst = burst_new(argv[3], argv[4]);
		peer_source(bench_bytes(argv[2]), &burst);
	} else if (argc == 4 && strcmp(argv[1], "sink") == 0) {
		burst = burst_new(argv[2], argv[3]);
		peer_sink(&burst);
	} else {
		bench_die("burst_peer", EINVAL);
	}
	return 0;
}
