/* SPDX-License-Identifier: MIT */
/* library - dlopen(3) and dlsym(3), for all who use a library that need not be there. */
#include "base/library.h"

#include <dlfcn.h>

bool usp_library_load(const char *library, const struct usp_library_function *functions)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	for (; handle && functions->name; functions++) {
		void **function = functions->pointer;

		*function = dlsym(handle, functions->name);
		if (!*function)
			return false;
	}
	return handle;
}
