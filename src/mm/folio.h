/* SPDX-License-Identifier: MIT */
/* folio - the folio pool, as the rest of the library sees it. */
#ifndef USP_MM_FOLIO_H
#define USP_MM_FOLIO_H

#include <usplice/endpoint.h>

#define USP_PAGE 4096u

/* Tell whether the memory is of the pool: then the last reference frees it, and nobody else wants it back. */
static inline bool usp_folio_is_pooled(const struct usp_folio *folio)
{
	return folio->order != 0;
}

/* Count the folios that are alive, and the bytes of those from the pool. */
void usp_folio_usage(size_t *ret_nr_folios, size_t *ret_bytes);

/* Give the free memory of the pool back to the kernel. */
void usp_folio_trim(void);

#endif
