/* SPDX-License-Identifier: MIT */
/*
 * limits - how many connections an address may have at a time, and how often it may connect.
 *
 * The rate is a bucket that holds `rate` connections and fills evenly. The state of an address is
 * one time: when its bucket will be full again. Each connection moves that time by rate_ns / rate.
 */
#include "relay/limits.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

#include "base/alloc.h"
#include "base/sys.h"

#define LIMITS_SHARDS 64
#define LIMITS_CHAINS 512 /* of each */
#define LIMITS_QUIET_MAX (USP_LIMITS_QUIET_MAX / LIMITS_SHARDS)
#define LIMITS_KEY_WORDS 3

/* What counts as one address. */
struct limits_key {
	uint64_t words[LIMITS_KEY_WORDS]; /* the family, and the address */
};

struct usp_guest {
	LIST_ENTRY(usp_guest) chain;
	TAILQ_ENTRY(usp_guest) quiet; /* while it has no connections */
	struct limits_key key;
	struct limits_shard *shard;
	unsigned nr_connections;
	uint64_t full_ns; /* when its bucket will be full again */
};

struct limits_shard {
	pthread_mutex_t lock;
	LIST_HEAD(, usp_guest) chains[LIMITS_CHAINS];
	TAILQ_HEAD(, usp_guest) quiet; /* longest without a connection first */
	unsigned nr_quiet;
};

struct usp_limits {
	struct usp_limits_params params;
	uint64_t step_ns;   /* cost of a connection */
	uint64_t secret[2]; /* of the hash */
	struct limits_shard shards[LIMITS_SHARDS];
};

/* --- Where an address counts --------------------------------------------------------------------------- */

