/* SPDX-License-Identifier: MIT */
/* progress - the line that shows how far something is, and how fast it was in the last seconds. */
#ifndef USP_CLI_PROGRESS_H
#define USP_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#define PROGRESS_NR_MOMENTS 128
#define PROGRESS_STALLED_S 2.0 /* what has not moved for so long is stalled */

/* How the user wants the line. */
struct progress_style {
	const char *name;     /* in front of it; NULL: nothing */
	const char *format;   /* see usplice-copy(1), PROGRESS; NULL: the usual one */
	uint64_t interval_ns; /* between two lines; 0: as often as there is news */
	bool has_title;	      /* show the percentage in the title of the terminal, too */
};

/* What was known at one moment. */
struct progress_view {
	uint64_t bytes;
	int64_t total;	     /* -1 if the end is not known */
	const char *stalled; /* whom everything waits for; NULL: bytes are moving */
	const char *lags;    /* what each destination lacks; NULL: nothing */
	const char *buffer;  /* how full it is; NULL: there is none */
	bool is_last;	     /* nothing follows: show the mean rate, and no time that is left */
};

struct progress {
	struct progress_style style;
	bool is_on;
	bool has_colour;
	int nr_drawn;	 /* columns that the line takes on the screen now */
	double started;	 /* by progress_now */
	double drawn_at; /* when the line was drawn */
	double moved_at; /* when the number of bytes last changed */
	struct {
		double at;
		uint64_t bytes;
	} moments[PROGRESS_NR_MOMENTS]; /* a ring of the last seconds */
	unsigned nr_moments;		/* that were ever noted */
};

/* Return seconds of the monotonic clock. */
double progress_now(void);

/* Begin to measure: it begins now. */
void progress_start(struct progress *progress, bool is_on, const struct progress_style *style);

/* Take a measurement, ten times a second or so. Returns for how many seconds nothing has moved. */
double progress_measure(struct progress *progress, uint64_t bytes);

/*
 * Make the text of the line, of at most so many columns: memory for free(3), or NULL without memory. ret_columns is
 * what it takes on the screen.
 */
char *progress_line(const struct progress *progress, const struct progress_view *view, int columns, int *ret_columns);

/* Draw the line anew, if it is time for that. The last one stays where it is. */
void progress_draw(struct progress *progress, const struct progress_view *view);

/* Take the line off the screen, so that other text can be written. */
void progress_erase(struct progress *progress);

/* Print the progress as a message. */
void progress_say(struct progress *progress, const struct progress_view *view);

/* Return the columns of the terminal that standard error is, or 80. */
int progress_columns(void);

/* Return NULL, or a sentence about a format that has an unknown letter. */
const char *progress_check_format(const char *format);

#endif
