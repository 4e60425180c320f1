/* SPDX-License-Identifier: MIT */
/*
 * test_matrix - the matrix of the probe on this kernel, and on kernels that copy where this one does not. Functions in
 * front of splice and vmsplice play these.
 */
#include "net.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <usplice/probe.h>

#include "base/sys.h"

/* --- A kernel that copies -------------------------------------------------------------------------------- */

static bool has_no_tmpfile; /* the file system knows no file without a name */
static unsigned nr_named;   /* files that got a name */
static struct {
	bool vmsplice;	/* memory is copied into a pipe */
	bool files;	/* files are copied into a pipe */
	bool read_only; /* only files that are not open for writing */
	bool foreign;	/* only for a user that does not own them */
	bool mapped;	/* only files that are mapped */
	bool clean;	/* only files without a dirty page */
	bool disk;	/* what came from a disk is copied into a socket, and nothing else is */
} copies;
static bool came_from_disk;

static bool is_mapped(const struct stat *st)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned long inode = 0;
	char line[512];

	assert_non_null(maps);
	while (inode != st->st_ino && fgets(line, sizeof(line), maps))
		assert_int_equal(sscanf(line, "%*s %*s %*s %*s %lu", &inode), 1);
	fclose(maps);
	return inode == st->st_ino;
}

/* Ask cachestat(2) for the dirty pages of a file, or those on their way to the disk; -1 on a kernel without it. */
static int64_t nr_dirty(int fd)
{
	const uint64_t range[2] = {0, 0};
	uint64_t stat[5];

	return syscall(451, fd, range, stat, 0) < 0 ? -1 : (int64_t)(stat[1] + stat[2]);
}

/* Tell whether this kernel copies what comes out of a file. */
static bool copies_file(int fd, const struct stat *st)
{
	return copies.files || (copies.read_only && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY) ||
	       (copies.foreign && (uid_t)setfsuid((uid_t)-1) != geteuid()) || (copies.mapped && is_mapped(st)) ||
	       (copies.clean && nr_dirty(fd) == 0);
}

static ssize_t copy_through(int in, int64_t *off_in, int out, size_t len)
{
	static char bytes[1 << 16];
	ssize_t ret;

	if (len > sizeof(bytes))
		len = sizeof(bytes);
	ret = off_in ? pread(in, bytes, len, *off_in) : read(in, bytes, len);
	if (ret > 0)
		ret = write(out, bytes, (size_t)ret);
	if (ret > 0 && off_in)
		*off_in += ret;
	return ret < 0 ? -errno : ret;
}

ssize_t __real_usp_sys_splice(int in, int64_t *off_in, int out, int64_t *off_out, size_t len, unsigned flags);
ssize_t __wrap_usp_sys_splice(int in, int64_t *off_in, int out, int64_t *off_out, size_t len, unsigned flags);
ssize_t __wrap_usp_sys_splice(int in, int64_t *off_in, int out, int64_t *off_out, size_t len, unsigned flags)
{
	struct stat from, to;
	bool is_file;

	fstat(in, &from);
	fstat(out, &to);
	is_file = S_ISREG(from.st_mode);
	if (is_file)
		came_from_disk = from.st_dev >> 8 != 0;
	if (is_file && copies_file(in, &from))
		return copy_through(in, off_in, out, len);
	if (copies.disk && came_from_disk && S_ISFIFO(from.st_mode) && S_ISSOCK(to.st_mode))
		return copy_through(in, NULL, out, len);
	return __real_usp_sys_splice(in, off_in, out, off_out, len, flags);
}

