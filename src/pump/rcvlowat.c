/* SPDX-License-Identifier: MIT */
/*
 * rcvlowat - wake a bulk flow later, so that it takes more at a time: SO_RCVLOWAT.
 *
 *   4 MiB and 100 ms, each wake-up 64 KiB or more ──► mark at 256 KiB ──a wake-up brings less than 64 KiB──► no mark
 *   ▲      and 256 KiB or less on average                        └──they bring 512 KiB or more──► no mark      │
 *   │                                                                                                           │
 *   └────────────────────────────── twice as much, if bytes were delayed for nothing ───────────────────────────┘
 *
 * Without a low-water mark, a relay that is faster than its sender wakes for each segment or two.
 * With it the kernel wakes the relay when a quarter of its pipe can be filled. That takes two
 * thirds of the processor time where some connections share the processor (docs/lanes.md). A flow
 * that finds more than that at each turn needs no low-water mark, which would only delay it.
 *
 * Bytes below the low-water mark must not wait for ever. So the step sets a time for the next look:
 * when the low-water mark would be reached at the rate shown before. That time has a lower limit,
 * so that a sender that only lost the processor for a moment does not look idle. A flow that is too
 * slow gets no low-water mark. So the tail of an answer is late by at most a sixteenth of the time
 * that the answer took. That happens to a connection once for the first 4 MiB, once for the next 8,
 * 16, and so on. The end of input, a reset and a full buffer wake the flow in any case. poll(2) of
 * a UNIX socket ignores the low-water mark, so nothing changes there.
 */
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "lanes/plan.h"
#include "pump/inside.h"

#define RCVLOWAT_BYTES ((uint64_t)256 << 10)
#define RCVLOWAT_PIECE ((uint64_t)64 << 10) /* that a wake-up must bring to count */
#define RCVLOWAT_SHOWN_MIN ((uint64_t)4 << 20)
#define RCVLOWAT_SHOWN_MAX ((uint64_t)1 << 30)
#define RCVLOWAT_TRIED ((uint64_t)16 << 20) /* with a low-water mark, until its use is checked */
#define RCVLOWAT_SHOWN_NS ((uint64_t)100000000)
#define RCVLOWAT_PATIENCE_MIN_NS ((uint64_t)5000000) /* about the resolution of epoll_wait(2) */
#define RCVLOWAT_PATIENCE_MAX_NS ((uint64_t)50000000)

static int rcvlowat_set(const struct usp_pump *pump, int bytes)
{
	return usp_sys_setsockopt_int(pump->source->fd, SOL_SOCKET, SO_RCVLOWAT, bytes);
}

static void rcvlowat_start_anew(struct usp_rcvlowat *rcvlowat)
{
	rcvlowat->shown = rcvlowat->nr_shown = rcvlowat->since_ns = 0;
}

void usp_rcvlowat_drop(struct usp_pump *pump)
{
	if (pump->adapt.rcvlowat.patience_ns && pump->process == usp_own_nr())
		rcvlowat_set(pump, 1);
	pump->adapt.rcvlowat.patience_ns = 0;
	rcvlowat_start_anew(&pump->adapt.rcvlowat);
}

/* Set the low-water mark after enough large pieces, if this rate reaches it soon enough. */
static void rcvlowat_begin(struct usp_pump *pump)
{
	struct usp_rcvlowat *rcvlowat = &pump->adapt.rcvlowat;
	uint64_t len_ns = usp_sys_now_ns() - rcvlowat->since_ns,
		 patience_ns = len_ns / (rcvlowat->shown / RCVLOWAT_BYTES);
	bool is_of_use =
		rcvlowat->shown / rcvlowat->nr_shown <= RCVLOWAT_BYTES && patience_ns <= RCVLOWAT_PATIENCE_MAX_NS;

	if (len_ns < RCVLOWAT_SHOWN_NS)
		return;
	rcvlowat_start_anew(rcvlowat);
	if (is_of_use && rcvlowat_set(pump, (int)RCVLOWAT_BYTES) == 0)
		rcvlowat->patience_ns = usp_max(patience_ns, RCVLOWAT_PATIENCE_MIN_NS);
}

static void rcvlowat_count(struct usp_rcvlowat *rcvlowat, uint64_t taken)
{
	rcvlowat->shown += taken;
	rcvlowat->nr_shown++;
}

static void rcvlowat_show(struct usp_pump *pump, uint64_t taken)
{
	struct usp_rcvlowat *rcvlowat = &pump->adapt.rcvlowat;

	if (taken < RCVLOWAT_PIECE)
		rcvlowat_start_anew(rcvlowat);
	else if (!rcvlowat->since_ns)
		rcvlowat->since_ns = usp_sys_now_ns();
	else
		rcvlowat_count(rcvlowat, taken);
	if (rcvlowat->shown >= usp_max(rcvlowat->needed, RCVLOWAT_SHOWN_MIN))
		rcvlowat_begin(pump);
}

/* Check whether the low-water mark is still of use, after a wake-up that brought enough. */
static void rcvlowat_try(struct usp_pump *pump, uint64_t taken)
{
	struct usp_rcvlowat *rcvlowat = &pump->adapt.rcvlowat;

	rcvlowat_count(rcvlowat, taken);
	if (rcvlowat->shown < RCVLOWAT_TRIED)
		return;
	if (rcvlowat->shown / rcvlowat->nr_shown >= 2 * RCVLOWAT_BYTES)
		usp_rcvlowat_drop(pump);
	else
		rcvlowat_start_anew(rcvlowat);
}

void usp_rcvlowat_adapt(struct usp_pump *pump, struct usp_pump_wait *wait)
{
	struct usp_rcvlowat *rcvlowat = &pump->adapt.rcvlowat;
	uint64_t bytes = atomic_load_explicit(&pump->bytes, memory_order_relaxed), taken = bytes - rcvlowat->seen;

	if (!usp_pump_source_lane(pump) || !usp_plan_adapts(pump->source, &pump->params) ||
	    pump->source->traits & USP_FILE_SHARED)
		return;
	rcvlowat->seen = bytes;
	if (!rcvlowat->patience_ns) {
		rcvlowat_show(pump, taken);
	} else if (taken < RCVLOWAT_PIECE) {
		usp_rcvlowat_drop(pump);
		if (taken || rcvlowat->was_late)
			rcvlowat->needed =
				usp_min(usp_max(rcvlowat->needed, RCVLOWAT_SHOWN_MIN) * 2, RCVLOWAT_SHOWN_MAX);
	} else {
		rcvlowat_try(pump, taken);
	}
	rcvlowat->was_late = taken < RCVLOWAT_BYTES;
	if (rcvlowat->patience_ns && (wait->timeout_ns < 0 || wait->timeout_ns > (int64_t)rcvlowat->patience_ns))
		wait->timeout_ns = (int64_t)rcvlowat->patience_ns;
}
