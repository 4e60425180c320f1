/* SPDX-License-Identifier: MIT */
/*
 * resolver - the targets of a relay as they were named, and the thread that keeps the addresses of
 * the names.
 *
 *   names ──► due: look-ups begin ──► answered, or too late ──► a new list of targets, if that changes something
 *                  ▲                          │
 *                  └── after a while, sooner after a failure, or when no address of the name works
 *
 * Each look-up has a thread of its own (base/lookup), so that a name without an answer delays no
 * other. The resolver's thread waits for all of them, until it is woken. A name that cannot be
 * looked up keeps the addresses that it had.
 */
#include "relay/resolver.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/lookup.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/thread.h"
#include "base/wait.h"
#include "endpoints/stream_address.h"
#include "relay/fit.h"
#include "relay/state.h"
#include "relay/worker.h"

#define RESOLVER_AT_ONCE 8		      /* look-ups, each in a thread */
#define RESOLVER_SOON_NS UINT64_C(1000000000) /* shortest time between two look-ups of a name */
#define RESOLVER_AGAIN_NS UINT64_C(50000000)  /* until something that this machine lacks may be free again */
#define RESOLVER_BACKOFF_MAX 10		      /* doublings of that, after failures */

struct usp_resolver_name {
	struct usp_target_source source;
	struct usp_lookup *lookup; /* under way, until late_ns */
	uint64_t due_ns, late_ns;  /* USP_NEVER: no look-up */
	uint64_t begun_ns;	   /* of the last look-up; 0: none */
	unsigned nr_failed;	   /* failed look-ups in a row */
};

/* --- Names ------------------------------------------------------------------------------------------- */

static void name_free(struct usp_resolver_name *name)
{
	if (!name)
		return;
	if (name->lookup)
		usp_lookup_drop(name->lookup);
	usp_stream_resolve_free(name->source.addresses);
	usp_free(name->source.name);
	usp_free(name);
}

static void names_free(struct usp_resolver_name **names, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++)
		name_free(names[i]);
	usp_free(names);
}

/* Make a name. Numbers and paths have their addresses at once; a name has none before it is looked up. */
static int name_new(const char *text, struct usp_resolver_name **ret_name, const char **ret_why)
{
	struct usp_resolver_name *name = usp_alloc(sizeof(*name));
	int ret;

	*ret_name = name;
	if (!name)
		return -ENOMEM;
	name->source.name = usp_alloc_string(text);
	if (!name->source.name)
		return -ENOMEM;
	ret = usp_stream_resolve_begin(text, &name->source.addresses, NULL, ret_why);
	name->source.is_pending = !name->source.addresses;
	name->due_ns = name->source.addresses ? USP_NEVER : 0;
	return ret;
}

/*
 * Check whether the relay can connect to the targets. Addresses that are not known yet are checked
 * later.
 */
static int names_check(const struct usp_relay *relay, struct usp_resolver_name *const *names, unsigned nr,
		       unsigned *ret_failed, const char **ret_why)
{
	int ret = 0;

	for (unsigned i = 0; i < nr && ret == 0; i++) {
		*ret_failed = i;
		ret = usp_fit_target(relay, names[i]->source.addresses, ret_why);
	}
	return ret;
}

int usp_resolver_check(struct usp_resolver *resolver, const char **ret_why)
{
	unsigned failed;
	int ret;

	pthread_mutex_lock(&resolver->lock);
	ret = names_check(resolver->relay, resolver->names, resolver->nr, &failed, ret_why);
	pthread_mutex_unlock(&resolver->lock);
	return ret;
}

static int names_new(const char *const *texts, unsigned nr, struct usp_resolver_name ***ret_names, unsigned *ret_failed,
		     const char **ret_why)
{
	struct usp_resolver_name **names = usp_alloc_array(nr + 1, sizeof(struct usp_resolver_name *));
	int ret = names ? 0 : -ENOMEM;

	for (unsigned i = 0; i < nr && ret == 0; i++) {
		*ret_failed = i;
		ret = name_new(texts[i], &names[i], ret_why);
	}
	if (ret < 0)
		names_free(names, names ? nr : 0);
	else
		*ret_names = names;
	return ret;
}

