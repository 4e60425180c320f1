/* SPDX-License-Identifier: MIT */
/* report - a mount as numbers and as JSON, for its metrics. */
#include "mount/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "mount/counts.h"
#include "mount/inside.h"

#define REPORT_NS_PER_MS 1000000

const char *const mount_way_names[MOUNT_NR_WAYS] = {
	[USP_MOUNT_CLOSED] = "closed",	   [USP_MOUNT_OPENING] = "opening", [USP_MOUNT_FAILED] = "failed",
	[USP_MOUNT_CACHED] = "cached",	   [USP_MOUNT_COPIED] = "copied",   [USP_MOUNT_PASSTHROUGH] = "passthrough",
	[USP_MOUNT_UNCACHED] = "uncached", [USP_MOUNT_PLAIN] = "plain",
};

/* The sum over all sources. */
struct report {
	uint64_t nr_files[MOUNT_NR_WAYS];
	uint64_t read, written;		/* bytes of requests */
	uint64_t gathered, gather_left; /* of copies that are being made */
	uint64_t nr_gathers;
	struct usp_mapping_usage cache; /* of all mappings */
};

/* --- The snapshot ------------------------------------------------------------------------------------------- */

static int report_compare(const void *a, const void *b)
{
	uintptr_t one = (uintptr_t) * (struct usp_mapping *const *)a,
		  other = (uintptr_t) * (struct usp_mapping *const *)b;

	return one < other ? -1 : one > other;
}

/* Add up the page caches. Sources over the same file share one. */
static void report_add_caches(struct report *report, struct usp_mapping **mappings, unsigned nr)
{
	qsort(mappings, nr, sizeof(struct usp_mapping *), report_compare);
	for (unsigned i = 0; i < nr; i++) {
		struct usp_mapping_usage usage = {.size = sizeof(usage)};

		if (i > 0 && mappings[i] == mappings[i - 1])
			continue;
		usp_mapping_usage(mappings[i], &usage);
		report->cache.bytes += usage.bytes;
		report->cache.budget += usage.budget;
		report->cache.nr_hits += usage.nr_hits;
		report->cache.nr_misses += usage.nr_misses;
		report->cache.nr_ahead += usage.nr_ahead;
		report->cache.nr_evicted += usage.nr_evicted;
		report->cache.read_bytes += usage.read_bytes;
	}
}

/* Add a source, whose page cache is returned, or NULL. Lock held: a source that is open stays so. */
static struct usp_mapping *report_add_node(struct report *report, struct mount_node *node)
{
	int64_t done = atomic_load(&node->gathered), total = atomic_load(&node->gather_total);

	report->nr_files[node->way]++;
	report->read += atomic_load(&node->copied);
	report->written += atomic_load(&node->written);
	if (node->way < USP_MOUNT_FAILED && done > 0) {
		report->nr_gathers++;
		report->gathered += (uint64_t)done;
		report->gather_left += total > done ? (uint64_t)(total - done) : 0;
	}
	return node->way > USP_MOUNT_FAILED && node->file ? node->file->mapping : NULL;
}

/* Take a snapshot: false without memory. */
static bool report_take(struct usp_mount *mount, struct report *ret_report)
{
	struct usp_mapping **mappings = usp_alloc_array(mount->nr_nodes, sizeof(struct usp_mapping *));
	unsigned nr = 0;

	*ret_report = (struct report){.nr_gathers = 0};
	if (!mappings)
		return false;
	pthread_mutex_lock(&mount->lock);
	for (unsigned i = 0; i < mount->nr_nodes; i++) {
		mappings[nr] = report_add_node(ret_report, mount->nodes[i]);
		nr += mappings[nr] != NULL;
	}
	pthread_mutex_unlock(&mount->lock);
	report_add_caches(ret_report, mappings, nr);
	usp_free(mappings);
	return true;
}

/* --- For Prometheus ----------------------------------------------------------------------------------------- */

static void numbers_files(struct usp_numbers *numbers, const struct report *report)
{
	static const struct usp_family family = {"files", "gauge", "Files of the mount, by how they are read now."};

	usp_numbers_begin(numbers, &family);
	for (unsigned way = 0; way < MOUNT_NR_WAYS; way++)
		usp_numbers_add(numbers, report->nr_files[way], &(struct usp_label){"way", mount_way_names[way]}, 1);
}

