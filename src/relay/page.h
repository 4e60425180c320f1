/* SPDX-License-Identifier: MIT */
/* page - page.html as the build embeds it. */
#ifndef USP_RELAY_PAGE_H
#define USP_RELAY_PAGE_H

#include "metrics/server.h"

extern const struct usp_metrics_page usp_relay_page;

#endif
