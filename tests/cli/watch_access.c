/* SPDX-License-Identifier: MIT */
/*
 * watch_access FILE PATTERN USERS COMMAND [ARGUMENT...] - run a command, and stop it before and behind every system call of all its
 * threads: may one of the USERS then do with FILE, or with a file that matches PATTERN, what that user could not do with FILE at
 * the beginning? USERS are words like 1000:1000:5,20 (user, group, more groups), separated by blanks.
 *
 * The exit code is the command's; 99 if somebody got more, after a line that says who, what and where; 77 if this cannot be
 * tried here. The last line is "N looks, N at PATTERN".
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77
#define GOT_MORE 99
#define MAX_USERS 16
#define MAX_GROUPS 8
#define SYSCALL (SIGTRAP | 0x80)

struct user {
	char *name;
	uid_t uid;
	gid_t gid, groups[MAX_GROUPS];
	size_t nr_groups;
	int rights; /* of R_OK, W_OK and X_OK: what this user could do at the beginning, or was told of */
};

static struct user users[MAX_USERS];
static size_t nr_users;
static unsigned long nr_looks, nr_matches;
static bool is_more;

static void must(bool is_true, const char *what)
{
	if (is_true)
		return;
	perror(what);
	exit(SKIPPED);
}

static void parse_user(char *word)
{
	struct user *user = &users[nr_users++];
	char *text = word;

	user->name = strdup(word);
	user->uid = (uid_t)strtoul(text, &text, 10);
	user->gid = (gid_t)strtoul(text + 1, &text, 10);
	while (*text != '\0' && user->nr_groups < MAX_GROUPS)
		user->groups[user->nr_groups++] = (gid_t)strtoul(text + 1, &text, 10);
}

static int rights_of(const char *path)
{
	static const int each[] = {R_OK, W_OK, X_OK};
	int rights = 0;

	for (size_t i = 0; i < 3; i++)
		rights |= faccessat(AT_FDCWD, path, each[i], AT_EACCESS) == 0 ? each[i] : 0;
	return rights;
}

static int rights_as(const struct user *user, const char *path)
{
	int rights;

	must(setgroups(user->nr_groups, user->groups) == 0 && setegid(user->gid) == 0 && seteuid(user->uid) == 0,
	     "be a user");
	rights = rights_of(path);
	must(seteuid(0) == 0 && setegid(0) == 0, "be root again");
	return rights;
}

static void look_at(const char *path)
{
	for (size_t i = 0; i < nr_users; i++) {
		int more = rights_as(&users[i], path) & ~users[i].rights;

		if (more == 0)
			continue;
		is_more = true;
		users[i].rights |= more;
		printf("%s may%s%s%s %s\n", users[i].name, more & R_OK ? " read" : "", more & W_OK ? " write" : "",
		       more & X_OK ? " execute" : "", path);
	}
}

static void look(const char *path, const char *pattern)
{
	glob_t found;

	nr_looks++;
	look_at(path);
	if (glob(pattern, 0, NULL, &found) != 0)
		return;
	nr_matches++;
	for (size_t i = 0; i < found.gl_pathc; i++)
		look_at(found.gl_pathv[i]);
	globfree(&found);
}

static pid_t start(char **command)
{
	pid_t child = fork();

	must(child >= 0, "fork");
	if (child == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 || raise(SIGSTOP) != 0)
			_exit(SKIPPED);
		execvp(command[0], command);
		_exit(127);
	}
	must(waitpid(child, NULL, 0) == child, "wait");
	must(ptrace(PTRACE_SETOPTIONS, child, NULL,
		    PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_EXITKILL) == 0,
	     "trace");
	must(ptrace(PTRACE_SYSCALL, child, NULL, NULL) == 0, "trace");
	return child;
}

/* Signals are passed on; the stops of ptrace itself are none. */
static int signal_of(int status)
{
	int signo = WSTOPSIG(status);

	return signo == SYSCALL || signo == SIGTRAP || signo == SIGSTOP ? 0 : signo;
}

static int watch(pid_t child, const char *path, const char *pattern)
{
	for (;;) {
		int status;
		pid_t thread = waitpid(-1, &status, __WALL);

		must(thread >= 0, "wait");
		if (thread == child && WIFEXITED(status))
			return WEXITSTATUS(status);
		if (thread == child && WIFSIGNALED(status))
			return 128 + WTERMSIG(status);
		if (!WIFSTOPPED(status))
			continue;
		if (WSTOPSIG(status) == SYSCALL)
			look(path, pattern);
		ptrace(PTRACE_SYSCALL, thread, NULL, (long)signal_of(status));
	}
}

int main(int argc, char **argv)
{
	char *word, *rest;
	int code;

	if (argc < 5) {
		fputs("usage: watch_access FILE PATTERN USERS COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	for (word = strtok_r(argv[3], " ", &rest); word && nr_users < MAX_USERS; word = strtok_r(NULL, " ", &rest))
		parse_user(word);
	for (size_t i = 0; i < nr_users; i++)
		users[i].rights = rights_as(&users[i], argv[1]);
	code = watch(start(argv + 4), argv[1], argv[2]);
	printf("%lu looks, %lu at %s\n", nr_looks, nr_matches, argv[2]);
	return is_more ? GOT_MORE : code;
}
