/* SPDX-License-Identifier: MIT */
/* host - the host that a request names, and whether it is this server. */
#include "metrics/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static const char host_local[] = "localhost", host_below_local[] = ".localhost";

/*
 * Copy a name: letters, digits, '-' and '_', in parts with dots between them. Does not depend on
 * the locale.
 */
static bool host_copy_name(const char *text, size_t len, char ret_name[USP_HOST_NAME_MAX])
{
	if (len > 0 && text[len - 1] == '.')
		len--;
	if (!len || len >= USP_HOST_NAME_MAX)
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return false;
		if (c == '.' && (i == 0 || text[i - 1] == '.'))
			return false;
		ret_name[i] = c;
	}
	ret_name[len] = '\0';
	return ret_name[len - 1] != '.';
}

int usp_host_name(const char *text, char ret_name[USP_HOST_NAME_MAX], const char **ret_why)
{
	if (host_copy_name(text, strlen(text), ret_name))
		return 0;
	*ret_why = "this is no name of a host; it has no port and no scheme";
	return -EINVAL;
}

/* Return the length without ":PORT", or 0 if the text after the colon is not a port. */
static size_t host_len_without_port(const char *value, size_t len)
{
	size_t at = len;

	while (at > 0 && value[at - 1] >= '0' && value[at - 1] <= '9')
		at--;
	if (at > 0 && value[at - 1] == ':')
		return at - 1;
	return memchr(value, ':', len) && value[len - 1] != ']' ? 0 : len;
}

/* "[::1]" */
static bool host_is_ipv6(const char *value, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (len < strlen("[]") || value[0] != '[' || value[len - 1] != ']' || len - 2 >= sizeof(text))
		return false;
	*(char *)mempcpy(text, value + 1, len - 2) = '\0';
	return strlen(text) == len - 2 && inet_pton(AF_INET6, text, &address) == 1;
}

static bool host_ends_below_local(const char *name)
{
	size_t len = strlen(name), end_len = strlen(host_below_local);

	return len > end_len && strcmp(name + len - end_len, host_below_local) == 0;
}

bool usp_host_is_ours(const char *value, size_t len, char *const *names, unsigned nr_names)
{
	char name[USP_HOST_NAME_MAX];
	struct in_addr address;

	len = host_len_without_port(value, len);
	if (host_is_ipv6(value, len))
		return true;
	if (!host_copy_name(value, len, name))
		return false;
	if (inet_pton(AF_INET, name, &address) == 1 || strcmp(name, host_local) == 0 || host_ends_below_local(name))
		return true;
	for (unsigned i = 0; i < nr_names; i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}
