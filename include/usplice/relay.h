/* SPDX-License-Identifier: MIT */
/*
 * relay.h - a relay of stream connections: it listens, connects each client with a target, and
 * pumps both ways.
 *
 * One thread configures, runs and frees a relay. While usp_relay_run blocks there, another thread
 * may call each function that says so. The rules common to all functions are those of usplice.h.
 */
#ifndef USPLICE_RELAY_H
#define USPLICE_RELAY_H

#include <sys/socket.h>
#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

struct usp_relay;

/* Which target a new connection gets, of those that are not left out. */
enum usp_balance {
	USP_BALANCE_ROUNDROBIN,
	USP_BALANCE_LEASTCONN, /* the one with the fewest connections */
	USP_BALANCE_SOURCE,    /* by the client's address, so that a client keeps its target */
};

/* Why a connection ended. */
enum usp_relay_why {
	USP_WHY_CLOSED, /* both sides ended, and each got all that the other one sent */
	USP_WHY_CLIENT_BROKE,
	USP_WHY_TARGET_BROKE,
	USP_WHY_IDLE,	   /* idle_timeout_ns */
	USP_WHY_NO_TARGET, /* no target could be connected */
	USP_WHY_NO_HEADER, /* the client's PROXY header did not come, or was not valid */
	USP_WHY_STOPPED,   /* usp_relay_stop, or drain_timeout_ns */
	USP_WHY_SHORT,	   /* descriptors, memory or local ports were short */
	USP_WHY_DENIED,	   /* by the rules */
	USP_WHY_TOO_MANY,  /* connections_per_address */
	USP_WHY_TOO_FAST,  /* accept_rate */
	USP_NR_WHYS,
};

/* The kinds of news about a target; each is reported once for each change. */
enum usp_relay_news_kind {
	USP_RELAY_TARGET_UNKNOWN, /* its name cannot be looked up; it keeps its addresses */
	USP_RELAY_TARGET_KNOWN,	  /* its name resolves again */
	USP_RELAY_TARGET_DOWN,	  /* its last working address failed, and is left out for a while */
	USP_RELAY_TARGET_UP,	  /* it takes connections again */
};

struct usp_relay_news {
	size_t size; /* sizeof(struct usp_relay_news) */
	enum usp_relay_news_kind kind;
	const char *target; /* as the caller named it; lent for the call, as why */
	int error;	    /* -errno, or 0 */
	const char *why;    /* a sentence, or NULL */
};

/* A connection that has ended. Its pointers are lent for the duration of the call. */
struct usp_relay_ended {
	size_t size; /* sizeof(struct usp_relay_ended) */
	enum usp_relay_why why;
	int error;			/* -errno of the last target tried, if none could be connected; or 0 */
	unsigned listener;		/* its index, as for usp_relay_address */
	const char *target;		/* as the caller named it; NULL if none was tried */
	uint64_t duration_ns;		/* from accepting to the end */
	uint64_t delivered[2];		/* bytes by direction */
	uint64_t ways[2][USP_WAYS_MAX]; /* the same by way: copied if one of the two hops copied it */
	/* AF_INET, AF_INET6, or AF_UNIX without a path: peer of the client's socket; client of a PROXY header */
	const struct sockaddr *peer, *client;
};

#define USP_RELAY_WORKERS_MAX 256

