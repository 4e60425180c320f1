/* SPDX-License-Identifier: MIT */
/* relay_status - what a relay did, in one line. */
#include "cli.h"
#include "relay.h"
#include "size.h"

/* Format one way, for both directions. */
static const char *status_format_way(const struct usp_relay_status *status, enum usp_way way, char text[SIZE_TEXT_MAX])
{
	return size_format(text, (double)(status->ways[USP_TO_TARGET][way] + status->ways[USP_TO_CLIENT][way]));
}

void relay_say_status(struct usp_relay *relay, enum message_level level)
{
	char to_target[SIZE_TEXT_MAX], to_client[SIZE_TEXT_MAX], reference[SIZE_TEXT_MAX], copied[SIZE_TEXT_MAX];
	char unknown[SIZE_TEXT_MAX];
	struct usp_relay_status status = {.size = sizeof(status)};

	usp_relay_status(relay, &status);
	message_note(
		level,
		"relay: %llu connections, %u of them now; %s to targets, %s to clients; %s by reference, %s copied, "
		"%s unknown",
		(unsigned long long)status.nr_accepted, status.nr_connections,
		size_format(to_target, (double)status.delivered[USP_TO_TARGET]),
		size_format(to_client, (double)status.delivered[USP_TO_CLIENT]),
		status_format_way(&status, USP_BY_REFERENCE, reference), status_format_way(&status, USP_COPIED, copied),
		status_format_way(&status, USP_UNKNOWN, unknown));
}
