/* SPDX-License-Identifier: MIT */
/*
 * test_walks - random scripts of hundreds of steps over several pipes, files and sockets, played on the kernel and on the
 * library, and compared after each step. A walk follows from its seed. One that shows a difference is cut down to the
 * few steps that matter and printed as a script for test_oracle.c.
 *
 *   WALKS=10 WALKS_SEED=4711 build-test/tests/test_walks      ten walks from that seed on
 *   SOAK_SECONDS=3600 build-test/tests/test_walks             walks for an hour, from a seed that is printed
 */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "oracle.h"
#include "support.h"
#include "traits.h"

#define WALKS 4000
#define WALKS_NS 40000000000
#define WALK_STEPS_MIN 100
#define WALK_STEPS_MAX 300
#define PAGE_ROOM(pos) (PAGE - (size_t)(pos) % PAGE)
#define BACKLOG_MAX 30000
#define DATAGRAM_MAX 4096

struct walk {
	const char *letters;
	struct step steps[WALK_STEPS_MAX];
	unsigned nr_steps;
};

static struct oracle oracle;
static bool has_bare_devices, splits_datagrams, sendfile_writes; /* traits of the kernel */

/* --- Drawing a walk ------------------------------------------------------------------------------------------------ */

static uint64_t draw_state;

/* splitmix64, so that neighbouring seeds have nothing in common. */
static unsigned draw(unsigned below)
{
	uint64_t z = draw_state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (unsigned)((z ^ (z >> 31)) % below);
}

static size_t draw_len(void)
{
	static const size_t lens[] = {0,    1,	  3,	96,   100,  3996,  4000,  4095, 4096,
				      4097, 5000, 8092, 8192, 8193, 20000, 65535, 65536};

	switch (draw(8)) {
	case 0:
		return draw(70000);
	case 1:
	case 2:
		return draw(200);
	default:
		return lens[draw(ARRAY_LEN(lens))];
	}
}

static unsigned draw_flags(void)
{
	static const unsigned flags[] = {USP_SPLICE_NONBLOCK, USP_SPLICE_MOVE, USP_SPLICE_MORE, USP_SPLICE_GIFT,
					 SCRIPT_BAD_FLAG};

	return draw(4) ? 0 : flags[draw(draw(4) ? 2 : ARRAY_LEN(flags))];
}

/* What may happen, and what to. p and q are any pipes; what stands here twice happens twice as often. */
static const char *const forms[] = {
	"pw",  "pw", "pw",  "pw",  "pr",  "pr",	 "pr", "pr", "pv",  "pV",  "pu",  "psq", "psq", "psq", "psq", "ptq",
	"ptq", "pz", "pg",  "pp",  "pD",  "pL",	 "px", "py", "pfq", "pi",  "pq",  "psp", "Fsp", "Fsp", "FsC", "Fdp",
	"Fe",  "Fr", "psG", "psG", "psG", "Ge",	 "Gr", "Gw", "FdG", "psF", "psN", "Zsp", "psZ", "Fv",  "psU", "psU",
	"Vr",  "Vr", "Vw",  "Ur",  "Ur",  "FdU", "Yw", "Yw", "Xsp", "Xsp", "psX", "Yr",	 "Uw",
};

/* How many of the forms a walk over these objects draws from. */
static const struct {
	const char *letters;
	unsigned nr_forms;
} landscapes[] = {
	{"AB", 28},
	{"ABCD", 28},
	{"ABCFGNZ", 46},
	{"ABCFGNZUVXY", ARRAY_LEN(forms)},
};

static char draw_object(char form, const char *letters)
{
	return form == 'p' || form == 'q'
		       ? letters[draw(letters[2] >= 'C' && letters[2] <= 'D' ? 3 + (letters[3] == 'D') : 2)]
		       : form;
}

