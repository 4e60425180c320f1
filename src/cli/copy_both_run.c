/* SPDX-License-Identifier: MIT */
/*
 * copy_both_run - drive the two pumps of --both in one thread.
 *
 *   ends[0]  ── ways[0] ──►  ends[1]
 *            ◄── ways[1] ──
 *
 * When a way has ended, what it was written to sees the end: a connection is half-closed, standard output is closed. The
 * other way then goes on to its own end. Only an input that cannot know of all this, such as a terminal, is given up when
 * it gives nothing for a while. A way that fails ends the other one too, unless that reads from where the failed one could
 * not write: the answer may be there, and tell why.
 */
#include "cli.h"
#include "copy_both.h"
#include "copy_progress.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#define BOTH_GRACE_NS 500000000
#define BOTH_LINGER_NS 30000000000
#define BOTH_NAP_MS 20

/* --- One way ------------------------------------------------------------------------------------------------- */

static struct usp_pump_params run_params(const struct both *both)
{
	const struct copy_request *request = both->request;
	bool has_report = request->json || request->report || request->verbose;

	return (struct usp_pump_params){
		.size = sizeof(struct usp_pump_params),
		.lane = request->lane,
		.flags = USP_PUMP_WIDEN_FIFOS | (request->require_zero_copy ? USP_PUMP_REQUIRE_ZERO_COPY : 0) |
			 (has_report ? 0 : USP_PUMP_NO_PROBE),
		.rate = request->rate,
	};
}

static int run_new_pump(struct both *both, int index)
{
	const struct usp_pump_params params = run_params(both);
	struct both_way *way = &both->ways[index];
	int error = usp_pump_new(both->ends[index].in, &params, &way->copy.pump);

	if (error == 0)
		error = usp_pump_add_sink(way->copy.pump, both->ends[!index].out);
	return error < 0 ? error : usp_pump_check(way->copy.pump);
}

/* Note the bytes that a way has moved, and when. */
static void run_measure(struct both_way *way, double now)
{
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_sink_status sink = {.size = sizeof(sink)};
	uint64_t bytes;

	usp_pump_status(way->copy.pump, &status);
	usp_pump_sink_status(way->copy.pump, 0, &sink);
	bytes = status.bytes + sink.bytes;
	if (bytes != way->seen)
		way->moved_at = now;
	way->seen = bytes;
}

static bool run_waits_for_source(const struct both_way *way)
{
	return way->wait.file && way->wait.side == USP_READ;
}

/* Stop a way: its next step ends it, and must not be waited for. */
static void run_stop(struct both_way *way)
{
	usp_pump_stop(way->copy.pump);
	way->is_stopped = true;
}

/* Let what a way was written to see the end. Where both ends are one file it is still read. */
static void run_show_end(struct both_way *way, struct both_end *to)
{
	int error = usp_file_shutdown(to->out); /* also a socket that others share, which a pump leaves open */

	if (error < 0 && error != -ENOTCONN)
		way->close_error = error;
	if (to->in == to->out)
		return;
	error = usp_file_close(to->out);
	if (error < 0)
		way->close_error = error;
}

/* Tell whether the source of a way sees by itself that the other way has ended. */
static bool run_is_told(const struct both *both, int index)
{
	return both->ends[index].kind == BOTH_STREAM && both->ways[!index].result == 0;
}

/* Note that a way is over: what that means for its ends, and for the other way. */
static void run_end_way(struct both *both, int index, int result)
{
	struct both_way *way = &both->ways[index], *other = &both->ways[!index];
	struct usp_pump_error failed = {.size = sizeof(failed)};
	bool may_answer;

	way->is_over = true;
	way->result = way->is_given_up && result == -ECANCELED ? 0 : result;
	way->copy.seconds = progress_now() - both->whole.started;
	if (way->result == 0)
		run_show_end(way, &both->ends[!index]);
	if (way->result == 0 || way->result == -ECANCELED)
		return;
	if (both->first_failed < 0)
		both->first_failed = index;
	usp_pump_error(way->copy.pump, &failed);
	may_answer = failed.side == USP_WRITE && both->ends[!index].kind == BOTH_STREAM;
	if (!other->is_over && !may_answer)
		run_stop(other);
}

/* --- Time ---------------------------------------------------------------------------------------------------- */

static double run_grace(const struct both *both)
{
	return (double)(both->request->grace_ns ? both->request->grace_ns : BOTH_GRACE_NS) / 1e9;
}

/* Return for how many seconds a way may still wait for its source, now that the other one is over; negative: for ever. */
static double run_grace_left(const struct both *both, int index, double now)
{
	const struct both_way *way = &both->ways[index], *other = &both->ways[!index];
	double since = way->moved_at > other->copy.seconds + both->whole.started
			       ? way->moved_at
			       : other->copy.seconds + both->whole.started;

	if (!other->is_over || !run_waits_for_source(way) || run_is_told(both, index))
		return -1;
	return since + run_grace(both) > now ? since + run_grace(both) - now : 0;
}

