/* SPDX-License-Identifier: MIT */
/* libraries - the version of the library that is loaded may be another one than that of its header. */
#include "parts/libraries.h"

#include <stddef.h>

#include "base/library.h"

#ifdef USP_HAVE_OPENSSL
#include "base/libcrypto.h"
#endif

#ifdef USP_HAVE_XXHASH /* all of it is in its header */
#include <xxhash.h>
#define XXHASH_TEXT(number) XXHASH_TEXT_OF(number)
#define XXHASH_TEXT_OF(number) #number
#define XXHASH_VERSION \
	XXHASH_TEXT(XXH_VERSION_MAJOR) "." XXHASH_TEXT(XXH_VERSION_MINOR) "." XXHASH_TEXT(XXH_VERSION_RELEASE)
#endif

#define LIBRARY(...)                \
	&(const struct usp_library) \
	{                           \
		__VA_ARGS__         \
	}

#ifdef USP_HAVE_ZSTD
const struct usp_library *const usp_library_zstd = LIBRARY(.name = "libzstd.so.1", .teller = "ZSTD_versionString");
#else
const struct usp_library *const usp_library_zstd = NULL;
#endif

#ifdef USP_HAVE_ZLIB
const struct usp_library *const usp_library_zlib = LIBRARY(.name = "libz.so.1", .teller = "zlibVersion");
#else
const struct usp_library *const usp_library_zlib = NULL;
#endif

#ifdef USP_HAVE_LZ4
const struct usp_library *const usp_library_lz4 = LIBRARY(.name = "liblz4.so.1", .teller = "LZ4_versionString");
#else
const struct usp_library *const usp_library_lz4 = NULL;
#endif

#ifdef USP_HAVE_LZMA
const struct usp_library *const usp_library_lzma = LIBRARY(.name = "liblzma.so.5", .teller = "lzma_version_string");
#else
const struct usp_library *const usp_library_lzma = NULL;
#endif

#ifdef USP_HAVE_OPENSSL
const struct usp_library *const usp_library_openssl = LIBRARY(.name = USP_LIBCRYPTO, .asked = "OpenSSL_version");
#else
const struct usp_library *const usp_library_openssl = NULL;
#endif

#ifdef USP_HAVE_ISAL
const struct usp_library *const usp_library_isal = LIBRARY(.name = "libisal.so.2");
#else
const struct usp_library *const usp_library_isal = NULL;
#endif

#ifdef USP_HAVE_XXHASH
const struct usp_library *const usp_library_xxhash = LIBRARY(.name = "xxHash", .version = XXHASH_VERSION);
#else
const struct usp_library *const usp_library_xxhash = NULL;
#endif

#ifdef USP_HAVE_URING
const struct usp_library *const usp_library_uring = LIBRARY(.name = "liburing.so.2");
#else
const struct usp_library *const usp_library_uring = NULL;
#endif

#ifdef USP_HAVE_FUSE
const struct usp_library *const usp_library_fuse = LIBRARY(.name = USP_LIBFUSE, .teller = "fuse_pkgversion");
#else
const struct usp_library *const usp_library_fuse = NULL;
#endif

bool usp_library_is_here(const struct usp_library *library)
{
	return library && usp_library_load(library->name, (const struct usp_library_function[]){{0}});
}

const char *usp_library_version(const struct usp_library *library)
{
	const char *(*teller)(void) = NULL, *(*asked)(int what) = NULL;

	if (library && library->teller)
		usp_library_load(library->name, (const struct usp_library_function[]){{library->teller, &teller}, {0}});
	if (library && library->asked)
		usp_library_load(library->name, (const struct usp_library_function[]){{library->asked, &asked}, {0}});
	if (teller)
		return teller();
	return asked ? asked(0) : library ? library->version : NULL;
}
