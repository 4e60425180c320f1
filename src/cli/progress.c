/* SPDX-License-Identifier: MIT */
/* progress - the line that shows how far a copy is. */
#include "progress.h"
#include "cli.h"
#include "size.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_SMOOTH_S 3.0
#define PROGRESS_BAR_MIN 8
#define PROGRESS_BAR_MAX 60
#define PROGRESS_TEXT_MAX 128

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

void progress_start(struct progress *progress, bool is_on)
{
	double now = progress_now();

	*progress = (struct progress){
		.is_on = is_on,
		.has_colour = is_on && progress_may_colour(),
		.started = now,
		.last_moment = now,
	};
}

static int progress_columns(void)
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

/* Measure the speed. Older values count less; the first measurement counts alone. */
static void progress_measure(struct progress *progress, uint64_t bytes)
{
	double now = progress_now(), past = now - progress->last_moment;
	double weight = past / (past + PROGRESS_SMOOTH_S);

	if (past <= 0)
		return;
	if (progress->last_bytes == 0)
		weight = 1;
	progress->rate += weight * ((double)(bytes - progress->last_bytes) / past - progress->rate);
	progress->last_bytes = bytes;
	progress->last_moment = now;
}

static void progress_clock(char text[SIZE_TEXT_MAX], double seconds)
{
	unsigned long whole = seconds < 360000000 ? (unsigned long)seconds : 360000000ul;

	if (whole >= 3600)
		snprintf(text, SIZE_TEXT_MAX, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
	else
		snprintf(text, SIZE_TEXT_MAX, "%lu:%02lu", whole / 60, whole % 60);
}

/* Write " 42% ETA 0:12", or the time so far if the end is not known. */
static void progress_end_text(char text[PROGRESS_TEXT_MAX], const struct progress *progress, uint64_t bytes,
			      int64_t total)
{
	char left[SIZE_TEXT_MAX];

	if (total <= 0 || bytes > (uint64_t)total) {
		progress_clock(left, progress_now() - progress->started);
		snprintf(text, PROGRESS_TEXT_MAX, "  %s", left);
		return;
	}
	if (progress->rate > 0)
		progress_clock(left, ((double)total - (double)bytes) / progress->rate);
	else
		strcpy(left, "-:--");
	snprintf(text, PROGRESS_TEXT_MAX, " %3.0f%%  ETA %s", (double)bytes * 100 / (double)total, left);
}

static int progress_bar(const struct progress *progress, int width, double share)
{
	int full = (int)(share * width), i;

	fputs(progress->has_colour ? "  [\033[32m" : "  [", stderr);
	for (i = 0; i < width; i++)
		putc(i < full ? '=' : i == full ? '>' : ' ', stderr);
	fputs(progress->has_colour ? "\033[0m]" : "]", stderr);
	return width + 4;
}

void progress_draw(struct progress *progress, uint64_t bytes, int64_t total)
{
	char moved[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX], begin[PROGRESS_TEXT_MAX], end[PROGRESS_TEXT_MAX];
	int columns = progress_columns() - 1, width, nr_drawn;

	progress_measure(progress, bytes);
	if (!progress->is_on || progress_is_behind())
		return;
	snprintf(begin, sizeof(begin), "%10s %10s/s", size_format(moved, (double)bytes),
		 size_format(rate, progress->rate));
	progress_end_text(end, progress, bytes, total);
	nr_drawn = fprintf(stderr, "\r%.*s", columns, begin) - 1;
	width = columns - nr_drawn - (int)strlen(end) - 4;
	if (total > 0 && bytes <= (uint64_t)total && width >= PROGRESS_BAR_MIN)
		nr_drawn += progress_bar(progress, width < PROGRESS_BAR_MAX ? width : PROGRESS_BAR_MAX,
					 (double)bytes / (double)total);
	nr_drawn += fprintf(stderr, "%.*s", columns - nr_drawn, end);
	if (nr_drawn < progress->nr_drawn)
		fprintf(stderr, "%*s", progress->nr_drawn - nr_drawn, "");
	progress->nr_drawn = nr_drawn;
	fflush(stderr);
}

void progress_erase(struct progress *progress)
{
	if (progress->nr_drawn > 0)
		fprintf(stderr, "\r%*s\r", progress->nr_drawn, "");
	progress->nr_drawn = 0;
	fflush(stderr);
}

void progress_say(struct progress *progress, uint64_t bytes, int64_t total)
{
	char moved[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX], end[PROGRESS_TEXT_MAX];

	progress_measure(progress, bytes);
	progress_end_text(end, progress, bytes, total);
	progress_erase(progress);
	message_say("%llu bytes (%s), %s/s,%s", (unsigned long long)bytes, size_format(moved, (double)bytes),
		    size_format(rate, progress->rate), end);
}
