/* SPDX-License-Identifier: MIT */
/*
 * fuzz_proxy - any bytes are a PROXY header, its beginning, or refused, and more bytes never change an answer that was
 * given; the addresses of a header can be written down again in either version, and then mean the same.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "relay/proxy.h"

#define PREFIXES_MAX 600 /* past the addresses and a few TLVs */

static void proxy_check_result(ssize_t ret, size_t len)
{
	FUZZ_CHECK(ret == -EPROTO || ret == -EMSGSIZE || ret == -EBADMSG ||
		   (ret >= 0 && (size_t)ret <= len && ret <= USP_PROXY_HEADER_MAX));
}

static bool proxy_is_same(const struct usp_proxy_addresses *a, const struct usp_proxy_addresses *b)
{
	return a->is_known == b->is_known && a->is_dgram == b->is_dgram &&
	       memcmp(&a->source, &b->source, sizeof(a->source)) == 0 &&
	       memcmp(&a->dest, &b->dest, sizeof(a->dest)) == 0;
}

/* Bytes come in pieces: each beginning needs more, or gives the answer of the whole. */
static void proxy_check_prefixes(const uint8_t *data, size_t len, ssize_t whole)
{
	for (size_t prefix = 0; prefix < len && prefix < PREFIXES_MAX; prefix++) {
		struct usp_proxy_addresses addresses;
		ssize_t ret = usp_proxy_parse(data, prefix, &addresses);

		if (whole > 0)
			FUZZ_CHECK(ret == ((size_t)whole <= prefix ? whole : 0));
		else
			FUZZ_CHECK(ret == 0 || ret == whole);
	}
}

static void proxy_check_families(const struct usp_proxy_addresses *addresses)
{
	sa_family_t family = addresses->source.ss_family;

	FUZZ_CHECK(family == addresses->dest.ss_family);
	FUZZ_CHECK(addresses->is_known ? family == AF_INET || family == AF_INET6 || family == AF_UNIX
				       : family == AF_UNSPEC);
}

static void proxy_check_round_trip(unsigned version, const struct usp_proxy_addresses *addresses)
{
	static const struct usp_proxy_addresses unknown = {.is_known = false};
	bool is_lost = version == 1 && (addresses->source.ss_family == AF_UNIX || addresses->is_dgram);
	unsigned char header[USP_PROXY_FORMAT_MAX];
	struct usp_proxy_addresses again;
	size_t len = usp_proxy_format(version, addresses, header);

	FUZZ_CHECK(len <= sizeof(header));
	FUZZ_CHECK(usp_proxy_parse(header, len, &again) == (ssize_t)len);
	FUZZ_CHECK(proxy_is_same(&again, is_lost ? &unknown : addresses));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct usp_proxy_addresses addresses, mark;
	ssize_t ret;

	memset(&mark, 0xa5, sizeof(mark));
	memcpy(&addresses, &mark, sizeof(mark));
	ret = usp_proxy_parse(data, len, &addresses);
	proxy_check_result(ret, len);
	proxy_check_prefixes(data, len, ret);
	if (ret <= 0) {
		FUZZ_CHECK(memcmp(&addresses, &mark, sizeof(mark)) == 0);
		return 0;
	}
	proxy_check_families(&addresses);
	proxy_check_round_trip(1, &addresses);
	proxy_check_round_trip(2, &addresses);
	return 0;
}
