/* SPDX-License-Identifier: MIT */
/* process - what belongs to the process as a whole: its caches, and the version. */
#include "base/sized.h"
#include "lanes/kpool.h"
#include "mm/folio.h"

void usp_trim(struct usp_usage *ret_usage)
{
	struct usp_usage usage;
	size_t nr_idle;

	usp_folio_trim();
	usp_kpool_trim();
	if (!ret_usage)
		return;
	usp_folio_usage(&usage.nr_folios, &usage.folio_bytes);
	usp_kpool_usage(&usage.nr_kpipes, &nr_idle, &usage.nr_kpipes_destroyed);
	usp_sized_give(ret_usage, &usage, sizeof(usage));
}

const char *usp_version(void)
{
	return USP_VERSION;
}