/* All times are nanoseconds. All members but size may be 0. */
struct usp_relay_params {
	size_t size;		     /* sizeof(struct usp_relay_params) */
	unsigned nr_workers;	     /* threads, with the caller's, at most USP_RELAY_WORKERS_MAX; 0 means 1 */
	unsigned connections_max;    /* at a time; further clients wait in the listener's queue; 0: no limit */
	unsigned backlog;	     /* of the listeners that the relay makes; 0 means 4096 */
	uint64_t connect_timeout_ns; /* for each target that is tried; 0 means 5 s */
	uint64_t idle_timeout_ns;    /* reset a connection whose peers send and take nothing for so long; 0: never */
	uint64_t exit_idle_ns;	     /* end usp_relay_run after so long without a connection; 0: never */
	uint64_t drain_timeout_ns;   /* after usp_relay_drain, close the rest; 0: wait until they end */
	uint64_t retry_after_ns;     /* how long a target that failed is left out; 0 means 5 s */
	uint64_t rate;		     /* bytes per second of each direction of each connection; 0: no limit */
	uint64_t rate_total;	     /* bytes per second of all connections together; 0: no limit */
	enum usp_balance balance;
	enum usp_lane_choice lane; /* AUTO: by the size of pieces, for each direction of each connection */
	unsigned proxy_send;	   /* version of the PROXY header to targets, 1 or 2; 0: none */
	bool no_batch;		   /* tunes only: keep threads SCHED_OTHER even while they are busy with bulk */
	bool no_uring;	    /* tunes only: use recv(2) and send(2) for small messages even where io_uring works */
	bool proxy_accept;  /* clients send a PROXY header first, of either version */
	unsigned mark;	    /* SO_MARK of the connections to targets; 0: none */
	const char *source; /* local address of the connections to targets, "HOST" or "HOST:PORT", or NULL */
	bool no_keepalive;  /* TCP does not probe whether a silent peer is still there */
	unsigned keepalive_probes;	/* unanswered probes until a peer counts as lost; 0 means 6, at most 127 */
	uint64_t keepalive_ns;		/* silence before the first probe, in whole seconds up to 32767; 0 means 60 s */
	uint64_t keepalive_interval_ns; /* between two probes, the same; 0 means 10 s */
	uint64_t user_timeout_ns;	/* TCP_USER_TIMEOUT: longest wait for an acknowledgement; 0: none */
	unsigned unix_mode; /* of the UNIX sockets that the relay makes, such as 0660; 0: as umask(2) says */
	unsigned unix_user, unix_group; /* their owner and group, used if the next two are set */
	bool has_unix_user, has_unix_group;
	uint64_t resolve_after_ns; /* how often to look up names of targets again while running; 0 means 30 s */
	/*
	 * Callbacks, or NULL. They run in threads of the relay, in several at the same time, and
	 * must neither block nor call the relay. told reports news of a target. ended reports each
	 * connection that has ended; false means that the caller could not take it, and nr_untold
	 * counts it.
	 */
	void (*told)(void *told_arg, const struct usp_relay_news *news);
	bool (*ended)(void *told_arg, const struct usp_relay_ended *ended);
	void *told_arg;
	unsigned connections_per_address; /* at a time; a client beyond that is reset; 0: no limit */
	unsigned accept_rate;		  /* connections per address at once and per accept_rate_ns; 0: no limit */
	uint64_t accept_rate_ns;	  /* 0 means 1 s */
	unsigned ipv6_bits; /* IPv6 addresses count by their first bits; 0 means 64; 128: each address alone */
};

/*
 * Make a relay. params is copied, and may be NULL. Blocks while the name in source is looked up, up
 * to 15 s. -EINVAL for values that make no sense, -EPERM and so on if the source or mark is
 * refused.
 */
USP_EXPORT int usp_relay_new(const struct usp_relay_params *params, struct usp_relay **ret_relay);

/*
 * Listen at "[HOST]:PORT" or "unix:PATH", or on a socket that listens already; on success the relay
 * owns it. Call it before the run, several times for several addresses. A name with several
 * addresses, such as localhost, makes a listener for each. Blocks while a name is looked up.
 *
 * The errors of bind(2) and listen(2); -EINVAL for text that is not an address or a descriptor that
 * does not listen; -EEXIST if a file that is not a socket exists there; -EBUSY if another program
 * keeps that name locked; -ELOOP if a target is that address. ret_why: as for usp_open.
 */
USP_EXPORT int usp_relay_listen(struct usp_relay *relay, const char *address, const char **ret_why);
USP_EXPORT int usp_relay_listen_fd(struct usp_relay *relay, int fd);

/*
 * Take a PROXY header only from clients at these addresses, which must send one. blocks has commas
 * between the blocks, such as "10.0.0.0/8,2001:db8::1,unix:", where unix: is every client of a UNIX
 * socket. All other clients are connected as they are, and a header from them is data. Sets
 * proxy_accept. Replaces the blocks of earlier calls. Before the run. Does not block. -EINVAL, with
 * a sentence in *ret_why, or -ENOMEM.
 */
USP_EXPORT int usp_relay_accept_proxy(struct usp_relay *relay, const char *blocks, const char **ret_why);

/*
 * Set the targets, "HOST:PORT" or "unix:PATH". All addresses of a name are tried in their order.
 * Replaces the earlier targets: connections keep theirs, and an address that stays keeps its
 * counters and whether it is left out. May be called while the relay runs, from any thread. Then a
 * thread of the relay looks up names again, every resolve_after_ns and when no address of a name
 * takes connections. On failure nothing changes, and *ret_failed (may be NULL) is the index of the
 * wrong target. -EAFNOSUPPORT if no address of a target is of the source's family, or a UNIX socket
 * should have a source or mark. -ELOOP if the relay itself listens there.
 *
 * set waits until all names are known, up to 15 s for each: -EINVAL, -EHOSTUNREACH, -ETIMEDOUT,
 * -EINTR after a signal, -ENOMEM. name does not wait: names are looked up when the relay runs, and
 * until then clients go to the other targets. If there are none, clients wait for the first answer,
 * for connect_timeout_ns. -EINVAL, -ENOMEM, or -EAGAIN if no thread can be had.
 */
