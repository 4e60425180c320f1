/* SPDX-License-Identifier: MIT */
/* cidr - blocks of addresses, such as 10.0.0.0/8, and whether they contain an address. */
#include "base/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"

#define CIDR_BYTE_BITS 8
#define CIDR_MAPPED_BYTES 12 /* of an IPv6 address, before the IPv4 address in it */
#define CIDR_MAPPED_BITS (CIDR_MAPPED_BYTES * CIDR_BYTE_BITS)

static const char cidr_unix[] = "unix:";

static int cidr_fail(const char *why, const char **ret_why)
{
	*ret_why = why;
	return -EINVAL;
}

static unsigned cidr_bits_max(sa_family_t family)
{
	return CIDR_BYTE_BITS * (family == AF_INET6  ? sizeof(struct in6_addr)
				 : family == AF_INET ? sizeof(struct in_addr)
						     : 0);
}

/* Tell whether two addresses begin with the same bits. */
static bool cidr_is_same(const unsigned char *a, const unsigned char *b, unsigned nr_bits)
{
	unsigned whole = nr_bits / CIDR_BYTE_BITS, rest = nr_bits % CIDR_BYTE_BITS;

	return memcmp(a, b, whole) == 0 && (!rest || (a[whole] ^ b[whole]) >> (CIDR_BYTE_BITS - rest) == 0);
}

static bool cidr_has_bits_behind(const struct usp_cidr *cidr)
{
	for (unsigned bit = cidr->nr_bits; bit < cidr_bits_max(cidr->family); bit++) {
		if (cidr->prefix[bit / CIDR_BYTE_BITS] & 0x80 >> bit % CIDR_BYTE_BITS)
			return true;
	}
	return false;
}

/* Read "0" to "128", without leading zeros. */
static bool cidr_read_bits(const char *text, unsigned max, unsigned *ret_bits)
{
	unsigned bits = 0;

	if (!*text || strlen(text) > strlen("128") || (text[0] == '0' && text[1]))
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		bits = bits * 10 + (unsigned)(*text - '0');
	}
	*ret_bits = bits;
	return bits <= max;
}

static void cidr_unmap(struct usp_cidr *cidr)
{
	struct in6_addr address;

	memcpy(&address, cidr->prefix, sizeof(address));
	if (cidr->family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&address) || cidr->nr_bits < CIDR_MAPPED_BITS)
		return;
	*cidr = (struct usp_cidr){.family = AF_INET, .nr_bits = cidr->nr_bits - CIDR_MAPPED_BITS};
	memcpy(cidr->prefix, address.s6_addr + CIDR_MAPPED_BYTES, sizeof(struct in_addr));
}

int usp_cidr_parse(const char *text, size_t len, struct usp_cidr *ret_cidr, const char **ret_why)
{
	char word[INET6_ADDRSTRLEN + sizeof("/128")], *slash;
	struct usp_cidr cidr = {.family = AF_UNIX};

	if (len == strlen(cidr_unix) && memcmp(text, cidr_unix, len) == 0) {
		*ret_cidr = cidr;
		return 0;
	}
	if (len >= sizeof(word) || memchr(text, '\0', len))
		return cidr_fail("this is no address, nor a block of them such as 10.0.0.0/8", ret_why);
	*(char *)mempcpy(word, text, len) = '\0';
	slash = strchr(word, '/');
	if (slash)
		*slash = '\0';
	cidr.family = strchr(word, ':') ? AF_INET6 : AF_INET;
	cidr.nr_bits = cidr_bits_max(cidr.family);
	if (inet_pton(cidr.family, word, cidr.prefix) != 1)
		return cidr_fail("this is no address, nor a block of them such as 10.0.0.0/8", ret_why);
	if (slash && !cidr_read_bits(slash + 1, cidr.nr_bits, &cidr.nr_bits))
		return cidr_fail("the length behind the / is a number of bits, at most 32 or, of IPv6, 128", ret_why);
	cidr_unmap(&cidr);
	if (cidr_has_bits_behind(&cidr))
		return cidr_fail("the address has bits behind its prefix: 10.1.2.3/8 is 10.0.0.0/8 or 10.1.2.3",
				 ret_why);
	*ret_cidr = cidr;
	return 0;
}

bool usp_cidr_has(const struct usp_cidr *cidr, const struct sockaddr *address)
{
	struct usp_cidr one = {.family = address->sa_family, .nr_bits = cidr_bits_max(address->sa_family)};

	if (one.family == AF_INET)
		memcpy(one.prefix, &((const struct sockaddr_in *)address)->sin_addr, sizeof(struct in_addr));
	else if (one.family == AF_INET6)
		memcpy(one.prefix, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof(struct in6_addr));
	cidr_unmap(&one);
	return one.family == cidr->family && cidr_is_same(one.prefix, cidr->prefix, cidr->nr_bits);
}

int usp_cidr_list_parse(const char *text, struct usp_cidr_list **ret_list, const char **ret_why)
{
	struct usp_cidr_list *list;
	size_t nr = 1;

	for (const char *comma = text; (comma = strchr(comma, ',')); comma++)
		nr++;
	list = usp_alloc(sizeof(*list) + nr * sizeof(list->blocks[0]));
	if (!list)
		return -ENOMEM;
	for (; list->nr < nr; list->nr++) {
		size_t len = strcspn(text, ",");
		int ret = usp_cidr_parse(text, len, &list->blocks[list->nr], ret_why);

		if (ret < 0) {
			usp_free(list);
			return ret;
		}
		text += len + 1;
	}
	*ret_list = list;
	return 0;
}

bool usp_cidr_list_has(const struct usp_cidr_list *list, const struct sockaddr *address)
{
	for (size_t i = 0; i < list->nr; i++) {
		if (usp_cidr_has(&list->blocks[i], address))
			return true;
	}
	return false;
}
