/* SPDX-License-Identifier: MIT */
/* test_http - what a request asks for, whatever it looks like, and the head of an answer. */
#include "metrics/http.h"
#include "support.h"

/* --- Request --------------------------------------------------------------------------------------- */

static ssize_t parse(const char *text, struct usp_http_request *ret_request)
{
	return usp_http_parse(text, strlen(text), ret_request);
}

static void a_head_is_there_when_its_empty_line_is(void **state)
{
	static const char text[] = "GET /metrics HTTP/1.1\r\nHost: relay\r\nAccept: */*\r\n\r\nand more";
	size_t head_len = strlen(text) - strlen("and more");
	struct usp_http_request request;

	(void)state;
	for (size_t len = 0; len < head_len; len++)
		assert_int_equal(usp_http_parse(text, len, &request), 0);
	for (size_t len = head_len; len <= strlen(text); len++)
		assert_int_equal(usp_http_parse(text, len, &request), head_len);
}

static void a_lone_line_feed_ends_a_line(void **state)
{
	struct usp_http_request request;

	(void)state;
	assert_int_equal(parse("GET / HTTP/1.0\n\n", &request), 16);
	assert_int_equal(parse("GET / HTTP/1.0\nHost: relay\n\n", &request), 28);
	assert_int_equal(parse("GET / HTTP/1.0\nHost: relay\n", &request), 0);
}

