/* SPDX-License-Identifier: MIT */
/* test_files - the endpoints that are files of the system: regular, block, character device, FIFO, standard input. */
#include "lanes/kpipe.h"
#include "support.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/loop.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#define ODD_LEN 300001u

/* --- A directory for each test, on a real file system where O_DIRECT works ------------------------------- */

static char dir[32];

static int files_before(void **state)
{
	strcpy(dir, "/var/tmp/usplice-XXXXXX");
	if (!mkdtemp(dir) || chmod(dir, 0755) < 0)
		return -1;
	return support_before(state);
}

static int files_after(void **state)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) == 0 ? support_after(state) : -1;
}

#define FILE_CASE(f) cmocka_unit_test_setup_teardown(f, files_before, files_after)

/* The path of a file in the directory of this test; valid until the fourth next call. */
static const char *path_of(const char *name)
{
	static char paths[4][64];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static const char *make_file(const char *name, size_t len)
{
	const char *path = path_of(name);
	unsigned char *bytes = malloc(len + 1);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	pattern_fill(bytes, 0, len);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
	free(bytes);
	return path;
}

static void assert_file_is(const char *path, uint64_t off, size_t len)
{
	unsigned char *bytes = malloc(len + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(read(fd, bytes, len + 1), len);
	assert_pattern(bytes, off, len);
	close(fd);
	free(bytes);
}

static struct usp_file *open_as(const char *spec, unsigned mode)
{
	struct usp_file *file = NULL;

	assert_int_equal(usp_open(spec, &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = mode},
				  &file, NULL),
			 0);
	return file;
}

static int open_error(const char *spec, unsigned mode, const char **ret_why)
{
	struct usp_file *file = NULL;
	int ret = usp_open(spec, &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = mode}, &file,
			   ret_why);

	assert_true(ret < 0);
	assert_null(file);
	return ret;
}

/* Everything from in to out through a pipe of large slots; the bytes moved. */
static size_t copy_all(struct usp_file *in, struct usp_file *out)
{
	struct usp_file *end[2];
	size_t done = 0;
	ssize_t len;

	assert_int_equal(usp_pipe_open(NULL, end), 0);
	while ((len = usp_splice(in, NULL, end[1], NULL, 1 << 20, 0)) > 0) {
		for (ssize_t left = len, part; left > 0; left -= part) {
			part = usp_splice(end[0], NULL, out, NULL, (size_t)left, 0);
			assert_true(part > 0);
		}
		done += (size_t)len;
	}
	assert_int_equal(len, 0);
	close_pipe(end);
	return done;
}

/* --- A child, for what would disturb this process. Its CHECKs print the line that failed. ------------------ */

#define CHECK(condition)                                                        \
	do {                                                                    \
		if (!(condition)) {                                             \
			fprintf(stderr, "line %d: " #condition "\n", __LINE__); \
			end_child(1);                                           \
		}                                                               \
	} while (0)

static void in_child(void (*run)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(60);
		run();
		end_child(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void become_nobody(void)
{
	CHECK(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
}

static void skip_unless_root(void)
{
	if (geteuid() != 0)
		skip();
}

/* --- regular -------------------------------------------------------------------------------------------- */

static void a_file_arrives_whole_through_a_pipe(void **state)
{
	struct usp_file *in = open_as(make_file("in", ODD_LEN), USP_READ), *out = open_as(path_of("out"), USP_WRITE);

	(void)state;
	assert_string_equal(usp_file_type(in), "regular");
	assert_int_equal(copy_all(in, out), ODD_LEN);
	assert_int_equal(usp_file_sync(out), 0);
	usp_file_put(in);
	usp_file_put(out);
	assert_file_is(path_of("out"), 0, ODD_LEN);
}

static void a_new_file_has_the_permissions_asked_for(void **state)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE, .creat_mode = 0600};
	mode_t mask = umask(022);
	struct usp_file *file;
	struct stat st;

	(void)state;
	usp_file_put(open_as(path_of("default"), USP_WRITE));
	assert_int_equal(usp_open(path_of("private"), &params, &file, NULL), 0);
	usp_file_put(file);
	umask(mask);
	assert_int_equal(stat(path_of("default"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	assert_int_equal(stat(path_of("private"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_sink_that_was_asked_to_append_keeps_its_bytes_and_grows(void **state)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE, .append = true};
	const struct usp_open_params reading = {.size = sizeof(reading), .mode = USP_READ, .append = true};
	const char *path = make_file("out", 100);
	struct usp_file *file;
	const char *why;
	struct stat st;

	(void)state;
	assert_int_equal(usp_open(path, &params, &file, NULL), 0);
	assert_true(usp_file_flags(file) & USP_APPEND);
	assert_int_equal(usp_write(file, "more", 4), 4);
	usp_file_put(file);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 104);
	assert_int_equal(truncate(path, 100), 0);
	assert_file_is(path, 0, 100);
	assert_int_equal(usp_open(path, &reading, &file, &why), -EINVAL);
	assert_non_null(why);
	assert_int_equal(usp_open("/dev/null", &params, &file, NULL), 0);
	usp_file_put(file);
}

static void nothing_is_made_through_a_link_that_leads_nowhere(void **state)
{
	const char *link = path_of("link"), *place = path_of("place"), *why;
	struct usp_file *file;

	(void)state;
	assert_int_equal(symlink(place, link), 0);
	assert_int_equal(usp_open(link,
				  &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
				  &file, &why),
			 -ENOENT);
	assert_non_null(why);
	assert_int_equal(access(place, F_OK), -1);
	assert_int_equal(usp_open(link,
				  &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ},
				  &file, &why),
			 -ENOENT);
	assert_non_null(why);
	assert_int_equal(usp_open(path_of("new"),
				  &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ},
				  &file, &why),
			 -ENOENT);
	assert_null(why);
	make_file("place", 10);
	usp_file_put(open_as(link, USP_WRITE));
	assert_file_is(place, 0, 0);
}

static void a_sink_is_truncated_unless_its_bytes_are_kept(void **state)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE, .keep_bytes = true};
	const char *path = make_file("out", 100);
	struct usp_file *file;

	(void)state;
	assert_int_equal(usp_open(path, &params, &file, NULL), 0);
	usp_file_put(file);
	assert_file_is(path, 0, 100);
	usp_file_put(open_as(path, USP_READ));
	assert_file_is(path, 0, 100);
	usp_file_put(open_as(path, USP_WRITE));
	assert_file_is(path, 0, 0);
}

static void a_missing_file_is_enoent_and_not_made(void **state)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE, .no_create = true};
	struct usp_file *file;

	(void)state;
	assert_int_equal(open_error(path_of("missing"), USP_READ, NULL), -ENOENT);
	assert_int_equal(usp_open(path_of("missing"), &params, &file, NULL), -ENOENT);
	assert_int_equal(access(path_of("missing"), F_OK), -1);
	assert_int_equal(open_error(path_of("no/such/dir"), USP_WRITE, NULL), -ENOENT);
	assert_int_equal(open_error("file:", USP_READ, NULL), -EINVAL);
	assert_int_equal(open_error("", USP_READ, NULL), -EINVAL);
}

