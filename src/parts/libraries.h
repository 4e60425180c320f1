/* SPDX-License-Identifier: MIT */
/* libraries - which version of a library is here. */
#ifndef USP_PARTS_LIBRARIES_H
#define USP_PARTS_LIBRARIES_H

#include <stdbool.h>

/* A library, and how it tells its version. */
struct usp_library {
	const char *name;
	const char *version; /* where it is known when usplice is built; else NULL */
	const char *teller;  /* the name of a function without arguments, or NULL */
	const char *asked;   /* the name of a function whose argument is 0, or NULL */
};

/* NULL where the build has no such library. */
extern const struct usp_library *const usp_library_zstd, *const usp_library_zlib, *const usp_library_lz4;
extern const struct usp_library *const usp_library_lzma, *const usp_library_openssl, *const usp_library_isal;
extern const struct usp_library *const usp_library_xxhash, *const usp_library_uring, *const usp_library_fuse;

/* Return the version of the library that is here, static; NULL if it is not here or does not tell. May load it. */
const char *usp_library_version(const struct usp_library *library);

/* Tell whether a library can be loaded, which it is then. */
bool usp_library_is_here(const struct usp_library *library);

#endif
