/* SPDX-License-Identifier: MIT */
/* standard - the descriptors 0, 1 and 2, which may be closed. */
#ifndef USP_CLI_STANDARD_H
#define USP_CLI_STANDARD_H

#include <stdbool.h>

/*
 * Put a file that refuses all use in the place of each closed standard descriptor. Else the next
 * file that is opened would get its number, and data meant for the descriptor would land there.
 * False if that cannot be done.
 */
bool standard_occupy_closed(void);

/* Tell whether this standard descriptor was closed when the process began. */
bool standard_was_closed(int fd);

#endif
