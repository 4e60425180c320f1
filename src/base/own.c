/* SPDX-License-Identifier: MIT */
/*
 * own - per-process state.
 *
 * A child of fork(2) has a copy of all memory, but only of the thread that forked. A lock that another
 * thread of the parent held stays locked in the child for ever. pthread_atfork(3) does not run for a
 * plain clone(2) that bypasses the C library. So locks stand in memory that the kernel wipes in a
 * child (MADV_WIPEONFORK). Where that is not available, each call compares getpid(2). Neither affects
 * threads, which share memory and number.
 */
#include "base/own.h"

#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"

/* --- Memory of the process ------------------------------------------------------------------------- */

static struct usp_own_state *own_make(struct usp_own_lock *lock)
{
	struct usp_own_state *state = usp_sys_map_own(sizeof(*state)), *there = NULL;
	struct usp_own_state *mine = state ? state : &lock->spare;

	if (atomic_compare_exchange_strong(&lock->state, &there, mine))
		return mine;
	usp_sys_unmap(state, sizeof(*state));
	return there;
}

/* Wipe the spare if it belongs to another process: one thread of the child does, the others wait. */
static void own_claim_spare(struct usp_own_lock *lock)
{
	int pid = usp_sys_pid(), owner;

	while ((owner = atomic_load(&lock->spare_pid)) != pid) {
		if (owner == -pid || !atomic_compare_exchange_strong(&lock->spare_pid, &owner, -pid)) {
			usp_cpu_relax();
			continue;
		}
		memset(&lock->spare, 0, sizeof(lock->spare));
		atomic_store(&lock->spare_pid, pid);
	}
}

static struct usp_own_state *own_state(struct usp_own_lock *lock)
{
	struct usp_own_state *state = atomic_load_explicit(&lock->state, memory_order_acquire);

	if (!state)
		state = own_make(lock);
	if (state == &lock->spare)
		own_claim_spare(lock);
	return state;
}

/* --- The locks -------------------------------------------------------------------------------------- */

bool usp_own_lock(struct usp_own_lock *lock)
{
	struct usp_own_state *state = own_state(lock);
	bool is_first;

	pthread_mutex_lock(&state->lock);
	is_first = !state->was_taken;
	state->was_taken = true;
	return is_first;
}

void usp_own_unlock(struct usp_own_lock *lock)
{
	pthread_mutex_unlock(&own_state(lock)->lock);
}

/* --- The number ------------------------------------------------------------------------------------- */

static struct usp_own_lock own_nr;
static atomic_uint own_nr_last; /* of this process or one that it descends from */

unsigned usp_own_nr(void)
{
	struct usp_own_state *state = own_state(&own_nr);
	unsigned nr = atomic_load_explicit(&state->nr, memory_order_relaxed), next;

	if (nr)
		return nr;
	next = atomic_fetch_add(&own_nr_last, 1) + 1;
	return atomic_compare_exchange_strong(&state->nr, &nr, next) ? next : nr;
}
