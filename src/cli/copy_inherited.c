/* SPDX-License-Identifier: MIT */
/*
 * copy_inherited - descriptors that the command was started with, and that are named by their
 * numbers.
 *
 * A file of the library closes its descriptor. Some descriptors are needed again: standard error,
 * for messages, and a socket or terminal that is both source and sink. The file then gets a second
 * descriptor of the same description, and closes that.
 */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define INHERITED_SPEC_MAX 16

int copy_inherited(const struct usp_spec *name, unsigned mode)
{
	int number = name ? usp_spec_descriptor(name, mode) : -1;

	return number >= 0 && fcntl(number, F_GETFD) < 0 ? COPY_NOT_OPEN : number < 0 ? COPY_NO_NUMBER : number;
}

static bool inherited_is_needed(const struct copy *copy, const struct copy_sink *sink, int number)
{
	const struct copy_sink *other;

	if (number == STDERR_FILENO || (sink && number == copy->source_number))
		return true;
	for (other = copy->sinks; sink && other < sink; other++) {
		if (other->number == number)
			return true;
	}
	return false;
}

int copy_open_twin(int number, const struct usp_open_params *params, struct usp_file **ret_file, const char **ret_why)
{
	int twin = fcntl(number, F_DUPFD_CLOEXEC, STDERR_FILENO + 1), error;
	char spec[INHERITED_SPEC_MAX];

	if (twin < 0)
		return -errno;
	snprintf(spec, sizeof(spec), "fd:%d", twin);
	error = usp_open(spec, params, ret_file, ret_why);
	if (error < 0)
		close(twin);
	return error;
}

int copy_open_spec(const struct copy *copy, const struct copy_sink *sink, const struct usp_open_params *params,
		   struct usp_file **ret_file, const char **ret_why)
{
	int number = sink ? sink->number : copy->source_number;

	if (number == COPY_NOT_OPEN) {
		*ret_why = "this descriptor is not open"; /* it may be one of ours by now */
		return -EBADF;
	}
	if (number >= 0 && inherited_is_needed(copy, sink, number))
		return copy_open_twin(number, params, ret_file, ret_why);
	return usp_open(sink ? sink->spec : copy->request->source, params, ret_file, ret_why);
}