USP_EXPORT int usp_relay_set_targets(struct usp_relay *relay, const char *const *addresses, unsigned nr_targets,
				     unsigned *ret_failed, const char **ret_why);
USP_EXPORT int usp_relay_name_targets(struct usp_relay *relay, const char *const *addresses, unsigned nr_targets,
				      unsigned *ret_failed, const char **ret_why);

/*
 * Set the rules for which clients are served: "allow BLOCK" and "deny BLOCK". BLOCK is
 * "192.0.2.0/24", "2001:db8::/32", one address, "unix:" for clients of UNIX sockets, or "all". The
 * first rule that contains the client's address decides. A client without such a rule is served if
 * there is no allow rule. A client that is not served is reset. The address is that in the client's
 * PROXY header, or without a header that of the socket's peer.
 *
 * Replaces the earlier rules; at first there are none. Existing connections stay. May be called
 * while the relay runs, from any thread. Does not block. On failure, -EINVAL or -ENOMEM, nothing
 * changes, and *ret_failed (may be NULL) is the index of the wrong rule.
 */
USP_EXPORT int usp_relay_set_rules(struct usp_relay *relay, const char *const *rules, unsigned nr_rules,
				   unsigned *ret_failed, const char **ret_why);

/*
 * Serve metrics over HTTP at an address as for usp_relay_listen: /metrics for Prometheus, / for
 * people. Before the run. Blocks and fails as usp_relay_listen.
 */
USP_EXPORT int usp_relay_serve_metrics(struct usp_relay *relay, const char *address, const char **ret_why);

/*
 * Answer requests for metrics under this name too: a host without a port. By default requests are
 * answered for a numeric address, for localhost, and without a host. Others get status 421, because
 * a page in a browser could make a name of its own lead here. At a UNIX socket every host is right.
 * Call it after usp_relay_serve_metrics and before the run, several times for several names. Does
 * not block. -EINVAL without metrics, or for text that is not a name, with a sentence in *ret_why;
 * -ENOSPC after 64 names; -ENOMEM.
 */
USP_EXPORT int usp_relay_add_metrics_host(struct usp_relay *relay, const char *name, const char **ret_why);

/*
 * Relay until usp_relay_stop, the end of a drain, or exit_idle_ns. Blocks. Call it once. 0, or
 * -errno if it could not begin: -ESTALE in a child of the process that made the relay.
 */
USP_EXPORT int usp_relay_run(struct usp_relay *relay);

/*
 * End a run. drain accepts no more connections and ends when the existing ones have ended, or after
 * drain_timeout_ns. stop ends now and resets connections. Both return at once and take effect soon.
 * They may be called before the run, and are safe from any thread and from a signal handler.
 */
USP_EXPORT void usp_relay_drain(struct usp_relay *relay);
USP_EXPORT void usp_relay_stop(struct usp_relay *relay);

/* Directions, as indices. */
#define USP_TO_TARGET 0
#define USP_TO_CLIENT 1

/* What crossed one hop of all flows of a direction, as in struct usp_hop. */
struct usp_relay_hop {
	uint64_t bytes[USP_WAYS_MAX];
	const char *reason[USP_WAYS_MAX];
	uint64_t nr_calls;
};

/* Why a client that must send a PROXY header was reset. */
enum usp_header_fault {
	USP_HEADER_MALFORMED, /* what it sent is not a header */
	USP_HEADER_TOO_LONG,  /* it has more than 16,384 bytes */
	USP_HEADER_WRONG_SUM, /* its CRC32c is wrong */
	USP_HEADER_CUT,	      /* the client ended or broke before the end of the header */
	USP_HEADER_LATE,      /* the header did not come within connect_timeout_ns */
	USP_NR_HEADER_FAULTS,
};

#define USP_HEADER_FAULTS_MAX 8

