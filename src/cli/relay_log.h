/* SPDX-License-Identifier: MIT */
/*
 * relay_log - what `usplice relay` says while it runs: changes, each once, on standard error.
 *
 * Whoever says something hands it to the writer's thread (spool.h) and goes on. Of one kind of news at most five lines are
 * shown in ten seconds; how many were left out is said when these are over.
 */
#ifndef USP_CLI_RELAY_LOG_H
#define USP_CLI_RELAY_LOG_H

#include <usplice/relay.h>

/*
 * From now on messages go through the log: with the time where standard error is a terminal or a file, with a priority, as
 * "<4>", where it is the journal's. 0 or -errno. end waits two seconds at most for standard error.
 */
int relay_log_begin(void);
void relay_log_end(void);

/* News, from any thread. log_ended says nothing of a connection that had its end. */
void relay_log_ended(const struct usp_relay_ended *ended);
void relay_log_news(const struct usp_relay_news *news);

/* Now and then, and at the last, from one thread at a time: say what was left out, and what the access log lost. */
void relay_log_turn(struct usp_relay *relay, bool is_last);

#endif
