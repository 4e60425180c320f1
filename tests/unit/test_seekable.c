/* SPDX-License-Identifier: MIT */
/* test_seekable - decompressing with positions, against the plain bytes: ranges, damage, changes, and many readers. */
#include "support.h"

#include <usplice/mapping.h>
#include <usplice/transform.h>

#include "ranges.h"
#include "seek_files.h"

#define LEN ((size_t)3000007)

static const size_t piece_lens[] = {1000, 65280, 262144, 1000003};

/* --- Helpers ------------------------------------------------------------------------------------------------ */

/* Bytes that a codec makes smaller, and some that it cannot. */
static unsigned char *plain_bytes(size_t len)
{
	unsigned char *bytes = malloc(len + 1);
	uint32_t random = 1;

	pattern_fill(bytes, 0, len);
	for (size_t i = len / 3; i < len / 3 * 2; i++)
		bytes[i] = (unsigned char)random_next(&random);
	return bytes;
}

static int try_over(struct usp_file *below, size_t budget, struct usp_file **ret_stage, const char **ret_why)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = USP_TRANSFORM_SEEKABLE, .budget = budget};

	return usp_transform_open("decompress", below, &params, ret_stage, ret_why);
}

static int try_bytes(const void *bytes, size_t len, struct usp_file **ret_stage, const char **ret_why)
{
	struct usp_file *below;
	int ret;

	assert_int_equal(usp_open_memory((void *)bytes, len, USP_READ, NULL, NULL, &below), 0);
	ret = try_over(below, 0, ret_stage, ret_why);
	if (ret < 0)
		usp_file_put(below);
	return ret;
}

static struct usp_file *open_bytes(const struct seek_file *file)
{
	struct usp_file *stage;
	const char *why;

	assert_int_equal(try_bytes(file->bytes, file->len, &stage, &why), 0);
	return stage;
}

/* --- What comes out ------------------------------------------------------------------------------------------- */

static void any_range_is_as_in_the_plain_bytes(void **state)
{
	unsigned char *plain = plain_bytes(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(piece_lens); i++) {
			struct usp_hop hop = {.size = sizeof(hop)};
			struct seek_file packed;
			struct usp_file *file;
			unsigned char byte;

			format->make(plain, LEN, piece_lens[i], &packed);
			file = open_bytes(&packed);
			assert_int_equal(usp_file_size(file), LEN);
			check_random_ranges(file, plain, LEN, 150, i + 1);
			check_range(file, plain, 0, LEN, true);
			check_range(file, plain, (int64_t)LEN - 1, 1, false);
			assert_int_equal(usp_pread(file, &byte, 1, (int64_t)LEN), 0);
			assert_int_equal(usp_file_seek(file, -1, SEEK_END), LEN - 1);
			usp_file_hop(file, USP_READ, &hop);
			assert_string_equal(hop.reason[USP_REWRITTEN], format->reason);
			assert_int_equal(hop.bytes[USP_COPIED], 0);
			drop(&file);
			free(packed.bytes);
		}
	}
	free(plain);
}

static void only_the_pieces_that_are_needed_are_read(void **state)
{
	unsigned char *plain = plain_bytes(LEN), got[100];

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct usp_hop before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
		struct seek_file packed;
		struct usp_file *file;

		format->make(plain, LEN, 60000, &packed);
		file = open_bytes(&packed);
		usp_file_hop(file->below, USP_READ, &before);
		assert_int_equal(usp_pread(file, got, sizeof(got), 2000000), sizeof(got));
		assert_memory_equal(got, plain + 2000000, sizeof(got));
		usp_file_hop(file->below, USP_READ, &after);
		assert_in_range(after.bytes[USP_COPIED] - before.bytes[USP_COPIED], 1, 2 * 61000);
		drop(&file);
		free(packed.bytes);
	}
	free(plain);
}

