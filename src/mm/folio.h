/* SPDX-License-Identifier: MIT */
/* folio - the folio pool, as the rest of the library sees it. */
#ifndef USP_MM_FOLIO_H
#define USP_MM_FOLIO_H

#include <usplice/endpoint.h>

#define USP_PAGE 4096u

/* Count the folios that are alive, and the bytes of those from the pool. */
void usp_folio_usage(size_t *ret_nr_folios, size_t *ret_bytes);

/* Give the free memory of the pool back to the kernel. */
void usp_folio_trim(void);

#endif
