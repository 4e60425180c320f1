/* SPDX-License-Identifier: MIT */
/*
 * lookup - ask the name service, and stop waiting for it at a moment or after a signal.
 *
 * getaddrinfo(3) waits as long as the resolver does, and cannot be interrupted. So it runs in a thread
 * of its own, which handles no signals, and the caller waits for a descriptor. A caller that gives up
 * abandons the thread:
 *
 *	caller   make, start ─── wait ─┬─ answered: join, take the list ─┬─ leave
 *	                               └─ gave up: detach ───────────────┘
 *	thread          getaddrinfo ─────── tell ─────────────────────────── leave
 *
 * The last one to leave frees the look-up. An abandoned thread ends with the answer, or when the
 * resolver gives up. Until then it touches only its look-up.
 */
#include "base/lookup.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/thread.h"
#include "base/wait.h"

#define LOOKUP_LEFT_MAX 16 /* abandoned at a time: each has a stack, and sockets of the resolver */

struct usp_lookup {
	char *host, *port; /* host may be NULL */
	struct addrinfo hints;
	pthread_t thread;
	int answered_fd;
	atomic_bool is_left; /* by caller or thread: the other one frees it */
	bool is_behind;	     /* the caller left before the answer */
	int error;	     /* of getaddrinfo, EAI_AGAIN and so on */
	struct addrinfo *list;
};

/* --- Abandoned look-ups --------------------------------------------------------------------------- */

/* The process number (high half) and its abandoned look-ups. A child has no thread of its parent: it begins at 0. */
static _Atomic(uint64_t) lookup_left;

/* Add to the number of abandoned look-ups, and return it. */
static unsigned lookup_count_left(int more)
{
	uint64_t process = (uint64_t)usp_own_nr() << 32, old = atomic_load(&lookup_left), left;

	do
		left = (old >> 32 == process >> 32 ? (uint32_t)old : 0) + (uint32_t)more;
	while (!atomic_compare_exchange_weak(&lookup_left, &old, process | left));
	return (unsigned)left;
}

static void lookup_free(struct usp_lookup *lookup)
{
	if (lookup->list)
		freeaddrinfo(lookup->list);
	usp_sys_close(lookup->answered_fd);
	usp_free(lookup->host);
	usp_free(lookup->port);
	usp_free(lookup);
}

static void lookup_leave(struct usp_lookup *lookup)
{
	if (!atomic_exchange(&lookup->is_left, true))
		return;
	if (lookup->is_behind)
		lookup_count_left(-1);
	lookup_free(lookup);
}

/* --- A look-up ------------------------------------------------------------------------------------ */

/* Make a look-up, which only the caller uses until a thread is started. */
static struct usp_lookup *lookup_new(const char *host, const char *port, const struct addrinfo *hints)
{
	struct usp_lookup *lookup = usp_alloc(sizeof(*lookup));

	if (!lookup)
		return NULL;
	*lookup = (struct usp_lookup){.hints = *hints, .answered_fd = -1, .is_left = true};
	lookup->host = host ? usp_alloc_string(host) : NULL;
	lookup->port = usp_alloc_string(port);
	if ((host && !lookup->host) || !lookup->port) {
		lookup_free(lookup);
		return NULL;
	}
	return lookup;
}

static void lookup_ask(struct usp_lookup *lookup)
{
	lookup->error = getaddrinfo(lookup->host, lookup->port, &lookup->hints, &lookup->list);
}

static void *lookup_run(void *arg)
{
	struct usp_lookup *lookup = arg;

	lookup_ask(lookup);
	usp_sys_eventfd_set(lookup->answered_fd, true);
	lookup_leave(lookup);
	return NULL;
}

static int lookup_start(struct usp_lookup *lookup)
{
	int ret;

	lookup->answered_fd = usp_sys_eventfd();
	if (lookup->answered_fd < 0)
		return lookup->answered_fd;
	atomic_store(&lookup->is_left, false);
	ret = usp_thread_start(&lookup->thread, lookup_run, lookup);
	if (ret < 0)
		atomic_store(&lookup->is_left, true);
	return ret;
}

void usp_lookup_drop(struct usp_lookup *lookup)
{
	pthread_detach(lookup->thread);
	lookup->is_behind = true;
	lookup_count_left(1);
	lookup_leave(lookup);
}

/* Ask without a thread: neither the moment nor a signal ends this wait. */
static int lookup_ask_here(struct usp_lookup *lookup, uint64_t give_up_ns, const char **ret_why)
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

static int lookup_take(struct usp_lookup *lookup, struct addrinfo **ret_list, const char **ret_why)
{
	int ret = lookup_result(lookup->error, ret_why);

	if (ret == 0) {
		*ret_list = lookup->list;
		lookup->list = NULL;
	}
	lookup_leave(lookup);
	return ret;
}

