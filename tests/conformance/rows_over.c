/* SPDX-License-Identifier: MIT */
/* rows_over - rows of the conformance table: transforms over endpoints, and the endpoints of examples/. */
#include "rows.h"

#include <fcntl.h>
#include <stdio.h>
#include <usplice/framed.h>
#include <usplice/transform.h>

#include "examples.h"
#include "lanes/kpipe.h"

/* In the caller's thread: a thread of the stage may still be at work when a call that does not wait asks for the end. */
static void subject_put_stage_with(struct subject *subject, const char *spec, const char *secret)
{
	const struct usp_transform_params params = {.size = sizeof(params),
						    .flags = USP_TRANSFORM_INLINE,
						    .secret = secret,
						    .secret_len = secret ? strlen(secret) : 0};
	struct usp_file *stage;
	int ret = usp_transform_open(spec, subject->file, &params, &stage, NULL);

	if (ret == -EOPNOTSUPP) { /* not in this build */
		drop(&subject->file);
		unlink(subject->path);
		skip();
	}
	assert_int_equal(ret, 0);
	subject->file = stage;
}

static void subject_put_stage(struct subject *subject, const char *spec)
{
	subject_put_stage_with(subject, spec, NULL);
}

static void subject_put_secret_stage(struct subject *subject, const char *spec)
{
	subject_put_stage_with(subject, spec, "correct horse");
}

void file_digest_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject_put_stage(subject, "digest:crc32c");
}

void fifo_digest_source(struct subject *subject, size_t len)
{
	fifo_source(subject, len);
	subject_put_stage(subject, "digest:crc32c");
}

void pipe_digest_source(struct subject *subject, size_t len)
{
	pipe_source(subject, len);
	subject_put_stage(subject, "digest:crc32c");
}

/* The stage of blocks: it lends whole ones, with a confirm of its own. */
void file_sums_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject_put_stage(subject, "sums:crc32c:4096");
}

/* Two stages that undo each other. */
void compressed_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject_put_stage(subject, "gzip:1");
	subject_put_stage(subject, "decompress");
}

/* The same by way of a file that has an index of its blocks: then there are positions. */
void seekable_source(struct subject *subject, size_t len)
{
	const struct usp_transform_params params = {.size = sizeof(params), .flags = USP_TRANSFORM_SEEKABLE};
	struct usp_file *stage;
	char packed[80];
	int ret;

	regular_source(subject, len);
	subject_put_stage(subject, "xz:0");
	snprintf(packed, sizeof(packed), "%s.xz", subject->path);
	assert_int_equal(usp_copy_to(subject->file, packed, NULL, NULL), 0);
	drop(&subject->file);
	subject_open_stored(subject, USP_READ, ".xz");
	unlink(packed);
	ret = usp_transform_open("decompress", subject->file, &params, &stage, NULL);
	if (ret == -EOPNOTSUPP) {
		drop(&subject->file);
		unlink(subject->path);
		skip();
	}
	assert_int_equal(ret, 0);
	subject->file = stage;
}

void encrypted_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject_put_secret_stage(subject, "encrypt:passphrase");
	subject_put_secret_stage(subject, "decrypt:passphrase");
}

/* A list of the checksums of the source itself. */
void blocks_source(struct subject *subject, size_t len)
{
	char list[80], spec[96];
	int fd;

	file_sums_source(subject, len);
	snprintf(list, sizeof(list), "%s.sums", subject->path);
	fd = open(list, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(usp_copy_to(subject->file, "null:", NULL, NULL), 0);
	assert_int_equal(usp_sums_write(subject->file, fd), 0);
	close(fd);
	drop(&subject->file);
	subject_open_stored(subject, USP_READ, "");
	snprintf(spec, sizeof(spec), "blocks:%s", list);
	subject_put_stage(subject, spec);
	unlink(list);
}

/* --- Buffers --------------------------------------------------------------------------------------------------------- */

#define BUFFER_SMALL "buffer:64k"
#define BUFFER_LARGE "buffer:8M" /* has kernel pipes, where the file below gives some */

static void subject_put_buffer(struct subject *subject, const char *spec)
{
	struct usp_file *stage;

	assert_int_equal(usp_transform_open(spec, subject->file, NULL, &stage, NULL), 0);
	subject->file = stage;
}

/* A buffer that gets kernel pipes. */
static void subject_put_kernel_buffer(struct subject *subject)
{
	usp_file_side(subject->file, USP_READ)->lane = &usp_kernel_lane;
	subject_put_buffer(subject, BUFFER_LARGE);
}

void file_buffer_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject_put_buffer(subject, BUFFER_SMALL);
}