static void a_piece_is_decompressed_once_for_a_reader_in_order(void **state)
{
	unsigned char *plain = plain_bytes(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct usp_hop hop = {.size = sizeof(hop)}, opened = {.size = sizeof(opened)};
		struct seek_file packed;
		struct usp_file *file;

		format->make(plain, LEN, 60000, &packed);
		file = open_bytes(&packed);
		usp_file_hop(file->below, USP_READ, &opened);
		check_range(file, plain, 0, LEN, true);
		usp_file_hop(file->below, USP_READ, &hop);
		/* xz reads the header of a block twice */
		assert_in_range(hop.bytes[USP_COPIED] - opened.bytes[USP_COPIED], 1,
				packed.len + LEN / 60000 * 1024 + 1024);
		drop(&file);
		free(packed.bytes);
	}
	free(plain);
}

static void a_small_budget_is_kept(void **state)
{
	const struct seek_format *format = seek_formats;
	unsigned char *plain = plain_bytes(LEN);
	struct usp_mapping_usage usage = {.size = sizeof(usage)};
	struct usp_file *below, *file;
	struct seek_file packed;
	const char *why;

	(void)state;
	if (!format->name)
		skip();
	format->make(plain, LEN, 60000, &packed);
	assert_int_equal(usp_open_memory(packed.bytes, packed.len, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(try_over(below, 100000, &file, &why), -EINVAL);
	assert_int_equal(try_over(below, 512 << 10, &file, &why), 0);
	check_range(file, plain, 0, LEN, true);
	check_random_ranges(file, plain, LEN, 100, 7);
	usp_mapping_usage(file->mapping, &usage);
	assert_int_equal(usage.budget, 256 << 10);
	assert_true(usage.bytes <= usage.budget);
	drop(&file);
	free(packed.bytes);
	format->make(plain, LEN, 262145, &packed); /* a piece of which takes 512 KiB */
	assert_int_equal(usp_open_memory(packed.bytes, packed.len, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(try_over(below, 512 << 10, &file, &why), -EFBIG);
	assert_string_equal(why, "a piece of it is too long for the budget");
	drop(&below);
	free(packed.bytes);
	free(plain);
}

static void nothing_is_a_file_too(void **state)
{
	unsigned char byte;

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct seek_file packed;
		struct usp_file *file;

		format->make((const unsigned char *)"", 0, 1000, &packed);
		if (!packed.len)
			continue; /* no frame at all */
		file = open_bytes(&packed);
		assert_int_equal(usp_file_size(file), 0);
		assert_int_equal(usp_pread(file, &byte, 1, 0), 0);
		drop(&file);
		free(packed.bytes);
	}
}

/* --- What is damaged ------------------------------------------------------------------------------------------- */

static void before_a_damaged_piece_all_is_good_and_it_gives_nothing(void **state)
{
	unsigned char *plain = plain_bytes(LEN), *got = malloc(LEN + 1);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct seek_file packed;
		struct usp_file *file;
		const char *why = NULL;
		uint64_t offset = 0;
		int error;
		size_t len;

		format->make(plain, LEN, 50000, &packed);
		packed.bytes[packed.len / 2] ^= 0x10;
		file = open_bytes(&packed);
		len = splice_at(file, 0, got, LEN, &error);
		assert_int_equal(error, -EBADMSG);
		assert_memory_equal(got, plain, len);
		assert_in_range(len, LEN / 4, LEN - 50000);
		assert_true(len % 50000 == 0 || strncmp(format->name, "xz-s", 4) == 0);
		assert_true(usp_transform_failure(file, &why, &offset));
		assert_non_null(why);
		assert_in_range(offset, packed.len / 2 - 50100, packed.len / 2);
		assert_int_equal(pread_at(file, 0, got, LEN, &error), len);
		assert_int_equal(error, -EBADMSG);
		check_range(file, plain, (int64_t)LEN - 50000, 50000, true); /* others are not concerned */
		drop(&file);						     /* no thread reads ahead any more */
		file = open_bytes(&packed);
		assert_int_equal(usp_pread(file, got, 1, (int64_t)len), -EBADMSG);
		packed.bytes[packed.len / 2] ^= 0x10;
		check_range(file, plain, 0, LEN, false);
		drop(&file);
		free(packed.bytes);
	}
	free(plain);
	free(got);
}

/* Find the piece that gives no byte: asked for its last one, which may lie in a page with good bytes behind. */
static size_t damaged_piece(const struct seek_file *packed, size_t piece_len)
{
	struct usp_file *file = open_bytes(packed);
	size_t nr_damaged = 0, damaged = 0;

	for (size_t i = 0; i * piece_len < LEN; i++) {
		unsigned char byte;
		int64_t off = (int64_t)((i + 1) * piece_len < LEN ? (i + 1) * piece_len : LEN) - 1;

		if (usp_pread(file, &byte, 1, off) == 1)
			continue;
		assert_int_equal(usp_pread(file, &byte, 1, off), -EBADMSG);
		damaged = i;
		nr_damaged++;
	}
	assert_int_equal(nr_damaged, 1);
	drop(&file);
	return damaged;
}

/* Read a page: what is good of it up to the damaged range [from, to), or -EBADMSG within it and to the end of its page. */
static void check_page_beside(struct usp_file *file, const unsigned char *plain, size_t off, size_t from, size_t to)
{
	size_t rest = 4096 - off % 4096, len = LEN - off < rest ? LEN - off : rest; /* of one page: it comes whole */
	unsigned char got[4096];
	bool is_bad = off >= from && off < to;
	ssize_t ret;

	if (off < from && off + len > from)
		len = from - off;
	ret = usp_pread(file, got, len, (int64_t)off);
	assert_int_equal(ret, is_bad ? -EBADMSG : (ssize_t)len);
	if (!is_bad)
		assert_memory_equal(got, plain + off, len);
}

/* A reader in order, which asks again page by page where a request fails, as the kernel does for a mount. */
static void a_damaged_piece_keeps_no_other_byte_away(void **state)
{
	static const size_t lens[] = {65280, 100000, 262144, 1048576};
	unsigned char *plain = plain_bytes(LEN), *got = malloc(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(lens) && strncmp(format->name, "xz-s", 4) != 0; i++) {
			size_t request = 256 * 1024, len = strcmp(format->name, "bgzf") == 0 ? lens[0] : lens[i], from,
			       to, next;
			struct seek_file packed;
			struct usp_file *file;

			format->make(plain, LEN, len, &packed);
			packed.bytes[packed.len / 2] ^= 0x10;
			from = damaged_piece(&packed, len) * len;
			to = (from + len + 4095) / 4096 * 4096;
			file = open_bytes(&packed);
			for (size_t off = 0; off < LEN; off = next) {
				ssize_t ret = usp_pread(file, got, request, (int64_t)off);

				next = ret > 0 ? off + (size_t)ret : off - off % request + request;
				if (ret > 0)
					assert_memory_equal(got, plain + off, (size_t)ret);
				for (size_t page = off; ret < 0 && page < next && page < LEN;
				     page += 4096 - page % 4096)
					check_page_beside(file, plain, page, from, to);
			}
			drop(&file);
			free(packed.bytes);
		}
	}
	free(plain);
	free(got);
}

/* Each byte of a small file is changed: what comes out is right, or an error. */
static void no_byte_that_is_changed_gives_wrong_bytes(void **state)
{
	enum { SMALL = 3000 };
	unsigned char *plain = plain_bytes(SMALL), got[2 * SMALL];

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct seek_file packed;

		format->make(plain, SMALL, 700, &packed);
		for (size_t i = 0; i < 2 * packed.len; i++) {
			unsigned char flip = i % 2 ? 0xff : 1 << i / 2 % 8;
			struct usp_file *file;
			const char *why = NULL;
			int error;
			size_t len;

			packed.bytes[i / 2] ^= flip;
			error = try_bytes(packed.bytes, packed.len, &file, &why);
			assert_true(error == 0 || ((error == -ESPIPE || error == -EFBIG) && why));
			if (error == 0) {
				len = pread_at(file, 0, got, sizeof(got), &error);
				assert_true(len <= SMALL && memcmp(got, plain, len) == 0);
				assert_true(error == -EBADMSG || error == 0);
				assert_true(error || (len == SMALL && usp_file_size(file) == SMALL));
				drop(&file);
			}
			packed.bytes[i / 2] ^= flip;
		}
		free(packed.bytes);
	}
	free(plain);
}