/* Write the numbers without labels. */
static void numbers_plain(struct usp_numbers *numbers, const struct report *report, struct usp_mount *mount)
{
	const struct usp_mapping_usage *cache = &report->cache;
	const struct {
		struct usp_family family;
		uint64_t value;
	} rows[] = {
		{{"open_files", "gauge", "Descriptors that programs have open."}, atomic_load(&mount->nr_open)},
		{{"waiting_requests", "gauge", "Requests that wait for a source."}, atomic_load(&mount->nr_waiting)},
		{{"cache_bytes", "gauge", "Memory of the folios of all page caches."}, cache->bytes},
		{{"cache_budget_bytes", "gauge", "The most memory that the page caches may take."}, cache->budget},
		{{"cache_hits_total", "counter", "Folios that a reader found in a page cache."}, cache->nr_hits},
		{{"cache_misses_total", "counter", "Folios that a reader had to wait for."}, cache->nr_misses},
		{{"cache_read_ahead_total", "counter", "Folios that were read ahead."}, cache->nr_ahead},
		{{"cache_evicted_total", "counter", "Folios that left a page cache for others."}, cache->nr_evicted},
		{{"source_read_bytes_total", "counter", "Bytes that sources gave to page caches."}, cache->read_bytes},
		{{"copies_bytes", "gauge", "Memory of the copies of sources."}, atomic_load(&mount->copies)},
		{{"copies_budget_bytes", "gauge", "The most memory that copies may take."}, mount->params.budget},
		{{"copying_files", "gauge", "Sources that are being copied."}, report->nr_gathers},
		{{"copying_done_bytes", "gauge", "Bytes of the sources that are being copied which are there."},
		 report->gathered},
		{{"copying_left_bytes", "gauge", "Bytes of them that are missing, where the size is known."},
		 report->gather_left},
	};

	for (size_t i = 0; i < usp_array_len(rows); i++) {
		usp_numbers_begin(numbers, &rows[i].family);
		usp_numbers_add(numbers, rows[i].value, NULL, 0);
	}
}

/* Passthrough has no bytes here: the kernel does not tell them. */
static void numbers_bytes(struct usp_numbers *numbers, const struct report *report, struct usp_mount *mount)
{
	static const struct usp_family read = {"read_bytes_total", "counter",
					       "Bytes of answers to reads, by how they went to the kernel."},
				       written = {"written_bytes_total", "counter",
						  "Bytes of writes, by how they came from the kernel."},
				       opens = {"opens_total", "counter",
						"Opens of files, by how their bytes go to and from programs."};
	static const struct usp_label copied = {"way", "copied"}, passthrough = {"way", "passthrough"};

	usp_numbers_begin(numbers, &read);
	usp_numbers_add(numbers, report->read, &copied, 1);
	usp_numbers_begin(numbers, &written);
	usp_numbers_add(numbers, report->written, &copied, 1);
	usp_numbers_begin(numbers, &opens);
	usp_numbers_add(numbers, atomic_load(&mount->nr_opens[0]), &copied, 1);
	usp_numbers_add(numbers, atomic_load(&mount->nr_opens[1]), &passthrough, 1);
}

static void numbers_requests(struct usp_numbers *numbers, const struct mount_counted *counted)
{
	static const struct usp_family requests = {"requests_total", "counter", "Requests of the kernel, by kind."};
	static const struct usp_family times = {"request_seconds", "histogram",
						"Time from a request until its answer is ready, by kind."};

	usp_numbers_begin(numbers, &requests);
	for (unsigned kind = 0; kind < MOUNT_NR_KINDS; kind++)
		usp_numbers_add(numbers, atomic_load(&counted->nr_requests[kind]),
				&(struct usp_label){"kind", mount_kind_names[kind]}, 1);
	usp_numbers_begin(numbers, &times);
	for (unsigned kind = 0; kind < MOUNT_NR_KINDS; kind++) {
		uint64_t counts[MOUNT_NR_BOUNDS + 1];

		if (atomic_load(&counted->nr_requests[kind]) == 0 || kind == MOUNT_FORGET || kind == MOUNT_INTERRUPT)
			continue;
		for (unsigned i = 0; i <= MOUNT_NR_BOUNDS; i++)
			counts[i] = atomic_load(&counted->nr_timed[kind][i]);
		usp_numbers_add_times(numbers,
				      &(struct usp_times){.bounds_ns = mount_bounds_ns,
							  .counts = counts,
							  .nr_bounds = MOUNT_NR_BOUNDS,
							  .sum_ns = atomic_load(&counted->time_ns[kind])},
				      &(struct usp_label){"kind", mount_kind_names[kind]}, 1);
	}
}

