/* SPDX-License-Identifier: MIT */
/*
 * relay.h - a relay of stream connections: it listens, connects each client with a target, and pumps both ways.
 *
 * A relay is configured, run, and freed by one thread; while usp_relay_run blocks there, every function that says so
 * may be called from another. Conventions as in usplice.h.
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
	USP_WHY_CLOSED, /* both sides had ended, and each had all that the other one sent */
	USP_WHY_CLIENT_BROKE,
	USP_WHY_TARGET_BROKE,
	USP_WHY_IDLE,	   /* idle_timeout_ns */
	USP_WHY_NO_TARGET, /* no target could be had */
	USP_WHY_NO_HEADER, /* the client's PROXY header did not come, or was none */
	USP_WHY_STOPPED,   /* usp_relay_stop, or drain_timeout_ns */
	USP_WHY_SHORT,	   /* descriptors, memory or local ports were short */
	USP_WHY_DENIED,	   /* by the rules */
	USP_WHY_TOO_MANY,  /* connections_per_address */
	USP_WHY_TOO_FAST,  /* accept_rate */
	USP_NR_WHYS,
};

/* What a relay tells of a target, once for each change. */
enum usp_relay_news_kind {
	USP_RELAY_TARGET_UNKNOWN, /* its name cannot be looked up; the addresses that it has stay */
	USP_RELAY_TARGET_KNOWN,	  /* its name resolves again */
	USP_RELAY_TARGET_DOWN,	  /* its last address that took connections failed, and is left out */
	USP_RELAY_TARGET_UP,	  /* it takes connections again */
};

struct usp_relay_news {
	size_t size; /* sizeof(struct usp_relay_news) */
	enum usp_relay_news_kind kind;
	const char *target; /* as it was named; lent for the call, as why */
	int error;	    /* -errno, or 0 */
	const char *why;    /* a sentence, or NULL */
};

/* A connection that has ended. What it points to is lent for the call that tells of it. */
struct usp_relay_ended {
	size_t size; /* sizeof(struct usp_relay_ended) */
	enum usp_relay_why why;
	int error;	       /* -errno of the target that was tried last, where no target could be had; or 0 */
	unsigned listener;     /* its index, as for usp_relay_address */
	const char *target;    /* as it was given; NULL if none was tried */
	uint64_t duration_ns;  /* from accepting to the end */
	uint64_t delivered[2]; /* bytes by direction */
	uint64_t ways[2][USP_WAYS_MAX]; /* the same by way: copied if it was copied on one of the two hops */
	/* AF_INET, AF_INET6, or AF_UNIX without a path: the other end of the client's socket, and who a PROXY header names */
	const struct sockaddr *peer, *client;
};

#define USP_RELAY_WORKERS_MAX 256