ssize_t __real_usp_sys_vmsplice(int fd, const struct iovec *iov, unsigned nr_segs, unsigned flags);
ssize_t __wrap_usp_sys_vmsplice(int fd, const struct iovec *iov, unsigned nr_segs, unsigned flags);
ssize_t __wrap_usp_sys_vmsplice(int fd, const struct iovec *iov, unsigned nr_segs, unsigned flags)
{
	ssize_t ret;

	if (!copies.vmsplice || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return __real_usp_sys_vmsplice(fd, iov, nr_segs, flags);
	ret = writev(fd, iov, (int)nr_segs);
	return ret < 0 ? -errno : ret;
}

int __real_usp_sys_open(const char *path, int flags, unsigned mode);
int __wrap_usp_sys_open(const char *path, int flags, unsigned mode);
int __wrap_usp_sys_open(const char *path, int flags, unsigned mode)
{
	if (has_no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE)
		return -EOPNOTSUPP;
	nr_named += strncmp(path, "/var/tmp/", strlen("/var/tmp/")) == 0;
	return __real_usp_sys_open(path, flags, mode);
}

/* --- A run ------------------------------------------------------------------------------------------------- */

struct found {
	struct usp_probe_cell cells[1024];
	unsigned nr, nr_differing, stop_at;
	struct usp_probe_matrix_result result;
};

static int take_cell(const struct usp_probe_cell *cell, void *arg)
{
	struct found *found = arg;

	assert_int_equal(cell->size, sizeof(*cell));
	assert_true(found->nr < ARRAY_LEN(found->cells));
	found->cells[found->nr] = *cell;
	found->cells[found->nr].object = strdup(cell->object);
	found->cells[found->nr++].peer = NULL;
	found->nr_differing += cell->half == USP_PROBE_COMPOSED && cell->answer != USP_PROBE_UNDECIDABLE &&
			       cell->answer != cell->expected;
	return found->nr == found->stop_at ? -ECANCELED : 0;
}

static void found_free(struct found *found)
{
	while (found->nr > 0)
		free((char *)found->cells[--found->nr].object);
	free(found);
}

static const char *const dirs[] = {"/var/tmp"};
static const struct usp_probe_matrix_params no_cost = {
	.size = sizeof(no_cost), .dirs = dirs, .nr_dirs = 1, .no_cost = true};

static struct found *ask(struct usp_file *const *files, unsigned nr_files)
{
	struct usp_probe_matrix_params params = no_cost;
	struct found *found = calloc(1, sizeof(*found));

	assert_non_null(found);
	params.files = files;
	params.nr_files = nr_files;
	found->result.size = sizeof(found->result);
	assert_int_equal(usp_probe_matrix(&params, take_cell, found, &found->result), 0);
	assert_true(found->result.copies);
	return found;
}

static const struct usp_probe_cell *base_of(const struct found *found, enum usp_probe_half half, const char *object)
{
	for (unsigned i = 0; i < found->nr; i++) {
		if (found->cells[i].half == half && found->cells[i].is_base &&
		    strcmp(found->cells[i].object, object) == 0)
			return &found->cells[i];
	}
	fail_msg("no base cell of %s", object);
	return NULL;
}

static enum usp_probe_answer answer_of(const struct found *found, enum usp_probe_half half, const char *object)
{
	return base_of(found, half, object)->answer;
}

/* --- Tests -------------------------------------------------------------------------------------------------- */

static void every_cell_is_complete(void **state)
{
	struct found *found = ask(NULL, 0);

	(void)state;
	assert_true(found->nr > 100);
	for (unsigned i = 0; i < found->nr; i++) {
		const struct usp_probe_cell *cell = &found->cells[i];

		assert_true(cell->answer < USP_NR_PROBE_ANSWERS);
		assert_non_null(cell->reason);
		assert_true(strlen(cell->reason) > 8);
		assert_true(cell->answer != USP_PROBE_REFUSED || cell->error > 0);
		assert_int_equal(cell->cost.bytes, 0);
	}
	found_free(found);
}

static void a_write_is_a_copy_and_a_null_device_drops(void **state)
{
	struct found *found = ask(NULL, 0);

	(void)state;
	assert_true(found->result.aliases);
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, "memory, by write"), USP_PROBE_COPIED);
	assert_int_equal(answer_of(found, USP_PROBE_OUT_OF_PIPE, "memory, by read"), USP_PROBE_COPIED);
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, "pipe, by tee"), USP_PROBE_BY_REFERENCE);
	assert_int_equal(answer_of(found, USP_PROBE_OUT_OF_PIPE, "/dev/null"), USP_PROBE_BY_REFERENCE);
	assert_int_not_equal(answer_of(found, USP_PROBE_INTO_PIPE, "/proc/self/status"), USP_PROBE_BY_REFERENCE);
	assert_int_equal(found->nr_differing, 0);
	found_free(found);
}

static void a_kernel_whose_vmsplice_copies_is_found_out(void **state)
{
	struct found *found;

	(void)state;
	copies.vmsplice = true;
	found = ask(NULL, 0);
	copies.vmsplice = false;
	assert_true(found->result.aliases);
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, "memory, by vmsplice"), USP_PROBE_COPIED);
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, "file in memory (memfd)"), USP_PROBE_BY_REFERENCE);
	found_free(found);
}

