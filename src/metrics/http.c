/* SPDX-License-Identifier: MIT */
/* http - what a request of HTTP/1 asks for, and the head of the answer. */
#include "metrics/http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/compiler.h"

/* --- Request --------------------------------------------------------------------------------------- */

struct http_word {
	const char *at;
	size_t len;
};

/*
 * Return the length of the head with the empty line, or 0 if that is not there yet. A lone line
 * feed ends a line, too.
 */
static size_t http_head_len(const char *bytes, size_t len)
{
	const char *end = bytes + len, *at = bytes;

	while ((at = memchr(at, '\n', (size_t)(end - at)))) {
		at++;
		if (at < end && *at == '\n')
			return (size_t)(at + 1 - bytes);
		if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
			return (size_t)(at + 2 - bytes);
	}
	return 0;
}

/* Take the text up to the first separator off the front of rest, and the separator with it; all if there is none. */
static struct http_word http_take(struct http_word *rest, char separator)
{
	const char *end = memchr(rest->at, separator, rest->len);
	struct http_word word = {.at = rest->at, .len = end ? (size_t)(end - rest->at) : rest->len};
	size_t taken = word.len + (end ? 1 : 0);

	rest->at += taken;
	rest->len -= taken;
	return word;
}

static bool http_is(struct http_word word, const char *text)
{
	return word.len == strlen(text) && memcmp(word.at, text, word.len) == 0;
}

static bool http_begins(struct http_word word, const char *text)
{
	return word.len >= strlen(text) && memcmp(word.at, text, strlen(text)) == 0;
}

static enum usp_http_method http_method(struct http_word word)
{
	return http_is(word, "GET") ? USP_HTTP_GET : http_is(word, "HEAD") ? USP_HTTP_HEAD : USP_HTTP_OTHER;
}

/* Take a line with its end off the front of rest. */
static struct http_word http_take_line(struct http_word *rest)
{
	struct http_word line = http_take(rest, '\n');

	if (line.len > 0 && line.at[line.len - 1] == '\r')
		line.len--;
	return line;
}

/*
 * Take the path of a target. A whole address, as for a proxy, may have no path; its host replaces
 * the field Host.
 */
static struct http_word http_take_target(struct http_word target, struct http_word *ret_host)
{
	static const char scheme[] = "http://";
	size_t scheme_len = strlen(scheme), host_len = 0;

	if (target.len < scheme_len || strncasecmp(target.at, scheme, scheme_len) != 0)
		return http_take(&target, '?');
	while (scheme_len + host_len < target.len && !strchr("/?#", target.at[scheme_len + host_len]))
		host_len++;
	if (!host_len)
		return (struct http_word){.at = target.at};
	*ret_host = (struct http_word){.at = target.at + scheme_len, .len = host_len};
	target.at += scheme_len + host_len;
	target.len -= scheme_len + host_len;
	if (!target.len || *target.at != '/') /* the root, for which a slash of the scheme stands */
		return (struct http_word){.at = ret_host->at - 1, .len = 1};
	return http_take(&target, '?');
}

static bool http_is_token(struct http_word word)
{
	for (size_t i = 0; i < word.len; i++) {
		if (word.at[i] <= ' ' || word.at[i] > '~')
			return false;
	}
	return word.len > 0;
}

static struct http_word http_trim(struct http_word word)
{
	while (word.len && (word.at[0] == ' ' || word.at[0] == '\t')) {
		word.at++;
		word.len--;
	}
	while (word.len && (word.at[word.len - 1] == ' ' || word.at[word.len - 1] == '\t'))
		word.len--;
	return word;
}

static bool http_is_text(struct http_word word)
{
	for (size_t i = 0; i < word.len; i++) {
		if (((unsigned char)word.at[i] < ' ' && word.at[i] != '\t') || word.at[i] == '\x7f')
			return false;
	}
	return true;
}

