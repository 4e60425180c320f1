/* SPDX-License-Identifier: MIT */
/*
 * worker - one thread of a relay: its loop, its connections, its counters; and the relay that all workers share.
 *
 * The files of this folder are stairs. Each calls those before it:
 *
 *   state < worker < account, admit, header, tell < work < conn < linger < flow < connect < client < handover < accept < run < relay
 *
 * What a lower stair needs of an upper one it reaches through a function that the upper one fills in: pause and has_room of a
 * worker, fired of a timer, ready of a watch.
 */
#ifndef USP_RELAY_WORKER_H
#define USP_RELAY_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <usplice/relay.h>

#include "base/slab.h"
#include "event/loop.h"
#include "event/sched.h"
#include "event/uring.h"
#include "pump/rate.h"
#include "relay/conn.h"
#include "relay/door.h"
#include "relay/handover.h"
#include "relay/limits.h"
#include "relay/report.h"
#include "relay/resolver.h"
#include "relay/rules.h"
#include "relay/target.h"

#define USP_RELAY_LISTENERS_MAX 64

enum usp_relay_state { USP_RELAY_RUNNING, USP_RELAY_DRAINING, USP_RELAY_STOPPING };

/*
 * Counters of one worker. Only that worker writes them, except for connections; any thread may read
 * them.
 */
struct usp_relay_counters {
	_Atomic(uint64_t) accepted, unserved, idle_closed, reset, accept_pauses, lane_switches, stranded;
	_Atomic(uint64_t) source_waits[2], sink_waits[2], delivered[2], nr_calls[2][2];
	_Atomic(uint64_t) bytes[2][2][USP_NR_WAYS];
	_Atomic(const char *) reason[2][2][USP_NR_WAYS];
	atomic_uint connections, kernel_flows, is_batch;
	_Atomic(uint64_t) header_faults[USP_NR_HEADER_FAULTS];
	_Atomic(uint64_t) untold, denied, too_many, too_fast;
};

/* A listening socket as one worker sees it. */
struct usp_listener {
	struct usp_watch watch;
	struct usp_worker *worker;
	int fd;
	unsigned char index;
	bool is_tcp;
};

struct usp_worker {
	struct usp_relay *relay;
	struct usp_loop *loop;
	pthread_t thread;
	bool has_thread;
	int error; /* of its loop */
	atomic_bool is_running;
	atomic_uint nr_answered; /* the value of relay->nr_asked that it saw last */
	struct usp_uring *uring; /* made for the first connection; NULL before, and if it cannot be made */
	bool has_tried_uring;
	struct usp_sched sched;	   /* how its thread is scheduled */
	struct usp_slab conn_slab; /* memory of the connections */
	struct usp_conn *conns;	   /* all of them */
	struct usp_folio *scratch; /* its pumps read messages into it; NULL if one of them keeps it */
	struct usp_targets *targets;
	unsigned targets_version;
	struct usp_rules *rules;
	unsigned rules_version;
	struct usp_listener listeners[USP_RELAY_LISTENERS_MAX];
	bool is_accepting;
	bool is_tight; /* few descriptors are left: do not accept until there are more */
	struct usp_handover handover;
	/* What the floors above do for it: accept no more for a moment; and note that a connection has ended. */
	void (*pause)(struct usp_worker *worker);
	void (*has_room)(struct usp_worker *worker);
	struct usp_timer accept_timer; /* to try again after a pause */
	struct usp_timer trim_timer;   /* to give back memory that a burst of connections needed */
	unsigned nr_rested;	       /* since the last trim */
	struct usp_timer tick;	       /* in the first worker: exit_idle_ns, drain_timeout_ns */
	struct usp_relay_counters counters;
};

struct usp_relay {
	struct usp_relay_params params;
	struct addrinfo *source; /* local address of the connections to targets, or NULL */
	struct usp_door listeners[USP_RELAY_LISTENERS_MAX];
	bool listener_is_tcp[USP_RELAY_LISTENERS_MAX];
	unsigned nr_listeners;
	struct usp_metrics *metrics; /* NULL: there are none */
	struct usp_door metrics_doors[USP_DOORS_MAX];
	unsigned nr_metrics_doors;
	struct usp_reporter reporter;
	struct usp_name_rights rights; /* for the UNIX sockets that it makes */
	int keeper_fd;		       /* closed when their names have to go; -1: no keeper removes them */
	struct usp_shared_rate shared_rate;
	atomic_int state;     /* enum usp_relay_state */
	atomic_uint nr_asked; /* how often the workers were asked whether their loops turn */
	bool has_run;
	unsigned process; /* process that made it: a child shares the descriptors of its loops and listeners */
	atomic_uint nr_connections; /* of all workers */
	atomic_uint nr_target_fds;  /* those with a socket for a target */
	atomic_uint nr_accepting;   /* workers that may still accept clients */
	_Atomic(uint64_t) busy_ns;  /* when there last was a connection */
	uint64_t drain_ns;	    /* when draining began */
	struct usp_resolver resolver;
	pthread_mutex_t lock; /* for rules, and for targets, which the resolver makes */
	struct usp_targets *targets;
	atomic_uint targets_version;
	struct usp_cidr_list *proxy_from; /* clients that must send a PROXY header; NULL: all */
	struct usp_rules *rules;	  /* NULL: serve every client */
	atomic_uint rules_version;
	struct usp_limits *limits; /* NULL: no limits */
	unsigned nr_workers;
	struct usp_worker workers[];
};

static inline void usp_counter_add(_Atomic(uint64_t) *counter, uint64_t value)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + value,
			      memory_order_relaxed);
}

/* Return what a connection needs of its worker: params, counters, time. */
static inline const struct usp_relay_params *usp_conn_params(const struct usp_conn *conn)
{
	return &conn->worker->relay->params;
}

static inline struct usp_relay_counters *usp_conn_counters(const struct usp_conn *conn)
{
	return &conn->worker->counters;
}

static inline uint64_t usp_conn_now(const struct usp_conn *conn)
{
	return usp_loop_now(conn->worker->loop);
}

int usp_worker_init(struct usp_worker *worker, struct usp_relay *relay);
void usp_worker_fini(struct usp_worker *worker);

/* Count one connection more or less, from any thread. Clients on their way to a worker count as its own. */
void usp_worker_count(struct usp_worker *worker, int change);

/* Add a counted connection to this worker; or remove one that has ended, and count it no more. */
void usp_worker_add(struct usp_worker *worker, struct usp_conn *conn);
void usp_worker_remove(struct usp_worker *worker, struct usp_conn *conn);

/* Note that something has moved, or a flow has ended. */
void usp_worker_moved(struct usp_worker *worker);

/* Note that a connection has freed what it needed while something moved. */
void usp_worker_rested(struct usp_worker *worker);

/* Tell whether an error means a shortage of this machine. */
bool usp_worker_is_short(int error);

/* Return the ring that carries messages, or NULL without one or if flows have limits. */
struct usp_uring *usp_worker_uring(struct usp_worker *worker);

/* Return the targets, or the rules, as they are now: lent, NULL if there are none. */
struct usp_targets *usp_worker_targets(struct usp_worker *worker);
const struct usp_rules *usp_worker_rules(struct usp_worker *worker);

#endif
