/* SPDX-License-Identifier: MIT */
/* test_crc32c - the checksum of published examples, in one piece and in many. */
#include "support.h"

#include "base/crc32c.h"

#define ROOM 32

static void the_examples_of_the_standard_have_their_checksums(void **state)
{
	unsigned char zeros[ROOM] = {0}, ones[ROOM], up[ROOM], down[ROOM];

	(void)state;
	for (unsigned i = 0; i < ROOM; i++) {
		ones[i] = 0xff;
		up[i] = (unsigned char)i;
		down[i] = (unsigned char)(ROOM - 1 - i);
	}
	assert_int_equal(usp_crc32c(0, zeros, ROOM), 0x8a9136aa); /* RFC 3720, B.4 */
	assert_int_equal(usp_crc32c(0, ones, ROOM), 0x62a8ab43);
	assert_int_equal(usp_crc32c(0, up, ROOM), 0x46dd794e);
	assert_int_equal(usp_crc32c(0, down, ROOM), 0x113fdb5c);
	assert_int_equal(usp_crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(usp_crc32c(0, "", 0), 0);
}

/* By the definition: a bit at a time. */
static uint32_t divide(const unsigned char *bytes, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t bit = 0; bit < 8 * len; bit++) {
		crc ^= bytes[bit / 8] >> bit % 8 & 1;
		crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void pieces_have_the_checksum_of_the_whole(void **state)
{
	unsigned char bytes[256];

	(void)state;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 167 + 13); /* every byte once */
	for (size_t cut = 0; cut <= sizeof(bytes); cut++) {
		uint32_t crc = usp_crc32c(usp_crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut);

		assert_int_equal(crc, divide(bytes, sizeof(bytes)));
		assert_int_equal(usp_crc32c(0, bytes, cut), divide(bytes, cut));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_examples_of_the_standard_have_their_checksums),
		CASE(pieces_have_the_checksum_of_the_whole),
	};

	return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
