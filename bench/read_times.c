/* SPDX-License-Identifier: MIT */
/*
 * read_times - how long random reads of 4 KiB take.
 *
 *   read_times NUMBER PATH    the median and the 99th percentile of NUMBER calls of pread(2), in nanoseconds
 *
 * The pages come at random, but in the same order in each run.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define TIMES_PAGE ((size_t)4096)

static int times_compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

/* xorshift64*: the same numbers in each run. */
static uint64_t times_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717u;
}

static uint64_t times_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	static unsigned char page[TIMES_PAGE];
	uint64_t *times, state = 1, nr_pages;
	size_t nr = argc == 3 ? bench_bytes(argv[1]) : 0;
	struct stat st;
	int fd;

	if (!nr)
		bench_die("read_times", EINVAL);
	fd = (int)bench_check(open(argv[2], O_RDONLY | O_CLOEXEC), argv[2]);
	bench_check(fstat(fd, &st), argv[2]);
	nr_pages = (uint64_t)st.st_size / TIMES_PAGE;
	times = calloc(nr, sizeof(*times));
	if (!times || nr_pages == 0)
		bench_die(argv[2], times ? EINVAL : ENOMEM);
	for (size_t i = 0; i < nr; i++) {
		off_t off = (off_t)(times_random(&state) % nr_pages * TIMES_PAGE);
		uint64_t begin = times_now_ns();

		if (bench_check(pread(fd, page, sizeof(page), off), argv[2]) != (ssize_t)sizeof(page))
			bench_die(argv[2], EIO);
		times[i] = times_now_ns() - begin;
	}
	qsort(times, nr, sizeof(*times), times_compare);
	printf("%llu %llu\n", (unsigned long long)times[nr / 2], (unsigned long long)times[nr - 1 - nr / 100]);
	free(times);
	close(fd);
	return 0;
}
