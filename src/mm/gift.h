/* SPDX-License-Identifier: MIT */
/* gift - memory of the caller as a folio, with a call of done when the library has finished with it. */
#ifndef USP_MM_GIFT_H
#define USP_MM_GIFT_H

#include <usplice/endpoint.h>

struct usp_gift {
	struct usp_folio folio;
	void (*done)(void *arg); /* may be NULL */
	void *arg;
};

#endif
