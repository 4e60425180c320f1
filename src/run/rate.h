/* SPDX-License-Identifier: MIT */
/* rate - how many bytes may go now, so that the average stays below a limit: a bucket of tokens. */
#ifndef USP_RUN_RATE_H
#define USP_RUN_RATE_H

#include <stddef.h>
#include <stdint.h>

#define USP_RATE_STEPS_PER_SECOND 20 /* a limited flow moves in steps of 50 ms */

struct usp_rate {
	uint64_t per_second; /* 0: no limit */
	uint64_t last_ns;
	double tokens; /* bytes that may go; never more than one step's worth is saved up */
};

static inline double usp_rate_step(const struct usp_rate *rate)
{
	double step = (double)rate->per_second / USP_RATE_STEPS_PER_SECOND;

	return step < 1 ? 1 : step;
}

static inline void usp_rate_init(struct usp_rate *rate, uint64_t per_second, uint64_t now_ns)
{
	*rate = (struct usp_rate){.per_second = per_second, .last_ns = now_ns};
	rate->tokens = usp_rate_step(rate);
}

/* Bytes of len that may go now; 0 means to wait *ret_wait_ns first. */
static inline size_t usp_rate_allow(struct usp_rate *rate, size_t len, uint64_t now_ns, uint64_t *ret_wait_ns)
{
	double step = usp_rate_step(rate);

	if (!rate->per_second)
		return len;
	rate->tokens += (double)(now_ns - rate->last_ns) * (double)rate->per_second / 1e9;
	if (rate->tokens > step)
		rate->tokens = step;
	rate->last_ns = now_ns;
	if (rate->tokens < step && (double)len > rate->tokens) {
		*ret_wait_ns = (uint64_t)((step - rate->tokens) * 1e9 / (double)rate->per_second) + 1;
		return 0;
	}
	return (double)len < rate->tokens ? len : (size_t)rate->tokens;
}

static inline void usp_rate_spend(struct usp_rate *rate, size_t len)
{
	if (rate->per_second)
		rate->tokens -= (double)len;
}

#endif
