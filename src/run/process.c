/* SPDX-License-Identifier: MIT */
/* process - what belongs to the process as a whole: its caches, and the version. */
#include "endpoints/kpipe.h"
#include "mm/folio.h"

void usp_trim(struct usp_usage *ret_usage)
{
	size_t nr_idle;

	usp_folio_trim();
	usp_kpipe_trim();
	if (!ret_usage)
		return;
	usp_folio_usage(&ret_usage->nr_folios, &ret_usage->folio_bytes);
	usp_kpipe_usage(&ret_usage->nr_kpipes, &nr_idle, &ret_usage->nr_kpipes_destroyed);
}

const char *usp_version(void)
{
	return USP_VERSION;
}
