/* SPDX-License-Identifier: MIT */
/* test_spool - lines that a thread writes: none is cut, none is lost unless it is counted, and nobody waits for the file. */
#include "../../src/cli/spool.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "support.h"

#define ROOM 4096
#define WORD_LEN 40
#define NR_THREADS 4
#define NR_EACH 5000

#define AWAIT(condition)     \
	while (!(condition)) \
	sched_yield()

static char folder[] = "/tmp/usplice-spool-XXXXXX", path[64], old_path[64];

static int open_folder(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/log", folder);
	snprintf(old_path, sizeof(old_path), "%s/log.1", folder);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static int close_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

/* --- Spools ------------------------------------------------------------------------------------------------- */

static int last_error, nr_changes;

static size_t format_word(void *arg, const void *item, size_t len, char *ret_line)
{
	(void)arg;
	memcpy(ret_line, item, len);
	ret_line[len] = '\n';
	return len + 1;
}

static void note_change(void *arg, int error)
{
	(void)arg;
	__atomic_store_n(&last_error, error, __ATOMIC_RELEASE);
	__atomic_fetch_add(&nr_changes, 1, __ATOMIC_RELEASE);
}

static bool has_error(int error)
{
	return __atomic_load_n(&last_error, __ATOMIC_ACQUIRE) == error;
}

static struct spool *open_spool(const char *at, int fd, size_t room)
{
	const struct spool_params params = {
		.path = at, .fd = fd, .room = room, .format = format_word, .changed = note_change};
	struct spool *spool;

	last_error = nr_changes = 0;
	assert_int_equal(spool_new(&params, &spool), 0);
	return spool;
}

/* A word of WORD_LEN letters that says who put it, and as which. */
static bool put_word(struct spool *spool, unsigned who, unsigned number)
{
	char word[WORD_LEN + 1];

	snprintf(word, sizeof(word), "%03u %08u ", who, number);
	memset(word + 13, 'x', WORD_LEN - 13);
	return spool_put(spool, word, WORD_LEN);
}

static size_t file_len(const char *at)
{
	struct stat st;

	return stat(at, &st) == 0 ? (size_t)st.st_size : 0;
}

/* Every line of a file is a word, whole, and those of one thread are in their order: how many there are. */
static unsigned count_words(const char *at, unsigned ret_next[NR_THREADS])
{
	FILE *file = fopen(at, "re");
	char line[2 * WORD_LEN];
	unsigned nr = 0, who, number;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		assert_int_equal(strlen(line), WORD_LEN + 1);
		assert_int_equal(line[WORD_LEN], '\n');
		assert_int_equal(sscanf(line, "%u %u x", &who, &number), 2);
		assert_true(number >= ret_next[who]);
		ret_next[who] = number + 1;
		nr++;
	}
	fclose(file);
	return nr;
}

/* --- Lines -------------------------------------------------------------------------------------------------- */

static void every_line_is_there_at_the_end(void **state)
{
	struct spool *spool = open_spool(path, -1, 1 << 20);
	unsigned next[NR_THREADS] = {0};

	(void)state;
	for (unsigned i = 0; i < NR_EACH; i++)
		assert_true(put_word(spool, 0, i));
	assert_int_equal(spool_free(spool), 0);
	assert_int_equal(count_words(path, next), NR_EACH);
	unlink(path);
}

struct putter {
	struct spool *spool;
	unsigned who, nr_put;
};

static void *put_many(void *arg)
{
	struct putter *putter = arg;

	for (unsigned i = 0; i < NR_EACH; i++)
		putter->nr_put += put_word(putter->spool, putter->who, i);
	return NULL;
}

/* The ring is far too small for them, so some are dropped; these are counted, and all others are in the file. */
static void lines_of_many_threads_are_written_or_counted(void **state)
{
	struct spool *spool = open_spool(path, -1, ROOM);
	struct putter putters[NR_THREADS];
	unsigned next[NR_THREADS] = {0}, nr_put = 0;
	pthread_t threads[NR_THREADS];
	uint64_t nr_dropped;

	(void)state;
	for (unsigned i = 0; i < NR_THREADS; i++) {
		putters[i] = (struct putter){.spool = spool, .who = i};
		assert_int_equal(pthread_create(&threads[i], NULL, put_many, &putters[i]), 0);
	}
	for (unsigned i = 0; i < NR_THREADS; i++) {
		pthread_join(threads[i], NULL);
		nr_put += putters[i].nr_put;
	}
	nr_dropped = spool_nr_dropped(spool);
	assert_int_equal(spool_free(spool), 0);
	assert_int_equal(nr_put + nr_dropped, NR_THREADS * NR_EACH);
	assert_int_equal(count_words(path, next), nr_put);
	unlink(path);
}

static void a_file_that_is_there_is_appended_to(void **state)
{
	unsigned next[NR_THREADS] = {0};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct spool *spool = open_spool(path, -1, ROOM);

		assert_true(put_word(spool, 0, i));
		assert_int_equal(spool_free(spool), 0);
	}
	assert_int_equal(count_words(path, next), 2);
	unlink(path);
}

/* --- Files that do not take them -------------------------------------------------------------------------------- */

