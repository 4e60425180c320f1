/* SPDX-License-Identifier: MIT */
/* crc32c - the CRC of iSCSI, SCTP and the PROXY protocol, Castagnoli's polynomial. */
#ifndef USP_BASE_CRC32C_H
#define USP_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * Continue a checksum: crc is that of the bytes so far (0 at the start), and len bytes follow. Returns
 * the new checksum. RFC 3720, appendix B.4, has examples.
 */
uint32_t usp_crc32c(uint32_t crc, const void *bytes, size_t len);

#endif
