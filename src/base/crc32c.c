/* SPDX-License-Identifier: MIT */
/*
 * crc32c - the CRC of iSCSI, SCTP and the PROXY protocol, Castagnoli's polynomial.
 *
 * For headers of a few hundred bytes: half a byte at a time, with a table that fits into one cache
 * line.
 */
#include "base/crc32c.h"

/* [n] is n after four steps of division by 0x82f63b78, the polynomial with its bits reversed. */
static const uint32_t crc32c_steps[16] = {
	0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
	0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t usp_crc32c(uint32_t crc, const void *bytes, size_t len)
{
	const unsigned char *at = bytes;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= at[i];
		crc = crc >> 4 ^ crc32c_steps[crc & 0xf];
		crc = crc >> 4 ^ crc32c_steps[crc & 0xf];
	}
	return ~crc;
}