/* Return the seconds until --timeout or --idle-timeout; negative: never. */
static double run_time_left(const struct both *both, double now)
{
	const struct copy_request *request = both->request;
	double moved_at =
		both->ways[0].moved_at > both->ways[1].moved_at ? both->ways[0].moved_at : both->ways[1].moved_at;
	double left = -1, total, idle;

	if (request->total_ns > 0) {
		total = both->whole.started + (double)request->total_ns / 1e9 - now;
		left = total > 0 ? total : 0;
	}
	if (request->idle_ns > 0) {
		idle = moved_at + (double)request->idle_ns / 1e9 - now;
		idle = idle > 0 ? idle : 0;
		left = left < 0 || idle < left ? idle : left;
	}
	return left;
}

/* Return the earlier of two times that are left; negative: never. */
static double run_earlier(double a, double b)
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* --- Waiting --------------------------------------------------------------------------------------------------- */

/* Give up what has waited too long. The pump ends in its next step. */
static double run_watch_time(struct both *both)
{
	double now = progress_now(), left = run_time_left(both, now);

	if (left == 0)
		both->time_out = -ETIMEDOUT;
	for (int i = 0; i < 2; i++) {
		struct both_way *way = &both->ways[i];
		double grace = way->is_over ? -1 : run_grace_left(both, i, now);

		way->is_given_up = way->is_given_up || grace == 0;
		if (!way->is_over && (grace == 0 || both->time_out < 0 || watch_signo(&both->whole.watch) != 0))
			run_stop(way);
		if (!way->is_over && way->is_stopped)
			left = 0;
		left = run_earlier(left, grace);
	}
	return left;
}

/* Take in the notices of zero-copy sends, which poll reports as errors. */
static void run_hear(const struct both *both, const struct pollfd fds[2])
{
	for (int i = 0; i < 2; i++) {
		if (fds[i].revents & POLLERR && both->ways[i].wait.file)
			usp_file_poll(both->ways[i].wait.file);
	}
}

/* Wait until one of the ways can go on, or a time is over. A signal wakes it, too. */
static void run_await(struct both *both)
{
	struct pollfd fds[2] = {{.fd = -1}, {.fd = -1}};
	double left = run_watch_time(both), ms;

	for (int i = 0; i < 2; i++) {
		const struct usp_pump_wait *wait = &both->ways[i].wait;

		if (both->ways[i].is_over)
			continue;
		fds[i] = (struct pollfd){.fd = wait->fd, .events = wait->events};
		if (wait->timeout_ns >= 0)
			left = run_earlier(left, (double)wait->timeout_ns / 1e9);
	}
	ms = left < 0 ? -1 : left * 1e3 + (left > 0);
	if (poll(fds, 2, ms > INT_MAX ? INT_MAX : (int)ms) > 0)
		run_hear(both, fds);
}

static void run_step(struct both *both, int index)
{
	struct both_way *way = &both->ways[index];
	int ret;

	way->wait.size = sizeof(way->wait);
	ret = usp_pump_step(way->copy.pump, &way->wait);
	run_measure(way, progress_now());
	if (ret != -EAGAIN)
		run_end_way(both, index, ret);
}

/* --- The end ----------------------------------------------------------------------------------------------------- */

/* Count the bytes that the peer of a TCP connection has not acknowledged; 0 for others, and where that is not known. */
static int run_unsent(const struct both_end *end)
{
	int unsent = 0;

	if (!end->out || strcmp(usp_file_type(end->out), "tcp") != 0)
		return 0;
	return ioctl(usp_file_fd(end->out), SIOCOUTQ, &unsent) < 0 ? 0 : unsent;
}

/* Wait until the peers have acknowledged what they got, as long as --linger allows. A signal ends that. */
static void run_linger(struct both *both)
{
	uint64_t linger_ns = both->request->linger_ns ? both->request->linger_ns : BOTH_LINGER_NS;
	double until = progress_now() + (double)linger_ns / 1e9;

	for (int i = 0; i < 2; i++) {
		struct both_way *way = &both->ways[!i];

		while (way->result == 0 && run_unsent(&both->ends[i]) > 0 && watch_signo(&both->whole.watch) == 0) {
			if (progress_now() >= until) {
				way->close_error = -ETIMEDOUT;
				usp_file_abort(both->ends[i].out);
				break;
			}
			poll(NULL, 0, BOTH_NAP_MS);
		}
	}
}

/* Close both ends. An error belongs to the way that was written there, unless reading has told it already. */
static void run_close(struct both *both)
{
	for (int i = 0; i < 2; i++) {
		int error = usp_file_close(both->ends[i].out);

		if (both->ends[i].in != both->ends[i].out)
			usp_file_close(both->ends[i].in);
		if (error < 0 && both->ways[i].result != error && both->ways[!i].result == 0 &&
		    both->ways[!i].close_error == 0)
			both->ways[!i].close_error = error;
	}
}

int both_run(struct both *both)
{
	int error = 0;

	for (int i = 0; i < 2 && error == 0; i++)
		error = run_new_pump(both, i);
	if (error < 0)
		return error;
	both->whole.started = both->ways[0].moved_at = both->ways[1].moved_at = progress_now();
	watch_set_pump(&both->whole.watch, both->ways[0].copy.pump);
	watch_set_interruptible(&both->whole.watch, true);
	while (!both->ways[0].is_over || !both->ways[1].is_over) {
		for (int i = 0; i < 2; i++) {
			if (!both->ways[i].is_over)
				run_step(both, i);
		}
		if (!both->ways[0].is_over || !both->ways[1].is_over)
			run_await(both);
	}
	run_linger(both);
	watch_set_pump(&both->whole.watch, NULL);
	run_close(both);
	return 0;
}
