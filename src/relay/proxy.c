/* SPDX-License-Identifier: MIT */
/* proxy - the header of the PROXY protocol, versions 1 and 2, which names the real client. */
#include "relay/proxy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/compiler.h"
#include "base/crc32c.h"

#define PROXY_LINE_MAX 107 /* of version 1, with its CRLF */
#define PROXY_FIXED_LEN 16 /* of version 2: signature, command, family, length of the rest */
#define PROXY_COMMAND 12   /* offsets of the command and of what follows */
#define PROXY_FAMILY 13
#define PROXY_LEN 14
#define PROXY_LOCAL 0x20 /* the commands, with the version in the upper half */
#define PROXY_PROXY 0x21
#define PROXY_STREAM 0x1 /* the lower half of a family; the upper half is an index of proxy_families */
#define PROXY_DGRAM 0x2
#define PROXY_CRC32C 0x03
#define PROXY_TLV_LEN 3	    /* of one without a value: type, length */
#define PROXY_MAPPED_LEN 12 /* before an IPv4 address in the form of IPv6 */

static const char proxy_line_start[6] = "PROXY ";
static const unsigned char proxy_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Version 2 has source and destination host, then both ports, with the bytes that they have in these structs. */
struct proxy_family {
	sa_family_t family;
	const char *name; /* in version 1; NULL: version 1 has no word for it */
	size_t host_off, host_len;
	size_t port_off, port_len;
};

enum { PROXY_UNSPEC, PROXY_INET, PROXY_INET6, PROXY_UNIX };

static const struct proxy_family proxy_families[] = {
	[PROXY_UNSPEC] = {.family = AF_UNSPEC},
	[PROXY_INET] = {.family = AF_INET,
			.name = "TCP4",
			.host_off = offsetof(struct sockaddr_in, sin_addr),
			.host_len = sizeof(struct in_addr),
			.port_off = offsetof(struct sockaddr_in, sin_port),
			.port_len = sizeof(in_port_t)},
	[PROXY_INET6] = {.family = AF_INET6,
			 .name = "TCP6",
			 .host_off = offsetof(struct sockaddr_in6, sin6_addr),
			 .host_len = sizeof(struct in6_addr),
			 .port_off = offsetof(struct sockaddr_in6, sin6_port),
			 .port_len = sizeof(in_port_t)},
	[PROXY_UNIX] = {.family = AF_UNIX,
			.host_off = offsetof(struct sockaddr_un, sun_path),
			.host_len = sizeof(((struct sockaddr_un *)NULL)->sun_path)},
};

static unsigned char *proxy_host(const struct proxy_family *family, struct sockaddr_storage *address)
{
	return (unsigned char *)address + family->host_off;
}

static unsigned char *proxy_port(const struct proxy_family *family, struct sockaddr_storage *address)
{
	return (unsigned char *)address + family->port_off;
}

/* --- Version 1: a line of text ------------------------------------------------------------------- */

struct proxy_line {
	const char *at, *end;
};

/*
 * Take the next word. line->at is at the space before it, or at the end. False if no valid word is
 * there.
 */
static bool proxy_take_word(struct proxy_line *line, char ret_word[INET6_ADDRSTRLEN])
{
	const char *word = line->at + 1;
	size_t len;

	if (line->at == line->end)
		return false;
	for (line->at = word; line->at < line->end && *line->at != ' ';)
		line->at++;
	len = (size_t)(line->at - word);
	if (len == 0 || len >= INET6_ADDRSTRLEN || memchr(word, '\0', len))
		return false;
	memcpy(ret_word, word, len);
	ret_word[len] = '\0';
	return true;
}

static bool proxy_read_host(const char *word, const struct proxy_family *family, struct sockaddr_storage *ret_address)
{
	*ret_address = (struct sockaddr_storage){.ss_family = family->family};
	return inet_pton(family->family, word, proxy_host(family, ret_address)) == 1;
}

/* Turn an IPv4 address into the form of IPv6, without its port. */
static void proxy_map(struct sockaddr_storage *address)
{
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_addr.s6_addr = {[10] = 0xff, [11] = 0xff}};

	if (address->ss_family != AF_INET)
		return;
	memcpy(mapped.sin6_addr.s6_addr + PROXY_MAPPED_LEN, &((struct sockaddr_in *)address)->sin_addr,
	       sizeof(struct in_addr));
	memcpy(address, &mapped, sizeof(mapped));
}

/*
 * Skip " unix:PATH" if that comes next. A path may have spaces, so it ends before the last two
 * words, which are ports.
 */
