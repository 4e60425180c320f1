/* SPDX-License-Identifier: MIT */
/*
 * driver - what a program that drives many pumps in one thread needs beyond usplice.h. Each pump
 * has one sink.
 */
#ifndef USP_PUMP_DRIVER_H
#define USP_PUMP_DRIVER_H

#include <stdbool.h>
#include <usplice.h>

struct usp_folio;
struct usp_shared_rate;

/*
 * Let the pump use what the driver's pumps share. Before the run. Both are lent, and may be NULL.
 * *scratch is memory that small messages are read into; a pump that must keep it sets *scratch to
 * NULL. shared_rate limits all pumps together.
 */
void usp_pump_share(struct usp_pump *pump, struct usp_folio **scratch, struct usp_shared_rate *shared_rate);

/* Set whether the driver closes the sink's file after the run, so that the pump need not shut it down. */
void usp_pump_set_closes_sink(struct usp_pump *pump, bool closes_sink);

/*
 * Tell whether other code than the pump may carry the next bytes: nothing is under way, and nothing
 * is limited.
 */
bool usp_pump_may_be_external(const struct usp_pump *pump);

/* Count and account bytes that other code copied from the source to the sink. */
void usp_pump_count_external(struct usp_pump *pump, size_t taken, size_t given);

/* Note that the code that carried the bytes until now has seen the end of input. */
void usp_pump_end_external(struct usp_pump *pump);

/* Return how many pieces in a row were small messages, and count them anew. */
unsigned usp_pump_nr_messages(const struct usp_pump *pump);
void usp_pump_reset_messages(struct usp_pump *pump);

/*
 * Return the lane of the source's hop, the bytes that the sink has, and the error of the source,
 * each as of now.
 */
bool usp_pump_is_kernel(const struct usp_pump *pump);
uint64_t usp_pump_delivered(const struct usp_pump *pump);
int usp_pump_source_error(const struct usp_pump *pump);

#endif
