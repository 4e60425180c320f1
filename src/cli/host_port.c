/* SPDX-License-Identifier: MIT */
/* host_port - find HOST:PORT where a scheme such as tcp: was forgotten. */
#include "host_port.h"
#include "cli.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <usplice/spec.h>

#define HOST_DIGITS "0123456789"
#define HOST_LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define HOST_PORT_MAX 65535

/* Return the length of what may be a host in front of a port, or 0. A time such as 12:30 has none. */
static size_t host_len(const char *text)
{
	size_t len = strspn(text, HOST_LETTERS HOST_DIGITS ".-");

	if (*text == '[') {
		len = strcspn(text, "]/");
		return text[len] == ']' ? len + 1 : 0;
	}
	return strspn(text, HOST_DIGITS) < len ? len : 0;
}

static bool host_port_is(const char *text)
{
	size_t host = host_len(text), digits;

	if (!host || text[host] != ':')
		return false;
	digits = strspn(text + host + 1, HOST_DIGITS);
	return digits > 0 && digits <= 5 && strtoul(text + host + 1, NULL, 10) <= HOST_PORT_MAX &&
	       (text[host + 1 + digits] == '\0' || text[host + 1 + digits] == ',');
}

/* Tell whether the text is no spec, or a path that is not there, with no scheme before it. */
static bool host_port_is_free(const char *text)
{
	struct usp_spec *spec;
	struct stat st;
	const char *path;
	bool is_free;

	if (usp_spec_parse(text, &spec, NULL) < 0)
		return true;
	path = usp_spec_path(spec);
	is_free = path && strncmp(text, path, strlen(path)) == 0 && lstat(path, &st) < 0;
	usp_spec_free(spec);
	return is_free;
}

static int host_port_refuse(const char *side, const char *text)
{
	if (!host_port_is(text) || !host_port_is_free(text))
		return CLI_DONE;
	message_say("%s %s: there is no such file: did you mean tcp:%s? (for a file, write ./%s)", side, text, text,
		    text);
	return CLI_USAGE;
}

int host_port_check(const char *source, char *const *sinks, unsigned nr_sinks)
{
	int code = host_port_refuse("source", source);

	for (unsigned i = 0; i < nr_sinks && code == CLI_DONE; i++)
		code = host_port_refuse("sink", sinks[i]);
	return code;
}