static void draw_details(struct step *step)
{
	step->len = draw_len();
	switch (step->op) {
	case 'p':
	case 'D':
	case 'L':
		step->len = draw(2);
		break;
	case 'z':
		step->len = draw(8) ? (size_t)PAGE << draw(6) : draw(100000);
		break;
	case 'e':
		step->len = draw(110000) & (draw(4) ? ~(PAGE - 1) : ~0u);
		break;
	case 'V':
		step->len = draw(40);
		/* fallthrough */
	case 'v':
	case 'u':
		step->flags = USP_SPLICE_NONBLOCK | (draw(3) ? 0 : USP_SPLICE_GIFT);
		step->has_off_in = step->op == 'v' && draw(2);
		step->off_in = step->has_off_in ? draw(PAGE) : 0;
		break;
	case 's':
	case 'f':
	case 't':
		step->flags = draw_flags();
		break;
	}
}

static void draw_offsets(struct step *step)
{
	if (strchr("sd", step->op) && strchr("F", step->from) && draw(2)) {
		step->has_off_in = true;
		step->off_in = draw(110000) & (draw(4) ? ~(PAGE - 1) : ~0u);
	}
	if (step->op == 's' && step->to == 'G' && draw(2)) {
		step->has_off_out = true;
		step->off_out = draw(60000);
	}
	if (step->op == 's' && !draw(100)) /* an offset where none may be */
		step->has_off_in = step->has_off_out = true;
}

static struct step draw_step(const char *letters, unsigned nr_forms)
{
	const char *form = forms[draw(nr_forms)];
	struct step step = {.from = draw_object(form[0], letters), .op = form[1]};

	if (form[2])
		step.to = form[2] == 'p' ? step.from : draw_object(form[2], letters);
	if (form[2] == 'p' && form[0] != 'p')
		step.to = draw_object('p', letters);
	draw_details(&step);
	draw_offsets(&step);
	if (strchr("xy", step.op) && draw(20)) /* or no walk would last */
		step = (struct step){.from = step.from, .op = 'r', .len = 70000};
	return step;
}

static void draw_walk(uint64_t seed, struct walk *ret_walk)
{
	unsigned landscape;

	draw_state = seed;
	landscape = draw(ARRAY_LEN(landscapes));
	ret_walk->letters = landscapes[landscape].letters;
	ret_walk->nr_steps = WALK_STEPS_MIN + draw(WALK_STEPS_MAX - WALK_STEPS_MIN);
	for (unsigned i = 0; i < ret_walk->nr_steps; i++)
		ret_walk->steps[i] = draw_step(ret_walk->letters, landscapes[landscape].nr_forms);
}

/* --- What can be compared ------------------------------------------------------------------------------------------ */

static struct object *our_object(char letter)
{
	return &oracle.worlds[1].objects[(int)letter];
}

static struct usp_file *our_pipe(char letter)
{
	struct object *object = our_object(letter);

	return object->end[0].file ? object->end[0].file : object->end[1].file;
}

/* From the middle of a page the kernel takes a slot more: "A file fills its slots" in docs/differences.md. */
static void fit_source(struct step *step)
{
	int64_t pos = step->has_off_in ? step->off_in : usp_file_seek(our_object(step->from)->end[0].file, 0, SEEK_CUR);

	if (pos % PAGE && step->len > PAGE_ROOM(pos))
		step->len = PAGE_ROOM(pos);
}

/* How full a socket can become depends on how the bytes lie in it. */
static bool fit_stream(struct step *step, char to, char peer)
{
	if (step->len > BACKLOG_MAX)
		step->len = BACKLOG_MAX;
	return our_object(to)->sent - our_object(peer)->taken < BACKLOG_MAX;
}

/* "One splice, one datagram": the kernel makes more of more than 16 entries or of two, and loses what was not asked for. */
static bool fit_datagram(struct step *step)
{
	if (step->op == 's' && step->to == 'X') {
		step->len = step->len < 60000 ? step->len : 60000;
		return our_pipe(step->from) &&
		       usp_pipe_capacity(our_pipe(step->from)) <= (splits_datagrams ? 1 : 16) * (ssize_t)PAGE;
	}
	if (step->from == 'Y' && step->op == 'w')
		step->len = step->len < DATAGRAM_MAX ? step->len : DATAGRAM_MAX;
	if (step->from == 'X')
		step->len = step->len > DATAGRAM_MAX ? step->len : DATAGRAM_MAX;
	return true;
}

