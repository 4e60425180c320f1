/* SPDX-License-Identifier: MIT */
/* library - load a shared library when the first of its functions is needed, and do without it where it is not there. */
#ifndef USP_BASE_LIBRARY_H
#define USP_BASE_LIBRARY_H

#include <stdbool.h>

/* One function of a library: its name, and the address of the pointer to it. */
struct usp_library_function {
	const char *name;
	void *pointer;
};

/*
 * Load a library, and find its functions, up to one without a name: true if all are there. Blocks as dlopen(3). What is
 * loaded stays until the process ends.
 */
bool usp_library_load(const char *library, const struct usp_library_function *functions);

#endif
