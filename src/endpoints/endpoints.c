/* SPDX-License-Identifier: MIT */
/* endpoints - the list of endpoint types. */
#include "endpoints/endpoints.h"

#include <string.h>

#include "base/compiler.h"

static const struct usp_endpoint *const endpoints[] = {
	&usp_regular_endpoint,	  &usp_block_endpoint,	      &usp_chardev_endpoint, &usp_fifo_endpoint,
	&usp_tcp_endpoint,	  &usp_tcp_listen_endpoint,   &usp_unix_endpoint,    &usp_unix_listen_endpoint,
	&usp_vsock_endpoint,	  &usp_vsock_listen_endpoint, &usp_udp_endpoint,     &usp_udp_listen_endpoint,
	&usp_socket_endpoint,	  &usp_null_endpoint,	      &usp_zero_endpoint,    &usp_memory_endpoint,
	&usp_descriptor_endpoint, &usp_standard_endpoint,     &usp_cached_endpoint,  &usp_ring_endpoint,
	&usp_exec_endpoint,
};

const struct usp_endpoint *usp_endpoint_at(unsigned index)
{
	return index < usp_array_len(endpoints) ? endpoints[index] : NULL;
}

const struct usp_endpoint *usp_endpoint_named(const char *scheme, size_t len)
{
	for (unsigned i = 0; i < usp_array_len(endpoints); i++) {
		const char *own = endpoints[i]->scheme;

		if (endpoints[i]->open && own && strlen(own) == len && memcmp(own, scheme, len) == 0)
			return endpoints[i];
	}
	return NULL;
}

const struct usp_endpoint *usp_endpoint_of(mode_t type)
{
	for (unsigned i = 0; i < usp_array_len(endpoints); i++) {
		if (endpoints[i]->adopt && endpoints[i]->adopts == type)
			return endpoints[i];
	}
	return NULL;
}

bool usp_endpoint_has_option(const struct usp_endpoint *endpoint, const char *name, size_t len)
{
	for (const char *const *own = endpoint->options; own && *own; own++) {
		if (strlen(*own) == len && memcmp(*own, name, len) == 0)
			return true;
	}
	return false;
}

bool usp_endpoint_may_have_option(const struct usp_endpoint *endpoint, const char *name, size_t len)
{
	bool may = usp_endpoint_has_option(endpoint, name, len);

	for (unsigned i = 0; endpoint == &usp_regular_endpoint && i < usp_array_len(endpoints) && !may; i++)
		may = !endpoints[i]->scheme && usp_endpoint_has_option(endpoints[i], name, len);
	return may;
}