/* Sending nothing into a full pipe is 0 for us: "usp_splice_direct is sendfile with a pipe that you may see". */
static void fit_sendfile(struct step *step)
{
	if (step->op == 'd' && step->len == 0)
		step->len = 1;
}

/* Does the kernel that runs do this step as the others do? test_oracle has what it does otherwise. */
static bool walk_is_usual(const struct step *step)
{
	if (step->op == 'd')
		return !(sendfile_writes && our_object(step->to)->kind->type == OBJECT_PIPE);
	return !(has_bare_devices && step->op == 's' && (step->from == 'Z' || step->to == 'Z'));
}

/* Cut a step down to what has one right answer, given what happened so far; false if it has none. */
static bool walk_fit(struct step *step)
{
	fit_sendfile(step);
	if (!walk_is_usual(step))
		return false;
	if (strchr("sd", step->op) && step->from == 'F' && step->to != 'G')
		fit_source(step);
	if (strchr("sdw", step->op) && (step->to == 'U' || (step->from == 'U' && step->op == 'w')))
		return fit_stream(step, 'U', 'V');
	if (step->op == 'w' && step->from == 'V')
		return fit_stream(step, 'V', 'U');
	if (step->op == 's' &&
	    step->to == 'F') /* what the kernel's pipes refer to must not change: it may show, or not */
		return step->len == 0 || !our_pipe(step->from) || usp_pipe_bytes(our_pipe(step->from)) == 0;
	return fit_datagram(step);
}

/* --- Going --------------------------------------------------------------------------------------------------------- */

/* What is still in the pipes is compared too. */
static bool walk_drain(const struct walk *walk)
{
	for (const char *letter = walk->letters; *letter && *letter <= 'D'; letter++) {
		const struct step step = {.from = *letter, .op = 'r', .len = WORLD_BYTES_MAX - 1};

		while (our_object(*letter)->end[0].file && usp_pipe_bytes(our_object(*letter)->end[0].file) > 0) {
			if (!oracle_step(&oracle, &step))
				return false;
		}
	}
	return true;
}

/* How many steps agree: all, or the index of the one that does not. */
static unsigned walk_go(struct walk *walk)
{
	bool is_same = true;
	unsigned nr = 0;

	oracle_open(&oracle, walk->letters);
	while (nr < walk->nr_steps && is_same) {
		if (walk_fit(&walk->steps[nr]))
			is_same = oracle_step(&oracle, &walk->steps[nr]);
		nr += is_same;
	}
	if (is_same && !walk_drain(walk))
		nr--;
	oracle_close(&oracle);
	return nr;
}

static void walk_remove(struct walk *walk, unsigned first, unsigned nr)
{
	memmove(&walk->steps[first], &walk->steps[first + nr], (walk->nr_steps - first - nr) * sizeof(walk->steps[0]));
	walk->nr_steps -= nr;
}

/* Take the smaller walk if it still shows a difference. */
static bool walk_try(struct walk *walk, const struct walk *smaller)
{
	struct walk tried = *smaller;
	unsigned nr = walk_go(&tried);

	if (nr == tried.nr_steps)
		return false;
	*walk = tried;
	walk->nr_steps = nr + 1;
	return true;
}

static void walk_shrink(struct walk *walk)
{
	for (unsigned chunk = walk->nr_steps / 2; chunk; chunk /= 2) {
		for (unsigned first = 0; first + chunk <= walk->nr_steps;) {
			struct walk smaller = *walk;

			walk_remove(&smaller, first, chunk);
			if (!walk_try(walk, &smaller))
				first += chunk;
		}
	}
	for (unsigned i = 0; i < walk->nr_steps; i++) {
		struct walk smaller = *walk;

		while (i < smaller.nr_steps && smaller.steps[i].len > 1) {
			smaller.steps[i].len /= 2;
			if (!walk_try(walk, &smaller))
				break;
		}
	}
	walk_go(walk); /* for the words that belong to it */
}

