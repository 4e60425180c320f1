/* SPDX-License-Identifier: MIT */
/* objects - the kinds of objects that the matrix asks about, and one of each. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "lanes/pieces.h"
#include "matrix/inside.h"

#ifndef IPPROTO_MPTCP /* newer than the oldest supported headers */
#define IPPROTO_MPTCP 262
#endif

#define OBJECT_SOCKET_LEN ((size_t)16384) /* fits into a datagram, and into the buffers of a new connection */

#define OBJECT_PATH_MAX 4096

static const char zero_reason[] = "the kernel makes these bytes: nothing can change them afterwards";
static const char text_reason[] = "the kernel generates the text at each read: there is no page to change";

static const struct matrix_kind object_kinds[] = {
	{.name = "file in ",
	 .source = &usp_matrix_file_source,
	 .sink = &usp_matrix_file_sink,
	 .max_len = MATRIX_LARGE,
	 .in_dir = true,
	 .is_file = true,
	 .is_asked = true},
	{.name = "O_DIRECT file in ",
	 .source = &usp_matrix_file_source,
	 .sink = &usp_matrix_file_sink,
	 .max_len = MATRIX_LARGE,
	 .in_dir = true,
	 .is_direct = true},
	{.name = "file in memory (memfd)",
	 .source = &usp_matrix_file_source,
	 .sink = &usp_matrix_file_sink,
	 .max_len = MATRIX_LARGE,
	 .is_file = true,
	 .is_asked = true},
	{.name = "memfd of huge pages",
	 .source = &usp_matrix_file_source,
	 .sink = &usp_matrix_file_sink,
	 .fixed = "the file has no huge page that could be filled",
	 .max_len = MATRIX_LARGE,
	 .is_huge = true},
	{.name = "memory, by write", .source = &usp_matrix_write_source, .max_len = MATRIX_LARGE},
	{.name = "memory, by read", .sink = &usp_matrix_read_sink, .max_len = MATRIX_LARGE},
	{.name = "memory, by vmsplice",
	 .source = &usp_matrix_vmsplice_source,
	 .sink = &usp_matrix_vmsplice_sink,
	 .max_len = MATRIX_LARGE},
	{.name = "pipe",
	 .is_pipe = true,
	 .make_pair = usp_matrix_make_pipe,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = MATRIX_LARGE,
	 .is_asked = true},
	{.name = "pipe, by tee",
	 .is_pipe = true,
	 .make_pair = usp_matrix_make_pipe,
	 .source = &usp_matrix_tee_source,
	 .max_len = MATRIX_LARGE},
	{.name = "TCP over loopback",
	 .make_pair = usp_matrix_make_stream,
	 .type = SOCK_STREAM,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = OBJECT_SOCKET_LEN,
	 .is_asked = true},
	{.name = "TCP, written pieces",
	 .make_pair = usp_matrix_make_stream,
	 .type = SOCK_STREAM,
	 .source = &usp_matrix_piece_source,
	 .max_len = USP_PIECE_MAX,
	 .is_written = true},
	{.name = "MPTCP over loopback",
	 .make_pair = usp_matrix_make_stream,
	 .type = SOCK_STREAM,
	 .protocol = IPPROTO_MPTCP,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = OBJECT_SOCKET_LEN,
	 .is_asked = true},
	{.name = "UDP over loopback",
	 .make_pair = usp_matrix_make_udp,
	 .type = SOCK_DGRAM,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = OBJECT_SOCKET_LEN},
	{.name = "UNIX stream",
	 .make_pair = usp_matrix_make_unix,
	 .domain = AF_UNIX,
	 .type = SOCK_STREAM,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = OBJECT_SOCKET_LEN,
	 .is_asked = true},
	{.name = "UNIX stream, written pieces",
	 .make_pair = usp_matrix_make_unix,
	 .domain = AF_UNIX,
	 .type = SOCK_STREAM,
	 .source = &usp_matrix_piece_source,
	 .max_len = USP_PIECE_MAX,
	 .is_written = true},
	{.name = "UNIX datagram",
	 .make_pair = usp_matrix_make_unix,
	 .domain = AF_UNIX,
	 .type = SOCK_DGRAM,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = OBJECT_SOCKET_LEN},
	{.name = "UNIX seqpacket",
	 .make_pair = usp_matrix_make_unix,
	 .domain = AF_UNIX,
	 .type = SOCK_SEQPACKET,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = OBJECT_SOCKET_LEN},
	{.name = "terminal (pty)",
	 .make_pair = usp_matrix_make_pty,
	 .source = &usp_matrix_fed_source,
	 .sink = &usp_matrix_pair_sink,
	 .max_len = MATRIX_PAGE},
	{.name = "/dev/null",
	 .path = "/dev/null",
	 .source = &usp_matrix_device_source,
	 .sink = &usp_matrix_drop_sink,
	 .fixed = "it has no bytes",
	 .max_len = MATRIX_LARGE,
	 .is_asked = true},
	{.name = "/dev/zero",
	 .path = "/dev/zero",
	 .source = &usp_matrix_device_source,
	 .sink = &usp_matrix_drop_sink,
	 .fixed = zero_reason,
	 .max_len = MATRIX_LARGE,
	 .is_asked = true},
	{.name = "/proc/self/status",
	 .path = "/proc/self/status",
	 .source = &usp_matrix_device_source,
	 .fixed = text_reason,
	 .max_len = MATRIX_PAGE,
	 .is_asked = true},
};

