/* SPDX-License-Identifier: MIT */
/*
 * test_grid - every source with every state of a pipe with every sink, length, flag and offset, each a scenario of its own
 * that the kernel and the library must agree on: tens of thousands of short scripts, put together from the tables below.
 * Every third is played, and all of them with GRID_ALL=1 in the environment.
 *
 * Cells that differ do so by a rule in `exceptions`, which names the section of docs/differences.md; a rule that no cell
 * needs any more is a failure too.
 */
#include <stdio.h>

#include "oracle.h"
#include "support.h"
#include "traits.h"

#define SCRIPT_MAX 256
#define STRIDE 3 /* prime to the lengths of the axes, so that every value of every axis has its turn */

/* --- The axes ------------------------------------------------------------------------------------------------------ */

/* Pipe A before it is read from. */
static const char *const inputs[] = {
	"",		    /* empty */
	"Ay",		    /* ended */
	"Aw100",	    /* one entry that can grow */
	"Aw65536",	    /* full */
	"Av61440/n Aw4000", /* full by slots, with room to merge */
	"Ap1 Aw3 Aw5000",   /* packets */
	"Aw5000 Ay",	    /* ending */
	"Av200@4000/n",	    /* parts of pages */
};

/* A pipe before it is written to; ? is its letter. */
static const char *const outputs[] = {
	"", "?w100", "?w65536", "?v61440/n ?w4000", "?p1 ?w3", "?x", "?w65536 ?x", "?z4096 ?w4096 ?r1", "?v57344/n",
};

struct place {
	char letter;
	const char *prepare, *look; /* scripts for before and after */
};

static const struct place sources[] = {
	{'F', "", ""},	       {'F', "Fe100", ""},    {'F', "Fe4096", ""}, {'F', "Fe98304", ""},  {'F', "Fe100000", ""},
	{'O', "", ""},	       {'I', "", ""},	      {'J', "", ""},	   {'H', "", ""},	  {'K', "", ""},
	{'U', "", ""},	       {'U', "Vw100", "Ur9"}, {'U', "Vh0", ""},	   {'U', "Vw100 Vx", ""}, {'T', "", ""},
	{'T', "Ww100", "Tr9"}, {'X', "", ""},	      {'X', "Yw100", ""},  {'X', "Yw0 Yw5", ""},  {'P', "Mw10", "Pr9"},
	{'Z', "", ""},	       {'N', "", ""},	      {'1', "", ""},	   {'3', "", ""},	  {'S', "", ""},
};

static const struct place sinks[] = {
	{'G', "", ""},	      {'G', "Ge10000", ""}, {'G', "Gl3000", ""},  {'F', "Fe100", ""},	{'H', "", ""},
	{'I', "", ""},	      {'J', "", ""},	    {'K', "", ""},	  {'N', "", ""},	{'Z', "", ""},
	{'U', "", "Vr70000"}, {'U', "Vx", ""},	    {'T', "", "Wr70000"}, {'X', "", "Yr70000"}, {'X', "Yx", ""},
	{'P', "", "Mr4000"},  {'S', "", ""},
};

static const char *const lens[] = {
	"0", "1", "4095", "4096", "4097", "65536", "9223372036854775807", "-1",
};

static const char *const flags[] = {"", "/n", "/m", "/v", "/g", "/x"};

static const char *const in_offsets[] = {
	"", "@0", "@100", "@4096", "@100000", "@-1", "@9223372036854775807", ">0",
};

static const char *const out_offsets[] = {
	"", ">0", ">100", ">2999", ">-1", ">9223372036854775807", "@0",
};

/* --- What may differ ----------------------------------------------------------------------------------------------- */

/* One cell: objects of its step, and what else the rules below need. */
struct cell {
	struct step step; /* the one that all is about */
	const char *prepare;
};

static bool is_unaligned_file(const struct cell *cell)
{
	int64_t pos = cell->step.has_off_in ? cell->step.off_in : strcmp(cell->prepare, "Fe100") == 0 ? 100 : 0;

	return strchr("FKHIO", cell->step.from) && strchr("sd", cell->step.op) && pos % PAGE;
}