static bool name_is_looked_up(const struct usp_resolver_name *name)
{
	return name->due_ns != USP_NEVER;
}

static bool names_are_looked_up(struct usp_resolver_name *const *names, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (name_is_looked_up(names[i]))
			return true;
	}
	return false;
}

/* Return when to look a name up again, after an answer or a failure. */
static uint64_t resolver_next(const struct usp_resolver *resolver, const struct usp_resolver_name *name,
			      uint64_t now_ns)
{
	uint64_t period_ns = resolver->relay->params.resolve_after_ns;
	uint64_t soon_ns = RESOLVER_SOON_NS << usp_min(name->nr_failed, RESOLVER_BACKOFF_MAX) >> 1;

	return now_ns + (name->nr_failed && soon_ns < period_ns ? soon_ns : period_ns);
}

/* --- Lists of targets -------------------------------------------------------------------------------- */

/*
 * Find the resolver's entry for the name at index, or NULL. Of several equal names, the n-th finds
 * the n-th.
 */
static struct usp_resolver_name **resolver_find(const struct usp_resolver *resolver,
						struct usp_resolver_name *const *names, unsigned index)
{
	const char *text = names[index]->source.name;
	unsigned nr_before = 0;

	for (unsigned i = 0; i < index; i++)
		nr_before += strcmp(names[i]->source.name, text) == 0;
	for (unsigned i = 0; i < resolver->nr; i++) {
		if (strcmp(resolver->names[i]->source.name, text) == 0 && nr_before-- == 0)
			return &resolver->names[i];
	}
	return NULL;
}

static bool sources_have_address(const struct usp_target_source *const *sources, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		if (sources[i]->addresses)
			return true;
	}
	return false;
}

/*
 * Make these names the targets. With keeps, names that the resolver already has keep their state.
 * As long as none of them has an address the old targets stay, and the next answer tries again. The
 * lock is held.
 */
static int resolver_publish(struct usp_resolver *resolver, struct usp_resolver_name **names, unsigned nr, bool keeps)
{
	const struct usp_target_source **sources = usp_alloc_array(nr + 1, sizeof(sources[0]));
	const struct usp_targets *old = resolver->relay->targets, *before = names == resolver->names ? old : NULL;
	struct usp_targets *targets = NULL;
	int ret = 0;

	if (!sources)
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		struct usp_resolver_name **there = keeps ? resolver_find(resolver, names, i) : NULL;

		sources[i] = there ? &(*there)->source : &names[i]->source;
	}
	if (!nr || !old || sources_have_address(sources, nr))
		ret = usp_targets_new(sources, nr, &resolver->book, before, &targets);
	if (targets)
		usp_relay_publish(resolver->relay, targets);
	usp_free(sources);
	return ret;
}

/* Keep for each name that stays its addresses, until it is looked up again, and a look-up under way. */
static void resolver_keep(struct usp_resolver *resolver, struct usp_resolver_name **names, unsigned nr)
{
	for (unsigned i = 0; i < nr; i++) {
		struct usp_resolver_name **there = resolver_find(resolver, names, i), *name = names[i];

		if (!there || !name_is_looked_up(name))
			continue;
		names[i] = *there;
		*there = name;
		names[i]->due_ns = 0;
	}
}

static int resolver_start(struct usp_resolver *resolver, struct usp_resolver_name *const *names, unsigned nr);

/* Take over the names. On failure they are freed. */
static int resolver_take(struct usp_resolver *resolver, struct usp_resolver_name **names, unsigned nr, bool keeps)
{
	struct usp_resolver_name **old = names;
	unsigned nr_old = nr;
	int ret;

	pthread_mutex_lock(&resolver->lock);
	ret = resolver_start(resolver, names, nr);
	if (ret == 0)
		ret = resolver_publish(resolver, names, nr, keeps);
	if (ret == 0) {
		if (keeps)
			resolver_keep(resolver, names, nr);
		old = resolver->names;
		nr_old = resolver->nr;
		resolver->names = names;
		resolver->nr = nr;
	}
	pthread_mutex_unlock(&resolver->lock);
	usp_sys_eventfd_set(resolver->wake_fd, true);
	names_free(old, nr_old);
	return ret;
}

