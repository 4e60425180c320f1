/* SPDX-License-Identifier: MIT */
/* oracle - both worlds side by side. */
#include "oracle.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

#define CONTENT_MAX ((size_t)16 << 20) /* a file that somebody wrote to the end of is longer, and nothing but zeros */
#define SLEEPERS_NS 3000000000
#define DOUBTFUL_NS 100000000
#define NR_BUFFERS 4 /* for each world: of its steps, and of the step that sleeps */

static unsigned char *buffers[NR_BUFFERS], *constant;
static uint64_t stream_off; /* of what write writes: no two writes have the same bytes */
static struct worker workers[2];
static uint64_t sleepers_ns = SLEEPERS_NS;

/* Are the kernel's pipes what ours are compared with? */
static bool oracle_is_possible(void)
{
	int fd[2];
	bool is_possible;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return false;
	is_possible = fcntl(fd[0], F_GETPIPE_SZ) == 16 * PAGE;
	close(fd[0]);
	close(fd[1]);
	return is_possible;
}

static void do_nothing(int number)
{
	(void)number;
}

int oracle_init(void)
{
	const struct sigaction interrupt = {.sa_handler = do_nothing};

	if (!oracle_is_possible()) {
		printf("kernel pipes do not have 16 slots of 4096 bytes here: skipped\n");
		return 77;
	}
	sigaction(SIGUSR1, &interrupt, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (unsigned i = 0; i < NR_BUFFERS; i++)
		buffers[i] = aligned_alloc(PAGE, WORLD_BYTES_MAX);
	constant = aligned_alloc(PAGE, WORLD_BYTES_MAX + PAGE);
	if (!constant || !buffers[0] || !buffers[1] || !buffers[2] || !buffers[3])
		return 1;
	pattern_fill(constant, 0, WORLD_BYTES_MAX + PAGE);
	return 0;
}

void oracle_fini(void)
{
	for (unsigned i = 0; i < NR_BUFFERS; i++)
		free(buffers[i]);
	free(constant);
}

void oracle_open(struct oracle *oracle, const char *letters)
{
	*oracle = (struct oracle){.is_waiting = false};
	snprintf(oracle->letters, sizeof(oracle->letters), "%s", letters);
	world_open(&oracle->worlds[0], &kernel_backend, letters);
	world_open(&oracle->worlds[1], &usplice_backend, letters);
}

static void oracle_limit_files(size_t len)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_FSIZE, &limit) == 0) {
		limit.rlim_cur = len;
		setrlimit(RLIMIT_FSIZE, &limit);
	}
}

bool oracle_close(struct oracle *oracle)
{
	bool was_waiting = oracle->is_waiting;

	oracle_limit_files(RLIM_INFINITY);
	if (was_waiting)
		return false; /* what sleeps needs its world: the test ends here anyway */
	for (unsigned i = 0; i < 2; i++)
		world_close(&oracle->worlds[i]);
	return true;
}

/* --- Comparing ----------------------------------------------------------------------------------------------------- */

static bool oracle_differ(struct oracle *oracle, const struct step *step, const char *what, int64_t kernel,
			  int64_t ours)
{
	char word[SCRIPT_WORD_MAX];

	script_print(step, word);
	snprintf(oracle->why, sizeof(oracle->why), "after %s: %s is %lld for the kernel, %lld for us", word, what,
		 (long long)kernel, (long long)ours);
	return false;
}

static bool compare_bytes(struct oracle *oracle, const struct step *step, ssize_t len, unsigned char *const bytes[2])
{
	if (!strchr("rqu", step->op) || len <= 0 || memcmp(bytes[0], bytes[1], (size_t)len) == 0)
		return true;
	for (ssize_t i = 0; i < len; i++) {
		if (bytes[0][i] != bytes[1][i]) {
			oracle_differ(oracle, step, "a byte that was read", bytes[0][i], bytes[1][i]);
			break;
		}
	}
	return false;
}

