/* SPDX-License-Identifier: MIT */
/*
 * fuzz_spec - any text is either a spec or refused with a reason; what a spec says can be written down again, with every comma
 * of the address escaped, and then means the same.
 */
#include <errno.h>
#include <string.h>

#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "fuzz.h"

#define TEXT_MAX 4096

static void spec_check_options(const struct usp_spec *spec)
{
	FUZZ_CHECK(spec->nr_options <= USP_SPEC_OPTIONS_MAX);
	for (unsigned i = 0; i < usp_spec_nr_options(spec); i++) {
		const char *value, *name = usp_spec_option_at(spec, i, &value);

		FUZZ_CHECK(usp_endpoint_has_option(spec->endpoint, name, strlen(name)));
		FUZZ_CHECK(strcmp(usp_spec_option(spec, name), value ? value : "") == 0);
	}
}

static char *spec_append(char *to, const char *text, const char *special)
{
	for (; *text; text++) {
		if (strchr(special, *text))
			*to++ = '\\';
		*to++ = *text;
	}
	*to = '\0';
	return to;
}

/* scheme://address,option=value with what is special escaped. */
static void spec_write(const struct usp_spec *spec, char *to)
{
	to = spec_append(to, usp_spec_scheme(spec), "");
	to = spec_append(to, "://", "");
	to = spec_append(to, spec->address, ",");
	for (unsigned i = 0; i < spec->nr_options; i++) {
		to = spec_append(to, ",", "");
		to = spec_append(to, spec->options[i].name, "");
		if (!spec->options[i].value)
			continue;
		to = spec_append(to, "=", "");
		to = spec_append(to, spec->options[i].value, ",");
	}
}

static void spec_check_round_trip(const struct usp_spec *spec)
{
	char text[2 * TEXT_MAX + 64];
	struct usp_spec *again;

	if (!spec->endpoint->scheme)
		return; /* "-" */
	spec_write(spec, text);
	FUZZ_CHECK(usp_spec_parse(text, &again, NULL) == 0);
	FUZZ_CHECK(again->endpoint == spec->endpoint && strcmp(again->address, spec->address) == 0);
	FUZZ_CHECK(again->nr_options == spec->nr_options);
	for (unsigned i = 0; i < spec->nr_options; i++) {
		const char *name = spec->options[i].name;

		FUZZ_CHECK(!spec->options[i].value == !again->options[i].value);
		FUZZ_CHECK(strcmp(usp_spec_option(spec, name), usp_spec_option(again, name)) == 0);
	}
	usp_spec_free(again);
}

static void spec_check_names(const struct usp_spec *spec)
{
	const char *path = usp_spec_path(spec);
	int fd = usp_spec_descriptor(spec, USP_READ);

	FUZZ_CHECK(!path || (*path && strcmp(usp_spec_scheme(spec), "file") == 0 && fd == -ENXIO));
	FUZZ_CHECK(fd >= 0 || fd == -EINVAL || fd == -ENXIO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[TEXT_MAX];
	struct usp_spec *spec;
	const char *why = NULL;
	int ret;

	len = len < TEXT_MAX ? len : TEXT_MAX - 1;
	memcpy(text, data, len);
	text[len] = '\0';
	ret = usp_spec_parse(text, &spec, &why);
	if (ret < 0) {
		FUZZ_CHECK(ret == -EINVAL && why);
		return 0;
	}
	FUZZ_CHECK(spec->endpoint->open && strcmp(usp_spec_text(spec), text) == 0);
	spec_check_options(spec);
	spec_check_round_trip(spec);
	spec_check_names(spec);
	usp_spec_free(spec);
	return 0;
}