/* All times are nanoseconds; all members but size may be 0. */
struct usp_relay_params {
	size_t size;		     /* sizeof(struct usp_relay_params) */
	unsigned nr_workers;	     /* threads, the caller's among them, at most USP_RELAY_WORKERS_MAX; 0 means 1 */
	unsigned connections_max;    /* at a time; clients beyond that wait in the queue of the listener; 0: no limit */
	unsigned backlog;	     /* of the listeners that the relay makes itself; 0 means 4096 */
	uint64_t connect_timeout_ns; /* for each target that is tried; 0 means 5 s */
	uint64_t idle_timeout_ns;    /* a connection whose peers said and took nothing for so long is reset; 0: never */
	uint64_t exit_idle_ns;	     /* usp_relay_run returns when there was no connection for so long; 0: never */
	uint64_t drain_timeout_ns;   /* after usp_relay_drain, the rest is closed; 0: as long as they last */
	uint64_t retry_after_ns;     /* how long a target that failed is left out; 0 means 5 s */
	uint64_t rate;		     /* bytes per second, each direction of each connection; 0: no limit */
	uint64_t rate_total;	     /* bytes per second, all of them together; 0: no limit */
	enum usp_balance balance;
	enum usp_lane_choice lane; /* AUTO: by the size of what comes, for each direction of each connection */
	unsigned proxy_send;	   /* version of the PROXY header that targets get first, 1 or 2; 0: none */
	bool no_batch;		   /* its threads stay SCHED_OTHER also while they are busy with bulk */
	bool no_uring;		   /* small messages go by recv(2) and send(2) also where io_uring could carry them */
	bool proxy_accept;	   /* clients send a PROXY header first, of either version */
	unsigned mark;		   /* SO_MARK of the connections to targets; 0: none */
	const char *source;	   /* local address of the connections to targets, "HOST" or "HOST:PORT", or NULL */
	bool no_keepalive;	   /* TCP does not ask whether a silent peer is still there */
	unsigned keepalive_probes; /* without an answer, until a peer has vanished; 0 means 6, and 127 is the most */
	uint64_t keepalive_ns;	   /* of silence until TCP asks, in whole seconds up to 32767; 0 means 60 s */
	uint64_t keepalive_interval_ns; /* between two probes, the same; 0 means 10 s */
	uint64_t user_timeout_ns; /* TCP_USER_TIMEOUT: the peer is lost if it acknowledges nothing so long; 0: none */
	unsigned unix_mode;	  /* of the UNIX sockets that it makes, such as 0660; 0: as umask(2) leaves it */
	unsigned unix_user, unix_group; /* their owner and group, where the next two say so */
	bool has_unix_user, has_unix_group;
	uint64_t resolve_after_ns; /* how often names of targets are looked up again while it runs; 0 means 30 s */
	/*
	 * What the caller wants to hear, in threads of the relay and at the same time from several: must neither block nor call
	 * the relay. ended: of each connection; false says that the caller could not take it, which is counted in nr_untold.
	 */
	void (*told)(void *told_arg, const struct usp_relay_news *news);
	bool (*ended)(void *told_arg, const struct usp_relay_ended *ended);
	void *told_arg;
	unsigned connections_per_address; /* at a time; a client beyond that is reset; 0: no limit */
	unsigned accept_rate;	 /* connections of each address at once, and in each accept_rate_ns; 0: no limit */
	uint64_t accept_rate_ns; /* 0 means 1 s */
	unsigned
		ipv6_bits; /* addresses that begin with the same bits are one for both; 0 means 64, and 128 each alone */
};

/* params is copied. -EINVAL for values that make no sense, -EPERM and so on for a source or mark that is refused. */
USP_EXPORT int usp_relay_new(const struct usp_relay_params *params, struct usp_relay **ret_relay);

/*
 * Listen at "[HOST]:PORT" or "unix:PATH", or on a socket that listens already (on success the relay owns it). Before the
 * run; several times for several addresses. A name with several addresses, such as localhost, is a listener for each. The errors
 * of bind(2) and listen(2), -EINVAL for text that is no address or a descriptor that does not listen, -EEXIST if a file that is
 * no socket is there, -EBUSY if another program keeps that name locked, -ELOOP if a target is that address. ret_why: as for
 * usp_open.
 */
USP_EXPORT int usp_relay_listen(struct usp_relay *relay, const char *address, const char **ret_why);
USP_EXPORT int usp_relay_listen_fd(struct usp_relay *relay, int fd);

/*
 * Take a PROXY header only of clients at these addresses, which have to send one: blocks with commas between them, such as
 * "10.0.0.0/8,2001:db8::1,unix:", where unix: is every client of a UNIX socket. All others are connected as they are, and a header
 * that one of them sends is data. Sets proxy_accept; replaces what was given before. Before the run. -EINVAL, with a
 * sentence in *ret_why, or -ENOMEM.
 */
USP_EXPORT int usp_relay_accept_proxy(struct usp_relay *relay, const char *blocks, const char **ret_why);

/*
 * The targets, "HOST:PORT" or "unix:PATH"; all addresses of a name are tried in their order. Replaces those that were
 * there: connections keep theirs, and an address that stays keeps its counters and whether it is left out. Also while it runs,
 * from any thread. While the relay runs, a thread of its own looks up names again, every resolve_after_ns and when no address of
 * a name takes connections. On failure nothing changes, and *ret_failed (may be NULL) is the index of the one at fault.
 * -EAFNOSUPPORT if no address of a target is of the source's family, or a UNIX socket is to have a source or mark; -ELOOP if the
 * relay itself listens there.
 *
 * set waits until all names are known, for up to 15 s each: -EINVAL, -EHOSTUNREACH, -ETIMEDOUT, -EINTR after a signal, -ENOMEM.
 * name does not wait: names are looked up when the relay runs, and until then clients are for the other targets. Clients that
 * have no other wait for the first answer, for connect_timeout_ns. -EINVAL, -ENOMEM, or -EAGAIN if there is no thread.
 */