static bool compare_results(struct oracle *oracle, const struct step steps[2], const ssize_t ret[2],
			    unsigned char *const bytes[2])
{
	if (ret[0] != ret[1])
		return oracle_differ(oracle, &steps[0], "the result", ret[0], ret[1]);
	if (steps[0].off_in != steps[1].off_in)
		return oracle_differ(oracle, &steps[0], "the input's offset", steps[0].off_in, steps[1].off_in);
	if (steps[0].off_out != steps[1].off_out)
		return oracle_differ(oracle, &steps[0], "the output's offset", steps[0].off_out, steps[1].off_out);
	return compare_bytes(oracle, &steps[0], ret[0], bytes);
}

static bool compare_view(struct oracle *oracle, const struct step *step, char letter)
{
	static const struct {
		const char *name;
		size_t off;
	} numbers[] = {
		{"bytes in", offsetof(struct view, bytes)},
		{"capacity of", offsetof(struct view, capacity)},
		{"position of", offsetof(struct view, pos)},
		{"length of", offsetof(struct view, len)},
	};
	struct view views[2];
	char what[64];

	for (unsigned i = 0; i < 2; i++)
		world_look(&oracle->worlds[i], letter, !oracle->is_waiting, &views[i]);
	if (memcmp(&views[0], &views[1], sizeof(views[0])) == 0)
		return true;
	for (unsigned end = 0; end < 2; end++) {
		snprintf(what, sizeof(what), "poll of end %u of %c", end, letter);
		if (views[0].bits[end] != views[1].bits[end])
			return oracle_differ(oracle, step, what, views[0].bits[end], views[1].bits[end]);
	}
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		int64_t *kernel = (int64_t *)((char *)&views[0] + numbers[i].off);
		int64_t *ours = (int64_t *)((char *)&views[1] + numbers[i].off);

		snprintf(what, sizeof(what), "%s %c", numbers[i].name, letter);
		if (*kernel != *ours)
			return oracle_differ(oracle, step, what, *kernel, *ours);
	}
	return false;
}

static unsigned char *map_spy(const struct object *object, size_t *ret_len)
{
	struct stat st;
	void *base = MAP_FAILED;

	*ret_len = fstat(object->spy_fd, &st) == 0 ? (size_t)st.st_size : 0;
	if (*ret_len && *ret_len <= CONTENT_MAX)
		base = mmap(NULL, *ret_len, PROT_READ, MAP_PRIVATE, object->spy_fd, 0);
	return base == MAP_FAILED ? NULL : base;
}

/* The whole of a file that a step may have written to. */
static bool compare_content(struct oracle *oracle, const struct step *step, char letter)
{
	unsigned char *bytes[2];
	size_t len[2];
	bool is_same;

	for (unsigned i = 0; i < 2; i++)
		bytes[i] = map_spy(&oracle->worlds[i].objects[(int)letter], &len[i]);
	is_same = len[0] == len[1] && (!len[0] || len[0] > CONTENT_MAX ||
				       (bytes[0] && bytes[1] && memcmp(bytes[0], bytes[1], len[0]) == 0));
	for (unsigned i = 0; i < 2; i++) {
		if (bytes[i])
			munmap(bytes[i], len[i]);
	}
	return is_same || oracle_differ(oracle, step, "content, from its length on,", (int64_t)len[0], (int64_t)len[1]);
}

static bool compare_worlds(struct oracle *oracle, const struct step *step)
{
	char written = step->to ? step->to : step->from;

	for (const char *letter = oracle->letters; *letter; letter++) {
		if (!compare_view(oracle, step, *letter))
			return false;
	}
	if (!strchr("wsfd", step->op) || oracle->worlds[0].objects[(int)written].spy_fd < 0)
		return true;
	return compare_content(oracle, step, written);
}

/* --- Steps that sleep ---------------------------------------------------------------------------------------------- */

static ssize_t sleeper_run(void *arg)
{
	struct oracle_sleeper *sleeper = arg;

	return world_run(&sleeper->oracle->worlds[sleeper->world], &sleeper->step, sleeper->bytes, constant);
}