static uint64_t hash_turn(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static void hash_round(uint64_t v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = hash_turn(v[1], 13) ^ v[0];
	v[3] = hash_turn(v[3], 16) ^ v[2];
	v[0] = hash_turn(v[0], 32) + v[3];
	v[2] += v[1];
	v[3] = hash_turn(v[3], 21) ^ v[0];
	v[1] = hash_turn(v[1], 17) ^ v[2];
	v[2] = hash_turn(v[2], 32);
}

/* SipHash-1-3 of whole words. */
static uint64_t limits_hash(const struct usp_limits *limits, const struct limits_key *key)
{
	uint64_t v[4] = {limits->secret[0] ^ 0x736f6d6570736575, limits->secret[1] ^ 0x646f72616e646f6d,
			 limits->secret[0] ^ 0x6c7967656e657261, limits->secret[1] ^ 0x7465646279746573};

	for (unsigned i = 0; i < LIMITS_KEY_WORDS; i++) {
		v[3] ^= key->words[i];
		hash_round(v);
		v[0] ^= key->words[i];
	}
	v[2] ^= 0xff;
	for (unsigned i = 0; i < 3; i++)
		hash_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Make the key of a client. False for a client without an address. */
static bool limits_key_of(const struct usp_limits *limits, const union usp_peer *client, struct limits_key *ret_key)
{
	unsigned char bytes[16] = {0};
	unsigned bits = limits->params.ipv6_bits;

	if (client->any.sa_family == AF_INET)
		memcpy(bytes, &client->in.sin_addr, sizeof(client->in.sin_addr));
	else if (client->any.sa_family == AF_INET6)
		memcpy(bytes, &client->in6.sin6_addr, sizeof(client->in6.sin6_addr));
	else
		return false;
	for (unsigned bit = client->any.sa_family == AF_INET6 ? bits : 32; bit < 128; bit++)
		bytes[bit / 8] &= (unsigned char)~(0x80 >> bit % 8);
	ret_key->words[0] = client->any.sa_family;
	memcpy(&ret_key->words[1], bytes, sizeof(bytes));
	return true;
}

/* --- Entries: with the lock of the shard ------------------------------------------------------------------ */

static void shard_forget(struct limits_shard *shard, struct usp_guest *guest)
{
	TAILQ_REMOVE(&shard->quiet, guest, quiet);
	shard->nr_quiet--;
	LIST_REMOVE(guest, chain);
	usp_free(guest);
}

/* Drop entries whose bucket is full: they are as good as new. Beyond the bound drop the oldest, too. */
static void shard_trim(struct limits_shard *shard, uint64_t now_ns)
{
	struct usp_guest *oldest;

	while ((oldest = TAILQ_FIRST(&shard->quiet)) != NULL &&
	       (oldest->full_ns <= now_ns || shard->nr_quiet > LIMITS_QUIET_MAX))
		shard_forget(shard, oldest);
}

static void shard_hush(struct limits_shard *shard, struct usp_guest *guest, uint64_t now_ns)
{
	TAILQ_INSERT_TAIL(&shard->quiet, guest, quiet);
	shard->nr_quiet++;
	if (guest->full_ns <= now_ns)
		shard_forget(shard, guest);
	shard_trim(shard, now_ns);
}

/* Return the entry of an address; a new entry is quiet. NULL without memory. */
static struct usp_guest *shard_find(struct limits_shard *shard, uint64_t hash, const struct limits_key *key)
{
	struct usp_guest *guest;

	LIST_FOREACH(guest, &shard->chains[hash % LIMITS_CHAINS], chain)
	{
		if (memcmp(&guest->key, key, sizeof(*key)) == 0)
			return guest;
	}
	guest = usp_alloc(sizeof(*guest));
	if (!guest)
		return NULL;
	guest->key = *key;
	guest->shard = shard;
	LIST_INSERT_HEAD(&shard->chains[hash % LIMITS_CHAINS], guest, chain);
	TAILQ_INSERT_TAIL(&shard->quiet, guest, quiet);
	shard->nr_quiet++;
	return guest;
}

/* Decide whether an address may have one more connection now: 0, or the reason against it. */
static int limits_judge(const struct usp_limits *limits, const struct usp_guest *guest, uint64_t now_ns)
{
	const struct usp_limits_params *params = &limits->params;

	if (params->connections && guest->nr_connections >= params->connections)
		return -EUSERS;
	if (params->rate && guest->full_ns > now_ns && guest->full_ns - now_ns > (params->rate - 1) * limits->step_ns)
		return -EAGAIN;
	return 0;
}

static void limits_take(const struct usp_limits *limits, struct usp_guest *guest, uint64_t now_ns)
{
	if (guest->nr_connections++ == 0) {
		TAILQ_REMOVE(&guest->shard->quiet, guest, quiet);
		guest->shard->nr_quiet--;
	}
	if (limits->params.rate)
		guest->full_ns = (guest->full_ns > now_ns ? guest->full_ns : now_ns) + limits->step_ns;
}

/* --- Clients --------------------------------------------------------------------------------------------- */

int usp_limits_enter(struct usp_limits *limits, const union usp_peer *client, uint64_t now_ns,
		     struct usp_guest **ret_guest)
{
	struct limits_shard *shard;
	struct usp_guest *guest;
	struct limits_key key;
	uint64_t hash;
	int ret = -ENOMEM;

	*ret_guest = NULL;
	if (!limits_key_of(limits, client, &key))
		return 0;
	hash = limits_hash(limits, &key);
	shard = &limits->shards[hash >> 32 & (LIMITS_SHARDS - 1)];
	pthread_mutex_lock(&shard->lock);
	guest = shard_find(shard, hash, &key);
	if (guest)
		ret = limits_judge(limits, guest, now_ns);
	if (ret == 0) {
		limits_take(limits, guest, now_ns);
		*ret_guest = guest;
	}
	shard_trim(shard, now_ns);
	pthread_mutex_unlock(&shard->lock);
	return ret;
}

void usp_limits_leave(struct usp_guest *guest, uint64_t now_ns)
{
	struct limits_shard *shard = guest->shard;

	pthread_mutex_lock(&shard->lock);
	if (--guest->nr_connections == 0)
		shard_hush(shard, guest, now_ns);
	pthread_mutex_unlock(&shard->lock);
}

/* --- Life ------------------------------------------------------------------------------------------------ */

int usp_limits_new(const struct usp_limits_params *params, struct usp_limits **ret_limits)
{
	struct usp_limits *limits = usp_alloc(sizeof(*limits));

	if (!limits)
		return -ENOMEM;
	limits->params = *params;
	limits->step_ns = params->rate ? params->rate_ns / params->rate : 0;
	usp_sys_random(limits->secret, sizeof(limits->secret));
	for (unsigned i = 0; i < LIMITS_SHARDS; i++) {
		pthread_mutex_init(&limits->shards[i].lock, NULL);
		TAILQ_INIT(&limits->shards[i].quiet);
	}
	*ret_limits = limits;
	return 0;
}

void usp_limits_free(struct usp_limits *limits)
{
	if (!limits)
		return;
	for (unsigned i = 0; i < LIMITS_SHARDS; i++) {
		struct limits_shard *shard = &limits->shards[i];

		while (TAILQ_FIRST(&shard->quiet))
			shard_forget(shard, TAILQ_FIRST(&shard->quiet));
		pthread_mutex_destroy(&shard->lock);
	}
	usp_free(limits);
}
