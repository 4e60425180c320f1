/* SPDX-License-Identifier: MIT */
/* report - the words that both reports of a relay share. */
#include "relay/report.h"

const char *const usp_report_directions[] = {[USP_TO_TARGET] = "to_target", [USP_TO_CLIENT] = "to_client"};
const char *const usp_report_hops[] = {"in", "out"};
const char *const usp_report_ways[] = {
	[USP_BY_REFERENCE] = "by_reference",
	[USP_COPIED] = "copied",
	[USP_UNKNOWN] = "unknown",
};
const char *const usp_report_header_faults[] = {
	[USP_HEADER_MALFORMED] = "malformed",
	[USP_HEADER_TOO_LONG] = "too_long",
	[USP_HEADER_WRONG_SUM] = "wrong_checksum",
	[USP_HEADER_CUT] = "cut",
	[USP_HEADER_LATE] = "late",
};
