/* SPDX-License-Identifier: MIT */
/* test_cidr - blocks of addresses: which texts are one, which addresses are in one. */
#include "net.h"
#include "support.h"

#include "base/alloc.h"
#include "base/cidr.h"

/* An address without a port; a path that begins with '/'; "" for one that nobody bound. */
static struct sockaddr_storage address_of(const char *text)
{
	struct sockaddr_storage storage = {.ss_family = AF_UNIX};

	if (strchr(text, ':')) {
		storage.ss_family = AF_INET6;
		assert_int_equal(inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&storage)->sin6_addr), 1);
	} else if (text[0] && text[0] != '/') {
		storage.ss_family = AF_INET;
		assert_int_equal(inet_pton(AF_INET, text, &((struct sockaddr_in *)&storage)->sin_addr), 1);
	}
	return storage;
}

static bool has(const char *block, const char *address)
{
	const struct sockaddr_storage storage = address_of(address);
	struct usp_cidr cidr;
	const char *why;

	assert_int_equal(usp_cidr_parse(block, strlen(block), &cidr, &why), 0);
	return usp_cidr_has(&cidr, (const struct sockaddr *)&storage);
}

static const struct {
	const char *block, *in, *out;
} blocks[] = {
	{"10.0.0.0/8", "10.255.0.1", "11.0.0.0"},
	{"10.0.0.0/8", "10.0.0.0", "9.255.255.255"},
	{"192.168.4.0/22", "192.168.7.255", "192.168.8.0"},
	{"192.168.4.0/22", "192.168.4.0", "192.168.3.255"},
	{"128.0.0.0/1", "255.255.255.255", "127.255.255.255"},
	{"1.2.3.4/31", "1.2.3.5", "1.2.3.6"},
	{"1.2.3.4/32", "1.2.3.4", "1.2.3.5"},
	{"1.2.3.4", "1.2.3.4", "1.2.3.5"},
	{"0.0.0.0/0", "255.1.2.3", "::1"},
	{"0.0.0.0/0", "::ffff:255.1.2.3", ""},
	{"2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"},
	{"2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"},
	{"::1", "::1", "::2"},
	{"::1/128", "::1", "::"},
	{"fe80::/10", "febf::1", "fec0::1"},
	{"::/0", "2001:db8::1", "1.2.3.4"},
	{"::/0", "::1.2.3.4", "::ffff:1.2.3.4"},
	{"10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"},
	{"10.0.0.0/8", "10.1.2.3", "::10.1.2.3"},
	{"::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"},
	{"::ffff:1.2.3.4", "1.2.3.4", "1.2.3.5"},
	{"::ffff:0:0/96", "1.2.3.4", "::1"},
	{"unix:", "/run/socket", "0.0.0.0"},
	{"unix:", "", "::"},
	{"0.0.0.0/0", "0.0.0.0", "/run/socket"},
	{"::/0", "::", "/run/socket"},
};

static void a_block_has_what_begins_with_its_bits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(blocks); i++) {
		print_message("# %s: %s and not %s\n", blocks[i].block, blocks[i].in, blocks[i].out);
		assert_true(has(blocks[i].block, blocks[i].in));
		assert_false(has(blocks[i].block, blocks[i].out));
	}
}

/* Every length, each bit: an address is in the block just if the bit in which it differs is behind the prefix. */
static void check_every_bit(int family, unsigned nr_bits, const unsigned char *base)
{
	unsigned char *at;
	char text[INET6_ADDRSTRLEN], block[INET6_ADDRSTRLEN + 8];

	for (unsigned bits = 0; bits <= nr_bits; bits++) {
		unsigned char prefix[16] = {0};

		for (unsigned bit = 0; bit < bits; bit++)
			prefix[bit / 8] |= base[bit / 8] & 0x80 >> bit % 8;
		snprintf(block, sizeof(block), "%s/%u", inet_ntop(family, prefix, text, sizeof(text)), bits);
		for (unsigned bit = 0; bit < nr_bits; bit++) {
			struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
			struct usp_cidr cidr;
			const char *why;

			at = family == AF_INET ? (unsigned char *)&((struct sockaddr_in *)&address)->sin_addr
					       : (unsigned char *)&((struct sockaddr_in6 *)&address)->sin6_addr;
			memcpy(at, base, nr_bits / 8);
			at[bit / 8] ^= 0x80 >> bit % 8;
			assert_int_equal(usp_cidr_parse(block, strlen(block), &cidr, &why), 0);
			assert_int_equal(usp_cidr_has(&cidr, (struct sockaddr *)&address), bit >= bits);
		}
	}
}

static void the_bits_of_the_prefix_count_and_no_others(void **state)
{
	static const unsigned char base[16] = {0xa5, 0x5a, 0xff, 0x01, 0x80, 0x7e, 0x00, 0x33,
					       0xcc, 0x18, 0x81, 0xf0, 0x0f, 0x99, 0x66, 0xff};

	(void)state;
	check_every_bit(AF_INET, 32, base);
	check_every_bit(AF_INET6, 128, base);
}

