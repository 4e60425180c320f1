/* SPDX-License-Identifier: MIT */
/* report - the words that both texts about a relay share. */
#include "relay/report.h"

const char *const usp_report_directions[] = {[USP_TO_TARGET] = "to_target", [USP_TO_CLIENT] = "to_client"};
const char *const usp_report_hops[] = {"in", "out"};
const char *const usp_report_ways[] = {
	[USP_BY_REFERENCE] = "by_reference",
	[USP_COPIED] = "copied",
	[USP_UNKNOWN] = "unknown",
};
