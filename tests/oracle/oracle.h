/* SPDX-License-Identifier: MIT */
/* oracle - plays a script in both worlds at once and compares them after each step. */
#ifndef USP_TESTS_ORACLE_H
#define USP_TESTS_ORACLE_H

#include "world.h"

#define ORACLE_OBJECTS_MAX 16

/* A step that may sleep, in one world. */
struct oracle_sleeper {
	struct oracle *oracle;
	unsigned world;
	struct step step;
	struct worker *worker;
	unsigned char *bytes;
};

struct oracle {
	struct world worlds[2]; /* the kernel's, and ours */
	char letters[ORACLE_OBJECTS_MAX + 1];
	bool is_waiting; /* a step sleeps in both worlds */
	struct oracle_sleeper sleepers[2];
	char why[1024]; /* how the worlds differ */
};

/*
 * Memory that all oracles of the process share, and signals that the kernel would send. 0, or the code with which the
 * program has to exit: 77, after saying so, where the kernel's pipes do not have the 16 slots of 4096 bytes that ours
 * are compared with; 1 without memory.
 */
int oracle_init(void);
void oracle_fini(void);

void oracle_open(struct oracle *oracle, const char *letters);

/* True if nothing sleeps any more. */
bool oracle_close(struct oracle *oracle);

/* One step in both worlds; false with a description in why if they do not agree. */
bool oracle_step(struct oracle *oracle, const struct step *step);

/* A whole script in a new oracle. False with why set if the worlds differ, or something still sleeps at the end. */
bool oracle_play(struct oracle *oracle, const char *script);

/* The same for scripts that may differ: soon believes that what sleeps in one world only goes on sleeping. */
bool oracle_play_doubtful(struct oracle *oracle, const char *script);

/*
 * The same for scripts of which it is known that the worlds differ, and where that is written: the heading of a section
 * of docs/differences.md. It must exist, and the script must differ.
 */
bool oracle_play_difference(struct oracle *oracle, const char *script, const char *section);

/* What the kernel alone answers: the result of the last step of a script. */
ssize_t oracle_ask(const char *script);

/* Does docs/differences.md have a section of this name? */
bool oracle_is_documented(const char *section);

#endif
