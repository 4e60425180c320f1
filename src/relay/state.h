/* SPDX-License-Identifier: MIT */
/* state - what all workers of a relay share, and how they hear that it changed. */
#ifndef USP_RELAY_STATE_H
#define USP_RELAY_STATE_H

struct usp_relay;
struct usp_targets;

/* Wake all workers: what the relay is about has changed. */
void usp_relay_wake(struct usp_relay *relay);

/* Publish new targets, which the relay takes, for the connections to come. Of the resolver, under its lock. */
void usp_relay_publish(struct usp_relay *relay, struct usp_targets *targets);

/* Tell the keeper of the relay's names, if there is one, that they have to go. */
void usp_relay_call_keeper(struct usp_relay *relay);

#endif
