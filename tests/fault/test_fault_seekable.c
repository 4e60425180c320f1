/* SPDX-License-Identifier: MIT */
/*
 * test_fault_seekable - files are decompressed and decrypted with positions, with everything failing in turn: what comes
 * out is what went in, or an error, which is never one of the data.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <usplice/endpoint.h>
#include <usplice/transform.h>

#include "age/age_crypto.h"
#include "age_vectors.h"
#include "base/compiler.h"
#include "fault.h"
#include "seek_files.h"
#include "support.h"

#define PLAIN_LEN ((size_t)200001)
#define PIECE_LEN ((size_t)60000)

static unsigned char plain[PLAIN_LEN], got[PLAIN_LEN + 1];
static struct seek_file packed, sealed;

/* Lay a stage over *file, which becomes the stage: 0 or -errno. */
static int seekable_lay(const char *spec, const char *secret, struct usp_file **file)
{
	const struct usp_transform_params params = {.size = sizeof(params),
						    .flags = USP_TRANSFORM_SEEKABLE,
						    .secret = secret,
						    .secret_len = secret ? strlen(secret) : 0};
	struct usp_file *stage;
	int ret = usp_transform_open(spec, *file, &params, &stage, NULL);

	*file = ret == 0 ? stage : *file;
	return ret;
}

/* Make the files. */
static void make_files(void)
{
	struct usp_file *below, *stage;
	unsigned char bytes[4096];
	ssize_t len;

	pattern_fill(plain, 0, PLAIN_LEN);
	seek_formats[0].make(plain, PLAIN_LEN, PIECE_LEN, &packed);
	if (usp_open_memory(packed.bytes, packed.len, USP_READ, NULL, NULL, &below) < 0 ||
	    usp_transform_open("encrypt:" AGE_RECIPIENT_1, below, NULL, &stage, NULL) < 0)
		abort();
	while ((len = usp_read(stage, bytes, sizeof(bytes))) > 0)
		seek_put(&sealed, bytes, (size_t)len);
	usp_file_put(stage);
}

/* Open a file that has a descriptor. */
static int seekable_open_file(const struct seek_file *bytes, struct usp_file **ret_file)
{
	int fd = memfd_create("seekable", MFD_CLOEXEC), ret;

	if (fd < 0 || write(fd, bytes->bytes, bytes->len) != (ssize_t)bytes->len || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	ret = usp_open_fd(fd, USP_READ | USP_EXCLUSIVE, "packed", ret_file);
	if (ret < 0)
		close(fd);
	return ret;
}

/* Read a range in the middle, and then all of it by references. */
static int seekable_read(struct usp_file *file, size_t *ret_len)
{
	struct usp_file *sink;
	ssize_t len = usp_pread(file, got, 1000, 100000);
	int ret;

	if (len < 0)
		return (int)len;
	fault_check(memcmp(got, plain + 100000, (size_t)len) == 0);
	ret = usp_open_memory(got, sizeof(got), USP_WRITE, NULL, NULL, &sink);
	if (ret < 0)
		return ret;
	ret = usp_copy_files(file, sink, NULL, NULL);
	*ret_len = (size_t)usp_file_seek(sink, 0, SEEK_CUR);
	usp_file_put(sink);
	return ret;
}

static void seekable_run(const void *arg)
{
	const struct seek_file *bytes = arg;
	struct usp_file *file = NULL;
	size_t len = 0;
	int ret;

	make_files();
	fault_arm();
	ret = seekable_open_file(bytes, &file);
	if (ret == 0 && bytes == &sealed)
		ret = seekable_lay("decrypt:identity", AGE_IDENTITY_1, &file);
	if (ret == 0)
		ret = seekable_lay("decompress", NULL, &file);
	if (ret == 0)
		ret = seekable_read(file, &len);
	usp_file_put(file);
	fault_disarm();
	fault_check(ret == 0 || fault_hit().has_fired);
	fault_check(ret != -EBADMSG && ret != -ENOKEY && ret != -EFBIG);
	fault_check(ret == 0 ? len == PLAIN_LEN : len <= PLAIN_LEN);
	fault_check(memcmp(got, plain, len) == 0);
	free(packed.bytes);
	free(sealed.bytes);
}

static const struct fault_scenario scenarios[] = {
	{.name = "decompress", .run = seekable_run, .arg = &packed},
	{.name = "decrypt_and_decompress", .run = seekable_run, .arg = &sealed},
};

int main(void)
{
	if (!seek_formats[0].name || usp_age_crypto_missing())
		return 77;
	return fault_main(scenarios, usp_array_len(scenarios));
}
