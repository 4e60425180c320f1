/* SPDX-License-Identifier: MIT */
/* age_text - base64 of RFC 4648 without padding, and bech32 of BIP 173. */
#include "age/age_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define BECH32_SUM_LEN 6
#define BECH32_KEY_CHARS 52 /* of 5 bits, for 32 bytes */

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char bech32_digits[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* Return the value of a digit, or -1. */
static int text_digit(const char *digits, char c)
{
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

ssize_t usp_age_base64_decode(const char *text, size_t len, unsigned char *ret_bytes, size_t room)
{
	uint32_t bits = 0;
	unsigned nr_bits = 0;
	size_t done = 0;

	if (len % 4 == 1 || len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0) > room)
		return -EBADMSG;
	for (size_t i = 0; i < len; i++) {
		int digit = text_digit(base64_digits, text[i]);

		if (digit < 0)
			return -EBADMSG;
		bits = (bits << 6 | (uint32_t)digit) & 0xffff;
		nr_bits += 6;
		if (nr_bits >= 8) {
			nr_bits -= 8;
			ret_bytes[done++] = (unsigned char)(bits >> nr_bits);
		}
	}
	return bits & ((1u << nr_bits) - 1) ? -EBADMSG : (ssize_t)done; /* the bits left over have to be 0 */
}

void usp_age_base64_encode(const unsigned char *bytes, size_t len, char *ret_text)
{
	uint32_t bits = 0;
	unsigned nr_bits = 0;

	for (size_t i = 0; i < len; i++) {
		bits = (bits << 8 | bytes[i]) & 0xffff;
		for (nr_bits += 8; nr_bits >= 6; nr_bits -= 6)
			*ret_text++ = base64_digits[bits >> (nr_bits - 6) & 63];
	}
	if (nr_bits)
		*ret_text = base64_digits[bits << (6 - nr_bits) & 63];
}

/* Add a value of 5 bits to the checksum. */
static uint32_t bech32_add(uint32_t sum, unsigned value)
{
	static const uint32_t factors[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
	uint32_t top = sum >> 25;

	sum = (sum & 0x1ffffff) << 5 ^ value;
	for (unsigned i = 0; i < 5; i++)
		sum ^= top >> i & 1 ? factors[i] : 0;
	return sum;
}

static uint32_t bech32_add_prefix(const char *prefix)
{
	uint32_t sum = 1;

	for (const char *at = prefix; *at; at++)
		sum = bech32_add(sum, (unsigned char)*at >> 5);
	sum = bech32_add(sum, 0);
	for (const char *at = prefix; *at; at++)
		sum = bech32_add(sum, *at & 31);
	return sum;
}

/* Tell whether letters of both cases are in a text. */
static bool bech32_is_mixed(const char *text, size_t len)
{
	bool has_upper = false, has_lower = false;

	for (size_t i = 0; i < len; i++) {
		has_upper |= text[i] >= 'A' && text[i] <= 'Z';
		has_lower |= text[i] >= 'a' && text[i] <= 'z';
	}
	return has_upper && has_lower;
}

int usp_age_bech32_decode(const char *text, size_t len, const char *prefix, unsigned char ret_bytes[USP_AGE_BECH32_LEN])
{
	size_t prefix_len = strlen(prefix), done = 0;
	uint32_t sum = bech32_add_prefix(prefix), bits = 0;
	unsigned nr_bits = 0;

	if (len != prefix_len + 1 + BECH32_KEY_CHARS + BECH32_SUM_LEN || bech32_is_mixed(text, len) ||
	    strncasecmp(text, prefix, prefix_len) != 0 || text[prefix_len] != '1')
		return -EINVAL;
	for (size_t i = 0; i < BECH32_KEY_CHARS + BECH32_SUM_LEN; i++) {
		int digit = text_digit(bech32_digits, (char)tolower((unsigned char)text[prefix_len + 1 + i]));

		if (digit < 0)
			return -EINVAL;
		sum = bech32_add(sum, (unsigned)digit);
		if (i >= BECH32_KEY_CHARS)
			continue;
		bits = (bits << 5 | (uint32_t)digit) & 0xffff;
		nr_bits += 5;
		if (nr_bits >= 8) {
			nr_bits -= 8;
			ret_bytes[done++] = (unsigned char)(bits >> nr_bits);
		}
	}
	return sum == 1 && !(bits & ((1u << nr_bits) - 1)) ? 0 : -EINVAL;
}
