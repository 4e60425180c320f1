/* SPDX-License-Identifier: MIT */
/* spool - lines that a thread of its own writes. */
#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SPOOL_GATHER_MS 10     /* after a write, so that lines gather */
#define SPOOL_RETRY_MS 500     /* until a file that failed is tried again */
#define SPOOL_PATIENCE_MS 2000 /* at the end */
#define SPOOL_MODE 0640

struct spool {
	struct spool_params params;
	char *path;
	pthread_t thread;
	int wake_fd;
	bool is_late; /* the end has taken too long; atomic */

	pthread_mutex_t lock; /* guards the ring; held at most to copy one item */
	uint64_t head, tail;  /* bytes put and taken; they never wrap */
	uint64_t nr_dropped;
	size_t nr_items; /* in the ring */
	bool is_asleep, must_end, must_reopen, has_ended;
	pthread_cond_t ended; /* signalled with has_ended; by the monotonic clock */
	char *ring;

	/* Used by the writer. */
	int fd; /* -1: it has to be opened */
	int error;
	char *item;
	char batch[SPOOL_LINE_MAX];
	size_t batch_len, batch_done;
	char line[SPOOL_LINE_MAX];
	size_t line_len; /* of a line that did not fit into the last batch */
};

/* --- The ring --------------------------------------------------------------------------------------- */

static void ring_put(struct spool *spool, const void *bytes, size_t len)
{
	size_t room = spool->params.room, at = spool->head % room, first = room - at < len ? room - at : len;

	memcpy(spool->ring + at, bytes, first);
	memcpy(spool->ring, (const char *)bytes + first, len - first);
	spool->head += len;
}

static void ring_take(struct spool *spool, void *bytes, size_t len)
{
	size_t room = spool->params.room, at = spool->tail % room, first = room - at < len ? room - at : len;

	memcpy(bytes, spool->ring + at, first);
	memcpy((char *)bytes + first, spool->ring, len - first);
	spool->tail += len;
}

static void spool_wake(struct spool *spool)
{
	const uint64_t one = 1;
	ssize_t ret = write(spool->wake_fd, &one, sizeof(one)); /* fails only if a wake-up is pending */

	(void)ret;
}

bool spool_put(struct spool *spool, const void *item, size_t len)
{
	bool has_room, was_asleep = false;

	pthread_mutex_lock(&spool->lock);
	has_room = sizeof(len) + len <= spool->params.room - (size_t)(spool->head - spool->tail);
	if (has_room) {
		ring_put(spool, &len, sizeof(len));
		ring_put(spool, item, len);
		spool->nr_items++;
		was_asleep = spool->is_asleep;
		spool->is_asleep = false;
	} else {
		spool->nr_dropped++;
	}
	pthread_mutex_unlock(&spool->lock);
	if (was_asleep)
		spool_wake(spool);
	return has_room;
}

uint64_t spool_nr_dropped(struct spool *spool)
{
	uint64_t nr;

	pthread_mutex_lock(&spool->lock);
	nr = spool->nr_dropped;
	pthread_mutex_unlock(&spool->lock);
	return nr;
}

static size_t spool_nr_items(struct spool *spool)
{
	size_t nr;

	pthread_mutex_lock(&spool->lock);
	nr = spool->nr_items;
	pthread_mutex_unlock(&spool->lock);
	return nr;
}

/* Take the next item into spool->item. False if there is none now. */
static bool spool_take(struct spool *spool, size_t *ret_len)
{
	bool is_there;

	pthread_mutex_lock(&spool->lock);
	is_there = spool->head != spool->tail;
	if (is_there) {
		ring_take(spool, ret_len, sizeof(*ret_len));
		ring_take(spool, spool->item, *ret_len);
		spool->nr_items--;
	}
	pthread_mutex_unlock(&spool->lock);
	return is_there;
}

/* --- Waiting ---------------------------------------------------------------------------------------- */

/*
 * Wait until the file takes something, which is true (-1: do not ask it), a wake-up comes, or the
 * time is over.
 */
static bool spool_wait(struct spool *spool, int fd, int timeout_ms)
{
	struct pollfd fds[] = {{.fd = spool->wake_fd, .events = POLLIN}, {.fd = fd, .events = POLLOUT}};
	uint64_t nr_wakes;

	if (poll(fds, 2, timeout_ms) <= 0)
		return false;
	if (fds[0].revents && read(spool->wake_fd, &nr_wakes, sizeof(nr_wakes)) < 0)
		return false;
	return fds[1].revents;
}

