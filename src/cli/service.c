/* SPDX-License-Identifier: MIT */
/* service - what a service manager such as systemd passes to a process, and what it expects from it. */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SERVICE_FIRST_FD 3
#define SERVICE_NOTIFY_S 1
#define SERVICE_NS_PER_US 1000

/* Read a variable that is a plain decimal number of at most max. */
static bool service_number(const char *variable, uint64_t max, uint64_t *ret_value)
{
	const char *text = getenv(variable);
	uint64_t value = 0;

	if (!text || *text == '\0')
		return false;
	for (; *text != '\0'; text++) {
		unsigned digit = (unsigned)(*text - '0');

		if (digit > 9 || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*ret_value = value;
	return true;
}

/*
 * Tell whether a variable with a process number names this process: variables are inherited further
 * than they are meant.
 */
static bool service_is_for_us(const char *variable)
{
	uint64_t pid;

	return service_number(variable, INT_MAX, &pid) && pid == (uint64_t)getpid();
}

/* --- Descriptors ---------------------------------------------------------------------------------- */

static int service_close_on_exec(int nr_fds)
{
	int fd;

	for (fd = SERVICE_FIRST_FD; fd < SERVICE_FIRST_FD + nr_fds; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0)
			return -errno;
	}
	return 0;
}

/*
 * Allocate the table, and behind it the names, which are given as "name:name:name", in one piece of
 * memory.
 */
static int service_name_fds(int nr_fds, const char *names, struct service_fd **ret_fds)
{
	size_t table_len = (size_t)nr_fds * sizeof(struct service_fd);
	struct service_fd *fds = malloc(table_len + (names ? strlen(names) + 1 : 0));
	char *rest;
	int i;

	if (!fds)
		return -ENOMEM;
	rest = names ? strcpy((char *)fds + table_len, names) : NULL;
	for (i = 0; i < nr_fds && (rest || !names); i++)
		fds[i] = (struct service_fd){
			.fd = SERVICE_FIRST_FD + i,
			.name = names ? strsep(&rest, ":") : "unknown",
		};
	if (i < nr_fds || rest) {
		free(fds);
		return -EINVAL;
	}
	*ret_fds = fds;
	return nr_fds;
}

static int service_find_fds(struct service_fd **ret_fds)
{
	uint64_t nr_fds;
	int ret;

	if (!service_is_for_us("LISTEN_PID") || !getenv("LISTEN_FDS"))
		return 0;
	if (!service_number("LISTEN_FDS", INT_MAX - SERVICE_FIRST_FD, &nr_fds))
		return -EINVAL;
	if (nr_fds == 0)
		return 0;
	ret = service_close_on_exec((int)nr_fds);
	return ret < 0 ? ret : service_name_fds((int)nr_fds, getenv("LISTEN_FDNAMES"), ret_fds);
}

int service_take_fds(struct service_fd **ret_fds)
{
	struct service_fd *fds = NULL;
	int ret = service_find_fds(&fds);

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (ret >= 0)
		*ret_fds = fds;
	return ret;
}

/* --- News ------------------------------------------------------------------------------------------ */

/* Read a path, or an abstract name with '@' in place of its zero byte. */
static int service_address(const char *text, struct sockaddr_un *ret_address, socklen_t *ret_len)
{
	size_t len = strlen(text);

	if ((*text != '/' && *text != '@') || len >= sizeof(ret_address->sun_path))
		return -EINVAL;
	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(ret_address->sun_path, text, len);
	if (*text == '@')
		ret_address->sun_path[0] = '\0';
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return 0;
}

static int service_fd = -1; /* kept by begin; without it each message makes one */

static int service_open(void)
{
	const struct timeval timeout = {.tv_sec = SERVICE_NOTIFY_S};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	return fd;
}

int service_begin(void)
{
	int fd;

	if (!getenv("NOTIFY_SOCKET") || service_fd >= 0)
		return 0;
	fd = service_open();
	if (fd < 0)
		return fd;
	service_fd = fd;
	return 0;
}

static int service_send(const char *socket_name, const char *message, size_t len, int flags)
{
	struct sockaddr_un address;
	socklen_t address_len;
	int fd = service_fd, ret;

	ret = service_address(socket_name, &address, &address_len);
	if (ret < 0)
		return ret;
	if (fd < 0)
		fd = service_open();
	if (fd < 0)
		return fd;
	if (sendto(fd, message, len, MSG_NOSIGNAL | flags, (const struct sockaddr *)&address, address_len) < 0)
		ret = -errno;
	if (fd != service_fd)
		close(fd);
	return ret;
}

static int service_say(int flags, const char *format, va_list args)
{
	const char *socket_name = getenv("NOTIFY_SOCKET");
	char *message;
	int len, ret;

	if (!socket_name)
		return 0;
	len = vasprintf(&message, format, args);
	if (len < 0)
		return -ENOMEM;
	ret = service_send(socket_name, message, (size_t)len, flags);
	free(message);
	return ret;
}

int service_notify(const char *format, ...)
{
	va_list args;
	int ret;

	va_start(args, format);
	ret = service_say(0, format, args);
	va_end(args);
	return ret;
}

int service_try_notify(const char *format, ...)
{
	va_list args;
	int ret;

	va_start(args, format);
	ret = service_say(MSG_DONTWAIT, format, args);
	va_end(args);
	return ret;
}

uint64_t service_watchdog_ns(void)
{
	uint64_t timeout_us;

	if (getenv("WATCHDOG_PID") && !service_is_for_us("WATCHDOG_PID"))
		return 0;
	if (!service_number("WATCHDOG_USEC", UINT64_MAX / SERVICE_NS_PER_US, &timeout_us))
		return 0;
	return timeout_us * SERVICE_NS_PER_US / 2;
}

/* The variable is "DEVICE:INODE". A child with another standard error inherits it, too. */
bool service_is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char ours[64];
	struct stat st;

	if (!stream || fstat(fd, &st) < 0)
		return false;
	snprintf(ours, sizeof(ours), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return strcmp(stream, ours) == 0;
}
