/* SPDX-License-Identifier: MIT */
/* fill - two queues of pieces, and threads that read them. */
#include "mm/fill.h"

#include <errno.h>
#include <pthread.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/thread.h"

#define FILL_SEGS 16
#define FILL_BYTES ((size_t)1 << 20) /* most bytes of several pieces in one call */
#define FILL_THREADS_MAX 16

TAILQ_HEAD(fill_queue, usp_fill);

struct usp_filler {
	struct usp_filler_params params;
	pthread_mutex_t lock;
	pthread_cond_t wait;
	struct fill_queue urgent, ahead;
	pthread_t threads[FILL_THREADS_MAX];
	unsigned nr_threads, nr_idle;
	bool is_closing;
};

/* --- Reading -------------------------------------------------------------------------------------------- */

/* Drop the first len bytes of the segments: the number of segments that are left. */
static unsigned fill_skip(struct iovec *iov, unsigned nr_segs, size_t len)
{
	unsigned from = 0, to = 0;

	for (; from < nr_segs && len >= iov[from].iov_len; from++)
		len -= iov[from].iov_len;
	for (; from < nr_segs; from++, len = 0)
		iov[to++] = (struct iovec){.iov_base = (char *)iov[from].iov_base + len,
					   .iov_len = iov[from].iov_len - len};
	return to;
}

/* Ask the source once. More than fits is no answer, and neither is "later". */
static ssize_t fill_ask(struct usp_filler *filler, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	ssize_t ret = filler->params.read(filler->params.arg, iov, nr_segs, off);
	size_t len = 0;

	for (unsigned i = 0; i < nr_segs; i++)
		len += iov[i].iov_len;
	return ret == -EAGAIN || (ret > 0 && (size_t)ret > len) ? -EIO : ret;
}

/* Read until the segments are full: the bytes, and what came behind them: 0 for the end, or -errno. */
static size_t fill_read(struct usp_filler *filler, struct iovec *iov, unsigned nr_segs, int64_t off, int *ret_error)
{
	size_t done = 0;
	ssize_t ret = 0;

	while (nr_segs) {
		ret = fill_ask(filler, iov, nr_segs, off + (int64_t)done);
		if (ret == -EINTR)
			continue;
		if (ret <= 0)
			break;
		done += (size_t)ret;
		nr_segs = fill_skip(iov, nr_segs, (size_t)ret);
	}
	*ret_error = ret < 0 ? (int)ret : 0;
	return done;
}

/* Read pieces in one call, and report them up to one with an error: how many. */
static unsigned fill_some(struct usp_filler *filler, struct usp_fill *const *fills, unsigned nr)
{
	struct iovec iov[FILL_SEGS];
	int error, error_here = 0;
	unsigned i;
	size_t done;

	for (i = 0; i < nr; i++)
		iov[i] = (struct iovec){.iov_base = fills[i]->base, .iov_len = fills[i]->len};
	done = fill_read(filler, iov, nr, fills[0]->off, &error);
	for (i = 0; i < nr && !error_here; i++) {
		struct usp_fill *fill = fills[i];

		fill->nr_read = usp_min(done, fill->len);
		fill->error = error_here = fill->nr_read < fill->len ? error : 0;
		done -= fill->nr_read;
		filler->params.done(filler->params.arg, fill);
	}
	return i;
}

/* Pieces behind an error are read again: that one cannot be read tells nothing of the others. */
static void fill_run(struct usp_filler *filler, struct usp_fill *const *fills, unsigned nr)
{
	unsigned done;

	for (; nr; fills += done, nr -= done)
		done = fill_some(filler, fills, nr);
}

void usp_filler_run(struct usp_filler *filler, struct usp_fill *fill)
{
	fill_run(filler, &fill, 1);
}

/* --- The threads ---------------------------------------------------------------------------------------- */

static struct usp_fill *fill_pop(struct fill_queue *queue)
{
	struct usp_fill *fill = TAILQ_FIRST(queue);

	if (!fill)
		return NULL;
	TAILQ_REMOVE(queue, fill, link);
	fill->queue = USP_FILL_IDLE;
	return fill;
}

/* Take the next piece, and those behind it that can be read with it. Lock held. */
static unsigned fill_take(struct usp_filler *filler, struct usp_fill **ret_fills)
{
	struct fill_queue *queue = TAILQ_EMPTY(&filler->urgent) ? &filler->ahead : &filler->urgent;
	struct usp_fill *fill = fill_pop(queue);
	unsigned nr = 0;
	size_t len = 0;

	while (fill) {
		const struct usp_fill *next = TAILQ_FIRST(queue);

		ret_fills[nr++] = fill;
		len += fill->len;
		if (!next || next->off != fill->off + (int64_t)fill->len || len + next->len > FILL_BYTES ||
		    nr == FILL_SEGS)
			break;
		fill = fill_pop(queue);
	}
	return nr;
}

