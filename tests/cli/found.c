/* SPDX-License-Identifier: MIT */
/*
 * found - the command's page shows the JSON of the file that FOUND names, and not what this machine does.
 *
 * A test of the page needs every kind of answer, and names that no object of this machine has.
 */
#include <stdio.h>
#include <stdlib.h>

typedef void write_json(FILE *out, void *arg);

int __real_probe_page_save(const char *name, write_json *write, void *arg);
int __wrap_probe_page_save(const char *name, write_json *write, void *arg);

static void found_write(FILE *out, void *name)
{
	FILE *in = fopen(name, "re");
	int byte;

	if (!in)
		abort();
	while ((byte = getc(in)) != EOF)
		putc(byte, out);
	fclose(in);
}

int __wrap_probe_page_save(const char *name, write_json *write, void *arg)
{
	char *found = getenv("FOUND");

	return found ? __real_probe_page_save(name, found_write, found) : __real_probe_page_save(name, write, arg);
}