static void a_file_that_must_be_made_is_not_opened(void **state)
{
	struct usp_open_params params = {.size = sizeof(params), .mode = USP_WRITE, .must_create = true};
	struct usp_file *file;

	(void)state;
	assert_int_equal(usp_open(path_of("made"), &params, &file, NULL), 0);
	assert_int_equal(usp_write(file, "once", 4), 4);
	usp_file_put(file);
	assert_int_equal(usp_open(path_of("made"), &params, &file, NULL), -EEXIST);
	assert_int_equal(symlink("nowhere", path_of("link to nowhere")), 0);
	assert_int_equal(usp_open(path_of("link to nowhere"), &params, &file, NULL), -EEXIST);
	params.mode = USP_READ;
	assert_int_equal(usp_open(path_of("made"), &params, &file, NULL), -EINVAL);
	assert_int_equal(unlink(path_of("link to nowhere")), 0);
}

static void a_directory_is_eisdir(void **state)
{
	struct usp_file *file;
	int fd = open(dir, O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(open_error(dir, USP_READ, NULL), -EISDIR);
	assert_int_equal(open_error(dir, USP_WRITE, NULL), -EISDIR);
	assert_int_equal(usp_open_fd(fd, USP_READ, "dir", &file), -EISDIR);
	close(fd);
}

static void open_as_nobody(void)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	struct usp_file *file;

	become_nobody();
	CHECK(usp_open(path_of("secret"), &params, &file, NULL) == -EACCES);
	CHECK(usp_open(path_of("new"),
		       &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE}, &file,
		       NULL) == -EACCES);
	CHECK(usp_open(path_of("public"), &params, &file, NULL) == 0);
	usp_file_put(file);
}

static void an_unreadable_file_is_eacces(void **state)
{
	(void)state;
	skip_unless_root();
	assert_int_equal(chmod(make_file("secret", 1), 0600), 0);
	make_file("public", 1);
	in_child(open_as_nobody);
}

static void appending_goes_behind_what_others_wrote(void **state)
{
	struct usp_file *first, *second;
	char spec[80];

	(void)state;
	snprintf(spec, sizeof(spec), "%s,append", make_file("log", 10));
	first = open_as(spec, USP_WRITE);
	second = open_as(spec, USP_WRITE);
	assert_int_equal(usp_file_flags(first), USP_APPEND);
	for (unsigned i = 1; i < 5; i++)
		put_bytes(i % 2 ? first : second, 10 * i, 10);
	usp_file_put(first);
	usp_file_put(second);
	assert_file_is(path_of("log"), 0, 50);
}

static void a_file_that_appends_is_no_sink_for_splice(void **state)
{
	struct usp_file *out, *end[2];
	char spec[80];

	(void)state;
	snprintf(spec, sizeof(spec), "%s,append", path_of("log"));
	out = open_as(spec, USP_WRITE);
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, out, NULL, 10, 0), -EINVAL);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	usp_file_put(out);
}

static void options_are_checked_for_the_type_and_direction(void **state)
{
	static const struct {
		const char *name, *options;
		unsigned mode;
	} specs[] = {
		{"a", "append", USP_READ},	 {"a", "append=1", USP_WRITE},	{"a", "direct=1", USP_READ},
		{"a", "direct,bogus", USP_READ}, {"fifo", "append", USP_WRITE},
	};

	(void)state;
	make_file("a", 1);
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		const char *why = NULL;
		char spec[80];

		snprintf(spec, sizeof(spec), "%s,%s", path_of(specs[i].name), specs[i].options);
		assert_int_equal(open_error(spec, specs[i].mode, &why), -EINVAL);
		assert_non_null(why);
	}
	assert_int_equal(open_error("/dev/null,append", USP_WRITE, NULL), -EINVAL);
	assert_file_is(path_of("a"), 0, 1);
}