static void *fill_main(void *arg)
{
	struct usp_filler *filler = arg;
	struct usp_fill *fills[FILL_SEGS];
	unsigned nr;

	pthread_mutex_lock(&filler->lock);
	for (;;) {
		nr = fill_take(filler, fills);
		if (nr) {
			pthread_mutex_unlock(&filler->lock);
			fill_run(filler, fills, nr);
			pthread_mutex_lock(&filler->lock);
			continue;
		}
		if (filler->is_closing)
			break;
		filler->nr_idle++;
		pthread_cond_wait(&filler->wait, &filler->lock);
		filler->nr_idle--;
	}
	pthread_mutex_unlock(&filler->lock);
	return NULL;
}

/* Make one more thread. Lock held. */
static void fill_add_thread(struct usp_filler *filler)
{
	if (usp_thread_start(&filler->threads[filler->nr_threads], fill_main, filler) == 0)
		filler->nr_threads++;
}

/* --- Asking --------------------------------------------------------------------------------------------- */

static struct fill_queue *fill_queue_of(struct usp_filler *filler, const struct usp_fill *fill)
{
	return fill->queue == USP_FILL_URGENT ? &filler->urgent : &filler->ahead;
}

static void fill_push(struct usp_filler *filler, struct usp_fill *fill, bool is_urgent)
{
	fill->queue = is_urgent ? USP_FILL_URGENT : USP_FILL_AHEAD;
	TAILQ_INSERT_TAIL(fill_queue_of(filler, fill), fill, link);
}

/* Each waiting piece finds a thread that is idle, or a new one. */
bool usp_filler_ask(struct usp_filler *filler, struct usp_fill *fill, bool is_urgent)
{
	bool is_taken;

	pthread_mutex_lock(&filler->lock);
	if (!filler->nr_idle && filler->nr_threads < filler->params.nr_threads)
		fill_add_thread(filler);
	is_taken = filler->nr_threads > 0;
	if (is_taken)
		fill_push(filler, fill, is_urgent);
	if (filler->nr_idle)
		pthread_cond_signal(&filler->wait);
	pthread_mutex_unlock(&filler->lock);
	return is_taken;
}

void usp_filler_hurry(struct usp_filler *filler, struct usp_fill *fill)
{
	pthread_mutex_lock(&filler->lock);
	if (fill->queue == USP_FILL_AHEAD) {
		TAILQ_REMOVE(&filler->ahead, fill, link);
		fill_push(filler, fill, true);
	}
	pthread_mutex_unlock(&filler->lock);
}

bool usp_filler_cancel(struct usp_filler *filler, struct usp_fill *fill)
{
	bool is_queued;

	pthread_mutex_lock(&filler->lock);
	is_queued = fill->queue != USP_FILL_IDLE;
	if (is_queued)
		TAILQ_REMOVE(fill_queue_of(filler, fill), fill, link);
	fill->queue = USP_FILL_IDLE;
	pthread_mutex_unlock(&filler->lock);
	return is_queued;
}

/* --- Life ----------------------------------------------------------------------------------------------- */

int usp_filler_new(const struct usp_filler_params *params, struct usp_filler **ret_filler)
{
	struct usp_filler *filler = usp_alloc(sizeof(*filler));

	if (!filler)
		return -ENOMEM;
	filler->params = *params;
	filler->params.nr_threads = (unsigned)usp_min(params->nr_threads, FILL_THREADS_MAX);
	pthread_mutex_init(&filler->lock, NULL);
	pthread_cond_init(&filler->wait, NULL);
	TAILQ_INIT(&filler->urgent);
	TAILQ_INIT(&filler->ahead);
	*ret_filler = filler;
	return 0;
}

void usp_filler_free(struct usp_filler *filler)
{
	pthread_mutex_lock(&filler->lock);
	filler->is_closing = true;
	pthread_cond_broadcast(&filler->wait);
	pthread_mutex_unlock(&filler->lock);
	for (unsigned i = 0; i < filler->nr_threads; i++)
		pthread_join(filler->threads[i], NULL);
	pthread_mutex_destroy(&filler->lock);
	pthread_cond_destroy(&filler->wait);
	usp_free(filler);
}
