/* SPDX-License-Identifier: MIT */
/*
 * fit - whether a relay, with its options and its listeners, may connect to an address.
 *
 * A relay that connects to itself accepts its own connection as the next client, and so on, until
 * descriptors are short. One address has many names, and a listener at all addresses has those of
 * the machine, which change. So each address is checked when it is used. The ports are compared
 * first, which costs nothing if they differ.
 */
#include "relay/fit.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "relay/door.h"
#include "relay/sockaddr.h"
#include "relay/worker.h"

/* --- Whether an address is ours -------------------------------------------------------------------- */

static in_port_t fit_port(const struct sockaddr_storage *address)
{
	return address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
					      : ((const struct sockaddr_in *)address)->sin_port;
}

static bool fit_is_any(const struct sockaddr_storage *address)
{
	if (address->ss_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
	return ((const struct sockaddr_in *)address)->sin_addr.s_addr == htonl(INADDR_ANY);
}

/* Name the loopback address: to connect to the unspecified address means this host. */
static void fit_name_loopback(struct sockaddr_storage *address)
{
	if (!fit_is_any(address))
		return;
	if (address->ss_family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_addr = in6addr_loopback;
	else
		((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

static bool fit_is_same_host(const struct sockaddr_storage *one, const struct sockaddr_storage *other)
{
	if (one->ss_family != other->ss_family)
		return false;
	if (one->ss_family == AF_INET6)
		return IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)one)->sin6_addr,
					  &((const struct sockaddr_in6 *)other)->sin6_addr) &&
		       ((const struct sockaddr_in6 *)one)->sin6_scope_id ==
			       ((const struct sockaddr_in6 *)other)->sin6_scope_id;
	return ((const struct sockaddr_in *)one)->sin_addr.s_addr ==
	       ((const struct sockaddr_in *)other)->sin_addr.s_addr;
}

static bool fit_can_bind(const struct sockaddr_storage *host)
{
	int fd = usp_sys_socket(host->ss_family, SOCK_DGRAM, 0);
	bool can = fd >= 0 && usp_sys_bind(fd, (const struct sockaddr *)host, sizeof(*host)) == 0;

	usp_sys_close(fd);
	return can;
}

/* Tell whether a packet to the address would have that address as its source, as for one of this machine. */
static bool fit_answers_from(const struct sockaddr_storage *host)
{
	int fd = usp_sys_socket(host->ss_family, SOCK_DGRAM, 0);
	struct sockaddr_storage source = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(source);
	bool is_same = fd >= 0 && usp_sys_connect(fd, (const struct sockaddr *)host, sizeof(*host)) == 0 &&
		       usp_sys_getsockname(fd, (struct sockaddr *)&source, &len) == 0 &&
		       fit_is_same_host(&source, host);

	usp_sys_close(fd);
	return is_same;
}

/*
 * Tell whether this machine has the address: then a socket can be bound to it. With
 * ip_nonlocal_bind a socket can be bound to any address, also to one that no machine has. In that
 * case the source address of a packet to it decides.
 */
static bool fit_is_local(const struct sockaddr_storage *host)
{
	struct sockaddr_storage bare = *host, nowhere = {.ss_family = host->ss_family};

	if (host->ss_family == AF_INET6) {
		((struct sockaddr_in6 *)&bare)->sin6_port = 0;
		memset(&((struct sockaddr_in6 *)&nowhere)->sin6_addr, 1, sizeof(struct in6_addr)); /* 101:101:... */
	} else {
		((struct sockaddr_in *)&bare)->sin_port = 0;
		((struct sockaddr_in *)&nowhere)->sin_addr.s_addr = htonl(INADDR_BROADCAST - 1); /* 255.255.255.254 */
	}
	return fit_can_bind(&bare) && (!fit_can_bind(&nowhere) || fit_answers_from(host));
}

static bool fit_listens_at(const struct usp_door *door, const struct sockaddr_storage *to)
{
	const struct sockaddr_storage *own = &door->address;

	if (fit_port(own) != fit_port(to) || door->is_elsewhere)
		return false;
	if (!fit_is_any(own))
		return fit_is_same_host(own, to);
	return (own->ss_family == to->ss_family || door->has_both_families) && fit_is_local(to);
}

static bool fit_is_self(const struct usp_relay *relay, const struct addrinfo *at)
{
	struct sockaddr_storage to = {.ss_family = AF_UNSPEC};
	bool is_unix = at->ai_family == AF_UNIX;

	if (!is_unix) {
		memcpy(&to, at->ai_addr, at->ai_addrlen);
		usp_sockaddr_unmap(&to);
		fit_name_loopback(&to);
	}
	for (unsigned i = 0; i < relay->nr_listeners; i++) {
		const struct usp_door *door = &relay->listeners[i];

		if (relay->listener_is_tcp[i] == is_unix)
			continue;
		if (is_unix ? usp_name_is_at(&door->name, ((const struct sockaddr_un *)at->ai_addr)->sun_path)
			    : fit_listens_at(door, &to))
			return true;
	}
	return false;
}

/* --- The calls --------------------------------------------------------------------------------------- */

static bool fit_has_source(const struct addrinfo *source, int family)
{
	while (source && source->ai_family != family)
		source = source->ai_next;
	return source;
}

int usp_fit_address(const struct usp_relay *relay, const struct addrinfo *at)
{
	if ((relay->source && !fit_has_source(relay->source, at->ai_family)) ||
	    (relay->params.mark && at->ai_family == AF_UNIX))
		return -EAFNOSUPPORT;
	return fit_is_self(relay, at) ? -ELOOP : 0;
}

int usp_fit_target(const struct usp_relay *relay, const struct addrinfo *list, const char **ret_why)
{
	bool is_unix = list && list->ai_family == AF_UNIX;
	int ret = 0;

	for (; list; list = list->ai_next) {
		int error = usp_fit_address(relay, list);

		if (error == 0)
			return 0;
		ret = ret == -ELOOP ? ret : error;
	}
	if (ret == -ELOOP)
		*ret_why = "this relay listens there itself";
	else if (ret < 0 && !is_unix)
		*ret_why = "the source address is of another family";
	else if (ret < 0)
		*ret_why = relay->source ? "a UNIX socket is not reached from a source address"
					 : "what goes to a UNIX socket cannot be marked";
	return ret;
}
