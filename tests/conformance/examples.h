/* SPDX-License-Identifier: MIT */
/* examples - rows of the conformance table for the endpoints of examples/. */
#ifndef USP_TESTS_EXAMPLES_H
#define USP_TESTS_EXAMPLES_H

#include <usplice/endpoint.h>

/* Lay the example over a file, which belongs to it then. fill gives the bytes [off, off + len) that it shows of pattern bytes. */
struct usp_file *upper_over(struct usp_file *below);
void upper_fill(unsigned char *bytes, uint64_t off, size_t len);
struct usp_file *masked_over(struct usp_file *below);
void masked_fill(unsigned char *bytes, uint64_t off, size_t len);
struct usp_file *slice_over(struct usp_file *below, int64_t first, int64_t len);

/* Sources with bytes of their own. */
struct usp_file *counter_source(size_t len);
void counter_fill(unsigned char *bytes, uint64_t off, size_t len);
struct usp_file *packet_source(void);
void packet_fill(unsigned char *bytes, uint64_t off, size_t len);

/* Sinks. lines looks at bytes only; keep has them, until keep_forget; credit has a peer at *ret_fd, which has granted much. */
struct usp_file *lines_sink(void);
struct usp_file *keep_sink(void);
void keep_take(unsigned char *bytes, uint64_t off, size_t len);
void keep_forget(void);
struct usp_file *credit_sink(int *ret_fd);

#endif
