/* SPDX-License-Identifier: MIT */
/* faulty - for tests in C: a folder that is shown with faults, by faulty_fs, for as long as a test takes. */
#include "faulty.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SKIPPED 77

int faulty_before(void **state)
{
	struct faulty *faulty = calloc(1, sizeof(*faulty));

	if (!faulty)
		return -1;
	strcpy(faulty->folder, "/tmp/usplice-faulty-XXXXXX");
	if (!mkdtemp(faulty->folder))
		return -1;
	snprintf(faulty->real, FAULTY_PATH_MAX, "%s/real", faulty->folder);
	snprintf(faulty->faulty, FAULTY_PATH_MAX, "%s/faulty", faulty->folder);
	*state = faulty;
	return mkdir(faulty->real, 0777) < 0 || mkdir(faulty->faulty, 0777) < 0 ? -1 : support_before(state);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

int faulty_after(void **state)
{
	struct faulty *faulty = *state;
	int ret = support_after(state);

	faulty_end(faulty);
	nftw(faulty->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
	free(faulty);
	return ret;
}

/* In the child. */
static _Noreturn void become_server(const struct faulty *faulty, const char *faults, int ready)
{
	char *argv[3 + FAULTS_MAX + 1] = {getenv("FAULTY_FS"), (char *)faulty->real, (char *)faulty->faulty};
	char words[FAULTY_PATH_MAX], *rest = words;

	snprintf(words, sizeof(words), "%s", faults);
	for (unsigned i = 3; i < 3 + FAULTS_MAX && (argv[i] = strtok_r(rest, " ", &rest)); i++)
		continue;
	dup2(ready, STDOUT_FILENO);
	if (argv[0])
		execv(argv[0], argv);
	_exit(SKIPPED);
}

void faulty_serve(struct faulty *faulty, const char *faults)
{
	int ready[2], status;
	char byte;

	faulty_end(faulty);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	faulty->server = fork();
	assert_true(faulty->server >= 0);
	if (faulty->server == 0)
		become_server(faulty, faults, ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1) {
		close(ready[0]);
		return;
	}
	close(ready[0]);
	assert_int_equal(waitpid(faulty->server, &status, 0), faulty->server);
	faulty->server = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED);
	skip();
}

void faulty_end(struct faulty *faulty)
{
	char command[FAULTY_PATH_MAX + 32];

	if (!faulty->server)
		return;
	snprintf(command, sizeof(command), "fusermount3 -u -z '%s'", faulty->faulty);
	assert_int_equal(system(command), 0);
	kill(faulty->server, SIGKILL); /* it would serve what a failed test has left open */
	waitpid(faulty->server, NULL, 0);
	faulty->server = 0;
}

void faulty_make(struct faulty *faulty, const char *name, size_t len)
{
	int fd = open(faulty_real(faulty, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	unsigned char *bytes = malloc(len);

	assert_true(fd >= 0 && bytes);
	pattern_fill(bytes, 0, len);
	assert_int_equal(write(fd, bytes, len), len);
	free(bytes);
	close(fd);
}

static const char *faulty_path(const char *folder, const char *name)
{
	static char paths[2][FAULTY_PATH_MAX + 64];
	static unsigned next;
	char *path = paths[next++ % 2];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

const char *faulty_real(struct faulty *faulty, const char *name)
{
	return faulty_path(faulty->real, name);
}

const char *faulty_shown(struct faulty *faulty, const char *name)
{
	return faulty_path(faulty->faulty, name);
}