static void a_socket_in_the_file_system_is_refused_with_advice(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *why = NULL;

	(void)state;
	strcpy(addr.sun_path, path_of("socket"));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(open_error(path_of("socket"), USP_READ, &why), -ENXIO);
	assert_non_null(strstr(why, "unix:"));
	close(fd);
}

static void a_file_without_a_length_is_read_to_its_end(void **state)
{
	struct usp_file *in = open_as("/proc/version", USP_READ), *out = open_as("mem:", USP_READ | USP_WRITE);
	char ours[512], theirs[512];
	int fd = open("/proc/version", O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, theirs, sizeof(theirs));

	(void)state;
	close(fd);
	assert_int_equal(copy_all(in, out), len);
	assert_int_equal(usp_file_seek(out, 0, SEEK_SET), 0);
	assert_int_equal(usp_read(out, ours, sizeof(ours)), len);
	assert_memory_equal(ours, theirs, (size_t)len);
	usp_file_put(in);
	usp_file_put(out);
}

/* The kernel takes one write(2) for the name of a thread; it has positions for readers only, and what is given an offset fails. */
static void a_file_that_has_positions_for_its_readers_only_is_written_in_order(void **state)
{
	struct usp_file *file = open_as("/proc/self/comm", USP_READ | USP_WRITE), *end[2];
	char name[16] = "", was[16] = "";
	int64_t off = 0;

	(void)state;
	assert_true(usp_read(file, was, sizeof(was)) > 0);
	assert_int_equal(usp_write(file, "usplice-1", 9), 9);
	assert_int_equal(usp_pread(file, name, sizeof(name), 0), 10);
	assert_string_equal(name, "usplice-1\n");
	open_pipe(end, 16, 0);
	assert_int_equal(usp_write(end[1], "usplice-2", 9), 9);
	assert_int_equal(usp_splice(end[0], NULL, file, &off, 9, 0), -ESPIPE);
	assert_int_equal(off, 0);
	assert_int_equal(usp_splice(end[0], NULL, file, NULL, 9, 0), 9);
	assert_int_equal(usp_file_seek(file, 0, SEEK_SET), 0);
	assert_int_equal(usp_read(file, name, sizeof(name)), 10);
	assert_string_equal(name, "usplice-2\n");
	assert_int_equal(usp_write(file, was, strcspn(was, "\n")), (int)strcspn(was, "\n"));
	close_pipe(end);
	usp_file_put(file);
}

static void fill_a_small_file_system(void)
{
	struct usp_file *in, *out, *end[2];
	size_t done = 0;
	ssize_t ret;

	CHECK(unshare(CLONE_NEWNS) == 0);
	CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	CHECK(mount("none", dir, "tmpfs", 0, "size=64k") == 0);
	CHECK(usp_open("zero:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ},
		       &in, NULL) == 0);
	CHECK(usp_open(path_of("out"),
		       &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE}, &out,
		       NULL) == 0);
	CHECK(usp_pipe_open(NULL, end) == 0);
	CHECK(usp_splice(in, NULL, end[1], NULL, 100000, 0) == 100000);
	while ((ret = usp_splice(end[0], NULL, out, NULL, 100000, 0)) > 0)
		done += (size_t)ret;
	CHECK(ret == -ENOSPC);
	CHECK(done > 0 && done <= 65536);
	CHECK(usp_pipe_bytes(end[0]) == (ssize_t)(100000 - done));
	CHECK(usp_file_seek(out, 0, SEEK_CUR) == (int64_t)done);
}

static void a_full_disk_is_enospc_and_loses_nothing(void **state)
{
	(void)state;
	skip_unless_root();
	in_child(fill_a_small_file_system);
}

/* --- regular, direct -------------------------------------------------------------------------------------- */

static struct usp_file *open_direct(const char *path, unsigned mode)
{
	struct usp_file *file;
	const char *why = NULL;
	char spec[80];

	snprintf(spec, sizeof(spec), "%s,direct", path);
	if (usp_open(spec, &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = mode}, &file,
		     &why) == -EINVAL)
		skip();
	assert_int_equal(usp_file_flags(file), USP_DIRECT);
	return file;
}

static void a_direct_copy_of_odd_length_arrives_whole(void **state)
{
	struct usp_file *in = open_direct(make_file("in", ODD_LEN), USP_READ),
			*out = open_direct(path_of("out"), USP_WRITE);

	(void)state;
	assert_int_equal(copy_all(in, out), ODD_LEN);
	assert_true(fcntl(usp_file_fd(out), F_GETFL) & O_DIRECT);
	usp_file_put(in);
	usp_file_put(out);
	assert_file_is(path_of("out"), 0, ODD_LEN);
}

