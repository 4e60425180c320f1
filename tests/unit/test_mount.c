/* SPDX-License-Identifier: MIT */
/* test_mount - a mount over files whose hooks are the test's own; the programs that use it are other processes. */
#include "support.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <usplice/mount.h>

#define LEN (((size_t)1 << 20) + 7)
#define NR_PROGRAMS 4u
#define PIECE (LEN / NR_PROGRAMS)
#define FDS_MAX 128

/* --- The file ----------------------------------------------------------------------------------------------- */

/* Bytes that come when the gate is open, and calls that hang until the door is. */
struct own {
	unsigned char bytes[LEN];
	int gate; /* an eventfd, readable when it is open */
	pthread_mutex_t lock;
	pthread_cond_t has_changed;
	bool door_is_open;
	bool write_hangs, sync_hangs;
	int sync_error; /* of the first one */
	atomic_uint nr_hanging, nr_later, nr_syncs, nr_released;
};

static struct own own;

static void own_init(bool gate_is_open, bool door_is_open)
{
	memset(&own, 0, sizeof(own));
	pattern_fill(own.bytes, 0, LEN);
	own.gate = eventfd(gate_is_open, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(own.gate >= 0);
	own.door_is_open = door_is_open;
	pthread_mutex_init(&own.lock, NULL);
	pthread_cond_init(&own.has_changed, NULL);
}

static void own_fini(void)
{
	assert_int_equal(own.nr_released, 1);
	close(own.gate);
	pthread_cond_destroy(&own.has_changed);
	pthread_mutex_destroy(&own.lock);
}

/* Hang until the door is open. */
static void own_hang(void)
{
	pthread_mutex_lock(&own.lock);
	own.nr_hanging++;
	while (!own.door_is_open)
		pthread_cond_wait(&own.has_changed, &own.lock);
	own.nr_hanging--;
	pthread_mutex_unlock(&own.lock);
}

static void own_open_door(void)
{
	pthread_mutex_lock(&own.lock);
	own.door_is_open = true;
	pthread_cond_broadcast(&own.has_changed);
	pthread_mutex_unlock(&own.lock);
}

static ssize_t own_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct pollfd gate = {.fd = own.gate, .events = POLLIN};
	size_t left = LEN - (size_t)*pos, len = to->iov[0].iov_len;

	(void)in, (void)flags;
	if (poll(&gate, 1, 0) == 0) {
		own.nr_later++;
		return -EAGAIN;
	}
	len = len < left ? len : left;
	memcpy(to->iov[0].iov_base, own.bytes + *pos, len);
	*pos += (int64_t)len;
	return (ssize_t)len;
}

static ssize_t own_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	size_t left = LEN - (size_t)*pos, len = from->iov[0].iov_len;

	(void)out, (void)flags;
	if (own.write_hangs)
		own_hang();
	if (left == 0)
		return -ENOSPC;
	len = len < left ? len : left;
	memcpy(own.bytes + *pos, from->iov[0].iov_base, len);
	*pos += (int64_t)len;
	return (ssize_t)len;
}

static int own_sync(struct usp_file *file)
{
	(void)file;
	if (own.sync_hangs)
		own_hang();
	return own.nr_syncs++ == 0 ? own.sync_error : 0;
}

static int own_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	(void)file, (void)side;
	*ret_events = POLLIN;
	return own.gate;
}

static int64_t own_get_size(const struct usp_file *file)
{
	(void)file;
	return LEN;
}

static int own_release(struct usp_file *file)
{
	(void)file;
	own.nr_released++;
	return 0;
}

static const struct usp_file_ops own_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "own",
	.read_iter = own_read_iter,
	.write_iter = own_write_iter,
	.splice_read = usp_copy_splice_read,
	.splice_write = usp_iter_splice_write,
	.sync = own_sync,
	.poll_fd = own_poll_fd,
	.get_size = own_get_size,
	.release = own_release,
};