static void a_file_that_is_cut_has_no_table_or_is_shorter_by_pieces(void **state)
{
	enum { SMALL = 3000 };
	unsigned char *plain = plain_bytes(SMALL), got[SMALL + 1];

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct seek_file packed;

		format->make(plain, SMALL, 700, &packed);
		for (size_t cut = 1; cut < packed.len; cut++) {
			struct usp_file *file;
			const char *why = NULL;
			int error = try_bytes(packed.bytes, cut, &file, &why);

			assert_true(error == 0 || (error == -ESPIPE && why));
			if (error == 0) {
				size_t len = pread_at(file, 0, got, sizeof(got), &error);

				assert_int_equal(error, 0);
				assert_int_equal(usp_file_size(file), len);
				assert_memory_equal(got, plain, len);
				drop(&file);
			}
		}
		free(packed.bytes);
	}
	free(plain);
}

/* Tables of zstd that were made by hand: what they say cannot be. */
static void a_table_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		uint32_t in_len, out_len, nr, wrong_by;
		const char *flags;
		int error;
	} tables[] = {
		{.in_len = 0, .out_len = 5, .nr = 1, .flags = "", .error = -ESPIPE},
		{.in_len = 99, .out_len = 5, .nr = 1, .flags = "", .error = -ESPIPE},	      /* beyond the file */
		{.in_len = 3, .out_len = 5, .nr = 1, .flags = "", .error = -ESPIPE},	      /* a hole behind it */
		{.in_len = 5, .out_len = UINT32_MAX, .nr = 1, .flags = "", .error = -EFBIG},  /* a bomb */
		{.in_len = 5, .out_len = 5, .nr = UINT32_MAX, .flags = "", .error = -ESPIPE}, /* more than there are */
		{.in_len = 5, .out_len = 5, .nr = 0, .flags = "", .error = -ESPIPE},
		{.in_len = 5, .out_len = 5, .nr = 1, .flags = "\x40", .error = -ESPIPE}, /* reserved */
		{.in_len = 5, .out_len = 5, .nr = 1, .flags = "\x80", .error = -ESPIPE}, /* without the checksums */
		{.in_len = 5, .out_len = 5, .nr = 1, .wrong_by = 1, .flags = "", .error = -ESPIPE},
		{.in_len = 5, .out_len = 5, .nr = 1, .flags = "", .error = -ESPIPE}, /* the last frame is no good */
		{.in_len = 5, .out_len = 0, .nr = 1, .flags = "", .error = -ESPIPE}, /* nobody would ever read it */
	};

	(void)state;
	if (!seek_format_named("zstd-table"))
		skip();
	for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
		struct seek_file file = {.len = 0};
		struct usp_file *stage;
		const char *why = NULL;
		int ret;

		seek_put_u32(&file, 0xfd2fb528);
		seek_put(&file, "", 1);
		seek_put_u32(&file, 0x184d2a5e);
		seek_put_u32(&file, 17 + tables[i].wrong_by);
		seek_put_u32(&file, tables[i].in_len);
		seek_put_u32(&file, tables[i].out_len);
		seek_put_u32(&file, tables[i].nr);
		seek_put(&file, tables[i].flags, 1);
		seek_put_u32(&file, 0x8f92eab1);
		ret = try_bytes(file.bytes, file.len, &stage, &why);
		assert_int_equal(ret, tables[i].error);
		assert_non_null(why);
		free(file.bytes);
	}
}