static void direct_writes_of_any_alignment_arrive_whole(void **state)
{
	struct usp_file *out = open_direct(path_of("out"), USP_WRITE);
	static const size_t lens[] = {100, 5000, 1, 4096, 65536, 3, 20000};
	unsigned char *base = NULL;
	size_t off = 0;

	(void)state;
	assert_int_equal(posix_memalign((void **)&base, PAGE, 1 << 17), 0);
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		unsigned char *from = base + (i % 2 ? 0 : 7);

		pattern_fill(from, off, lens[i]);
		for (size_t done = 0; done < lens[i];) {
			ssize_t ret = usp_write(out, from + done, lens[i] - done);

			assert_true(ret > 0);
			done += (size_t)ret;
		}
		off += lens[i];
	}
	free(base);
	usp_file_put(out);
	assert_file_is(path_of("out"), 0, off);
}

static void direct_reads_of_any_alignment_give_the_bytes(void **state)
{
	struct usp_file *in = open_direct(make_file("in", 3 * PAGE + 5), USP_READ);
	unsigned char bytes[3 * PAGE];
	int64_t pos = 0;

	(void)state;
	while (pos < 3 * PAGE + 5) {
		ssize_t ret = usp_read(in, bytes + 1, 1000 + (size_t)pos % 3000);

		assert_true(ret > 0);
		assert_pattern(bytes + 1, (uint64_t)pos, (size_t)ret);
		pos += ret;
	}
	assert_int_equal(usp_read(in, bytes, sizeof(bytes)), 0);
	usp_file_put(in);
}

static void direct_where_there_is_none_is_refused_with_a_reason(void **state)
{
	const char *why = NULL;

	(void)state;
	assert_int_equal(open_error("/proc/version,direct", USP_READ, &why), -EINVAL);
	assert_non_null(strstr(why, "direct"));
}

static void after_a_misaligned_piece_direct_writes_are_aligned_again(void **state)
{
	struct usp_file *out = open_direct(path_of("out"), USP_WRITE);
	unsigned char *base = NULL;

	(void)state;
	assert_int_equal(posix_memalign((void **)&base, PAGE, 2 * PAGE), 0);
	pattern_fill(base, 0, 2 * PAGE);
	assert_int_equal(usp_write(out, base, 100), 100);
	assert_int_equal(usp_write(out, base + 100, 2 * PAGE - 100), PAGE - 100);
	assert_int_equal(usp_write(out, base + PAGE, PAGE), PAGE);
	free(base);
	usp_file_put(out);
	assert_file_is(path_of("out"), 0, 2 * PAGE);
}

/* The kernel would refuse, or stop at the first misaligned piece. */
static void files_that_the_kernel_cannot_splice_are_not_offered_to_it(void **state)
{
	static const struct {
		const char *spec;
		unsigned mode;
		bool can_splice;
	} cases[] = {
		{"a", USP_READ, true},	       {"a", USP_WRITE, true},	       {"a,append", USP_WRITE, false},
		{"a,direct", USP_READ, false}, {"a,direct", USP_WRITE, false},
	};

	(void)state;
	make_file("a", PAGE);
	usp_file_put(open_direct(path_of("a"), USP_READ)); /* skips where there is no O_DIRECT */
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct usp_file *file = open_as(path_of(cases[i].spec), cases[i].mode);

		assert_int_equal(!!(file->traits & USP_FILE_SPLICEABLE), cases[i].can_splice);
		usp_file_put(file);
	}
}

/* --- Adopted descriptors ----------------------------------------------------------------------------------- */

static void an_adopted_file_goes_on_at_its_offset_and_leaves_it_at_the_end(void **state)
{
	int fd = open(make_file("in", 1000), O_RDONLY | O_CLOEXEC), mine = dup(fd);
	struct usp_file *file;

	(void)state;
	assert_int_equal(lseek(fd, 100, SEEK_SET), 100);
	assert_int_equal(usp_open_fd(fd, USP_READ, "input", &file), 0);
	assert_string_equal(usp_file_spec(file), "input");
	take_bytes(file, 100, 50);
	usp_file_put(file);
	assert_int_equal(lseek(mine, 0, SEEK_CUR), 150);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	close(mine);
}

static void an_adopted_file_that_appends_appends(void **state)
{
	int fd = open(make_file("log", 10), O_WRONLY | O_APPEND | O_CLOEXEC);
	struct usp_file *file;

	(void)state;
	assert_int_equal(usp_open_fd(fd, USP_WRITE, "log", &file), 0);
	assert_int_equal(usp_file_flags(file), USP_APPEND);
	put_bytes(file, 10, 10);
	usp_file_put(file);
	assert_file_is(path_of("log"), 0, 20);
}

/* Whoever shares the description writes behind us, and goes on behind that. */
static void the_position_of_an_adopted_file_that_appends_is_the_kernels(void **state)
{
	int fd = open(make_file("log", 10), O_RDWR | O_APPEND | O_CLOEXEC), shared = dup(fd);
	unsigned char bytes[10];
	struct usp_file *file;

	(void)state;
	assert_int_equal(usp_open_fd(fd, USP_READ | USP_WRITE, "log", &file), 0);
	put_bytes(file, 10, 10);
	pattern_fill(bytes, 20, sizeof(bytes));
	assert_int_equal(write(shared, bytes, sizeof(bytes)), sizeof(bytes));
	assert_int_equal(lseek(shared, 0, SEEK_CUR), 30);
	usp_file_put(file);
	assert_int_equal(lseek(shared, 0, SEEK_CUR), 30);
	close(shared);
	assert_file_is(path_of("log"), 0, 30);
}