static void a_kernel_whose_files_are_copied_is_found_out(void **state)
{
	struct found *found;

	(void)state;
	copies.files = true;
	found = ask(NULL, 0);
	copies.files = false;
	assert_true(found->result.aliases); /* by vmsplice */
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, "file in memory (memfd)"), USP_PROBE_COPIED);
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, "memory, by vmsplice"), USP_PROBE_BY_REFERENCE);
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, "pipe"), USP_PROBE_BY_REFERENCE);
	found_free(found);
}

/*
 * Check the files among the sources: those with this right, and this state, are copied, and all others go by reference.
 * NULL is any.
 */
static void check_files(const struct found *found, const char *rights, const char *state)
{
	unsigned nr_copied = 0, nr_by_reference = 0;

	for (unsigned i = 0; i < found->nr; i++) {
		const struct usp_probe_cell *cell = &found->cells[i];
		bool is_meant;

		if (cell->half != USP_PROBE_INTO_PIPE || !cell->rights || cell->answer == USP_PROBE_UNDECIDABLE)
			continue;
		is_meant =
			(!rights || strcmp(cell->rights, rights) == 0) && (!state || strcmp(cell->state, state) == 0);
		assert_int_equal(cell->answer, is_meant ? USP_PROBE_COPIED : USP_PROBE_BY_REFERENCE);
		nr_copied += is_meant;
		nr_by_reference += !is_meant;
	}
	assert_true(nr_copied > 0);
	assert_true(nr_by_reference > 0);
}

static void a_copy_of_files_of_another_owner_is_found_out(void **state)
{
	struct found *found;

	(void)state;
	setfsuid(65534);
	if (geteuid() != 0 || setfsuid(0) != 65534)
		skip();
	copies.foreign = true;
	found = ask(NULL, 0);
	copies.foreign = false;
	check_files(found, "foreign", NULL);
	assert_int_equal(setfsuid((uid_t)-1), 0);
	found_free(found);
}

static void a_copy_of_mapped_files_is_found_out(void **state)
{
	struct found *found;

	(void)state;
	copies.mapped = true;
	found = ask(NULL, 0);
	copies.mapped = false;
	assert_true(found->result.aliases);
	check_files(found, NULL, "mapped");
	found_free(found);
}

/* A mapped file is clean, too, until the change. The kernel does not tell another user what is dirty. */
static void a_copy_of_clean_files_is_found_out(void **state)
{
	struct found *found;
	struct stat st;

	(void)state;
	if (nr_dirty(0) < 0 || stat("/var/tmp", &st) < 0 || st.st_dev >> 8 == 0)
		skip(); /* no cachestat(2), or no disk */
	copies.clean = true;
	found = ask(NULL, 0);
	copies.clean = false;
	for (unsigned i = 0; i < found->nr; i++) {
		const struct usp_probe_cell *cell = &found->cells[i];

		if (cell->half == USP_PROBE_INTO_PIPE && strcmp(cell->object, "file in /var/tmp") == 0 &&
		    cell->len == PAGE && strcmp(cell->rights, "foreign") != 0)
			assert_int_equal(cell->answer,
					 strcmp(cell->state, "dirty") == 0 ? USP_PROBE_BY_REFERENCE : USP_PROBE_COPIED);
	}
	found_free(found);
}

static void a_copy_that_depends_on_the_right_to_write_is_found_out(void **state)
{
	struct found *found;
	unsigned nr_read_only = 0, nr_own = 0;

	(void)state;
	copies.read_only = true;
	found = ask(NULL, 0);
	copies.read_only = false;
	for (unsigned i = 0; i < found->nr; i++) {
		const struct usp_probe_cell *cell = &found->cells[i];

		if (cell->half != USP_PROBE_INTO_PIPE || !cell->rights || cell->answer == USP_PROBE_UNDECIDABLE)
			continue;
		if (strcmp(cell->rights, "own") == 0) {
			assert_int_equal(cell->answer, USP_PROBE_BY_REFERENCE);
			nr_own++;
		} else {
			assert_int_equal(cell->answer, USP_PROBE_COPIED);
			nr_read_only++;
		}
	}
	assert_true(nr_own > 5);
	assert_true(nr_read_only >= 4);
	found_free(found);
}

