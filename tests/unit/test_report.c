/* SPDX-License-Identifier: MIT */
/* test_report - a relay as text: quoting, the history, and both formats to the last byte. */
#include "relay/report.h"

#include <stdio.h>

#include "support.h"

#define SECOND USP_HISTORY_STEP_NS

/* --- Text ------------------------------------------------------------------------------------------ */

static void a_text_grows_as_it_must(void **state)
{
	struct usp_text text = {0};
	char *line = malloc(20001);

	(void)state;
	memset(line, 'x', 20000);
	line[20000] = '\0';
	for (unsigned i = 0; i < 3000; i++)
		usp_text_add(&text, "%u,", i % 10);
	usp_text_add(&text, "%s", line);
	assert_false(text.has_failed);
	assert_int_equal(text.len, 6000 + 20000);
	for (unsigned i = 0; i < 3000; i++)
		assert_int_equal(text.base[2 * i], '0' + i % 10);
	assert_string_equal(text.base + 6000, line);
	usp_text_free(&text);
	assert_null(text.base);
	free(line);
}

static void a_quoted_text_says_the_same_to_both_readers(void **state)
{
	static const struct {
		const char *value, *quoted;
	} cases[] = {
		{"", "\"\""},
		{"tcp 10.0.0.1:80", "\"tcp 10.0.0.1:80\""},
		{"a\"b\\c\nd", "\"a\\\"b\\\\c\\nd\""},
		{"a\tb\x7f", "\"a?b?\""},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
		{"cut \xe2\x82", "\"cut ??\""},
		{"\u202eexe.jpg \u061c \u200e\u200f \u2028\u2029 \u202a \u2066\u2069\u206f",
		 "\"?exe.jpg ? ?? ?? ? ???\""},
		{"\u061b\u061d\u200d\u2010\u2027\u202f\u2065\u2070",
		 "\"\u061b\u061d\u200d\u2010\u2027\u202f\u2065\u2070\""},
		{"\x9b \xc2\x80\xc2\x9b\xc2\x9f \xc2\xa0", "\"? ??? \xc2\xa0\""},
		{"\x80 \xc0\xaf \xc1 \xff \xf8\x88\x80\x80\x80", "\"? ?? ? ? ?????\""},
		{"\xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80", "\"??? ??? ????\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct usp_text text = {0};

		usp_text_add_quoted(&text, cases[i].value);
		assert_string_equal(text.base, cases[i].quoted);
		usp_text_free(&text);
	}
}

/* --- History --------------------------------------------------------------------------------------- */

struct values {
	uint64_t value[USP_REPORT_NR_SERIES];
};

static struct values moment(uint64_t to_target, uint64_t to_client, unsigned nr_connections)
{
	return (struct values){{to_target, to_client, nr_connections}};
}

static void add(struct usp_history *history, struct values values, uint64_t now_ns)
{
	usp_history_add(history, values.value, now_ns);
}

static void begin(struct usp_history *history, struct values values, uint64_t now_ns)
{
	usp_history_begin(history, values.value, USP_REPORT_NR_COUNTERS, USP_REPORT_NR_SERIES, now_ns);
}

static void assert_moment(const struct usp_history *history, unsigned index, uint64_t to_target, uint64_t to_client,
			  unsigned nr_connections)
{
	const struct usp_moment *at = usp_history_at(history, index);

	assert_int_equal(at->value[USP_TO_TARGET], to_target);
	assert_int_equal(at->value[USP_TO_CLIENT], to_client);
	assert_int_equal(at->value[USP_REPORT_NR_COUNTERS], nr_connections);
}

static void a_sample_is_what_was_delivered_in_its_second(void **state)
{
	struct usp_history history;

	(void)state;
	begin(&history, moment(1000, 0, 0), 5 * SECOND);
	assert_int_equal(history.nr_moments, 0);
	add(&history, moment(1000, 700, 3), 6 * SECOND);
	add(&history, moment(2500, 700, 4), 7 * SECOND + SECOND / 4);
	assert_int_equal(history.nr_moments, 2);
	assert_moment(&history, 0, 0, 700, 3);
	assert_moment(&history, 1, 1200, 0, 4);
}

static void seconds_that_were_missed_get_the_average(void **state)
{
	struct usp_history history;

	(void)state;
	begin(&history, moment(0, 0, 0), 0);
	add(&history, moment(100, 10, 1), SECOND);
	add(&history, moment(100 + 3000, 10 + 60, 2), 4 * SECOND);
	assert_int_equal(history.nr_moments, 4);
	assert_moment(&history, 0, 100, 10, 1);
	for (unsigned i = 1; i < 4; i++)
		assert_moment(&history, i, 1000, 20, 2);
}

static void a_sample_too_soon_waits_for_the_next(void **state)
{
	struct usp_history history;

	(void)state;
	begin(&history, moment(0, 0, 0), 0);
	add(&history, moment(100, 0, 1), SECOND / 4);
	assert_int_equal(history.nr_moments, 0);
	add(&history, moment(300, 0, 1), SECOND);
	assert_int_equal(history.nr_moments, 1);
	assert_moment(&history, 0, 300, 0, 1);
}

static void the_oldest_samples_make_room(void **state)
{
	struct usp_history history;

	(void)state;
	begin(&history, moment(0, 0, 0), 0);
	for (unsigned i = 1; i <= USP_HISTORY_LEN + 7; i++)
		add(&history, moment(0, 0, i), i * SECOND);
	assert_int_equal(history.nr_moments, USP_HISTORY_LEN);
	assert_moment(&history, 0, 0, 0, 8);
	assert_moment(&history, USP_HISTORY_LEN - 1, 0, 0, USP_HISTORY_LEN + 7);
	add(&history, moment(0, 0, 1), 100000 * SECOND);
	for (unsigned i = 0; i < USP_HISTORY_LEN; i++)
		assert_moment(&history, i, 0, 0, 1);
}

/* More than what 64 bits can hold in nanoseconds of bytes. */
static void a_rate_of_terabytes_is_told(void **state)
{
	struct usp_history history;

	(void)state;
	begin(&history, moment(0, 0, 0), 0);
	add(&history, moment((uint64_t)3 << 40, 0, 1), SECOND);
	assert_moment(&history, 0, (uint64_t)3 << 40, 0, 1);
}

/* --- A relay of which every number is another ---------------------------------------------------------- */

static struct usp_relay_target_status targets[] = {
	{.name = "10.0.0.1:80",
	 .nr_connections = 50,
	 .nr_connected = 51,
	 .nr_failed = 52,
	 .nr_addresses = 3,
	 .nr_addresses_up = 1},
	{.name = "unix:/a\"b",
	 .nr_connected = 53,
	 .nr_failed = 54,
	 .left_out_ns = 2500000000,
	 .last_error = -ECONNREFUSED,
	 .nr_addresses = 2},
};

static struct usp_history history;

static struct usp_report sample_report(void)
{
	struct usp_report report = {
		.status =
			{
				.nr_connections = 1,
				.nr_kernel_flows = 2,
				.nr_batch_workers = 49,
				.nr_targets = 2,
				.nr_accepted = 3,
				.nr_unserved = 4,
				.nr_idle_closed = 5,
				.nr_reset = 6,
				.nr_accept_pauses = 7,
				.nr_lane_switches = 8,
				.nr_source_waits = {9, 10},
				.nr_sink_waits = {11, 12},
				.delivered = {13, UINT64_MAX},
				.stranded = 15,
				.nr_kpipes = 16,
				.nr_kpipes_idle = 17,
				.nr_kpipes_destroyed = 18,
				.nr_sends_pending = 19,
				.nr_header_faults = {60, 61, 62, 63, 64},
				.is_draining = true,
				.nr_untold = 50,
				.nr_denied = 51,
				.nr_too_many = 52,
				.nr_too_fast = 53,
			},
		.targets = targets,
		.nr_targets = ARRAY_LEN(targets),
		.uptime_ns = 3 * SECOND + 4999999,
		.history = &history,
	};

	for (unsigned i = 0; i < 4; i++) {
		report.status.hops[i / 2][i % 2] = (struct usp_relay_hop){
			.bytes = {20 + 3 * i, 21 + 3 * i, 22 + 3 * i},
			.reason = {i == 0 ? "a page moved" : NULL, i == 3 ? "it had to" : NULL, NULL},
			.nr_calls = 40 + i,
		};
	}
	begin(&history, moment(0, 0, 0), 0);
	add(&history, moment(100, 0, 1), 1 * SECOND);
	add(&history, moment(100, 200, 2), 2 * SECOND);
	return report;
}

/* --- Prometheus ------------------------------------------------------------------------------------ */

/* The samples alone, one for each line. */
static const char prometheus_samples[] =
	"accepted_total 3\n"
	"unserved_total 4\n"
	"idle_closed_total 5\n"
	"reset_total 6\n"
	"accept_pauses_total 7\n"
	"access_log_dropped_total 50\n"
	"stranded_bytes_total 15\n"
	"lane_switches_total 8\n"
	"kernel_lane_flows 2\n"
	"batch_workers 49\n"
	"zero_copy_sends_pending 19\n"
	"kernel_pipes_destroyed_total 18\n"
	"draining 1\n"
	"header_faults_total{fault=\"malformed\"} 60\n"
	"header_faults_total{fault=\"too_long\"} 61\n"
	"header_faults_total{fault=\"wrong_checksum\"} 62\n"
	"header_faults_total{fault=\"cut\"} 63\n"
	"header_faults_total{fault=\"late\"} 64\n"
	"refused_total{reason=\"denied\"} 51\n"
	"refused_total{reason=\"too_many\"} 52\n"
	"refused_total{reason=\"too_fast\"} 53\n"
	"kernel_pipes{state=\"in_use\"} 16\n"
	"kernel_pipes{state=\"idle\"} 17\n"
	"delivered_bytes_total{direction=\"to_target\"} 13\n"
	"delivered_bytes_total{direction=\"to_client\"} 18446744073709551615\n"
	"waits_total{direction=\"to_target\",side=\"source\"} 9\n"
	"waits_total{direction=\"to_target\",side=\"sink\"} 11\n"
	"waits_total{direction=\"to_client\",side=\"source\"} 10\n"
	"waits_total{direction=\"to_client\",side=\"sink\"} 12\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"in\",way=\"by_reference\"} 20\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"in\",way=\"copied\"} 21\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"in\",way=\"unknown\"} 22\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"in\",way=\"rewritten\"} 0\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"out\",way=\"by_reference\"} 23\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"out\",way=\"copied\"} 24\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"out\",way=\"unknown\"} 25\n"
	"hop_bytes_total{direction=\"to_target\",hop=\"out\",way=\"rewritten\"} 0\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"in\",way=\"by_reference\"} 26\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"in\",way=\"copied\"} 27\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"in\",way=\"unknown\"} 28\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"in\",way=\"rewritten\"} 0\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"out\",way=\"by_reference\"} 29\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"out\",way=\"copied\"} 30\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"out\",way=\"unknown\"} 31\n"
	"hop_bytes_total{direction=\"to_client\",hop=\"out\",way=\"rewritten\"} 0\n"
	"hop_reason_info{direction=\"to_target\",hop=\"in\",way=\"by_reference\",reason=\"a page moved\"} 1\n"
	"hop_reason_info{direction=\"to_client\",hop=\"out\",way=\"copied\",reason=\"it had to\"} 1\n"
	"hop_calls_total{direction=\"to_target\",hop=\"in\"} 40\n"
	"hop_calls_total{direction=\"to_target\",hop=\"out\"} 41\n"
	"hop_calls_total{direction=\"to_client\",hop=\"in\"} 42\n"
	"hop_calls_total{direction=\"to_client\",hop=\"out\"} 43\n"
	"target_up{index=\"0\",target=\"10.0.0.1:80\"} 1\n"
	"target_up{index=\"1\",target=\"unix:/a\\\"b\"} 0\n"
	"target_connections{index=\"0\",target=\"10.0.0.1:80\"} 50\n"
	"target_connections{index=\"1\",target=\"unix:/a\\\"b\"} 0\n"
	"target_connected_total{index=\"0\",target=\"10.0.0.1:80\"} 51\n"
	"target_connected_total{index=\"1\",target=\"unix:/a\\\"b\"} 53\n"
	"target_failed_total{index=\"0\",target=\"10.0.0.1:80\"} 52\n"
	"target_failed_total{index=\"1\",target=\"unix:/a\\\"b\"} 54\n";

#define PREFIX "usplice_relay_"

static char *next_line(char **rest)
{
	char *line = strsep(rest, "\n");

	return line && *line ? line : NULL;
}

static void every_sample_is_told_to_prometheus(void **state)
{
	struct usp_report report = sample_report();
	struct usp_text text = {0}, samples = {0}, expected = {0};
	char *rest, *line;

	(void)state;
	usp_report_numbers(&report, &(struct usp_numbers){.prefix = "usplice_relay", .text = &text});
	rest = text.base;
	while ((line = next_line(&rest))) {
		if (line[0] == '#')
			continue;
		assert_int_equal(strncmp(line, PREFIX, strlen(PREFIX)), 0);
		usp_text_add(&samples, "%s\n", line + strlen(PREFIX));
	}
	usp_text_add(&expected, "build_info{version=\"%s\"} 1\nconnections 1\n%s", usp_version(), prometheus_samples);
	assert_string_equal(samples.base, expected.base);
	usp_text_free(&text);
	usp_text_free(&samples);
	usp_text_free(&expected);
}

static void times_are_told_as_a_histogram_in_seconds(void **state)
{
	static const struct usp_family family = {"wait_seconds", "histogram", "Waits."};
	static const uint64_t bounds_ns[] = {10000, 2500000, 1000000000}, counts[] = {3, 0, 2, 1};
	const struct usp_times times = {
		.bounds_ns = bounds_ns, .counts = counts, .nr_bounds = 3, .sum_ns = UINT64_C(12000000345)};
	struct usp_text text = {0};
	struct usp_numbers numbers = {.prefix = "x", .text = &text};

	(void)state;
	usp_numbers_begin(&numbers, &family);
	usp_numbers_add_times(&numbers, &times, &(struct usp_label){"kind", "a\"b"}, 1);
	usp_numbers_add_times(&numbers, &times, NULL, 0);
	assert_non_null(strstr(text.base, "# TYPE x_wait_seconds histogram\n"
					  "x_wait_seconds_bucket{kind=\"a\\\"b\",le=\"0.00001\"} 3\n"
					  "x_wait_seconds_bucket{kind=\"a\\\"b\",le=\"0.0025\"} 3\n"
					  "x_wait_seconds_bucket{kind=\"a\\\"b\",le=\"1.0\"} 5\n"
					  "x_wait_seconds_bucket{kind=\"a\\\"b\",le=\"+Inf\"} 6\n"
					  "x_wait_seconds_sum{kind=\"a\\\"b\"} 12.000000345\n"
					  "x_wait_seconds_count{kind=\"a\\\"b\"} 6\n"
					  "x_wait_seconds_bucket{le=\"0.00001\"} 3\n"));
	usp_text_free(&text);
}

/* The families that were there already, so that none comes twice. */
static void assert_new_family(struct usp_text *seen, const char *name)
{
	char quoted[128];

	snprintf(quoted, sizeof(quoted), " %s ", name);
	assert_true(!seen->base || !strstr(seen->base, quoted));
	usp_text_add(seen, "%s", quoted);
}

/* Two lines, HELP and TYPE, of a family that was not there before: its name. */
static void check_family(const char *help, const char *type, struct usp_text *seen, char ret_name[128])
{
	char type_name[128], kind[16];
	int text_at = 0;

	assert_int_equal(sscanf(help, "# HELP %127s %n", ret_name, &text_at), 1);
	assert_true(text_at > 0 && help[text_at] != '\0');
	assert_int_equal(sscanf(type, "# TYPE %127s %15s", type_name, kind), 2);
	assert_string_equal(type_name, ret_name);
	assert_string_equal(kind, strstr(ret_name, "_total") ? "counter" : "gauge");
	assert_new_family(seen, ret_name);
}

static void every_family_has_one_help_and_one_type_before_its_samples(void **state)
{
	struct usp_report report = sample_report();
	struct usp_text text = {0}, seen = {0};
	char name[128] = "", *rest, *line;

	(void)state;
	usp_report_numbers(&report, &(struct usp_numbers){.prefix = "usplice_relay", .text = &text});
	assert_int_equal(text.base[text.len - 1], '\n');
	rest = text.base;
	while ((line = next_line(&rest))) {
		if (line[0] == '#') {
			check_family(line, next_line(&rest), &seen, name);
		} else {
			assert_int_equal(strcspn(line, "{ "), strlen(name));
			assert_memory_equal(line, name, strlen(name));
		}
	}
	usp_text_free(&text);
	usp_text_free(&seen);
}

/* --- JSON ------------------------------------------------------------------------------------------ */

static const char json_expected[] =
	"\"uptime_ms\":3004,\"draining\":true,"
	"\"connections\":{\"now\":1,\"accepted\":3,\"unserved\":4,\"idle_closed\":5,\"reset\":6,\"accept_pauses\":7},"
	"\"refused\":{\"denied\":51,\"too_many\":52,\"too_fast\":53},\"access_log_dropped\":50,"
	"\"kernel_pipes\":{\"in_use\":16,\"idle\":17,\"destroyed\":18},"
	"\"header_faults\":{\"malformed\":60,\"too_long\":61,\"wrong_checksum\":62,\"cut\":63,\"late\":64},"
	"\"stranded_bytes\":15,\"zero_copy_sends_pending\":19,\"lane_switches\":8,\"kernel_lane_flows\":2,\"batch_workers\":49,"
	"\"directions\":{"
	"\"to_target\":{\"delivered_bytes\":13,\"source_waits\":9,\"sink_waits\":11,"
	"\"in\":{\"calls\":40,\"by_reference\":{\"bytes\":20,\"reason\":\"a page moved\"},"
	"\"copied\":{\"bytes\":21,\"reason\":null},\"unknown\":{\"bytes\":22,\"reason\":null},"
	"\"rewritten\":{\"bytes\":0,\"reason\":null}},"
	"\"out\":{\"calls\":41,\"by_reference\":{\"bytes\":23,\"reason\":null},"
	"\"copied\":{\"bytes\":24,\"reason\":null},\"unknown\":{\"bytes\":25,\"reason\":null},"
	"\"rewritten\":{\"bytes\":0,\"reason\":null}}},"
	"\"to_client\":{\"delivered_bytes\":18446744073709551615,\"source_waits\":10,\"sink_waits\":12,"
	"\"in\":{\"calls\":42,\"by_reference\":{\"bytes\":26,\"reason\":null},"
	"\"copied\":{\"bytes\":27,\"reason\":null},\"unknown\":{\"bytes\":28,\"reason\":null},"
	"\"rewritten\":{\"bytes\":0,\"reason\":null}},"
	"\"out\":{\"calls\":43,\"by_reference\":{\"bytes\":29,\"reason\":null},"
	"\"copied\":{\"bytes\":30,\"reason\":\"it had to\"},\"unknown\":{\"bytes\":31,\"reason\":null},"
	"\"rewritten\":{\"bytes\":0,\"reason\":null}}}},"
	"\"targets\":["
	"{\"name\":\"10.0.0.1:80\",\"connections\":50,\"connected\":51,\"failed\":52,\"left_out_ms\":0,"
	"\"addresses\":3,\"addresses_up\":1,\"last_error\":null},"
	"{\"name\":\"unix:/a\\\"b\",\"connections\":0,\"connected\":53,\"failed\":54,\"left_out_ms\":2500,"
	"\"addresses\":2,\"addresses_up\":0,\"last_error\":\"Connection refused\"}],"
	"\"history\":{\"step_ms\":1000,\"length\":300,"
	"\"to_target\":[100,0],\"to_client\":[0,200],\"connections\":[1,2]}}\n";

static void every_number_is_told_as_json(void **state)
{
	struct usp_report report = sample_report();
	struct usp_text text = {0}, expected = {0};

	(void)state;
	usp_report_json(&report, &text);
	usp_text_add(&expected, "{\"version\":\"%s\",%s", usp_version(), json_expected);
	assert_string_equal(text.base, expected.base);
	usp_text_free(&text);
	usp_text_free(&expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_text_grows_as_it_must),
		CASE(a_quoted_text_says_the_same_to_both_readers),
		CASE(a_sample_is_what_was_delivered_in_its_second),
		CASE(seconds_that_were_missed_get_the_average),
		CASE(a_sample_too_soon_waits_for_the_next),
		CASE(the_oldest_samples_make_room),
		CASE(a_rate_of_terabytes_is_told),
		CASE(every_sample_is_told_to_prometheus),
		CASE(every_family_has_one_help_and_one_type_before_its_samples),
		CASE(times_are_told_as_a_histogram_in_seconds),
		CASE(every_number_is_told_as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
