/* SPDX-License-Identifier: MIT */
/*
 * fuzz_metrics - any bytes are a request, its beginning, or refused, and more bytes never change an answer that was given;
 * any bytes can be quoted, and are then what both JSON and Prometheus take.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "metrics/http.h"
#include "metrics/text.h"

#define PREFIXES_MAX 600

static void metrics_check_prefixes(const char *bytes, size_t len, ssize_t whole)
{
	for (size_t prefix = 0; prefix < len && prefix < PREFIXES_MAX; prefix++) {
		struct usp_http_request request;
		ssize_t ret = usp_http_parse(bytes, prefix, &request);

		if (whole > 0)
			FUZZ_CHECK(ret == ((size_t)whole <= prefix ? whole : 0));
		else
			FUZZ_CHECK(ret == 0 || ret == whole);
	}
}

static void metrics_check_request(const char *bytes, size_t len)
{
	struct usp_http_request request = {.path = NULL};
	ssize_t ret = usp_http_parse(bytes, len, &request);

	FUZZ_CHECK(ret == -EPROTO || (ret >= 0 && (size_t)ret <= len));
	metrics_check_prefixes(bytes, len, ret);
	if (ret <= 0) {
		FUZZ_CHECK(!request.path);
		return;
	}
	FUZZ_CHECK(bytes[ret - 1] == '\n');
	FUZZ_CHECK(request.path > bytes && request.path + request.path_len < bytes + ret);
	FUZZ_CHECK(!request.host ||
		   (request.host_len > 0 && request.host > bytes && request.host + request.host_len < bytes + ret &&
		    !memchr(request.host, '\n', request.host_len)));
	FUZZ_CHECK(request.path_len > 0 && request.path[0] == '/');
	FUZZ_CHECK(!memchr(request.path, ' ', request.path_len) && !memchr(request.path, '?', request.path_len));
}

/* Behind a backslash stands a quote, a backslash or an n; a lone quote ends it; control characters are not in it. */
static void metrics_check_quoted(const char *bytes, size_t len)
{
	char *value = calloc(1, len + 1), *at;
	struct usp_text text = {0}, again = {0};

	memcpy(value, bytes, len);
	usp_text_add_quoted(&text, value);
	FUZZ_CHECK(!text.has_failed && text.len >= 2 && strlen(text.base) == text.len && text.base[0] == '"');
	for (at = text.base + 1; *at != '"'; at++) {
		FUZZ_CHECK((unsigned char)*at >= 0x20 && *at != 0x7f);
		FUZZ_CHECK((unsigned char)at[0] != 0xc2 || (unsigned char)at[1] >= 0xa0);
		if (*at == '\\') {
			at++;
			FUZZ_CHECK(*at == '"' || *at == '\\' || *at == 'n');
		}
	}
	FUZZ_CHECK(at == text.base + text.len - 1);
	*at = '\0';
	if (!strchr(text.base + 1, '\\')) { /* what was quoted once has nothing left to be changed */
		usp_text_add_quoted(&again, text.base + 1);
		FUZZ_CHECK(again.len == text.len && memcmp(again.base + 1, text.base + 1, text.len - 2) == 0);
	}
	usp_text_free(&again);
	usp_text_free(&text);
	free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	metrics_check_request((const char *)data, len);
	metrics_check_quoted((const char *)data, len);
	return 0;
}
