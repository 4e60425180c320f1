/* SPDX-License-Identifier: MIT */
/* proxy - the header of the PROXY protocol, versions 1 and 2: who the client really is. */
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

#define PROXY_LINE_MAX 107 /* of version 1, with its CRLF */
#define PROXY_FIXED_LEN 16 /* of version 2: signature, command, family, length of the rest */
#define PROXY_COMMAND 12   /* where these stand */
#define PROXY_FAMILY 13
#define PROXY_LEN 14
#define PROXY_LOCAL 0x20 /* the commands, with the version in the upper half */
#define PROXY_PROXY 0x21
#define PROXY_STREAM 0x1 /* the lower half of a family; the upper half is an index of proxy_families */
#define PROXY_DGRAM 0x2

static const char proxy_line_start[6] = "PROXY ";
static const unsigned char proxy_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

/* Version 2 has source and destination host, then both ports, with the bytes that they have in these structs. */
struct proxy_family {
	sa_family_t family;
	const char *name; /* in version 1; NULL: it cannot say this */
	size_t host_off, host_len;
	size_t port_off, port_len;
};

static const struct proxy_family proxy_families[] = {
	{.family = AF_UNSPEC},
	{.family = AF_INET,
	 .name = "TCP4",
	 .host_off = offsetof(struct sockaddr_in, sin_addr),
	 .host_len = sizeof(struct in_addr),
	 .port_off = offsetof(struct sockaddr_in, sin_port),
	 .port_len = sizeof(in_port_t)},
	{.family = AF_INET6,
	 .name = "TCP6",
	 .host_off = offsetof(struct sockaddr_in6, sin6_addr),
	 .host_len = sizeof(struct in6_addr),
	 .port_off = offsetof(struct sockaddr_in6, sin6_port),
	 .port_len = sizeof(in_port_t)},
	{.family = AF_UNIX,
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

static struct usp_proxy_addresses proxy_addresses_of(const struct proxy_family *family)
{
	return (struct usp_proxy_addresses){
		.is_known = family->family != AF_UNSPEC,
		.source.ss_family = family->family,
		.dest.ss_family = family->family,
	};
}

/* --- Version 1: a line of text ------------------------------------------------------------------- */

struct proxy_line {
	const char *at, *end;
};

/* The next word; line->at is at the space in front of it, or at the end. false if there is none that could be right. */
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

static bool proxy_take_host(struct proxy_line *line, const struct proxy_family *family,
			    struct sockaddr_storage *ret_address)
{
	char word[INET6_ADDRSTRLEN];

	return proxy_take_word(line, word) && inet_pton(family->family, word, proxy_host(family, ret_address)) == 1;
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

/* What stands behind UNKNOWN is to be ignored, whatever it is. */
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
	*ret_addresses = proxy_addresses_of(family);
	return proxy_take_host(line, family, &ret_addresses->source) &&
	       proxy_take_host(line, family, &ret_addresses->dest) &&
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

	if (!family->name)
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
 * A connection of the proxy itself has no addresses, whatever it says about a family. A family or a transport that is
 * unspecified leaves them unknown. NULL for what has no meaning.
 */
static const struct proxy_family *proxy_family_by_code(unsigned command, unsigned code)
{
	unsigned transport = code & 0xf, index = code >> 4;

	if (command == PROXY_LOCAL)
		return &proxy_families[0];
	if (command != PROXY_PROXY || transport > PROXY_DGRAM || index >= usp_array_len(proxy_families))
		return NULL;
	return &proxy_families[transport ? index : 0];
}

/* Copy the next len bytes of a header: what stands behind them. */
static const unsigned char *proxy_take(const unsigned char *at, void *to, size_t len)
{
	memcpy(to, at, len);
	return at + len;
}

static ssize_t proxy_parse_bytes(const unsigned char *bytes, size_t len, struct usp_proxy_addresses *ret_addresses)
{
	const struct proxy_family *family;
	const unsigned char *at;
	size_t header_len;

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
	*ret_addresses = proxy_addresses_of(family);
	at = proxy_take(bytes + PROXY_FIXED_LEN, proxy_host(family, &ret_addresses->source), family->host_len);
	at = proxy_take(at, proxy_host(family, &ret_addresses->dest), family->host_len);
	at = proxy_take(at, proxy_port(family, &ret_addresses->source), family->port_len);
	proxy_take(at, proxy_port(family, &ret_addresses->dest), family->port_len);
	return (ssize_t)header_len; /* with what follows the addresses: extensions, of which none changes who it is */
}

static size_t proxy_format_bytes(const struct proxy_family *family, struct usp_proxy_addresses *addresses,
				 unsigned char *ret_bytes)
{
	size_t len = 2 * (family->host_len + family->port_len);
	unsigned char *at = ret_bytes;

	at = mempcpy(at, proxy_signature, sizeof(proxy_signature));
	*at++ = addresses->is_known ? PROXY_PROXY : PROXY_LOCAL;
	*at++ = (unsigned char)(family - proxy_families) << 4 | (family->family != AF_UNSPEC ? PROXY_STREAM : 0);
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
		return &proxy_families[0];
	while (i && proxy_families[i].family != addresses->source.ss_family)
		i--;
	return &proxy_families[i];
}

size_t usp_proxy_format(unsigned version, const struct usp_proxy_addresses *addresses,
			unsigned char ret_bytes[USP_PROXY_HEADER_MAX])
{
	struct usp_proxy_addresses copy = *addresses;
	const struct proxy_family *family = proxy_family_of(addresses);

	assert(version == 1 || version == 2);
	return version == 1 ? proxy_format_line(family, &copy, (char *)ret_bytes)
			    : proxy_format_bytes(family, &copy, ret_bytes);
}