/* What comes out of a socket that copies on the way in would be old in any case. */
static void a_socket_that_copies_on_the_way_in_is_undecidable_on_the_way_out(void **state)
{
	static const char *const sockets[] = {"TCP over loopback", "MPTCP over loopback", "UDP over loopback",
					      "UNIX stream",	   "UNIX datagram",	  "UNIX seqpacket"};
	struct found *found = ask(NULL, 0);
	unsigned nr_copied = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sockets); i++) {
		if (answer_of(found, USP_PROBE_OUT_OF_PIPE, sockets[i]) != USP_PROBE_COPIED)
			continue;
		assert_int_not_equal(answer_of(found, USP_PROBE_INTO_PIPE, sockets[i]), USP_PROBE_COPIED);
		nr_copied++;
	}
	assert_true(nr_copied > 0); /* datagrams of UNIX sockets always */
	found_free(found);
}

static void a_route_that_is_not_the_sum_of_its_halves_is_told(void **state)
{
	struct found *found;
	struct stat st;

	(void)state;
	if (stat("/var/tmp", &st) < 0 || st.st_dev >> 8 == 0)
		skip(); /* on no disk */
	copies.disk = true;
	found = ask(NULL, 0);
	copies.disk = false;
	assert_int_equal(answer_of(found, USP_PROBE_OUT_OF_PIPE, "UNIX stream"), USP_PROBE_BY_REFERENCE);
	assert_true(found->nr_differing > 0);
	found_free(found);
}

static unsigned nr_left_behind(void)
{
	DIR *dir = opendir("/var/tmp");
	const struct dirent *entry;
	unsigned nr = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		nr += strncmp(entry->d_name, ".usplice-probe-", strlen(".usplice-probe-")) == 0;
	closedir(dir);
	return nr;
}

static void a_file_that_needs_a_name_keeps_none(void **state)
{
	struct found *found;

	(void)state;
	has_no_tmpfile = true;
	found = ask(NULL, 0);
	has_no_tmpfile = false;
	assert_true(nr_named > 0);
	assert_int_equal(nr_left_behind(), 0);
	assert_int_equal(answer_of(found, USP_PROBE_OUT_OF_PIPE, "file in /var/tmp"), USP_PROBE_COPIED);
	found_free(found);
}

/* With neither way to put a page into a pipe by reference, nothing can be decided, and refusals stay what they are. */
static void without_a_control_nothing_is_decided(void **state)
{
	struct found *found;

	(void)state;
	copies.vmsplice = copies.files = true;
	found = ask(NULL, 0);
	copies.vmsplice = copies.files = false;
	assert_false(found->result.aliases);
	for (unsigned i = 0; i < found->nr; i++)
		assert_true(found->cells[i].answer == USP_PROBE_UNDECIDABLE ||
			    found->cells[i].answer == USP_PROBE_REFUSED);
	found_free(found);
}

static bool is_same_cell(const struct usp_probe_cell *a, const struct usp_probe_cell *b)
{
	return a->half == b->half && strcmp(a->object, b->object) == 0 && strcmp(a->call, b->call) == 0 &&
	       strcmp(a->flag, b->flag) == 0 && a->rights == b->rights && a->state == b->state && a->len == b->len;
}

/* Compare with a run that had all it needed. */
static void check_shortage(const struct found *found, const struct found *all)
{
	for (unsigned i = 0; i < found->nr; i++) {
		const struct usp_probe_cell *cell = &found->cells[i];
		unsigned j = 0;

		if (cell->half == USP_PROBE_COMPOSED || cell->answer == USP_PROBE_UNDECIDABLE)
			continue;
		while (!is_same_cell(cell, &all->cells[j]))
			j++;
		assert_int_equal(cell->answer, all->cells[j].answer);
	}
}

static void a_shortage_of_descriptors_is_no_answer(void **state)
{
	struct found *all = ask(NULL, 0);
	struct rlimit old, few;
	int next = dup(0);

	(void)state;
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	for (unsigned i = 0; i < 12; i++) {
		struct usp_probe_matrix_result result = {.size = sizeof(result)};
		struct found *found = calloc(1, sizeof(*found));

		assert_non_null(found);
		few.rlim_cur = (rlim_t)next + i;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		assert_int_equal(usp_probe_matrix(&no_cost, take_cell, found, &result), 0);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(found->nr_differing, 0);
		check_shortage(found, all);
		found_free(found);
	}
	found_free(all);
}

static void author_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	(void)file;
	ret_result->way = side == USP_READ ? USP_BY_REFERENCE : USP_COPIED;
	ret_result->reason = "the author has tried it";
}

