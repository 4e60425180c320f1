/* SPDX-License-Identifier: MIT */
/* bytes - files and memory full of one letter, which can be changed after a reference to them has gone. */
#include <errno.h>
#include <linux/magic.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "matrix/inside.h"

#define BYTES_CHUNK ((size_t)65536)

static int bytes_write(int fd, size_t len, char letter)
{
	char chunk[BYTES_CHUNK];

	memset(chunk, letter, sizeof(chunk));
	for (size_t at = 0; at < len;) {
		const struct iovec iov = {.iov_base = chunk, .iov_len = usp_min(len - at, sizeof(chunk))};
		ssize_t ret = usp_sys_writev(fd, &iov, 1, &(int64_t){(int64_t)at});

		if (ret <= 0)
			return ret < 0 ? (int)ret : -ENOSPC;
		at += (size_t)ret;
	}
	return 0;
}

/* Read a byte of each page, so that it is in the page table of this process. */
static void bytes_touch(const struct matrix_bytes *bytes)
{
	for (size_t at = 0; at < bytes->len; at += MATRIX_PAGE)
		(void)*(volatile char *)(bytes->window + at);
}

static int bytes_map(struct matrix_bytes *bytes)
{
	void *window;
	int ret = usp_sys_map_file(bytes->fd, bytes->len, &window);

	if (ret == 0)
		bytes->window = window;
	return ret;
}

/* A file of huge pages takes no write, and this machine may have no such page: it stays a hole. */
static int bytes_fill(struct matrix_bytes *bytes, char letter, enum matrix_state state)
{
	int ret;

	if (usp_sys_fs_type(bytes->fd) == HUGETLBFS_MAGIC)
		return usp_sys_ftruncate(bytes->fd, (int64_t)usp_max(bytes->len, MATRIX_LARGE));
	ret = bytes_write(bytes->fd, bytes->len, letter);
	if (ret == 0 && state != MATRIX_DIRTY)
		ret = usp_sys_fsync(bytes->fd);
	if (ret == 0 && state == MATRIX_MAPPED)
		ret = bytes_map(bytes);
	if (ret == 0 && bytes->window)
		bytes_touch(bytes);
	return ret;
}

int usp_matrix_bytes_file(int fd, size_t len, char letter, enum matrix_state state, struct matrix_bytes *ret_bytes)
{
	*ret_bytes = (struct matrix_bytes){.fd = fd, .len = len};
	return fd < 0 ? fd : bytes_fill(ret_bytes, letter, state);
}

/* A fork in another thread must not leave its page to the child, and a new one to the change. */
int usp_matrix_bytes_memory(size_t len, struct matrix_bytes *ret_bytes)
{
	*ret_bytes = (struct matrix_bytes){.fd = -1, .window = usp_sys_map_own(len), .len = len};
	if (!ret_bytes->window)
		return -ENOMEM;
	memset(ret_bytes->window, MATRIX_OLD, len);
	return 0;
}

int usp_matrix_bytes_change(const struct matrix_bytes *bytes, char letter)
{
	if (!bytes->window)
		return bytes_write(bytes->fd, bytes->len, letter);
	memset(bytes->window, letter, bytes->len);
	return 0;
}

void usp_matrix_bytes_close(struct matrix_bytes *bytes)
{
	usp_sys_unmap(bytes->window, bytes->len);
	usp_sys_close(bytes->fd);
	*bytes = (struct matrix_bytes){.fd = -1};
}

bool usp_matrix_is_memory(int fd)
{
	long type = usp_sys_fs_type(fd);

	return type == TMPFS_MAGIC || type == RAMFS_MAGIC || type == HUGETLBFS_MAGIC;
}
