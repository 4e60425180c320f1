/* SPDX-License-Identifier: MIT */
/* rows - how rows of the conformance table are opened, for the two files that have them. */
#ifndef USP_TESTS_ROWS_H
#define USP_TESTS_ROWS_H

#include "subject.h"

/* subject.c: endpoints that others lie over. */
void subject_open_stored(struct subject *subject, unsigned mode, const char *options);
void regular_source(struct subject *subject, size_t len);
void fifo_source(struct subject *subject, size_t len);
void pipe_source(struct subject *subject, size_t len);
void tcp_source(struct subject *subject, size_t len);

/* rows_over.c: files over files, and the endpoints of examples/. */
void file_digest_source(struct subject *subject, size_t len);
void fifo_digest_source(struct subject *subject, size_t len);
void pipe_digest_source(struct subject *subject, size_t len);
void file_sums_source(struct subject *subject, size_t len);
void compressed_source(struct subject *subject, size_t len);
void encrypted_source(struct subject *subject, size_t len);
void blocks_source(struct subject *subject, size_t len);
void seekable_source(struct subject *subject, size_t len);
void file_buffer_source(struct subject *subject, size_t len);
void file_buffer_file_source(struct subject *subject, size_t len);
void fifo_buffer_source(struct subject *subject, size_t len);
void fifo_kernel_buffer_source(struct subject *subject, size_t len);
void tcp_buffer_source(struct subject *subject, size_t len);
void tcp_kernel_buffer_source(struct subject *subject, size_t len);
void pipe_buffer_source(struct subject *subject, size_t len);
void buffer_digest_source(struct subject *subject, size_t len);
void frames_source(struct subject *subject, size_t len);
void bare_frames_source(struct subject *subject, size_t len);
void frames_buffer_source(struct subject *subject, size_t len);
void frames_sink(struct subject *subject);
void bare_frames_sink(struct subject *subject);
void file_upper_source(struct subject *subject, size_t len);
void fifo_upper_source(struct subject *subject, size_t len);
void pipe_upper_source(struct subject *subject, size_t len);
void masked_source(struct subject *subject, size_t len);
void slice_source(struct subject *subject, size_t len);
void numbers_source(struct subject *subject, size_t len);
void device_source(struct subject *subject, size_t len);
void numbers_sink(struct subject *subject);
void kept_sink(struct subject *subject);
void granted_sink(struct subject *subject);

#endif
