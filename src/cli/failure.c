/* SPDX-License-Identifier: MIT */
/* failure - errors as words for programs: in reports, beside the sentences for people. */
#include "failure.h"
#include "json.h"

#include <errno.h>

#define FAILURE(name, word)       \
	{                         \
		name, #name, word \
	}

static const struct {
	int error;
	const char *code, *kind;
} failures[] = {
	FAILURE(EACCES, "not-permitted"),
	FAILURE(EPERM, "not-permitted"),
	FAILURE(ENOENT, "not-found"),
	FAILURE(ENOTDIR, "not-found"),
	FAILURE(ELOOP, "not-found"),
	FAILURE(ENODEV, "not-found"),
	FAILURE(ENXIO, "not-found"),
	FAILURE(EEXIST, "exists"),
	FAILURE(ENAMETOOLONG, "invalid"),
	FAILURE(EINVAL, "invalid"),
	FAILURE(EISDIR, "invalid"),
	FAILURE(ESPIPE, "invalid"),
	FAILURE(EBADF, "invalid"),
	FAILURE(EOPNOTSUPP, "not-supported"),
	FAILURE(ENOSYS, "not-supported"),
	FAILURE(ENOSPC, "no-space"),
	FAILURE(EDQUOT, "no-space"),
	FAILURE(EFBIG, "too-large"),
	FAILURE(EMSGSIZE, "too-large"),
	FAILURE(EROFS, "read-only"),
	FAILURE(EBUSY, "busy"),
	FAILURE(ETXTBSY, "busy"),
	FAILURE(EADDRINUSE, "busy"),
	FAILURE(EADDRNOTAVAIL, "unreachable"),
	FAILURE(EHOSTUNREACH, "unreachable"),
	FAILURE(ENETUNREACH, "unreachable"),
	FAILURE(ENETDOWN, "unreachable"),
	FAILURE(EHOSTDOWN, "unreachable"),
	FAILURE(ECONNREFUSED, "refused"),
	FAILURE(EPIPE, "disconnected"),
	FAILURE(ECONNRESET, "disconnected"),
	FAILURE(ECONNABORTED, "disconnected"),
	FAILURE(ENOTCONN, "disconnected"),
	FAILURE(ESTALE, "disconnected"),
	FAILURE(ETIMEDOUT, "timed-out"),
	FAILURE(EIO, "device"),
	FAILURE(EREMOTEIO, "device"),
	FAILURE(ENOMEDIUM, "device"),
	FAILURE(EBADMSG, "damaged"),
	FAILURE(EILSEQ, "damaged"),
	FAILURE(EUCLEAN, "damaged"),
	FAILURE(EBADR, "command"), /* USP_ECOMMAND */
	FAILURE(ENODATA, "cut-short"),
	FAILURE(ENOKEY, "no-key"),
	FAILURE(EKEYREJECTED, "no-key"),
	FAILURE(ENOMEM, "shortage"),
	FAILURE(EMFILE, "shortage"),
	FAILURE(ENFILE, "shortage"),
	FAILURE(EAGAIN, "shortage"),
	FAILURE(ENOBUFS, "shortage"),
	FAILURE(EINTR, "stopped"),
	FAILURE(ECANCELED, "stopped"),
};

void failure_json(FILE *out, int error)
{
	const char *code = NULL, *kind = error < 0 ? "other" : NULL;
	char number[sizeof("E2147483647")];
	size_t i;

	if (error < 0) {
		snprintf(number, sizeof(number), "E%u", (unsigned)-error);
		code = number;
	}
	for (i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		if (failures[i].error == -error) {
			code = failures[i].code;
			kind = failures[i].kind;
		}
	}
	fputs("\"code\":", out);
	json_put(out, code);
	fputs(",\"kind\":", out);
	json_put(out, kind);
}
