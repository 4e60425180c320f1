/* SPDX-License-Identifier: MIT */
/* machine - lanes and features: what the running kernel lets this process use, by experiment. */
#include "parts/machine.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "age/age_crypto.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "event/loop.h"
#include "event/uring.h"
#include "parts/libraries.h"

#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif

struct machine_part {
	enum usp_part_kind kind;
	const char *name, *form, *summary;
	const struct usp_library *const *library; /* NULL: none */
	const char *(*missing)(void);		  /* NULL: it is always there */
};

static bool machine_is_forbidden(int64_t ret)
{
	return ret == -ENOSYS || ret == -EPERM;
}

/* Splice a byte from one pipe into another. */
static const char *machine_splice_missing(void)
{
	int from[2], to[2];
	int64_t ret;

	if (usp_sys_pipe(from, O_NONBLOCK) < 0)
		return "needs pipes, and no descriptor is left for one";
	if (usp_sys_pipe(to, O_NONBLOCK) < 0) {
		usp_sys_close(from[0]);
		usp_sys_close(from[1]);
		return "needs pipes, and no descriptor is left for one";
	}
	usp_sys_write(from[1], "", 1);
	ret = usp_sys_splice(from[0], NULL, to[1], NULL, 1, USP_SPLICE_NONBLOCK);
	for (unsigned i = 0; i < 2; i++) {
		usp_sys_close(from[i]);
		usp_sys_close(to[i]);
	}
	return ret == 1 ? NULL : "needs splice(2), which this process may not call";
}

/* The answer is about the descriptors where the call is there. */
static const char *machine_copy_range_missing(void)
{
	return machine_is_forbidden(usp_sys_copy_file_range(-1, NULL, -1, NULL, 1))
		       ? "needs copy_file_range(2), which this process may not call"
		       : NULL;
}

static const char *machine_zerocopy_missing(void)
{
	int fd = usp_sys_socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
	int ret = fd < 0 ? fd : usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_ZEROCOPY, 1);

	if (fd >= 0)
		usp_sys_close(fd);
	return ret < 0 ? "needs SO_ZEROCOPY of a TCP socket, which this kernel does not give" : NULL;
}

static const char *machine_uring_missing(void)
{
	struct usp_uring *uring = NULL;
	struct usp_loop *loop;
	int ret;

	if (!usp_library_uring)
		return "needs liburing, without which this usplice was built";
	if (usp_loop_new(&loop) < 0)
		return "needs an event loop, and no descriptor or memory is left for one";
	ret = usp_uring_new(loop, &uring);
	usp_uring_free(uring);
	usp_loop_free(loop);
	if (machine_is_forbidden(ret))
		return "needs io_uring of Linux 6.1, which this process may not use";
	return ret < 0 ? "needs a ring of io_uring, and no descriptor or memory is left for one" : NULL;
}

static const char *machine_isal_missing(void)
{
	if (!usp_library_isal)
		return "needs ISA-L, without which this usplice was built";
	return usp_library_is_here(usp_library_isal) ? NULL : "needs libisal.so.2, which cannot be loaded";
}

static const char *machine_mount_missing(void)
{
	int fd = usp_library_fuse ? usp_sys_open("/dev/fuse", O_RDWR, 0) : -ENOSYS;

	if (!usp_library_fuse)
		return "needs libfuse3, without which this usplice was built";
	if (fd < 0)
		return "needs /dev/fuse, which is not here or which this user may not open";
	usp_sys_close(fd);
	return NULL;
}

static const struct machine_part machine_parts[] = {
	{USP_PART_LANE, "user", "--lane user", "references to memory of this process", NULL, NULL},
	{USP_PART_LANE, "kernel", "--lane kernel", "splice(2), through pipes of the kernel", NULL,
	 machine_splice_missing},
	{USP_PART_FEATURE, "age", "--decrypt, --encrypt", "files of age", &usp_library_openssl, usp_age_crypto_missing},
	{USP_PART_FEATURE, "copy_file_range", NULL, "from file to file inside the kernel, by shared extents too", NULL,
	 machine_copy_range_missing},
	{USP_PART_FEATURE, "fast_crc32c", NULL, "crc32c by instructions of the processor", &usp_library_isal,
	 machine_isal_missing},
	{USP_PART_FEATURE, "io_uring", NULL, "small messages of a relay", &usp_library_uring, machine_uring_missing},
	{USP_PART_FEATURE, "mount", NULL, "usplice mount: sources as files for any program", &usp_library_fuse,
	 machine_mount_missing},
	{USP_PART_FEATURE, "zerocopy_send", NULL, "MSG_ZEROCOPY: what is sent from memory is not copied", NULL,
	 machine_zerocopy_missing},
};

unsigned usp_machine_nr_parts(void)
{
	return usp_array_len(machine_parts);
}

void usp_machine_tell(unsigned index, struct usp_part *ret_part)
{
	const struct machine_part *row = &machine_parts[index];
	const struct usp_library *library = row->library ? *row->library : NULL;

	ret_part->kind = row->kind;
	ret_part->name = row->name;
	ret_part->form = row->form;
	ret_part->summary = row->summary;
	ret_part->library = library ? library->name : NULL;
	ret_part->version = usp_library_version(library);
	ret_part->missing = row->missing ? row->missing() : NULL;
}
