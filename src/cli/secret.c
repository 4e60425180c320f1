/* SPDX-License-Identifier: MIT */
/* secret - read into memory that is wiped, and by no buffer of stdio. */
#include "secret.h"
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECRET_MAX ((size_t)64 << 10)

/* Read a descriptor to its end: 0 or -errno. */
static int secret_fill(struct secret *secret, int fd)
{
	ssize_t ret;

	secret->text = malloc(SECRET_MAX);
	if (!secret->text)
		return -ENOMEM;
	while (secret->len < SECRET_MAX) {
		ret = read(fd, secret->text + secret->len, SECRET_MAX - secret->len);
		if (ret == 0)
			return 0;
		if (ret < 0 && errno != EINTR)
			return -errno;
		secret->len += ret > 0 ? (size_t)ret : 0;
	}
	return -EFBIG;
}

int secret_read(struct secret *secret, const char *option)
{
	int fd, error;

	if (!secret->path)
		return CLI_DONE;
	fd = open(secret->path, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	error = fd < 0 ? -errno : secret_fill(secret, fd);
	if (fd >= 0)
		close(fd);
	if (error == 0)
		return CLI_DONE;
	message_say("%s %s: %s", option, secret->path, strerror(-error));
	return CLI_USAGE;
}

void secret_wipe(struct secret *secret)
{
	if (secret->text)
		explicit_bzero(secret->text, SECRET_MAX);
	free(secret->text);
	secret->text = NULL;
}