static int own_open(void *arg, struct usp_file **ret_file, const char **ret_why)
{
	const unsigned *mode = arg;
	int ret = usp_file_new(&own_ops, *mode, "own", NULL, ret_file);

	*ret_why = NULL;
	if (ret == 0)
		(*ret_file)->traits = USP_FILE_SEEKABLE;
	return ret;
}

/* --- Programs ------------------------------------------------------------------------------------------------- */

/* Processes, made before there are threads. They begin when begin[1] is closed, and count in memory that all share. */
struct programs {
	pid_t pids[NR_PROGRAMS];
	unsigned nr;
	int begin[2];
	atomic_uint *nr_begun;
};

/* What a program does with the file, the exit code: 0 if all was right, else an errno. */
typedef int program_fn(const char *path, unsigned nr);

static int program_errno(bool is_right)
{
	return is_right ? 0 : errno ? errno : EBADMSG;
}

static int reads_all(const char *path, unsigned nr)
{
	static unsigned char got[LEN];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t done = 0, begin = nr * PIECE; /* each begins elsewhere */
	ssize_t len = 1;

	errno = 0;
	while (fd >= 0 && done < LEN && (len = pread(fd, got, 70000, (off_t)((begin + done) % LEN))) > 0) {
		if (!pattern_is(got, (begin + done) % LEN, (size_t)len))
			return EBADMSG;
		done += (size_t)len;
	}
	return program_errno(fd >= 0 && len > 0);
}

static int writes_a_piece(const char *path, unsigned nr)
{
	static unsigned char bytes[PIECE];
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool is_right = fd >= 0;

	errno = 0;
	memset(bytes, (int)('a' + nr), sizeof(bytes));
	for (size_t done = 0; is_right && done < PIECE; done += 5000) {
		size_t len = PIECE - done < 5000 ? PIECE - done : 5000;

		is_right = pwrite(fd, bytes, len, (off_t)(nr * PIECE + done)) == (ssize_t)len;
	}
	is_right = is_right && fsync(fd) == 0;
	return program_errno(is_right && close(fd) == 0);
}

static int opens_and_closes(const char *path, unsigned nr)
{
	char bytes[100];

	for (unsigned i = 0; i < 300; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return errno;
		if (pread(fd, bytes, sizeof(bytes), nr) < 0)
			return errno;
		close(fd);
	}
	return 0;
}