/* The label is the text of errno(3), because not every C library tells the name. Known texts are constants: safe in threads. */
static void numbers_errors(struct usp_numbers *numbers, const struct mount_counted *counted)
{
	static const struct usp_family family = {"errors_total", "counter", "Answers that were an error, by errno."};

	usp_numbers_begin(numbers, &family);
	for (int error = 1; error < MOUNT_NR_ERRORS; error++) {
		uint64_t nr = atomic_load(&counted->nr_errors[error]);
		char number[16];

		if (nr == 0)
			continue;
		snprintf(number, sizeof(number), "%d", error);
		usp_numbers_add(numbers, nr, (const struct usp_label[]){{"errno", number}, {"error", strerror(error)}},
				2);
	}
}

void mount_report_numbers(struct usp_mount *mount, struct usp_numbers *numbers)
{
	static const struct usp_family version = {"build_info", "gauge", "The version that runs, as a label."};
	const struct mount_counted *counted = mount_counts_of(mount->counts);
	struct report report;

	numbers->text->has_failed = !report_take(mount, &report);
	if (numbers->text->has_failed)
		return;
	usp_numbers_begin(numbers, &version);
	usp_numbers_add(numbers, 1, &(struct usp_label){"version", usp_version()}, 1);
	numbers_files(numbers, &report);
	numbers_plain(numbers, &report, mount);
	numbers_bytes(numbers, &report, mount);
	numbers_requests(numbers, counted);
	numbers_errors(numbers, counted);
}

/* --- For the page ------------------------------------------------------------------------------------------- */

static void json_requests(struct usp_text *text, const struct mount_counted *counted)
{
	usp_text_add(text, ",\"requests\":{");
	for (unsigned kind = 0; kind < MOUNT_NR_KINDS; kind++) {
		uint64_t nr_timed = 0;

		for (unsigned i = 0; i <= MOUNT_NR_BOUNDS; i++)
			nr_timed += atomic_load(&counted->nr_timed[kind][i]);
		usp_text_add(text, "%s\"%s\":{\"count\":%" PRIu64 ",\"timed\":%" PRIu64 ",\"time_us\":%" PRIu64 "}",
			     kind ? "," : "", mount_kind_names[kind], atomic_load(&counted->nr_requests[kind]),
			     nr_timed, atomic_load(&counted->time_ns[kind]) / 1000);
	}
	usp_text_add(text, "},\"errors\":{");
	for (int error = 1, nr_told = 0; error < MOUNT_NR_ERRORS; error++) {
		uint64_t nr = atomic_load(&counted->nr_errors[error]);

		if (nr == 0)
			continue;
		usp_text_add(text, "%s", nr_told++ ? "," : "");
		usp_text_add_quoted(text, strerror(error));
		usp_text_add(text, ":%" PRIu64, nr);
	}
	usp_text_add(text, "}");
}

void mount_report_json(struct usp_mount *mount, uint64_t uptime_ns, struct usp_text *text)
{
	struct report report;
	char *status = usp_alloc(MOUNT_STATUS_MAX);

	text->has_failed = !status || !report_take(mount, &report);
	if (!text->has_failed) {
		size_t len = mount_status_text(mount, true, status, MOUNT_STATUS_MAX);

		usp_text_add(text, "{\"version\":");
		usp_text_add_quoted(text, usp_version());
		usp_text_add(text, ",\"uptime_ms\":%" PRIu64 ",\"read_bytes\":%" PRIu64 ",\"written_bytes\":%" PRIu64,
			     uptime_ns / REPORT_NS_PER_MS, report.read, report.written);
		usp_text_add(text,
			     ",\"cache\":{\"bytes\":%zu,\"budget\":%zu,\"hits\":%" PRIu64 ",\"misses\":%" PRIu64 "}",
			     report.cache.bytes, report.cache.budget, report.cache.nr_hits, report.cache.nr_misses);
		usp_text_add(text, ",\"copying\":{\"files\":%" PRIu64 ",\"done\":%" PRIu64 ",\"left\":%" PRIu64 "}",
			     report.nr_gathers, report.gathered, report.gather_left);
		usp_text_add(text, ",\"opens\":{\"copied\":%" PRIu64 ",\"passthrough\":%" PRIu64 "}",
			     atomic_load(&mount->nr_opens[0]), atomic_load(&mount->nr_opens[1]));
		json_requests(text, mount_counts_of(mount->counts));
		usp_text_add(text, ",\"status\":%.*s}\n", (int)len, status);
	}
	usp_free(status);
}