static void sleepers_start(struct oracle *oracle, const struct step *step)
{
	for (unsigned i = 0; i < 2; i++) {
		struct oracle_sleeper *sleeper = &oracle->sleepers[i];

		*sleeper = (struct oracle_sleeper){
			.oracle = oracle,
			.world = i,
			.step = *step,
			.worker = &workers[i],
			.bytes = buffers[2 + i],
		};
		pattern_fill(sleeper->bytes, 5000, step->op == 'w' ? step->len : 0);
		worker_start(sleeper->worker, sleeper_run, sleeper);
		oracle->worlds[i].sleeper_from = step->from;
		oracle->worlds[i].sleeper_is_done = &sleeper->worker->is_done;
	}
	oracle->is_waiting = true;
}

/* Until both sleep or both are done; a wake-up that comes over a network stack may take its time in one world. */
static void sleepers_await(const struct oracle *oracle)
{
	struct worker *const workers_of[2] = {oracle->sleepers[0].worker, oracle->sleepers[1].worker};
	uint64_t end = world_now_ns() + sleepers_ns;

	do {
		for (unsigned i = 0; i < 2; i++)
			worker_await_sleep(workers_of[i]);
	} while (workers_of[0]->is_done != workers_of[1]->is_done && world_now_ns() < end);
}

/* See how far the sleeping steps are; collect them when both are done. */
static bool sleepers_look(struct oracle *oracle)
{
	struct oracle_sleeper *sleepers = oracle->sleepers;
	unsigned char *const bytes[2] = {sleepers[0].bytes, sleepers[1].bytes};
	const struct step steps[2] = {sleepers[0].step, sleepers[1].step};
	ssize_t ret[2];

	sleepers_await(oracle);
	if (sleepers[0].worker->is_done != sleepers[1].worker->is_done)
		return oracle_differ(oracle, &steps[0], "whether it has ended", sleepers[0].worker->is_done,
				     sleepers[1].worker->is_done);
	if (!sleepers[0].worker->is_done)
		return true;
	oracle->is_waiting = false;
	for (unsigned i = 0; i < 2; i++) {
		ret[i] = worker_join(sleepers[i].worker);
		oracle->worlds[i].sleeper_from = 0;
		world_settle(&oracle->worlds[i], &sleepers[i].step, ret[i]);
	}
	return compare_results(oracle, (struct step[]){sleepers[0].step, sleepers[1].step}, ret, bytes);
}

/* Close what a step can wait for: its peers, or then the other ends of its pipes. */
static void sleeper_wake(struct oracle_sleeper *sleeper, bool is_pipes_turn)
{
	struct world *world = &sleeper->oracle->worlds[sleeper->world];
	const char letters[] = {sleeper->step.from, sleeper->step.to};

	for (unsigned i = 0; i < 2 && letters[i] && !sleeper->worker->is_done; i++) {
		struct object *object = &world->objects[(int)letters[i]];
		unsigned other_end = i == 0 && !strchr("wvV", sleeper->step.op);

		if (object->kind->peer && !is_pipes_turn)
			world->backend->close(&world->objects[(int)object->kind->peer].end[0]);
		else if (object->kind->type == OBJECT_PIPE && is_pipes_turn) {
			world->backend->close(&object->end[other_end]);
			world->backend->close(&object->held[other_end]);
		}
	}
}

/*
 * After a difference: let what still sleeps in one world come to its end. Peers come first, because the kernel does not
 * close a pipe while somebody sleeps with its lock in a socket.
 */
static void sleepers_give_up(struct oracle *oracle)
{
	if (!oracle->is_waiting)
		return;
	for (unsigned i = 0; i < 2; i++) {
		struct oracle_sleeper *sleeper = &oracle->sleepers[i];

		sleeper_wake(sleeper, false);
		sleeper_wake(sleeper, true);
		worker_join(sleeper->worker);
	}
	oracle->is_waiting = false;
}

/* --- Steps --------------------------------------------------------------------------------------------------------- */

static void fill_buffers(const struct step *step)
{
	size_t len = step->len < WORLD_BYTES_MAX ? step->len : WORLD_BYTES_MAX;

	for (unsigned i = 0; i < 2; i++) {
		if (strchr("wib", step->op))
			pattern_fill(buffers[i], stream_off, len);
		else if (strchr("rqu", step->op))
			memset(buffers[i], 0, len);
	}
	if (strchr("wb", step->op))
		stream_off += len;
}

