/* SPDX-License-Identifier: MIT */
/* access_log - one line for each connection of a relay that has ended. */
#ifndef USP_CLI_ACCESS_LOG_H
#define USP_CLI_ACCESS_LOG_H

#include <usplice/relay.h>

enum access_format { ACCESS_TEXT, ACCESS_JSON };

/* There is one. path "-" is standard output. -errno if it cannot be opened. */
int access_log_open(const char *path, enum access_format format);

/* The relay's listeners, before it runs. */
void access_log_begin(struct usp_relay *relay);

/* From any thread, without waiting for the file; false: there is no room for it. true where there is no access log. */
bool access_log_put(const struct usp_relay_ended *ended);

/* Open the path again, because the file has been given another name. Soon. */
void access_log_reopen(void);

/* Waits two seconds at most for the file, and says what was lost. */
void access_log_close(void);

#endif