/* The frames of a file are good, and its table has another checksum for the second one. */
static void a_checksum_of_the_table_is_verified(void **state)
{
	const struct seek_format *format = seek_format_named("zstd-checked");
	unsigned char *plain = plain_bytes(3000), got[3000];
	struct seek_file packed;
	struct usp_file *file;
	int error;

	(void)state;
#ifndef USP_HAVE_XXHASH
	format = NULL;
#endif
	if (!format) {
		free(plain);
		skip();
	}
	format->make(plain, 3000, 1000, &packed);
	packed.bytes[packed.len - 9 - 12 - 1] ^= 1;
	file = open_bytes(&packed);
	assert_int_equal(pread_at(file, 0, got, sizeof(got), &error), 1000);
	assert_int_equal(error, -EBADMSG);
	drop(&file);
	free(packed.bytes);
	free(plain);
}

static void what_has_no_table_is_refused_before_a_byte_moves(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} files[] = {
		{"", 1},
		{"abc", 3},
		{"\x1f\x8b\x08\x00\0\0\0\0\0\3\3\0\0\0\0\0\0\0\0\0", 20},     /* gzip(1) */
		{"\x04\x22\x4d\x18\x64\x40\xa7\0\0\0\0\x05\x5d\xcc\x02", 15}, /* lz4(1) */
		{"\x28\xb5\x2f\xfd\x04\x58\x01\0\0\x99\xe9\xd8\x51", 13},     /* zstd(1) of a pipe: no length */
		{"\x28\xb5\x2f\xfd\xe4\0\0\0\0\1\0\0\0\0\0\0\0", 17},	      /* too long a frame */
		{"\x50\x2a\x4d\x18\xff\xff\xff\xff", 8},		      /* a frame without data, cut off */
		{"\x28\xb5\x2f\xfd\x20\x01\xff\xff\x1f", 9},		      /* a block behind the end */
		{"\xfd"
		 "7zXZ\0\0\4\xe6\xd6\xb4\x46",
		 12}, /* xz, cut off */
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(files); i++) {
		struct usp_file *stage;
		const char *why = NULL;
		int ret = try_bytes(files[i].bytes, files[i].len, &stage, &why);

		assert_true(ret == -ESPIPE || ret == -EFBIG || ret == -EOPNOTSUPP);
		assert_non_null(why);
	}
}

