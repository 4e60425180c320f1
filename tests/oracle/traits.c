/* SPDX-License-Identifier: MIT */
/* traits - the questions that tell one kernel from another. */
#include "traits.h"

#include <errno.h>

#include "oracle.h"

const struct trait trait_asks_late = {"FsA9223372036854775808", 65536};
const struct trait trait_sendfile_writes = {"Az4096 Aw1 FdA1", 1};
const struct trait trait_sendfile_of_nothing = {"Az4096 Aw1 FdA0", -EAGAIN};
const struct trait trait_bare_devices = {"ZsA1", -EINVAL};
const struct trait trait_splits_datagrams = {"Ap1 Aw1 Aw1 AsX2 Yr10", 1};
const struct trait trait_overfills_unix = {"Aw5 Uo0 AsU5", 5};

bool trait_is_here(const struct trait *trait)
{
	return oracle_ask(trait->script) == trait->result;
}