/* Little of it fits into memory at a time. */
void file_buffer_file_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject_put_buffer(subject, "buffer:64k,file-size=1M,file=/var/tmp");
}

void fifo_buffer_source(struct subject *subject, size_t len)
{
	fifo_source(subject, len);
	subject_put_buffer(subject, BUFFER_SMALL);
}

void fifo_kernel_buffer_source(struct subject *subject, size_t len)
{
	fifo_source(subject, len);
	subject_put_kernel_buffer(subject);
}

void tcp_buffer_source(struct subject *subject, size_t len)
{
	tcp_source(subject, len);
	subject_put_buffer(subject, BUFFER_SMALL);
}

void tcp_kernel_buffer_source(struct subject *subject, size_t len)
{
	tcp_source(subject, len);
	subject_put_kernel_buffer(subject);
}

void pipe_buffer_source(struct subject *subject, size_t len)
{
	pipe_source(subject, len);
	subject_put_buffer(subject, BUFFER_SMALL);
}

void buffer_digest_source(struct subject *subject, size_t len)
{
	fifo_buffer_source(subject, len);
	subject_put_stage(subject, "digest:crc32c");
}

/* --- Frames ---------------------------------------------------------------------------------------------------------- */

#define FRAMES_PIPE_BYTES (1 << 18) /* a small frame takes two pages or more */

static struct usp_file *framed_over(int fd, unsigned mode, const char *digest)
{
	const struct usp_framed_params params = {.size = sizeof(params),
						 .digest = mode == USP_WRITE ? digest : NULL,
						 .expected = mode == USP_WRITE ? -1 : 0};
	struct usp_file *file = net_file(fd, mode);

	assert_int_equal(usp_framed_open(file, mode, &params, &file, NULL), 0);
	return file;
}

/* Both ends of a pipe of the system: a sender, and a receiver. */
static void open_frames(struct usp_file *ends[2], const char *digest)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, FRAMES_PIPE_BYTES) > 0);
	ends[0] = framed_over(fds[0], USP_READ, NULL);
	ends[1] = framed_over(fds[1], USP_WRITE, digest);
}

static void open_frames_source(struct subject *subject, const char *digest)
{
	struct usp_file *ends[2];

	open_frames(ends, digest);
	subject->file = ends[0];
	subject->far_file = ends[1];
}

static void open_frames_sink(struct subject *subject, const char *digest)
{
	struct usp_file *ends[2];

	open_frames(ends, digest);
	subject->file = ends[1];
	subject->far_file = ends[0];
}

void frames_source(struct subject *subject, size_t len)
{
	(void)len;
	open_frames_source(subject, "crc32c");
}

void bare_frames_source(struct subject *subject, size_t len)
{
	(void)len;
	open_frames_source(subject, "none");
}

void frames_buffer_source(struct subject *subject, size_t len)
{
	frames_source(subject, len);
	subject_put_buffer(subject, BUFFER_SMALL);
}

void frames_sink(struct subject *subject)
{
	open_frames_sink(subject, "crc32c");
}

void bare_frames_sink(struct subject *subject)
{
	open_frames_sink(subject, "none");
}

/* --- The endpoints of examples/ -------------------------------------------------------------------------------------- */

void file_upper_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject->file = upper_over(subject->file);
}

void fifo_upper_source(struct subject *subject, size_t len)
{
	fifo_source(subject, len);
	subject->file = upper_over(subject->file);
}

void pipe_upper_source(struct subject *subject, size_t len)
{
	pipe_source(subject, len);
	subject->file = upper_over(subject->file);
}

void masked_source(struct subject *subject, size_t len)
{
	regular_source(subject, len);
	subject->file = masked_over(subject->file);
}

void slice_source(struct subject *subject, size_t len)
{
	regular_source(subject, len + 1000);
	subject->file = slice_over(subject->file, 0, (int64_t)len);
}

void numbers_source(struct subject *subject, size_t len)
{
	subject->file = counter_source(len);
}

void device_source(struct subject *subject, size_t len)
{
	(void)len;
	subject->file = packet_source();
}

void numbers_sink(struct subject *subject)
{
	subject->file = lines_sink();
}

void kept_sink(struct subject *subject)
{
	subject->file = keep_sink();
	subject->is_kept = true;
}

void granted_sink(struct subject *subject)
{
	subject->file = credit_sink(&subject->far_fd);
}
