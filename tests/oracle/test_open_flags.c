/* SPDX-License-Identifier: MIT */
/*
 * test_open_flags - a descriptor that was opened with any flags is used, let go of, and used again: after each use its
 * offset, the length of the file and every byte must be what read(2), write(2) and splice(2) leave on a descriptor of the
 * same flags (N7).
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "support.h"

#define BLOCK 4096 /* what an O_DIRECT file takes from the kernel, too */
#define FILE_BLOCKS 4
#define FILE_BYTES ((size_t)FILE_BLOCKS * BLOCK)
#define ROUNDS 2
#define CONTENT_MAX (16 * FILE_BYTES)

/* What one opening does, with system calls and with a file over a dup of the descriptor: the result of its last call. */
struct act {
	const char *name;
	unsigned mode; /* needed of the descriptor */
	ssize_t (*kernel)(int fd);
	ssize_t (*ours)(struct usp_file *file);
};

static unsigned char *block; /* aligned */
static char paths[2][64];

/* --- With system calls ----------------------------------------------------------------------------------------------- */

static ssize_t result(ssize_t ret)
{
	return ret < 0 ? -errno : ret;
}

static ssize_t kernel_read(int fd)
{
	return result(read(fd, block, BLOCK));
}

static ssize_t kernel_write(int fd)
{
	pattern_fill(block, 7000, BLOCK);
	return result(write(fd, block, BLOCK));
}

static ssize_t kernel_splice(int in, int out)
{
	return result(splice(in, NULL, out, NULL, BLOCK, 0));
}

static ssize_t kernel_splice_out(int fd)
{
	int fds[2];
	ssize_t ret;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	ret = kernel_splice(fd, fds[1]);
	close(fds[0]);
	close(fds[1]);
	return ret;
}

static ssize_t kernel_splice_in(int fd)
{
	int fds[2];
	ssize_t ret;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pattern_fill(block, 9000, BLOCK);
	assert_int_equal(write(fds[1], block, BLOCK), BLOCK);
	ret = kernel_splice(fds[0], fd);
	close(fds[0]);
	close(fds[1]);
	return ret;
}

static ssize_t kernel_read_and_write(int fd)
{
	kernel_read(fd);
	return kernel_write(fd);
}

static ssize_t kernel_write_and_read(int fd)
{
	kernel_write(fd);
	return kernel_read(fd);
}

static ssize_t kernel_splice_out_and_write(int fd)
{
	kernel_splice_out(fd);
	return kernel_write(fd);
}

static ssize_t kernel_seek_and_read(int fd)
{
	lseek(fd, 2 * BLOCK, SEEK_SET);
	return kernel_read(fd);
}

static ssize_t kernel_nothing(int fd)
{
	(void)fd;
	return 0;
}

static ssize_t kernel_read_to_the_end(int fd)
{
	ssize_t done = 0, ret;

	while ((ret = kernel_read(fd)) > 0)
		done += ret;
	return ret < 0 ? ret : done;
}

/* --- With the library ------------------------------------------------------------------------------------------------ */

static ssize_t ours_read(struct usp_file *file)
{
	return usp_read(file, block, BLOCK);
}

static ssize_t ours_write(struct usp_file *file)
{
	pattern_fill(block, 7000, BLOCK);
	return usp_write(file, block, BLOCK);
}

static ssize_t ours_splice_out(struct usp_file *file)
{
	struct usp_file *end[2];
	ssize_t ret;

	open_pipe(end, 16, 0);
	ret = usp_splice(file, NULL, end[1], NULL, BLOCK, 0);
	close_pipe(end);
	return ret;
}

static ssize_t ours_splice_in(struct usp_file *file)
{
	struct usp_file *end[2];
	ssize_t ret;

	open_pipe(end, 16, 0);
	put_bytes(end[1], 9000, BLOCK);
	ret = usp_splice(end[0], NULL, file, NULL, BLOCK, 0);
	close_pipe(end);
	return ret;
}

static ssize_t ours_read_and_write(struct usp_file *file)
{
	ours_read(file);
	return ours_write(file);
}

static ssize_t ours_write_and_read(struct usp_file *file)
{
	ours_write(file);
	return ours_read(file);
}

static ssize_t ours_splice_out_and_write(struct usp_file *file)
{
	ours_splice_out(file);
	return ours_write(file);
}

static ssize_t ours_seek_and_read(struct usp_file *file)
{
	usp_file_seek(file, 2 * BLOCK, SEEK_SET);
	return ours_read(file);
}

static ssize_t ours_nothing(struct usp_file *file)
{
	(void)file;
	return 0;
}

static struct usp_file *open_as(const char *spec, unsigned mode)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = mode};
	struct usp_file *file = NULL;

	assert_int_equal(usp_open(spec, &params, &file, NULL), 0);
	return file;
}

