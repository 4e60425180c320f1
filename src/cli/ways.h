/* SPDX-License-Identifier: MIT */
/* ways - how bytes went, in words. */
#ifndef USP_CLI_WAYS_H
#define USP_CLI_WAYS_H

#include <stdio.h>
#include <usplice.h>

#define WAYS_TEXT_MAX 128
#define WAYS_REASON_MAX 512

extern const char *const ways_names[USP_NR_WAYS]; /* such as "by reference" */

/*
 * Write "1.0 GiB by reference, 4.0 KiB copied, 2.0 MiB left as holes", without the ways of no bytes, or "nothing moved". Holes did
 * not move. Returns text.
 */
const char *ways_format_holes(char text[WAYS_TEXT_MAX], const uint64_t bytes[USP_NR_WAYS], uint64_t holes);

/* Write the bytes by way as members of a JSON object: "by_reference":0,"copied":0 and so on. */
void ways_json(FILE *out, const uint64_t bytes[USP_NR_WAYS]);

/* Join the reasons of all ways that bytes went, or those of the plan if no byte did. NULL without reasons. */
const char *ways_reason(const struct usp_hop *hop, char text[WAYS_REASON_MAX]);

#endif
