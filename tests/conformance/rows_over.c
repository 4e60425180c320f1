/* SPDX-License-Identifier: MIT */
/* rows_over - rows of the conformance table: transforms over endpoints, and the endpoints of examples/. */
#include "rows.h"

#include <fcntl.h>
#include <stdio.h>
#include <usplice/transform.h>

#include "examples.h"

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
