/* SPDX-License-Identifier: MIT */
/* probe - what `usplice probe` is asked, and the objects that it asks about. */
#ifndef USP_CLI_PROBE_H
#define USP_CLI_PROBE_H

#include <stdbool.h>
#include <usplice.h>

#define PROBE_DIRS_MAX 16

struct probe_request {
	const char *dirs[PROBE_DIRS_MAX];
	unsigned nr_dirs;
	bool json, verbose, help;
	const char *source, *sink; /* specs, or NULL */
};

/* One object of this machine, made to be asked about. */
struct probe_object {
	char name[128];
	struct usp_file *files[2]; /* to read from, to write to; NULL where there is none, or the same file twice */
};

/*
 * Make the objects that can be made here, those of the directories first: their number, or -errno without memory. Free
 * them with probe_objects_free. Nothing of them has a name, and none reaches another machine.
 */
int probe_objects_make(const struct probe_request *request, struct probe_object **ret_objects);
void probe_objects_free(struct probe_object *objects, int nr_objects);

/*
 * Open an end without changing it: no file is made or cut, and a file on a disk is not even opened to be written,
 * unless must_write is set. A pipe stands in for a FIFO. NULL after saying why not.
 */
struct usp_file *probe_open(const char *spec, unsigned mode, bool must_write);

#endif
