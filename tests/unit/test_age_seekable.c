/* SPDX-License-Identifier: MIT */
/* test_age_seekable - decrypting with positions, against the plain bytes: ranges, what was changed, and wrong keys. */
#include "ranges.h"

#include <usplice/mapping.h>
#include <usplice/transform.h>

#include "age/age_crypto.h"
#include "age_vectors.h"
#include "seek_files.h"

#define CHUNK ((size_t)64 << 10)
#define LEN (20 * CHUNK + 12345)

static const size_t lens[] = {0, 1, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, LEN};

/* --- Helpers -------------------------------------------------------------------------------------------------- */

static int try_over(struct usp_file *below, const char *identity, struct usp_file **ret_stage, const char **ret_why)
{
	const struct usp_transform_params params = {.size = sizeof(params),
						    .flags = USP_TRANSFORM_SEEKABLE,
						    .secret = identity,
						    .secret_len = strlen(identity)};

	return usp_transform_open("decrypt:identity", below, &params, ret_stage, ret_why);
}

static int try_bytes(const void *bytes, size_t len, const char *identity, struct usp_file **ret_stage,
		     const char **ret_why)
{
	struct usp_file *below;
	int ret;

	assert_int_equal(usp_open_memory((void *)bytes, len, USP_READ, NULL, NULL, &below), 0);
	ret = try_over(below, identity, ret_stage, ret_why);
	if (ret < 0)
		usp_file_put(below);
	return ret;
}

/* Encrypt bytes: a file, and in *ret_len its length. */
static unsigned char *encrypted(const unsigned char *plain, size_t len, const char *recipients, size_t *ret_len)
{
	unsigned char *bytes = malloc(len + len / 64 + 2000);
	struct usp_file *below, *stage;
	ssize_t got = 1;

	assert_int_equal(usp_open_memory((void *)plain, len + 1, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(usp_transform_open(recipients, below,
					    &(struct usp_transform_params){.size = sizeof(struct usp_transform_params),
									   .flags = USP_TRANSFORM_LENGTH,
									   .length = (int64_t)len},
					    &stage, NULL),
			 0);
	for (*ret_len = 0; got > 0; *ret_len += (size_t)got) {
		got = usp_read(stage, bytes + *ret_len, 100000);
		assert_true(got >= 0);
	}
	drop(&stage);
	return bytes;
}

static unsigned char *pattern_bytes(size_t len)
{
	unsigned char *bytes = malloc(len + 1);

	pattern_fill(bytes, 0, len);
	return bytes;
}

static size_t header_len(size_t plain_len, size_t len)
{
	size_t nr_chunks = plain_len ? (plain_len + CHUNK - 1) / CHUNK : 1;

	return len - plain_len - 16 * nr_chunks;
}

/* --- What comes out ------------------------------------------------------------------------------------------- */

static void any_range_is_as_in_the_plain_bytes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		unsigned char *plain = pattern_bytes(lens[i]), byte;
		struct usp_hop hop = {.size = sizeof(hop)};
		struct usp_file *file;
		const char *why;
		size_t len;
		unsigned char *bytes = encrypted(plain, lens[i], "encrypt:" AGE_RECIPIENT_1, &len);

		assert_int_equal(try_bytes(bytes, len, AGE_IDENTITY_1, &file, &why), 0);
		assert_int_equal(usp_file_size(file), lens[i]);
		if (lens[i]) {
			check_random_ranges(file, plain, lens[i], 100, i);
			check_range(file, plain, 0, lens[i], true);
			usp_file_hop(file, USP_READ, &hop);
			assert_string_equal(hop.reason[USP_REWRITTEN], "decrypted, by its chunks");
		}
		assert_int_equal(usp_pread(file, &byte, 1, (int64_t)lens[i]), 0);
		drop(&file);
		free(bytes);
		free(plain);
	}
}

