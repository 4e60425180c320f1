/* SPDX-License-Identifier: MIT */
/* http - what a request of HTTP/1 asks for, and the head of the answer. */
#ifndef USP_METRICS_HTTP_H
#define USP_METRICS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum usp_http_method {
	USP_HTTP_GET,
	USP_HTTP_HEAD,
	USP_HTTP_OTHER,
};

struct usp_http_request {
	enum usp_http_method method;
	const char *path; /* without a query; points into the request */
	size_t path_len;
	const char *host; /* with a port, if one is named; points into the request; NULL: none is named */
	size_t host_len;
};

/*
 * Parse the first len bytes of a connection. The length of the head of the request, 0 if more bytes
 * are needed, -EPROTO if it is not HTTP/1, has a line that is not a field, or names two hosts.
 */
ssize_t usp_http_parse(const char *bytes, size_t len, struct usp_http_request *ret_request);

/* An answer without its body. */
struct usp_http_answer {
	unsigned status;
	const char *type;   /* of the content */
	const char *policy; /* Content-Security-Policy, or NULL */
	size_t len;	    /* of the body */
};

/* Return the usual words for a status: "Not Found". */
const char *usp_http_reason(unsigned status);

/*
 * Write the head of an answer, and return its length. Cut to room; 1 KiB and the length of the
 * policy is enough.
 */
size_t usp_http_head(const struct usp_http_answer *answer, char *ret_bytes, size_t room);

#endif
