/* SPDX-License-Identifier: MIT */
/* standard - the descriptors 0, 1 and 2, which need not be there. */
#ifndef USP_CLI_STANDARD_H
#define USP_CLI_STANDARD_H

#include <stdbool.h>

/*
 * Put something that refuses in the place of a standard descriptor that is closed. The next file that is opened would get its
 * number, and what is meant for it would land there. False if that cannot be done.
 */
bool standard_occupy_closed(void);

/* Was this standard descriptor closed when the process began? */
bool standard_was_closed(int fd);

#endif
