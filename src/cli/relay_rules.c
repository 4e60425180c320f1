/* SPDX-License-Identifier: MIT */
/* relay_rules - the rules for which clients are served: those of the command line, then those of a file. */
#include "cli.h"
#include "relay.h"
#include "word_list.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A file that was cut must not open the door. */
static const char rules_why_empty[] = "there are no rules in it ('allow all' serves everybody)";

static int rules_failed(int error)
{
	message_say("relay: %s", strerror(error));
	return CLI_FAILED;
}

int relay_read_rules(const struct relay_request *request, struct word_list *ret_rules)
{
	int error = 0;

	*ret_rules = (struct word_list){.nr = 0};
	for (unsigned i = 0; i < request->rules.nr && error == 0; i++)
		error = word_list_add(ret_rules, request->rules.words[i]);
	if (error)
		return rules_failed(error);
	if (!request->access_file)
		return CLI_DONE;
	error = word_list_read(ret_rules, request->access_file);
	if (error == 0 && ret_rules->nr > request->rules.nr)
		return CLI_DONE;
	message_say("relay: %s: %s", request->access_file, error ? strerror(error) : rules_why_empty);
	return CLI_FAILED;
}

int relay_set_rules(struct usp_relay *relay, const struct relay_request *request, const struct word_list *rules)
{
	const char *why = NULL;
	unsigned failed = 0;
	int error = usp_relay_set_rules(relay, (const char *const *)rules->words, rules->nr, &failed, &why);

	if (error == 0)
		return CLI_DONE;
	if (!why)
		return rules_failed(-error);
	message_say("relay: rule '%s': %s", rules->words[failed], why);
	return failed < request->rules.nr ? CLI_USAGE : CLI_FAILED;
}