static bool proxy_skip_path(struct proxy_line *line)
{
	static const char start[] = " unix:";
	const char *end = line->end;

	if ((size_t)(line->end - line->at) < strlen(start) || memcmp(line->at, start, strlen(start)) != 0)
		return false;
	for (unsigned i = 0; i < 2 && end; i++)
		end = memrchr(line->at, ' ', (size_t)(end - line->at));
	if (!end || end == line->at)
		return false;
	line->at = end;
	return true;
}

/*
 * Take source and destination. Only the source must be of the family that the line names: nginx may
 * know it from another header, and then names a destination of another family. If one is IPv4 and
 * the other IPv6, both become IPv6. A path is not an IP address, and becomes the unspecified
 * address.
 */
static bool proxy_take_hosts(struct proxy_line *line, const struct proxy_family **family,
			     struct usp_proxy_addresses *ret_addresses)
{
	char source[INET6_ADDRSTRLEN], dest[INET6_ADDRSTRLEN];
	const struct proxy_family *v4 = &proxy_families[PROXY_INET], *v6 = &proxy_families[PROXY_INET6];

	if (!proxy_take_word(line, source) || !proxy_read_host(source, *family, &ret_addresses->source))
		return false;
	if (proxy_skip_path(line)) {
		ret_addresses->dest.ss_family = (*family)->family;
		return true;
	}
	if (!proxy_take_word(line, dest))
		return false;
	if (proxy_read_host(dest, *family, &ret_addresses->dest))
		return true;
	if (!proxy_read_host(dest, *family == v4 ? v6 : v4, &ret_addresses->dest))
		return false;
	proxy_map(&ret_addresses->source);
	proxy_map(&ret_addresses->dest);
	*family = v6;
	return true;
}

static bool proxy_take_port(struct proxy_line *line, const struct proxy_family *family,
			    struct sockaddr_storage *ret_address)
{
	char word[INET6_ADDRSTRLEN];
	unsigned value = 0;
	in_port_t port;

	if (!proxy_take_word(line, word) || strlen(word) > strlen("65535") || (word[0] == '0' && word[1]))
		return false;
	for (const char *digit = word; *digit; digit++) {
		if (*digit < '0' || *digit > '9')
			return false;
		value = value * 10 + (unsigned)(*digit - '0');
	}
	if (value > UINT16_MAX)
		return false;
	port = htons((uint16_t)value);
	memcpy(proxy_port(family, ret_address), &port, sizeof(port));
	return true;
}

static const struct proxy_family *proxy_family_by_name(const char *name)
{
	for (size_t i = 0; i < usp_array_len(proxy_families); i++) {
		if (proxy_families[i].name && strcmp(proxy_families[i].name, name) == 0)
			return &proxy_families[i];
	}
	return NULL;
}

/* Read a line. What follows UNKNOWN is ignored. */
static bool proxy_read_line(struct proxy_line *line, struct usp_proxy_addresses *ret_addresses)
{
	const struct proxy_family *family;
	char name[INET6_ADDRSTRLEN];

	if (!proxy_take_word(line, name))
		return false;
	if (strcmp(name, "UNKNOWN") == 0) {
		*ret_addresses = (struct usp_proxy_addresses){.is_known = false};
		return true;
	}
	family = proxy_family_by_name(name);
	if (!family)
		return false;
	*ret_addresses = (struct usp_proxy_addresses){.is_known = true};
	return proxy_take_hosts(line, &family, ret_addresses) &&
	       proxy_take_port(line, family, &ret_addresses->source) &&
	       proxy_take_port(line, family, &ret_addresses->dest) && line->at == line->end;
}

static ssize_t proxy_parse_line(const char *bytes, size_t len, struct usp_proxy_addresses *ret_addresses)
{
	const char *end = memmem(bytes, usp_min(len, PROXY_LINE_MAX), "\r\n", 2);
	struct usp_proxy_addresses addresses;
	struct proxy_line line;

	if (!end)
		return len < PROXY_LINE_MAX ? 0 : -EPROTO;
	line = (struct proxy_line){.at = bytes + strlen("PROXY"), .end = end};
	if (!proxy_read_line(&line, &addresses))
		return -EPROTO;
	*ret_addresses = addresses;
	return end + 2 - bytes;
}