static void programs_start(struct programs *programs, unsigned nr, program_fn *run, const char *path)
{
	*programs = (struct programs){.nr = nr};
	programs->nr_begun = mmap(NULL, sizeof(atomic_uint), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(programs->nr_begun, MAP_FAILED);
	assert_int_equal(pipe2(programs->begin, O_CLOEXEC), 0);
	for (unsigned i = 0; i < nr; i++) {
		char byte;

		programs->pids[i] = fork();
		assert_true(programs->pids[i] >= 0);
		if (programs->pids[i] > 0)
			continue;
		for (int fd = 3; fd < FDS_MAX; fd++) {
			if (fd != programs->begin[0])
				close(fd);
		}
		if (read(programs->begin[0], &byte, 1) != 0)
			_exit(EPROTO);
		atomic_fetch_add(programs->nr_begun, 1);
		end_child(run(path, i));
	}
	close(programs->begin[0]);
}

/* Let them begin. They get what the kernel says until they have begun. */
static void programs_go(struct programs *programs)
{
	close(programs->begin[1]);
	while (atomic_load(programs->nr_begun) < programs->nr)
		sched_yield();
}

/* Wait for all of them. Each has ended with 0, or all with one of the errors. */
static void programs_end(struct programs *programs, const int *errors, unsigned nr_errors)
{
	for (unsigned i = 0; i < programs->nr; i++) {
		int status;
		bool is_expected = false;

		assert_int_equal(waitpid(programs->pids[i], &status, 0), programs->pids[i]);
		assert_true(WIFEXITED(status));
		for (unsigned k = 0; k < nr_errors; k++)
			is_expected = is_expected || WEXITSTATUS(status) == errors[k];
		is_expected = nr_errors == 0 ? WEXITSTATUS(status) == 0 : is_expected;
		if (!is_expected)
			fprintf(stderr, "program %u: %s\n", i, strerror(WEXITSTATUS(status)));
		assert_true(is_expected);
	}
	munmap(programs->nr_begun, sizeof(atomic_uint));
}

static const int cut_off[] = {ENOTCONN, ECONNABORTED, EIO, ENOENT};

/* --- The mount ------------------------------------------------------------------------------------------------ */

struct scene {
	char folder[32], path[64];
	unsigned mode;
	struct usp_mount *mount;
	struct programs programs;
	pthread_t driver;
};

static void scene_make(struct scene *scene, unsigned nr, program_fn *run)
{
	strcpy(scene->folder, "/tmp/usplice-mount-XXXXXX");
	assert_non_null(mkdtemp(scene->folder));
	snprintf(scene->path, sizeof(scene->path), "%s/file", scene->folder);
	programs_start(&scene->programs, nr, run, scene->path);
}

static void scene_mount(struct scene *scene, unsigned flags, bool is_lazy, uint64_t sync_timeout_ns)
{
	const struct usp_mount_params params = {
		.size = sizeof(params), .flags = flags, .nr_threads = 3, .sync_timeout_ns = sync_timeout_ns};
	const struct usp_mount_source source = {
		.size = sizeof(source), .name = "file", .open = own_open, .arg = &scene->mode, .is_lazy = is_lazy};

	scene->mode = flags & USP_MOUNT_WRITE ? USP_READ | USP_WRITE : USP_READ;
	assert_int_equal(usp_mount_new(scene->folder, &params, &scene->mount, NULL), 0);
	assert_int_equal(usp_mount_add(scene->mount, &source), 0);
	assert_int_equal(usp_mount_start(scene->mount, NULL), 0);
}

/* Serve while another thread does something. What usp_mount_run returns. */
static int scene_run(struct scene *scene, void *(*drive)(void *scene))
{
	int ret;

	assert_int_equal(pthread_create(&scene->driver, NULL, drive, scene), 0);
	ret = usp_mount_run(scene->mount);
	assert_int_equal(pthread_join(scene->driver, NULL), 0);
	return ret;
}

static void scene_end(struct scene *scene)
{
	usp_mount_free(scene->mount);
	umount2(scene->folder, MNT_DETACH);
	assert_int_equal(rmdir(scene->folder), 0);
	own_fini();
}

static struct usp_mount_status scene_status(const struct scene *scene)
{
	struct usp_mount_status status = {.size = sizeof(status)};

	usp_mount_status(scene->mount, &status);
	return status;
}

static struct usp_mount_source_status scene_source(const struct scene *scene)
{
	struct usp_mount_source_status status = {.size = sizeof(status)};

	assert_int_equal(usp_mount_source_status(scene->mount, 0, &status), 0);
	return status;
}

/* --- Drivers --------------------------------------------------------------------------------------------------- */

static void *drive_to_the_end(void *arg)
{
	struct scene *scene = arg;

	programs_go(&scene->programs);
	programs_end(&scene->programs, NULL, 0);
	assert_int_equal(usp_mount_detach(scene->mount), 0);
	return NULL;
}

static void *drive_with_a_late_gate(void *arg)
{
	struct scene *scene = arg;

	programs_go(&scene->programs);
	while (own.nr_later == 0 || scene_status(scene).nr_waiting == 0)
		sched_yield();
	assert_int_equal(eventfd_write(own.gate, 1), 0);
	programs_end(&scene->programs, NULL, 0);
	assert_int_equal(usp_mount_detach(scene->mount), 0);
	return NULL;
}

static void *drive_to_a_stop(void *arg)
{
	struct scene *scene = arg;

	programs_go(&scene->programs);
	while (scene_status(scene).nr_waiting < NR_PROGRAMS)
		sched_yield();
	usp_mount_stop(scene->mount);
	programs_end(&scene->programs, cut_off, ARRAY_LEN(cut_off));
	return NULL;
}

static void *drive_to_a_detach_at_once(void *arg)
{
	static const int all[] = {0,   ENOTCONN, ECONNABORTED, ECONNREFUSED,
				  EIO, ENOENT}; /* refused: before it has begun */
	struct scene *scene = arg;

	programs_go(&scene->programs);
	assert_int_equal(usp_mount_detach(scene->mount), 0);
	usp_mount_stop(scene->mount);
	programs_end(&scene->programs, all, ARRAY_LEN(all));
	return NULL;
}

static void *drive_to_an_error(void *arg)
{
	static const int errors[] = {EIO};
	struct scene *scene = arg;

	programs_go(&scene->programs);
	programs_end(&scene->programs, errors, ARRAY_LEN(errors));
	assert_int_equal(usp_mount_detach(scene->mount), 0);
	return NULL;
}

/* A program writes, and has no answer when all has to end. */
static void *drive_while_it_hangs(void *arg)
{
	struct scene *scene = arg;

	programs_go(&scene->programs);
	while (own.nr_hanging == 0)
		sched_yield();
	usp_mount_stop(scene->mount);
	programs_end(&scene->programs, cut_off, ARRAY_LEN(cut_off));
	return NULL;
}

/* The same, and a second stop waits no longer. */
static void *drive_with_two_stops(void *arg)
{
	struct scene *scene = arg;

	programs_go(&scene->programs);
	while (own.nr_hanging == 0)
		sched_yield();
	while (atomic_load(&own.nr_released) == 0 && scene_status(scene).nr_stuck == 0) {
		usp_mount_stop(scene->mount);
		sched_yield();
	}
	programs_end(&scene->programs, cut_off, ARRAY_LEN(cut_off));
	return NULL;
}

/* --- Reading --------------------------------------------------------------------------------------------------- */

static void several_programs_read_bytes_that_come_later(void **state)
{
	static const unsigned flags[] = {0, USP_MOUNT_DIRECT, USP_MOUNT_PREFETCH};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_LEN(flags); i++) {
		bool copies = flags[i / 2] & USP_MOUNT_PREFETCH;
		struct scene scene;

		own_init(copies, true); /* a copy is made before programs begin */
		scene_make(&scene, NR_PROGRAMS, reads_all);
		scene_mount(&scene, flags[i / 2], i % 2 && !copies, 0);
		assert_int_equal(scene_run(&scene, copies ? drive_to_the_end : drive_with_a_late_gate), 0);
		assert_true(scene_source(&scene).nr_errors == 0);
		scene_end(&scene);
	}
}

