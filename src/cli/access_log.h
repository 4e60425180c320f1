/* SPDX-License-Identifier: MIT */
/* access_log - one line for each connection of a relay that has ended. */
#ifndef USP_CLI_ACCESS_LOG_H
#define USP_CLI_ACCESS_LOG_H

#include <usplice/relay.h>

enum access_format { ACCESS_TEXT, ACCESS_JSON };

/* Open the access log. path "-" is standard output. -errno if it cannot be opened. */
int access_log_open(const char *path, enum access_format format);

/* Learn the relay's listeners, before it runs. */
void access_log_begin(struct usp_relay *relay);

/*
 * Put a connection into the log, from any thread, without waiting for the file. False if there is
 * no room. True without an access log.
 */
bool access_log_put(const struct usp_relay_ended *ended);

/* Open the path again soon, because the file has been renamed. */
void access_log_reopen(void);

/* Close the log. Waits at most two seconds for the file, and says what was lost. */
void access_log_close(void);

#endif