static void what_has_no_positions_is_refused(void **state)
{
	const struct usp_transform_params seekable = {.size = sizeof(seekable), .flags = USP_TRANSFORM_SEEKABLE};
	struct usp_transform_params params = {.size = sizeof(params)};
	struct usp_file *end[2], *below, *stage;
	const char *why = NULL;

	(void)state;
	open_wide_pipe(end);
	assert_int_equal(try_over(end[0], 0, &stage, &why), -ESPIPE);
	assert_non_null(why);
	close_pipe(end);
	assert_int_equal(usp_open_memory((char[]){"abcdef"}, 6, USP_READ, NULL, NULL, &below), 0);
	assert_int_equal(usp_transform_open("digest:crc32c", below, &seekable, &stage, &why), -ESPIPE);
	assert_int_equal(usp_transform_open("sums:crc32c", below, &seekable, &stage, &why), -ESPIPE);
	for (unsigned flag = USP_TRANSFORM_LENGTH; flag <= USP_TRANSFORM_THREAD; flag *= 2) {
		params.flags = USP_TRANSFORM_SEEKABLE | flag;
		assert_int_equal(usp_transform_open("decompress", below, &params, &stage, &why), -EINVAL);
	}
	params = (struct usp_transform_params){.size = sizeof(params), .budget = 1 << 20};
	assert_int_equal(usp_transform_open("decompress", below, &params, &stage, &why), -EINVAL);
	usp_file_seek(below, 1, SEEK_SET);
	assert_int_equal(try_over(below, 0, &stage, &why), -ESPIPE);
	assert_string_equal(why, "it was begun to be read already");
	drop(&below);
}

/* --- Files on disk --------------------------------------------------------------------------------------------- */

/* Try to open one more: 0 or -errno. */
static int try_disk(const struct disk *disk)
{
	struct usp_file *below = disk_open_below(disk), *stage;
	const char *why;
	int ret = try_over(below, 0, &stage, &why);

	usp_file_put(ret < 0 ? below : stage);
	return ret;
}

