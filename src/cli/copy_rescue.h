/* SPDX-License-Identifier: MIT */
/* copy_rescue - go on behind what cannot be read of a source: --on-read-error. */
#ifndef USP_CLI_COPY_RESCUE_H
#define USP_CLI_COPY_RESCUE_H

#include <stdio.h>

struct copy;

/* Put the stage of --on-read-error over the source, which has just been opened. An exit code; the error has been said. */
int copy_rescue_open(struct copy *copy);

/* Say what could not be read. Returns CLI_SOURCE if there was something, else CLI_DONE. */
int copy_rescue_say(const struct copy *copy);

/* Write the list of what could not be read as an array of JSON. */
void copy_rescue_json(FILE *out, const struct copy *copy);

#endif
