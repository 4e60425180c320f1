/* SPDX-License-Identifier: MIT */
/* fork - what a child tries that came to be in the middle of a call: the probe, kernel pipes, folios, and their locks. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <usplice.h>

#include "fault.h"

#define FORK_LEN 10000 /* fits into any pipe */

static struct usp_pump *fork_pump(int from, int to, enum usp_lane_choice lane)
{
	const struct usp_pump_params params = {
		.size = sizeof(params), .lane = lane, .flags = USP_PUMP_COUNT, .count = FORK_LEN};
	struct usp_file *source = NULL, *sink = NULL;
	struct usp_pump *pump = NULL;

	if (usp_open_fd(from, USP_READ, "from", &source) < 0 || usp_open_fd(to, USP_WRITE, "to", &sink) < 0 ||
	    usp_pump_new(source, &params, &pump) < 0 || usp_pump_add_sink(pump, sink) < 0)
		return NULL;
	return pump;
}

static bool fork_copies(enum usp_lane_choice lane)
{
	char bytes[FORK_LEN], got[FORK_LEN];
	int from = memfd_create("fork", MFD_CLOEXEC), to[2];
	struct usp_pump *pump;

	for (size_t i = 0; i < FORK_LEN; i++)
		bytes[i] = (char)(i * 13 + (unsigned)lane);
	if (from < 0 || pipe2(to, O_CLOEXEC) < 0 || pwrite(from, bytes, FORK_LEN, 0) != FORK_LEN)
		return false;
	pump = fork_pump(from, to[1], lane);
	return pump && usp_pump_run(pump) == 0 && read(to[0], got, FORK_LEN) == FORK_LEN &&
	       memcmp(bytes, got, FORK_LEN) == 0;
}

bool fault_child_can_copy(void)
{
	struct usp_usage usage = {.size = sizeof(usage)};

	usp_trim(&usage);
	return usage.nr_kpipes == 0 && fork_copies(USP_LANE_KERNEL) && fork_copies(USP_LANE_USER);
}
