/* SPDX-License-Identifier: MIT */
/* sys_memory - the system calls of memory. */
#include <errno.h>
#include <sys/mman.h>

#include "base/sys_door.h"

#define SYS_HUGE_LEN ((size_t)2 << 20)

static void *sys_map(size_t len)
{
	void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return base == MAP_FAILED ? NULL : base;
}

/* Map one huge page more than asked, and unmap the parts in front of and behind the aligned range. */
static void *sys_map_huge(size_t len)
{
	char *base = sys_map(len + SYS_HUGE_LEN);
	size_t head;

	if (!base)
		return NULL;
	head = -(uintptr_t)base % SYS_HUGE_LEN;
	if (head > 0)
		munmap(base, head);
	munmap(base + head + len, SYS_HUGE_LEN - head);
	madvise(base + head, len, MADV_HUGEPAGE);
	return base + head;
}

void *usp_sys_map_anon(size_t len)
{
	if (len == 0 || len % SYS_HUGE_LEN != 0 || len > SIZE_MAX - SYS_HUGE_LEN)
		return sys_map(len);
	return sys_map_huge(len);
}

void *usp_sys_map_own(size_t len)
{
	void *base = sys_map(len);

	if (base && madvise(base, len, MADV_WIPEONFORK) < 0) {
		munmap(base, len);
		return NULL;
	}
	return base;
}

int usp_sys_map_file(int fd, size_t len, void **ret_base)
{
	void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (base == MAP_FAILED)
		return -errno;
	*ret_base = base;
	return 0;
}

void usp_sys_unmap(void *base, size_t len)
{
	if (base)
		munmap(base, len);
}