int usp_resolver_name(struct usp_resolver *resolver, const char *const *names, unsigned nr, unsigned *ret_failed,
		      const char **ret_why)
{
	struct usp_resolver_name **own;
	int ret = names_new(names, nr, &own, ret_failed, ret_why);

	if (ret < 0)
		return ret;
	ret = names_check(resolver->relay, own, nr, ret_failed, ret_why);
	if (ret == 0)
		return resolver_take(resolver, own, nr, true);
	names_free(own, nr);
	return ret;
}

/* Wait until all names are known. */
static int names_resolve(const struct usp_resolver *resolver, struct usp_resolver_name **names, unsigned nr,
			 unsigned *ret_failed, const char **ret_why)
{
	int ret = 0;

	for (unsigned i = 0; i < nr && ret == 0; i++) {
		struct usp_resolver_name *name = names[i];

		if (!name_is_looked_up(name))
			continue;
		*ret_failed = i;
		name->begun_ns = usp_sys_now_ns();
		ret = usp_stream_resolve(name->source.name, false, &name->source.addresses, ret_why);
		name->source.is_pending = false;
		name->due_ns = resolver_next(resolver, name, usp_sys_now_ns());
	}
	return ret;
}

int usp_resolver_set(struct usp_resolver *resolver, const char *const *names, unsigned nr, unsigned *ret_failed,
		     const char **ret_why)
{
	struct usp_resolver_name **own;
	int ret = names_new(names, nr, &own, ret_failed, ret_why);

	if (ret < 0)
		return ret;
	ret = names_resolve(resolver, own, nr, ret_failed, ret_why);
	if (ret == 0)
		ret = names_check(resolver->relay, own, nr, ret_failed, ret_why);
	if (ret == 0)
		return resolver_take(resolver, own, nr, false);
	names_free(own, nr);
	return ret;
}

/* --- Look-ups: in the thread, and with the lock held ------------------------------------------------------ */

static void resolver_tell(const struct usp_resolver *resolver, const struct usp_resolver_name *name, const char *why)
{
	const struct usp_relay_params *params = &resolver->relay->params;
	const struct usp_relay_news news = {
		.size = sizeof(news),
		.kind = why ? USP_RELAY_TARGET_UNKNOWN : USP_RELAY_TARGET_KNOWN,
		.target = name->source.name,
		.error = name->source.lookup_error,
		.why = why,
	};

	if (params->told)
		params->told(params->told_arg, &news);
}

static bool list_has(const struct addrinfo *list, const struct addrinfo *info)
{
	for (; list; list = list->ai_next) {
		if (list->ai_addrlen == info->ai_addrlen && memcmp(list->ai_addr, info->ai_addr, info->ai_addrlen) == 0)
			return true;
	}
	return false;
}

static bool list_is_within(const struct addrinfo *list, const struct addrinfo *other)
{
	for (; list; list = list->ai_next) {
		if (!list_has(other, list))
			return false;
	}
	return true;
}

/*
 * Take the addresses of an answer; true if they changed. The order of an answer often changes and
 * means nothing, so equal addresses keep their order.
 */
static bool name_learn(struct usp_resolver_name *name, struct addrinfo *list)
{
	bool is_same = name->source.addresses && list_is_within(list, name->source.addresses) &&
		       list_is_within(name->source.addresses, list);

	usp_stream_resolve_free(is_same ? list : name->source.addresses);
	if (!is_same)
		name->source.addresses = list;
	return !is_same;
}

/* Note the result of a look-up. True if the list of targets changes. */
static bool resolver_answered(const struct usp_resolver *resolver, struct usp_resolver_name *name, int error,
			      struct addrinfo *list, const char *why, uint64_t now_ns)
{
	bool is_news = (error < 0) != (name->source.lookup_error < 0);
	bool is_changed = name->source.is_pending || error != name->source.lookup_error;