static void a_request_has_a_method_and_a_path(void **state)
{
	static const struct {
		const char *text;
		enum usp_http_method method;
		const char *path;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_GET, "/"},
		{"HEAD /metrics HTTP/1.0\r\n\r\n", USP_HTTP_HEAD, "/metrics"},
		{"GET /metrics?name=a&b=/?c HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_GET, "/metrics"},
		{"GET http://relay:9090/metrics?name=a HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_GET, "/metrics"},
		{"GET HTTP://relay/metrics HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_GET, "/metrics"},
		{"GET http://relay HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_GET, "/"},
		{"GET http://relay?name=/a HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_GET, "/"},
		{"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", USP_HTTP_OTHER, "/metrics"},
		{"GETS / HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_OTHER, "/"},
		{"GE / HTTP/1.1\r\nHost: a\r\n\r\n", USP_HTTP_OTHER, "/"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct usp_http_request request;

		assert_true(parse(cases[i].text, &request) > 0);
		assert_int_equal(request.method, cases[i].method);
		assert_int_equal(request.path_len, strlen(cases[i].path));
		assert_memory_equal(request.path, cases[i].path, request.path_len);
	}
}

static void a_request_may_name_a_host(void **state)
{
	static const struct {
		const char *text, *host; /* NULL: none */
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: relay\r\n\r\n", "relay"},
		{"GET / HTTP/1.0\n\n", NULL},
		{"GET / HTTP/1.0\nHost: relay\n\n", "relay"},
		{"GET / HTTP/1.1\r\nAccept: Host: a\r\nhOST:relay:9187\r\nX: b\r\n\r\n", "relay:9187"},
		{"GET / HTTP/1.1\r\nHost:\t [::1]:9187 \t\r\n\r\n", "[::1]:9187"},
		{"GET / HTTP/1.1\r\nHost:\r\n\r\n", NULL},
		{"GET / HTTP/1.0\r\nHosts: a\r\nX-Host: b\r\n\r\n", NULL},
		{"GET http://relay:9187/metrics HTTP/1.1\r\nHost: other\r\n\r\n", "relay:9187"},
		{"GET http://relay HTTP/1.1\r\nHost: a\r\n\r\n", "relay"},
		{"GET http://relay?/a HTTP/1.1\r\nHost: a\r\n\r\n", "relay"},
		{"GET http://user@relay/ HTTP/1.1\r\nHost: a\r\n\r\n", "user@relay"},
		{"GET / HTTP/1.0\r\n\r\nHost: behind\r\n\r\n", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct usp_http_request request;

		print_message("# %s\n", cases[i].host ? cases[i].host : "none");
		assert_true(parse(cases[i].text, &request) > 0);
		if (!cases[i].host) {
			assert_null(request.host);
			continue;
		}
		assert_int_equal(request.host_len, strlen(cases[i].host));
		assert_memory_equal(request.host, cases[i].host, request.host_len);
	}
}

static void what_is_no_request_is_refused(void **state)
{
	static const char *const texts[] = {
		"GET /\r\n\r\n",
		"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
		"GET / HTTP/2.0\r\n\r\n",
		"GET / HTTP/1.10\r\n\r\n",
		"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET metrics HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET http:///metrics HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET https://relay/metrics HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\nhost: c\r\n\r\n",
		"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
		"GET / HTTP/1.1\r\nAccept: b\r\n\tHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost\r\n\r\n",
		"GET / HTTP/1.1\r\n: a\r\n\r\n",
		"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET\r\n\r\n",
		"HTTP/1.1\n\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\nHost: behind\r\n\r\n",
		"GET http://a/ HTTP/1.1\r\nAccept: b\r\n\r\n",
		"GET / HTTP/1.0\r\nContent-Length: -5\r\n\r\n",
		"GET / HTTP/1.0\r\nContent-Length:\r\n\r\n",
		"GET / HTTP/1.0\r\ncontent-length: 5, 6\r\n\r\n",
		"GET / HTTP/1.0\r\nContent-Length: 0x5\r\n\r\n",
		"GET / HTTP/1.0\r\nAccept: a\rb\r\n\r\n",
		"GET / HTTP/1.0\r\nAccept: \x7f\r\n\r\n",
		"GET /\x01 HTTP/1.0\r\n\r\n",
	};
	struct usp_http_request request = {.path = "untouched"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(parse(texts[i], &request), -EPROTO);
	assert_string_equal(request.path, "untouched");
}

static void a_zero_byte_is_refused(void **state)
{
	static const char in_field[] = "GET / HTTP/1.0\r\nAccept: a\0b\r\n\r\n";
	static const char in_host[] = "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n";
	static const char in_path[] = "GET /metrics\0 HTTP/1.0\r\n\r\n";
	struct usp_http_request request;

	(void)state;
	assert_int_equal(usp_http_parse(in_field, sizeof(in_field) - 1, &request), -EPROTO);
	assert_int_equal(usp_http_parse(in_host, sizeof(in_host) - 1, &request), -EPROTO);
	assert_int_equal(usp_http_parse(in_path, sizeof(in_path) - 1, &request), -EPROTO);
}

/* A TLS client has sent all that it will send by then. */
static void what_begins_like_no_request_is_refused_at_once(void **state)
{
	static const char *const texts[] = {"\x16\x03\x01", "\r\n", "\n\n", " ", "get / HTTP/1.1\r\n\r\n"};
	struct usp_http_request request;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_int_equal(usp_http_parse(texts[i], strlen(texts[i]), &request), -EPROTO);
	assert_int_equal(usp_http_parse("\0", 1, &request), -EPROTO);
}

/* --- Answer ---------------------------------------------------------------------------------------- */

static void an_answer_has_a_head(void **state)
{
	const struct usp_http_answer plain = {.status = 405, .type = "text/plain", .len = 12};
	const struct usp_http_answer page = {
		.status = 200, .type = "text/html", .policy = "default-src 'none'", .len = 3};
	char head[512];

	(void)state;
	head[usp_http_head(&plain, head, sizeof(head))] = '\0';
	assert_string_equal(head,
			    "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n"
			    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nAllow: GET, HEAD\r\n"
			    "Connection: close\r\n\r\n");
	head[usp_http_head(&page, head, sizeof(head))] = '\0';
	assert_string_equal(head, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n"
				  "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
				  "Content-Security-Policy: default-src 'none'\r\nConnection: close\r\n\r\n");
}

static void a_head_is_cut_to_the_room_there_is(void **state)
{
	const struct usp_http_answer answer = {.status = 200, .type = "text/html"};
	char head[32];

	(void)state;
	memset(head, '#', sizeof(head));
	assert_int_equal(usp_http_head(&answer, head, 20), 19);
	assert_memory_equal(head, "HTTP/1.1 200 OK\r\nCo", 19);
	assert_int_equal(head[20], '#');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_head_is_there_when_its_empty_line_is),
		CASE(a_lone_line_feed_ends_a_line),
		CASE(a_request_has_a_method_and_a_path),
		CASE(a_request_may_name_a_host),
		CASE(what_is_no_request_is_refused),
		CASE(a_zero_byte_is_refused),
		CASE(what_begins_like_no_request_is_refused_at_once),
		CASE(an_answer_has_a_head),
		CASE(a_head_is_cut_to_the_room_there_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
