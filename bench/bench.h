/* SPDX-License-Identifier: MIT */
/* bench - what the peers share: giving up, sizes, the clock. */
#ifndef USP_BENCH_H
#define USP_BENCH_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#define BENCH_HUGE_BYTES ((size_t)2 << 20)

static inline _Noreturn void bench_die(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n", what, strerror(error));
	exit(1);
}

/* The result of a system call, or the end of the program. */
static inline ssize_t bench_check(ssize_t ret, const char *what)
{
	if (ret < 0)
		bench_die(what, errno);
	return ret;
}

static inline size_t bench_bytes(const char *text)
{
	char *end;
	unsigned long long len = strtoull(text, &end, 10);

	if (len == 0 || *end)
		bench_die(text, EINVAL);
	return (size_t)len;
}

static inline double bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* User and system time so far of who: RUSAGE_SELF or RUSAGE_THREAD. */
static inline double bench_cpu(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* Memory that begins at a huge page and is one where the kernel has one to give; every byte has been written. */
static inline unsigned char *bench_memory(size_t len)
{
	size_t mapped = len + BENCH_HUGE_BYTES;
	unsigned char *base = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (base == MAP_FAILED)
		bench_die("mmap", errno);
	base += BENCH_HUGE_BYTES - (uintptr_t)base % BENCH_HUGE_BYTES;
	madvise(base, len, MADV_HUGEPAGE);
	for (size_t i = 0; i < len; i++)
		base[i] = (unsigned char)(i * 31 >> 3);
	return base;
}

#endif
