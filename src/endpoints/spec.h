/* SPDX-License-Identifier: MIT */
/* spec - what a spec is once it has been parsed. */
#ifndef USP_ENDPOINTS_SPEC_H
#define USP_ENDPOINTS_SPEC_H

#include <usplice/spec.h>

#define USP_SPEC_OPTIONS_MAX 8

struct usp_endpoint;

struct usp_spec {
	const struct usp_endpoint *endpoint;
	const char *address; /* behind the scheme, without options, unescaped */
	unsigned nr_options;
	struct {
		const char *name, *value; /* value NULL where there is no '=' */
	} options[USP_SPEC_OPTIONS_MAX];
	char storage[]; /* the text as it was written, and a copy of its end that the strings above point into */
};

/* The moment of usp_sys_now_ns that an option's time from now leads to. 0, also where it was not given, or -EINVAL. */
int usp_spec_moment(const struct usp_spec *spec, const char *name, uint64_t *ret_moment_ns);

#endif
