/* SPDX-License-Identifier: MIT */
/*
 * lowat - a bulk flow is woken late, and takes more at a time: SO_RCVLOWAT.
 *
 *   4 MiB and 100 ms, each wake-up 64 KiB or more ──► mark at 256 KiB ──a wake-up brings less than 64 KiB──► no mark
 *   ▲      and all together 256 KiB or less                       └──they bring 512 KiB or more──► no mark      │
 *   │                                                                                                           │
 *   └────────────────────────────── twice as much, if something had to wait for nothing ────────────────────────┘
 *
 * A relay that is faster than its sender is woken for each segment or two. With a low-water mark the kernel wakes it when a quarter
 * of its pipe can be filled, for two thirds of the processor time where some connections share the processor (docs/lanes.md).
 * A flow that finds more than that whenever its turn comes needs no mark: it would only be late.
 *
 * What stays below the mark must not wait for ever: the step says when to look at the latest, which is when the mark would have
 * been reached at the rate shown before, but not so soon that a sender that has lost the processor for a moment is taken for
 * one that has said all. A flow that is slower gets no mark. So the tail of an answer comes late by a sixteenth of the time that
 * it took, at most, and that happens to a connection once for the first 4 MiB, once for the next 8, 16, and so on. The end of
 * input, a reset and a full buffer wake it in spite of the mark. poll(2) of a UNIX socket knows no mark, and nothing changes there.
 */
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "lanes/plan.h"
#include "pump/pump.h"

#define LOWAT_BYTES ((uint64_t)256 << 10)
#define LOWAT_PIECE ((uint64_t)64 << 10) /* that a wake-up brings, if it counts */
#define LOWAT_SHOWN_MIN ((uint64_t)4 << 20)
#define LOWAT_SHOWN_MAX ((uint64_t)1 << 30)
#define LOWAT_TRIED ((uint64_t)16 << 20) /* with a mark, until it is asked whether there is need of it */
#define LOWAT_SHOWN_NS ((uint64_t)100000000)
#define LOWAT_PATIENCE_MIN_NS ((uint64_t)5000000) /* what epoll_wait(2) can tell apart */
#define LOWAT_PATIENCE_MAX_NS ((uint64_t)50000000)

static int lowat_set(const struct usp_pump *pump, int bytes)
{
	return usp_sys_setsockopt_int(pump->source->fd, SOL_SOCKET, SO_RCVLOWAT, bytes);
}

static void lowat_start_anew(struct usp_lowat *lowat)
{
	lowat->shown = lowat->nr_shown = lowat->since_ns = 0;
}

void usp_pump_drop_lowat(struct usp_pump *pump)
{
	if (pump->lowat.patience_ns && pump->process == usp_own_nr())
		lowat_set(pump, 1);
	pump->lowat.patience_ns = 0;
	lowat_start_anew(&pump->lowat);
}

/* Enough has come in large pieces: how long does it take to reach the mark at this rate? */
static void lowat_begin(struct usp_pump *pump)
{
	struct usp_lowat *lowat = &pump->lowat;
	uint64_t len_ns = usp_sys_now_ns() - lowat->since_ns, patience_ns = len_ns / (lowat->shown / LOWAT_BYTES);
	bool is_of_use = lowat->shown / lowat->nr_shown <= LOWAT_BYTES && patience_ns <= LOWAT_PATIENCE_MAX_NS;

	if (len_ns < LOWAT_SHOWN_NS)
		return;
	lowat_start_anew(lowat);
	if (is_of_use && lowat_set(pump, (int)LOWAT_BYTES) == 0)
		lowat->patience_ns = usp_max(patience_ns, LOWAT_PATIENCE_MIN_NS);
}

static void lowat_count(struct usp_lowat *lowat, uint64_t taken)
{
	lowat->shown += taken;
	lowat->nr_shown++;
}

static void lowat_show(struct usp_pump *pump, uint64_t taken)
{
	struct usp_lowat *lowat = &pump->lowat;

	if (taken < LOWAT_PIECE)
		lowat_start_anew(lowat);
	else if (!lowat->since_ns)
		lowat->since_ns = usp_sys_now_ns();
	else
		lowat_count(lowat, taken);
	if (lowat->shown >= usp_max(lowat->needed, LOWAT_SHOWN_MIN))
		lowat_begin(pump);
}

/* It has a mark, and enough came. */
static void lowat_try(struct usp_pump *pump, uint64_t taken)
{
	struct usp_lowat *lowat = &pump->lowat;

	lowat_count(lowat, taken);
	if (lowat->shown < LOWAT_TRIED)
		return;
	if (lowat->shown / lowat->nr_shown >= 2 * LOWAT_BYTES)
		usp_pump_drop_lowat(pump);
	else
		lowat_start_anew(lowat);
}

void usp_pump_adapt_lowat(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_lowat *lowat = &pump->lowat;
	uint64_t bytes = atomic_load_explicit(&pump->bytes, memory_order_relaxed), taken = bytes - lowat->seen;

	if (!usp_pump_source_lane(pump) || !usp_plan_adapts(pump->source, &pump->params) ||
	    pump->source->traits & USP_FILE_SHARED)
		return;
	lowat->seen = bytes;
	if (!lowat->patience_ns) {
		lowat_show(pump, taken);
	} else if (taken < LOWAT_PIECE) {
		usp_pump_drop_lowat(pump);
		if (taken || lowat->was_late)
			lowat->needed = usp_min(usp_max(lowat->needed, LOWAT_SHOWN_MIN) * 2, LOWAT_SHOWN_MAX);
	} else {
		lowat_try(pump, taken);
	}
	lowat->was_late = taken < LOWAT_BYTES;
	if (lowat->patience_ns && (wait->timeout_ns < 0 || wait->timeout_ns > (int64_t)lowat->patience_ns))
		wait->timeout_ns = (int64_t)lowat->patience_ns;
}
