/* SPDX-License-Identifier: MIT */
/*
 * speaker - a thread that writes lines to standard error, so that whoever says something does not wait for its reader.
 *
 *   speaker_say ──► queue of SPEAKER_ROOM bytes, whole lines ──► thread: write(2)
 *
 * A pipe that nobody empties, or a terminal that was stopped, holds up this thread alone. It uses no stream: its lock would be
 * taken then, and exit(3) would wait for it.
 */
#include "speaker.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SPEAKER_ROOM 65536
#define SPEAKER_PIECE 4096
#define SPEAKER_PATIENCE_S 1

enum speaker_state { SPEAKER_OFF, SPEAKER_ON, SPEAKER_ENDING, SPEAKER_STUCK };

static struct {
	pthread_mutex_t lock;
	pthread_cond_t said, written;
	pthread_t thread;
	enum speaker_state state;
	char queue[SPEAKER_ROOM]; /* a ring: len bytes from first on */
	size_t first, len;
	unsigned nr_lost; /* lines, since that was told */
} speaker = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.said = PTHREAD_COND_INITIALIZER,
};

/* --- The queue: with the lock ------------------------------------------------------------------------- */

static void speaker_push(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		speaker.queue[(speaker.first + speaker.len + i) % SPEAKER_ROOM] = bytes[i];
	speaker.len += len;
}

static bool speaker_fits(size_t len)
{
	return len <= SPEAKER_ROOM - speaker.len;
}

static size_t speaker_peek(char *ret_bytes)
{
	size_t len = speaker.len < SPEAKER_PIECE ? speaker.len : SPEAKER_PIECE;

	for (size_t i = 0; i < len; i++)
		ret_bytes[i] = speaker.queue[(speaker.first + i) % SPEAKER_ROOM];
	return len;
}

static void speaker_advance(size_t len)
{
	speaker.first = (speaker.first + len) % SPEAKER_ROOM;
	speaker.len -= len;
}

/* Behind all lines that did fit. */
static void speaker_tell_lost(void)
{
	char line[96];
	int len = snprintf(line, sizeof(line), "usplice: %u lines are lost here, because nobody read them in time\n",
			   speaker.nr_lost);

	if (!speaker.nr_lost || !speaker_fits((size_t)len))
		return;
	speaker_push(line, (size_t)len);
	speaker.nr_lost = 0;
}

bool speaker_say(const char *line, size_t len)
{
	bool is_there;

	pthread_mutex_lock(&speaker.lock);
	is_there = speaker.state != SPEAKER_OFF;
	if (is_there) {
		speaker_tell_lost();
		if (!speaker.nr_lost && speaker_fits(len))
			speaker_push(line, len);
		else
			speaker.nr_lost++;
		pthread_cond_signal(&speaker.said);
	}
	pthread_mutex_unlock(&speaker.lock);
	return is_there;
}

/* --- The thread --------------------------------------------------------------------------------------- */

/* Some of it: how many bytes. What cannot be written at all is gone. */
static size_t speaker_write(const char *bytes, size_t len)
{
	struct pollfd pollfd = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t ret = write(STDERR_FILENO, bytes, len);

	if (ret >= 0)
		return (size_t)ret;
	if (errno == EAGAIN) /* others may have made it so */
		poll(&pollfd, 1, -1);
	return errno == EAGAIN || errno == EINTR ? 0 : len;
}

static void *speaker_run(void *arg)
{
	char bytes[SPEAKER_PIECE];
	size_t len;

	(void)arg;
	pthread_mutex_lock(&speaker.lock);
	while (speaker.len || speaker.nr_lost || speaker.state == SPEAKER_ON) {
		speaker_tell_lost();
		if (!speaker.len) {
			pthread_cond_wait(&speaker.said, &speaker.lock);
			continue;
		}
		len = speaker_peek(bytes);
		pthread_mutex_unlock(&speaker.lock);
		len = speaker_write(bytes, len);
		pthread_mutex_lock(&speaker.lock);
		speaker_advance(len);
		pthread_cond_signal(&speaker.written);
	}
	speaker.state = SPEAKER_OFF;
	pthread_cond_signal(&speaker.written);
	pthread_mutex_unlock(&speaker.lock);
	return NULL;
}

int speaker_start(void)
{
	pthread_condattr_t attr;
	sigset_t all, old_mask;
	int ret;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&speaker.written, &attr);
	pthread_condattr_destroy(&attr);
	speaker.state = SPEAKER_ON;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old_mask); /* SIGPIPE, too */
	ret = -pthread_create(&speaker.thread, NULL, speaker_run, NULL);
	pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
	if (ret < 0)
		speaker.state = SPEAKER_OFF;
	return ret;
}

/* Until it is off, or nothing was written for a while. The lock is held. */
static void speaker_await_end(void)
{
	size_t len = SPEAKER_ROOM + 1; /* no such length */
	struct timespec until;
	int ret = 0;

	while (speaker.state != SPEAKER_OFF && ret == 0) {
		if (len != speaker.len) {
			len = speaker.len;
			clock_gettime(CLOCK_MONOTONIC, &until);
			until.tv_sec += SPEAKER_PATIENCE_S;
		}
		ret = pthread_cond_timedwait(&speaker.written, &speaker.lock, &until);
	}
}

void speaker_end(void)
{
	bool is_off;

	pthread_mutex_lock(&speaker.lock);
	speaker.state = SPEAKER_ENDING;
	pthread_cond_signal(&speaker.said);
	speaker_await_end();
	is_off = speaker.state == SPEAKER_OFF;
	if (!is_off)
		speaker.state = SPEAKER_STUCK; /* nobody else may try */
	pthread_mutex_unlock(&speaker.lock);
	if (is_off)
		pthread_join(speaker.thread, NULL);
}