static bool is_cut_datagram(const struct cell *cell)
{
	return cell->step.from == 'X' && cell->step.len < 100;
}

static bool is_huge_datagram(const struct cell *cell)
{
	return cell->step.to == 'X' && cell->step.len > 65000;
}

static bool is_without_hook(const struct cell *cell)
{
	return strchr("N3", cell->step.from) != NULL;
}

static bool is_device_offset(const struct cell *cell)
{
	return (cell->step.has_off_in && cell->step.from == 'Z') ||
	       (cell->step.has_off_out && strchr("NZ", cell->step.to));
}

static bool is_sendfile_of_nothing(const struct cell *cell)
{
	return cell->step.op == 'd' && cell->step.len == 0;
}

static bool is_bare_device(const struct cell *cell)
{
	return strchr("sd", cell->step.op) && (cell->step.from == 'Z' || cell->step.to == 'Z');
}

static bool is_sendfile_into_pipe(const struct cell *cell)
{
	return cell->step.op == 'd' && cell->step.to == 'A';
}

static bool is_any_datagram(const struct cell *cell)
{
	return strchr("sd", cell->step.op) && cell->step.to == 'X';
}

static bool is_beyond_all_files(const struct cell *cell)
{
	int64_t pos = cell->step.has_off_in ? cell->step.off_in : 0;

	return cell->step.op == 's' && cell->step.to == 'A' &&
	       (pos < 0 || cell->step.len >= (uint64_t)(INT64_MAX - pos));
}

#define SENDFILE "usp_splice_direct is sendfile with a pipe that you may see"

static struct exception {
	bool (*covers)(const struct cell *cell);
	const char *section;
	const struct trait *trait; /* of the kernels where it applies; NULL: on all */
	unsigned nr_cells;
} exceptions[] = {
	{is_unaligned_file, "A file fills its slots", NULL, 0},
	{is_cut_datagram, "One splice, one datagram", NULL, 0},
	{is_huge_datagram, "One splice, one datagram", NULL, 0},
	{is_any_datagram, "One splice, one datagram", &trait_splits_datagrams, 0},
	{is_without_hook, "What can be read can be spliced", NULL, 0},
	{is_bare_device, "What can be read can be spliced", &trait_bare_devices, 0},
	{is_beyond_all_files, "Lengths and offsets that no file has", &trait_asks_late, 0},
	{is_device_offset, "An offset advances by what moved", NULL, 0},
	{is_sendfile_of_nothing, SENDFILE, &trait_sendfile_of_nothing, 0},
	{is_sendfile_into_pipe, SENDFILE, &trait_sendfile_writes, 0},
};

static bool exception_applies(const struct exception *exception)
{
	return !exception->trait || trait_is_here(exception->trait);
}

/* --- Cells --------------------------------------------------------------------------------------------------------- */

static struct oracle oracle;
static unsigned stride, nr_cells, nr_played, nr_different;

/* The script of a state for the pipe of this letter. */
static const char *state_of(const char *state, char letter)
{
	static char text[64];
	unsigned i = 0;

	for (; state[i]; i++)
		text[i] = state[i] == '?' ? letter : state[i];
	text[i] = '\0';
	return text;
}

static bool is_excepted(const struct cell *cell)
{
	bool is_found = false;

	for (unsigned i = 0; i < ARRAY_LEN(exceptions); i++) {
		if (!exceptions[i].covers(cell) || !exception_applies(&exceptions[i]))
			continue;
		exceptions[i].nr_cells++;
		is_found = true;
	}
	return is_found;
}

/* Prepare, do the step, look at what is left. */
static void play(const char *state, const char *prepare, const char *word, const char *look)
{
	struct cell cell = {.prepare = prepare};
	char script[SCRIPT_MAX];

	if (nr_cells++ % stride)
		return;
	nr_played++;
	assert_true(snprintf(script, sizeof(script), "%s %s %s %s", state, prepare, word, look) < SCRIPT_MAX);
	script_next(word, &cell.step);
	if (oracle_play(&oracle, script))
		return;
	if (!is_excepted(&cell))
		fail_msg("%s\n  in %s", oracle.why, script);
	nr_different++;
}

