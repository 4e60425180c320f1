/* SPDX-License-Identifier: MIT */
/* fuzz - what every fuzz target shares: the entry that libFuzzer and replay.c call, and how a finding is reported. */
#ifndef USP_FUZZ_FUZZ_H
#define USP_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Called with one input after the other; returns 0. A finding ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Unlike assert, also in a release build. */
#define FUZZ_CHECK(condition)                                                                   \
	do {                                                                                    \
		if (!(condition)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                                \
		}                                                                               \
	} while (0)

#endif
