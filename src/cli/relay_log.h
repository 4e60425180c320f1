/* SPDX-License-Identifier: MIT */
/*
 * relay_log - what `usplice relay` says while it runs: changes, each once, on standard error.
 *
 * Messages go to the writer's thread (spool.h), and their callers do not wait. Of each kind of news
 * at most five lines are shown in ten seconds. Then one line tells how many were left out.
 */
#ifndef USP_CLI_RELAY_LOG_H
#define USP_CLI_RELAY_LOG_H

#include <usplice/relay.h>

/*
 * Send messages through the log from now on: with the time if standard error is a terminal or a
 * file, with a priority such as "<4>" if it is the journal. 0 or -errno. end waits at most two
 * seconds for standard error.
 */
int relay_log_begin(void);
void relay_log_end(void);

/* Log news, from any thread. log_ended says nothing of a connection that ended normally. */
void relay_log_ended(const struct usp_relay_ended *ended);
void relay_log_news(const struct usp_relay_news *news);

/*
 * Say what was left out, and what the access log lost. Call it now and then, and at the end, from
 * one thread at a time.
 */
void relay_log_turn(struct usp_relay *relay, bool is_last);

#endif
