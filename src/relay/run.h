/* SPDX-License-Identifier: MIT */
/* run - the thread of a worker, from its first client to the end of the last one. */
#ifndef USP_RELAY_RUN_H
#define USP_RELAY_RUN_H

struct usp_worker;

/* Run a worker in the caller's thread until the relay ends; 0 or -errno. */
int usp_run_worker(struct usp_worker *worker);

#endif
