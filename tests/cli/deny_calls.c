/* SPDX-License-Identifier: MIT */
/*
 * deny_calls EPERM|ENOSYS COMMAND [ARGUMENT...] - run a command for which splice, tee and vmsplice fail, as in a sandbox that
 * forbids them (EPERM) or a kernel without them (ENOSYS).
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SKIPPED 77

/* The number of the call is all that is looked at: this is not here to keep anybody out. */
static int deny(unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_splice, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tee, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_vmsplice, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
	};
	const struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	if (argc < 3 || (strcmp(argv[1], "EPERM") != 0 && strcmp(argv[1], "ENOSYS") != 0)) {
		fputs("usage: deny_calls EPERM|ENOSYS COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	if (deny(strcmp(argv[1], "EPERM") == 0 ? EPERM : ENOSYS) < 0) {
		perror("deny_calls: no seccomp here");
		return SKIPPED;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