static void reads_that_wait_are_answered_at_a_stop(void **state)
{
	struct scene scene;

	(void)state;
	own_init(false, true);
	scene_make(&scene, NR_PROGRAMS, reads_all);
	scene_mount(&scene, USP_MOUNT_DIRECT, false, 0);
	assert_int_equal(scene_run(&scene, drive_to_a_stop), 0);
	assert_int_equal(scene_status(&scene).nr_stuck, 0);
	assert_int_equal(eventfd_write(own.gate, 1), 0); /* what reads ahead can end */
	scene_end(&scene);
}

static void it_can_end_while_programs_open_and_close(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		struct scene scene;

		own_init(true, true);
		scene_make(&scene, NR_PROGRAMS, opens_and_closes);
		scene_mount(&scene, i % 2 ? USP_MOUNT_WRITE : 0, false, 0);
		assert_int_equal(scene_run(&scene, drive_to_a_detach_at_once), 0);
		scene_end(&scene);
	}
}

/* --- Writing --------------------------------------------------------------------------------------------------- */

static void several_programs_write_and_each_byte_is_there(void **state)
{
	struct scene scene;

	(void)state;
	own_init(true, true);
	scene_make(&scene, NR_PROGRAMS, writes_a_piece);
	scene_mount(&scene, USP_MOUNT_WRITE, false, 0);
	assert_int_equal(scene_run(&scene, drive_to_the_end), 0);
	for (size_t i = 0; i < NR_PROGRAMS * PIECE; i++)
		assert_int_equal(own.bytes[i], 'a' + i / PIECE);
	assert_pattern(own.bytes + NR_PROGRAMS * PIECE, NR_PROGRAMS * PIECE, LEN - NR_PROGRAMS * PIECE);
	assert_int_equal(own.nr_syncs, NR_PROGRAMS + 1);
	assert_true(scene_source(&scene).written == NR_PROGRAMS * PIECE);
	scene_end(&scene);
}