/* The bytes that it moved. */
static ssize_t pump_run(struct usp_file *source, struct usp_file *sink, int64_t count)
{
	struct usp_pump_params params = {
		.size = sizeof(params), .flags = count < 0 ? 0 : USP_PUMP_COUNT, .count = count < 0 ? 0 : count};
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_pump *pump;
	int ret;

	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	ret = usp_pump_run(pump);
	usp_pump_status(pump, &status);
	usp_pump_free(pump);
	return ret < 0 ? ret : (ssize_t)status.bytes;
}

static ssize_t pump_out(struct usp_file *file, int64_t count)
{
	struct usp_file *null = open_as("null:", USP_WRITE);
	ssize_t ret = pump_run(file, null, count);

	usp_file_put(null);
	return ret;
}

static ssize_t ours_pump_out(struct usp_file *file)
{
	return pump_out(file, BLOCK);
}

static ssize_t ours_pump_to_the_end(struct usp_file *file)
{
	return pump_out(file, -1);
}

/* As the act of two writes: a sink appends where splice(2) would refuse to. */
static ssize_t ours_pump_in(struct usp_file *file)
{
	struct usp_file *end[2];
	ssize_t ret;

	open_pipe(end, 16, 0);
	put_bytes(end[1], 7000, BLOCK);
	ret = pump_run(end[0], file, BLOCK);
	close_pipe(end);
	return ret;
}

/* --- Side by side ---------------------------------------------------------------------------------------------------- */

static const struct act acts[] = {
	{"nothing", 0, kernel_nothing, ours_nothing},
	{"a read", USP_READ, kernel_read, ours_read},
	{"a write", USP_WRITE, kernel_write, ours_write},
	{"a splice out of it", USP_READ, kernel_splice_out, ours_splice_out},
	{"a splice into it", USP_WRITE, kernel_splice_in, ours_splice_in},
	{"a read and a write", USP_READ | USP_WRITE, kernel_read_and_write, ours_read_and_write},
	{"a write and a read", USP_READ | USP_WRITE, kernel_write_and_read, ours_write_and_read},
	{"a splice out and a write", USP_READ | USP_WRITE, kernel_splice_out_and_write, ours_splice_out_and_write},
	{"a seek and a read", USP_READ, kernel_seek_and_read, ours_seek_and_read},
	{"a pump out of it", USP_READ, kernel_read, ours_pump_out},
	{"a pump out of it to its end", USP_READ, kernel_read_to_the_end, ours_pump_to_the_end},
	{"a pump into it", USP_WRITE, kernel_write, ours_pump_in},
};

static const struct {
	int flag;
	const char *name;
} flags[] = {{O_APPEND, "O_APPEND"}, {O_DIRECT, "O_DIRECT"}, {O_NONBLOCK, "O_NONBLOCK"}, {O_SYNC, "O_SYNC"}};

static int flags_of(unsigned access, unsigned chosen)
{
	static const int accesses[] = {O_RDONLY, O_WRONLY, O_RDWR};
	int open_flags = accesses[access] | O_CLOEXEC;

	for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
		open_flags |= chosen & 1u << i ? flags[i].flag : 0;
	return open_flags;
}

static unsigned mode_of(int open_flags)
{
	int access = open_flags & O_ACCMODE;

	return (access == O_WRONLY ? 0 : USP_READ) | (access == O_RDONLY ? 0 : USP_WRITE);
}

static const char *describe_flags(int open_flags)
{
	static const char *const names[] = {[O_RDONLY] = "O_RDONLY", [O_WRONLY] = "O_WRONLY", [O_RDWR] = "O_RDWR"};
	static char text[64];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s", names[open_flags & O_ACCMODE]);

	for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
		if ((open_flags & flags[i].flag) == flags[i].flag)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "|%s", flags[i].name);
	}
	return text;
}

/* The same bytes anew, and a description in the middle of them. */
static int open_anew(const char *path, int open_flags)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	for (unsigned i = 0; i < FILE_BLOCKS; i++) {
		pattern_fill(block, i * BLOCK, BLOCK);
		assert_int_equal(write(fd, block, BLOCK), BLOCK);
	}
	close(fd);
	fd = open(path, open_flags);
	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, BLOCK, SEEK_SET), BLOCK);
	return fd;
}

static ssize_t run_ours(int fd, const struct act *act, unsigned mode)
{
	struct usp_file *file;
	ssize_t ret;

	assert_int_equal(usp_open_fd(dup(fd), mode, "shared", &file), 0);
	ret = act->ours(file);
	usp_file_put(file);
	return ret;
}

static size_t read_whole(const char *path, unsigned char *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, bytes, CONTENT_MAX);

	close(fd);
	assert_in_range(len, 0, CONTENT_MAX - 1);
	return (size_t)len;
}