	name->source.is_pending = false;
	name->source.lookup_error = error;
	name->nr_failed = error < 0 ? name->nr_failed + 1 : 0;
	name->due_ns = resolver_next(resolver, name, now_ns);
	if (is_news)
		resolver_tell(resolver, name, error < 0 ? (why ? why : "it cannot be looked up now") : NULL);
	return error == 0 ? name_learn(name, list) || is_changed : is_changed;
}

/* Look whether a look-up has ended, and note its result. True if the list of targets changes. */
static bool resolver_look(const struct usp_resolver *resolver, struct usp_resolver_name *name, uint64_t now_ns)
{
	struct usp_lookup *lookup = name->lookup;
	struct addrinfo *list = NULL;
	const char *why = NULL;
	int ret = lookup ? usp_wait_until(usp_lookup_fd(lookup), POLLIN, 0) : -ETIMEDOUT;

	if (!lookup || (ret < 0 && now_ns < name->late_ns))
		return false;
	name->lookup = NULL;
	if (ret == 0) {
		ret = usp_lookup_end(lookup, &list, &why);
		if (ret == 0)
			ret = usp_fit_target(resolver->relay, list, &why);
		if (ret < 0)
			usp_stream_resolve_free(list);
	} else {
		usp_lookup_drop(lookup);
		why = "the name service did not answer in time";
	}
	return resolver_answered(resolver, name, ret, list, why, now_ns);
}

/* Begin the look-up of a name if it is due. True if the list of targets changes. */
static bool resolver_ask(const struct usp_resolver *resolver, struct usp_resolver_name *name, uint64_t now_ns)
{
	struct addrinfo *list = NULL;
	const char *why = NULL;
	bool was_pending, is_changed;
	int ret;

	if (name->lookup || name->due_ns > now_ns)
		return false;
	name->begun_ns = now_ns;
	name->late_ns = now_ns + USP_STREAM_LOOKUP_NS;
	ret = usp_stream_resolve_begin(name->source.name, &list, &name->lookup, &why);
	if (ret == 0)
		return false;
	was_pending = name->source.is_pending;
	is_changed = resolver_answered(resolver, name, ret, NULL, why, now_ns);
	name->source.is_pending = was_pending; /* a look-up that could not begin is not an answer */
	name->due_ns = now_ns + RESOLVER_AGAIN_NS;
	return is_changed;
}

/* Look a name up again soon, because no address of it works, but not all the time. */
static void resolver_hurry(const struct usp_resolver *resolver, unsigned index, uint64_t now_ns)
{
	struct usp_resolver_name *name = resolver->names[index];
	const struct usp_targets *targets = resolver->relay->targets;
	uint64_t soon_ns = name->begun_ns + RESOLVER_SOON_NS;

	if (name_is_looked_up(name) && !name->nr_failed && soon_ns < name->due_ns && index < targets->nr &&
	    strcmp(targets->target[index].name, name->source.name) == 0 &&
	    !usp_target_is_up(&targets->target[index], now_ns))
		name->due_ns = soon_ns;
}

static void resolver_go(struct usp_resolver *resolver, uint64_t now_ns)
{
	bool must_hurry = atomic_exchange(&resolver->must_hurry, false), is_changed = false;
	unsigned nr_asked = 0;

	for (unsigned i = 0; i < resolver->nr; i++) {
		is_changed |= resolver_look(resolver, resolver->names[i], now_ns);
		nr_asked += resolver->names[i]->lookup != NULL;
		if (must_hurry)
			resolver_hurry(resolver, i, now_ns);
	}
	for (unsigned i = 0; i < resolver->nr && nr_asked < RESOLVER_AT_ONCE; i++) {
		bool was_asked = resolver->names[i]->lookup;

		is_changed |= resolver_ask(resolver, resolver->names[i], now_ns);
		nr_asked += !was_asked && resolver->names[i]->lookup;
	}
	resolver->is_stale |= is_changed;
	if (resolver->is_stale)
		resolver->is_stale = resolver_publish(resolver, resolver->names, resolver->nr, false) < 0;
}

/*
 * Collect what to wait for, and until when: the number of descriptors. A name that is due waits for
 * a look-up under way.
 */
