/* SPDX-License-Identifier: MIT */
/* page - page.html as the build embeds it. */
#ifndef USP_MOUNT_PAGE_H
#define USP_MOUNT_PAGE_H

#include "metrics/server.h"

extern const struct usp_metrics_page usp_mount_page;

#endif
