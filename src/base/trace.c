/* SPDX-License-Identifier: MIT */
/*
 * trace - a table of the system calls, filled by the door to the kernel while a trace is on.
 *
 * There is no lock: a signal handler may make a call, too. An entry belongs to the name that is put into it
 * first.
 */
#include "base/trace.h"

#include <string.h>

#include "base/compiler.h"
#include "base/sized.h"

#define TRACE_MAX 128

struct trace_entry {
	_Atomic(const char *) name;
	_Atomic(uint64_t) nr_calls, nr_errors, ns;
};

atomic_bool usp_trace_is_on;
static struct trace_entry trace_entries[TRACE_MAX];

void usp_trace_start(void)
{
	atomic_store(&usp_trace_is_on, false);
	for (unsigned i = 0; i < TRACE_MAX; i++) {
		atomic_store(&trace_entries[i].nr_calls, 0);
		atomic_store(&trace_entries[i].nr_errors, 0);
		atomic_store(&trace_entries[i].ns, 0);
		atomic_store(&trace_entries[i].name, NULL);
	}
	atomic_store(&usp_trace_is_on, true);
}

void usp_trace_stop(void)
{
	atomic_store(&usp_trace_is_on, false);
}

/* Return the entry of a name, or a free one that gets it; NULL if there is none. */
static struct trace_entry *trace_find(const char *name)
{
	for (unsigned i = 0; i < TRACE_MAX; i++) {
		const char *found = NULL;

		if (atomic_compare_exchange_strong(&trace_entries[i].name, &found, name) || strcmp(found, name) == 0)
			return &trace_entries[i];
	}
	return NULL;
}

void usp_trace_note(const char *wrapper, uint64_t ns, int64_t result)
{
	struct trace_entry *entry = trace_find(strstr(wrapper, "sys_") + strlen("sys_"));

	if (!entry)
		return;
	atomic_fetch_add(&entry->nr_calls, 1);
	atomic_fetch_add(&entry->nr_errors, result < 0);
	atomic_fetch_add(&entry->ns, ns);
}

unsigned usp_trace_calls(struct usp_trace_call *ret_calls, unsigned nr)
{
	unsigned i;

	for (i = 0; i < TRACE_MAX && atomic_load(&trace_entries[i].name); i++) {
		const struct trace_entry *entry = &trace_entries[i];
		struct usp_trace_call call = {
			.name = atomic_load(&entry->name),
			.nr_calls = atomic_load(&entry->nr_calls),
			.nr_errors = atomic_load(&entry->nr_errors),
			.ns = atomic_load(&entry->ns),
		};
		struct usp_trace_call *ret_call;

		if (i >= nr)
			continue;
		ret_call = (void *)((char *)ret_calls + i * ret_calls->size);
		ret_call->size = ret_calls->size;
		usp_sized_give(ret_call, &call, sizeof(call));
	}
	return i;
}
