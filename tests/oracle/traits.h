/* SPDX-License-Identifier: MIT */
/*
 * traits - what some kernels do otherwise than the one whose rules are written down. Found by asking the kernel that
 * runs, never by its version.
 */
#ifndef USP_TESTS_TRAITS_H
#define USP_TESTS_TRAITS_H

#include <stdbool.h>
#include <sys/types.h>

/* A kernel has the trait if the last step of the script has this result. */
struct trait {
	const char *script;
	ssize_t result;
};

extern const struct trait trait_asks_late; /* lengths and offsets are looked at after the pipe, and cut to its room */
extern const struct trait trait_sendfile_writes;     /* sendfile writes into a pipe, as write(2) would */
extern const struct trait trait_sendfile_of_nothing; /* asks for room in a pipe even so */
extern const struct trait trait_bare_devices;	     /* /dev/zero and /dev/full have no hooks */
extern const struct trait trait_splits_datagrams;    /* each slot of a pipe becomes a datagram of its own */
extern const struct trait trait_overfills_unix;	     /* a UNIX socket that is full takes more by splice */

/* Needs oracle_init. */
bool trait_is_here(const struct trait *trait);

#endif