static void a_descriptor_that_does_not_fit_stays_with_the_caller(void **state)
{
	const char *path = make_file("a", 1);
	struct {
		int fd;
		unsigned mode;
		int error;
	} cases[] = {
		{open(path, O_RDONLY | O_CLOEXEC), USP_WRITE, -EBADF},
		{open(path, O_WRONLY | O_CLOEXEC), USP_READ, -EBADF},
		{open(path, O_RDONLY | O_CLOEXEC), USP_READ | USP_WRITE, -EBADF},
		{open(path, O_PATH | O_CLOEXEC), USP_READ, -EBADF},
		{eventfd(0, EFD_CLOEXEC), USP_READ, -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct usp_file *file = NULL;

		assert_int_equal(usp_open_fd(cases[i].fd, cases[i].mode, "a", &file), cases[i].error);
		assert_null(file);
		assert_true(fcntl(cases[i].fd, F_GETFD) >= 0);
		close(cases[i].fd);
	}
}

/* --- block --------------------------------------------------------------------------------------------------- */

/* A loop device over a file of this test, or skip. It goes away with its last descriptor, also when a test fails. */
static int make_loop(char ret_path[32], const char *backing)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), fd = open(backing, O_RDWR | O_CLOEXEC);
	const struct loop_info64 info = {.lo_flags = LO_FLAGS_AUTOCLEAR};
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE), loop;

	snprintf(ret_path, 32, "/dev/loop%d", number);
	loop = number < 0 ? -1 : open(ret_path, O_RDWR | O_CLOEXEC);
	if (loop >= 0 && (ioctl(loop, LOOP_SET_FD, fd) < 0 || ioctl(loop, LOOP_SET_STATUS64, &info) < 0)) {
		close(loop);
		loop = -1;
	}
	close(control);
	close(fd);
	if (loop < 0)
		skip();
	return loop;
}

static void a_block_device_is_read_and_written_at_its_positions(void **state)
{
	char path[32], spec[40];
	int loop = make_loop(path, make_file("disk", 16 * PAGE));
	struct usp_file *file = open_as(path, USP_READ | USP_WRITE), *direct;
	unsigned char *base = NULL;

	(void)state;
	assert_string_equal(usp_file_type(file), "block");
	take_bytes(file, 0, 10 * PAGE);
	assert_int_equal(usp_file_seek(file, 16 * PAGE - 10, SEEK_SET), 16 * PAGE - 10);
	assert_int_equal(usp_write(file, "0123456789abc", 13), 10);
	assert_int_equal(usp_write(file, "abc", 3), -ENOSPC);
	assert_int_equal(usp_file_sync(file), 0);
	usp_file_put(file);
	snprintf(spec, sizeof(spec), "%s,direct", path);
	direct = open_as(spec, USP_READ);
	assert_int_equal(posix_memalign((void **)&base, PAGE, 4 * PAGE), 0);
	assert_int_equal(usp_read(direct, base, 3 * PAGE + 1), 3 * PAGE); /* whole blocks first */
	assert_int_equal(usp_read(direct, base + 3 * PAGE, 1), 1);
	assert_pattern(base, 0, 3 * PAGE + 1);
	free(base);
	usp_file_put(direct);
	close(loop);
}

static void a_block_device_without_a_medium_is_refused(void **state)
{
	char path[32];
	int loop = make_loop(path, make_file("disk", 16 * PAGE));

	(void)state;
	ioctl(loop, LOOP_CLR_FD, 0);
	close(loop);
	assert_int_equal(open_error(path, USP_READ, NULL), -ENOMEDIUM);
}

/* --- chardev --------------------------------------------------------------------------------------------------- */

static void the_null_device_is_empty_and_drops_by_reference(void **state)
{
	struct usp_file *in = open_as("/dev/null", USP_READ), *out = open_as("/dev/null", USP_WRITE), *end[2];
	struct usp_hop hop = {.size = sizeof(hop)};

	(void)state;
	assert_string_equal(usp_file_type(in), "chardev");
	open_pipe(end, 4, 0);
	assert_int_equal(usp_splice(in, NULL, end[1], NULL, PAGE, 0), 0);
	put_bytes(end[1], 0, PAGE);
	assert_int_equal(usp_splice(end[0], NULL, out, NULL, PAGE, 0), PAGE);
	usp_file_hop(out, USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], PAGE);
	assert_int_equal(usp_file_sync(out), 0);
	close_pipe(end);
	usp_file_put(in);
	usp_file_put(out);
}

/* Copy len bytes of a device to a file in memory on the automatic lane: the lane of the hop that reads. */
static const char *copy_device(struct usp_file *in, uint64_t len)
{
	struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_COUNT, .count = (int64_t)len};
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_file *out = open_as("/dev/null", USP_WRITE);
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_pump *pump;

	assert_int_equal(usp_pump_new(in, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, out), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_pump_status(pump, &status);
	assert_int_equal(status.bytes, len);
	assert_int_equal(usp_pump_hop(pump, 0, &hop), 0);
	usp_pump_free(pump);
	usp_file_put(out);
	return hop.lane;
}

static void a_device_with_a_splice_hook_is_spliced(void **state)
{
	struct usp_file *in = open_as("/dev/urandom", USP_READ), *zero = open_as("/dev/zero", USP_READ);

	(void)state;
	assert_string_equal(copy_device(in, 300000), "kernel");
	assert_string_equal(copy_device(zero, 300000), "user"); /* the devices of memory are read */
	usp_file_put(in);
	usp_file_put(zero);
}

