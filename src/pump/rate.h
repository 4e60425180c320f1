/* SPDX-License-Identifier: MIT */
/*
 * rate - how many bytes may go now, so that the average stays below a limit: a bucket of tokens for
 * one flow, and a shared clock for many flows in any threads.
 */
#ifndef USP_PUMP_RATE_H
#define USP_PUMP_RATE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define USP_RATE_STEPS_PER_SECOND 20 /* a limited flow moves in steps of 50 ms */

struct usp_rate {
	uint64_t per_second; /* 0: no limit */
	uint64_t last_ns;
	double tokens; /* bytes that may go now; at most one step's worth */
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

/* Return how many bytes of len may go now; 0 means to wait *ret_wait_ns first. */
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

/*
 * The bytes that all flows took so far are paid for at earned_ns; until then no flow takes more. It
 * is one word, so it needs no lock.
 */
struct usp_shared_rate {
	uint64_t per_second;
	_Atomic(uint64_t) earned_ns;
};

/*
 * Return how many bytes may go, as usp_rate_allow. Two threads that ask at the same instant may
 * both be allowed; the clock then makes up for it.
 */
static inline size_t usp_shared_rate_allow(struct usp_shared_rate *rate, size_t len, uint64_t now_ns,
					   uint64_t *ret_wait_ns)
{
	uint64_t earned_ns = atomic_load_explicit(&rate->earned_ns, memory_order_relaxed);
	uint64_t step = rate->per_second / USP_RATE_STEPS_PER_SECOND;

	if (earned_ns > now_ns) {
		*ret_wait_ns = earned_ns - now_ns;
		return 0;
	}
	step = step ? step : 1;
	return len < step ? len : (size_t)step;
}

static inline void usp_shared_rate_spend(struct usp_shared_rate *rate, size_t len, uint64_t now_ns)
{
	uint64_t cost_ns = (uint64_t)((double)len * 1e9 / (double)rate->per_second);
	uint64_t old_ns = atomic_load_explicit(&rate->earned_ns, memory_order_relaxed), new_ns;

	do
		new_ns = (old_ns > now_ns ? old_ns : now_ns) + cost_ns;
	while (!atomic_compare_exchange_weak(&rate->earned_ns, &old_ns, new_ns));
}

#endif
