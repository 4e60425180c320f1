/* SPDX-License-Identifier: MIT */
/* memory - how much memory this process can have, as far as that can be known. */
#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

#define MEMORY_TEXT_MAX 8192
#define MEMORY_PATH_MAX 4096

/* Read the beginning of a small file as a text. False, and "", if it cannot be read. */
static bool memory_read(const char *path, char text[MEMORY_TEXT_MAX])
{
	int fd = usp_sys_open(path, O_RDONLY, 0);
	ssize_t len = fd < 0 ? fd : usp_sys_read(fd, text, MEMORY_TEXT_MAX - 1);

	if (fd >= 0)
		usp_sys_close(fd);
	text[len > 0 ? len : 0] = '\0';
	return len > 0;
}

/* Return what the machine has, or UINT64_MAX. */
static uint64_t memory_of_machine(void)
{
	static const char name[] = "MemAvailable:";
	char text[MEMORY_TEXT_MAX];
	const char *line = memory_read("/proc/meminfo", text) ? strstr(text, name) : NULL;

	return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : UINT64_MAX;
}

/* Return the limit of one control group of version 2, or UINT64_MAX. */
static uint64_t memory_of_group(const char *group)
{
	char path[MEMORY_PATH_MAX], text[MEMORY_TEXT_MAX];

	if (snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group) >= (int)sizeof(path) ||
	    !memory_read(path, text) || text[0] < '0' || text[0] > '9')
		return UINT64_MAX; /* "max", too */
	return strtoull(text, NULL, 10);
}

/* Return the least limit of the control group of this process and those above it, or UINT64_MAX. */
static uint64_t memory_of_groups(void)
{
	static const char name[] = "0::";
	char text[MEMORY_TEXT_MAX], *group, *slash;
	uint64_t least = UINT64_MAX, limit;

	group = memory_read("/proc/self/cgroup", text) ? strstr(text, name) : NULL;
	if (!group)
		return least;
	group += strlen(name);
	group[strcspn(group, "\n")] = '\0';
	while ((slash = strrchr(group, '/')) != NULL) {
		limit = memory_of_group(group);
		least = limit < least ? limit : least;
		*slash = '\0';
	}
	return least;
}

/* Tell whether the address space has room for it. */
static bool memory_can_map(uint64_t len)
{
	void *base = len <= SIZE_MAX / 2 ? usp_sys_map_anon((size_t)len) : NULL;

	usp_sys_unmap(base, (size_t)len);
	return base;
}

uint64_t usp_memory_available(void)
{
	uint64_t machine = memory_of_machine(), groups = memory_of_groups();

	return machine < groups ? machine : groups;
}

bool usp_memory_may_have(uint64_t len)
{
	return len <= usp_memory_available() && memory_can_map(len);
}