static bool oracle_run(struct oracle *oracle, const struct step *step)
{
	struct step steps[2] = {*step, *step};
	ssize_t ret[2];

	fill_buffers(step);
	for (unsigned i = 0; i < 2; i++) {
		ret[i] = world_run(&oracle->worlds[i], &steps[i], buffers[i], constant);
		world_settle(&oracle->worlds[i], step, ret[i]);
	}
	return compare_results(oracle, steps, ret, buffers);
}

static void sleepers_interrupt(const struct oracle *oracle)
{
	for (unsigned i = 0; i < 2 && oracle->is_waiting; i++)
		pthread_kill(oracle->sleepers[i].worker->thread, SIGUSR1);
}

bool oracle_step(struct oracle *oracle, const struct step *step)
{
	if (step->op == 'l') {
		oracle_limit_files(step->len);
		return true;
	}
	if (!world_can(&oracle->worlds[1], step) || (oracle->is_waiting && step->is_background))
		return true;
	if (step->op == 'n')
		sleepers_interrupt(oracle);
	else if (step->is_background)
		sleepers_start(oracle, step);
	else if (!oracle_run(oracle, step))
		return false;
	if (oracle->is_waiting && !sleepers_look(oracle))
		return false;
	return compare_worlds(oracle, step);
}

/* --- Scripts ------------------------------------------------------------------------------------------------------- */

static void script_letters(const char *script, char ret_letters[ORACLE_OBJECTS_MAX + 1])
{
	struct step step;
	unsigned nr = 0;

	ret_letters[0] = '\0';
	while ((script = script_next(script, &step))) {
		const char used[] = {step.from, step.to};

		for (unsigned i = 0; i < 2; i++) {
			if (!used[i] || strchr(ret_letters, used[i]) || nr == ORACLE_OBJECTS_MAX)
				continue;
			ret_letters[nr++] = used[i];
			ret_letters[nr] = '\0';
		}
	}
}

bool oracle_play(struct oracle *oracle, const char *script)
{
	char letters[ORACLE_OBJECTS_MAX + 1];
	bool is_same = true;
	struct step step;

	script_letters(script, letters);
	oracle_open(oracle, letters);
	while (is_same && (script = script_next(script, &step)))
		is_same = oracle_step(oracle, &step);
	if (oracle->is_waiting && is_same) {
		snprintf(oracle->why, sizeof(oracle->why), "something sleeps that the script does not wake");
		is_same = false;
	}
	sleepers_give_up(oracle);
	oracle_close(oracle);
	return is_same;
}

bool oracle_play_doubtful(struct oracle *oracle, const char *script)
{
	bool is_same;

	sleepers_ns = DOUBTFUL_NS;
	is_same = oracle_play(oracle, script);
	sleepers_ns = SLEEPERS_NS;
	return is_same;
}

ssize_t oracle_ask(const char *script)
{
	char letters[ORACLE_OBJECTS_MAX + 1];
	static struct world world;
	struct step step;
	ssize_t ret = 0;

	script_letters(script, letters);
	world_open(&world, &kernel_backend, letters);
	while ((script = script_next(script, &step))) {
		fill_buffers(&step);
		ret = world_run(&world, &step, buffers[0], constant);
		world_settle(&world, &step, ret);
	}
	world_close(&world);
	return ret;
}

bool oracle_is_documented(const char *section)
{
	const char *root = getenv("USPLICE_SOURCE_DIR");
	char path[512], line[512], heading[256];
	bool is_found = false;
	FILE *file;

	snprintf(path, sizeof(path), "%s/docs/differences.md", root ? root : ".");
	snprintf(heading, sizeof(heading), "## %s\n", section);
	file = fopen(path, "re");
	while (file && !is_found && fgets(line, sizeof(line), file))
		is_found = strcmp(line, heading) == 0;
	if (file)
		fclose(file);
	return is_found;
}

bool oracle_play_difference(struct oracle *oracle, const char *script, const char *section)
{
	if (!oracle_is_documented(section)) {
		snprintf(oracle->why, sizeof(oracle->why), "docs/differences.md has no section '%s'", section);
		return false;
	}
	if (!oracle_play_doubtful(oracle, script))
		return true;
	snprintf(oracle->why, sizeof(oracle->why), "the worlds agree, although '%s' says that they differ", section);
	return false;
}