/* Every length comes plain; flags and offsets come with a few, together only where both are wrong. */
static bool belongs_together(const char *len, const char *flag, const char *offset)
{
	bool is_few = strcmp(len, "4097") == 0 || strcmp(len, "-1") == 0;

	return (!*flag && !*offset) || (is_few && (!*flag || !*offset || flag[1] == 'x'));
}

/* TCP sends what MORE left behind after a fifth of a second: a test of its own is enough for that. */
static bool is_held_back(const struct place *sink, const char *flag)
{
	return sink->letter == 'T' && flag[0] && flag[1] == 'm';
}

static void play_sink(const char *input, const struct place *sink)
{
	char word[SCRIPT_WORD_MAX], look[32];

	snprintf(look, sizeof(look), "Ar70000 %s", sink->look);
	for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(flags) * ARRAY_LEN(out_offsets); i++) {
		const char *len = lens[i % ARRAY_LEN(lens)], *flag = flags[i / ARRAY_LEN(lens) % ARRAY_LEN(flags)];
		const char *offset = out_offsets[i / ARRAY_LEN(lens) / ARRAY_LEN(flags)];

		snprintf(word, sizeof(word), "As%c%s%s%s", sink->letter, len, offset, flag);
		if (belongs_together(len, flag, offset) && !is_held_back(sink, flag))
			play(input, sink->prepare, word, look);
	}
}

static void play_source(const struct place *source, const char *output)
{
	char word[SCRIPT_WORD_MAX], look[32];

	snprintf(look, sizeof(look), "%s Ar70000 Ar70000", source->look);
	for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(flags) * ARRAY_LEN(in_offsets); i++) {
		const char *len = lens[i % ARRAY_LEN(lens)], *flag = flags[i / ARRAY_LEN(lens) % ARRAY_LEN(flags)];
		const char *offset = in_offsets[i / ARRAY_LEN(lens) / ARRAY_LEN(flags)];

		snprintf(word, sizeof(word), "%csA%s%s%s", source->letter, len, offset, flag);
		if (belongs_together(len, flag, offset))
			play(output, source->prepare, word, look);
	}
}

/* How much a terminal takes before it is full is a matter of timing inside it. */
static bool overflows_terminal(const char *input, const struct place *sink)
{
	return sink->letter == 'P' && (strstr(input, "65536") || strstr(input, "61440"));
}

static void pipes_into_sinks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(inputs); i++) {
		for (unsigned j = 0; j < ARRAY_LEN(sinks); j++) {
			if (!overflows_terminal(inputs[i], &sinks[j]))
				play_sink(inputs[i], &sinks[j]);
		}
	}
}

static void sources_into_pipes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sources); i++) {
		/* terminals and TCP take long to open: every other state of the pipe is enough for them */
		for (unsigned j = 0; j < ARRAY_LEN(outputs); j += strchr("TP", sources[i].letter) ? 2 : 1)
			play_source(&sources[i], state_of(outputs[j], 'A'));
	}
}

/* The pipes block, and the flag says not to; or they do not block by themselves. */
static void pipes_into_pipes(void **state)
{
	static const char *const ways[] = {"AsB", "AtB", "AfB", "AsA", "AtA"};
	char prepare[SCRIPT_MAX], word[SCRIPT_WORD_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(inputs) * ARRAY_LEN(outputs) * ARRAY_LEN(ways); i++) {
		const char *input = inputs[i % ARRAY_LEN(inputs)], *way = ways[i / ARRAY_LEN(inputs) % ARRAY_LEN(ways)];
		const char *output = outputs[i / ARRAY_LEN(inputs) / ARRAY_LEN(ways)];

		for (unsigned j = 0; j < ARRAY_LEN(lens) * ARRAY_LEN(flags); j++) {
			const char *len = lens[j % ARRAY_LEN(lens)], *flag = flags[j / ARRAY_LEN(lens)];

			if (!belongs_together(len, flag, ""))
				continue;
			snprintf(prepare, sizeof(prepare), "%s %s", state_of(output, 'B'),
				 strcmp(flag, "/n") ? "" : "Aj0 Bk0");
			snprintf(word, sizeof(word), "%s%s%s", way, len, flag);
			play(input, prepare, word, "Aj1 Br70000 Ar70000 Br70000 Ar70000");
		}
	}
}

