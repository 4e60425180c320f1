/* SPDX-License-Identifier: MIT */
/*
 * adapt - choose the lane that a flow from a socket takes next.
 *
 * The lane may change while the pipe is empty. Small messages cost the same on both lanes, some 10
 * us, nearly all in the network stack (docs/lanes.md). Two things differ on the kernel lane: it
 * asks the source twice before it knows that nothing is left, and it needs a kernel pipe. From
 * about 40 KiB a piece on, copying costs more: 33 us and 30 us at 64 KiB, 120 us and 70 us at 256
 * KiB. So a flow changes to the kernel lane after several large pieces in a row. It comes back
 * after a longer row of small pieces: pieces of a large transfer, too, are small whenever the relay
 * is faster than its sender.
 */
#include "lanes/plan.h"
#include "pump/inside.h"

#define ADAPT_LARGE ((size_t)40 << 10)
#define ADAPT_SMALL ((size_t)8 << 10)
#define ADAPT_MESSAGE ((size_t)16 << 10)
#define ADAPT_NR_LARGE 2
#define ADAPT_NR_SMALL 32

void usp_adapt_set_lane(struct usp_pump *pump, bool is_kernel)
{
	usp_rcvlowat_drop(pump);
	usp_plan_switch(&pump->plan, is_kernel);
	pump->adapt.step_bytes = usp_plan_step_bytes(&pump->plan, &pump->params);
	pump->adapt.nr_large = pump->adapt.nr_small = pump->adapt.nr_messages = 0;
}

/* Choose the lane for the next piece by the size of the last one. The pipe is empty. */
void usp_adapt_lane(struct usp_pump *pump, size_t taken)
{
	if (!usp_plan_adapts(pump->source, &pump->params))
		return;
	pump->adapt.nr_large = taken >= ADAPT_LARGE ? pump->adapt.nr_large + 1 : 0;
	pump->adapt.nr_small = taken < ADAPT_SMALL ? pump->adapt.nr_small + 1 : 0;
	pump->adapt.nr_messages = taken <= ADAPT_MESSAGE ? pump->adapt.nr_messages + 1 : 0;
	if (!usp_pump_source_lane(pump) && pump->adapt.nr_large >= ADAPT_NR_LARGE)
		usp_adapt_set_lane(pump, true);
	else if (usp_pump_source_lane(pump) && pump->adapt.nr_small >= ADAPT_NR_SMALL)
		usp_adapt_set_lane(pump, false);
}

unsigned usp_pump_nr_messages(const struct usp_pump *pump)
{
	return pump->adapt.nr_messages;
}

void usp_pump_reset_messages(struct usp_pump *pump)
{
	pump->adapt.nr_messages = 0;
}
