/* SPDX-License-Identifier: MIT */
/* failure - errors as words for programs: in reports, beside the sentences for people. */
#ifndef USP_CLI_FAILURE_H
#define USP_CLI_FAILURE_H

#include <stdio.h>

/*
 * Write two members of a JSON object: "code", the name of the errno value such as "ENOSPC", and "kind", a word that
 * groups them such as "no-space". Both are null for 0. error is a negative errno value. The words stay as they are:
 * programs compare them.
 */
void failure_json(FILE *out, int error);

#endif
