/* SPDX-License-Identifier: MIT */
/* probe_machine - ask about one object of each kind of this machine, and keep what was found. */
#include "cli.h"
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MACHINE_CELLS_FIRST 256
#define MACHINE_GIB 1073741824.0

const char *const probe_answer_names[USP_NR_PROBE_ANSWERS] = {
	[USP_PROBE_BY_REFERENCE] = "by reference", [USP_PROBE_COPIED] = "copied",
	[USP_PROBE_BY_DEVICE] = "by the device",   [USP_PROBE_REFUSED] = "refused",
	[USP_PROBE_UNDECIDABLE] = "undecidable",
};
const char *const probe_answer_colours[USP_NR_PROBE_ANSWERS] = {
	[USP_PROBE_BY_REFERENCE] = "\033[32m", [USP_PROBE_COPIED] = "\033[31m",
	[USP_PROBE_BY_DEVICE] = "\033[36m",    [USP_PROBE_REFUSED] = "",
	[USP_PROBE_UNDECIDABLE] = "\033[33m",
};
const char *const probe_half_names[] = {
	[USP_PROBE_INTO_PIPE] = "into a pipe",
	[USP_PROBE_OUT_OF_PIPE] = "out of a pipe",
	[USP_PROBE_DIRECT] = "direct",
	[USP_PROBE_COMPOSED] = "composed",
};

#ifndef USP_HAVE_STRERRORNAME /* the C library cannot say it: those that a probe meets */
#define NAMED(error)          \
	{                     \
		error, #error \
	}
static const char *strerrorname_np(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		NAMED(EACCES), NAMED(EAGAIN), NAMED(EBADF),	 NAMED(EFAULT), NAMED(EINVAL), NAMED(EIO),
		NAMED(ENODEV), NAMED(ENOMEM), NAMED(ENOSPC),	 NAMED(ENOSYS), NAMED(ENXIO),  NAMED(EOPNOTSUPP),
		NAMED(EPERM),  NAMED(EPIPE),  NAMED(EPROTOTYPE), NAMED(EROFS),	NAMED(ESPIPE), NAMED(ETIMEDOUT),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].error == error)
			return names[i].name;
	}
	return NULL;
}
#endif

const char *probe_error_name(int error)
{
	const char *name = strerrorname_np(error);

	return name ? name : "errno";
}

double probe_cpu_s_per_gib(const struct usp_probe_cost *cost)
{
	return (double)cost->cpu_ns / 1e9 * MACHINE_GIB / (double)cost->bytes;
}

double probe_gib_per_s(const struct usp_probe_cost *cost)
{
	return (double)cost->bytes / MACHINE_GIB * 1e9 / (double)cost->wall_ns;
}

/* --- Cells --------------------------------------------------------------------------------------------------- */

static int machine_grow(struct probe_machine *machine)
{
	size_t max = machine->max_cells ? 2 * machine->max_cells : MACHINE_CELLS_FIRST;
	struct usp_probe_cell *cells = realloc(machine->cells, max * sizeof(*cells));

	if (!cells)
		return -ENOMEM;
	machine->cells = cells;
	machine->max_cells = max;
	return 0;
}

/* Keep a cell, with its names, which are lent. */
static int machine_take(const struct usp_probe_cell *cell, void *arg)
{
	struct probe_machine *machine = arg;
	char *object, *peer;

	if (machine->nr_cells == machine->max_cells && machine_grow(machine) < 0)
		return -ENOMEM;
	object = strdup(cell->object);
	peer = cell->peer ? strdup(cell->peer) : NULL;
	if (!object || (cell->peer && !peer)) {
		free(object);
		free(peer);
		return -ENOMEM;
	}
	machine->cells[machine->nr_cells] = *cell;
	machine->cells[machine->nr_cells].object = object;
	machine->cells[machine->nr_cells++].peer = peer;
	return 0;
}

const struct usp_probe_cell *probe_machine_base(const struct probe_machine *machine, enum usp_probe_half half,
						const char *object)
{
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (cell->is_base && cell->half == half && strcmp(cell->object, object) == 0)
			return cell;
	}
	return NULL;
}

bool probe_is_differing(const struct usp_probe_cell *cell)
{
	return cell->half == USP_PROBE_COMPOSED && cell->answer != USP_PROBE_UNDECIDABLE &&
	       cell->answer != cell->expected;
}

void probe_machine_routes(const struct probe_machine *machine, unsigned *ret_checked, unsigned *ret_agreed)
{
	size_t i;

	*ret_checked = *ret_agreed = 0;
	for (i = 0; i < machine->nr_cells; i++) {
		const struct usp_probe_cell *cell = &machine->cells[i];

		if (cell->half != USP_PROBE_COMPOSED || cell->answer == USP_PROBE_UNDECIDABLE)
			continue;
		++*ret_checked;
		*ret_agreed += !probe_is_differing(cell);
	}
}

/* --- A run --------------------------------------------------------------------------------------------------- */

static void machine_set_dirs(struct probe_request *request)
{
	const char *tmpdir = getenv("TMPDIR");

	if (request->nr_dirs > 0)
		return;
	request->dirs[request->nr_dirs++] = tmpdir && tmpdir[0] ? tmpdir : "/tmp";
	request->dirs[request->nr_dirs++] = "/dev/shm";
}

/* Tell whether a directory can have a file. Some file systems know none without a name: unlink it at once. */
static bool machine_can_make(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	char path[PATH_MAX];

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR) &&
	    snprintf(path, sizeof(path), "%s/.usplice-probe-XXXXXX", dir) < (int)sizeof(path)) {
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
	}
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Name the directories that can have no file, and take them out of the request. */
static void machine_check_dirs(struct probe_request *request)
{
	unsigned nr_dirs = 0, i;

	for (i = 0; i < request->nr_dirs; i++) {
		if (machine_can_make(request->dirs[i])) {
			request->dirs[nr_dirs++] = request->dirs[i];
			continue;
		}
		message_say("no file can be made in %s: %s", request->dirs[i], strerror(errno));
		request->lacks_dir = request->has_dirs;
	}
	request->nr_dirs = nr_dirs;
}

int probe_machine_ask(struct probe_request *request, struct probe_machine *ret_machine)
{
	struct usp_probe_matrix_params params = {.size = sizeof(params), .no_cost = request->no_cost};

	*ret_machine = (struct probe_machine){.when = time(NULL), .result.size = sizeof(ret_machine->result)};
	machine_set_dirs(request);
	machine_check_dirs(request);
	params.dirs = request->dirs;
	params.nr_dirs = request->nr_dirs;
	return usp_probe_matrix(&params, machine_take, ret_machine, &ret_machine->result);
}

void probe_machine_free(struct probe_machine *machine)
{
	size_t i;

	for (i = 0; i < machine->nr_cells; i++) {
		free((char *)machine->cells[i].object);
		free((char *)machine->cells[i].peer);
	}
	free(machine->cells);
}
