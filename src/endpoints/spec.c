/* SPDX-License-Identifier: MIT */
/*
 * spec - the grammar of texts that name endpoints.
 *
 *   SCHEME:ADDRESS[,NAME[=VALUE]...]     or a path, or "-"
 *
 * "\," is a comma that does not end the address or an option. Each endpoint parses its own address. Behind "exec:" all
 * is the address.
 */
#include "endpoints/spec.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "endpoints/endpoints.h"

#define DIGITS "0123456789"
#define SCHEME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" DIGITS "-"

/* --- Taking apart ------------------------------------------------------------------------------------ */

/* Return the length of a possible scheme in front of a colon, or 0. A name such as 12:30 or ./a:b has none. */
static size_t spec_scheme_len(const char *text)
{
	size_t len = strspn(text, SCHEME_CHARS);

	return len > 0 && text[len] == ':' && !strchr(DIGITS "-", text[0]) ? len : 0;
}

/*
 * Unescape text in place up to the comma that ends it. Return what follows that comma, or NULL. With
 * an endpoint, only a comma in front of one of its options ends text.
 */
static char *spec_cut(char *text, const struct usp_endpoint *endpoint)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (from[0] == '\\' && from[1] == ',')
			from++;
		else if (*from == ',' &&
			 (!endpoint || usp_endpoint_may_have_option(endpoint, from + 1, strcspn(from + 1, ",=")))) {
			char *rest = text + (from - text) + 1;

			*to = '\0';
			return rest;
		}
		*to++ = *from;
	}
	*to = '\0';
	return NULL;
}

static int spec_add_option(struct usp_spec *spec, char *text, const char **ret_why)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = '\0';
	if (!usp_endpoint_may_have_option(spec->endpoint, text, strlen(text)))
		*ret_why = "it has no such option; a comma that belongs to the name is written \\,";
	else if (usp_spec_option(spec, text))
		*ret_why = "an option is given twice";
	else if (spec->nr_options == USP_SPEC_OPTIONS_MAX)
		*ret_why = "too many options";
	else {
		spec->options[spec->nr_options].name = text;
		spec->options[spec->nr_options++].value = value;
		return 0;
	}
	return -EINVAL;
}

/* A path may contain commas: there, a comma is special only in front of the name of an option. */
static int spec_split(struct usp_spec *spec, char *text, const char **ret_why)
{
	char *rest = spec_cut(text, spec->endpoint == &usp_regular_endpoint ? spec->endpoint : NULL);

	spec->address = text;
	while (rest) {
		char *option = rest;
		int ret;

		rest = spec_cut(option, NULL);
		ret = spec_add_option(spec, option, ret_why);
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* Find the type that text names, and where the address begins. */
static int spec_find_endpoint(const char *text, const struct usp_endpoint **ret_endpoint, size_t *ret_start,
			      const char **ret_why)
{
	size_t len = spec_scheme_len(text);
	const struct usp_endpoint *endpoint = usp_endpoint_named(text, len);
	struct stat st;

	*ret_start = 0;
	if (endpoint)
		*ret_start = len + (!endpoint->is_plain && strncmp(text + len, "://", 3) == 0 ? 3 : 1);
	else if (strcmp(text, "-") == 0)
		endpoint = &usp_standard_endpoint;
	else if (len == 0 || usp_sys_stat(text, &st) == 0)
		endpoint = &usp_regular_endpoint;
	if (!endpoint) {
		*ret_why = "unknown endpoint type; if it is the name of a file, write file: in front of it";
		return -EINVAL;
	}
	*ret_endpoint = endpoint;
	return 0;
}

/* Split a copy of the text in place into address and options. */
static int spec_take_apart(struct usp_spec *spec, const char **ret_why)
{
	char *storage = spec->storage + strlen(spec->storage) + 1;
	size_t start;
	int ret = spec_find_endpoint(spec->storage, &spec->endpoint, &start, ret_why);

	if (ret < 0)
		return ret;
	strcpy(storage, spec->storage + start);
	if (!spec->endpoint->is_plain)
		return spec_split(spec, storage, ret_why);
	spec->address = storage;
	return 0;
}

int usp_spec_parse(const char *text, struct usp_spec **ret_spec, const char **ret_why)
{
	struct usp_spec *spec;
	const char *why = NULL;
	size_t len;
	int ret;

	if (!text)
		return -EINVAL;
	len = strlen(text) + 1;
	spec = usp_alloc(sizeof(*spec) + 2 * len);
	if (!spec)
		return -ENOMEM;
	memcpy(spec->storage, text, len);
	ret = spec_take_apart(spec, &why);
	if (ret == 0) {
		*ret_spec = spec;
		return 0;
	}
	if (ret_why)
		*ret_why = why;
	usp_spec_free(spec);
	return ret;
}

void usp_spec_free(struct usp_spec *spec)
{
	usp_free(spec);
}

/* --- The parts --------------------------------------------------------------------------------------- */

const char *usp_spec_text(const struct usp_spec *spec)
{
	return spec->storage;
}

const char *usp_spec_scheme(const struct usp_spec *spec)
{
	return spec->endpoint->scheme ? spec->endpoint->scheme : "-";
}

const char *usp_spec_address(const struct usp_spec *spec)
{
	return spec->address;
}

unsigned usp_spec_nr_options(const struct usp_spec *spec)
{
	return spec->nr_options;
}

const char *usp_spec_option_at(const struct usp_spec *spec, unsigned index, const char **ret_value)
{
	if (index >= spec->nr_options)
		return NULL;
	*ret_value = spec->options[index].value;
	return spec->options[index].name;
}

const char *usp_spec_option(const struct usp_spec *spec, const char *name)
{
	for (unsigned i = 0; i < spec->nr_options; i++) {
		if (strcmp(spec->options[i].name, name) == 0)
			return spec->options[i].value ? spec->options[i].value : "";
	}
	return NULL;
}

const char *usp_spec_path(const struct usp_spec *spec)
{
	return spec->endpoint == &usp_regular_endpoint && *spec->address ? spec->address : NULL;
}

/* Parse a descriptor number, from 0 to INT_MAX. */
static int spec_parse_descriptor(const char *text)
{
	int number = 0;

	if (!*text || text[strspn(text, DIGITS)])
		return -EINVAL;
	for (; *text; text++) {
		if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, *text - '0', &number))
			return -EINVAL;
	}
	return number;
}

int usp_spec_descriptor(const struct usp_spec *spec, unsigned mode)
{
	if (spec->endpoint == &usp_descriptor_endpoint)
		return spec_parse_descriptor(spec->address);
	if (spec->endpoint != &usp_standard_endpoint)
		return -ENXIO;
	return mode == USP_READ ? 0 : mode == USP_WRITE ? 1 : -EINVAL;
}

int usp_spec_moment(const struct usp_spec *spec, const char *name, uint64_t *ret_moment_ns)
{
	const char *text = usp_spec_option(spec, name);
	uint64_t ns;

	if (!text)
		return 0;
	if (usp_time_parse(text, &ns, NULL) < 0)
		return -EINVAL;
	*ret_moment_ns = usp_sys_now_ns() + ns;
	return 0;
}
