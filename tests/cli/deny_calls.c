/* SPDX-License-Identifier: MIT */
/*
 * deny_calls EPERM|ENOSYS|O_TMPFILE|AF_VSOCK COMMAND [ARGUMENT...] - run a command for which splice, tee and vmsplice fail, as in a sandbox
 * that forbids them (EPERM) or a kernel without them (ENOSYS); or for which no file can be made without a name, as on a file
 * system that cannot do that (O_TMPFILE); or on a kernel without sockets of that family (AF_VSOCK).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SKIPPED 77

static int deny(struct sock_filter *filter, size_t len)
{
	const struct sock_fprog program = {.len = (unsigned short)len, .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* The number of the call is all that is looked at: this is not here to keep anybody out. */
static int deny_splice(unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_splice, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tee, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_vmsplice, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
	};

	return deny(filter, sizeof(filter) / sizeof(filter[0]));
}

/* The flags are the lower half of an argument, and O_TMPFILE contains O_DIRECTORY, which is allowed alone. */
static int deny_unnamed(void)
{
	const unsigned low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]) + low),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
	};

	return deny(filter, sizeof(filter) / sizeof(filter[0]));
}

/* A kernel without one family of sockets. */
static int deny_family(unsigned family)
{
	const unsigned low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 2),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0]) + low),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, family, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
	};

	return deny(filter, sizeof(filter) / sizeof(filter[0]));
}

/* The word for what is denied; -EINVAL if it is none. */
static int deny_word(const char *word)
{
	if (strcmp(word, "O_TMPFILE") == 0)
		return deny_unnamed();
	if (strcmp(word, "AF_VSOCK") == 0)
		return deny_family(AF_VSOCK);
	if (strcmp(word, "EPERM") == 0 || strcmp(word, "ENOSYS") == 0)
		return deny_splice(word[1] == 'P' ? EPERM : ENOSYS);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	int result = argc < 3 ? -EINVAL : deny_word(argv[1]);

	if (result == -EINVAL) {
		fputs("usage: deny_calls EPERM|ENOSYS|O_TMPFILE|AF_VSOCK COMMAND [ARGUMENT...]\n", stderr);
		return 2;
	}
	if (result < 0) {
		perror("deny_calls: no seccomp here");
		return SKIPPED;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
