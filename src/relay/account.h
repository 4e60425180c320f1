/* SPDX-License-Identifier: MIT */
/* account - what a worker's flows did, added up. */
#ifndef USP_RELAY_ACCOUNT_H
#define USP_RELAY_ACCOUNT_H

#include "relay/worker.h"

/* After a step: take what its files have on account into the counters. True if something moved. */
bool usp_account_step(struct usp_relay_counters *counters, unsigned direction, struct usp_flow *flow);

/* Before its pump goes: the rest, and what is stranded. */
void usp_account_end(struct usp_relay_counters *counters, unsigned direction, struct usp_flow *flow);

/* Bytes were taken that go nowhere, because the sink of that direction broke. */
void usp_account_drop(struct usp_relay_counters *counters, unsigned direction, uint64_t len);

/* Add a worker's counters to a status. */
void usp_account_sum(struct usp_relay_counters *counters, struct usp_relay_status *status);

#endif