/* Sleep until there is work; return at once if there is already. */
static void spool_sleep(struct spool *spool)
{
	bool is_idle;

	pthread_mutex_lock(&spool->lock);
	is_idle = spool->is_asleep = spool->head == spool->tail && !spool->must_end && !spool->must_reopen;
	pthread_mutex_unlock(&spool->lock);
	if (is_idle)
		spool_wait(spool, -1, -1);
}

/* --- The file --------------------------------------------------------------------------------------- */

static void spool_tell(struct spool *spool, int error)
{
	if (error != spool->error && spool->params.changed)
		spool->params.changed(spool->params.arg, error);
	spool->error = error;
}

/*
 * Open the file without blocking: open(2) and write(2) must not wait for a FIFO or terminal that
 * takes nothing.
 */
static int spool_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, SPOOL_MODE);

	return fd < 0 ? -errno : fd;
}

static bool spool_is_fifo(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

/* Go back to the start of a line that the old file has in part, so that the new file gets it whole. */
static void spool_rewind_line(struct spool *spool)
{
	while (spool->batch_done && spool->batch[spool->batch_done - 1] != '\n')
		spool->batch_done--;
}

/* Open the path. The old file stays in use if that fails. */
static void spool_renew(struct spool *spool)
{
	int fd = spool_open(spool->path);

	if (fd < 0) {
		spool_tell(spool, fd);
		return;
	}
	if (spool->fd >= 0)
		close(spool->fd);
	spool->fd = fd;
	spool_rewind_line(spool);
	spool_tell(spool, 0);
}

static void spool_look(struct spool *spool)
{
	bool must_reopen;

	pthread_mutex_lock(&spool->lock);
	must_reopen = spool->must_reopen;
	spool->must_reopen = false;
	pthread_mutex_unlock(&spool->lock);
	if (must_reopen && spool->path)
		spool_renew(spool);
}

/* Write some of the batch. What is left is tried again after an error. */
static void spool_write_some(struct spool *spool)
{
	ssize_t ret;

	spool_look(spool);
	if (spool->fd < 0) {
		spool_renew(spool);
		if (spool->fd < 0)
			spool_wait(spool, -1, SPOOL_RETRY_MS);
		return;
	}
	if (!spool_wait(spool, spool->fd, -1))
		return;
	ret = write(spool->fd, spool->batch + spool->batch_done, spool->batch_len - spool->batch_done);
	if (ret >= 0) {
		spool->batch_done += (size_t)ret;
		spool_tell(spool, 0);
	} else if (errno != EAGAIN && errno != EINTR) {
		spool_tell(spool, -errno);
		if (errno == EPIPE && spool->path) {
			close(spool->fd);
			spool->fd = -1;
			spool_rewind_line(spool);
		}
		spool_wait(spool, -1, SPOOL_RETRY_MS);
	}
}

/* --- The writer ------------------------------------------------------------------------------------- */

/* Fill the batch with as many lines as go together. False if there are none. */
static bool spool_fill_batch(struct spool *spool)
{
	size_t len;

	spool->batch_len = spool->batch_done = 0;
	for (;;) {
		if (!spool->line_len && spool_take(spool, &len))
			spool->line_len = spool->params.format(spool->params.arg, spool->item, len, spool->line);
		if (!spool->line_len || spool->line_len > sizeof(spool->batch) - spool->batch_len)
			return spool->batch_len;
		memcpy(spool->batch + spool->batch_len, spool->line, spool->line_len);
		spool->batch_len += spool->line_len;
		spool->line_len = 0;
	}
}

static bool spool_is_late(struct spool *spool)
{
	return __atomic_load_n(&spool->is_late, __ATOMIC_ACQUIRE);
}

static bool spool_must_end(struct spool *spool)
{
	bool must_end;

	pthread_mutex_lock(&spool->lock);
	must_end = spool->must_end;
	pthread_mutex_unlock(&spool->lock);
	return must_end;
}

/* Write what comes until the spool ends, or is late. */
static void spool_serve(struct spool *spool)
{
	for (;;) {
		bool is_ending = spool_must_end(spool); /* read first: items put before that are in the ring */

		spool_look(spool);
		if (spool_fill_batch(spool)) {
			while (spool->batch_done < spool->batch_len && !spool_is_late(spool))
				spool_write_some(spool);
			if (spool->batch_done < spool->batch_len)
				return;
		} else if (is_ending) {
			return;
		} else {
			spool_wait(spool, -1, SPOOL_GATHER_MS);
			spool_sleep(spool);
		}
	}
}

static void *spool_run(void *arg)
{
	struct spool *spool = arg;

	spool_serve(spool);
	pthread_mutex_lock(&spool->lock);
	spool->has_ended = true;
	pthread_cond_signal(&spool->ended);
	pthread_mutex_unlock(&spool->lock);
	return NULL;
}

/* --- Life ------------------------------------------------------------------------------------------- */

static void spool_destroy(struct spool *spool)
{
	if (spool->path && spool->fd >= 0)
		close(spool->fd);
	if (spool->wake_fd >= 0)
		close(spool->wake_fd);
	pthread_cond_destroy(&spool->ended);
	pthread_mutex_destroy(&spool->lock);
	free(spool->path);
	free(spool->ring);
	free(spool->item);
	free(spool);
}

static int spool_open_first(struct spool *spool)
{
	if (!spool->params.path) {
		spool->fd = spool->params.fd;
		return 0;
	}
	spool->path = strdup(spool->params.path);
	if (!spool->path)
		return -ENOMEM;
	spool->fd = spool_open(spool->path);
	return spool->fd == -ENXIO && spool_is_fifo(spool->path) ? 0 : spool->fd < 0 ? spool->fd : 0;
}

/* Start the writer, which blocks all signals. */
static int spool_start(struct spool *spool)
{
	sigset_t all, old_mask;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old_mask);
	ret = -pthread_create(&spool->thread, NULL, spool_run, spool);
	pthread_sigmask(SIG_SETMASK, &old_mask, NULL);
	return ret;
}

