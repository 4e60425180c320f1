/* SPDX-License-Identifier: MIT */
/* relay_targets - the targets of the command line, and of a file with one target a line. */
#include "cli.h"
#include "relay.h"
#include "word_list.h"

#include <string.h>

int relay_read_targets(const struct relay_request *request, struct word_list *ret_targets)
{
	int error = 0;

	*ret_targets = (struct word_list){.nr = 0};
	for (unsigned i = 0; i < request->nr_targets && error == 0; i++)
		error = word_list_add(ret_targets, request->targets[i]);
	if (error) {
		message_say("relay: %s", strerror(error));
		return CLI_FAILED;
	}
	error = request->targets_file ? word_list_read(ret_targets, request->targets_file) : 0;
	if (error == 0)
		return CLI_DONE;
	message_say("relay: %s: %s", request->targets_file, strerror(error));
	return CLI_SINK;
}

int relay_name_targets(struct usp_relay *relay, const struct word_list *targets)
{
	const char *why = NULL;
	unsigned failed = 0;
	int error;

	if (!targets->nr) {
		message_say("relay: there are no targets");
		return CLI_SINK;
	}
	error = usp_relay_name_targets(relay, (const char *const *)targets->words, targets->nr, &failed, &why);
	if (error == 0)
		return CLI_DONE;
	message_say("relay: target '%s': %s", targets->words[failed], why ? why : strerror(-error));
	return relay_is_usage(error) ? CLI_USAGE : CLI_SINK;
}