static unsigned resolver_waits(const struct usp_resolver *resolver, uint64_t now_ns, struct pollfd *ret_fds,
			       uint64_t *ret_moment_ns)
{
	unsigned nr = 0;

	*ret_moment_ns = resolver->is_stale ? now_ns + RESOLVER_AGAIN_NS : USP_NEVER;
	ret_fds[nr++] = (struct pollfd){.fd = resolver->wake_fd, .events = POLLIN};
	for (unsigned i = 0; i < resolver->nr; i++) {
		const struct usp_resolver_name *name = resolver->names[i];
		uint64_t moment_ns = name->lookup ? name->late_ns : name->due_ns;

		if (name->lookup)
			ret_fds[nr++] = (struct pollfd){.fd = usp_lookup_fd(name->lookup), .events = POLLIN};
		if (moment_ns > now_ns && moment_ns < *ret_moment_ns)
			*ret_moment_ns = moment_ns;
	}
	return nr;
}

/* --- The thread ---------------------------------------------------------------------------------------- */

static void *resolver_run(void *arg)
{
	struct pollfd fds[1 + RESOLVER_AT_ONCE];
	struct usp_resolver *resolver = arg;
	uint64_t now_ns, moment_ns;
	unsigned nr_fds;

	while (!atomic_load(&resolver->must_end)) {
		usp_sys_eventfd_set(resolver->wake_fd, false);
		now_ns = usp_sys_now_ns();
		pthread_mutex_lock(&resolver->lock);
		resolver_go(resolver, now_ns);
		nr_fds = resolver_waits(resolver, now_ns, fds, &moment_ns);
		pthread_mutex_unlock(&resolver->lock);
		usp_sys_poll(fds, nr_fds, moment_ns == USP_NEVER ? -1 : (int64_t)(moment_ns - now_ns));
	}
	return NULL;
}

/* Start the thread, if it has something to do. The lock is held. */
static int resolver_start(struct usp_resolver *resolver, struct usp_resolver_name *const *names, unsigned nr)
{
	int ret;

	if (!resolver->is_running || resolver->has_thread || !names_are_looked_up(names, nr))
		return 0;
	ret = usp_thread_start(&resolver->thread, resolver_run, resolver);
	resolver->has_thread = ret == 0;
	return ret;
}

int usp_resolver_begin(struct usp_resolver *resolver)
{
	int ret;

	pthread_mutex_lock(&resolver->lock);
	resolver->is_running = true;
	ret = resolver_start(resolver, resolver->names, resolver->nr);
	pthread_mutex_unlock(&resolver->lock);
	return ret;
}

void usp_resolver_end(struct usp_resolver *resolver)
{
	bool has_thread;

	pthread_mutex_lock(&resolver->lock);
	has_thread = resolver->has_thread;
	resolver->is_running = resolver->has_thread = false;
	pthread_mutex_unlock(&resolver->lock);
	if (!has_thread)
		return;
	atomic_store(&resolver->must_end, true);
	usp_sys_eventfd_set(resolver->wake_fd, true);
	pthread_join(resolver->thread, NULL);
}

void usp_resolver_hurry(struct usp_resolver *resolver)
{
	atomic_store(&resolver->must_hurry, true);
	usp_sys_eventfd_set(resolver->wake_fd, true);
}

/* --- Life ------------------------------------------------------------------------------------------------ */

int usp_resolver_init(struct usp_resolver *resolver, struct usp_relay *relay)
{
	resolver->relay = relay;
	pthread_mutex_init(&resolver->lock, NULL);
	usp_address_book_init(&resolver->book);
	resolver->wake_fd = usp_sys_eventfd();
	return resolver->wake_fd < 0 ? resolver->wake_fd : 0;
}

/* Free the resolver, after the last list of its targets. */
void usp_resolver_fini(struct usp_resolver *resolver)
{
	if (resolver->relay->process != usp_own_nr()) { /* a child has none of the threads */
		for (unsigned i = 0; i < resolver->nr; i++)
			resolver->names[i]->lookup = NULL;
	}
	names_free(resolver->names, resolver->nr);
	usp_address_book_fini(&resolver->book);
	pthread_mutex_destroy(&resolver->lock);
	usp_sys_close(resolver->wake_fd);
}
