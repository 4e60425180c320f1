/* SPDX-License-Identifier: MIT */
/* client - a client that was accepted: its header, whether it is served, and the way to its target. */
#ifndef USP_RELAY_CLIENT_H
#define USP_RELAY_CLIENT_H

struct usp_worker;
struct usp_client;

/* Take over a client that was accepted and is counted. On failure its descriptor is closed. */
void usp_client_begin(struct usp_worker *worker, const struct usp_client *client);

#endif
