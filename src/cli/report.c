/* SPDX-License-Identifier: MIT */
/* report - what a copy did, for people and for programs. */
#include "report.h"
#include "cli.h"
#include "copy.h"
#include "copy_buffer.h"
#include "copy_digest.h"
#include "copy_rescue.h"
#include "copy_sources.h"
#include "failure.h"
#include "json.h"
#include "size.h"
#include "ways.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The data of a report; all zero for a copy that did not begin. */
struct report {
	struct usp_pump_status status;
	struct usp_route_total total;
	const char *lane;
};

/* What the buffer still has was taken from the source, too, and reaches no sink. */
static struct report report_collect(const struct copy *copy)
{
	struct report report = {.status.size = sizeof(report.status), .total.size = sizeof(report.total)};

	if (!copy->pump)
		return report;
	usp_pump_status(copy->pump, &report.status);
	report.status.bytes += copy_buffer_left(copy);
	report.status.stranded += copy_buffer_left(copy);
	usp_pump_total(copy->pump, &report.total);
	report.lane = usp_pump_lane(copy->pump);
	return report;
}

/* Return the bytes of the whole route by way. */
static void report_ways(const struct report *report, uint64_t ret_bytes[USP_NR_WAYS])
{
	ret_bytes[USP_BY_REFERENCE] = report->total.by_reference;
	ret_bytes[USP_COPIED] = report->total.copied;
	ret_bytes[USP_UNKNOWN] = report->total.unknown;
	ret_bytes[USP_REWRITTEN] = report->total.rewritten;
}

/* Find a hop of the pump by its index, if there is one. What --skip threw away is not included. */
static bool report_hop(const struct copy *copy, unsigned index, struct usp_hop *ret_hop)
{
	unsigned way;

	*ret_hop = (struct usp_hop){.size = sizeof(*ret_hop)};
	if (usp_pump_hop(copy->pump, index, ret_hop) < 0)
		return false;
	for (way = 0; index == 0 && way < USP_NR_WAYS; way++)
		ret_hop->bytes[way] -= copy->skipped.bytes[way];
	for (way = 0; index > 0 && index <= STAGES_DECODERS && copy->stage && way < USP_NR_WAYS; way++)
		ret_hop->bytes[way] -= copy->skipped_stages[index - 1].bytes[way];
	return true;
}

/* Name the ends as the user did. A stage over the source has a name of its own. */
static void report_hop_ends(const struct copy *copy, unsigned index, const struct usp_hop *hop, const char **ret_from,
			    const char **ret_to)
{
	unsigned nr_hops = usp_pump_nr_hops(copy->pump), nr_left = nr_hops - index, nr_sinks = copy->request->nr_sinks;

	*ret_from = index == 0 ? copy->request->source : hop->from;
	*ret_to = nr_left <= nr_sinks ? copy->sinks[nr_sinks - nr_left].spec : hop->to;
}

/* --- JSON ------------------------------------------------------------------------------------------------ */

static void report_json_hop(FILE *out, const struct copy *copy, unsigned index)
{
	char reason[WAYS_REASON_MAX];
	const char *from, *to;
	struct usp_hop hop;

	if (!report_hop(copy, index, &hop))
		return;
	report_hop_ends(copy, index, &hop, &from, &to);
	fputs(index > 0 ? "," : "", out);
	fputs("{\"from\":", out);
	json_put(out, from);
	fputs(",\"to\":", out);
	json_put(out, to);
	fputs(",\"lane\":", out);
	json_put(out, hop.lane);
	putc(',', out);
	ways_json(out, hop.bytes);
	fprintf(out, ",\"holes\":%llu,\"lost\":%llu,\"reason\":", (unsigned long long)hop.holes,
		(unsigned long long)hop.lost);
	json_put(out, ways_reason(&hop, reason));
	putc('}', out);
}

/* With --drop-cache, what the page cache has all the same; null if that is not known. */
static void report_json_cached(FILE *out, const struct copy *copy, int64_t cached)
{
	fputs(",\"cached\":", out);
	if (copy->request->drop_cache && copy->pump && cached >= 0)
		fprintf(out, "%lld", (long long)cached);
	else
		fputs("null", out);
}

/* The last member of a source or sink: where it listened. */
static void report_json_address(FILE *out, const char *address)
{
	fputs(",\"address\":", out);
	json_put(out, address[0] != '\0' ? address : NULL);
	putc('}', out);
}

static void report_json_sink(FILE *out, const struct copy *copy, unsigned index)
{
	const struct copy_sink *sink = &copy->sinks[index];
	struct usp_sink_status status = {.size = sizeof(status)};

	if (copy->pump)
		usp_pump_sink_status(copy->pump, index, &status);
	fputs("{\"spec\":", out);
	json_put(out, sink->spec);
	fprintf(out, ",\"bytes\":%llu,\"error\":", (unsigned long long)status.bytes);
	json_put(out, sink->error[0] != '\0' ? sink->error : NULL);
	putc(',', out);
	failure_json(out, sink->code);
	report_json_cached(out, copy, status.cached);
	report_json_address(out, sink->address);
}

