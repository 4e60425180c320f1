/* SPDX-License-Identifier: MIT */
/* pairs - two connected ends of each kind: what goes into the second comes out of the first. */
#include "lanes/pairs.h"

#include <fcntl.h>

#include "base/sys.h"
#include "matrix/inside.h"

int usp_matrix_pipe(size_t len, int ret_pipe[2])
{
	int ret = usp_sys_pipe(ret_pipe, O_NONBLOCK);

	if (ret == 0 && len > MATRIX_PIPE_DEFAULT)
		ret = usp_sys_set_pipe_size(ret_pipe[1], len);
	return ret < 0 ? ret : 0;
}

/* As long as the user may have it. A cell for which it is too short says so. */
int usp_matrix_make_pipe(const struct matrix_kind *kind, int ret_pair[2])
{
	int ret = usp_matrix_pipe(MATRIX_PIPE_DEFAULT, ret_pair);

	if (ret == 0 && usp_sys_set_pipe_size(ret_pair[1], kind->max_len) < 0)
		usp_sys_set_pipe_size(ret_pair[1], kind->max_len / 2);
	return ret;
}

int usp_matrix_make_stream(const struct matrix_kind *kind, int ret_pair[2])
{
	return usp_pair_stream(kind->protocol, ret_pair);
}

int usp_matrix_make_udp(const struct matrix_kind *kind, int ret_pair[2])
{
	const int yes = 1;
	int ret = usp_pair_udp(ret_pair);

	(void)kind;
	/* Without it the receiver drops a datagram whose bytes were changed on the way. */
	return ret < 0 ? ret : usp_sys_setsockopt(ret_pair[1], SOL_SOCKET, SO_NO_CHECK, &yes, sizeof(yes));
}

int usp_matrix_make_unix(const struct matrix_kind *kind, int ret_pair[2])
{
	return usp_sys_socketpair(kind->domain, kind->type, ret_pair);
}

int usp_matrix_make_pty(const struct matrix_kind *kind, int ret_pair[2])
{
	(void)kind;
	return usp_sys_pty(ret_pair);
}
