/* SPDX-License-Identifier: MIT */
/* progress - the line that shows how far something is, and how fast it was in the last seconds. */
#include "progress.h"
#include "cli.h"
#include "columns.h"
#include "size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_RATE_S 2.0 /* the rate is that of so many seconds, so that a stall shows soon */
#define PROGRESS_LEFT_S 10.0
#define PROGRESS_BAR_MIN 8
#define PROGRESS_BAR_MAX 60
#define PROGRESS_WIDTH_MAX 40
#define PROGRESS_NARROW 50 /* columns that have no room for a bar */
#define PROGRESS_LEFT_MAX 360000000.0

double progress_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static bool progress_may_colour(void)
{
	const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");

	return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0 && (!no_color || *no_color == '\0');
}

void progress_start(struct progress *progress, bool is_on, const struct progress_style *style)
{
	double now = progress_now();

	*progress = (struct progress){
		.style = *style,
		.is_on = is_on,
		.has_colour = is_on && progress_may_colour(),
		.started = now,
		.moved_at = now,
		.moments[0].at = now,
		.nr_moments = 1,
	};
}

int progress_columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	return 80;
}

/* Tell whether the terminal is in use by another process group; it is left alone then. */
static bool progress_is_behind(void)
{
	pid_t front = tcgetpgrp(STDERR_FILENO);

	return front > 0 && front != getpgrp();
}

/* --- Numbers ------------------------------------------------------------------------------------------------ */

double progress_measure(struct progress *progress, uint64_t bytes)
{
	double now = progress_now();
	unsigned last = (progress->nr_moments - 1) % PROGRESS_NR_MOMENTS;

	if (bytes != progress->moments[last].bytes)
		progress->moved_at = now;
	last = progress->nr_moments++ % PROGRESS_NR_MOMENTS;
	progress->moments[last].at = now;
	progress->moments[last].bytes = bytes;
	return now - progress->moved_at;
}

/* Return the bytes per second of the last so many seconds, or since the start if that was later. */
static double progress_rate(const struct progress *progress, uint64_t bytes, double seconds)
{
	double now = progress_now(), past;
	unsigned first = progress->nr_moments > PROGRESS_NR_MOMENTS ? progress->nr_moments - PROGRESS_NR_MOMENTS : 0;
	unsigned i = progress->nr_moments - 1;

	while (i > first && now - progress->moments[i % PROGRESS_NR_MOMENTS].at < seconds)
		i--;
	past = now - progress->moments[i % PROGRESS_NR_MOMENTS].at;
	return past > 0 ? ((double)bytes - (double)progress->moments[i % PROGRESS_NR_MOMENTS].bytes) / past : 0;
}

/* Return the bytes per second since the start. */
static double progress_mean(const struct progress *progress, uint64_t bytes)
{
	double past = progress_now() - progress->started;

	return past > 0 ? (double)bytes / past : 0;
}

static bool progress_knows_end(const struct progress_view *view)
{
	return view->total > 0 && view->bytes <= (uint64_t)view->total;
}

/* --- The items of a format ---------------------------------------------------------------------------------- */