int usp_lookup_end(struct usp_lookup *lookup, struct addrinfo **ret_list, const char **ret_why)
{
	pthread_join(lookup->thread, NULL);
	return lookup_take(lookup, ret_list, ret_why);
}

/* --- Asking ---------------------------------------------------------------------------------------- */

/* Resolve numbers without the name service: 0 with a list, or 0 with NULL if host or port is a name. */
static int lookup_numbers(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list,
			  const char **ret_why)
{
	struct addrinfo numeric = *hints;
	int error;

	numeric.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
	error = getaddrinfo(host, port, &numeric, ret_list);
	if (error != EAI_NONAME)
		return lookup_result(error, ret_why);
	*ret_list = NULL;
	return 0;
}

/* Make a look-up that has not begun: 0, -ENOMEM, or -EAGAIN if too many abandoned ones still run. */
static int lookup_prepare(const char *host, const char *port, const struct addrinfo *hints,
			  struct usp_lookup **ret_lookup, const char **ret_why)
{
	if (lookup_count_left(0) >= LOOKUP_LEFT_MAX) {
		*ret_why = "too many look-ups before it still wait for the name service";
		return -EAGAIN;
	}
	*ret_lookup = lookup_new(host, port, hints);
	return *ret_lookup ? 0 : -ENOMEM;
}

int usp_lookup_begin(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret_list,
		     struct usp_lookup **ret_lookup, const char **ret_why)
{
	struct addrinfo *list = NULL;
	struct usp_lookup *lookup = NULL;
	int ret = lookup_numbers(host, port, hints, &list, ret_why);

	if (ret == 0 && !list && ret_lookup)
		ret = lookup_prepare(host, port, hints, &lookup, ret_why);
	if (ret == 0 && lookup) {
		ret = lookup_start(lookup);
		if (ret < 0)
			lookup_leave(lookup);
	}
	if (ret < 0)
		return ret;
	*ret_list = list;
	if (ret_lookup)
		*ret_lookup = lookup;
	return 0;
}

int usp_lookup_fd(const struct usp_lookup *lookup)
{
	return lookup->answered_fd;
}

int usp_lookup(const char *host, const char *port, const struct addrinfo *hints, uint64_t give_up_ns,
	       struct addrinfo **ret_list, const char **ret_why)
{
	struct addrinfo *list = NULL;
	struct usp_lookup *lookup;
	int ret = lookup_numbers(host, port, hints, &list, ret_why);

	if (ret < 0 || list) {
		*ret_list = list;
		return ret;
	}
	ret = lookup_prepare(host, port, hints, &lookup, ret_why);
	if (ret < 0)
		return ret;
	if (lookup_start(lookup) < 0) {
		ret = lookup_ask_here(lookup, give_up_ns, ret_why);
		if (ret == 0)
			return lookup_take(lookup, ret_list, ret_why);
		lookup_leave(lookup);
		return ret;
	}
	ret = usp_wait_until(lookup->answered_fd, POLLIN, give_up_ns);
	if (ret == 0)
		return usp_lookup_end(lookup, ret_list, ret_why);
	if (ret == -ETIMEDOUT)
		*ret_why = "the name service did not answer in time";
	usp_lookup_drop(lookup);
	return ret;
}

/* --- Users and groups --------------------------------------------------------------------------------------- */

#define LOOKUP_ENTRY_BYTES 16384 /* a group with many members is -ERANGE: name it by its number then */

/* Read decimal digits, and nothing else: false if this is a name. */
static bool lookup_number(const char *text, uint32_t *ret_number)
{
	uint32_t number = 0;

	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || __builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, (uint32_t)(*text - '0'), &number))
			return false;
	}
	*ret_number = number;
	return number != UINT32_MAX; /* which chown(2) takes for none */
}

int usp_lookup_user(const char *name, uid_t *ret_user)
{
	char bytes[LOOKUP_ENTRY_BYTES];
	struct passwd entry, *found;
	int error;

	if (lookup_number(name, ret_user))
		return 0;
	error = getpwnam_r(name, &entry, bytes, sizeof(bytes), &found);
	if (error || !found)
		return error ? -error : -ENOENT;
	*ret_user = entry.pw_uid;
	return 0;
}

int usp_lookup_group(const char *name, gid_t *ret_group)
{
	char bytes[LOOKUP_ENTRY_BYTES];
	struct group entry, *found;
	int error;

	if (lookup_number(name, ret_group))
		return 0;
	error = getgrnam_r(name, &entry, bytes, sizeof(bytes), &found);
	if (error || !found)
		return error ? -error : -ENOENT;
	*ret_group = entry.gr_gid;
	return 0;
}
