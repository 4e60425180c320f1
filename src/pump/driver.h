/* SPDX-License-Identifier: MIT */
/* driver - what a program needs that drives many pumps in one thread, beyond usplice.h. Each has one sink. */
#ifndef USP_PUMP_DRIVER_H
#define USP_PUMP_DRIVER_H

#include <stdbool.h>
#include <usplice.h>

struct usp_folio;
struct usp_shared_rate;

/*
 * Before the run: let the pump use what the driver's pumps share. Both are lent, and may be NULL. *scratch is memory that small
 * messages are read into; a pump that must keep it sets it to NULL. shared_rate limits all pumps together.
 */
void usp_pump_share(struct usp_pump *pump, struct usp_folio **scratch, struct usp_shared_rate *shared_rate);

/* The driver closes the sink's file when the run has ended, so the pump need not shut it down. */
void usp_pump_set_closes_sink(struct usp_pump *pump, bool closes_sink);

/* May something else than the pump carry the next bytes: nothing is under way, and nothing is limited? */
bool usp_pump_may_be_external(const struct usp_pump *pump);

/* Count and account bytes that something else copied from the source to the sink. */
void usp_pump_count_external(struct usp_pump *pump, size_t taken, size_t given);

/* What carried the bytes until now has seen the end of input. */
void usp_pump_end_external(struct usp_pump *pump);

/* How many pieces in a row were small messages; count them anew. */
unsigned usp_pump_nr_messages(const struct usp_pump *pump);
void usp_pump_reset_messages(struct usp_pump *pump);

/* The lane of the source's hop, the bytes that the sink has, and the error of the source, each as of now. */
bool usp_pump_is_kernel(const struct usp_pump *pump);
uint64_t usp_pump_delivered(const struct usp_pump *pump);
int usp_pump_source_error(const struct usp_pump *pump);

#endif
