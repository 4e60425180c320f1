/* SPDX-License-Identifier: MIT */
/* probe_compare_none - what stands in for the comparison in a build that cannot read JSON. */
#include "cli.h"
#include "probe_compare.h"

int probe_compare(const struct probe_comparison *comparison)
{
	(void)comparison;
	message_say("probe: this build has no --compare: it was made without jansson");
	return CLI_USAGE;
}
