/* SPDX-License-Identifier: MIT */
/* hash_crc32c - CRC32C, by the instructions of the processor where ISA-L is there. */
#include <stdint.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "hash/hash.h"

#ifdef USP_HAVE_ISAL

#include <isa-l/crc.h>
#include <pthread.h>

#include "base/compiler.h"
#include "base/library.h"

#define CRC32C_LIBRARY "libisal.so.2"
#define CRC32C_IS_HEAVY false

/* Loaded when the first checksum is asked for: most copies need none. NULL where it is not installed. */
static __typeof__(crc32_iscsi) *crc32c_isal;

static void crc32c_load(void)
{
	usp_library_load(CRC32C_LIBRARY, (const struct usp_library_function[]){{"crc32_iscsi", &crc32c_isal}, {0}});
}

/* crc32_iscsi takes an int for the length, and neither begins nor ends with the inversion. */
static uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len)
{
	unsigned char *at = (unsigned char *)bytes; /* it only reads */

	if (!crc32c_isal)
		return usp_crc32c(crc, bytes, len);
	crc = ~crc;
	while (len) {
		size_t chunk = usp_min(len, (size_t)1 << 30);

		crc = crc32c_isal(at, (int)chunk, crc);
		at += chunk;
		len -= chunk;
	}
	return ~crc;
}

static void crc32c_prepare(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, crc32c_load);
}

#else

#define CRC32C_IS_HEAVY true

static uint32_t crc32c_add(uint32_t crc, const void *bytes, size_t len)
{
	return usp_crc32c(crc, bytes, len);
}

static void crc32c_prepare(void)
{
}

#endif

static void *crc32c_open(void)
{
	crc32c_prepare();
	return usp_alloc(sizeof(uint32_t));
}

static void crc32c_update(void *state, const void *bytes, size_t len)
{
	uint32_t *crc = state;

	*crc = crc32c_add(*crc, bytes, len);
}

static void crc32c_finish(void *state, unsigned char *ret_digest)
{
	const uint32_t *crc = state;

	for (unsigned i = 0; i < sizeof(*crc); i++)
		ret_digest[i] = (unsigned char)(*crc >> (24 - 8 * i));
}

static void crc32c_free(void *state)
{
	usp_free(state);
}

const struct usp_hash_ops usp_hash_crc32c = {
	.name = "crc32c",
	.summary = "32 bits, against accidents only",
	.len = sizeof(uint32_t),
	.is_heavy = CRC32C_IS_HEAVY,
	.open = crc32c_open,
	.update = crc32c_update,
	.finish = crc32c_finish,
	.free = crc32c_free,
};
