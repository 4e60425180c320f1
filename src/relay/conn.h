/* SPDX-License-Identifier: MIT */
/* conn - one connection of a relay: a client, a target, and a pump each way. */
#ifndef USP_RELAY_CONN_H
#define USP_RELAY_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <usplice/relay.h>

#include "event/loop.h"
#include "relay/sockaddr.h"

struct usp_worker;
struct usp_pump;
struct usp_uring_stream;
struct usp_uring_connect;
struct usp_guest;

enum usp_conn_state {
	USP_CONN_HEADER,     /* waits for the client's PROXY header */
	USP_CONN_CONNECTING, /* tries a target */
	USP_CONN_FLOWING,
	USP_CONN_LINGERING, /* one side broke and is closed; the other one does not have all yet */
	USP_CONN_CLOSED,    /* until the end of the loop's round */
};

/* What a flow waits for. */
enum usp_flow_wait { USP_FLOW_SOURCE, USP_FLOW_SINK, USP_FLOW_TIME, USP_FLOW_STREAM };

/* One direction. */
struct usp_flow {
	struct usp_pump *pump; /* NULL: it has ended */
	struct usp_conn *conn;
	struct usp_timer timer; /* for a rate limit */
	enum usp_flow_wait wait;
	struct usp_uring_stream *stream; /* the stream that carries its messages, or NULL */
	unsigned nr_returns;		 /* times that a stream gave it back; each raises the bar for the next stream */
	bool is_kernel;			 /* its lane, as counted */
};

/*
 * What a connection needs while something moves; most connections of a busy relay have none. Flow
 * [i] reads file [i].
 */
struct usp_conn_work {
	struct usp_file *files[2];
	struct usp_flow flows[2];
};

/* What the loop reports of an end: nothing; that it takes more or broke; or also that it has input. */
enum usp_end_watch { USP_END_UNWATCHED, USP_END_UNHEARD, USP_END_HEARD };

/* One side: [0] the client, [1] the target. */
struct usp_conn_end {
	struct usp_watch watch;
	int fd;
	bool is_tcp;
	enum usp_end_watch watched;
	bool has_ended;	 /* all that it sent is delivered, with its end */
	bool is_broken;	 /* it sends no more, without an end */
	bool is_deaf;	 /* it takes no more; what it sent before is still delivered */
	atomic_int left; /* bytes sent to it and not taken, at the last look */
};

/* A client that was accepted, as one worker hands it to another. */
struct usp_client {
	int fd;
	unsigned char listener; /* its index */
	bool is_tcp;
	union usp_peer peer;
};

/* What is reported of a connection when it has ended. */
struct usp_conn_story {
	union usp_peer peer;
	unsigned char listener;
	unsigned char why; /* enum usp_relay_why */
	int error;	   /* of the last target tried */
	uint64_t begun_ns;
	uint64_t delivered[2], copied[2], unknown[2]; /* by direction; over both hops */
};

struct usp_conn {
	struct usp_worker *worker;
	struct usp_conn *next, **link; /* in the worker's list */
	enum usp_conn_state state;
	bool is_forced; /* try an address although all targets are left out */
	bool is_short;	/* one of the attempts failed for lack of a local port */
	struct usp_conn_end ends[2];
	struct usp_conn_work *work; /* NULL while nothing moves */
	struct usp_timer timer;	    /* of connecting, then of being idle */
	struct usp_task task;	    /* flows that yielded; then the end */
	uint64_t active_ns;	    /* when something moved last */
	struct usp_targets *targets;
	struct usp_target *target, *first_target; /* being tried or used; where trying began */
	struct usp_address *address;		  /* of the target, being tried or used */
	struct usp_uring_connect *connect;	  /* a request to the ring to connect, or NULL */
	struct usp_proxy_addresses *addresses;	  /* ends of the client's connection, where needed */
	struct usp_header *header;		  /* the client's, in part, or the target's; NULL: none, or complete */
	struct usp_guest *guest;		  /* the entry that counts its address, or NULL */
	struct usp_conn_story story;
};

/*
 * Change what the loop reports of an end. An event that was missed meanwhile is reported at once. 0
 * or -errno.
 */
int usp_conn_watch(struct usp_conn *conn, unsigned index, enum usp_end_watch watched);

/* Close a connection of which both directions have ended. Its memory is freed at the end of the round. */
void usp_conn_close(struct usp_conn *conn);

/*
 * Reset a connection that cannot go on although both sides are there: neither must take that for
 * the end.
 */
void usp_conn_break(struct usp_conn *conn);

/* Close one side at once, with a reset. No flow may need it any more. */
void usp_conn_reset(struct usp_conn *conn, unsigned index);

/*
 * End a connection now. Both sides are reset unless they have had their end. Its memory is freed at
 * the end of the round. A caller that knows the reason sets it in the story before; else the reason
 * is a shortage of the relay.
 */
void usp_conn_abort(struct usp_conn *conn);

/* Reset a client that no target takes, and count it as unserved. */
void usp_conn_give_up(struct usp_conn *conn, enum usp_relay_why why);

/* Take back a request to the ring to connect, if there is one. */
void usp_conn_stop_connecting(struct usp_conn *conn);

/* Close the descriptor of one end, as it was prepared. */
void usp_conn_close_end(struct usp_conn *conn, unsigned index);

/* Tell whether nothing more comes this way. */
static inline bool usp_conn_is_over(const struct usp_conn *conn, unsigned direction)
{
	const struct usp_conn_end *from = &conn->ends[direction], *to = &conn->ends[!direction];

	return from->has_ended || from->is_broken || to->is_deaf || to->is_broken;
}

#endif
