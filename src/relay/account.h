/* SPDX-License-Identifier: MIT */
/* account - add up what a worker's flows did. */
#ifndef USP_RELAY_ACCOUNT_H
#define USP_RELAY_ACCOUNT_H

#include "relay/worker.h"

/* Take the accounts of a flow's files into the counters, after a step. True if something moved. */
bool usp_account_step(struct usp_relay_counters *counters, unsigned direction, struct usp_flow *flow);

/* Take the rest, and what is stranded, before the flow's pump is freed. */
void usp_account_end(struct usp_relay_counters *counters, unsigned direction, struct usp_flow *flow);

/* Count bytes that were taken and go nowhere, because the sink of that direction broke. */
void usp_account_drop(struct usp_relay_counters *counters, unsigned direction, uint64_t len);

/* Add a worker's counters to a status. */
void usp_account_sum(struct usp_relay_counters *counters, struct usp_relay_status *status);

#endif
