/* SPDX-License-Identifier: MIT */
/* ledger - what usp_probe says of one object of a kind: the accounts of pumps rest on it. */
#include <fcntl.h>

#include "base/sys.h"
#include "matrix/inside.h"
#include "splice/file.h"

/* Make both ends of an object; a file has one for both. 0, or -errno; the caller closes what was made also then. */
static int ledger_make(const struct matrix_object *object, int ret_fds[2])
{
	const struct matrix_kind *kind = object->kind;

	ret_fds[0] = ret_fds[1] = -1;
	if (kind->make_pair)
		return kind->make_pair(kind, ret_fds);
	if (!kind->path)
		ret_fds[0] = usp_matrix_object_file(object);
	else
		ret_fds[0] = usp_sys_open(kind->path, O_RDONLY, 0);
	if (kind->path && kind->sink)
		ret_fds[1] = usp_sys_open(kind->path, O_WRONLY, 0);
	return 0;
}

void usp_matrix_ledger(const struct matrix_object *object, unsigned side, struct usp_probe_result *ret_result)
{
	bool is_file = !object->kind->make_pair && !object->kind->path;
	unsigned end = side == USP_WRITE && !is_file, mode = is_file ? USP_READ | USP_WRITE : side;
	struct usp_probe_result result = {.size = sizeof(result)};
	struct usp_file *file = NULL;
	int fds[2], ret = ledger_make(object, fds);

	if (ret == 0 && fds[end] >= 0 && usp_open_fd(fds[end], mode | USP_EXCLUSIVE, object->name, &file) == 0)
		fds[end] = -1; /* the file has it */
	if (file && usp_probe(file, side, &result) == 0)
		*ret_result = result;
	usp_file_put(file);
	usp_sys_close(fds[0]);
	usp_sys_close(fds[1]);
}
