/* SPDX-License-Identifier: MIT */
/* relay_targets - the targets of the command line and of a file with one a line. */
#include "cli.h"
#include "relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool targets_add(struct relay_targets *list, const char *name)
{
	const char **names = realloc(list->names, (list->nr + 1) * sizeof(names[0]));

	if (!names)
		return false;
	list->names = names;
	list->names[list->nr++] = name;
	return true;
}

void relay_targets_fini(struct relay_targets *targets)
{
	for (unsigned i = targets->nr_lent; i < targets->nr; i++)
		free((char *)targets->names[i]);
	free(targets->names);
}

/* What a line says, without blanks and comments: in place. */
static char *targets_trim(char *line)
{
	char *end;

	line[strcspn(line, "#\n")] = '\0';
	line += strspn(line, " \t\r");
	for (end = line + strlen(line); end > line && strchr(" \t\r", end[-1]); end--)
		end[-1] = '\0';
	return line;
}

static int targets_read(FILE *file, struct relay_targets *list)
{
	char *line = NULL, *name;
	size_t size = 0;
	int error = 0;

	while (error == 0 && getline(&line, &size, file) >= 0) {
		const char *word = targets_trim(line);

		if (!*word)
			continue;
		name = strdup(word);
		if (!name || !targets_add(list, name)) {
			free(name);
			error = ENOMEM;
		}
	}
	if (error == 0 && ferror(file))
		error = errno;
	free(line);
	return error;
}

static int targets_read_file(const char *path, struct relay_targets *list)
{
	FILE *file = fopen(path, "re");
	int error = file ? targets_read(file, list) : errno;

	if (file)
		fclose(file);
	if (error == 0)
		return CLI_DONE;
	message_say("relay: %s: %s", path, strerror(error));
	return CLI_SINK;
}

int relay_read_targets(const struct relay_request *request, struct relay_targets *ret_targets)
{
	*ret_targets = (struct relay_targets){.names = NULL};
	for (unsigned i = 0; i < request->nr_targets; i++) {
		if (!targets_add(ret_targets, request->targets[i]))
			return CLI_FAILED;
		ret_targets->nr_lent++;
	}
	return request->targets_file ? targets_read_file(request->targets_file, ret_targets) : CLI_DONE;
}

int relay_name_targets(struct usp_relay *relay, const struct relay_targets *targets)
{
	const char *why = NULL;
	unsigned failed = 0;
	int error;

	if (!targets->nr) {
		message_say("relay: there are no targets");
		return CLI_SINK;
	}
	error = usp_relay_name_targets(relay, targets->names, targets->nr, &failed, &why);
	if (error == 0)
		return CLI_DONE;
	message_say("relay: target '%s': %s", targets->names[failed], why ? why : strerror(-error));
	return relay_is_usage(error) ? CLI_USAGE : CLI_SINK;
}

void relay_tell_news(void *arg, const struct usp_relay_news *news)
{
	const struct relay_request *request = arg;

	if (news->kind == USP_RELAY_TARGET_UNKNOWN)
		message_say("relay: target '%s': %s; it is looked up again", news->target, news->why);
	else if (!request->quiet)
		message_say("relay: target '%s': its name resolves again", news->target);
}
