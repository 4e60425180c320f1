/* SPDX-License-Identifier: MIT */
/* atomic - the counters of public structs, as C11 has them. Headers for C++ and other languages cannot. */
#ifndef USP_BASE_ATOMIC_H
#define USP_BASE_ATOMIC_H

#include <assert.h>
#include <stdatomic.h>
#include <usplice/endpoint.h>

static_assert(sizeof(_Atomic(uint64_t)) == sizeof(uint64_t) && sizeof(_Atomic(uint32_t)) == sizeof(uint32_t),
	      "a counter has the form of its value");

static inline _Atomic(uint32_t) *usp_u32(const struct usp_atomic_u32 *counter)
{
	return (_Atomic(uint32_t) *)&counter->opaque;
}

static inline _Atomic(uint64_t) *usp_u64(const struct usp_atomic_u64 *counter)
{
	return (_Atomic(uint64_t) *)&counter->opaque;
}

static inline atomic_int *usp_int(const struct usp_atomic_int *counter)
{
	return (atomic_int *)&counter->opaque;
}

static inline _Atomic(const char *) *usp_text_of(const struct usp_atomic_text *counter)
{
	return (_Atomic(const char *) *)&counter->opaque;
}

#endif
