/* SPDX-License-Identifier: MIT */
/* addr - parse the socket addresses that a user writes, and write them. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h> /* needs the lines above */

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/lookup.h"

#define ADDR_PORT_MAX 65535
#define ADDR_CID_LOCAL 1 /* VMADDR_CID_LOCAL, newer than the oldest supported headers */

static int addr_fail(int error, const char *why, const char **ret_why)
{
	*ret_why = why;
	return error;
}

struct addr_words {
	char *host; /* NULL if left out */
	char *port;
	bool is_numeric; /* the host is in brackets */
};

/* Split text, in place, at the colon before the port. */
static int addr_split(char *text, bool is_passive, struct addr_words *ret_words, const char **ret_why)
{
	char *colon = strrchr(text, ':');

	if (!colon && (!is_passive || strpbrk(text, "./"))) /* no service has such a name, but a host or a path may */
		return addr_fail(-EINVAL, "the address needs a port: HOST:PORT", ret_why);
	*ret_words = (struct addr_words){.port = colon ? colon + 1 : text};
	if (!colon)
		return 0;
	if (colon == text)
		return is_passive ? 0 : addr_fail(-EINVAL, "the address needs a host: HOST:PORT", ret_why);
	*colon = '\0';
	ret_words->is_numeric = *text == '[' && colon[-1] == ']';
	ret_words->host = text;
	if (ret_words->is_numeric) {
		ret_words->host++;
		colon[-1] = '\0';
	} else if (strchr(text, ':')) {
		return addr_fail(-EINVAL, "an IPv6 address needs brackets: [::1]:PORT", ret_why);
	}
	return 0;
}

/* getaddrinfo takes any number as a port and cuts it to 16 bits. */
static int addr_check_port(const char *port, bool is_passive, const char **ret_why)
{
	unsigned value = 0;

	if (!*port)
		return addr_fail(-EINVAL, "the port is missing", ret_why);
	if (port[strspn(port, "0123456789")])
		return 0; /* the name of a service */
	for (; *port; port++) {
		value = value * 10 + (unsigned)(*port - '0');
		if (value > ADDR_PORT_MAX)
			return addr_fail(-EINVAL, "the port is larger than 65535", ret_why);
	}
	return value || is_passive ? 0 : addr_fail(-EINVAL, "nobody can be reached at port 0", ret_why);
}

/* Parse text into words, which point into *ret_copy. The caller frees the copy; on failure there is none. */
static int addr_parse(const char *text, bool is_passive, char **ret_copy, struct addr_words *ret_words,
		      const char **ret_why)
{
	char *copy = usp_alloc_string(text);
	int ret;

	if (!copy)
		return -ENOMEM;
	ret = addr_split(copy, is_passive, ret_words, ret_why);
	if (ret == 0)
		ret = addr_check_port(ret_words->port, is_passive, ret_why);
	if (ret < 0)
		usp_free(copy);
	else
		*ret_copy = copy;
	return ret;
}

static struct addrinfo addr_hints(const struct addr_words *words, int type, bool is_passive)
{
	return (struct addrinfo){
		.ai_socktype = type,
		.ai_flags = (is_passive ? AI_PASSIVE : 0) | (words->is_numeric ? AI_NUMERICHOST : 0),
	};
}

int usp_addr_resolve(const char *text, int type, bool is_passive, uint64_t give_up_ns, struct addrinfo **ret_list,
		     const char **ret_why)
{
	struct addr_words words;
	char *copy;
	int ret = addr_parse(text, is_passive, &copy, &words, ret_why);

	if (ret < 0)
		return ret;
	if (ret_list) {
		bool is_loopback =
			is_passive && type == SOCK_STREAM && words.host && strcmp(words.host, "localhost") == 0;
		const struct addrinfo hints = addr_hints(&words, type, is_passive && !is_loopback);

		ret = usp_lookup(is_loopback ? NULL : words.host, words.port, &hints, give_up_ns, ret_list, ret_why);
	}
	usp_free(copy);
	return ret;
}

int usp_addr_begin(const char *text, int type, struct addrinfo **ret_list, struct usp_lookup **ret_lookup,
		   const char **ret_why)
{
	struct addr_words words;
	struct addrinfo hints;
	char *copy;
	int ret = addr_parse(text, false, &copy, &words, ret_why);

	if (ret < 0)
		return ret;
	hints = addr_hints(&words, type, false);
	ret = usp_lookup_begin(words.host, words.port, &hints, ret_list, ret_lookup, ret_why);
	usp_free(copy);
	return ret;
}

