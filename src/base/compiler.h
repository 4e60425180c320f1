/* SPDX-License-Identifier: MIT */
/* compiler - small macros and functions that C does not have. */
#ifndef USP_BASE_COMPILER_H
#define USP_BASE_COMPILER_H

#include <stddef.h>

#define usp_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define usp_array_len(array) (sizeof(array) / sizeof((array)[0]))

static inline size_t usp_min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static inline size_t usp_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Let the other hardware thread of this core run faster while this one spins. */
static inline void usp_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

#if defined(__SANITIZE_ADDRESS__)
#define USP_HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define USP_HAS_ASAN 1
#endif
#endif

#ifdef USP_HAS_ASAN
#include <sanitizer/asan_interface.h>
#define usp_poison(base, len) __asan_poison_memory_region(base, len)
#define usp_unpoison(base, len) __asan_unpoison_memory_region(base, len)
#else
#define usp_poison(base, len) ((void)(base), (void)(len))
#define usp_unpoison(base, len) ((void)(base), (void)(len))
#endif

#endif