/* The first splice of the run is refused before a byte has moved. The device is read then. */
static void a_device_without_a_splice_hook_is_read(void **state)
{
	struct usp_file *in, *end[2];
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[8192];

	(void)state;
	if (fd < 0 || read(fd, record, sizeof(record)) <= 0) {
		if (fd >= 0)
			close(fd);
		skip(); /* no log of the kernel here, or an empty one */
	}
	close(fd);
	in = open_as("/dev/kmsg", USP_READ);
	assert_true(in->traits & USP_FILE_SPLICEABLE);
	open_pipe(end, 4, 0);
	usp_file_side(in, USP_READ)->lane = &usp_kernel_lane;
	assert_in_range(usp_splice(in, NULL, end[1], NULL, PAGE, 0), 1, PAGE); /* a record */
	assert_null(usp_file_side(in, USP_READ)->lane);
	close_pipe(end);
	usp_file_put(in);
}

static void other_files_are_no_rings(void **state)
{
	struct usp_ring_stat stat = {.size = sizeof(stat)};
	struct usp_file *file = open_as("/dev/null", USP_READ | USP_WRITE);
	struct usp_gift *gift;
	char bytes[8];

	(void)state;
	assert_int_equal(usp_gift_new(bytes, sizeof(bytes), NULL, NULL, &gift), 0);
	assert_int_equal(usp_ring_memory(file, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(usp_ring_memory(NULL, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(usp_ring_lend(file, gift, 0, 1), -EINVAL);
	assert_int_equal(usp_ring_offer(file, 0, NULL, NULL), -EINVAL);
	assert_int_equal(usp_ring_reap(file, 0), -EINVAL);
	assert_int_equal(usp_ring_end(file), -EINVAL);
	assert_int_equal(usp_ring_stat(file, &stat), -EINVAL);
	assert_int_equal(open_error("ring:/dev/null", USP_READ, NULL), -ENOTTY);
	usp_gift_put(gift);
	usp_file_put(file);
}

static void the_zero_device_reads_as_zeros_and_drops(void **state)
{
	struct usp_file *file = open_as("/dev/zero", USP_READ | USP_WRITE), *end[2];
	unsigned char bytes[PAGE], zeros[PAGE] = {0};

	(void)state;
	open_pipe(end, 4, 0);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, PAGE, 0), PAGE);
	memset(bytes, 1, sizeof(bytes));
	assert_int_equal(usp_read(end[0], bytes, PAGE), PAGE);
	assert_memory_equal(bytes, zeros, PAGE);
	put_bytes(end[1], 0, PAGE);
	assert_int_equal(usp_splice(end[0], NULL, file, NULL, PAGE, 0), PAGE);
	close_pipe(end);
	usp_file_put(file);
}

static void the_full_device_is_enospc_and_loses_nothing(void **state)
{
	struct usp_file *full = open_as("/dev/full", USP_WRITE), *end[2];

	(void)state;
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 100);
	assert_int_equal(usp_splice(end[0], NULL, full, NULL, 100, 0), -ENOSPC);
	take_bytes(end[0], 0, 100);
	close_pipe(end);
	usp_file_put(full);
}

static void a_terminal_is_read_without_making_others_nonblocking(void **state)
{
	struct usp_file *file;
	int master, slave, mine;
	char text[16];

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	mine = dup(slave);
	assert_int_equal(usp_open_fd(slave, USP_READ, "tty", &file), 0);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	assert_int_equal(usp_read(file, text, sizeof(text)), -EAGAIN);
	assert_int_equal(usp_blocked_side(file, file) & USP_READ, USP_READ);
	assert_int_equal(write(master, "line\n", 5), 5);
	assert_int_equal(usp_file_set_flags(file, 0), 0);
	assert_int_equal(usp_read(file, text, sizeof(text)), 5);
	assert_memory_equal(text, "line\n", 5);
	assert_false(fcntl(mine, F_GETFL) & O_NONBLOCK);
	assert_int_equal(usp_file_sync(file), 0); /* a terminal has no storage to wait for */
	usp_file_put(file);
	close(mine);
	close(master);
}

/* The master of a terminal cannot be opened again: that would make another terminal. */
static void a_device_that_cannot_be_opened_twice_is_asked_before_it_blocks(void **state)
{
	struct usp_file *file;
	int master, slave;
	char text[16];

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(usp_open_fd(master, USP_READ | USP_WRITE, "master", &file), 0);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	assert_int_equal(usp_read(file, text, sizeof(text)), -EAGAIN);
	assert_int_equal(write(slave, "out", 3), 3);
	assert_int_equal(usp_read(file, text, sizeof(text)), 3);
	assert_int_equal(usp_write(file, "", 0), 0);
	assert_int_equal(usp_write(file, "in\n", 3), 3);
	assert_int_equal(read(slave, text, sizeof(text)), 3);
	usp_file_put(file);
	close(slave);
}

/* --- fifo ------------------------------------------------------------------------------------------------------- */

static void an_adopted_pipe_does_not_make_others_nonblocking(void **state)
{
	struct usp_file *file[2];
	int fds[2], mine[2];
	unsigned char byte;

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	for (unsigned i = 0; i < 2; i++) {
		mine[i] = dup(fds[i]);
		assert_int_equal(usp_open_fd(fds[i], i ? USP_WRITE : USP_READ, "pipe", &file[i]), 0);
		assert_int_equal(usp_file_fd(file[i]), fds[i]);
		assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
		assert_false(fcntl(mine[i], F_GETFL) & O_NONBLOCK);
	}
	assert_string_equal(usp_file_type(file[0]), "fifo");
	put_bytes(file[1], 0, 1000);
	take_bytes(file[0], 0, 1000);
	assert_int_equal(usp_file_set_flags(file[0], USP_NONBLOCK), 0);
	assert_int_equal(usp_read(file[0], &byte, 1), -EAGAIN);
	for (unsigned i = 0; i < 2; i++) {
		usp_file_put(file[i]);
		close(mine[i]);
	}
}

static void closing_an_adopted_pipe_ends_it_for_its_reader(void **state)
{
	struct usp_file *file;
	unsigned char bytes[4];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(usp_open_fd(fds[1], USP_WRITE, "pipe", &file), 0);
	put_bytes(file, 0, 3);
	usp_file_put(file);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 3);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 0);
	close(fds[0]);
}

