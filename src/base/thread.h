/* SPDX-License-Identifier: MIT */
/* thread - threads of the library. */
#ifndef USP_BASE_THREAD_H
#define USP_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* Start a thread that takes no signals: they go to the threads of the program. 0 or -errno, mostly -EAGAIN. */
int usp_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

/* Tell whether a thread can be had now, by trying. For libraries that fail where they cannot have theirs. */
bool usp_thread_is_possible(void);

#endif
