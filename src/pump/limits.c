/* SPDX-License-Identifier: MIT */
/* limits - how much a pump may take now, and how long it may wait: count, rates, time-outs. */
#include <errno.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "base/wait.h"
#include "pump/inside.h"
#include "transforms/buffer.h"

/* --- How much -------------------------------------------------------------------------------------------- */

ssize_t usp_pump_allowance(struct usp_pump *pump, size_t len, struct usp_pump_wait *ret_wait)
{
	uint64_t wait_ns = 0, now_ns;

	if (pump->params.flags & USP_PUMP_COUNT)
		len = usp_min(len, (size_t)((uint64_t)pump->params.count - atomic_load(&pump->bytes)));
	if (!len || (!pump->limits.rate.per_second && !pump->limits.shared_rate))
		return (ssize_t)len;
	now_ns = usp_sys_now_ns();
	len = usp_rate_allow(&pump->limits.rate, len, now_ns, &wait_ns);
	if (len && pump->limits.shared_rate)
		len = usp_shared_rate_allow(pump->limits.shared_rate, len, now_ns, &wait_ns);
	return len ? (ssize_t)len : usp_pump_pause(ret_wait, (int64_t)wait_ns);
}

void usp_pump_count(struct usp_pump *pump, ssize_t taken)
{
	if (taken <= 0)
		return;
	atomic_fetch_add(&pump->bytes, (uint64_t)taken);
	usp_drop_source(pump);
	usp_rate_spend(&pump->limits.rate, (size_t)taken);
	if (pump->limits.shared_rate)
		usp_shared_rate_spend(pump->limits.shared_rate, (size_t)taken, usp_sys_now_ns());
}

/* --- How long -------------------------------------------------------------------------------------------- */

/* Return when something last moved, as far as is known. What a buffer reads ahead moves, too. */
static uint64_t limits_progress_ns(const struct usp_pump *pump)
{
	uint64_t progress_ns = pump->limits.progress_ns;

	for (unsigned i = 0; i < pump->nr_sources; i++) {
		uint64_t filled_ns = usp_buffer_progress_ns(pump->sources[i]);

		if (filled_ns && (int64_t)(filled_ns - progress_ns) > 0)
			progress_ns = filled_ns;
	}

	for (unsigned i = 0; i < pump->nr_sinks; i++) {
		uint64_t sink_ns = atomic_load(&pump->sinks[i].progress_ns);

		if ((int64_t)(sink_ns - progress_ns) > 0)
			progress_ns = sink_ns;
	}
	return progress_ns;
}

static uint64_t limits_deadline_ns(const struct usp_pump *pump, const struct usp_sink *sink,
				   const struct usp_pump_wait *wait)
{
	uint64_t deadline_ns = usp_earlier(UINT64_MAX, pump->limits.begun_ns, pump->params.total_ns);

	if (wait->file)
		deadline_ns = usp_earlier(deadline_ns, limits_progress_ns(pump), pump->params.idle_ns);
	if (sink && usp_sink_may_detach(sink))
		deadline_ns = usp_earlier(deadline_ns, usp_sink_blocked_since_ns(sink), usp_sink_slow_ns(sink));
	return deadline_ns;
}

int usp_pump_check_time(struct usp_pump *pump, const struct usp_sink *sink, struct usp_pump_wait *wait)
{
	uint64_t now_ns, deadline_ns, left_ns;

	for (unsigned i = 0; i < pump->nr_sinks && (pump->params.idle_ns || (sink && usp_sink_may_detach(sink))); i++)
		usp_sink_look(&pump->sinks[i]);
	now_ns = usp_sys_now_ns();
	deadline_ns = limits_deadline_ns(pump, sink, wait);
	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	left_ns = deadline_ns - now_ns;
	if (deadline_ns != UINT64_MAX && (wait->timeout_ns < 0 || left_ns < (uint64_t)wait->timeout_ns))
		wait->timeout_ns = (int64_t)left_ns;
	return -EAGAIN;
}