static void a_pipe_without_readers_is_epipe_without_a_signal(void **state)
{
	struct usp_file *file, *end[2];
	int fds[2];

	(void)state;
	assert_true(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(usp_open_fd(fds[1], USP_WRITE, "pipe", &file), 0);
	close(fds[0]);
	assert_int_equal(usp_write(file, "x", 1), -EPIPE);
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, file, NULL, 10, 0), -EPIPE);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	usp_file_put(file);
}

static void a_packet_pipe_stays_one(void **state)
{
	struct usp_file *file;
	unsigned char bytes[8];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC | O_DIRECT), 0);
	assert_int_equal(usp_open_fd(fds[1], USP_WRITE, "pipe", &file), 0);
	put_bytes(file, 0, 2);
	put_bytes(file, 2, 3);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 2);
	assert_int_equal(read(fds[0], bytes, sizeof(bytes)), 3);
	usp_file_put(file);
	close(fds[0]);
}

static ssize_t open_and_read_fifo(void *arg)
{
	struct usp_file *file;
	unsigned char bytes[16];
	ssize_t len = usp_open(arg, &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ},
			       &file, NULL);

	if (len < 0)
		return len;
	len = usp_read(file, bytes, sizeof(bytes));
	usp_file_put(file);
	return len;
}

static void opening_a_fifo_waits_for_the_other_side(void **state)
{
	const char *path = path_of("fifo");
	struct worker worker;
	struct usp_file *out;

	(void)state;
	assert_int_equal(mkfifo(path, 0600), 0);
	worker_start(&worker, open_and_read_fifo, (void *)path);
	worker_await_sleep(&worker);
	out = open_as(path, USP_WRITE);
	worker_await_sleep(&worker); /* now in usp_read: an open FIFO without bytes is not at its end */
	put_bytes(out, 0, 5);
	assert_int_equal(worker_join(&worker), 5);
	usp_file_put(out);
}

/* Nobody may open root's pipes again, so these two stay blocking. */
static void use_foreign_pipe(void)
{
	struct usp_file *in, *out;
	unsigned char bytes[3 * PAGE] = {0};
	size_t nr_written = 0;
	int fds[2];
	ssize_t ret;

	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	become_nobody();
	CHECK(usp_open_fd(fds[0], USP_READ, "in", &in) == 0);
	CHECK(usp_open_fd(fds[1], USP_WRITE, "out", &out) == 0);
	CHECK(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK) && !(fcntl(fds[1], F_GETFL) & O_NONBLOCK));
	CHECK(usp_file_set_flags(in, USP_NONBLOCK) == 0 && usp_file_set_flags(out, USP_NONBLOCK) == 0);
	CHECK(usp_read(in, bytes, 1) == -EAGAIN);
	while ((ret = usp_write(out, bytes, sizeof(bytes))) > 0)
		nr_written += (size_t)ret;
	CHECK(ret == -EAGAIN && nr_written == 16 * PAGE);
	CHECK(usp_read(in, bytes, PAGE) == PAGE);
	CHECK(usp_write(out, bytes, sizeof(bytes)) == PAGE);
}

static void a_pipe_that_cannot_be_opened_again_is_asked_before_it_blocks(void **state)
{
	(void)state;
	skip_unless_root();
	in_child(use_foreign_pipe);
}

/* --- Standard input and output ------------------------------------------------------------------------------------ */

static void read_standard_input(void)
{
	struct usp_file *file;
	unsigned char bytes[64];
	struct stat st;

	CHECK(dup2(open(path_of("in"), O_RDONLY | O_CLOEXEC), 0) == 0);
	CHECK(usp_open("-", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ}, &file,
		       NULL) == 0);
	CHECK(usp_file_fd(file) == 0 && strcmp(usp_file_spec(file), "-") == 0);
	CHECK(usp_read(file, bytes, sizeof(bytes)) == 64 && pattern_is(bytes, 0, 64));
	usp_file_put(file);
	CHECK(fstat(0, &st) == 0 && st.st_rdev == makedev(1, 3));
}

static void standard_input_is_read_and_replaced_by_dev_null(void **state)
{
	(void)state;
	make_file("in", 100);
	in_child(read_standard_input);
}

