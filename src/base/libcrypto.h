/* SPDX-License-Identifier: MIT */
/* libcrypto - the name of the library that the headers of OpenSSL belong to, to load it by. */
#ifndef USP_BASE_LIBCRYPTO_H
#define USP_BASE_LIBCRYPTO_H

#include <openssl/opensslv.h>

#if OPENSSL_VERSION_NUMBER >= 0x30000000L
#define USP_LIBCRYPTO "libcrypto.so.3"
#else
#define USP_LIBCRYPTO "libcrypto.so.1.1"
#endif

#endif
