/* SPDX-License-Identifier: MIT */
/*
 * pipe_peer - the two ends of a shell pipeline, as cheap as they can be.
 *
 *   pipe_peer vmsplice LEN    LEN bytes of memory into standard output by reference
 *   pipe_peer write LEN       the same by write(2)
 *   pipe_peer splice          standard input into /dev/null by reference
 *   pipe_peer read            standard input by read(2)
 *
 * None of them widens its pipe: what stands in the middle may.
 */
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench.h"

#define PEER_CHUNK ((size_t)256 << 10)
#define PEER_SPLICE_CHUNK ((size_t)1 << 20)

static void peer_generate(size_t len, int by_reference)
{
	unsigned char *base = bench_memory(PEER_SPLICE_CHUNK);
	size_t chunk = by_reference ? PEER_SPLICE_CHUNK : PEER_CHUNK;

	while (len) {
		struct iovec iov = {.iov_base = base, .iov_len = len < chunk ? len : chunk};

		len -= (size_t)(by_reference ? bench_check(vmsplice(STDOUT_FILENO, &iov, 1, 0), "vmsplice")
					     : bench_check(write(STDOUT_FILENO, base, iov.iov_len), "write"));
	}
}

static void peer_splice(void)
{
	int null = (int)bench_check(open("/dev/null", O_WRONLY), "/dev/null");

	while (bench_check(splice(STDIN_FILENO, NULL, null, NULL, PEER_SPLICE_CHUNK, 0), "splice") > 0)
		;
}

static void peer_read(void)
{
	unsigned char *base = bench_memory(PEER_CHUNK);

	while (bench_check(read(STDIN_FILENO, base, PEER_CHUNK), "read") > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "vmsplice") == 0)
		peer_generate(bench_bytes(argv[2]), 1);
	else if (argc == 3 && strcmp(argv[1], "write") == 0)
		peer_generate(bench_bytes(argv[2]), 0);
	else if (argc == 2 && strcmp(argv[1], "splice") == 0)
		peer_splice();
	else if (argc == 2 && strcmp(argv[1], "read") == 0)
		peer_read();
	else
		bench_die("pipe_peer", EINVAL);
	return 0;
}