static const struct {
	const char *text, *why;
} bad[] = {
	{"", "no address"},
	{"/", "no address"},
	{"/8", "no address"},
	{"10", "no address"},
	{"10/8", "no address"},
	{"10.0.0/24", "no address"},
	{"10.0.0.0.0/8", "no address"},
	{"010.0.0.0/8", "no address"},
	{"256.0.0.0/8", "no address"},
	{" 10.0.0.0/8", "no address"},
	{"10.0.0.0 /8", "no address"},
	{"localhost", "no address"},
	{"10.0.0.1:80", "no address"},
	{"[::1]", "no address"},
	{"[::1]/128", "no address"},
	{"fe80::1%lo", "no address"},
	{"1::2::3/64", "no address"},
	{"unix", "no address"},
	{"unix:/run/socket", "no address"},
	{"unix:/0", "no address"},
	{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/1288", "a number of bits"},
	{"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/12888888888", "no address"},
	{"10.0.0.0/", "a number of bits"},
	{"10.0.0.0/08", "a number of bits"},
	{"10.0.0.0/+8", "a number of bits"},
	{"10.0.0.0/-1", "a number of bits"},
	{"10.0.0.0/8 ", "a number of bits"},
	{"10.0.0.0/8/8", "a number of bits"},
	{"10.0.0.0/0x8", "a number of bits"},
	{"10.0.0.0/255.0.0.0", "a number of bits"},
	{"10.0.0.0/33", "a number of bits"},
	{"::/129", "a number of bits"},
	{"::/999", "a number of bits"},
	{"10.1.2.3/8", "bits behind"},
	{"10.0.0.1/31", "bits behind"},
	{"1.0.0.0/0", "bits behind"},
	{"2001:db8::1/64", "bits behind"},
	{"2001:db8::/28", "bits behind"},
	{"::1/0", "bits behind"},
	{"::ffff:10.1.2.3/104", "bits behind"},
	{"::ffff:0:0/90", "bits behind"},
};

static void what_is_no_block_is_refused_with_a_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct usp_cidr cidr = {.nr_bits = 4711};
		const char *why = NULL;

		print_message("# %s\n", bad[i].text);
		assert_int_equal(usp_cidr_parse(bad[i].text, strlen(bad[i].text), &cidr, &why), -EINVAL);
		assert_non_null(strstr(why, bad[i].why));
		assert_int_equal(cidr.nr_bits, 4711);
	}
}

static void only_the_given_bytes_are_read(void **state)
{
	struct usp_cidr cidr;
	const char *why;

	(void)state;
	assert_int_equal(usp_cidr_parse("10.0.0.0/88", 10, &cidr, &why), 0);
	assert_int_equal(cidr.nr_bits, 8);
	assert_int_equal(usp_cidr_parse("10.0.0.0\0/8", 11, &cidr, &why), -EINVAL);
	assert_int_equal(usp_cidr_parse("::1", 0, &cidr, &why), -EINVAL);
}

static bool list_has(const struct usp_cidr_list *list, const char *text)
{
	const struct sockaddr_storage address = address_of(text);

	return usp_cidr_list_has(list, (const struct sockaddr *)&address);
}

static void a_list_has_what_one_of_its_blocks_has(void **state)
{
	struct usp_cidr_list *list;
	const char *why;

	(void)state;
	assert_int_equal(usp_cidr_list_parse("10.0.0.0/8,::1,unix:", &list, &why), 0);
	assert_int_equal(list->nr, 3);
	assert_true(list_has(list, "10.1.2.3"));
	assert_true(list_has(list, "::1"));
	assert_true(list_has(list, "/run/socket"));
	assert_false(list_has(list, "11.1.2.3"));
	assert_false(list_has(list, "::2"));
	usp_free(list);
	assert_int_equal(usp_cidr_list_parse("127.0.0.1", &list, &why), 0);
	assert_false(list_has(list, "/run/socket"));
	usp_free(list);
}

static void a_list_with_one_bad_block_is_refused(void **state)
{
	static const char *const lists[] = {"",		",",	    "::1,",    ",::1",
					    "::1,,::2", "::1, ::2", "::1;::2", "::1,10.1.1.1/8"};
	struct usp_cidr_list *list = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const char *why = NULL;

		print_message("# %s\n", lists[i]);
		assert_int_equal(usp_cidr_list_parse(lists[i], &list, &why), -EINVAL);
		assert_non_null(why);
		assert_null(list);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_block_has_what_begins_with_its_bits),	 CASE(the_bits_of_the_prefix_count_and_no_others),
		CASE(what_is_no_block_is_refused_with_a_reason), CASE(only_the_given_bytes_are_read),
		CASE(a_list_has_what_one_of_its_blocks_has),	 CASE(a_list_with_one_bad_block_is_refused),
	};

	return cmocka_run_group_tests_name("cidr", tests, NULL, NULL);
}
