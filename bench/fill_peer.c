/* SPDX-License-Identifier: MIT */
/*
 * fill_peer - fill_peer LENGTH SINK...: write so many bytes into each of new files, the same 256 KiB again and again, one file
 * after the other: what a fan-out to files costs if its bytes cost nothing and are in the cache of the processor.
 */
#include <fcntl.h>
#include <unistd.h>

#include "bench.h"

#define FILL_BYTES ((size_t)256 << 10)
#define FILL_SINKS_MAX 16

int main(int argc, char **argv)
{
	int sinks[FILL_SINKS_MAX], nr_sinks = argc - 2;
	unsigned char *bytes = bench_memory(FILL_BYTES);
	size_t left = bench_bytes(argc > 1 ? argv[1] : "");

	if (nr_sinks < 1 || nr_sinks > FILL_SINKS_MAX)
		bench_die("fill_peer", EINVAL);
	for (int i = 0; i < nr_sinks; i++)
		sinks[i] = (int)bench_check(open(argv[i + 2], O_WRONLY | O_CREAT | O_TRUNC, 0666), argv[i + 2]);
	while (left) {
		size_t len = left < FILL_BYTES ? left : FILL_BYTES;

		for (int i = 0; i < nr_sinks; i++) {
			for (size_t done = 0; done < len;)
				done += (size_t)bench_check(write(sinks[i], bytes + done, len - done), argv[i + 2]);
		}
		left -= len;
	}
	return 0;
}
