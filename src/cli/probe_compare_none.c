/* SPDX-License-Identifier: MIT */
/* probe_compare_none - what stands in for the comparison in a build that cannot read JSON. */
#include "cli.h"
#include "probe_compare.h"

#include <usplice.h>

void probe_compare_tell(struct usp_part *ret_part)
{
	*ret_part = (struct usp_part){
		.kind = USP_PART_FEATURE,
		.name = "probe_compare",
		.form = "probe --compare",
		.summary = "what differs between two runs of usplice probe",
		.missing = "needs jansson, without which this usplice was built",
	};
}

int probe_compare(const struct probe_comparison *comparison)
{
	(void)comparison;
	message_say("probe: this build has no --compare: it was made without jansson");
	return CLI_USAGE;
}