static size_t proxy_format_line(const struct proxy_family *family, struct usp_proxy_addresses *addresses,
				char ret_line[PROXY_LINE_MAX + 1])
{
	char source[INET6_ADDRSTRLEN], dest[INET6_ADDRSTRLEN];
	in_port_t source_port, dest_port;

	if (!family->name || addresses->is_dgram)
		return (size_t)snprintf(ret_line, PROXY_LINE_MAX + 1, "PROXY UNKNOWN\r\n");
	inet_ntop(family->family, proxy_host(family, &addresses->source), source, sizeof(source));
	inet_ntop(family->family, proxy_host(family, &addresses->dest), dest, sizeof(dest));
	memcpy(&source_port, proxy_port(family, &addresses->source), sizeof(source_port));
	memcpy(&dest_port, proxy_port(family, &addresses->dest), sizeof(dest_port));
	return (size_t)snprintf(ret_line, PROXY_LINE_MAX + 1, "PROXY %s %s %s %u %u\r\n", family->name, source, dest,
				ntohs(source_port), ntohs(dest_port));
}

/* --- Version 2: bytes ---------------------------------------------------------------------------- */

/*
 * Find a family by its code. LOCAL, a connection of the proxy itself, has no addresses, whatever
 * its family. An unspecified family or transport leaves the addresses unknown. NULL for an invalid
 * code.
 */
static const struct proxy_family *proxy_family_by_code(unsigned command, unsigned code)
{
	unsigned transport = code & 0xf, index = code >> 4;

	if (command == PROXY_LOCAL)
		return &proxy_families[PROXY_UNSPEC];
	if (command != PROXY_PROXY || transport > PROXY_DGRAM || index >= usp_array_len(proxy_families))
		return NULL;
	return &proxy_families[transport ? index : PROXY_UNSPEC];
}

/* Copy the next len bytes of a header, and return what follows them. */
static const unsigned char *proxy_take(const unsigned char *at, void *to, size_t len)
{
	memcpy(to, at, len);
	return at + len;
}

/* The TLVs that have rules. Each may occur only once: a second one could contradict it. */
static const struct proxy_tlv {
	unsigned char type;
	size_t len_min, len_max;
} proxy_tlvs[] = {
	{.type = 0x01, .len_max = UINT16_MAX}, /* ALPN */
	{.type = 0x02, .len_max = UINT16_MAX}, /* AUTHORITY */
	{.type = PROXY_CRC32C, .len_min = sizeof(uint32_t), .len_max = sizeof(uint32_t)},
	{.type = 0x05, .len_max = 128},			     /* UNIQUE_ID */
	{.type = 0x20, .len_min = 5, .len_max = UINT16_MAX}, /* SSL */
	{.type = 0x30, .len_max = UINT16_MAX},		     /* NETNS */
};

static bool proxy_tlv_fits(unsigned type, size_t len, bool is_second)
{
	for (size_t i = 0; i < usp_array_len(proxy_tlvs); i++) {
		const struct proxy_tlv *tlv = &proxy_tlvs[i];

		if (tlv->type == type)
			return !is_second && len >= tlv->len_min && len <= tlv->len_max;
	}
	return true;
}

/* Check the checksum at an offset: it is that of the header with zeros in its place. */
static bool proxy_is_sum_right(const unsigned char *header, size_t header_len, size_t off)
{
	static const unsigned char zeros[sizeof(uint32_t)];
	size_t behind = off + sizeof(zeros);
	uint32_t said, sum = usp_crc32c(0, header, off);

	sum = usp_crc32c(sum, zeros, sizeof(zeros));
	sum = usp_crc32c(sum, header + behind, header_len - behind);
	memcpy(&said, header + off, sizeof(said));
	return ntohl(said) == sum;
}

/*
 * Check the TLVs from an offset to the end of a whole header: 0, -EPROTO if they are not valid,
 * -EBADMSG if the checksum is wrong.
 */
static int proxy_check_tlvs(const unsigned char *header, size_t header_len, size_t off)
{
	bool is_seen[UINT8_MAX + 1] = {false};

	while (off < header_len) {
		unsigned type = header[off];
		size_t len;

		if (header_len - off < PROXY_TLV_LEN)
			return -EPROTO;
		len = (size_t)header[off + 1] << 8 | header[off + 2];
		off += PROXY_TLV_LEN;
		if (len > header_len - off || !proxy_tlv_fits(type, len, is_seen[type]))
			return -EPROTO;
		if (type == PROXY_CRC32C && !proxy_is_sum_right(header, header_len, off))
			return -EBADMSG;
		is_seen[type] = true;
		off += len;
	}
	return 0;
}

/*
 * Return the offset of the TLVs. It is the end of the header if the length of the addresses is
 * unknown, or they are to be ignored.
 */
static size_t proxy_tlvs_off(const unsigned char *header, size_t header_len, const struct proxy_family *family)
{
	bool is_said = header[PROXY_COMMAND] == PROXY_PROXY && (family->family != AF_UNSPEC || !header[PROXY_FAMILY]);

	return is_said ? PROXY_FIXED_LEN + 2 * (family->host_len + family->port_len) : header_len;
}

