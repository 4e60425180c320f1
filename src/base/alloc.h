/* SPDX-License-Identifier: MIT */
/* alloc - the one door to the heap: zeroed memory or NULL. */
#ifndef USP_BASE_ALLOC_H
#define USP_BASE_ALLOC_H

#include <stddef.h>

void *usp_alloc(size_t len);
void *usp_alloc_array(size_t nr_items, size_t item_len); /* NULL also on overflow */
char *usp_alloc_string(const char *text);
void usp_free(void *base);

void usp_alloc_trim(void); /* give free pages of the heap back, if the C library can; slow */

#endif