static void sendfile_between_all(void **state)
{
	char prepare[SCRIPT_MAX], word[SCRIPT_WORD_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sources) * ARRAY_LEN(sinks); i++) {
		const struct place *source = &sources[i % ARRAY_LEN(sources)], *sink = &sinks[i / ARRAY_LEN(sources)];

		if (source->letter == sink->letter || !strchr("FIJOZU", source->letter) || strchr("PST", sink->letter))
			continue; /* sockets and terminals are refused alike, wherever to */
		snprintf(prepare, sizeof(prepare), "%s %s", source->prepare, sink->prepare);
		for (unsigned j = 0; j < ARRAY_LEN(lens) * ARRAY_LEN(in_offsets); j++) {
			const char *len = lens[j % ARRAY_LEN(lens)], *offset = in_offsets[j / ARRAY_LEN(lens)];

			snprintf(word, sizeof(word), "%cd%c%s%s", source->letter, sink->letter, len, offset);
			if (source->letter == 'Z' && strlen(len) > 5)
				continue; /* zeros have no end, and 2 GiB of them take long */
			if (belongs_together(len, "", offset))
				play("", prepare, word, sink->look);
		}
	}
}

static void sendfile_into_pipes(void **state)
{
	char word[SCRIPT_WORD_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sources) * ARRAY_LEN(outputs); i++) {
		const struct place *source = &sources[i % ARRAY_LEN(sources)];
		const char *output = outputs[i / ARRAY_LEN(sources)];

		if (!strchr("FIJOZUX", source->letter))
			continue;
		for (unsigned j = 0; j < ARRAY_LEN(lens) * ARRAY_LEN(in_offsets); j++) {
			const char *len = lens[j % ARRAY_LEN(lens)], *offset = in_offsets[j / ARRAY_LEN(lens)];

			snprintf(word, sizeof(word), "%cdA%s%s", source->letter, len, offset);
			if (belongs_together(len, "", offset))
				play(state_of(output, 'A'), source->prepare, word, "Ar70000 Ar70000");
		}
	}
}

/* Without the flag it would wait. */
static void memory_into_and_out_of_pipes(void **state)
{
	static const char *const places[] = {"", "@1", "@4095"}, *const gifts[] = {"/n", "/gn", "/nx"};
	char word[SCRIPT_WORD_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens) * ARRAY_LEN(places) * ARRAY_LEN(gifts); i++) {
		const char *len = lens[i % ARRAY_LEN(lens)], *place = places[i / ARRAY_LEN(lens) % ARRAY_LEN(places)];

		snprintf(word, sizeof(word), "Av%s%s%s", len, place, gifts[i / ARRAY_LEN(lens) / ARRAY_LEN(places)]);
		for (unsigned j = 0; j < ARRAY_LEN(outputs); j++)
			play(state_of(outputs[j], 'A'), "", word, "Aw10 Ar100000 Ar9");
		word[1] = 'u';
		for (unsigned j = 0; j < ARRAY_LEN(inputs); j++)
			play(inputs[j], "", word, "Ar100000 Ar9");
	}
}

static void every_exception_is_needed(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(exceptions); i++) {
		assert_true(oracle_is_documented(exceptions[i].section));
		if (!exceptions[i].nr_cells && exception_applies(&exceptions[i]))
			fail_msg("no cell differs by rule %u, %s", i, exceptions[i].section);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(pipes_into_sinks),		 CASE(sources_into_pipes),  CASE(pipes_into_pipes),
		CASE(sendfile_between_all),	 CASE(sendfile_into_pipes), CASE(memory_into_and_out_of_pipes),
		CASE(every_exception_is_needed),
	};
	int code = oracle_init(), nr_failed;

	if (code)
		return code;
	stride = getenv("GRID_ALL") ? 1 : STRIDE;
	nr_failed = cmocka_run_group_tests_name("grid", tests, NULL, NULL);
	print_message("# %u of the %u scenarios of the grid, of which %u differ as documented\n", nr_played, nr_cells,
		      nr_different);
	oracle_fini();
	return nr_failed != 0;
}
