/* SPDX-License-Identifier: MIT */
/* format - the bytes of a framed stream. */
#include "framed/format.h"

#include <string.h>
#include <usplice/spec.h>

#include "base/compiler.h"
#include "base/crc32c.h"

/* As that of PNG: a path that changes bytes or line ends shows at once. */
static const unsigned char format_magic[8] = {0x89, 'U', 'S', 'P', '\r', '\n', 0x1a, '\n'};

/* The numbers stay what they are: they are written into streams. */
static const struct usp_hash_ops *const format_digests[] = {
	NULL,
	&usp_hash_crc32c,
	&usp_hash_xxh128,
	&usp_hash_sha256,
	&usp_hash_sha512,
	&usp_hash_blake2b,
	&usp_hash_xxh64,
	&usp_hash_xxh3,
};

uint8_t framed_digest_number(const struct usp_hash_ops *digest)
{
	uint8_t number = 0;

	while (format_digests[number] != digest)
		number++;
	return number;
}

bool framed_digest_find(uint8_t number, const struct usp_hash_ops **ret_digest)
{
	if (number >= usp_array_len(format_digests))
		return false;
	*ret_digest = format_digests[number];
	return true;
}

/* --- Numbers ------------------------------------------------------------------------------------------------- */

static void format_store(unsigned char *base, uint64_t value, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		base[i] = (unsigned char)(value >> 8 * (len - 1 - i));
}

static uint64_t format_load(const unsigned char *base, unsigned len)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < len; i++)
		value = value << 8 | base[i];
	return value;
}

static void format_add(struct framed_bytes *bytes, const void *base, size_t len)
{
	memcpy(bytes->base + bytes->len, base, len);
	bytes->len += len;
}

static void format_add_number(struct framed_bytes *bytes, uint64_t value, unsigned len)
{
	format_store(bytes->base + bytes->len, value, len);
	bytes->len += len;
}

/* Append the checksum of what was appended since start. */
static void format_add_crc(struct framed_bytes *bytes, size_t start)
{
	format_add_number(bytes, usp_crc32c(0, bytes->base + start, bytes->len - start), FRAMED_CRC_LEN);
}

bool framed_is_intact(const unsigned char *base, size_t len)
{
	return len >= FRAMED_CRC_LEN &&
	       format_load(base + len - FRAMED_CRC_LEN, FRAMED_CRC_LEN) == usp_crc32c(0, base, len - FRAMED_CRC_LEN);
}

uint64_t framed_get_count(const unsigned char *base)
{
	return format_load(base, sizeof(uint64_t));
}

/* --- The header of the stream -------------------------------------------------------------------------------- */

void framed_put_header(struct framed_bytes *bytes, const struct framed_header *header)
{
	size_t start = bytes->len;

	format_add(bytes, format_magic, sizeof(format_magic));
	format_add_number(bytes, header->version, 1);
	format_add_number(bytes, header->digest, 1);
	format_add_number(bytes, header->flags, 2);
	format_add_number(bytes, 0, 4);
	format_add_number(bytes, header->expected, 8);
	format_add_crc(bytes, start);
}

const char *framed_get_header(const unsigned char *base, struct framed_header *ret_header)
{
	if (memcmp(base, format_magic, sizeof(format_magic)) != 0)
		return "what comes is not framed: the sender needs --framed, too";
	*ret_header = (struct framed_header){
		.version = base[8],
		.digest = base[9],
		.flags = (uint16_t)format_load(base + 10, 2),
		.expected = format_load(base + 16, 8),
	};
	if (ret_header->version != FRAMED_VERSION)
		return "its frames have another version than 1";
	if (!framed_is_intact(base, FRAMED_HEADER_LEN) || format_load(base + 12, 4))
		return "its header is damaged";
	return NULL;
}

/* --- Frames -------------------------------------------------------------------------------------------------- */

void framed_put_frame(struct framed_bytes *bytes, uint32_t type, uint32_t len)
{
	size_t start = bytes->len;

	format_add_number(bytes, type, 4);
	format_add_number(bytes, len, 4);
	format_add_crc(bytes, start);
}

void framed_put_count(struct framed_bytes *bytes, uint32_t type, uint64_t count, const void *digest, size_t len)
{
	size_t start;

	framed_put_frame(bytes, type, (uint32_t)(sizeof(count) + len + FRAMED_CRC_LEN));
	start = bytes->len;
	format_add_number(bytes, count, sizeof(count));
	if (len)
		format_add(bytes, digest, len);
	format_add_crc(bytes, start);
}

void framed_put_text(struct framed_bytes *bytes, uint32_t type, const char *text)
{
	size_t len = usp_min(strlen(text), FRAMED_CONTROL_MAX - FRAMED_CRC_LEN), start;

	framed_put_frame(bytes, type, (uint32_t)(len + FRAMED_CRC_LEN));
	start = bytes->len;
	format_add(bytes, text, len);
	format_add_crc(bytes, start);
}

static bool format_is_length(uint32_t type, uint32_t len)
{
	switch (type) {
	case FRAMED_DATA:
		return len > 0;
	case FRAMED_END:
	case FRAMED_HAVE:
	case FRAMED_DONE:
		return len >= sizeof(uint64_t) + FRAMED_CRC_LEN && len <= FRAMED_CONTROL_MAX;
	case FRAMED_FAIL:
		return len >= FRAMED_CRC_LEN && len <= FRAMED_CONTROL_MAX;
	default:
		return false;
	}
}

const char *framed_get_frame(const unsigned char *base, uint32_t *ret_type, uint32_t *ret_len)
{
	*ret_type = (uint32_t)format_load(base, 4);
	*ret_len = (uint32_t)format_load(base + 4, 4);
	return framed_is_intact(base, FRAMED_FRAME_LEN) && format_is_length(*ret_type, *ret_len) ? NULL
												 : "a frame is damaged";
}

void framed_clean(const unsigned char *base, size_t len, char *ret_text, size_t room)
{
	size_t at = 0, done = 0;

	while (at < len && done + 1 < room) {
		char one[5] = {0};
		uint32_t point;
		size_t chunk;

		memcpy(one, base + at, usp_min(len - at, sizeof(one) - 1));
		chunk = one[0] ? usp_utf8_len(one, &point) : 0;
		if (!chunk || usp_utf8_is_control(point)) {
			one[0] = '?';
			at += chunk ? chunk : 1;
			chunk = 1;
		} else {
			at += chunk;
		}
		if (done + chunk + 1 > room)
			break;
		memcpy(ret_text + done, one, chunk);
		done += chunk;
	}
	ret_text[done] = '\0';
}
