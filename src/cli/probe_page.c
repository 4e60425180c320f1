/* SPDX-License-Identifier: MIT */
/* probe_page - put the JSON into the page, and the page into a file. */
#include "probe_page.h"
#include "atomic.h"
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <usplice/spec.h>

#define PAGE_PLACE "@JSON@"

/* --- The page ------------------------------------------------------------------------------------------------- */

/* Escape what could end the element. In JSON a '<' stands only in strings, which may write it as \u003c. */
static void page_put_json(FILE *out, const char *json)
{
	for (; *json != '\0'; json++) {
		if (*json == '<')
			fputs("\\u003c", out);
		else
			putc(*json, out);
	}
}

/* Write the page: 0, or -ENOMEM. Errors of out are left to the caller, as those of any stream. */
static int page_write(FILE *out, void (*write_json)(FILE *out, void *arg), void *arg)
{
	const char *place = strstr(probe_page_html, PAGE_PLACE);
	char *json = NULL;
	size_t len = 0;
	FILE *text = open_memstream(&json, &len);
	int error = -ENOMEM;

	if (text) {
		write_json(text, arg);
		error = ferror(text) ? -ENOMEM : 0;
		error = fclose(text) == 0 ? error : -ENOMEM;
	}
	if (error == 0) {
		fwrite(probe_page_html, 1, (size_t)(place - probe_page_html), out);
		page_put_json(out, json);
		fputs(place + strlen(PAGE_PLACE), out);
	}
	free(json);
	return error;
}

/* --- The file ------------------------------------------------------------------------------------------------- */

/* Bring all bytes to the storage. A write that failed before has left its errno: writes behind it fail, too. */
static int page_flush(FILE *out)
{
	if (fflush(out) == 0 && !ferror(out) && fdatasync(fileno(out)) == 0)
		return 0;
	return errno ? -errno : -EIO;
}

/* Write the page to out, close it, and put the file in its place, or remove it. */
static int page_fill(struct atomic_file *file, FILE *out, void (*write_json)(FILE *out, void *arg), void *arg)
{
	int error = page_write(out, write_json, arg);

	if (error == 0)
		error = page_flush(out);
	if (error == 0)
		error = atomic_link(file, fileno(out));
	if (fclose(out) != 0 && error == 0)
		error = -errno;
	if (error == 0)
		return atomic_commit(file, false);
	atomic_discard(file);
	return error;
}

static int page_save_file(const char *name, void (*write_json)(FILE *out, void *arg), void *arg, const char **ret_why)
{
	struct atomic_file *file;
	struct usp_spec *spec;
	struct stat old;
	FILE *out;
	int fd, error = usp_spec_parse(name, &spec, ret_why);

	if (error < 0)
		return error;
	error = atomic_open(spec, 0666, &file, &fd, &old, ret_why);
	usp_spec_free(spec);
	if (error < 0)
		return error;
	*ret_why = NULL; /* a file that can be replaced needs no sentence */
	out = fdopen(fd, "w");
	if (out)
		return page_fill(file, out, write_json, arg);
	close(fd);
	atomic_discard(file);
	return -ENOMEM;
}

int probe_page_save(const char *name, void (*write_json)(FILE *out, void *arg), void *arg)
{
	const char *why = NULL;
	int error;

	if (strcmp(name, "-") == 0) {
		error = page_write(stdout, write_json, arg);
		if (error == 0)
			return message_close_stdout();
	} else {
		error = page_save_file(name, write_json, arg, &why);
	}
	if (error == 0)
		return CLI_DONE;
	message_say("page %s: %s%s%s", name, strerror(-error), why ? ": " : "", why ? why : "");
	return CLI_FAILED;
}
