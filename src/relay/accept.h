/* SPDX-License-Identifier: MIT */
/* accept - clients of the listening sockets, for this worker or another one. */
#ifndef USP_RELAY_ACCEPT_H
#define USP_RELAY_ACCEPT_H

struct usp_worker;
struct usp_listener;

/* Fill in what accepting does for a worker: 0 or -errno. usp_handover_fini takes it back. */
int usp_accept_init(struct usp_worker *worker);

/* Know the listeners, and take clients from other workers: 0 or -errno. In the worker's thread. */
int usp_accept_begin(struct usp_worker *worker);

/* Watch the listeners: 0 or -errno. Does nothing if the worker does, or the relay ends. */
int usp_accept_start(struct usp_worker *worker);
void usp_accept_stop(struct usp_worker *worker);

/* Accept all that wait in the queue of a listener, as long as there is room. */
void usp_accept_rest(struct usp_listener *listener);

#endif
