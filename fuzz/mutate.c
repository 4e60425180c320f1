/* SPDX-License-Identifier: MIT */
/* mutate - inputs that are like those of a corpus, but not quite. */
#include "mutate.h"

#include <stdlib.h>
#include <string.h>

#define MUTATE_LEN_MAX 4096
#define MUTATE_CHANGES_MAX 8
#define MUTATE_PIECE_MAX 16

struct mutant {
	uint8_t bytes[MUTATE_LEN_MAX];
	size_t len;
	uint64_t state; /* of the random numbers */
	const struct fuzz_input *inputs;
	unsigned nr_inputs;
};

/* SplitMix64: every number is a good seed. */
static uint64_t mutant_random(struct mutant *mutant)
{
	uint64_t x = mutant->state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

static size_t mutant_below(struct mutant *mutant, size_t bound)
{
	return bound ? mutant_random(mutant) % bound : 0;
}

static size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void mutant_flip(struct mutant *mutant)
{
	if (mutant->len)
		mutant->bytes[mutant_below(mutant, mutant->len)] ^= (uint8_t)(1u << mutant_below(mutant, 8));
}

/* A byte at which things tend to change. */
static uint8_t mutant_byte(struct mutant *mutant)
{
	static const uint8_t edges[] = {0,   1,	  0x7f, 0x80, 0xff, ' ', '\n', '\r',
					'"', '%', ',',	'-',  '0',  '9', ':',  '='};

	return mutant_below(mutant, 2) ? edges[mutant_below(mutant, sizeof(edges))] : (uint8_t)mutant_random(mutant);
}

static void mutant_overwrite(struct mutant *mutant)
{
	if (mutant->len)
		mutant->bytes[mutant_below(mutant, mutant->len)] = mutant_byte(mutant);
}

/* Room for a piece at a random place, or NULL if it is full. */
static uint8_t *mutant_open(struct mutant *mutant, size_t len)
{
	size_t at = mutant_below(mutant, mutant->len + 1);

	if (len > MUTATE_LEN_MAX - mutant->len)
		return NULL;
	memmove(mutant->bytes + at + len, mutant->bytes + at, mutant->len - at);
	mutant->len += len;
	return mutant->bytes + at;
}

static void mutant_insert(struct mutant *mutant)
{
	size_t len = 1 + mutant_below(mutant, MUTATE_PIECE_MAX);
	uint8_t *piece = mutant_open(mutant, len);

	if (piece)
		memset(piece, mutant_byte(mutant), len);
}

static void mutant_remove(struct mutant *mutant)
{
	size_t at = mutant_below(mutant, mutant->len);
	size_t len = min(1 + mutant_below(mutant, MUTATE_PIECE_MAX), mutant->len - at);

	memmove(mutant->bytes + at, mutant->bytes + at + len, mutant->len - at - len);
	mutant->len -= len;
}

static void mutant_borrow(struct mutant *mutant)
{
	const struct fuzz_input *other = &mutant->inputs[mutant_below(mutant, mutant->nr_inputs)];
	size_t from = mutant_below(mutant, other->len);
	size_t len = min(mutant_below(mutant, 4 * MUTATE_PIECE_MAX), other->len - from);
	uint8_t *piece = mutant_open(mutant, len);

	if (piece && len)
		memcpy(piece, other->data + from, len);
}

struct fuzz_input fuzz_mutate(const struct fuzz_input *inputs, unsigned nr_inputs, uint64_t number)
{
	static void (*const changes[])(struct mutant * mutant) = {mutant_flip, mutant_overwrite, mutant_insert,
								  mutant_remove, mutant_borrow};
	struct mutant mutant = {.state = number, .inputs = inputs, .nr_inputs = nr_inputs};
	const struct fuzz_input *first = &inputs[mutant_below(&mutant, nr_inputs)];
	uint8_t *data;

	mutant.len = min(first->len, MUTATE_LEN_MAX);
	if (mutant.len)
		memcpy(mutant.bytes, first->data, mutant.len);
	for (size_t i = mutant_below(&mutant, MUTATE_CHANGES_MAX); i-- > 0;)
		changes[mutant_below(&mutant, sizeof(changes) / sizeof(changes[0]))](&mutant);
	data = malloc(mutant.len ? mutant.len : 1);
	if (!data)
		abort();
	memcpy(data, mutant.bytes, mutant.len);
	return (struct fuzz_input){.name = first->name, .data = data, .len = mutant.len};
}
