/* SPDX-License-Identifier: MIT */
/* history - the last minutes of a relay, one sample for each second. */
#ifndef USP_RELAY_HISTORY_H
#define USP_RELAY_HISTORY_H

#include <usplice/relay.h>

#define USP_HISTORY_STEP_NS UINT64_C(1000000000)
#define USP_HISTORY_LEN 300

/* One second. */
struct usp_moment {
	uint64_t rate[2]; /* bytes per second, by direction */
	unsigned nr_connections;
};

struct usp_history {
	struct usp_moment ring[USP_HISTORY_LEN];
	unsigned nr_moments, next;
	uint64_t when_ns;      /* of the latest sample */
	uint64_t delivered[2]; /* until when_ns */
};

/* Begin an empty history, at a time and with the counters of that moment. */
void usp_history_begin(struct usp_history *history, const struct usp_relay_status *status, uint64_t now_ns);

/*
 * Add what happened since. If that was several seconds, because the loop was held up, each of them
 * gets the average.
 */
void usp_history_add(struct usp_history *history, const struct usp_relay_status *status, uint64_t now_ns);

/* Return the index-th of nr_moments, the oldest first. */
const struct usp_moment *usp_history_at(const struct usp_history *history, unsigned index);

#endif