static void compare(const int fds[2], const ssize_t ret[2], const struct act *first, const struct act *second)
{
	static unsigned char bytes[2][CONTENT_MAX];
	off_t off[2] = {lseek(fds[0], 0, SEEK_CUR), lseek(fds[1], 0, SEEK_CUR)};
	size_t len[2] = {read_whole(paths[0], bytes[0]), read_whole(paths[1], bytes[1])};

	if (ret[0] != ret[1])
		fail_msg("%s, then %s: the result is %zd for the kernel, %zd for us", first->name, second->name, ret[0],
			 ret[1]);
	if (off[0] != off[1])
		fail_msg("%s, then %s: the offset is %lld for the kernel, %lld for us", first->name, second->name,
			 (long long)off[0], (long long)off[1]);
	if (fcntl(fds[0], F_GETFL) != fcntl(fds[1], F_GETFL))
		fail_msg("%s, then %s: the flags of the description have changed", first->name, second->name);
	if (len[0] != len[1] || memcmp(bytes[0], bytes[1], len[0]) != 0)
		fail_msg("%s, then %s: the files differ", first->name, second->name);
}

/* The library is asked for all that the descriptor allows, or for what the act needs. */
static void play(int open_flags, const struct act *first, const struct act *second, bool asks_for_all)
{
	const struct act *const rounds[ROUNDS] = {first, second};
	const int fds[2] = {open_anew(paths[0], open_flags), open_anew(paths[1], open_flags)};

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned mode = asks_for_all || !rounds[i]->mode ? mode_of(open_flags) : rounds[i]->mode;
		ssize_t ret[2];

		ret[0] = rounds[i]->kernel(fds[0]);
		ret[1] = run_ours(fds[1], rounds[i], mode);
		compare(fds, ret, first, second);
	}
	close(fds[0]);
	close(fds[1]);
}

#define SYNC_STRIDE 7 /* of all pairs with O_SYNC, where each of many writes waits for the disk */

static unsigned nr_pairs, sync_stride;

/* A case for each set of flags: an alarm bounds each. */
struct flag_case {
	int open_flags;
	char name[160];
};

static void every_use_of_a_shared_descriptor_leaves_what_the_kernels_calls_leave(void **state)
{
	const struct flag_case *flag_case = *state;
	unsigned lacks = ~mode_of(flag_case->open_flags), stride = flag_case->open_flags & O_SYNC ? sync_stride : 1;

	for (unsigned i = 0; i < ARRAY_LEN(acts); i++) {
		for (unsigned j = 0; j < ARRAY_LEN(acts); j++) {
			if ((acts[i].mode | acts[j].mode) & lacks || (i * ARRAY_LEN(acts) + j) % stride)
				continue;
			play(flag_case->open_flags, &acts[i], &acts[j], true);
			play(flag_case->open_flags, &acts[i], &acts[j], false);
			nr_pairs++;
		}
	}
}

static bool has_direct_io(void)
{
	int fd = open(paths[0], O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

#define NR_ACCESSES 3
#define NR_FLAG_CASES (NR_ACCESSES << ARRAY_LEN(flags))

int main(void)
{
	static struct flag_case flag_cases[NR_FLAG_CASES];
	static struct CMUnitTest tests[NR_FLAG_CASES];
	int nr_failed = 77;

	sync_stride = getenv("OPEN_FLAGS_ALL") ? 1 : SYNC_STRIDE;
	block = aligned_alloc(BLOCK, BLOCK);
	for (unsigned i = 0; i < 2; i++) {
		strcpy(paths[i], "/var/tmp/usplice-XXXXXX");
		close(mkostemp(paths[i], O_CLOEXEC));
	}
	for (unsigned i = 0; i < NR_FLAG_CASES; i++) {
		struct flag_case *flag_case = &flag_cases[i];

		flag_case->open_flags = flags_of(i % NR_ACCESSES, i / NR_ACCESSES);
		snprintf(flag_case->name, sizeof(flag_case->name),
			 "every_use_of_a_shared_descriptor_leaves_what_the_kernels_calls_leave: %s",
			 describe_flags(flag_case->open_flags));
		tests[i] = (struct CMUnitTest){
			.name = flag_case->name,
			.test_func = every_use_of_a_shared_descriptor_leaves_what_the_kernels_calls_leave,
			.setup_func = support_before,
			.teardown_func = support_after,
			.initial_state = flag_case,
		};
	}
	if (has_direct_io())
		nr_failed = _cmocka_run_group_tests("open_flags", tests, NR_FLAG_CASES, NULL, NULL);
	else
		printf("/var/tmp has no direct I/O: skipped\n");
	print_message("# %u pairs of uses of a shared descriptor agree\n", nr_pairs);
	for (unsigned i = 0; i < 2; i++)
		unlink(paths[i]);
	free(block);
	return nr_failed;
}
