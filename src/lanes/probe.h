/* SPDX-License-Identifier: MIT */
/* probe - the hooks by which the endpoints of the library find out how the kernel carries their bytes. */
#ifndef USP_LANES_PROBE_H
#define USP_LANES_PROBE_H

#include <usplice/endpoint.h>
#include <usplice/probe.h>

/* For the probe hook of a table, each for one kind of descriptor. They set way and reason. */
void usp_probe_regular(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);
void usp_probe_block(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);
void usp_probe_fifo(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);
void usp_probe_tcp(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);
void usp_probe_unix(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);
void usp_probe_drop(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result);

#endif