static void walk_print(const struct walk *walk)
{
	for (unsigned i = 0; i < walk->nr_steps; i++) {
		char word[SCRIPT_WORD_MAX];

		script_print(&walk->steps[i], word);
		print_error("%s%s", i ? " " : "  {\"a_walk\", \"", word);
	}
	print_error("\"},\n  %s\n", oracle.why);
}

/* --- Tests --------------------------------------------------------------------------------------------------------- */

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/* Walk from a seed on, as often and as long as wanted. False after a difference. */
static bool walk_about(uint64_t seed, uint64_t nr_walks, uint64_t ns)
{
	uint64_t start = world_now_ns(), nr_steps = 0, nr;
	static struct walk walk;

	for (nr = 0; nr < nr_walks && world_now_ns() - start < ns; nr++) {
		unsigned nr_good;

		draw_walk(seed + nr, &walk);
		nr_good = walk_go(&walk);
		nr_steps += nr_good;
		if (nr_good == walk.nr_steps)
			continue;
		print_error("the walk of WALKS=1 WALKS_SEED=%llu is not the kernel's:\n",
			    (unsigned long long)(seed + nr));
		walk.nr_steps = nr_good + 1;
		walk_shrink(&walk);
		walk_print(&walk);
		return false;
	}
	print_message("# %llu walks from seed %llu on, %llu steps\n", (unsigned long long)nr, (unsigned long long)seed,
		      (unsigned long long)nr_steps);
	return true;
}

static void random_walks_agree(void **state)
{
	(void)state;
	assert_true(walk_about(number_from("WALKS_SEED", 1), number_from("WALKS", WALKS), WALKS_NS));
}

/* The null device as a source is known to be different: it must be found among other steps, and be all that is left. */
static void a_difference_is_found_and_cut_out(void **state)
{
	static struct walk walk;
	char word[SCRIPT_WORD_MAX];
	unsigned nr;

	(void)state;
	draw_state = 1;
	walk = (struct walk){.letters = "ABN", .nr_steps = 100};
	for (unsigned i = 0; i < walk.nr_steps; i++)
		walk.steps[i] = (struct step){.from = "AB"[draw(2)], .op = "wr"[draw(2)], .len = draw(5000)};
	walk.steps[60] = (struct step){.from = 'A', .op = 'r', .len = 70000};
	walk.steps[61] = (struct step){.from = 'N', .op = 's', .to = 'A', .len = 1000};
	nr = walk_go(&walk);
	assert_int_equal(nr, 61);
	walk.nr_steps = nr + 1;
	walk_shrink(&walk);
	assert_int_equal(walk.nr_steps, 1);
	script_print(&walk.steps[0], word);
	assert_string_equal(word, "NsA1");
}

static int soak(uint64_t seconds)
{
	uint64_t seed = number_from("WALKS_SEED", (uint64_t)time(NULL) << 20);

	print_message("# soaking for %llu seconds from seed %llu on\n", (unsigned long long)seconds,
		      (unsigned long long)seed);
	return walk_about(seed, UINT64_MAX, seconds * 1000000000) ? 0 : 1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(random_walks_agree),
		CASE(a_difference_is_found_and_cut_out),
	};
	int code = oracle_init(), ret;

	if (code)
		return code;
	has_bare_devices = trait_is_here(&trait_bare_devices);
	splits_datagrams = trait_is_here(&trait_splits_datagrams);
	sendfile_writes = trait_is_here(&trait_sendfile_writes);
	ret = getenv("SOAK_SECONDS") ? soak(number_from("SOAK_SECONDS", 0)) : cmocka_run_group_tests(tests, NULL, NULL);
	oracle_fini();
	return ret != 0;
}
