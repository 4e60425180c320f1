/* SPDX-License-Identifier: MIT */
/*
 * sized - public structs begin with their size, so that they can grow and old programs still work.
 *
 * A program fills in `size_t size`, the size that it was built with. A shorter struct is older: its
 * missing fields count as zero, and zero is the default of every field that is added. A longer struct
 * is newer: its bytes that this library does not know must be zero, because anything else asks for
 * what this library cannot do. (The rule of openat2(2) and clone3(2).)
 */
#ifndef USP_BASE_SIZED_H
#define USP_BASE_SIZED_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Check a size: 0, -EINVAL if it is below least, or -E2BIG if a byte behind the known part is not zero. */
static inline int usp_sized_check(const void *from, size_t known, size_t least)
{
	size_t size = *(const size_t *)from;

	if (size < least)
		return -EINVAL;
	for (size_t i = known; i < size; i++) {
		if (((const unsigned char *)from)[i])
			return -E2BIG;
	}
	return 0;
}

/* Copy the caller's parameters into to, len bytes of the same type: 0, -EINVAL if size is not set, or -E2BIG. */
static inline int usp_sized_take(void *to, size_t len, const void *from)
{
	size_t size = *(const size_t *)from;
	int ret = usp_sized_check(from, len, sizeof(size));

	if (ret < 0)
		return ret;
	memset(to, 0, len);
	memcpy(to, from, size < len ? size : len);
	*(size_t *)to = len;
	return 0;
}

/* Copy a result, len bytes at from, into the caller's struct, up to its size. Bytes behind the known part become 0. */
static inline void usp_sized_give(void *to, const void *from, size_t len)
{
	size_t size = *(const size_t *)to, given = size < len ? size : len;

	if (given <= sizeof(size))
		return;
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size), given - sizeof(size));
	memset((char *)to + given, 0, size - given);
}

#endif