static struct usp_file *disk_open(const struct disk *disk)
{
	struct usp_file *stage;
	const char *why;

	assert_int_equal(try_over(disk_open_below(disk), 0, &stage, &why), 0);
	return stage;
}

static void opens_of_one_file_share_what_was_decompressed(void **state)
{
	unsigned char *plain = plain_bytes(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct usp_hop first = {.size = sizeof(first)}, second = {.size = sizeof(second)};
		struct usp_file *files[2], *end[2];
		struct seek_file packed;
		struct disk disk;

		format->make(plain, LEN, 100000, &packed);
		disk_make(&disk, packed.bytes, packed.len);
		disk_settle(&disk);
		files[0] = disk_open(&disk);
		files[1] = disk_open(&disk);
		check_range(files[0], plain, 0, LEN, true);
		check_range(files[1], plain, 0, LEN, true);
		usp_file_hop(files[0], USP_READ, &first);
		usp_file_hop(files[1], USP_READ, &second);
		assert_int_equal(first.bytes[USP_REWRITTEN], LEN);
		assert_int_equal(second.bytes[USP_REWRITTEN], 0);
		assert_int_equal(second.bytes[USP_BY_REFERENCE], LEN);
		drop(&files[0]); /* the other one goes on, and needs no descriptor of this one */
		open_pipe(end, 1, 0);
		close_pipe(end);
		usp_mapping_invalidate(files[1]->mapping, 0, 0);
		check_range(files[1], plain, 0, LEN, true);
		drop(&files[1]);
		unlink(disk.path);
		free(packed.bytes);
	}
	free(plain);
}

/* Eight readers in step read the file below once, whether pieces are decompressed into folios or copied. */
static void eight_readers_decompress_once(void **state)
{
	static const size_t lens[] = {100000, 262144, 1048576};
	unsigned char *plain = plain_bytes(LEN);
	const size_t step = 128 * 1024;

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
			struct usp_hop opened = {.size = sizeof(opened)}, hop = {.size = sizeof(hop)};
			struct usp_file *files[8];
			struct seek_file packed;
			struct disk disk;

			format->make(plain, LEN, lens[i], &packed);
			disk_make(&disk, packed.bytes, packed.len);
			disk_settle(&disk);
			for (unsigned j = 0; j < ARRAY_LEN(files); j++)
				files[j] = disk_open(&disk);
			usp_file_hop(files[0]->below, USP_READ, &opened);
			for (size_t off = 0; off < LEN; off += step) {
				for (unsigned j = 0; j < ARRAY_LEN(files); j++)
					check_range(files[j], plain, (int64_t)off, LEN - off < step ? LEN - off : step,
						    j % 2);
			}
			usp_file_hop(files[0]->below, USP_READ, &hop);
			assert_in_range(hop.bytes[USP_COPIED] - opened.bytes[USP_COPIED], 1,
					packed.len + LEN / 60000 * 1024 + 1024);
			for (unsigned j = 0; j < ARRAY_LEN(files); j++)
				drop(&files[j]);
			unlink(disk.path);
			free(packed.bytes);
		}
	}
	free(plain);
}

static void a_file_that_changes_is_read_by_its_new_table(void **state)
{
	unsigned char *plain = plain_bytes(LEN), *got = malloc(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct seek_file packed, other;
		struct usp_file *file;
		struct disk disk;

		format->make(plain, LEN, 100000, &packed);
		format->make(plain + 5, LEN / 2, 70001, &other);
		disk_make(&disk, packed.bytes, packed.len);
		disk_settle(&disk);
		file = disk_open(&disk);
		check_random_ranges(file, plain, LEN, 20, 3);
		disk_write(&disk, other.bytes, other.len);
		assert_int_equal(usp_file_size(file), LEN / 2);
		check_random_ranges(file, plain + 5, LEN / 2, 20, 4);
		check_range(file, plain + 5, 0, LEN / 2, true);
		disk_settle(&disk);
		check_random_ranges(file, plain + 5, LEN / 2, 20, 5);
		disk_write(&disk, "none", 4);
		assert_int_equal(usp_pread(file, got, 1, 0), -ESTALE);
		assert_int_equal(try_disk(&disk), -ESTALE); /* it shares with the one that is open */
		disk_write(&disk, packed.bytes, packed.len);
		check_range(file, plain, 0, LEN, true);
		drop(&file);
		unlink(disk.path);
		free(packed.bytes);
		free(other.bytes);
	}
	free(plain);
	free(got);
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

	if (reader->nr % 2)
		check_random_ranges(reader->file, reader->plain, LEN, 50, reader->nr);
	else
		check_range(reader->file, reader->plain, 0, LEN, reader->nr % 4);
	return 0;
}