static void files_of_the_program_age_have_positions(void **state)
{
	const struct usp_transform_params passphrase = {.size = sizeof(passphrase),
							.flags = USP_TRANSFORM_SEEKABLE,
							.secret = AGE_PASSPHRASE,
							.secret_len = strlen(AGE_PASSPHRASE)};
	struct usp_file *file, *below;
	const char *why;

	(void)state;
	assert_int_equal(try_bytes(age_empty, sizeof(age_empty) - 1, AGE_IDENTITY_1, &file, &why), 0);
	assert_int_equal(usp_file_size(file), 0);
	drop(&file);
	assert_int_equal(try_bytes(age_one, sizeof(age_one) - 1, AGE_IDENTITY_1, &file, &why), 0);
	assert_int_equal(usp_file_size(file), 1);
	drop(&file);
	assert_int_equal(
		usp_open_memory((void *)age_passphrase, sizeof(age_passphrase) - 1, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(usp_transform_open("decrypt:passphrase", below, &passphrase, &file, &why), 0);
	assert_true(usp_file_size(file) > 0);
	drop(&file);
}

static void only_the_chunks_that_are_needed_are_read(void **state)
{
	unsigned char *plain = pattern_bytes(LEN);
	size_t len;
	unsigned char *bytes = encrypted(plain, LEN, "encrypt:" AGE_RECIPIENT_1, &len);
	struct usp_hop before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
	struct usp_file *file;
	const char *why;

	(void)state;
	assert_int_equal(try_bytes(bytes, len, AGE_IDENTITY_1, &file, &why), 0);
	usp_file_hop(file->below, USP_READ, &before);
	check_range(file, plain, 10 * CHUNK + 5, 100, false);
	usp_file_hop(file->below, USP_READ, &after);
	assert_int_equal(after.bytes[USP_COPIED] - before.bytes[USP_COPIED], CHUNK + 16);
	check_range(file, plain, 0, LEN, true);
	usp_file_hop(file->below, USP_READ, &after);
	assert_in_range(after.bytes[USP_COPIED] - before.bytes[USP_COPIED], LEN, len);
	drop(&file);
	free(bytes);
	free(plain);
}

static void what_was_compressed_and_encrypted_has_positions(void **state)
{
	unsigned char *plain = pattern_bytes(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		const struct usp_transform_params seekable = {.size = sizeof(seekable),
							      .flags = USP_TRANSFORM_SEEKABLE};
		struct usp_file *lower, *upper;
		struct seek_file packed;
		const char *why = NULL;
		unsigned char *bytes;
		uint64_t offset;
		int error;
		size_t len;

		format->make(plain, LEN, 50000, &packed);
		bytes = encrypted(packed.bytes, packed.len, "encrypt:" AGE_RECIPIENT_2, &len);
		assert_int_equal(try_bytes(bytes, len, AGE_IDENTITY_2, &lower, &why), 0);
		assert_int_equal(usp_transform_open("decompress", lower, &seekable, &upper, &why), 0);
		assert_int_equal(usp_file_size(upper), LEN);
		check_random_ranges(upper, plain, LEN, 100, 5);
		check_range(upper, plain, 0, LEN, true);
		assert_false(usp_transform_failure(upper, &why, &offset));
		drop(&upper);
		bytes[header_len(packed.len, len)] ^= 1;
		error = try_bytes(bytes, len, AGE_IDENTITY_2, &lower, &why);
		if (error == 0) { /* there is a chunk behind that one */
			error = usp_transform_open("decompress", lower, &seekable, &upper, &why);
			assert_true(usp_transform_failure(lower, &why, &offset));
			drop(&lower);
		}
		assert_int_equal(error, -EBADMSG);
		free(bytes);
		free(packed.bytes);
	}
	free(plain);
}

/* --- What must not be believed -------------------------------------------------------------------------------- */

static void a_changed_chunk_gives_nothing_and_all_before_it_is_good(void **state)
{
	unsigned char *plain = pattern_bytes(LEN), *got = malloc(LEN);
	size_t len, at;
	unsigned char *bytes = encrypted(plain, LEN, "encrypt:" AGE_RECIPIENT_1, &len);
	struct usp_file *file;
	uint64_t offset;
	const char *why;
	int error;

	(void)state;
	at = header_len(LEN, len) + 7 * (CHUNK + 16);
	bytes[at + 100] ^= 1;
	assert_int_equal(try_bytes(bytes, len, AGE_IDENTITY_1, &file, &why), 0);
	assert_int_equal(splice_at(file, 0, got, LEN, &error), 7 * CHUNK);
	assert_int_equal(error, -EBADMSG);
	assert_memory_equal(got, plain, 7 * CHUNK);
	assert_true(usp_transform_failure(file, &why, &offset));
	assert_int_equal(offset, at);
	assert_string_equal(why, "a chunk of age was changed, or is not the one that belongs here");
	assert_int_equal(pread_at(file, 7 * CHUNK, got, 1, &error), 0);
	assert_int_equal(error, -EBADMSG);
	check_range(file, plain, 8 * CHUNK, LEN - 8 * CHUNK, true);
	drop(&file);
	free(bytes);
	free(plain);
	free(got);
}

static void a_file_that_is_cut_or_longer_is_refused(void **state)
{
	const size_t plain_len = 2 * CHUNK + 100;
	unsigned char *plain = pattern_bytes(plain_len);
	size_t len, head;
	unsigned char *bytes = encrypted(plain, plain_len, "encrypt:" AGE_RECIPIENT_1, &len);
	struct usp_file *file;

	(void)state;
	bytes = realloc(bytes, len + 1);
	bytes[len] = 0;
	head = header_len(plain_len, len);
	for (size_t cut = 1; cut <= len + 1; cut++) {
		const char *why = NULL;
		int ret;

		if (cut == len)
			continue; /* that is all of it */
		if (cut == head + 40)
			cut = head + CHUNK - 10;
		if (cut == head + CHUNK + 60)
			cut = head + 2 * CHUNK;
		ret = try_bytes(bytes, cut, AGE_IDENTITY_1, &file, &why);
		assert_int_equal(ret, -EBADMSG);
		assert_non_null(why);
	}
	free(bytes);
	free(plain);
}

/* A file that ends with a whole chunk could lose it unseen, if the last one were not known as such. */
static void a_whole_chunk_less_is_refused(void **state)
{
	unsigned char *plain = pattern_bytes(3 * CHUNK);
	size_t len;
	unsigned char *bytes = encrypted(plain, 3 * CHUNK, "encrypt:" AGE_RECIPIENT_1, &len);
	struct usp_file *file;
	const char *why = NULL;

	(void)state;
	assert_int_equal(try_bytes(bytes, len - CHUNK - 16, AGE_IDENTITY_1, &file, &why), -EBADMSG);
	assert_string_equal(why, "the last chunk of age was changed, is cut off, or is not the last one");
	free(bytes);
	free(plain);
}

static void a_wrong_key_or_a_changed_header_opens_nothing(void **state)
{
	unsigned char *plain = pattern_bytes(1000);
	size_t len;
	unsigned char *bytes = encrypted(plain, 1000, "encrypt:" AGE_RECIPIENT_1, &len);
	struct usp_file *file, *below;
	const char *why = NULL;

	(void)state;
	assert_int_equal(try_bytes(bytes, len, AGE_IDENTITY_2, &file, &why), -ENOKEY);
	assert_string_equal(why, "none of the keys opens this file of age");
	assert_int_equal(try_bytes(bytes, len, "nonsense", &file, &why), -EINVAL);
	for (size_t i = 0; i < header_len(1000, len); i++) {
		bytes[i] ^= 1;
		assert_true(try_bytes(bytes, len, AGE_IDENTITY_1, &file, &why) < 0);
		bytes[i] ^= 1;
	}
	assert_int_equal(usp_open_memory(bytes, len, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(usp_transform_open("decrypt:identity", below,
					    &(struct usp_transform_params){.size = sizeof(struct usp_transform_params),
									   .flags = USP_TRANSFORM_SEEKABLE},
					    &file, &why),
			 -EINVAL);
	drop(&below);
	free(bytes);
	free(plain);
}

/* --- Files on disk --------------------------------------------------------------------------------------------- */

static void opens_share_only_what_each_has_the_key_of(void **state)
{
	unsigned char *plain = pattern_bytes(LEN);
	size_t len;
	unsigned char *bytes = encrypted(plain, LEN, "encrypt:" AGE_RECIPIENT_1 "," AGE_RECIPIENT_2, &len);
	struct usp_file *files[2], *below, *none;
	struct usp_hop hop = {.size = sizeof(hop)};
	struct disk disk;
	const char *why;

	(void)state;
	disk_make(&disk, bytes, len);
	disk_settle(&disk);
	assert_int_equal(try_over(disk_open_below(&disk), AGE_IDENTITY_1, &files[0], &why), 0);
	check_range(files[0], plain, 0, LEN, true);
	assert_int_equal(try_over(disk_open_below(&disk), AGE_IDENTITY_2, &files[1], &why), 0);
	check_range(files[1], plain, 0, LEN, true);
	usp_file_hop(files[1], USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_BY_REFERENCE], LEN);
	assert_int_equal(hop.bytes[USP_REWRITTEN], 0);
	below = disk_open_below(&disk);
	assert_int_equal(try_over(below, "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
				  &none, &why),
			 -ENOKEY);
	drop(&below);
	drop(&files[0]);
	check_random_ranges(files[1], plain, LEN, 50, 9);
	drop(&files[1]);
	unlink(disk.path);
	free(bytes);
	free(plain);
}

static void a_file_that_changes_is_stale_until_it_is_the_old_one(void **state)
{
	unsigned char *plain = pattern_bytes(LEN);
	size_t len, other_len;
	unsigned char *bytes = encrypted(plain, LEN, "encrypt:" AGE_RECIPIENT_1, &len);
	unsigned char *other = encrypted(plain, LEN, "encrypt:" AGE_RECIPIENT_1, &other_len), byte;
	struct usp_file *file, *fresh;
	struct disk disk;
	const char *why;

	(void)state;
	disk_make(&disk, bytes, len);
	assert_int_equal(try_over(disk_open_below(&disk), AGE_IDENTITY_1, &file, &why), 0);
	check_range(file, plain, 0, LEN, true);
	disk_write(&disk, other, other_len); /* the same secret, and another key of the payload */
	assert_int_equal(usp_pread(file, &byte, 1, 0), -ESTALE);
	assert_int_equal(try_over(disk_open_below(&disk), AGE_IDENTITY_1, &fresh, &why), 0);
	check_range(fresh, plain, 0, LEN, true);
	drop(&fresh);
	disk_write(&disk, bytes, len - 1);
	assert_int_equal(usp_file_size(file), -ESTALE);
	disk_write(&disk, bytes, len);
	check_range(file, plain, 0, LEN, true);
	drop(&file);
	unlink(disk.path);
	free(bytes);
	free(other);
	free(plain);
}

/* --- Threads ---------------------------------------------------------------------------------------------------- */

struct reader {
	struct usp_file *file;
	const unsigned char *plain;
	unsigned nr;
};

static ssize_t reader_run(void *arg)
{
	struct reader *reader = arg;

	check_random_ranges(reader->file, reader->plain, LEN, 50, reader->nr);
	check_range(reader->file, reader->plain, 0, LEN, reader->nr % 2);
	return 0;
}

static void many_threads_read_what_is_there(void **state)
{
	unsigned char *plain = pattern_bytes(LEN);
	struct worker workers[8];
	struct reader readers[8];
	struct disk disk;
	const char *why;
	size_t len;
	unsigned char *bytes = encrypted(plain, LEN, "encrypt:" AGE_RECIPIENT_1, &len);

	(void)state;
	disk_make(&disk, bytes, len);
	for (unsigned i = 0; i < 8; i++) {
		readers[i] = (struct reader){.plain = plain, .nr = i};
		assert_int_equal(try_over(disk_open_below(&disk), AGE_IDENTITY_1, &readers[i].file, &why), 0);
		worker_start(&workers[i], reader_run, &readers[i]);
	}
	for (unsigned i = 0; i < 8; i++) {
		worker_join(&workers[i]);
		drop(&readers[i].file);
	}
	unlink(disk.path);
	free(bytes);
	free(plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(any_range_is_as_in_the_plain_bytes),
		CASE(files_of_the_program_age_have_positions),
		CASE(only_the_chunks_that_are_needed_are_read),
		CASE(what_was_compressed_and_encrypted_has_positions),
		CASE(a_changed_chunk_gives_nothing_and_all_before_it_is_good),
		CASE(a_file_that_is_cut_or_longer_is_refused),
		CASE(a_whole_chunk_less_is_refused),
		CASE(a_wrong_key_or_a_changed_header_opens_nothing),
		CASE(opens_share_only_what_each_has_the_key_of),
		CASE(a_file_that_changes_is_stale_until_it_is_the_old_one),
		CASE(many_threads_read_what_is_there),
	};

	if (usp_age_crypto_missing())
		return 77;
	return cmocka_run_group_tests_name("age_seekable", tests, NULL, NULL);
}
