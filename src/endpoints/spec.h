/* SPDX-License-Identifier: MIT */
/* spec - a parsed spec. */
#ifndef USP_ENDPOINTS_SPEC_H
#define USP_ENDPOINTS_SPEC_H

#include <usplice/spec.h>

#define USP_SPEC_OPTIONS_MAX 8

struct usp_endpoint;

struct usp_spec {
	const struct usp_endpoint *endpoint;
	const char *address; /* the text behind the scheme, without options, unescaped */
	unsigned nr_options;
	struct {
		const char *name, *value; /* value is NULL if there is no '=' */
	} options[USP_SPEC_OPTIONS_MAX];
	char storage[]; /* the original text, and a copy of its end, which the strings above point into */
};

/* Add the time of an option to usp_sys_now_ns: 0 or -EINVAL. Without the option, 0 and *ret_moment_ns is kept. */
int usp_spec_moment(const struct usp_spec *spec, const char *name, uint64_t *ret_moment_ns);

#endif
