/* SPDX-License-Identifier: MIT */
/* report - a mount as numbers and as JSON, for its metrics. */
#ifndef USP_MOUNT_REPORT_H
#define USP_MOUNT_REPORT_H

#include "metrics/numbers.h"

struct usp_mount;

void mount_report_numbers(struct usp_mount *mount, struct usp_numbers *numbers);

/* uptime_ns: since the metrics began. */
void mount_report_json(struct usp_mount *mount, uint64_t uptime_ns, struct usp_text *text);

#endif