static void spool_init_lock(struct spool *spool)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&spool->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&spool->ended, &attr);
	pthread_condattr_destroy(&attr);
}

int spool_new(const struct spool_params *params, struct spool **ret_spool)
{
	struct spool *spool = calloc(1, sizeof(*spool));
	int ret;

	if (!spool)
		return -ENOMEM;
	spool->params = *params;
	spool->fd = -1;
	spool_init_lock(spool);
	spool->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ret = spool->wake_fd < 0 ? -errno : 0;
	spool->ring = malloc(params->room);
	spool->item = malloc(params->room);
	if (ret == 0 && (!spool->ring || !spool->item))
		ret = -ENOMEM;
	if (ret == 0)
		ret = spool_open_first(spool);
	if (ret == 0)
		ret = spool_start(spool);
	if (ret < 0) {
		spool_destroy(spool);
		return ret;
	}
	*ret_spool = spool;
	return 0;
}

void spool_reopen(struct spool *spool)
{
	pthread_mutex_lock(&spool->lock);
	spool->must_reopen = true;
	spool->is_asleep = false;
	pthread_mutex_unlock(&spool->lock);
	spool_wake(spool);
}

/* Wait up to ms for the writer: true if it has ended. */
static bool spool_join(struct spool *spool, unsigned ms)
{
	struct timespec until;
	bool has_ended;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (until.tv_nsec / 1000000 + ms) / 1000;
	until.tv_nsec = (until.tv_nsec / 1000000 + ms) % 1000 * 1000000;
	pthread_mutex_lock(&spool->lock);
	while (!spool->has_ended && pthread_cond_timedwait(&spool->ended, &spool->lock, &until) == 0)
		continue;
	has_ended = spool->has_ended;
	pthread_mutex_unlock(&spool->lock);
	return has_ended && pthread_join(spool->thread, NULL) == 0;
}

/* Count the lines in the batch and after it, once the writer has ended. */
static size_t spool_lines_left(const struct spool *spool)
{
	size_t nr = spool->line_len ? 1 : 0;

	for (size_t at = spool->batch_done; at < spool->batch_len; at++)
		nr += spool->batch[at] == '\n';
	return nr;
}

size_t spool_free(struct spool *spool)
{
	size_t left;

	if (!spool)
		return 0;
	pthread_mutex_lock(&spool->lock);
	spool->must_end = true;
	pthread_mutex_unlock(&spool->lock);
	spool_wake(spool);
	if (!spool_join(spool, SPOOL_PATIENCE_MS)) {
		__atomic_store_n(&spool->is_late, true, __ATOMIC_RELEASE);
		spool_wake(spool);
		if (!spool_join(spool, SPOOL_RETRY_MS)) {
			pthread_detach(spool->thread); /* blocked by a disk: its memory stays with it */
			return spool_nr_items(spool) + 1;
		}
	}
	left = spool_nr_items(spool) + spool_lines_left(spool);
	spool_destroy(spool);
	return left;
}