static void progress_put_clock(FILE *out, double seconds)
{
	unsigned long whole = (unsigned long)(seconds < PROGRESS_LEFT_MAX ? seconds : PROGRESS_LEFT_MAX);

	if (whole >= 3600)
		fprintf(out, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
	else
		fprintf(out, "%lu:%02lu", whole / 60, whole % 60);
}

/* Write a number of bytes, at least so many columns wide. */
static void progress_put_size(FILE *out, int width, double len, const char *unit)
{
	char text[SIZE_TEXT_MAX];

	fprintf(out, "%*s%s", width - (int)strlen(unit), size_format(text, len), unit);
}

/* What is to come: whom everything waits for, else the time that is left. */
static void progress_put_left(FILE *out, const struct progress *progress, const struct progress_view *view)
{
	double rate = progress_rate(progress, view->bytes, PROGRESS_LEFT_S);

	if (view->is_last)
		return;
	if (view->stalled) {
		fputs("stalled: ", out);
		message_put(out, view->stalled);
	} else if (progress_knows_end(view) && rate > 0) {
		fputs("ETA ", out);
		progress_put_clock(out, ((double)view->total - (double)view->bytes) / rate);
	} else if (progress_knows_end(view)) {
		fputs("ETA -:--", out);
	}
}

static void progress_put(FILE *out, const struct progress *progress, const struct progress_view *view, int width,
			 char letter)
{
	switch (letter) {
	case 'N':
		if (progress->style.name)
			message_put(out, progress->style.name);
		break;
	case 'b':
		progress_put_size(out, width, (double)view->bytes, "");
		break;
	case 'B':
		fprintf(out, "%*llu", width, (unsigned long long)view->bytes);
		break;
	case 't':
		progress_put_clock(out, progress_now() - progress->started);
		break;
	case 'r':
		progress_put_size(out, width, progress_rate(progress, view->bytes, PROGRESS_RATE_S), "/s");
		break;
	case 'a':
		progress_put_size(out, width, progress_mean(progress, view->bytes), "/s");
		break;
	case 'P':
		if (progress_knows_end(view))
			fprintf(out, "%*.0f%%", width, (double)view->bytes * 100 / (double)view->total);
		break;
	case 'e':
		progress_put_left(out, progress, view);
		break;
	case 'l':
		if (view->lags)
			message_put(out, view->lags);
		break;
	case 'f':
		if (view->buffer)
			fputs(view->buffer, out);
		break;
	default: /* "%%" */
		putc(letter, out);
	}
}

/* Read the width behind a percent sign: at most PROGRESS_WIDTH_MAX. Moves *format on to the letter. */
static int progress_width(const char **format)
{
	int width = 0;

	for (; **format >= '0' && **format <= '9'; (*format)++)
		width = width < PROGRESS_WIDTH_MAX ? width * 10 + **format - '0' : width;
	return width < PROGRESS_WIDTH_MAX ? width : PROGRESS_WIDTH_MAX;
}

const char *progress_check_format(const char *format)
{
	while ((format = strchr(format, '%')) != NULL) {
		format++;
		progress_width(&format);
		if (*format == '\0' || !strchr("%NbBtraPelpf", *format))
			return "has a % without one of the letters N b B t r a p P e l f %";
		format++;
	}
	return NULL;
}

/* --- The line ------------------------------------------------------------------------------------------------- */

#define PROGRESS_BAR '\001' /* where the bar goes, in a text that has no such character */

static const char *progress_format(const struct progress *progress, const struct progress_view *view, int columns)
{
	if (progress->style.format)
		return progress->style.format;
	if (columns < PROGRESS_NARROW && view->is_last)
		return progress->style.name ? "%N: %b %t %a %P" : "%b %t %a %P";
	if (columns < PROGRESS_NARROW)
		return progress->style.name ? "%N: %b %r %P %e" : "%b %r %P %e";
	if (view->is_last)
		return progress->style.name ? "%N: %10b  %t %12a  %p" : "%10b  %t %12a  %p";
	return progress->style.name ? "%N: %10b  %t %12r  %p  %e  %l  %f" : "%10b  %t %12r  %p  %e  %l  %f";
}

/* Make the text with a mark for the bar, without blanks at its end: memory for free(3), or NULL. */
static char *progress_text(const struct progress *progress, const struct progress_view *view, const char *format)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	long before;

	if (!out)
		return NULL;
	for (; *format != '\0'; format++) {
		int width;

		if (*format != '%') {
			putc(*format == PROGRESS_BAR ? ' ' : *format, out);
			continue;
		}
		format++;
		before = ftell(out);
		width = progress_width(&format);
		if (*format != 'p')
			progress_put(out, progress, view, width, *format);
		else if (progress_knows_end(view))
			putc(PROGRESS_BAR, out);
		if (ftell(out) == before) /* nothing, so it has no blanks behind it */
			format += strspn(format + 1, " ");
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	while (len > 0 && text[len - 1] == ' ')
		text[--len] = '\0';
	return text;
}

/* Write the bar and the percentage into so many columns, or less. Returns the columns. */
static int progress_put_bar(FILE *out, const struct progress *progress, const struct progress_view *view, int room)
{
	double share = (double)view->bytes / (double)view->total;
	int width = room - (int)strlen("[] 100%"), full, i;

	if (width < PROGRESS_BAR_MIN)
		return room < (int)strlen("100%") ? 0 : fprintf(out, "%3.0f%%", share * 100);
	if (width > PROGRESS_BAR_MAX)
		width = PROGRESS_BAR_MAX;
	full = (int)(share * width);
	fputs(progress->has_colour ? "[\033[32m" : "[", out);
	for (i = 0; i < width; i++)
		putc(i < full ? '=' : i == full ? '>' : ' ', out);
	fputs(progress->has_colour ? "\033[0m]" : "]", out);
	return width + 2 + fprintf(out, " %3.0f%%", share * 100);
}

/* Write a text, cut to so many columns. Returns those that it takes. */
static int progress_put_text(FILE *out, char *text, int columns)
{
	text[columns_fit(text, columns)] = '\0';
	fputs(text, out);
	return columns_of(text);
}

char *progress_line(const struct progress *progress, const struct progress_view *view, int columns, int *ret_columns)
{
	char *text = progress_text(progress, view, progress_format(progress, view, columns)), *line = NULL, *bar;
	size_t len;
	FILE *out = text ? open_memstream(&line, &len) : NULL;
	int room = text ? columns - columns_of(text) : 0;

	if (out) {
		bar = strchr(text, PROGRESS_BAR);
		if (bar)
			*bar = '\0';
		*ret_columns = progress_put_text(out, text, columns);
		if (bar)
			*ret_columns += progress_put_bar(out, progress, view, room);
		if (bar)
			*ret_columns += progress_put_text(out, bar + 1, columns - *ret_columns);
	}
	free(text);
	if (out && fclose(out) != 0) {
		free(line);
		return NULL;
	}
	return line;
}

/* --- The screen ----------------------------------------------------------------------------------------------- */

static void progress_put_title(const struct progress *progress, const struct progress_view *view)
{
	char moved[SIZE_TEXT_MAX];

	if (!progress->style.has_title || !isatty(STDERR_FILENO))
		return;
	fputs(progress->drawn_at > 0 ? "\033]2;" : "\033[22;2t\033]2;", stderr); /* keep the old title, once */
	if (progress->style.name)
		message_put(stderr, progress->style.name);
	if (progress_knows_end(view))
		fprintf(stderr, " %.0f%%\007", (double)view->bytes * 100 / (double)view->total);
	else
		fprintf(stderr, " %s\007", size_format(moved, (double)view->bytes));
	if (view->is_last)
		fputs("\033[23;2t", stderr);
}

void progress_draw(struct progress *progress, const struct progress_view *view)
{
	double now = progress_now();
	int nr_drawn = 0;
	char *line;

	if (!progress->is_on || progress_is_behind())
		return;
	if (!view->is_last && now - progress->drawn_at < (double)progress->style.interval_ns / 1e9)
		return;
	line = progress_line(progress, view, progress_columns() - 1, &nr_drawn);
	if (!line)
		return;
	progress_put_title(progress, view);
	fprintf(stderr, "%s%s", progress->nr_drawn > 0 ? "\r" : "", line);
	if (nr_drawn < progress->nr_drawn)
		fprintf(stderr, "%*s", progress->nr_drawn - nr_drawn, "");
	if (view->is_last)
		putc('\n', stderr);
	fflush(stderr);
	free(line);
	progress->nr_drawn = view->is_last ? 0 : nr_drawn;
	progress->drawn_at = now;
}

void progress_erase(struct progress *progress)
{
	int columns = progress_columns() - 1,
	    width = progress->nr_drawn + (int)strlen("^C"); /* that the terminal shows */

	if (progress->nr_drawn > 0)
		fprintf(stderr, "\r%*s\r", width < columns ? width : columns, "");
	progress->nr_drawn = 0;
	fflush(stderr);
}

void progress_say(struct progress *progress, const struct progress_view *view)
{
	bool has_end = progress_knows_end(view);
	char *text = progress_text(progress, view,
				   has_end ? "%B bytes (%b), %r, %t, %P  %e  %f" : "%B bytes (%b), %r, %t  %e  %f");

	progress_erase(progress);
	if (text)
		message_say("%s", text);
	free(text);
}
