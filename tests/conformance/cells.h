/* SPDX-License-Identifier: MIT */
/* cells - the conformance table: one cell for each row, case and lane that fit together. */
#ifndef USP_TESTS_CELLS_H
#define USP_TESTS_CELLS_H

#include "subject.h"

#define SOURCE_LEN 19968u /* whole sectors, for block devices, but not whole pages */
#define SMALL_LEN 3000u	  /* what fits into a terminal */
#define ALL_AT_ONCE (1u << 16)

struct test_case {
	const char *name;
	unsigned side;
	unsigned needs, excludes; /* traits of rows */
	void (*run)(void);
};

#define RUNS(f) .name = #f, .run = f

struct cell {
	const struct row *row;
	const struct test_case *test;
	bool is_kernel;
};

extern const struct test_case source_cases[], sink_cases[];
extern const unsigned nr_source_cases, nr_sink_cases;

/* The cell that runs, its endpoint, and the pipe that the bytes go through. */
extern const struct cell *cell;
extern struct subject subject;
extern struct usp_file *end[2];

/* The bytes that the source of this cell has. */
size_t cell_len(void);

/* Open the endpoint on the lane of the cell. A stream may have no bytes yet, and not end. */
void cell_open_source(bool has_bytes, bool ends);
void cell_open_sink(void);

/* Splice from the subject into the pipe. A thread that reads ahead is waited for. */
ssize_t cell_pull(size_t len);

/* Wait for bytes that come later than their bufs. */
void cell_await_late(struct usp_file *from);

/* Check that bytes are those of the source from off on; take such out of a pipe. */
void cell_check_bytes(const unsigned char *bytes, uint64_t off, size_t len);
void cell_take_source(struct usp_file *from, uint64_t off, size_t len);

/* The bytes that the ledger has for a side; check that they, and lane and reasons, are right. */
uint64_t cell_hop_sum(unsigned side);
void cell_check_hop(unsigned side, uint64_t moved);

/* A case of sources and of sinks. */
void the_last_reference_closes_the_descriptor(void);

#endif
