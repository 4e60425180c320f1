/* SPDX-License-Identifier: MIT */
/*
 * shortcut - write what was read at once, without a pipe. For flows that copy.
 *
 * A relay of small messages spends its time in the network stack. A pipe for each message, with its
 * locks and slots, would add a tenth. So while the pipe of a flow is empty and both hooks would
 * copy, bytes are read into a folio and written from it. Only what the sink does not take becomes a
 * buf, with the folio as its store. Then the flow goes through the pipe until that is empty again.
 * The account is the same.
 */
#include <errno.h>

#include "lanes/plan.h"
#include "pump/inside.h"

static const char read_reason[] = "read into a folio";
static const char write_reason[] = "copied into the socket by sendmsg(2)";

bool usp_shortcut_fits(const struct usp_pump *pump)
{
	const struct usp_file *source = pump->source, *sink = pump->sinks[0].file;

	return pump->params.flags & USP_PUMP_ADAPT_LANE && !pump->pipe && !usp_pump_source_lane(pump) &&
	       !usp_plan_sink_lane(&pump->plan, 0) && source->ops->splice_read == usp_copy_splice_read &&
	       sink->ops->splice_write == usp_sock_splice_write && sink->ops->write_iter;
}

bool usp_pump_may_be_external(const struct usp_pump *pump)
{
	return usp_shortcut_fits(pump) && !pump->undelivered.ops && usp_plan_adapts(pump->source, &pump->params) &&
	       !(pump->params.flags & USP_PUMP_COUNT) && !pump->limits.rate.per_second && !pump->limits.shared_rate &&
	       !pump->recheck;
}

void usp_pump_count_external(struct usp_pump *pump, size_t taken, size_t given)
{
	struct usp_sink *sink = &pump->sinks[0];

	if (taken) {
		usp_pump_count(pump, (ssize_t)taken);
		usp_file_account(pump->source, USP_READ, USP_COPIED, taken, "received by io_uring into a buffer");
	}
	if (given) {
		atomic_fetch_add_explicit(&sink->bytes, given, memory_order_relaxed);
		usp_file_account(sink->file, USP_WRITE, USP_COPIED, given, "copied into the socket by io_uring");
	}
}

void usp_pump_end_external(struct usp_pump *pump)
{
	atomic_store(&pump->has_all, true);
}

static ssize_t shortcut_write(struct usp_sink *sink, struct usp_folio *folio, size_t len)
{
	struct iovec iov = {.iov_base = folio->base, .iov_len = len};
	struct usp_iter from = {.iov = &iov, .nr_segs = 1, .count = len};
	ssize_t ret = usp_file_write_iter(sink->file, &from, &sink->file->pos, USP_SPLICE_NONBLOCK);

	if (ret > 0) {
		usp_file_account(sink->file, USP_WRITE, USP_COPIED, (size_t)ret, write_reason);
		atomic_fetch_add_explicit(&sink->bytes, (uint64_t)ret, memory_order_relaxed);
	}
	return ret;
}

static ssize_t shortcut_read(struct usp_pump *pump, struct usp_folio *folio, size_t len)
{
	struct iovec iov = {.iov_base = folio->base, .iov_len = len};
	struct usp_iter to = {.iov = &iov, .nr_segs = 1, .count = len};
	ssize_t ret = usp_file_read_iter(pump->source, &to, &pump->source->pos, USP_SPLICE_NONBLOCK);

	if (ret > 0)
		usp_file_account(pump->source, USP_READ, USP_COPIED, (size_t)ret, read_reason);
	return ret;
}

/* Take the folio of the driver of many pumps, or a new one. */
static struct usp_folio *shortcut_get_folio(struct usp_pump *pump)
{
	struct usp_folio *folio = pump->scratch ? *pump->scratch : NULL;

	if (pump->scratch)
		*pump->scratch = NULL;
	return folio ? folio : usp_folio_new(USP_PLAN_ADAPT_BYTES);
}

static void shortcut_put_folio(struct usp_pump *pump, struct usp_folio *folio)
{
	if (pump->scratch && !*pump->scratch)
		*pump->scratch = folio;
	else
		usp_folio_put(folio);
}

/*
 * Pass one message: 1 when the caller may go on, 0 at the end, -EAGAIN with *wait, or the sink's
 * -errno. What was not delivered is pump->undelivered.
 */
static int shortcut_pass(struct usp_pump *pump, struct usp_folio *folio, struct usp_pump_wait *wait)
{
	ssize_t taken = usp_pump_may_take(pump, USP_PLAN_ADAPT_BYTES, wait), given;

	if (taken <= 0)
		return (int)taken;
	taken = usp_pump_took(pump, shortcut_read(pump, folio, (size_t)taken), wait);
	if (taken <= 0)
		return taken == -EAGAIN ? -EAGAIN : taken == -EINTR;
	given = shortcut_write(&pump->sinks[0], folio, (size_t)taken);
	if (given < taken)
		pump->undelivered = (struct usp_buf){
			.ops = &usp_folio_buf_ops,
			.store = folio,
			.offset = given > 0 ? (size_t)given : 0,
			.len = (size_t)(taken - (given > 0 ? given : 0)),
		};
	else
		usp_adapt_lane(pump, (size_t)taken);
	return given < 0 && given != -EAGAIN && given != -EINTR ? (int)given : 1;
}

int usp_shortcut_go(struct usp_pump *pump, struct usp_pump_wait *ret_wait)
{
	uint64_t until = atomic_load(&pump->bytes) + USP_PUMP_BUDGET;
	struct usp_folio *folio = shortcut_get_folio(pump);
	int ret = 1;

	while (folio && ret == 1 && !pump->undelivered.ops && usp_shortcut_fits(pump)) {
		if (atomic_load(&pump->is_stopped))
			ret = -ECANCELED;
		else if (atomic_load(&pump->bytes) >= until)
			ret = usp_pump_pause(ret_wait, 0);
		else
			ret = shortcut_pass(pump, folio, ret_wait);
	}
	if (folio && !pump->undelivered.ops)
		shortcut_put_folio(pump, folio);
	return ret;
}
