/* SPDX-License-Identifier: MIT */
/* cost - processor time and throughput of one hop. What fills and drains its ends stays outside the clock. */
#include <fcntl.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "matrix/inside.h"

#define COST_WALL_NS 8000000		  /* of one measurement, with all that is outside the clock */
#define COST_ROUNDS 3			  /* the cheapest counts: another program can only make a round dearer */
#define COST_PIECE ((size_t)262144)	  /* of files and memory */
#define COST_PIECE_STREAM ((size_t)65536) /* fits into the buffers of a new connection */
#define COST_PIECE_PACKET ((size_t)16384) /* fits into a datagram */
#define COST_SPAN_DISK ((size_t)4 << 20)  /* of a file on a disk, which takes its time */
#define COST_LEAST 65536		  /* fewer bytes say nothing about many */
#define COST_CLOCK_ROUNDS 64

struct cost_clock {
	uint64_t wall_ns, cpu_ns;
};

static struct cost_clock cost_now(void)
{
	return (struct cost_clock){.wall_ns = usp_sys_now_ns(), .cpu_ns = usp_sys_thread_cpu_ns()};
}

/* Add what a hop took since begin, without the clock itself. */
static void cost_add(struct usp_probe_cost *cost, struct cost_clock begin, ssize_t len, uint64_t clock_ns)
{
	struct cost_clock end = cost_now();
	uint64_t cpu_ns = end.cpu_ns - begin.cpu_ns, wall_ns = end.wall_ns - begin.wall_ns;

	if (len <= 0)
		return;
	cost->bytes += (uint64_t)len;
	cost->cpu_ns += cpu_ns > clock_ns ? cpu_ns - clock_ns : 0;
	cost->wall_ns += wall_ns > clock_ns ? wall_ns - clock_ns : 1;
}

void usp_matrix_cost_begin(struct matrix_run *run)
{
	struct matrix_bytes from, to;
	struct usp_probe_cost *cost = &run->result.memory;

	run->clock_ns = UINT64_MAX;
	for (unsigned i = 0; i < COST_CLOCK_ROUNDS; i++) {
		struct cost_clock begin = cost_now(), end = cost_now();

		run->clock_ns = usp_min(run->clock_ns, end.cpu_ns - begin.cpu_ns);
	}
	if (usp_matrix_bytes_memory(MATRIX_COST_SPAN, &from) == 0 &&
	    usp_matrix_bytes_memory(MATRIX_COST_SPAN, &to) == 0) {
		for (unsigned i = 0; i < 2; i++) {
			struct cost_clock begin = cost_now();

			memcpy(to.window, from.window, MATRIX_COST_SPAN);
			cost_add(cost, begin, (ssize_t)MATRIX_COST_SPAN, run->clock_ns);
		}
	}
	usp_matrix_bytes_close(&from);
	usp_matrix_bytes_close(&to);
}

static size_t cost_piece(const struct matrix_kind *kind)
{
	if (!kind->make_pair || kind->is_pipe)
		return usp_min(kind->max_len, COST_PIECE);
	if (kind->type == SOCK_STREAM)
		return kind->is_written ? kind->max_len : COST_PIECE_STREAM;
	return usp_min(kind->max_len, COST_PIECE_PACKET);
}

/* How many bytes a source or sink walks through, so that copies do not come from the cache of the processor. */
static size_t cost_span(const struct matrix_object *object)
{
	if (object->kind->make_pair || object->kind->path)
		return cost_piece(object->kind);
	return object->kind->in_dir && object->base_state != MATRIX_DIRTY ? COST_SPAN_DISK : MATRIX_COST_SPAN;
}

/* Empty a pipe without looking. */
static void cost_empty(int pipe_rd, int null_fd)
{
	while (usp_sys_splice(pipe_rd, NULL, null_fd, NULL, MATRIX_LARGE, USP_SPLICE_NONBLOCK) > 0)
		;
}