static void the_endpoint_of_an_author_is_a_row(void **state)
{
	struct usp_file_ops ops = mock_copy_ops;
	struct mock *mock;
	struct found *found;

	(void)state;
	ops.probe = author_probe;
	mock = mock_open(&ops, USP_READ | USP_WRITE, 0);
	found = ask(&mock->file, 1);
	assert_int_equal(answer_of(found, USP_PROBE_INTO_PIPE, usp_file_spec(mock->file)), USP_PROBE_BY_REFERENCE);
	assert_int_equal(answer_of(found, USP_PROBE_OUT_OF_PIPE, usp_file_spec(mock->file)), USP_PROBE_COPIED);
	assert_string_equal(base_of(found, USP_PROBE_OUT_OF_PIPE, usp_file_spec(mock->file))->reason,
			    "the author has tried it");
	found_free(found);
	mock_close(mock);
}

static void a_run_ends_when_its_caller_says_so(void **state)
{
	struct usp_probe_matrix_result result = {.size = sizeof(result)};
	struct usp_probe_matrix_params wrong = {.size = 1};
	struct found *found = calloc(1, sizeof(*found));

	(void)state;
	assert_non_null(found);
	found->stop_at = 3;
	assert_int_equal(usp_probe_matrix(NULL, take_cell, found, &result), -ECANCELED);
	assert_int_equal(found->nr, 3);
	assert_int_equal(usp_probe_matrix(&wrong, take_cell, found, &result), -EINVAL);
	assert_int_equal(found->nr, 3);
	found_free(found);
}

static void a_base_cell_has_what_the_ledger_uses(void **state)
{
	struct found *found = ask(NULL, 0);
	const struct usp_probe_cell *tty = base_of(found, USP_PROBE_INTO_PIPE, "terminal (pty)");
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	for (unsigned i = 0; i < 2; i++) {
		enum usp_probe_half half = i ? USP_PROBE_OUT_OF_PIPE : USP_PROBE_INTO_PIPE;
		unsigned side = i ? USP_WRITE : USP_READ;
		const struct usp_probe_result *ledger = &base_of(found, half, "pipe")->ledger;
		struct usp_probe_result own = {.size = sizeof(own)};
		struct usp_file *file = net_file(fds[i], side);

		assert_int_equal(usp_probe(file, side, &own), 0);
		assert_int_equal(ledger->size, sizeof(*ledger));
		assert_int_equal(ledger->way, own.way);
		assert_string_equal(ledger->reason, own.reason);
		usp_file_put(file);
	}
	assert_int_equal(tty->ledger.size, 0);
	for (unsigned i = 0; i < found->nr; i++)
		assert_true(found->cells[i].is_base || found->cells[i].ledger.size == 0);
	found_free(found);
}

static int take_cost(const struct usp_probe_cell *cell, void *arg)
{
	unsigned *nr_measured = arg;

	assert_true(cell->cost.bytes == 0 || (cell->is_base && cell->cost.wall_ns > 0));
	*nr_measured += cell->cost.bytes > 0;
	return 0;
}

static void base_cells_have_a_cost(void **state)
{
	struct usp_probe_matrix_result result = {.size = sizeof(result)};
	unsigned nr_measured = 0;

	(void)state;
	assert_int_equal(usp_probe_matrix(NULL, take_cost, &nr_measured, &result), 0);
	assert_true(nr_measured > 10);
	assert_true(result.memory.bytes > 0 && result.memory.wall_ns > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(every_cell_is_complete),
		CASE(a_write_is_a_copy_and_a_null_device_drops),
		CASE(a_kernel_whose_vmsplice_copies_is_found_out),
		CASE(a_kernel_whose_files_are_copied_is_found_out),
		CASE(a_copy_of_files_of_another_owner_is_found_out),
		CASE(a_copy_of_mapped_files_is_found_out),
		CASE(a_copy_of_clean_files_is_found_out),
		CASE(a_socket_that_copies_on_the_way_in_is_undecidable_on_the_way_out),
		CASE(a_copy_that_depends_on_the_right_to_write_is_found_out),
		CASE(a_route_that_is_not_the_sum_of_its_halves_is_told),
		CASE(a_file_that_needs_a_name_keeps_none),
		CASE(without_a_control_nothing_is_decided),
		CASE(a_shortage_of_descriptors_is_no_answer),
		CASE(the_endpoint_of_an_author_is_a_row),
		CASE(a_run_ends_when_its_caller_says_so),
		CASE(a_base_cell_has_what_the_ledger_uses),
		CASE(base_cells_have_a_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
