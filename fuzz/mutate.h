/* SPDX-License-Identifier: MIT */
/* mutate - inputs that are like those of a corpus, but not quite. */
#ifndef USP_FUZZ_MUTATE_H
#define USP_FUZZ_MUTATE_H

#include <stddef.h>
#include <stdint.h>

struct fuzz_input {
	const char *name;
	uint8_t *data;
	size_t len;
};

/*
 * One of the inputs with up to eight changes: bits, bytes, pieces put in, left out, or taken from another one. The same number
 * gives the same bytes. The caller frees data, which is exactly as long as the input, so that reading behind the end is seen.
 */
struct fuzz_input fuzz_mutate(const struct fuzz_input *inputs, unsigned nr_inputs, uint64_t number);

#endif
