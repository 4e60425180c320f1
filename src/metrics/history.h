/* SPDX-License-Identifier: MIT */
/* history - the last minutes of some numbers, one sample for each second. */
#ifndef USP_METRICS_HISTORY_H
#define USP_METRICS_HISTORY_H

#include <stdint.h>

#define USP_HISTORY_STEP_NS UINT64_C(1000000000)
#define USP_HISTORY_LEN 300
#define USP_HISTORY_SERIES_MAX 4

/* One second: what counters gained, by the second, and then gauges. */
struct usp_moment {
	uint64_t value[USP_HISTORY_SERIES_MAX];
};

struct usp_history {
	struct usp_moment ring[USP_HISTORY_LEN];
	unsigned nr_moments, next;
	unsigned nr_counters, nr_series;
	uint64_t when_ns;			   /* of the latest sample */
	uint64_t counters[USP_HISTORY_SERIES_MAX]; /* at when_ns */
};

/* Begin an empty history of nr_series numbers, of which the first nr_counters are counters, at a time and with their values. */
void usp_history_begin(struct usp_history *history, const uint64_t *values, unsigned nr_counters, unsigned nr_series,
		       uint64_t now_ns);

/*
 * Add what happened since. If that was several seconds, because the loop was held up, each of them
 * gets the average.
 */
void usp_history_add(struct usp_history *history, const uint64_t *values, uint64_t now_ns);

/* Return the index-th of nr_moments, the oldest first. */
const struct usp_moment *usp_history_at(const struct usp_history *history, unsigned index);

#endif
