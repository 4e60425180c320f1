/* SPDX-License-Identifier: MIT */
/* faulty - for tests in C: a folder that is shown with faults, by faulty_fs, for as long as a test takes. */
#ifndef USP_TESTS_FAULTY_H
#define USP_TESTS_FAULTY_H

#include "support.h"

#define FAULTY_PATH_MAX 256
#define FAULTS_MAX 8

struct faulty {
	char folder[64];	      /* of both */
	char real[FAULTY_PATH_MAX];   /* a folder */
	char faulty[FAULTY_PATH_MAX]; /* shows it */
	pid_t server;		      /* 0 while there is none */
};

/* Like CASE. The test gets a struct faulty in *state. */
#define FAULTY_CASE(f) cmocka_unit_test_setup_teardown(f, faulty_before, faulty_after)
int faulty_before(void **state);
int faulty_after(void **state);

/* Show the folder with these faults, words with a space between them. Skip the test if FUSE cannot be used here. */
void faulty_serve(struct faulty *faulty, const char *faults);
void faulty_end(struct faulty *faulty); /* does nothing where nothing is served */

/* Put a file that holds the pattern bytes [0, len) there. */
void faulty_make(struct faulty *faulty, const char *name, size_t len);

/* The path of a file as it is, and as it is shown. Valid until two more of these calls. */
const char *faulty_real(struct faulty *faulty, const char *name);
const char *faulty_shown(struct faulty *faulty, const char *name);

#endif