/* A snapshot of a relay: plain values. Counters begin at the start of the run. */
struct usp_relay_status {
	size_t size;		   /* sizeof(struct usp_relay_status) */
	unsigned nr_connections;   /* now */
	unsigned nr_kernel_flows;  /* directions that are on the kernel lane now */
	unsigned nr_batch_workers; /* workers that run as SCHED_BATCH now */
	unsigned nr_targets;
	uint64_t nr_accepted;
	uint64_t nr_unserved;	   /* clients for which no target could be connected */
	uint64_t nr_idle_closed;   /* closed by idle_timeout_ns */
	uint64_t nr_reset;	   /* one side broke: the other was reset, too */
	uint64_t nr_accept_pauses; /* pauses for lack of descriptors, memory or local ports */
	uint64_t nr_lane_switches;
	uint64_t nr_source_waits[2];	  /* by direction: the source had nothing to give */
	uint64_t nr_sink_waits[2];	  /* by direction: the sink took nothing */
	uint64_t delivered[2];		  /* bytes by direction */
	uint64_t stranded;		  /* bytes taken and not delivered, because a sink broke */
	struct usp_relay_hop hops[2][2];  /* by direction; [0] out of the source, [1] into the sink */
	size_t nr_kpipes, nr_kpipes_idle; /* kernel pipes in use, and kept for reuse */
	uint64_t nr_kpipes_destroyed;	  /* kernel pipes that still held data when released */
	size_t nr_sends_pending;	  /* zero-copy sends that the kernel has not finished */
	bool is_draining;
	uint64_t nr_header_faults[USP_HEADER_FAULTS_MAX]; /* by enum usp_header_fault; part of nr_unserved */
	uint64_t nr_untold;				  /* connections whose end the caller could not take */
	uint64_t nr_denied;				  /* clients that the rules refused */
	uint64_t nr_too_many;				  /* clients that connections_per_address refused */
	uint64_t nr_too_fast;				  /* clients that accept_rate refused */
	uint64_t ways[2][USP_WAYS_MAX]; /* delivered by way: copied if one of the two hops copied it */
};

struct usp_relay_target_status {
	size_t size;		 /* sizeof(struct usp_relay_target_status) */
	char name[108];		 /* as the caller named it, cut if it is longer */
	unsigned nr_connections; /* now */
	uint64_t nr_connected;
	uint64_t nr_failed;	  /* refused, timed out or unreachable */
	uint64_t left_out_ns;	  /* until an address is used again, if all are left out; else 0 */
	int last_error;		  /* 0 or -errno of the last failure, also of a look-up of its name */
	unsigned nr_addresses;	  /* its addresses now; 0: its name is not known */
	unsigned nr_addresses_up; /* those that are not left out */
};

/* Read the numbers, also while the relay runs, from any thread. -EINVAL if there is no such target. */
USP_EXPORT void usp_relay_status(struct usp_relay *relay, struct usp_relay_status *ret_status);
USP_EXPORT int usp_relay_target_status(struct usp_relay *relay, unsigned index,
				       struct usp_relay_target_status *ret_status);

/*
 * Write the address of listener index, such as "127.0.0.1:9000" or "unix:/run/x", cut to len.
 * Returns its length, or -errno.
 */
USP_EXPORT ssize_t usp_relay_address(struct usp_relay *relay, unsigned index, char *ret_text, size_t len);

/*
 * Write the address of the metrics server, as usp_relay_address. Before the run. -EINVAL if there
 * is none.
 */
USP_EXPORT ssize_t usp_relay_metrics_address(struct usp_relay *relay, char *ret_text, size_t len);

/*
 * For a program that gives up its rights between listening and the run, such as the right to remove
 * the names of its UNIX sockets. A child keeps these rights, and a pipe tells it when to remove the
 * names.
 *
 * set_keeper: give the relay fd, the writing end. The relay owns it on success, and closes it when
 * the names must go: at the beginning of a drain, at a stop, or in usp_relay_free. -EINVAL during
 * the run, or twice.
 *
 * keep_names: call it in a child of fork(2) that keeps the rights, with the only other end of fd.
 * It closes all listeners without such a name and blocks until fd has an end, also because the
 * parent was killed. Then it removes the names that are still the relay's own. 0; -EINVAL in the
 * process that made the relay, -ENOMEM.
 */
USP_EXPORT int usp_relay_set_keeper(struct usp_relay *relay, int fd);
USP_EXPORT int usp_relay_keep_names(struct usp_relay *relay, int fd);

/*
 * Tell whether the event loops turn, for watchdogs. Asks every running worker to answer, and
 * returns true if all have answered since the last question. Does not block. Call it a few times a
 * second at most. From any thread, but one at a time.
 */
USP_EXPORT bool usp_relay_is_turning(struct usp_relay *relay);

/* Free a relay. Not while it runs. NULL is allowed. */
USP_EXPORT void usp_relay_free(struct usp_relay *relay);

#ifdef __cplusplus
}
#endif
#endif
