/* SPDX-License-Identifier: MIT */
/* thread - a new thread has the signal mask of its maker. */
#include "base/thread.h"

#include "base/sys.h"

int usp_thread_start(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
	sigset_t old_mask;
	int ret;

	usp_sys_block_signals(&old_mask);
	ret = -pthread_create(ret_thread, NULL, run, arg);
	usp_sys_restore_signals(&old_mask);
	return ret;
}

static void *thread_end_at_once(void *arg)
{
	return arg;
}

bool usp_thread_is_possible(void)
{
	pthread_t thread;

	return usp_thread_start(&thread, thread_end_at_once, NULL) == 0 && pthread_join(thread, NULL) == 0;
}