/* The loop of both halves: is_out says which hop is under the clock. */
static struct usp_probe_cost cost_run(const struct matrix_run *run, struct matrix_source *source,
				      struct matrix_sink *sink, const int pipe[2], int null_fd, size_t len)
{
	const struct matrix_source_ops *ops = source->object->kind->source;
	uint64_t end_ns = usp_sys_now_ns() + COST_WALL_NS;
	struct usp_probe_cost cost = {.bytes = 0};

	while (usp_sys_now_ns() < end_ns && cost.bytes < 2 * MATRIX_COST_SPAN) {
		struct cost_clock begin;
		ssize_t ret = ops->feed ? ops->feed(source, len) : 0;

		begin = cost_now();
		if (ret == 0)
			ret = ops->hop(source, pipe[1], len, 0);
		if (sink && ret > 0) {
			begin = cost_now();
			ret = sink->object->kind->sink->hop(sink, pipe[0], (size_t)ret, 0);
		}
		cost_add(&cost, begin, ret, run->clock_ns);
		if (ret <= 0)
			break;
		if (sink && sink->object->kind->sink->drain)
			sink->object->kind->sink->drain(sink);
		cost_empty(pipe[0], null_fd);
	}
	if (cost.bytes < COST_LEAST)
		cost = (struct usp_probe_cost){.bytes = 0};
	return cost;
}

static struct usp_probe_cost cost_cheaper(struct usp_probe_cost a, struct usp_probe_cost b)
{
	if (!a.bytes || !b.bytes)
		return a.bytes ? a : b;
	return (double)a.cpu_ns / (double)a.bytes <= (double)b.cpu_ns / (double)b.bytes ? a : b;
}

/* Open what is still missing: the pipe, and where it is emptied into. */
static struct usp_probe_cost cost_measure(const struct matrix_run *run, struct matrix_source *source,
					  struct matrix_sink *sink, size_t len)
{
	struct usp_probe_cost cost = {.bytes = 0};
	int pipe[2] = {-1, -1}, null_fd = usp_sys_open("/dev/null", O_WRONLY, 0);

	if (null_fd >= 0 && usp_matrix_pipe(len, pipe) == 0) {
		for (unsigned i = 0; i < COST_ROUNDS; i++)
			cost = cost_cheaper(cost, cost_run(run, source, sink, pipe, null_fd, len));
	}
	usp_sys_close(pipe[0]);
	usp_sys_close(pipe[1]);
	usp_sys_close(null_fd);
	return cost;
}

struct usp_probe_cost usp_matrix_cost_in(const struct matrix_run *run, const struct matrix_object *object,
					 const struct matrix_trial *trial)
{
	struct matrix_source source;
	struct usp_probe_cost cost = {.bytes = 0};

	if (usp_matrix_source_open(&source, run, object, trial, cost_span(object)) == 0)
		cost = cost_measure(run, &source, NULL, cost_piece(object->kind));
	usp_matrix_source_close(&source);
	return cost;
}

struct usp_probe_cost usp_matrix_cost_out(const struct matrix_run *run, const struct matrix_object *object,
					  const struct matrix_trial *trial)
{
	const struct matrix_object pages = {.kind = &usp_matrix_pages_kind};
	const struct matrix_trial out = {.len = cost_piece(object->kind), .state = trial->state};
	struct usp_probe_cost cost = {.bytes = 0};
	struct matrix_source source;
	struct matrix_sink sink;
	int ret = usp_matrix_source_open(&source, run, &pages, &out, MATRIX_COST_SPAN);

	if (ret == 0) {
		ret = usp_matrix_sink_open(&sink, object, &out, cost_span(object));
		if (ret == 0)
			cost = cost_measure(run, &source, &sink, out.len);
		usp_matrix_sink_close(&sink);
	}
	usp_matrix_source_close(&source);
	return cost;
}
