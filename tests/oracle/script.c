/* SPDX-License-Identifier: MIT */
/* script - steps out of words and back. */
#include "script.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice.h>

static const struct {
	char letter;
	unsigned flag;
} script_flags[] = {
	{'n', USP_SPLICE_NONBLOCK}, {'m', USP_SPLICE_MORE}, {'v', USP_SPLICE_MOVE},
	{'g', USP_SPLICE_GIFT},	    {'x', SCRIPT_BAD_FLAG},
};

#define NR_FLAGS (sizeof(script_flags) / sizeof(script_flags[0]))

static const char *script_read_flags(const char *at, unsigned *ret_flags)
{
	for (; isalpha((unsigned char)*at); at++) {
		for (size_t i = 0; i < NR_FLAGS; i++)
			*ret_flags |= script_flags[i].letter == *at ? script_flags[i].flag : 0;
	}
	return at;
}

const char *script_next(const char *at, struct step *ret_step)
{
	struct step step = {.op = 0};
	char *end;

	while (*at == ' ')
		at++;
	if (!*at)
		return NULL;
	step.is_background = *at == '!';
	at += step.is_background;
	step.from = *at++;
	step.op = *at++;
	if (strchr("sftd", step.op))
		step.to = *at++;
	end = (char *)at;
	if (isdigit((unsigned char)*at) || *at == '-')
		step.len = strtoull(at, &end, 10);
	if (*end == '@') {
		step.has_off_in = true;
		step.off_in = strtoll(end + 1, &end, 10);
	}
	if (*end == '>') {
		step.has_off_out = true;
		step.off_out = strtoll(end + 1, &end, 10);
	}
	at = *end == '/' ? script_read_flags(end + 1, &step.flags) : end;
	*ret_step = step;
	return at;
}

void script_print(const struct step *step, char ret_word[SCRIPT_WORD_MAX])
{
	char off_in[24] = "", off_out[24] = "", flags[NR_FLAGS + 2] = "", to[2] = {step->to, 0};
	size_t nr = 0;

	if (step->has_off_in)
		snprintf(off_in, sizeof(off_in), "@%lld", (long long)step->off_in);
	if (step->has_off_out)
		snprintf(off_out, sizeof(off_out), ">%lld", (long long)step->off_out);
	if (step->flags)
		flags[nr++] = '/';
	for (size_t i = 0; i < NR_FLAGS; i++) {
		if (step->flags & script_flags[i].flag)
			flags[nr++] = script_flags[i].letter;
	}
	snprintf(ret_word, SCRIPT_WORD_MAX, "%s%c%c%s%zu%s%s%s", step->is_background ? "!" : "", step->from, step->op,
		 to, step->len, off_in, off_out, flags);
}
