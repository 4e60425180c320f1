/* SPDX-License-Identifier: MIT */
/* stage - a relay that runs in a thread, between clients and targets that belong to the test. */
#ifndef USP_TESTS_STAGE_H
#define USP_TESTS_STAGE_H

#include <sched.h>
#include <usplice/relay.h>

#include "net.h"
#include "support.h"

#define STAGE_TEXT 128
#define STAGE_MS ((uint64_t)1000000)
#define STAGE_S (1000 * STAGE_MS)

/* The alarm around every test bounds it. */
#define AWAIT(condition)     \
	while (!(condition)) \
	sched_yield()

/* UNIX sockets of the program are in one folder, which it makes first and removes last. */
int stage_open_folder(void **state);
int stage_close_folder(void **state);

/* --- Targets: somewhere for a relay to connect to ----------------------------------------------------- */

struct target {
	int listener;
	int spare_fd;	       /* what keeps a dead one's port, or takes a jammed one's room */
	char text[STAGE_TEXT]; /* "127.0.0.1:PORT" or "unix:PATH" */
};
void target_open(struct target *target, bool is_unix);
void target_open_dead(struct target *target);	/* nobody listens there */
void target_revive(struct target *target);	/* now somebody does */
void target_open_jammed(struct target *target); /* somebody listens, and has no room for anybody */
void target_close(struct target *target);
int target_accept(const struct target *target);
bool target_is_asked(const struct target *target); /* there is somebody to accept now */

/* --- The relay ---------------------------------------------------------------------------------------- */

struct stage {
	struct usp_relay *relay;
	struct worker worker;
	char address[STAGE_TEXT]; /* where it listens */
};

/* Run a relay that listens at an address of its own, and connects to these targets. */
void stage_open(struct stage *stage, const struct usp_relay_params *params, bool is_unix, unsigned nr_targets,
		const struct target *targets);

/* The same in two steps: clients that connect in between are there before the relay runs. */
void stage_prepare(struct stage *stage, const struct usp_relay_params *params, unsigned nr_targets,
		   const struct target *targets);
void stage_start(struct stage *stage);

/* The same at a socket for IPv6 that takes IPv4, too; clients come by IPv4. */
void stage_open_for_both(struct stage *stage, const struct usp_relay_params *params, const struct target *target);

/* Wait until it ends by itself, with no connection left, and free it. close stops it first. */
void stage_await_end(struct stage *stage);
void stage_close(struct stage *stage);

struct usp_relay_status stage_status(const struct stage *stage);
struct usp_relay_target_status stage_target(const struct stage *stage, unsigned index);

/* A client of it: a blocking socket. */
int stage_connect(const struct stage *stage);
void stage_connect_fd(const struct stage *stage, int fd);

/* --- Connections through it: the two ends --------------------------------------------------------------- */

struct pair {
	int client, target;
};
void pair_open(struct pair *pair, const struct stage *stage, const struct target *target);
void pair_close(struct pair *pair);

/* Send the pattern bytes [off, off + len) into one socket, and take them from another. They have to fit into the buffers. */
void pass_bytes(int from, int to, uint64_t off, size_t len);

/* A few bytes there, and others back. */
void pair_greet(const struct pair *pair);

/* The next client gets this target, and both hear each other. */
void assert_goes_to(const struct stage *stage, const struct target *target);

/* The end, or a reset, is all that comes. */
void take_end(int fd);
void take_reset(int fd);

/*
 * Send pattern bytes, from 0 on, into a socket behind which nobody takes them, until the relay gets no further in that
 * direction: how many. There is room for more.
 */
size_t stage_jam(const struct stage *stage, int fd, unsigned direction);

/* --- Ends that send and take a lot ---------------------------------------------------------------------- */

/* Sends some pattern bytes and then its end, and takes others until their end. Keeps the descriptor. */
struct talker {
	int fd;
	uint64_t send_off, take_off;
	size_t send_len, nr_sent, nr_taken;
	bool has_sent, has_taken;
	int error; /* that ended one of both, or 0 */
};

/* All of them at once. The caller looks at nr_taken and error. */
void talk(struct talker *talkers, unsigned nr_talkers);

#endif