static ssize_t proxy_parse_bytes(const unsigned char *bytes, size_t len, struct usp_proxy_addresses *ret_addresses)
{
	const struct proxy_family *family;
	const unsigned char *at;
	size_t header_len;
	int ret;

	if (len < PROXY_FIXED_LEN)
		return 0;
	family = proxy_family_by_code(bytes[PROXY_COMMAND], bytes[PROXY_FAMILY]);
	header_len = PROXY_FIXED_LEN + ((size_t)bytes[PROXY_LEN] << 8 | bytes[PROXY_LEN + 1]);
	if (!family || header_len < PROXY_FIXED_LEN + 2 * (family->host_len + family->port_len))
		return -EPROTO;
	if (header_len > USP_PROXY_HEADER_MAX)
		return -EMSGSIZE;
	if (len < header_len)
		return 0;
	ret = proxy_check_tlvs(bytes, header_len, proxy_tlvs_off(bytes, header_len, family));
	if (ret < 0)
		return ret;
	*ret_addresses = (struct usp_proxy_addresses){
		.is_known = family->family != AF_UNSPEC,
		.is_dgram = family->family != AF_UNSPEC && (bytes[PROXY_FAMILY] & 0xf) == PROXY_DGRAM,
		.source.ss_family = family->family,
		.dest.ss_family = family->family,
	};
	at = proxy_take(bytes + PROXY_FIXED_LEN, proxy_host(family, &ret_addresses->source), family->host_len);
	at = proxy_take(at, proxy_host(family, &ret_addresses->dest), family->host_len);
	at = proxy_take(at, proxy_port(family, &ret_addresses->source), family->port_len);
	proxy_take(at, proxy_port(family, &ret_addresses->dest), family->port_len);
	return (ssize_t)header_len;
}

static size_t proxy_format_bytes(const struct proxy_family *family, struct usp_proxy_addresses *addresses,
				 unsigned char *ret_bytes)
{
	size_t len = 2 * (family->host_len + family->port_len);
	unsigned transport = family->family == AF_UNSPEC ? 0 : addresses->is_dgram ? PROXY_DGRAM : PROXY_STREAM;
	unsigned char *at = ret_bytes;

	at = mempcpy(at, proxy_signature, sizeof(proxy_signature));
	/*
	 * HAProxy refuses a header without IP addresses unless it is LOCAL, which HAProxy itself
	 * sends then
	 */
	*at++ = family->family != AF_UNSPEC ? PROXY_PROXY : PROXY_LOCAL;
	*at++ = (unsigned char)((size_t)(family - proxy_families) << 4 | transport);
	*at++ = (unsigned char)(len >> 8);
	*at++ = (unsigned char)len;
	at = mempcpy(at, proxy_host(family, &addresses->source), family->host_len);
	at = mempcpy(at, proxy_host(family, &addresses->dest), family->host_len);
	at = mempcpy(at, proxy_port(family, &addresses->source), family->port_len);
	at = mempcpy(at, proxy_port(family, &addresses->dest), family->port_len);
	return (size_t)(at - ret_bytes);
}

/* --- Either -------------------------------------------------------------------------------------- */

ssize_t usp_proxy_parse(const void *bytes, size_t len, struct usp_proxy_addresses *ret_addresses)
{
	if (memcmp(bytes, proxy_line_start, usp_min(len, sizeof(proxy_line_start))) == 0)
		return proxy_parse_line(bytes, len, ret_addresses);
	if (memcmp(bytes, proxy_signature, usp_min(len, sizeof(proxy_signature))) == 0)
		return proxy_parse_bytes(bytes, len, ret_addresses);
	return -EPROTO;
}

static const struct proxy_family *proxy_family_of(const struct usp_proxy_addresses *addresses)
{
	size_t i = usp_array_len(proxy_families) - 1;

	if (!addresses->is_known || addresses->source.ss_family != addresses->dest.ss_family)
		return &proxy_families[PROXY_UNSPEC];
	while (i && proxy_families[i].family != addresses->source.ss_family)
		i--;
	return &proxy_families[i];
}

size_t usp_proxy_format(unsigned version, const struct usp_proxy_addresses *addresses,
			unsigned char ret_bytes[USP_PROXY_FORMAT_MAX])
{
	struct usp_proxy_addresses copy = *addresses;
	const struct proxy_family *family = proxy_family_of(addresses);

	assert(version == 1 || version == 2);
	return version == 1 ? proxy_format_line(family, &copy, (char *)ret_bytes)
			    : proxy_format_bytes(family, &copy, ret_bytes);
}
