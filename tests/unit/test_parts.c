/* SPDX-License-Identifier: MIT */
/* test_parts - the list of all parts: whole, in order, and true. */
#include "support.h"

#include <stdio.h>
#include <usplice/spec.h>
#include <usplice/transform.h>

#include "codec/codec.h"

static unsigned nr_of_kind(enum usp_part_kind kind)
{
	struct usp_part part = {.size = sizeof(part)};
	unsigned nr = 0;

	for (unsigned i = 0; usp_part_at(i, &part) == 0; i++)
		nr += part.kind == kind;
	return nr;
}

static void each_kind_has_parts_that_stand_together(void **state)
{
	struct usp_part part = {.size = sizeof(part)};
	unsigned nr = 0, nr_changes = 0;
	int last = -1;

	(void)state;
	for (; usp_part_at(nr, &part) == 0; nr++) {
		assert_non_null(part.summary);
		assert_true(part.name || part.kind == USP_PART_ENDPOINT);
		nr_changes += (int)part.kind != last;
		last = (int)part.kind;
	}
	assert_int_equal(nr_changes, USP_NR_PART_KINDS);
	assert_int_equal(usp_part_at(nr, &part), -EINVAL);
	assert_int_equal(usp_part_at((unsigned)-1, &part), -EINVAL);
	assert_true(nr_of_kind(USP_PART_ENDPOINT) >= 17);
}

static void a_result_is_cut_to_its_size(void **state)
{
	struct {
		struct usp_part part;
		char behind[16];
	} larger = {.part.size = sizeof(larger)};
	struct usp_part part = {.size = offsetof(struct usp_part, form), .form = "mine"};

	(void)state;
	memset(larger.behind, 'x', sizeof(larger.behind));
	assert_int_equal(usp_part_at(0, &part), 0);
	assert_string_equal(part.name, "file");
	assert_string_equal(part.form, "mine");
	assert_int_equal(usp_part_at(0, &larger.part), 0);
	assert_int_equal(larger.behind[15], 0);
}

/* Each scheme parses, with each of its options, and no other. */
static void endpoints_are_those_of_the_grammar(void **state)
{
	struct usp_part part = {.size = sizeof(part)};

	(void)state;
	for (unsigned i = 0; usp_part_at(i, &part) == 0; i++) {
		for (unsigned j = 0; part.kind == USP_PART_ENDPOINT && part.name && part.options && part.options[j];
		     j++) {
			struct usp_spec *spec;
			char text[80];

			snprintf(text, sizeof(text), "%s:x,%s", part.name, part.options[j]);
			assert_int_equal(usp_spec_parse(text, &spec, NULL), 0);
			assert_string_equal(usp_spec_scheme(spec), part.name);
			assert_non_null(usp_spec_option(spec, part.options[j]));
			usp_spec_free(spec);
		}
	}
}

/* What is no source, or no sink, is refused as such. */
static void modes_are_those_that_open_accepts(void **state)
{
	static const struct {
		const char *name, *spec;
	} specs[] = {{"null", "null:"},
		     {"zero", "zero:"},
		     {"mem", "mem:"},
		     {"cached", "cached:/dev"},
		     {"tcp", "tcp:localhost:1"},
		     {"udp", "udp:127.0.0.1:9"},
		     {"udp-listen", "udp-listen:127.0.0.1:0"}};
	struct usp_part part = {.size = sizeof(part)};

	(void)state;
	for (unsigned i = 0; usp_part_at(i, &part) == 0 && part.kind == USP_PART_ENDPOINT; i++) {
		assert_true(part.modes && !(part.modes & ~(USP_READ | USP_WRITE)));
		for (unsigned j = 0; part.name && j < ARRAY_LEN(specs); j++) {
			const struct usp_open_params params = {
				.size = sizeof(params), .mode = USP_WRITE, .no_peer = true};
			struct usp_file *file = NULL;
			const char *why;

			if (strcmp(specs[j].name, part.name) != 0)
				continue;
			assert_int_equal(usp_open(specs[j].spec, &params, &file, &why) == -EINVAL,
					 !(part.modes & USP_WRITE));
			usp_file_put(file);
		}
	}
}

/* What is missing is refused with these words, and what is there has a version, where its library tells one. */
static void what_is_missing_is_what_is_refused(void **state)
{
	struct usp_part part = {.size = sizeof(part)};

	(void)state;
	for (unsigned i = 0; usp_part_at(i, &part) == 0; i++) {
		const char *why = NULL;
		char spec[80];

		if (part.kind != USP_PART_DIGEST && part.kind != USP_PART_FORMAT)
			continue;
		snprintf(spec, sizeof(spec), "%s%s", part.kind == USP_PART_DIGEST ? "digest:" : "", part.name);
		assert_int_equal(usp_transform_check(spec, &why), part.missing ? -EOPNOTSUPP : 0);
		if (part.missing)
			assert_string_equal(why, part.missing);
		if (part.kind == USP_PART_FORMAT && !part.missing)
			assert_non_null(part.version);
	}
}

static void levels_are_those_of_the_formats(void **state)
{
	struct usp_part part = {.size = sizeof(part)};

	(void)state;
	for (unsigned i = 0; usp_part_at(i, &part) == 0; i++) {
		const struct usp_codec *codec = usp_codec_at(0);
		char levels[80];

		if (part.kind != USP_PART_FORMAT)
			continue;
		for (unsigned nr = 1; strcmp(codec->name, part.name) != 0; nr++)
			codec = usp_codec_at(nr);
		snprintf(levels, sizeof(levels), "levels %d to %d, %d without one", codec->least, codec->most,
			 codec->usual);
		assert_string_equal(part.summary, levels);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(each_kind_has_parts_that_stand_together), CASE(a_result_is_cut_to_its_size),
		CASE(endpoints_are_those_of_the_grammar),      CASE(modes_are_those_that_open_accepts),
		CASE(what_is_missing_is_what_is_refused),      CASE(levels_are_those_of_the_formats),
	};

	return cmocka_run_group_tests_name("parts", tests, NULL, NULL);
}