static void many_threads_read_what_is_there(void **state)
{
	unsigned char *plain = plain_bytes(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct worker workers[8];
		struct reader readers[8];
		struct seek_file packed;
		struct disk disk;

		format->make(plain, LEN, 100000, &packed);
		disk_make(&disk, packed.bytes, packed.len);
		for (unsigned i = 0; i < 8; i++) {
			readers[i] = (struct reader){.file = disk_open(&disk), .plain = plain, .nr = i};
			worker_start(&workers[i], reader_run, &readers[i]);
		}
		for (unsigned i = 0; i < 8; i++) {
			worker_join(&workers[i]);
			drop(&readers[i].file);
		}
		unlink(disk.path);
		free(packed.bytes);
	}
	free(plain);
}

/* A pump to several sinks, over a stage that verifies: the pipes hold pieces that are decompressed later. */
static void a_pump_fans_out_what_is_decompressed(void **state)
{
	unsigned char *plain = plain_bytes(LEN);

	(void)state;
	for (const struct seek_format *format = seek_formats; format->name; format++) {
		struct mock *sinks[3];
		struct seek_file packed;
		struct usp_pump *pump;
		struct usp_file *file, *stage;

		format->make(plain, LEN, 262144, &packed);
		file = open_bytes(&packed);
		assert_int_equal(usp_file_seek(file, 1234567, SEEK_SET), 1234567);
		assert_int_equal(usp_transform_open("digest:crc32c", file, NULL, &stage, NULL), 0);
		assert_int_equal(usp_pump_new(stage, NULL, &pump), 0);
		for (unsigned i = 0; i < 3; i++) {
			sinks[i] = mock_open(&mock_copy_ops, USP_WRITE, 0);
			assert_int_equal(usp_pump_add_sink(pump, sinks[i]->file), 0);
		}
		assert_int_equal(usp_pump_run(pump), 0);
		usp_pump_free(pump);
		drop(&stage);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(sinks[i]->len, LEN - 1234567);
			assert_memory_equal(sinks[i]->bytes, plain + 1234567, LEN - 1234567);
			mock_close(sinks[i]);
		}
		free(packed.bytes);
	}
	free(plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(any_range_is_as_in_the_plain_bytes),
		CASE(only_the_pieces_that_are_needed_are_read),
		CASE(a_piece_is_decompressed_once_for_a_reader_in_order),
		CASE(a_small_budget_is_kept),
		CASE(nothing_is_a_file_too),
		CASE(before_a_damaged_piece_all_is_good_and_it_gives_nothing),
		CASE(a_damaged_piece_keeps_no_other_byte_away),
		CASE(no_byte_that_is_changed_gives_wrong_bytes),
		CASE(a_file_that_is_cut_has_no_table_or_is_shorter_by_pieces),
		CASE(a_table_that_makes_no_sense_is_refused),
		CASE(a_checksum_of_the_table_is_verified),
		CASE(what_has_no_table_is_refused_before_a_byte_moves),
		CASE(what_has_no_positions_is_refused),
		CASE(opens_of_one_file_share_what_was_decompressed),
		CASE(eight_readers_decompress_once),
		CASE(a_file_that_changes_is_read_by_its_new_table),
		CASE(many_threads_read_what_is_there),
		CASE(a_pump_fans_out_what_is_decompressed),
	};

	return cmocka_run_group_tests_name("seekable", tests, NULL, NULL);
}
