/* SPDX-License-Identifier: MIT */
/* standard - the descriptors 0, 1 and 2, which may be closed. */
#include "standard.h"

#include <fcntl.h>
#include <unistd.h>

#define STANDARD_NR 3

static bool standard_closed[STANDARD_NR];

bool standard_occupy_closed(void)
{
	int fd;

	for (fd = 0; fd < STANDARD_NR; fd++) {
		standard_closed[fd] = fcntl(fd, F_GETFD) < 0;
		if (standard_closed[fd] && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	}
	return true;
}

bool standard_was_closed(int fd)
{
	return standard_closed[fd];
}
