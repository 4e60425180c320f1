/* SPDX-License-Identifier: MIT */
/* own - what every process has for itself: its number, and locks that a child finds open, however it was made. */
#ifndef USP_BASE_OWN_H
#define USP_BASE_OWN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct usp_own_state {
	pthread_mutex_t lock; /* zeros are PTHREAD_MUTEX_INITIALIZER */
	atomic_uint nr;	      /* of the process; 0: not asked for */
	bool was_taken;	      /* in this process */
};

/* A lock of the library. Static storage, all zeros. */
struct usp_own_lock {
	_Atomic(struct usp_own_state *) state; /* in memory that the kernel wipes in a child, or &spare */
	struct usp_own_state spare;
	atomic_int spare_pid; /* the process that the spare belongs to; negative while that wipes it */
};

/* True for the first that takes it in this process: what it guards is nothing yet, or what a child has inherited. */
bool usp_own_lock(struct usp_own_lock *lock);
void usp_own_unlock(struct usp_own_lock *lock);

/* The number of this process: never that of a process which it descends from. Async-signal-safe. */
unsigned usp_own_nr(void);

#endif