/* Some file systems know no file without a name: unlink it at once. */
static int object_open_scratch(const char *dir)
{
	int fd = usp_sys_open(dir, O_TMPFILE | O_RDWR, 0600);
	char path[OBJECT_PATH_MAX];
	uint64_t random;

	if (fd != -EOPNOTSUPP && fd != -EISDIR)
		return fd;
	usp_sys_random(&random, sizeof(random));
	if (snprintf(path, sizeof(path), "%s/.usplice-probe-%016llx", dir, (unsigned long long)random) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = usp_sys_open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd >= 0)
		usp_sys_unlink(path);
	return fd;
}

int usp_matrix_object_file(const struct matrix_object *object)
{
	if (object->kind->is_huge)
		return usp_sys_memfd_huge("usplice-probe");
	if (object->kind->in_dir)
		return object_open_scratch(object->dir);
	return usp_sys_memfd("usplice-probe");
}

static void object_init(struct matrix_object *object, const struct matrix_kind *kind, const char *dir)
{
	const struct matrix_verdict none = {.answer = USP_PROBE_UNDECIDABLE};
	int fd;

	*object = (struct matrix_object){.kind = kind, .dir = dir, .base = {none, none}};
	snprintf(object->name, sizeof(object->name), "%s%s", kind->name, dir ? dir : "");
	if (!kind->is_file && !kind->is_direct)
		return;
	fd = usp_matrix_object_file(object);
	object->base_state = fd >= 0 && usp_matrix_is_memory(fd) ? MATRIX_DIRTY : MATRIX_CLEAN;
	usp_sys_close(fd);
}

struct matrix_object *usp_matrix_objects(const char *const *dirs, unsigned nr_dirs, unsigned *ret_nr)
{
	struct matrix_object *objects =
		usp_alloc_array(usp_array_len(object_kinds) + 2 * (size_t)nr_dirs, sizeof(*objects));
	unsigned nr = 0;

	for (unsigned dir = 0; objects && dir < nr_dirs; dir++) {
		for (unsigned i = 0; i < usp_array_len(object_kinds); i++) {
			if (object_kinds[i].in_dir)
				object_init(&objects[nr++], &object_kinds[i], dirs[dir]);
		}
	}
	for (unsigned i = 0; objects && i < usp_array_len(object_kinds); i++) {
		if (!object_kinds[i].in_dir)
			object_init(&objects[nr++], &object_kinds[i], NULL);
	}
	*ret_nr = nr;
	return objects;
}