/* Parse a number of 32 bits with no sign: true if it is one. */
static bool addr_parse_u32(const char *text, size_t len, uint32_t *ret_value)
{
	uint64_t value = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (uint64_t)(text[i] - '0');
		if (value > UINT32_MAX)
			return false;
	}
	*ret_value = (uint32_t)value;
	return len;
}

static bool addr_parse_cid(const char *text, size_t len, uint32_t *ret_cid)
{
	static const struct {
		const char *name;
		uint32_t cid;
	} names[] = {
		{"any", VMADDR_CID_ANY},
		{"hypervisor", VMADDR_CID_HYPERVISOR},
		{"local", ADDR_CID_LOCAL},
		{"host", VMADDR_CID_HOST},
	};

	for (unsigned i = 0; i < usp_array_len(names); i++) {
		*ret_cid = names[i].cid;
		if (strlen(names[i].name) == len && memcmp(names[i].name, text, len) == 0)
			return true;
	}
	return addr_parse_u32(text, len, ret_cid);
}

int usp_addr_of_vsock(const char *text, bool is_passive, struct sockaddr_vm *ret_addr, const char **ret_why)
{
	const char *colon = strchr(text, ':'), *port = colon ? colon + 1 : text;

	*ret_addr = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY};
	if (!colon && !is_passive)
		return addr_fail(-EINVAL, "the address needs a CID and a port: CID:PORT", ret_why);
	if (colon && !addr_parse_cid(text, (size_t)(colon - text), &ret_addr->svm_cid))
		return addr_fail(-EINVAL, "the CID is a number, or any, hypervisor, local or host", ret_why);
	if (!is_passive && ret_addr->svm_cid == VMADDR_CID_ANY)
		return addr_fail(-EINVAL, "nobody can be reached at any CID", ret_why);
	if (!addr_parse_u32(port, strlen(port), &ret_addr->svm_port) || ret_addr->svm_port == VMADDR_PORT_ANY)
		return addr_fail(-EINVAL, "the port is a number up to 4294967294", ret_why);
	if (ret_addr->svm_port == 0 && !is_passive)
		return addr_fail(-EINVAL, "nobody can be reached at port 0", ret_why);
	if (ret_addr->svm_port == 0)
		ret_addr->svm_port = VMADDR_PORT_ANY;
	return 0;
}

int usp_addr_of_path(const char *path, struct sockaddr_un *ret_addr)
{
	size_t len = strlen(path);

	if (!len)
		return -EINVAL;
	if (len >= sizeof(ret_addr->sun_path))
		return -ENAMETOOLONG;
	*ret_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_addr->sun_path, path, len);
	return 0;
}

/* --- To text ------------------------------------------------------------------------------------------ */

static size_t addr_print_path(const struct sockaddr_un *address, socklen_t address_len, char *ret_text, size_t len)
{
	size_t path_len = address_len > offsetof(struct sockaddr_un, sun_path)
				  ? address_len - offsetof(struct sockaddr_un, sun_path)
				  : 0;
	const char *path = address->sun_path;
	bool is_abstract = path_len && !path[0];

	if (is_abstract) {
		path++;
		path_len--;
	}
	return (size_t)snprintf(ret_text, len, "unix:%s%.*s", is_abstract ? "@" : "", (int)strnlen(path, path_len),
				path);
}

size_t usp_addr_print(const struct sockaddr *address, socklen_t address_len, char *ret_text, size_t len)
{
	char host[INET6_ADDRSTRLEN];

	if (address->sa_family == AF_UNIX)
		return addr_print_path((const struct sockaddr_un *)address, address_len, ret_text, len);
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)address;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		return (size_t)snprintf(ret_text, len, "%s:%u", host, ntohs(in->sin_port));
	}
	if (address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		return (size_t)snprintf(ret_text, len, "[%s]:%u", host, ntohs(in6->sin6_port));
	}
	if (address->sa_family == AF_VSOCK) {
		const struct sockaddr_vm *vm = (const struct sockaddr_vm *)address;

		if (vm->svm_cid == VMADDR_CID_ANY)
			return (size_t)snprintf(ret_text, len, "vsock:any:%u", vm->svm_port);
		return (size_t)snprintf(ret_text, len, "vsock:%u:%u", vm->svm_cid, vm->svm_port);
	}
	return (size_t)snprintf(ret_text, len, "unknown");
}
