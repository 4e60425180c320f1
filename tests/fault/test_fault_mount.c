/* SPDX-License-Identifier: MIT */
/*
 * test_fault_mount - a file is mounted and read by another process, with everything failing in turn: the reader gets the
 * right bytes or an error, and always an answer; at the end nothing is mounted.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <usplice/mount.h>
#include <usplice/transform.h>

#include "base/compiler.h"
#include "fault.h"
#include "support.h"

/* The threads of the test itself never fail. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

#define FILE_LEN ((size_t)300001)
#define PATIENCE_S 60 /* a reader without an answer ends by SIGALRM, if it can */

static unsigned char expected[FILE_LEN];

/* What is mounted. */
struct scene {
	bool is_lazy, is_stream, is_cached, writes, has_metrics;
	int file; /* a copy of the descriptor that is written, or -1 */
	unsigned flags;
};

/* The same file behind a page cache. */
static int scene_open_cached(struct usp_file *below, struct usp_file **ret_file, const char **ret_why)
{
	const struct usp_open_params params = {.size = sizeof(params), .mode = USP_READ};
	char spec[64];
	int ret;

	snprintf(spec, sizeof(spec), "cached:/proc/self/fd/%d", below->fd);
	ret = usp_open(spec, &params, ret_file, ret_why);
	if (ret == 0)
		usp_file_put(below);
	return ret;
}

/* A file on disk, so to say, or a pipe. */
static int scene_open(void *arg, struct usp_file **ret_file, const char **ret_why)
{
	struct scene *scene = arg;
	struct usp_file *below;
	int fd = memfd_create("source", MFD_CLOEXEC), ret;

	*ret_why = NULL;
	if (fd < 0 || write(fd, expected, FILE_LEN) != (ssize_t)FILE_LEN || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	if (scene->writes && scene->file < 0)
		scene->file = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	ret = usp_open_fd(fd, (scene->writes ? USP_WRITE : 0) | USP_READ | USP_EXCLUSIVE, "source", &below);
	if (ret < 0) {
		close(fd);
		return ret;
	}
	*ret_file = below;
	if (scene->is_cached)
		ret = scene_open_cached(below, ret_file, ret_why);
	if (scene->is_stream)
		ret = usp_transform_open("digest:crc32c", below, NULL, ret_file, ret_why);
	if (ret < 0)
		usp_file_put(below);
	return ret;
}

/* In a child: read the file to its end or its error. Its exit code is 1 for a byte that is wrong. */
static _Noreturn void reader_run(const char *path)
{
	static unsigned char got[FILE_LEN + 1];
	size_t len = 0;
	ssize_t ret = 1;
	int fd;

	alarm(PATIENCE_S);
	for (int other = 3; other < 64; other++)
		close(other); /* also that of FUSE, without which the connection ends */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && len < sizeof(got) && (ret = read(fd, got + len, usp_min(sizeof(got) - len, 70000))) > 0)
		len += (size_t)ret;
	if (fd < 0)
		_exit(2);
	_exit(len > FILE_LEN || memcmp(got, expected, len) != 0 ? 1 : ret == 0 && len < FILE_LEN ? 1 : ret < 0 ? 2 : 0);
}

#define WRITTEN_AT ((off_t)100000)
#define WRITTEN_LEN ((size_t)70000)

/* How far the writer came, in memory that it shares. */
struct written {
	size_t len;	/* bytes that write(2) has taken */
	bool is_synced; /* and fsync(2), and close(2) */
	bool is_cut;	/* the file was truncated behind them */
};
static struct written *written;

static void writer_fill(unsigned char *bytes)
{
	for (size_t i = 0; i < WRITTEN_LEN; i++)
		bytes[i] = (unsigned char)(i * 7 + 3);
}

/* In a child: write, append, truncate, sync, close, and read it back. Its exit code is 1 for a byte that is wrong. */
static _Noreturn void writer_run(const char *path)
{
	static unsigned char bytes[WRITTEN_LEN], got[WRITTEN_LEN];
	ssize_t ret = 1;
	bool is_good;
	int fd, appending;

	alarm(PATIENCE_S);
	for (int other = 3; other < 128; other++)
		close(other);
	writer_fill(bytes);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		_exit(2);
	while (written->len < WRITTEN_LEN && (ret = pwrite(fd, bytes + written->len, WRITTEN_LEN - written->len,
							   WRITTEN_AT + (off_t)written->len)) > 0)
		written->len += (size_t)ret;
	is_good = written->len == WRITTEN_LEN;
	if (pread(fd, got, written->len, WRITTEN_AT) == (ssize_t)written->len && memcmp(got, bytes, written->len) != 0)
		_exit(1);
	appending = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	is_good = appending >= 0 && write(appending, bytes, sizeof(bytes)) > 0 && close(appending) == 0 && is_good;
	is_good = futimens(fd, NULL) == 0 && is_good;
	written->is_cut = ftruncate(fd, WRITTEN_AT + (off_t)WRITTEN_LEN) == 0;
	is_good = is_good && written->is_cut && fsync(fd) == 0;
	is_good = close(fd) == 0 && is_good;
	written->is_synced = is_good;
	_exit(is_good ? 0 : 2);
}

