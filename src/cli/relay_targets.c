/* SPDX-License-Identifier: MIT */
/* relay_targets - the targets of the command line and of a file with one a line. */
#include "cli.h"
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Words that belong to us, behind words that belong to somebody else. */
struct target_list {
	const char **names;
	unsigned nr, nr_lent;
};

static bool target_list_add(struct target_list *list, const char *name)
{
	const char **names = realloc(list->names, (list->nr + 1) * sizeof(names[0]));

	if (!names)
		return false;
	list->names = names;
	list->names[list->nr++] = name;
	return true;
}

static void target_list_fini(struct target_list *list)
{
	for (unsigned i = list->nr_lent; i < list->nr; i++)
		free((char *)list->names[i]);
	free(list->names);
}

/* What a line says, without blanks and comments: in place. */
static char *target_trim(char *line)
{
	char *end;

	line[strcspn(line, "#\n")] = '\0';
	line += strspn(line, " \t\r");
	for (end = line + strlen(line); end > line && strchr(" \t\r", end[-1]); end--)
		end[-1] = '\0';
	return line;
}

static int target_read(FILE *file, struct target_list *list)
{
	char *line = NULL, *name;
	size_t size = 0;
	int error = 0;

	while (error == 0 && getline(&line, &size, file) >= 0) {
		const char *word = target_trim(line);

		if (!*word)
			continue;
		name = strdup(word);
		if (!name || !target_list_add(list, name)) {
			free(name);
			error = ENOMEM;
		}
	}
	if (error == 0 && ferror(file))
		error = errno;
	free(line);
	return error;
}

static int target_read_file(const char *path, struct target_list *list)
{
	FILE *file = fopen(path, "re");
	int error = file ? target_read(file, list) : errno;

	if (file)
		fclose(file);
	if (error == 0)
		return CLI_DONE;
	message_say("relay: %s: %s", path, strerror(error));
	return CLI_SINK;
}

static int target_apply(struct usp_relay *relay, const struct target_list *list)
{
	const char *why = NULL;
	unsigned failed = 0;
	int error;

	if (!list->nr) {
		message_say("relay: there are no targets");
		return CLI_SINK;
	}
	error = usp_relay_set_targets(relay, list->names, list->nr, &failed, &why);
	if (error == 0)
		return CLI_DONE;
	message_say("relay: target '%s': %s", list->names[failed], why ? why : strerror(-error));
	return relay_is_usage(error) ? CLI_USAGE : CLI_SINK;
}

int relay_load_targets(struct usp_relay *relay, const struct relay_request *request)
{
	struct target_list list = {.names = NULL};
	int exit_code = CLI_DONE;

	for (unsigned i = 0; i < request->nr_targets && exit_code == CLI_DONE; i++) {
		if (!target_list_add(&list, request->targets[i]))
			exit_code = CLI_FAILED;
		else
			list.nr_lent++;
	}
	if (exit_code == CLI_DONE && request->targets_file)
		exit_code = target_read_file(request->targets_file, &list);
	if (exit_code == CLI_DONE)
		exit_code = target_apply(relay, &list);
	target_list_fini(&list);
	return exit_code;
}
