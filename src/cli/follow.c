/* SPDX-License-Identifier: MIT */
/*
 * follow - show how far another process is in its files.
 *
 * The kernel tells the offset of each descriptor in /proc/PID/fdinfo. Calls that name an offset, such as pread(2), do not
 * move it, so a process that uses them seems to stand still.
 */
#include "follow.h"
#include "cli.h"
#include "progress.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLLOW_TICK_NS 100000000
#define FOLLOW_LINE_S 1.0 /* between two lines, where no terminal can take one back */
#define FOLLOW_PATH_MAX 64
#define FOLLOW_NAME_MAX 256

/* A descriptor of the process, while it is the same file. */
struct follow_file {
	TAILQ_ENTRY(follow_file) link;
	int fd;
	dev_t device;
	ino_t inode;
	uint64_t bytes; /* its offset */
	int64_t total;	/* its size if it is read, else -1 */
	bool is_there;
	char name[FOLLOW_NAME_MAX];
	struct progress progress;
};

struct follow {
	long process;
	int fd; /* -1: all */
	const struct progress_style *style;
	TAILQ_HEAD(, follow_file) files;
	int nr_drawn;	 /* lines on the screen */
	double drawn_at; /* by progress_now */
};

/* --- What the kernel tells -------------------------------------------------------------------------------- */

static void follow_path(const struct follow *follow, char path[FOLLOW_PATH_MAX], const char *folder, int fd)
{
	snprintf(path, FOLLOW_PATH_MAX, "/proc/%ld/%s/%d", follow->process, folder, fd);
}

/* Read the offset and the flags of a descriptor: 0 or -errno. */
static int follow_offset(const struct follow *follow, int fd, uint64_t *ret_bytes, int *ret_flags)
{
	char path[FOLLOW_PATH_MAX], line[128];
	int found = 0, error = 0;
	FILE *in;

	follow_path(follow, path, "fdinfo", fd);
	in = fopen(path, "re");
	if (!in)
		return -errno;
	while (fgets(line, sizeof(line), in))
		found += sscanf(line, "pos: %" SCNu64, ret_bytes) == 1 ||
			 sscanf(line, "flags: %o", (unsigned *)ret_flags) == 1;
	if (found < 2)
		error = -ESRCH;
	fclose(in);
	return error;
}

static int64_t follow_device_size(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	uint64_t bytes = 0;
	int64_t size = fd >= 0 && ioctl(fd, BLKGETSIZE64, &bytes) == 0 ? (int64_t)bytes : -1;

	if (fd >= 0)
		close(fd);
	return size;
}

/* Name a file in a few columns: the end of its path. */
static void follow_name(struct follow_file *file, const char *path)
{
	char target[FOLLOW_NAME_MAX];
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	const char *slash;

	target[len > 0 ? len : 0] = '\0';
	slash = strrchr(target, '/');
	snprintf(file->name, sizeof(file->name), "%d %.200s", file->fd, slash ? slash + 1 : target);
}

/* --- The list ------------------------------------------------------------------------------------------------ */

static struct follow_file *follow_find(struct follow *follow, int fd, const struct stat *st)
{
	struct follow_file *file;

	TAILQ_FOREACH(file, &follow->files, link)
	{
		if (file->fd == fd && file->device == st->st_dev && file->inode == st->st_ino)
			return file;
	}
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->fd = fd;
	file->device = st->st_dev;
	file->inode = st->st_ino;
	TAILQ_INSERT_TAIL(&follow->files, file, link);
	return file;
}

/* Look at a descriptor: 0 or -errno; -ESPIPE for what has no offset. */
static int follow_look(struct follow *follow, int fd)
{
	struct progress_style style = *follow->style;
	char path[FOLLOW_PATH_MAX];
	struct follow_file *file;
	uint64_t bytes;
	struct stat st;
	int flags, error;

	follow_path(follow, path, "fd", fd);
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return -ESPIPE;
	error = follow_offset(follow, fd, &bytes, &flags);
	if (error < 0)
		return error;
	file = follow_find(follow, fd, &st);
	if (!file)
		return -ENOMEM;
	if (!file->progress.is_on) {
		follow_name(file, path);
		style.name = style.name && follow->fd >= 0 ? style.name : file->name;
		progress_start(&file->progress, true, &style);
		file->progress.moments[0].bytes = bytes; /* what was before is no speed */
	}
	file->is_there = true;
	file->bytes = bytes;
	file->total = (flags & O_ACCMODE) == O_WRONLY ? -1
		      : S_ISBLK(st.st_mode)	      ? follow_device_size(path)
						      : st.st_size;
	return 0;
}