USP_EXPORT int usp_relay_set_targets(struct usp_relay *relay, const char *const *addresses, unsigned nr_targets,
				     unsigned *ret_failed, const char **ret_why);
USP_EXPORT int usp_relay_name_targets(struct usp_relay *relay, const char *const *addresses, unsigned nr_targets,
				      unsigned *ret_failed, const char **ret_why);

/*
 * Which clients are served: texts "allow BLOCK" and "deny BLOCK", where BLOCK is "192.0.2.0/24", "2001:db8::/32", one address, "unix:"
 * for clients of UNIX sockets, or "all". The first rule that has a client's address decides. One that no rule has is served if no
 * rule allows anybody. It is reset otherwise. The address is the one that the client's PROXY header names, and where there is none
 * that of the socket's peer. Replaces the rules that were there, of which there are none at first; connections
 * stay. Also while it runs, from any thread; does not block. On failure, -EINVAL or -ENOMEM, nothing changes, and *ret_failed
 * (may be NULL) is the index of the one at fault.
 */
USP_EXPORT int usp_relay_set_rules(struct usp_relay *relay, const char *const *rules, unsigned nr_rules,
				   unsigned *ret_failed, const char **ret_why);

/*
 * Serve metrics over HTTP at an address as of usp_relay_listen: /metrics for Prometheus, / for people. Before the run.
 */
USP_EXPORT int usp_relay_serve_metrics(struct usp_relay *relay, const char *address, const char **ret_why);

/*
 * Answer requests for metrics under this name, too: a host without a port. Otherwise they are for a numeric address, for localhost,
 * or for no host; those for any other are refused with status 421, because a page of a browser could make a name of its own
 * lead here. All hosts are right at a UNIX socket. Several times, after usp_relay_serve_metrics and before the run.
 * -EINVAL for what is no name, with a sentence in *ret_why, or without metrics; -ENOSPC behind 64 names; -ENOMEM.
 */
USP_EXPORT int usp_relay_add_metrics_host(struct usp_relay *relay, const char *name, const char **ret_why);

/*
 * Relay until usp_relay_stop, the end of a drain, or exit_idle_ns. Blocks. Once. 0, or -errno if it could not begin:
 * -ESTALE in a child of the process that made it.
 */
USP_EXPORT int usp_relay_run(struct usp_relay *relay);

/*
 * drain: accept no more, and end when the connections have ended, or drain_timeout_ns is over. stop: end now, connections
 * are reset. Both take effect soon, may be called before the run, and are safe from any thread and from a signal handler.
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

/* Why a client was reset that had to begin with a PROXY header. */
enum usp_header_fault {
	USP_HEADER_MALFORMED, /* what it sent is none */
	USP_HEADER_TOO_LONG,  /* it has more than 16,384 bytes */
	USP_HEADER_WRONG_SUM, /* its CRC32c is another */
	USP_HEADER_CUT,	      /* the client ended or broke in front of its end */
	USP_HEADER_LATE,      /* it did not come in connect_timeout_ns */
	USP_NR_HEADER_FAULTS,
};

#define USP_HEADER_FAULTS_MAX 8