/* Look at the file itself: what the program was told is there, and nothing else has changed. */
static void writer_check(int file)
{
	static unsigned char there[FILE_LEN], bytes[WRITTEN_LEN];
	ssize_t len = pread(file, there, FILE_LEN, 0);

	writer_fill(bytes);
	fault_check(len == (written->is_cut ? (ssize_t)(WRITTEN_AT + (off_t)WRITTEN_LEN) : (ssize_t)FILE_LEN) ||
		    (!written->is_cut && fault_hit().has_fired));
	fault_check(len < WRITTEN_AT || memcmp(there, expected, (size_t)WRITTEN_AT) == 0);
	fault_check(memcmp(there + WRITTEN_AT, bytes, written->len) == 0);
}

/* Wait for the reader, in a thread, and unmount then. */
struct waiting {
	pid_t reader;
	int status;
	struct usp_mount *mount;
};

static void *waiting_run(void *arg)
{
	struct waiting *waiting = arg;

	while (waitpid(waiting->reader, &waiting->status, 0) < 0 && errno == EINTR)
		continue;
	if (usp_mount_detach(waiting->mount) < 0)
		usp_mount_stop(waiting->mount);
	return NULL;
}

/* Serve until the reader has ended: 0 or -errno. */
static int scene_serve(struct usp_mount *mount, const char *path, bool writes, int *ret_status)
{
	struct waiting waiting = {.reader = fork(), .mount = mount};
	pthread_t thread;
	int ret;

	if (waiting.reader == 0 && writes)
		writer_run(path);
	if (waiting.reader == 0)
		reader_run(path);
	if (waiting.reader < 0 || __real_pthread_create(&thread, NULL, waiting_run, &waiting) != 0)
		abort();
	ret = usp_mount_run(mount);
	pthread_join(thread, NULL);
	*ret_status = waiting.status;
	return ret;
}

static void scene_run(const void *arg)
{
	struct scene scene = *(const struct scene *)arg;
	const struct usp_mount_params params = {.size = sizeof(params), .flags = scene.flags, .nr_threads = 2};
	const struct usp_mount_source source = {
		.size = sizeof(source), .name = "file", .open = scene_open, .arg = &scene, .is_lazy = scene.is_lazy};
	char folder[] = "/tmp/usplice-fault-mount-XXXXXX", path[64], numbers[64];
	struct usp_mount *mount = NULL;
	int ret, status = 0;

	pattern_fill(expected, 0, FILE_LEN);
	scene.file = -1;
	written = mmap(NULL, sizeof(*written), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (written == MAP_FAILED || !mkdtemp(folder))
		abort();
	snprintf(path, sizeof(path), "%s/file", folder);
	snprintf(numbers, sizeof(numbers), "unix:%s.numbers", folder);
	fault_arm();
	ret = usp_mount_new(folder, &params, &mount, NULL);
	if (ret == 0)
		ret = usp_mount_add(mount, &source);
	if (ret == 0 && scene.has_metrics)
		ret = usp_mount_serve_metrics(mount, numbers, NULL);
	if (ret == 0)
		ret = usp_mount_start(mount, NULL);
	if (ret == 0)
		ret = scene_serve(mount, path, scene.writes, &status);
	usp_mount_free(mount);
	fault_disarm();
	umount2(folder, MNT_DETACH); /* where a fault kept the library from it */
	rmdir(folder);
	unlink(numbers + strlen("unix:")); /* the same */
	if (scene.file >= 0) {
		writer_check(scene.file);
		close(scene.file);
	}
	fault_check(ret == 0 || fault_hit().has_fired);
	fault_check(WIFEXITED(status) && WEXITSTATUS(status) != 1);
	fault_check(WEXITSTATUS(status) == 0 || fault_hit().has_fired);
}

static const struct fault_scenario scenarios[] = {
	{.name = "plain", .run = scene_run, .arg = &(const struct scene){.flags = USP_MOUNT_NO_PASSTHROUGH}},
	{.name = "cached",
	 .run = scene_run,
	 .arg = &(const struct scene){.flags = USP_MOUNT_NO_PASSTHROUGH, .is_cached = true}},
	{.name = "passthrough", .run = scene_run, .arg = &(const struct scene){.flags = 0}},
	{.name = "written",
	 .run = scene_run,
	 .arg = &(const struct scene){.flags = USP_MOUNT_NO_PASSTHROUGH | USP_MOUNT_WRITE, .writes = true}},
	{.name = "written_by_the_kernel",
	 .run = scene_run,
	 .arg = &(const struct scene){.flags = USP_MOUNT_WRITE, .writes = true}},
	{.name = "with_metrics",
	 .run = scene_run,
	 .arg = &(const struct scene){.flags = USP_MOUNT_NO_PASSTHROUGH, .has_metrics = true}},
	{.name = "copied_when_it_is_looked_at",
	 .run = scene_run,
	 .arg = &(const struct scene){.is_lazy = true, .is_stream = true}},
};

/* Mount once: without the rights for that there is nothing to try. */
static bool can_mount(void)
{
	char folder[] = "/tmp/usplice-fault-mount-XXXXXX";
	bool can = geteuid() == 0 && access("/dev/fuse", R_OK | W_OK) == 0 && mkdtemp(folder);

	if (can)
		rmdir(folder);
	return can;
}

int main(void)
{
	return can_mount() ? fault_main(scenarios, usp_array_len(scenarios)) : 77;
}
