/* SPDX-License-Identifier: MIT */
/* history - the last minutes of some numbers, one sample for each second. */
#include "metrics/history.h"

#include <string.h>

#include "base/compiler.h"

void usp_history_begin(struct usp_history *history, const uint64_t *values, unsigned nr_counters, unsigned nr_series,
		       uint64_t now_ns)
{
	history->nr_moments = 0;
	history->next = 0;
	history->nr_counters = nr_counters;
	history->nr_series = nr_series;
	history->when_ns = now_ns;
	memcpy(history->counters, values, nr_counters * sizeof(values[0]));
}

static uint64_t history_rate(uint64_t before, uint64_t after, uint64_t elapsed_ns)
{
	return after > before ? (uint64_t)((double)(after - before) * 1e9 / (double)elapsed_ns) : 0;
}

static void history_push(struct usp_history *history, const struct usp_moment *moment)
{
	history->ring[history->next] = *moment;
	history->next = (history->next + 1) % USP_HISTORY_LEN;
	if (history->nr_moments < USP_HISTORY_LEN)
		history->nr_moments++;
}

void usp_history_add(struct usp_history *history, const uint64_t *values, uint64_t now_ns)
{
	uint64_t elapsed_ns = now_ns - history->when_ns;
	size_t nr_steps = (elapsed_ns + USP_HISTORY_STEP_NS / 2) / USP_HISTORY_STEP_NS;
	struct usp_moment moment;

	if (!nr_steps)
		return;
	for (unsigned i = 0; i < history->nr_series; i++)
		moment.value[i] = i < history->nr_counters ? history_rate(history->counters[i], values[i], elapsed_ns)
							   : values[i];
	for (size_t i = 0; i < usp_min(nr_steps, USP_HISTORY_LEN); i++)
		history_push(history, &moment);
	history->when_ns = now_ns;
	memcpy(history->counters, values, history->nr_counters * sizeof(values[0]));
}

const struct usp_moment *usp_history_at(const struct usp_history *history, unsigned index)
{
	return &history->ring[(history->next + USP_HISTORY_LEN - history->nr_moments + index) % USP_HISTORY_LEN];
}
