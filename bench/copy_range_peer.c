/* SPDX-License-Identifier: MIT */
/* copy_range_peer - copy_range_peer SOURCE SINK: a bare copy_file_range(2) loop of 1 GiB a call; it truncates like cp. */
#include <fcntl.h>
#include <unistd.h>

#include "bench.h"

int main(int argc, char **argv)
{
	int in, out;

	if (argc != 3)
		bench_die("copy_range_peer", EINVAL);
	in = (int)bench_check(open(argv[1], O_RDONLY), argv[1]);
	out = (int)bench_check(open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0666), argv[2]);
	while (bench_check(copy_file_range(in, NULL, out, NULL, (size_t)1 << 30, 0), "copy_file_range") > 0)
		;
	return 0;
}