static bool http_is_number(struct http_word word)
{
	for (size_t i = 0; i < word.len; i++) {
		if (word.at[i] < '0' || word.at[i] > '9')
			return false;
	}
	return word.len > 0;
}

static bool http_is_field(struct http_word word, const char *name)
{
	return word.len == strlen(name) && strncasecmp(word.at, name, word.len) == 0;
}

/*
 * Find the field Host in the lines before the empty one. False if a line is not a field, such as
 * one that continues the line before, or if there are two: other programs might choose the other
 * one. A length that is none is refused, too, for the same reason.
 */
static bool http_find_host(struct http_word rest, struct http_word *ret_host)
{
	struct http_word line, name;

	*ret_host = (struct http_word){.at = NULL};
	while ((line = http_take_line(&rest)).len) {
		bool is_field = memchr(line.at, ':', line.len);

		name = http_take(&line, ':');
		if (!is_field || !http_is_token(name) || !http_is_text(line))
			return false;
		if (http_is_field(name, "Content-Length") && !http_is_number(http_trim(line)))
			return false;
		if (!http_is_field(name, "Host"))
			continue;
		if (ret_host->at)
			return false;
		*ret_host = http_trim(line);
	}
	return true;
}

ssize_t usp_http_parse(const char *bytes, size_t len, struct usp_http_request *ret_request)
{
	struct http_word rest = {.at = bytes, .len = http_head_len(bytes, len)};
	size_t head_len = rest.len;
	struct http_word line, method, path, host;
	bool has_field;

	if (len > 0 && (bytes[0] < 'A' || bytes[0] > 'Z'))
		return -EPROTO; /* at once, because TLS would wait for an answer before it sends the end of a line */
	if (!head_len)
		return 0;
	line = http_take_line(&rest);
	if (!http_is_text(line))
		return -EPROTO;
	method = http_take(&line, ' ');
	if (!http_find_host(rest, &host))
		return -EPROTO;
	has_field = host.at;
	path = http_take_target(http_take(&line, ' '), &host);
	if (!http_begins(line, "HTTP/1.") || line.len != strlen("HTTP/1.1") || !http_begins(path, "/"))
		return -EPROTO;
	if (!has_field && !http_is(line, "HTTP/1.0")) /* RFC 9112, 3.2: also with a whole address */
		return -EPROTO;
	*ret_request = (struct usp_http_request){
		.method = http_method(method),
		.path = path.at,
		.path_len = path.len,
		.host = host.len ? host.at : NULL,
		.host_len = host.len,
	};
	return (ssize_t)head_len;
}

/* --- Answer ---------------------------------------------------------------------------------------- */

const char *usp_http_reason(unsigned status)
{
	static const struct {
		unsigned status;
		const char *reason;
	} reasons[] = {
		{200, "OK"},
		{400, "Bad Request"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{421, "Misdirected Request"},
		{431, "Request Header Fields Too Large"},
		{503, "Service Unavailable"},
	};

	for (size_t i = 0; i < usp_array_len(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Unknown";
}

size_t usp_http_head(const struct usp_http_answer *answer, char *ret_bytes, size_t room)
{
	int len = snprintf(ret_bytes, room,
			   "HTTP/1.1 %u %s\r\n"
			   "Content-Type: %s\r\n"
			   "Content-Length: %zu\r\n"
			   "Cache-Control: no-store\r\n"
			   "X-Content-Type-Options: nosniff\r\n"
			   "%s%s%s%s"
			   "Connection: close\r\n\r\n",
			   answer->status, usp_http_reason(answer->status), answer->type, answer->len,
			   answer->status == 405 ? "Allow: GET, HEAD\r\n" : "",
			   answer->policy ? "Content-Security-Policy: " : "", answer->policy ? answer->policy : "",
			   answer->policy ? "\r\n" : "");

	return len < 0 ? 0 : usp_min((size_t)len, room - 1);
}