static void end_standard_output(void)
{
	struct usp_file *file;
	unsigned char bytes[8];
	int fds[2];

	CHECK(pipe2(fds, O_CLOEXEC) == 0);
	CHECK(dup2(fds[1], 1) == 1 && close(fds[1]) == 0);
	CHECK(usp_open("-", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE}, &file,
		       NULL) == 0);
	CHECK(usp_write(file, "abc", 3) == 3);
	usp_file_put(file);
	CHECK(read(fds[0], bytes, sizeof(bytes)) == 3);
	CHECK(read(fds[0], bytes, sizeof(bytes)) == 0); /* although this process lives on */
}

static void closing_standard_output_ends_it_for_its_reader(void **state)
{
	(void)state;
	in_child(end_standard_output);
}

static void open_closed_standard_input(void)
{
	struct usp_file *file;

	close(0);
	CHECK(usp_open("-", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_READ}, &file,
		       NULL) == -EBADF);
}

static void standard_input_that_is_closed_is_ebadf(void **state)
{
	const char *why = NULL;

	(void)state;
	in_child(open_closed_standard_input);
	assert_int_equal(open_error("-", USP_READ | USP_WRITE, &why), -EINVAL);
	assert_non_null(why);
}

int main(void)
{
	const struct CMUnitTest regular[] = {
		FILE_CASE(a_file_arrives_whole_through_a_pipe),
		FILE_CASE(a_new_file_has_the_permissions_asked_for),
		FILE_CASE(a_sink_is_truncated_unless_its_bytes_are_kept),
		FILE_CASE(a_sink_that_was_asked_to_append_keeps_its_bytes_and_grows),
		FILE_CASE(nothing_is_made_through_a_link_that_leads_nowhere),
		FILE_CASE(a_missing_file_is_enoent_and_not_made),
		FILE_CASE(a_file_that_must_be_made_is_not_opened),
		FILE_CASE(a_directory_is_eisdir),
		FILE_CASE(an_unreadable_file_is_eacces),
		FILE_CASE(appending_goes_behind_what_others_wrote),
		FILE_CASE(a_file_that_appends_is_no_sink_for_splice),
		FILE_CASE(options_are_checked_for_the_type_and_direction),
		FILE_CASE(a_socket_in_the_file_system_is_refused_with_advice),
		FILE_CASE(a_file_without_a_length_is_read_to_its_end),
		FILE_CASE(a_file_that_has_positions_for_its_readers_only_is_written_in_order),
		FILE_CASE(a_full_disk_is_enospc_and_loses_nothing),
		FILE_CASE(a_direct_copy_of_odd_length_arrives_whole),
		FILE_CASE(direct_writes_of_any_alignment_arrive_whole),
		FILE_CASE(direct_reads_of_any_alignment_give_the_bytes),
		FILE_CASE(after_a_misaligned_piece_direct_writes_are_aligned_again),
		FILE_CASE(direct_where_there_is_none_is_refused_with_a_reason),
		FILE_CASE(files_that_the_kernel_cannot_splice_are_not_offered_to_it),
		FILE_CASE(an_adopted_file_goes_on_at_its_offset_and_leaves_it_at_the_end),
		FILE_CASE(an_adopted_file_that_appends_appends),
		FILE_CASE(the_position_of_an_adopted_file_that_appends_is_the_kernels),
		FILE_CASE(a_descriptor_that_does_not_fit_stays_with_the_caller),
	};
	const struct CMUnitTest devices[] = {
		FILE_CASE(a_block_device_is_read_and_written_at_its_positions),
		FILE_CASE(a_block_device_without_a_medium_is_refused),
		FILE_CASE(the_null_device_is_empty_and_drops_by_reference),
		FILE_CASE(a_device_with_a_splice_hook_is_spliced),
		FILE_CASE(a_device_without_a_splice_hook_is_read),
		FILE_CASE(other_files_are_no_rings),
		FILE_CASE(the_zero_device_reads_as_zeros_and_drops),
		FILE_CASE(the_full_device_is_enospc_and_loses_nothing),
		FILE_CASE(a_terminal_is_read_without_making_others_nonblocking),
		FILE_CASE(a_device_that_cannot_be_opened_twice_is_asked_before_it_blocks),
	};
	const struct CMUnitTest streams[] = {
		FILE_CASE(an_adopted_pipe_does_not_make_others_nonblocking),
		FILE_CASE(closing_an_adopted_pipe_ends_it_for_its_reader),
		FILE_CASE(a_pipe_without_readers_is_epipe_without_a_signal),
		FILE_CASE(a_packet_pipe_stays_one),
		FILE_CASE(opening_a_fifo_waits_for_the_other_side),
		FILE_CASE(a_pipe_that_cannot_be_opened_again_is_asked_before_it_blocks),
		FILE_CASE(standard_input_is_read_and_replaced_by_dev_null),
		FILE_CASE(closing_standard_output_ends_it_for_its_reader),
		FILE_CASE(standard_input_that_is_closed_is_ebadf),
	};
	int nr_failed = 0;

	nr_failed += cmocka_run_group_tests_name("files: regular", regular, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("files: devices", devices, NULL, NULL);
	nr_failed += cmocka_run_group_tests_name("files: streams", streams, NULL, NULL);
	return nr_failed != 0;
}