/* Look at all descriptors: 0 or -errno. */
static int follow_look_at_all(struct follow *follow)
{
	char path[FOLLOW_PATH_MAX];
	const struct dirent *entry;
	DIR *folder;

	snprintf(path, sizeof(path), "/proc/%ld/fd", follow->process);
	folder = opendir(path);
	if (!folder)
		return -errno;
	while ((entry = readdir(folder)) != NULL) {
		if (isdigit((unsigned char)entry->d_name[0]))
			follow_look(follow, atoi(entry->d_name));
	}
	closedir(folder);
	return 0;
}

static int follow_take(struct follow *follow)
{
	struct follow_file *file, *next;
	int error;

	TAILQ_FOREACH(file, &follow->files, link)
	file->is_there = false;
	error = follow->fd >= 0 ? follow_look(follow, follow->fd) : follow_look_at_all(follow);
	for (file = TAILQ_FIRST(&follow->files); file; file = next) {
		next = TAILQ_NEXT(file, link);
		if (file->is_there)
			continue;
		TAILQ_REMOVE(&follow->files, file, link);
		free(file);
	}
	return error;
}

/* --- The lines ----------------------------------------------------------------------------------------------- */

static void follow_draw_file(struct follow_file *file, bool can_return)
{
	struct progress_view view = {.bytes = file->bytes, .total = file->total};
	int columns;
	char *line;

	if (progress_measure(&file->progress, file->bytes) >= PROGRESS_STALLED_S)
		view.stalled = "its offset does not move";
	line = progress_line(&file->progress, &view, progress_columns() - 1, &columns);
	fprintf(stderr, "%s%s\n", line ? line : "", can_return ? "\033[K" : "");
	free(line);
}

static void follow_draw(struct follow *follow)
{
	const char *term = getenv("TERM");
	bool can_return = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
	double now = progress_now(), interval = (double)follow->style->interval_ns / 1e9;
	struct follow_file *file;

	if (interval <= 0)
		interval = can_return ? 0 : FOLLOW_LINE_S;
	if (now - follow->drawn_at < interval)
		return;
	follow->drawn_at = now;
	if (can_return && follow->nr_drawn > 0)
		fprintf(stderr, "\033[%dA\r", follow->nr_drawn);
	follow->nr_drawn = 0;
	TAILQ_FOREACH(file, &follow->files, link)
	{
		follow_draw_file(file, can_return);
		follow->nr_drawn++;
	}
	if (can_return)
		fputs("\033[J", stderr);
	fflush(stderr);
}

static int follow_failed(const struct follow *follow, const char *what, int error)
{
	if (error == -ESPIPE)
		message_say("copy: --watch %s: it is no file that has an offset", what);
	else if (error == -ENOENT && follow->fd >= 0)
		message_say("copy: --watch %s: there is no such process, or descriptor", what);
	else
		message_say("copy: --watch %s: %s", what, strerror(error == -ENOENT ? ESRCH : -error));
	return CLI_SOURCE;
}

/* Parse PID[:FD]. */
static bool follow_parse(struct follow *follow, const char *what)
{
	char *end;

	follow->fd = -1;
	if (!isdigit((unsigned char)*what))
		return false;
	follow->process = strtol(what, &end, 10);
	if (*end == ':' && isdigit((unsigned char)end[1]))
		follow->fd = (int)strtol(end + 1, &end, 10);
	return follow->process > 0 && *end == '\0';
}

int follow_main(const char *what, const struct progress_style *style)
{
	const struct timespec tick = {.tv_nsec = FOLLOW_TICK_NS};
	struct follow follow = {.style = style};
	int error;

	if (!follow_parse(&follow, what)) {
		message_say("copy: --watch %s: takes the number of a process, or PID:FD", what);
		return CLI_USAGE;
	}
	TAILQ_INIT(&follow.files);
	error = follow_take(&follow);
	if (error < 0)
		return follow_failed(&follow, what, error);
	for (; error == 0; error = follow_take(&follow)) {
		follow_draw(&follow);
		nanosleep(&tick, NULL);
	}
	while (!TAILQ_EMPTY(&follow.files)) {
		struct follow_file *file = TAILQ_FIRST(&follow.files);

		TAILQ_REMOVE(&follow.files, file, link);
		free(file);
	}
	return CLI_DONE;
}