static void a_fifo_that_nobody_reads_holds_nobody(void **state)
{
	struct spool *spool;
	unsigned nr_put = 0;
	char line[WORD_LEN + 1];
	int fd;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	spool = open_spool(path, -1, ROOM);
	while (put_word(spool, 0, nr_put))
		nr_put++;
	assert_true(spool_nr_dropped(spool) == 1);
	assert_true(nr_put >= ROOM / (WORD_LEN + 2 * sizeof(size_t)));
	fd = open(path, O_RDONLY | O_CLOEXEC); /* until the writer tries again */
	assert_true(fd >= 0);
	assert_int_equal(read(fd, line, sizeof(line)), sizeof(line));
	assert_memory_equal(line, "000 00000000 x", 14);
	close(fd);
	assert_true(spool_free(spool) < nr_put);
	unlink(path);
}

/* A pipe that is not ours, and so stays as it is: blocking. */
static void what_a_full_pipe_does_not_take_is_given_up_at_the_end_and_counted(void **state)
{
	static const char zeros[PAGE];
	struct spool *spool;
	unsigned nr_put = 0;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, PAGE) > 0);
	assert_int_equal(write(fds[1], zeros, PAGE), PAGE);
	spool = open_spool(NULL, fds[1], ROOM);
	while (nr_put < 1000 && put_word(spool, 0, nr_put))
		nr_put++;
	assert_int_equal(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(spool_free(spool), nr_put);
	close(fds[0]);
	close(fds[1]);
}

static void set_file_limit(rlim_t len)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = len;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_line_that_was_cut_is_completed_when_there_is_room(void **state)
{
	struct spool *spool = open_spool(path, -1, ROOM);
	unsigned next[NR_THREADS] = {0};

	(void)state;
	set_file_limit(WORD_LEN / 2);
	assert_true(put_word(spool, 0, 0));
	AWAIT(has_error(-EFBIG));
	assert_int_equal(file_len(path), WORD_LEN / 2);
	assert_true(put_word(spool, 0, 1));
	set_file_limit(RLIM_INFINITY);
	AWAIT(has_error(0));
	assert_int_equal(spool_free(spool), 0);
	assert_int_equal(nr_changes, 2); /* each was told once */
	assert_int_equal(count_words(path, next), 2);
	unlink(path);
}

static void a_line_that_was_cut_is_whole_in_the_next_file(void **state)
{
	struct spool *spool = open_spool(path, -1, ROOM);
	unsigned next[NR_THREADS] = {0};

	(void)state;
	set_file_limit(WORD_LEN / 2);
	assert_true(put_word(spool, 0, 0));
	AWAIT(has_error(-EFBIG));
	assert_int_equal(rename(path, old_path), 0);
	spool_reopen(spool);
	AWAIT(file_len(path) || has_error(0));
	set_file_limit(RLIM_INFINITY);
	assert_int_equal(spool_free(spool), 0);
	assert_int_equal(file_len(old_path), WORD_LEN / 2);
	assert_int_equal(count_words(path, next), 1);
	unlink(path);
	unlink(old_path);
}

/* --- Other files of the same name --------------------------------------------------------------------------------- */

static void a_file_that_got_another_name_is_left_at_once(void **state)
{
	struct spool *spool = open_spool(path, -1, ROOM);
	unsigned next[NR_THREADS] = {0};

	(void)state;
	assert_true(put_word(spool, 0, 0));
	AWAIT(file_len(path));
	assert_int_equal(rename(path, old_path), 0);
	assert_true(put_word(spool, 0, 1)); /* goes to the old one: nothing else has been said */
	AWAIT(file_len(old_path) == 2 * (WORD_LEN + 1));
	spool_reopen(spool);
	AWAIT(access(path, F_OK) == 0);
	assert_true(put_word(spool, 0, 2));
	assert_int_equal(spool_free(spool), 0);
	assert_int_equal(count_words(old_path, next), 2);
	assert_int_equal(count_words(path, next), 1);
	unlink(path);
	unlink(old_path);
}

static void a_path_that_cannot_be_opened_again_leaves_the_old_file_in_use(void **state)
{
	struct spool *spool = open_spool(path, -1, ROOM);
	unsigned next[NR_THREADS] = {0};

	(void)state;
	assert_int_equal(rename(path, old_path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	spool_reopen(spool);
	AWAIT(has_error(-EISDIR));
	assert_true(put_word(spool, 0, 0));
	assert_int_equal(spool_free(spool), 0);
	assert_int_equal(count_words(old_path, next), 1);
	rmdir(path);
	unlink(old_path);
}

static void a_path_that_cannot_be_opened_is_refused(void **state)
{
	const struct spool_params params = {.path = "/nowhere/log", .room = ROOM, .format = format_word};
	const struct spool_params folder_params = {.path = folder, .room = ROOM, .format = format_word};
	struct spool *spool;

	(void)state;
	assert_int_equal(spool_new(&params, &spool), -ENOENT);
	assert_int_equal(spool_new(&folder_params, &spool), -EISDIR);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_line_is_there_at_the_end),
		CASE(lines_of_many_threads_are_written_or_counted),
		CASE(a_file_that_is_there_is_appended_to),
		CASE(a_fifo_that_nobody_reads_holds_nobody),
		CASE(what_a_full_pipe_does_not_take_is_given_up_at_the_end_and_counted),
		CASE(a_line_that_was_cut_is_completed_when_there_is_room),
		CASE(a_line_that_was_cut_is_whole_in_the_next_file),
		CASE(a_file_that_got_another_name_is_left_at_once),
		CASE(a_path_that_cannot_be_opened_again_leaves_the_old_file_in_use),
		CASE(a_path_that_cannot_be_opened_is_refused),
	};

	return cmocka_run_group_tests(tests, open_folder, close_folder);
}
