/* SPDX-License-Identifier: MIT */
/* folio - what the rest of the library may ask of the folio pool. */
#ifndef USP_MM_FOLIO_H
#define USP_MM_FOLIO_H

#include <usplice/endpoint.h>

#define USP_PAGE 4096u

/* Folios alive, and the bytes that pool folios among them hold. */
void usp_folio_usage(size_t *ret_nr_folios, size_t *ret_bytes);

/* Give memory that no folio uses back to the kernel. */
void usp_folio_trim(void);

#endif
