/* SPDX-License-Identifier: MIT */
/* test_proxy - PROXY headers: what is taken, what is refused, when more is needed; what is written can be read. */
#include "net.h"
#include "support.h"

#include "relay/proxy.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(text) (text), sizeof(text) - 1
#define LONG_V6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define X4 "xxxx"
#define X52 X4 X4 X4 X4 X4 X4 X4 X4 X4 X4 X4 X4 X4

#define HOSTS_V6 \
	"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
#define ZEROS15 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define V4 "\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51" /* 1.2.3.4 80, 5.6.7.8 81 */
#define SHORT_PATH "/s\0" ZEROS15 ZEROS15 ZEROS15 ZEROS15 ZEROS15 ZEROS15 ZEROS15
#define LONG_PATH "/d" X52 X52 "xx" /* 108 bytes, and no zero behind them */

static const struct {
	const char *name, *bytes;
	size_t len;
	const char *source, *dest; /* "HOST PORT", a path, or NULL: unknown */
} good[] = {
	{"v1, TCP4", BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"), "192.168.0.1 56324",
	 "192.168.0.11 443"},
	{"v1, the longest TCP4", BYTES("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
	 "255.255.255.255 65535", "255.255.255.255 65535"},
	{"v1, the longest TCP6", BYTES("PROXY TCP6 " LONG_V6 " " LONG_V6 " 65535 65535\r\n"), LONG_V6 " 65535",
	 LONG_V6 " 65535"},
	{"v1, TCP6 in short", BYTES("PROXY TCP6 ::1 2001:DB8::a 1 0\r\n"), "::1 1", "2001:db8::a 0"},
	{"v1, TCP6 of an IPv4 client", BYTES("PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 1 2\r\n"), "::ffff:1.2.3.4 1",
	 "::ffff:5.6.7.8 2"},
	{"v1, TCP6, and IPv4 where it came to", BYTES("PROXY TCP6 2001:db8::7 127.0.0.1 1 2\r\n"), "2001:db8::7 1",
	 "::ffff:127.0.0.1 2"},
	{"v1, TCP4, and IPv6 where it came to", BYTES("PROXY TCP4 192.0.2.7 ::1 1 2\r\n"), "::ffff:192.0.2.7 1",
	 "::1 2"},
	{"v1, TCP6, and a path where it came to", BYTES("PROXY TCP6 2001:db8::7 unix:/run/n.sock 1111 0\r\n"),
	 "2001:db8::7 1111", ":: 0"},
	{"v1, TCP4, and a path with spaces", BYTES("PROXY TCP4 192.0.2.7 unix: 1 2 3 4\r\n"), "192.0.2.7 3",
	 "0.0.0.0 4"},
	{"v1, TCP4, and no path", BYTES("PROXY TCP4 192.0.2.7 unix: 3 0\r\n"), "192.0.2.7 3", "0.0.0.0 0"},
	{"v1, port 0", BYTES("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0 0", "0.0.0.0 0"},
	{"v1, UNKNOWN", BYTES("PROXY UNKNOWN\r\n"), NULL, NULL},
	{"v1, the longest UNKNOWN", BYTES("PROXY UNKNOWN " LONG_V6 " " LONG_V6 " 65535 65535\r\n"), NULL, NULL},
	{"v1, UNKNOWN and anything", BYTES("PROXY UNKNOWN \n\0 \r \xff  1\r\n"), NULL, NULL},
	{"v2, TCP over IPv4", BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\xa8\0\x01\xc0\xa8\0\x0b\xdc\x04\x01\xbb"),
	 "192.168.0.1 56324", "192.168.0.11 443"},
	{"v2, UDP over IPv4", BYTES(SIGNATURE "\x21\x12\0\x0c\xc0\xa8\0\x01\xc0\xa8\0\x0b\xdc\x04\x01\xbb"),
	 "192.168.0.1 56324", "192.168.0.11 443"},
	{"v2, TCP over IPv6", BYTES(SIGNATURE "\x21\x21\0\x24" HOSTS_V6 "\xff\xff\0\0"), "2001:db8::1 65535",
	 LONG_V6 " 0"},
	{"v2, UDP over IPv6", BYTES(SIGNATURE "\x21\x22\0\x24" HOSTS_V6 "\xff\xff\0\0"), "2001:db8::1 65535",
	 LONG_V6 " 0"},
	{"v2, UNIX stream", BYTES(SIGNATURE "\x21\x31\0\xd8" SHORT_PATH LONG_PATH), "/s", LONG_PATH},
	{"v2, UNIX datagram", BYTES(SIGNATURE "\x21\x32\0\xd8" LONG_PATH SHORT_PATH), LONG_PATH, "/s"},
	{"v2, LOCAL", BYTES(SIGNATURE "\x20\0\0\0"), NULL, NULL},
	{"v2, LOCAL with addresses", BYTES(SIGNATURE "\x20\x11\0\x0c\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51"),
	 NULL, NULL},
	{"v2, LOCAL of a family with no room for it", BYTES(SIGNATURE "\x20\x11\0\0"), NULL, NULL},
	{"v2, LOCAL of a family that is none", BYTES(SIGNATURE "\x20\xff\0\x01x"), NULL, NULL},
	{"v2, UNSPEC", BYTES(SIGNATURE "\x21\0\0\0"), NULL, NULL},
	{"v2, UNSPEC with a TLV", BYTES(SIGNATURE "\x21\0\0\x04\xe0\0\x01x"), NULL, NULL},
	{"v2, UNSPEC with a checksum", BYTES(SIGNATURE "\x21\0\0\x07\x03\0\x04\x3e\xc9\x89\x4e"), NULL, NULL},
	{"v2, a family without transport", BYTES(SIGNATURE "\x21\x10\0\x04" X4), NULL, NULL},
	{"v2, a transport without family", BYTES(SIGNATURE "\x21\x01\0\x04" X4), NULL, NULL},
	{"v2, TLVs",
	 BYTES(SIGNATURE "\x21\x11\0\x16\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51\x04\0\x01x\x02\0\x03usp"),
	 "1.2.3.4 80", "5.6.7.8 81"},
	{"v2, LOCAL with what is no TLV", BYTES(SIGNATURE "\x20\x11\0\x0f" V4 "\x04\xff\xff"), NULL, NULL},
	{"v2, a checksum", BYTES(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\x5b\x78\x53\xda"), "1.2.3.4 80",
	 "5.6.7.8 81"},
	{"v2, a checksum between others",
	 BYTES(SIGNATURE "\x21\x11\0\x1d" V4 "\x05\0\x03uid\x03\0\x04\xc7\xe0\xf3\x08\x04\0\x01x"), "1.2.3.4 80",
	 "5.6.7.8 81"},
	{"v2, TLVs without a value", BYTES(SIGNATURE "\x21\x11\0\x15" V4 "\x01\0\0\x02\0\0\x05\0\0"), "1.2.3.4 80",
	 "5.6.7.8 81"},
	{"v2, TLVs that may occur twice", BYTES(SIGNATURE "\x21\x11\0\x18" V4 "\x04\0\0\x04\0\0\xea\0\0\xea\0\0"),
	 "1.2.3.4 80", "5.6.7.8 81"},
	{"v2, an identifier as long as one may be",
	 BYTES(SIGNATURE "\x21\x11\0\x8f" V4 "\x05\0\x80" X52 X52 X4 X4 X4 X4 X4 X4), "1.2.3.4 80", "5.6.7.8 81"},
	{"v2, SSL without more", BYTES(SIGNATURE "\x21\x11\0\x14" V4 "\x20\0\x05\x01\0\0\0\0"), "1.2.3.4 80",
	 "5.6.7.8 81"},
};

static const struct {
	const char *name, *bytes;
	size_t len;
	ssize_t result;
} bad[] = {
	{"another protocol", BYTES("GET / HTTP/1.0\r\n\r\n"), -EPROTO},
	{"one byte", BYTES("Q"), -EPROTO},
	{"v1, a path and one port", BYTES("PROXY TCP4 192.0.2.7 unix:/a 1\r\n"), -EPROTO},
	{"v1, a path and no port", BYTES("PROXY TCP4 192.0.2.7 unix:/a\r\n"), -EPROTO},
	{"v1, a path and no number", BYTES("PROXY TCP4 192.0.2.7 unix:/a 1 b\r\n"), -EPROTO},
	{"v1, a path where it came from", BYTES("PROXY TCP4 unix:/a 192.0.2.7 1 2\r\n"), -EPROTO},
	{"v1, small letters", BYTES("proxy TCP4"), -EPROTO},
	{"v1, no space", BYTES("PROXY\r\n"), -EPROTO},
	{"v1, nothing", BYTES("PROXY \r\n"), -EPROTO},
	{"v1, two spaces", BYTES("PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, two spaces within", BYTES("PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, a tab", BYTES("PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, a space at the end", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n"), -EPROTO},
	{"v1, a word too many", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n"), -EPROTO},
	{"v1, a word too few", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n"), -EPROTO},
	{"v1, an empty word", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8  2\r\n"), -EPROTO},
	{"v1, an empty word at the end", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n"), -EPROTO},
	{"v1, no addresses", BYTES("PROXY TCP4\r\n"), -EPROTO},
	{"v1, a protocol that is none", BYTES("PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, UNKNOWN and a letter", BYTES("PROXY UNKNOWNS\r\n"), -EPROTO},
	{"v1, TCP4 with IPv6", BYTES("PROXY TCP4 ::1 ::1 1 2\r\n"), -EPROTO},
	{"v1, TCP6 with IPv4", BYTES("PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, IPv4 of three numbers", BYTES("PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, IPv4 with a zero in front", BYTES("PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, IPv4 that is too large", BYTES("PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, IPv6 with a zone", BYTES("PROXY TCP6 fe80::1%lo ::1 1 2\r\n"), -EPROTO},
	{"v1, IPv6 in brackets", BYTES("PROXY TCP6 [::1] ::1 1 2\r\n"), -EPROTO},
	{"v1, IPv6 with two gaps", BYTES("PROXY TCP6 1::2::3 ::1 1 2\r\n"), -EPROTO},
	{"v1, IPv6 of nine groups", BYTES("PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n"), -EPROTO},
	{"v1, a word longer than any address", BYTES("PROXY TCP6 " X52 " ::1 1 2\r\n"), -EPROTO},
	{"v1, a zero byte in an address", BYTES("PROXY TCP4 1.2.3.4\0x 5.6.7.8 1 2\r\n"), -EPROTO},
	{"v1, a zero byte in a port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0\r\n"), -EPROTO},
	{"v1, a port that is too large", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n"), -EPROTO},
	{"v1, a port of six digits", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 100000 2\r\n"), -EPROTO},
	{"v1, a port that would wrap", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 4294967297 2\r\n"), -EPROTO},
	{"v1, a port with a zero in front", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 080 2\r\n"), -EPROTO},
	{"v1, a port of two zeros", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 00 2\r\n"), -EPROTO},
	{"v1, a negative port", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n"), -EPROTO},
	{"v1, a port with a sign", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n"), -EPROTO},
	{"v1, a port with a letter", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1a 2\r\n"), -EPROTO},
	{"v1, a port in hex", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 0x1 2\r\n"), -EPROTO},
	{"v1, a line that ends with LF", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\nGET / HTTP/1.0\r\n"), -EPROTO},
	{"v1, a line that ends with CR", BYTES("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\rGET / HTTP/1.0\r\n"), -EPROTO},
	{"v1, no end within 107 bytes", BYTES("PROXY UNKNOWN " X52 X4 X4 X4 X4 X4 X4 X4 X4 X4 X4 "x"), -EPROTO},
	{"v1, an end behind 107 bytes", BYTES("PROXY UNKNOWN " X52 X4 X4 X4 X4 X4 X4 X4 X4 X4 X4 "\r\n"), -EPROTO},
	{"v2, a signature with an error", BYTES("\r\n\r\n\0\r\nQUIT\r"), -EPROTO},
	{"v2, version 1", BYTES(SIGNATURE "\x11\x11\0\x0c"), -EPROTO},
	{"v2, version 3", BYTES(SIGNATURE "\x31\x11\0\x0c"), -EPROTO},
	{"v2, another command", BYTES(SIGNATURE "\x22\x11\0\x0c"), -EPROTO},
	{"v2, another family", BYTES(SIGNATURE "\x21\x41\0\x0c"), -EPROTO},
	{"v2, another transport", BYTES(SIGNATURE "\x21\x13\0\x0c"), -EPROTO},
	{"v2, another transport, no family", BYTES(SIGNATURE "\x21\x03\0\x0c"), -EPROTO},
	{"v2, too short for IPv4", BYTES(SIGNATURE "\x21\x11\0\x0b"), -EPROTO},
	{"v2, too short for IPv6", BYTES(SIGNATURE "\x21\x21\0\x23"), -EPROTO},
	{"v2, too short for UNIX", BYTES(SIGNATURE "\x21\x31\0\xd7"), -EPROTO},
	{"v2, one byte more than we take", BYTES(SIGNATURE "\x21\x11\x3f\xf1"), -EMSGSIZE},
	{"v2, the largest length", BYTES(SIGNATURE "\x21\x11\xff\xff"), -EMSGSIZE},
	{"v2, a TLV of one byte", BYTES(SIGNATURE "\x21\x11\0\x0d" V4 "\x04"), -EPROTO},
	{"v2, a TLV of two bytes", BYTES(SIGNATURE "\x21\x11\0\x0e" V4 "\x04\0"), -EPROTO},
	{"v2, a TLV with a value that is cut", BYTES(SIGNATURE "\x21\x11\0\x10" V4 "\x04\0\x02x"), -EPROTO},
	{"v2, a TLV that is too long", BYTES(SIGNATURE "\x21\x11\0\x0f" V4 "\x04\xff\xff"), -EPROTO},
	{"v2, a TLV that is cut behind another", BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\x04\0\x01x\x04\0"), -EPROTO},
	{"v2, UNSPEC with what is no TLV", BYTES(SIGNATURE "\x21\0\0\x04" X4), -EPROTO},
	{"v2, UNSPEC with a wrong checksum", BYTES(SIGNATURE "\x21\0\0\x07\x03\0\x04\0\0\0\0"), -EBADMSG},
	{"v2, a wrong checksum", BYTES(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\x5b\x78\x53\xdb"), -EBADMSG},
	{"v2, a checksum in the wrong order", BYTES(SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\xda\x53\x78\x5b"),
	 -EBADMSG},
	{"v2, a checksum of other addresses",
	 BYTES(SIGNATURE "\x21\x11\0\x13\x01\x02\x03\x05\x05\x06\x07\x08\0\x50\0\x51\x03\0\x04\x5b\x78\x53\xda"),
	 -EBADMSG},
	{"v2, a checksum of three bytes", BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\x03\0\x03\x5b\x78\x53"), -EPROTO},
	{"v2, a checksum of five bytes", BYTES(SIGNATURE "\x21\x11\0\x14" V4 "\x03\0\x05\x5b\x78\x53\xda\0"), -EPROTO},
	{"v2, two protocols", BYTES(SIGNATURE "\x21\x11\0\x14" V4 "\x01\0\x01h\x01\0\x01i"), -EPROTO},
	{"v2, two names", BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\x02\0\0\x02\0\0"), -EPROTO},
	{"v2, two identifiers", BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\x05\0\0\x05\0\0"), -EPROTO},
	{"v2, two namespaces", BYTES(SIGNATURE "\x21\x11\0\x12" V4 "\x30\0\0\x30\0\0"), -EPROTO},
	{"v2, an identifier that is too long",
	 BYTES(SIGNATURE "\x21\x11\0\x90" V4 "\x05\0\x81" X52 X52 X4 X4 X4 X4 X4 X4 "x"), -EPROTO},
	{"v2, SSL that is too short", BYTES(SIGNATURE "\x21\x11\0\x13" V4 "\x20\0\x04\x01\0\0\0"), -EPROTO},
	{"v2, LOCAL and too long", BYTES(SIGNATURE "\x20\0\xff\xff"), -EMSGSIZE},
};

/* --- Helpers ---------------------------------------------------------------------------------------- */

/* Parse a copy of exactly len bytes, so that reading behind them is seen under AddressSanitizer. */
static ssize_t parse(const void *bytes, size_t len, struct usp_proxy_addresses *ret_addresses)
{
	void *copy = malloc(len ? len : 1);
	ssize_t ret;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	ret = usp_proxy_parse(copy, len, ret_addresses);
	free(copy);
	return ret;
}

static void assert_untouched(const struct usp_proxy_addresses *addresses)
{
	static struct usp_proxy_addresses mark;

	memset(&mark, 0xa5, sizeof(mark));
	assert_memory_equal(addresses, &mark, sizeof(mark));
}

/* The address that "HOST PORT" or a path means. */
static struct sockaddr_storage address_of(const char *text)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
	struct sockaddr_un *un = (struct sockaddr_un *)&address;
	unsigned port = 0;
	char host[64] = "";

	if (*text == '/') {
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, text, strnlen(text, sizeof(un->sun_path)));
		return address;
	}
	assert_int_equal(sscanf(text, "%63s %u", host, &port), 2);
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return address;
	}
	assert_int_equal(inet_pton(AF_INET6, host, &v6->sin6_addr), 1);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons((uint16_t)port);
	return address;
}

static struct usp_proxy_addresses addresses_of(const char *source, const char *dest)
{
	struct usp_proxy_addresses addresses = {.is_known = source != NULL};

	if (source) {
		addresses.source = address_of(source);
		addresses.dest = address_of(dest);
	}
	return addresses;
}

static struct usp_proxy_addresses addresses_of_good(size_t i)
{
	struct usp_proxy_addresses addresses = addresses_of(good[i].source, good[i].dest);

	addresses.is_dgram = good[i].source && good[i].bytes[0] == '\r' && (good[i].bytes[13] & 0xf) == 2;
	return addresses;
}

static void assert_addresses(const struct usp_proxy_addresses *addresses, const struct usp_proxy_addresses *expected)
{
	assert_int_equal(addresses->is_known, expected->is_known);
	assert_int_equal(addresses->is_dgram, expected->is_dgram);
	assert_memory_equal(&addresses->source, &expected->source, sizeof(expected->source));
	assert_memory_equal(&addresses->dest, &expected->dest, sizeof(expected->dest));
}

/* --- Parsing ---------------------------------------------------------------------------------------- */

static void a_header_says_who_talks_to_whom(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		const struct usp_proxy_addresses expected = addresses_of_good(i);
		struct usp_proxy_addresses addresses;

		print_message("# %s\n", good[i].name);
		memset(&addresses, 0xa5, sizeof(addresses));
		assert_int_equal(parse(good[i].bytes, good[i].len, &addresses), good[i].len);
		assert_addresses(&addresses, &expected);
	}
}

static void a_header_that_is_cut_needs_more_at_every_length(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		print_message("# %s\n", good[i].name);
		for (size_t len = 0; len < good[i].len; len++) {
			struct usp_proxy_addresses addresses;

			memset(&addresses, 0xa5, sizeof(addresses));
			assert_int_equal(parse(good[i].bytes, len, &addresses), 0);
			assert_untouched(&addresses);
		}
	}
}

static void what_follows_a_header_is_not_its_part(void **state)
{
	static const char tails[][24] = {"\r\n", "PROXY UNKNOWN\r\n", SIGNATURE, "SSH-2.0-x"};
	unsigned char bytes[USP_PROXY_HEADER_MAX + sizeof(tails[0])];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		for (size_t j = 0; j < ARRAY_LEN(tails); j++) {
			struct usp_proxy_addresses addresses;

			memcpy(bytes, good[i].bytes, good[i].len);
			memcpy(bytes + good[i].len, tails[j], sizeof(tails[j]));
			assert_int_equal(parse(bytes, good[i].len + sizeof(tails[j]), &addresses), good[i].len);
		}
	}
}

static void what_is_no_header_is_refused_and_tells_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct usp_proxy_addresses addresses;

		print_message("# %s\n", bad[i].name);
		memset(&addresses, 0xa5, sizeof(addresses));
		assert_int_equal(parse(bad[i].bytes, bad[i].len, &addresses), bad[i].result);
		assert_untouched(&addresses);
	}
}

static void another_protocol_is_seen_at_its_first_wrong_byte(void **state)
{
	static const char *const starts[] = {"PROXY TCP4 1.2.3.4 ", "\r\n\r\n"};
	struct usp_proxy_addresses addresses;

	(void)state;
	assert_int_equal(parse("PROXY\t", 5, &addresses), 0);
	assert_int_equal(parse("PROXY\t", 6, &addresses), -EPROTO);
	for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
		for (size_t at = 0; at < 4; at++) {
			char bytes[32];

			strcpy(bytes, starts[i]);
			bytes[at]++;
			assert_int_equal(parse(bytes, at, &addresses), 0);
			assert_int_equal(parse(bytes, at + 1, &addresses), -EPROTO);
		}
	}
}

static void the_longest_line_is_107_bytes(void **state)
{
	char line[200] = "PROXY UNKNOWN ";
	struct usp_proxy_addresses addresses;
	size_t start = strlen(line);

	(void)state;
	memset(line + start, 'x', sizeof(line) - start);
	memcpy(line + 105, "\r\n", 2);
	assert_int_equal(parse(line, 106, &addresses), 0);
	assert_int_equal(parse(line, 107, &addresses), 107);
	assert_int_equal(parse(line, sizeof(line), &addresses), 107);
	memcpy(line + 105, "x\r\n", 3);
	assert_int_equal(parse(line, 106, &addresses), 0);
	assert_int_equal(parse(line, 107, &addresses), -EPROTO);
	assert_int_equal(parse(line, sizeof(line), &addresses), -EPROTO);
}

static void a_length_that_is_too_large_is_refused_before_its_bytes_come(void **state)
{
	struct usp_proxy_addresses addresses;

	(void)state;
	assert_int_equal(parse(BYTES(SIGNATURE "\x21\x11\x3f\xf0"), &addresses), 0);
	assert_int_equal(parse(BYTES(SIGNATURE "\x21\x11\x3f\xf1"), &addresses), -EMSGSIZE);
}

/* Of 16,384 bytes, all but the addresses in one TLV. */
static void the_longest_header_is_taken(void **state)
{
	static unsigned char header[USP_PROXY_HEADER_MAX] = SIGNATURE "\x21\x11\x3f\xf0" V4 "\xe0\x3f\xe1";
	const struct usp_proxy_addresses expected = addresses_of("1.2.3.4 80", "5.6.7.8 81");
	struct usp_proxy_addresses addresses;

	(void)state;
	assert_int_equal(parse(header, sizeof(header) - 1, &addresses), 0);
	assert_int_equal(parse(header, sizeof(header), &addresses), sizeof(header));
	assert_addresses(&addresses, &expected);
	header[30]++; /* then its value is longer than the header */
	assert_int_equal(parse(header, sizeof(header), &addresses), -EPROTO);
}

/* One bit of a header with a checksum is turned: nothing else is taken for what the sender said. */
static void every_bit_counts_for_the_checksum(void **state)
{
	static const unsigned char right[] = SIGNATURE "\x21\x11\0\x13" V4 "\x03\0\x04\x5b\x78\x53\xda";
	struct usp_proxy_addresses addresses;
	unsigned char header[sizeof(right) - 1];

	(void)state;
	for (size_t bit = 8 * 16; bit < 8 * sizeof(header); bit++) {
		ssize_t ret;

		memcpy(header, right, sizeof(header));
		header[bit / 8] ^= 1u << bit % 8;
		ret = parse(header, sizeof(header), &addresses);
		if (bit / 8 == 28) /* the type: it is no checksum any more */
			continue;
		assert_int_equal(ret, bit / 8 == 29 || bit / 8 == 30 ? -EPROTO : -EBADMSG);
	}
}

/* --- Formatting --------------------------------------------------------------------------------------- */

static size_t format(unsigned version, const struct usp_proxy_addresses *addresses,
		     unsigned char ret_bytes[USP_PROXY_FORMAT_MAX])
{
	size_t len;

	memset(ret_bytes, 0xa5, USP_PROXY_FORMAT_MAX);
	len = usp_proxy_format(version, addresses, ret_bytes);
	assert_in_range(len, 1, USP_PROXY_FORMAT_MAX);
	return len;
}

static void assert_format(unsigned version, const struct usp_proxy_addresses *addresses, const char *bytes, size_t len)
{
	unsigned char header[USP_PROXY_FORMAT_MAX];

	assert_int_equal(format(version, addresses, header), len);
	assert_memory_equal(header, bytes, len);
}

static void a_header_is_written_as_it_is_published(void **state)
{
	struct usp_proxy_addresses addresses = addresses_of("192.168.0.1 56324", "192.168.0.11 443");

	(void)state;
	assert_format(1, &addresses, BYTES("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n"));
	assert_format(2, &addresses, BYTES(SIGNATURE "\x21\x11\0\x0c\xc0\xa8\0\x01\xc0\xa8\0\x0b\xdc\x04\x01\xbb"));
	addresses = addresses_of("2001:db8::1 65535", LONG_V6 " 0");
	assert_format(1, &addresses, BYTES("PROXY TCP6 2001:db8::1 " LONG_V6 " 65535 0\r\n"));
	assert_format(2, &addresses, BYTES(SIGNATURE "\x21\x21\0\x24" HOSTS_V6 "\xff\xff\0\0"));
	addresses = addresses_of("/s", LONG_PATH);
	assert_format(2, &addresses, BYTES(SIGNATURE "\x21\x31\0\xd8" SHORT_PATH LONG_PATH));
}

/* LOCAL in version 2, because HAProxy refuses what is UNSPEC otherwise. */
static void who_is_not_known_is_said_to_be_unknown(void **state)
{
	struct usp_proxy_addresses addresses = addresses_of("1.2.3.4 80", "5.6.7.8 80");

	(void)state;
	addresses.is_known = false;
	assert_format(1, &addresses, BYTES("PROXY UNKNOWN\r\n"));
	assert_format(2, &addresses, BYTES(SIGNATURE "\x20\0\0\0"));
}

static void datagrams_are_unknown_in_version_1(void **state)
{
	struct usp_proxy_addresses addresses = addresses_of("192.168.0.1 56324", "192.168.0.11 443");

	(void)state;
	addresses.is_dgram = true;
	assert_format(1, &addresses, BYTES("PROXY UNKNOWN\r\n"));
	assert_format(2, &addresses, BYTES(SIGNATURE "\x21\x12\0\x0c\xc0\xa8\0\x01\xc0\xa8\0\x0b\xdc\x04\x01\xbb"));
}

static void addresses_that_cannot_be_said_are_left_out(void **state)
{
	struct usp_proxy_addresses addresses = addresses_of("/s", "/d");

	(void)state;
	assert_format(1, &addresses, BYTES("PROXY UNKNOWN\r\n"));
	addresses = addresses_of("1.2.3.4 80", "::1 80");
	assert_format(1, &addresses, BYTES("PROXY UNKNOWN\r\n"));
	assert_format(2, &addresses, BYTES(SIGNATURE "\x20\0\0\0"));
	addresses.source.ss_family = addresses.dest.ss_family = AF_NETLINK;
	assert_format(1, &addresses, BYTES("PROXY UNKNOWN\r\n"));
	assert_format(2, &addresses, BYTES(SIGNATURE "\x20\0\0\0"));
}

static void check_round_trip(unsigned version, const struct usp_proxy_addresses *addresses)
{
	static const struct usp_proxy_addresses unknown = {.is_known = false};
	bool is_lost = version == 1 && (addresses->source.ss_family == AF_UNIX || addresses->is_dgram);
	unsigned char header[USP_PROXY_FORMAT_MAX];
	struct usp_proxy_addresses again;
	size_t len = format(version, addresses, header);

	memset(&again, 0xa5, sizeof(again));
	assert_int_equal(parse(header, len, &again), len);
	assert_addresses(&again, is_lost ? &unknown : addresses);
}

static void what_is_written_reads_the_same(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		const struct usp_proxy_addresses addresses = addresses_of_good(i);

		print_message("# %s\n", good[i].name);
		check_round_trip(1, &addresses);
		check_round_trip(2, &addresses);
	}
}

static void every_port_reads_the_same(void **state)
{
	struct usp_proxy_addresses addresses = addresses_of("1.2.3.4 0", "5.6.7.8 0");

	(void)state;
	for (unsigned port = 0; port <= UINT16_MAX; port++) {
		((struct sockaddr_in *)&addresses.source)->sin_port = htons((uint16_t)port);
		((struct sockaddr_in *)&addresses.dest)->sin_port = htons((uint16_t)(UINT16_MAX - port));
		check_round_trip(1, &addresses);
		check_round_trip(2, &addresses);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_header_says_who_talks_to_whom),
		CASE(a_header_that_is_cut_needs_more_at_every_length),
		CASE(what_follows_a_header_is_not_its_part),
		CASE(what_is_no_header_is_refused_and_tells_nothing),
		CASE(another_protocol_is_seen_at_its_first_wrong_byte),
		CASE(the_longest_line_is_107_bytes),
		CASE(a_length_that_is_too_large_is_refused_before_its_bytes_come),
		CASE(the_longest_header_is_taken),
		CASE(every_bit_counts_for_the_checksum),
		CASE(a_header_is_written_as_it_is_published),
		CASE(who_is_not_known_is_said_to_be_unknown),
		CASE(datagrams_are_unknown_in_version_1),
		CASE(addresses_that_cannot_be_said_are_left_out),
		CASE(what_is_written_reads_the_same),
		CASE(every_port_reads_the_same),
	};

	return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
