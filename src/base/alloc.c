/* SPDX-License-Identifier: MIT */
/* alloc - the one door to the heap. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

void *usp_alloc(size_t len)
{
	return calloc(1, len);
}

void *usp_alloc_array(size_t nr_items, size_t item_len)
{
	return calloc(nr_items, item_len);
}

char *usp_alloc_string(const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = usp_alloc(len);

	return copy ? memcpy(copy, text, len) : NULL;
}

void usp_free(void *base)
{
	free(base);
}

void usp_alloc_trim(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}
