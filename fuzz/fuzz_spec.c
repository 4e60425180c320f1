/* SPDX-License-Identifier: MIT */
/*
 * fuzz_spec - any text is either a spec or refused with a reason; what a spec says can be written down again, with every comma
 * of the address escaped, and then means the same.
 */
#include <errno.h>
#include <string.h>

#include "endpoints/endpoints.h"
#include "fuzz.h"

#define TEXT_MAX 4096

static void spec_check_options(const struct usp_spec *spec, const struct usp_endpoint *endpoint)
{
	FUZZ_CHECK(spec->nr_options <= USP_SPEC_OPTIONS_MAX);
	for (unsigned i = 0; i < spec->nr_options; i++) {
		const char *value = spec->options[i].value, *const *name = endpoint->options;

		while (*name && strcmp(*name, spec->options[i].name) != 0)
			name++;
		FUZZ_CHECK(*name);
		FUZZ_CHECK(strcmp(usp_spec_option(spec, *name), value ? value : "") == 0);
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
static void spec_write(const struct usp_spec *spec, const struct usp_endpoint *endpoint, char *to)
{
	to = spec_append(to, endpoint->scheme, "");
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

static void spec_check_round_trip(const struct usp_spec *spec, const struct usp_endpoint *endpoint)
{
	const struct usp_endpoint *again_endpoint;
	char text[2 * TEXT_MAX + 64];
	struct usp_spec again;
	const char *why = NULL;

	if (!endpoint->scheme)
		return; /* "-" */
	spec_write(spec, endpoint, text);
	FUZZ_CHECK(usp_spec_parse(text, &again, &again_endpoint, &why) == 0);
	FUZZ_CHECK(again_endpoint == endpoint && strcmp(again.address, spec->address) == 0);
	FUZZ_CHECK(again.nr_options == spec->nr_options);
	for (unsigned i = 0; i < spec->nr_options; i++) {
		const char *name = spec->options[i].name;

		FUZZ_CHECK(!spec->options[i].value == !again.options[i].value);
		FUZZ_CHECK(strcmp(usp_spec_option(spec, name), usp_spec_option(&again, name)) == 0);
	}
	usp_spec_fini(&again);
}

static void spec_check_len(const char *text)
{
	int64_t len = -1;
	int ret = usp_spec_parse_len(text, &len);

	FUZZ_CHECK(ret == 0 ? len >= 0 : len == -1 && (ret == -EINVAL || ret == -ERANGE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct usp_endpoint *endpoint;
	char text[TEXT_MAX];
	struct usp_spec spec;
	const char *why = NULL;
	int ret;

	len = len < TEXT_MAX ? len : TEXT_MAX - 1;
	memcpy(text, data, len);
	text[len] = '\0';
	spec_check_len(text);
	ret = usp_spec_parse(text, &spec, &endpoint, &why);
	if (ret < 0) {
		FUZZ_CHECK(ret == -EINVAL && why);
		return 0;
	}
	FUZZ_CHECK(endpoint->open && strcmp(spec.text, text) == 0);
	spec_check_options(&spec, endpoint);
	spec_check_round_trip(&spec, endpoint);
	usp_spec_fini(&spec);
	return 0;
}
