/* SPDX-License-Identifier: MIT */
/*
 * lookup - ask the name service, and stop waiting for it at a moment or after a signal.
 *
 * getaddrinfo(3) waits for as long as the resolver likes, and nothing ends it. So it runs in a thread of its own, which
 * takes no signals, and the caller waits for a descriptor. A caller that gives up leaves the thread behind:
 *
 *	caller   make, start ─── wait ─┬─ answered: join, take the list ─┬─ leave
 *	                               └─ gave up: detach ───────────────┘
 *	thread          getaddrinfo ─────── tell ─────────────────────────── leave
 *
 * The last one to leave frees the look-up. A thread that is left behind ends with the answer, or when the resolver has
 * given up, and touches nothing but its look-up until then.
 */
#include "base/lookup.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/wait.h"

#define LOOKUP_LEFT_MAX 16 /* left behind at a time: each has a stack, and the resolver's sockets */

struct lookup {
	char *host, *port; /* host may be NULL */
	struct addrinfo hints;
	pthread_t thread;
	int answered_fd;
	atomic_bool is_left; /* by one of the two: the other one frees it */
	bool is_behind;	     /* it was the caller, and too early */
	int error;	     /* of getaddrinfo, EAI_AGAIN and so on */
	struct addrinfo *list;
};

/* --- What is left behind -------------------------------------------------------------------------- */

/* The process, and how many look-ups it has left behind. A child has none of its parent's threads. */
static _Atomic(uint64_t) lookup_left;

/* How many there are with that many more. */
static unsigned lookup_count_left(int more)
{
	uint64_t process = (uint64_t)usp_own_nr() << 32, old = atomic_load(&lookup_left), left;

	do
		left = (old >> 32 == process >> 32 ? (uint32_t)old : 0) + (uint32_t)more;
	while (!atomic_compare_exchange_weak(&lookup_left, &old, process | left));
	return (unsigned)left;
}

static void lookup_free(struct lookup *lookup)
{
	if (lookup->list)
		freeaddrinfo(lookup->list);
	usp_sys_close(lookup->answered_fd);
	usp_free(lookup->host);
	usp_free(lookup->port);
	usp_free(lookup);
}

static void lookup_leave(struct lookup *lookup)
{
	if (!atomic_exchange(&lookup->is_left, true))
		return;
	if (lookup->is_behind)
		lookup_count_left(-1);
	lookup_free(lookup);
}

/* --- A look-up ------------------------------------------------------------------------------------ */

/* It belongs to the caller alone until a thread is started. */
static struct lookup *lookup_new(const char *host, const char *port, const struct addrinfo *hints)
{
	struct lookup *lookup = usp_alloc(sizeof(*lookup));

	if (!lookup)
		return NULL;
	*lookup = (struct lookup){.hints = *hints, .answered_fd = -1, .is_left = true};
	lookup->host = host ? usp_alloc_string(host) : NULL;
	lookup->port = usp_alloc_string(port);
	if ((host && !lookup->host) || !lookup->port) {
		lookup_free(lookup);
		return NULL;
	}
	return lookup;
}

static void lookup_ask(struct lookup *lookup)
{
	lookup->error = getaddrinfo(lookup->host, lookup->port, &lookup->hints, &lookup->list);
}

static void *lookup_run(void *arg)
{
	struct lookup *lookup = arg;

	lookup_ask(lookup);
	usp_sys_eventfd_set(lookup->answered_fd, true);
	lookup_leave(lookup);
	return NULL;
}

static int lookup_start(struct lookup *lookup)
{
	sigset_t old_mask;
	int ret;

	lookup->answered_fd = usp_sys_eventfd();
	if (lookup->answered_fd < 0)
		return lookup->answered_fd;
	atomic_store(&lookup->is_left, false);
	usp_sys_block_signals(&old_mask);
	ret = -pthread_create(&lookup->thread, NULL, lookup_run, lookup);
	usp_sys_restore_signals(&old_mask);
	if (ret < 0)
		atomic_store(&lookup->is_left, true);
	return ret;
}

/* 0 if the thread has answered and ended; -ETIMEDOUT or -EINTR if it was left behind. */
static int lookup_await(struct lookup *lookup, uint64_t give_up_ns, const char **ret_why)
{
	int ret = usp_wait_until(lookup->answered_fd, POLLIN, give_up_ns);

	if (ret == 0) {
		pthread_join(lookup->thread, NULL);
		return 0;
	}
	if (ret == -ETIMEDOUT)
		*ret_why = "the name service did not answer in time";
	pthread_detach(lookup->thread);
	lookup->is_behind = true;
	lookup_count_left(1);
	return ret;
}

/* Without a thread nothing ends the wait. */
static int lookup_ask_here(struct lookup *lookup, uint64_t give_up_ns, const char **ret_why)
{
	lookup_ask(lookup);
	if (usp_sys_now_ns() < give_up_ns)
		return 0;
	*ret_why = "the name service did not answer in time, and no thread could be had to stop waiting for it";
	return -ETIMEDOUT;
}

static int lookup_result(int error, const char **ret_why)
{
	switch (error) {
	case 0:
		return 0;
	case EAI_MEMORY:
		return -ENOMEM;
	case EAI_SERVICE:
		*ret_why = "no service of this name has a port";
		return -EINVAL;
	case EAI_AGAIN:
		*ret_why = "the name service does not answer";
		return -EHOSTUNREACH;
	default:
		*ret_why = "the name does not resolve";
		return -EHOSTUNREACH;
	}
}

static int lookup_name(struct lookup *lookup, uint64_t give_up_ns, struct addrinfo **ret_list, const char **ret_why)
{
	int ret;

	if (lookup_start(lookup) == 0)
		ret = lookup_await(lookup, give_up_ns, ret_why);
	else
		ret = lookup_ask_here(lookup, give_up_ns, ret_why);
	if (ret == 0)
		ret = lookup_result(lookup->error, ret_why);
	if (ret == 0) {
		*ret_list = lookup->list;
		lookup->list = NULL;
	}
	lookup_leave(lookup);
	return ret;
}

int usp_lookup(const char *host, const char *port, const struct addrinfo *hints, uint64_t give_up_ns,
	       struct addrinfo **ret_list, const char **ret_why)
{
	struct addrinfo numeric = *hints;
	struct lookup *lookup;
	int error;

	numeric.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
	error = getaddrinfo(host, port, &numeric, ret_list);
	if (error != EAI_NONAME)
		return lookup_result(error, ret_why);
	if (lookup_count_left(0) >= LOOKUP_LEFT_MAX) {
		*ret_why = "too many look-ups before it still wait for the name service";
		return -EAGAIN;
	}
	lookup = lookup_new(host, port, hints);
	return lookup ? lookup_name(lookup, give_up_ns, ret_list, ret_why) : -ENOMEM;
}