/* A moment of a relay: plain values. Counters are from the start of the run. */
struct usp_relay_status {
	size_t size;		   /* sizeof(struct usp_relay_status) */
	unsigned nr_connections;   /* now */
	unsigned nr_kernel_flows;  /* directions that are on the kernel lane now */
	unsigned nr_batch_workers; /* that run as SCHED_BATCH now */
	unsigned nr_targets;
	uint64_t nr_accepted;
	uint64_t nr_unserved;	   /* no target could be had for the client */
	uint64_t nr_idle_closed;   /* closed by idle_timeout_ns */
	uint64_t nr_reset;	   /* a side broke: the other was reset, too */
	uint64_t nr_accept_pauses; /* times that descriptors, memory or local ports were short */
	uint64_t nr_lane_switches;
	uint64_t nr_source_waits[2];	  /* by direction: the source had nothing */
	uint64_t nr_sink_waits[2];	  /* by direction: the sink took nothing */
	uint64_t delivered[2];		  /* bytes by direction */
	uint64_t stranded;		  /* bytes taken and not delivered, because a sink broke */
	struct usp_relay_hop hops[2][2];  /* by direction; [0] out of the source, [1] into the sink */
	size_t nr_kpipes, nr_kpipes_idle; /* kernel pipes in use, and kept for reuse */
	uint64_t nr_kpipes_destroyed;	  /* that still held data at their end */
	size_t nr_sends_pending;	  /* zero-copy sends that the kernel has not finished */
	bool is_draining;
	uint64_t nr_header_faults[USP_HEADER_FAULTS_MAX]; /* by enum usp_header_fault; of nr_unserved */
	uint64_t nr_untold;				  /* connections whose end the caller could not take */
	uint64_t nr_denied;				  /* clients that the rules refused */
	uint64_t nr_too_many;				  /* clients that connections_per_address refused */
	uint64_t nr_too_fast;				  /* clients that accept_rate refused */
	uint64_t ways[2][USP_WAYS_MAX]; /* delivered by way: copied if it was copied on one of the two hops */
};

struct usp_relay_target_status {
	size_t size;		 /* sizeof(struct usp_relay_target_status) */
	char name[108];		 /* as it was given, cut if it is longer */
	unsigned nr_connections; /* now */
	uint64_t nr_connected;
	uint64_t nr_failed;	  /* refused, timed out or unreachable */
	uint64_t left_out_ns;	  /* for how much longer all its addresses are left out; 0: it is used, or has none */
	int last_error;		  /* 0 or -errno of the last failure, of looking up its name too */
	unsigned nr_addresses;	  /* that it has now; 0: its name is not known */
	unsigned nr_addresses_up; /* of them, those that are not left out */
};

/* Also while it runs, from any thread. -EINVAL if there is no such target. */
USP_EXPORT void usp_relay_status(struct usp_relay *relay, struct usp_relay_status *ret_status);
USP_EXPORT int usp_relay_target_status(struct usp_relay *relay, unsigned index,
				       struct usp_relay_target_status *ret_status);

/* The address that listener index has, "127.0.0.1:9000" or "unix:/run/x": its length, or -errno. Cut to len. */
USP_EXPORT ssize_t usp_relay_address(struct usp_relay *relay, unsigned index, char *ret_text, size_t len);

/* The same of the server of metrics. -EINVAL if there is none. Before the run. */
USP_EXPORT ssize_t usp_relay_metrics_address(struct usp_relay *relay, char *ret_text, size_t len);

/*
 * For a program that gives up its rights between listening and the run, such as that to remove the names of its UNIX sockets.
 * set_keeper: fd is closed when these names have to go: at the beginning of a drain, at a stop, or in usp_relay_free. The relay owns
 * it on success. -EINVAL during the run, or twice. keep_names: in a child of fork(2) that keeps the rights, and with the only
 * other end of fd: closes all listeners that have no such name, blocks until fd has an end, also because the parent was
 * killed, and removes the names that are still the relay's own. 0; -EINVAL in the process that made the relay, -ENOMEM.
 */
USP_EXPORT int usp_relay_set_keeper(struct usp_relay *relay, int fd);
USP_EXPORT int usp_relay_keep_names(struct usp_relay *relay, int fd);

/*
 * For watchdogs: ask the event loop of every worker that runs to come round, and tell whether all have since they were asked
 * the last time. Does not block; call it a few times a second at most. From any thread, but one at a time.
 */
USP_EXPORT bool usp_relay_is_turning(struct usp_relay *relay);

/* Not while it runs. NULL is allowed. */
USP_EXPORT void usp_relay_free(struct usp_relay *relay);

#ifdef __cplusplus
}
#endif
#endif
