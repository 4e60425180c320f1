/* SPDX-License-Identifier: MIT */
/* own - per-process state: a number, and locks that start unlocked in a child, by fork(2) or by a plain clone(2). */
#ifndef USP_BASE_OWN_H
#define USP_BASE_OWN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct usp_own_state {
	pthread_mutex_t lock; /* zeros are PTHREAD_MUTEX_INITIALIZER */
	atomic_uint nr;	      /* of the process; 0: not assigned yet */
	bool was_taken;	      /* in this process */
};

/* A lock of the library. Static storage, all zeros. */
struct usp_own_lock {
	_Atomic(struct usp_own_state *) state; /* in memory that the kernel wipes in a child, or &spare */
	struct usp_own_state spare;
	atomic_int spare_pid; /* the process that the spare belongs to; negative while it is being wiped */
};

/* Lock. True the first time in this process: the guarded data is then still empty, or a copy of the parent's. */
bool usp_own_lock(struct usp_own_lock *lock);
void usp_own_unlock(struct usp_own_lock *lock);

/* Return the number of this process. It differs from that of every ancestor. Async-signal-safe. */
unsigned usp_own_nr(void);

#endif