static void an_error_of_sync_is_told_the_program_and_the_end(void **state)
{
	struct scene scene;

	(void)state;
	own_init(true, true);
	own.sync_error = -EIO;
	scene_make(&scene, 1, writes_a_piece);
	scene_mount(&scene, USP_MOUNT_WRITE, false, 0);
	assert_int_equal(scene_run(&scene, drive_to_an_error), -EIO);
	assert_int_equal(scene_source(&scene).sync_error, -EIO);
	assert_false(scene_source(&scene).is_unsynced);
	scene_end(&scene);
}

/* --- What hangs ------------------------------------------------------------------------------------------------ */

static void a_write_that_hangs_is_left_behind(void **state)
{
	struct scene scene;

	(void)state;
	own_init(true, false);
	own.write_hangs = true;
	scene_make(&scene, 1, writes_a_piece);
	scene_mount(&scene, USP_MOUNT_WRITE, false, 2000000);
	/* The file itself can be synced, but for a machine that is slower than that. */
	assert_in_set(-scene_run(&scene, drive_while_it_hangs), ((uintmax_t[]){0, ETIMEDOUT}), 2);
	assert_true(scene_status(&scene).nr_stuck >= 1);
	own_open_door();
	scene_end(&scene);
}

static void a_sync_that_hangs_is_told(void **state)
{
	struct scene scene;

	(void)state;
	own_init(true, false);
	own.sync_hangs = true;
	scene_make(&scene, 1, writes_a_piece);
	scene_mount(&scene, USP_MOUNT_WRITE, false, 2000000);
	assert_int_equal(scene_run(&scene, drive_while_it_hangs), -ETIMEDOUT);
	assert_true(scene_source(&scene).is_unsynced);
	assert_true(scene_status(&scene).nr_stuck >= 1);
	own_open_door();
	scene_end(&scene);
	assert_true(own.nr_syncs >= 1);
}

static void a_second_stop_waits_no_longer(void **state)
{
	struct scene scene;

	(void)state;
	own_init(true, false);
	own.sync_hangs = true;
	scene_make(&scene, 1, writes_a_piece);
	scene_mount(&scene, USP_MOUNT_WRITE, false, 0);
	assert_int_equal(scene_run(&scene, drive_with_two_stops), -ETIMEDOUT);
	assert_true(scene_source(&scene).is_unsynced);
	own_open_door();
	scene_end(&scene);
}

/* Try: a build or a machine may not have it. */
static bool can_mount(void)
{
	char folder[] = "/tmp/usplice-mount-XXXXXX";
	struct usp_mount *mount;
	bool can = geteuid() == 0 && mkdtemp(folder) && usp_mount_new(folder, NULL, &mount, NULL) == 0;

	if (can)
		usp_mount_free(mount);
	rmdir(folder);
	return can;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(several_programs_read_bytes_that_come_later),
		CASE(reads_that_wait_are_answered_at_a_stop),
		CASE(it_can_end_while_programs_open_and_close),
		CASE(several_programs_write_and_each_byte_is_there),
		CASE(an_error_of_sync_is_told_the_program_and_the_end),
		CASE(a_write_that_hangs_is_left_behind),
		CASE(a_sync_that_hangs_is_told),
		CASE(a_second_stop_waits_no_longer),
	};

	return can_mount() ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