void report_put(FILE *out, const struct copy *copy)
{
	struct report report = report_collect(copy);
	uint64_t ways[USP_NR_WAYS];
	unsigned i;

	report_ways(&report, ways);
	fprintf(out, "{\"bytes\":%llu,\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"lane\":",
		(unsigned long long)report.status.bytes, copy->seconds, copy->cpu_seconds);
	json_put(out, report.lane);
	putc(',', out);
	ways_json(out, ways);
	fprintf(out, ",\"holes\":%llu,\"hops\":[", (unsigned long long)report.total.holes);
	for (i = 0; copy->pump && i < usp_pump_nr_hops(copy->pump); i++)
		report_json_hop(out, copy, i);
	fputs("],\"source\":{\"spec\":", out);
	json_put(out, copy->request->source);
	putc(',', out);
	failure_json(out, copy->source_error);
	report_json_cached(out, copy, report.status.cached);
	report_json_address(out, copy->source_address);
	fputs(",\"sinks\":[", out);
	for (i = 0; i < copy->request->nr_sinks; i++) {
		fputs(i > 0 ? "," : "", out);
		report_json_sink(out, copy, i);
	}
	putc(']', out);
	copy_sources_json(out, copy);
	fprintf(out, ",\"stranded\":%llu,\"digests\":", (unsigned long long)report.status.stranded);
	copy_digest_json(out, copy);
	fputs(",\"unreadable\":", out);
	copy_rescue_json(out, copy);
	fputs(",\"buffer\":", out);
	copy_buffer_json(out, copy);
	putc('}', out);
}

/* Report lost bytes: each close of a file does, also that of a second descriptor. 0 or -errno. */
static int report_late_error(int fd)
{
	int twin = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	return twin >= 0 && close(twin) < 0 ? -errno : 0;
}

static int report_write_all(int fd, const char *text, size_t len)
{
	struct stat st;

	if (fd != STDERR_FILENO && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0)
		return -errno;
	while (len > 0) {
		ssize_t written = write(fd, text, len);

		if (written < 0 && errno != EINTR)
			return -errno;
		text += written > 0 ? written : 0;
		len -= written > 0 ? (size_t)written : 0;
	}
	return report_late_error(fd);
}

int report_write(int fd, const char *name, void (*put)(FILE *out, const void *arg), const void *arg)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int error = -ENOMEM;

	if (out) {
		put(out, arg);
		putc('\n', out);
		error = fclose(out) == 0 ? report_write_all(fd, text, len) : -ENOMEM;
	}
	free(text);
	if (error == 0)
		return 0;
	message_say("report %s: %s", name, strerror(-error));
	return -1;
}

static void report_put_copy(FILE *out, const void *arg)
{
	report_put(out, arg);
}

int report_write_json(const struct copy *copy, int fd, const char *name)
{
	return report_write(fd, name, report_put_copy, copy);
}

/* --- In words ---------------------------------------------------------------------------------------------- */

static void report_say_hop(const struct copy *copy, unsigned index)
{
	char ways[WAYS_TEXT_MAX], reason[WAYS_REASON_MAX];
	const char *from, *to;
	struct usp_hop hop;

	if (!report_hop(copy, index, &hop))
		return;
	report_hop_ends(copy, index, &hop, &from, &to);
	ways_format_holes(ways, hop.bytes, hop.holes);
	message_say("%s -> %s, %s lane: %s%s%s", from, to, hop.lane ? hop.lane : "no", ways,
		    ways_reason(&hop, reason) ? ": " : "", reason);
}

static void report_say_cached(const char *side, const char *spec, int64_t cached)
{
	char size[SIZE_TEXT_MAX];

	if (cached > 0)
		message_say(
			"%s %s: %s of it are still in the page cache: others use them, or the file system keeps them",
			side, spec, size_format(size, (double)cached));
}

void report_say_caches(const struct copy *copy)
{
	struct usp_pump_status source = {.size = sizeof(source)};
	struct usp_sink_status sink = {.size = sizeof(sink)};
	unsigned i;

	usp_pump_status(copy->pump, &source);
	report_say_cached("source", copy->request->source, source.cached);
	for (i = 0; usp_pump_sink_status(copy->pump, i, &sink) == 0; i++)
		report_say_cached("sink", copy->sinks[i].spec, sink.cached);
}

void report_say_lost(const struct copy *copy)
{
	struct usp_hop hop;

	if (report_hop(copy, 0, &hop) && hop.lost > 0)
		message_say(
			"source %s: %llu %s lost here, because this socket had no room; the network may have lost more",
			copy->request->source, (unsigned long long)hop.lost,
			hop.lost == 1 ? "datagram was" : "datagrams were");
}

void report_say(const struct copy *copy)
{
	char moved[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX], ways[WAYS_TEXT_MAX];
	uint64_t bytes_by_way[USP_NR_WAYS];
	struct report report = report_collect(copy);
	double bytes = (double)report.status.bytes;
	unsigned i;

	if (!report.status.is_done)
		return;
	report_ways(&report, bytes_by_way);
	ways_format_holes(ways, bytes_by_way, report.total.holes);
	message_say("%s in %.2f s (%s/s, %.2f s of CPU), %s lane: %s", size_format(moved, bytes), copy->seconds,
		    size_format(rate, copy->seconds > 0 ? bytes / copy->seconds : 0), copy->cpu_seconds, report.lane,
		    ways);
	for (i = 0; copy->request->verbose && i < usp_pump_nr_hops(copy->pump); i++)
		report_say_hop(copy, i);
	if (copy->request->verbose)
		copy_buffer_say(copy);
}
