/* SPDX-License-Identifier: MIT */
/*
 * pieces - cut input into pieces, let threads work at them at a time, and give what they made in order.
 *
 *   feed ──► hold ──cut──► [piece|piece|piece|piece] ──next──► folios
 *                           first      ▲ todo
 *                                      └── workers
 *
 * The scanner of the format says how many bytes it wants to see, and only these are copied: so a piece ends where the
 * hold ends. Small units go together, because to hand over a piece costs some microseconds. One that is large, behind
 * small ones, is moved into a hold of its own.
 *
 * Input and output are folios: those that have come back are used again. No more than PIECES_BYTES are in flight.
 */
#include "pieces/pieces.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/thread.h"

#define PIECES_MAX 32
#define PIECES_BYTES ((size_t)64 << 20)
#define PIECES_WORKERS_MAX 15	     /* two pieces for each, and one to spare */
#define PIECE_IN ((size_t)256 << 10) /* a piece that has so much, or may make so much, is large enough */
#define PIECE_OUT ((size_t)4 << 20)  /* memory that nothing is written to costs nothing */
#define HOLD_LEN ((size_t)256 << 10)

struct slot {
	struct usp_piece piece;
	struct usp_folio *in, *out;
	int error;
	bool is_done;
};

/* What was taken and not cut yet: before bytes that a worker needs, whole units, and a part of one. */
struct hold {
	struct usp_folio *folio;
	size_t before, len;			  /* len without before */
	size_t whole;				  /* bytes of whole units */
	size_t room;				  /* of these */
	struct usp_split_frame frame, unit_frame; /* at the first byte, and behind the whole units */
};

struct usp_pieces {
	const struct usp_split *split;
	int level;
	void *joint, *own; /* the state of join, and of a worker that is the caller */
	struct hold hold;
	struct usp_scan scan;
	bool has_begun; /* an encoder has cut its first piece */

	pthread_mutex_t lock;
	pthread_cond_t work, done;
	struct slot slots[PIECES_MAX];
	unsigned first, todo, end; /* free-running */
	size_t nr_bytes;	   /* of the folios in flight */
	bool must_quit;
	pthread_t workers[PIECES_WORKERS_MAX];
	unsigned nr_workers;
};

static struct slot *pieces_slot(struct usp_pieces *pieces, unsigned position)
{
	return &pieces->slots[position % PIECES_MAX];
}

/* --- Work --------------------------------------------------------------------------------------------------- */

/* Work at a piece, with the state of a worker, which is made when it is needed. */
static int pieces_work(const struct usp_pieces *pieces, struct usp_piece *piece, void **worker)
{
	if (!*worker)
		*worker = pieces->split->open(pieces->level);
	return *worker ? pieces->split->run(*worker, piece) : -ENOMEM;
}

static void *pieces_main(void *arg)
{
	struct usp_pieces *pieces = arg;
	void *worker = NULL;

	pthread_mutex_lock(&pieces->lock);
	while (!pieces->must_quit) {
		struct slot *slot;

		if (pieces->todo == pieces->end) {
			pthread_cond_wait(&pieces->work, &pieces->lock);
			continue;
		}
		slot = pieces_slot(pieces, pieces->todo++);
		pthread_mutex_unlock(&pieces->lock);
		slot->error = pieces_work(pieces, &slot->piece, &worker);
		pthread_mutex_lock(&pieces->lock);
		slot->is_done = true;
		if (slot == pieces_slot(pieces, pieces->first))
			pthread_cond_signal(&pieces->done);
	}
	pthread_mutex_unlock(&pieces->lock);
	pieces->split->free(worker);
	return NULL;
}

void usp_pieces_start(struct usp_pieces *pieces, unsigned nr)
{
	for (nr = (unsigned)usp_min(nr, PIECES_WORKERS_MAX); pieces->nr_workers < nr; pieces->nr_workers++) {
		if (usp_thread_start(&pieces->workers[pieces->nr_workers], pieces_main, pieces) < 0)
			break;
	}
}

/* Give a piece that was made in the slot of the end to the workers, or do it. */
static void pieces_give(struct usp_pieces *pieces)
{
	struct slot *slot = pieces_slot(pieces, pieces->end);

	pieces->nr_bytes += slot->in->len + slot->out->len;
	slot->is_done = false;
	if (!pieces->nr_workers) {
		slot->error = pieces_work(pieces, &slot->piece, &pieces->own);
		slot->is_done = true;
		pieces->todo = ++pieces->end;
		return;
	}
	pthread_mutex_lock(&pieces->lock);
	pieces->end++;
	pthread_cond_signal(&pieces->work);
	pthread_mutex_unlock(&pieces->lock);
}

/* --- The hold ----------------------------------------------------------------------------------------------- */

static unsigned char *hold_at(const struct hold *hold)
{
	return hold->folio->base + hold->before;
}

/* Have room for len bytes: 0 or -ENOMEM. */
static int hold_reserve(struct hold *hold, size_t len)
{
	size_t have = hold->folio ? hold->folio->len : 0, want = usp_max(hold->before + len, HOLD_LEN);
	struct usp_folio *folio;

	if (want <= have)
		return 0;
	folio = usp_folio_new(usp_max(want, usp_min(2 * have, USP_SPLIT_ROOM_MAX)));
	if (!folio)
		return -ENOMEM;
	if (hold->folio) {
		memcpy(folio->base, hold->folio->base, hold->before + hold->len);
		usp_folio_put(hold->folio);
	}
	hold->folio = folio;
	return 0;
}

/* Begin a hold behind a piece, with what a worker needs of it and the part of a unit: 0 or -ENOMEM. */
static int hold_begin(struct hold *hold, const struct hold *last, size_t before)
{
	before = usp_min(before, last->before + last->whole);
	*hold = (struct hold){.before = before, .frame = last->unit_frame, .unit_frame = last->unit_frame};
	if (!before && last->len == last->whole)
		return 0;
	if (hold_reserve(hold, last->len - last->whole) < 0)
		return -ENOMEM;
	hold->len = last->len - last->whole;
	memcpy(hold->folio->base, hold_at(last) + last->whole - before, before + hold->len);
	return 0;
}

/* Make a piece of the whole units, in the slot of the end: 0 or -ENOMEM. */
static int pieces_make(struct usp_pieces *pieces, bool is_last)
{
	struct slot *slot = pieces_slot(pieces, pieces->end);
	struct hold *hold = &pieces->hold, rest;

	if (hold_reserve(hold, hold->len) < 0)
		return -ENOMEM;
	slot->out = usp_folio_new(usp_max(hold->room, 1));
	if (!slot->out)
		return -ENOMEM;
	if (hold_begin(&rest, hold, pieces->split->before) < 0) {
		usp_folio_put(slot->out);
		return -ENOMEM;
	}
	slot->in = hold->folio;
	slot->piece = (struct usp_piece){.in = hold_at(hold),
					 .in_len = hold->whole,
					 .before = hold->before,
					 .out = slot->out->base,
					 .room = slot->out->len,
					 .frame = hold->frame,
					 .is_first = !pieces->has_begun,
					 .is_last = is_last};
	*hold = rest;
	pieces->has_begun = true;
	pieces_give(pieces);
	return 0;
}

int usp_pieces_cut(struct usp_pieces *pieces)
{
	return pieces->hold.whole ? pieces_make(pieces, false) : 0;
}

int usp_pieces_end(struct usp_pieces *pieces)
{
	struct hold *hold = &pieces->hold;

	hold->whole = hold->len;
	hold->room += pieces->scan.room;
	return pieces_make(pieces, true);
}

/* A unit is whole. Cut if there is enough: 0 or -ENOMEM. */
static int pieces_end_unit(struct usp_pieces *pieces)
{
	struct hold *hold = &pieces->hold;
	bool is_end = pieces->scan.is_end;

	hold->whole = hold->len;
	hold->room += pieces->scan.room;
	hold->unit_frame = pieces->scan.frame;
	pieces->scan = (struct usp_scan){.frame = hold->unit_frame};
	return is_end || hold->whole >= PIECE_IN || hold->room >= PIECE_OUT ? usp_pieces_cut(pieces) : 0;
}

/* Let the scanner look at the unit: 0, USP_PIECES_STREAM or NEVER, or -ENOMEM. */
static int pieces_look(struct usp_pieces *pieces)
{
	struct hold *hold = &pieces->hold;
	struct usp_scan *scan = &pieces->scan;
	enum usp_scan_result result;

	if (hold_reserve(hold, hold->len) < 0)
		return -ENOMEM;
	result = pieces->split->scan(scan, hold_at(hold) + hold->whole, hold->len - hold->whole);
	if (result == USP_SCAN_UNIT)
		return pieces_end_unit(pieces);
	if (result != USP_SCAN_MORE)
		return result == USP_SCAN_NEVER ? USP_PIECES_NEVER : USP_PIECES_STREAM;
	if (scan->need > USP_SPLIT_ROOM_MAX || scan->room > USP_SPLIT_ROOM_MAX)
		return USP_PIECES_STREAM;
	if (hold->whole + scan->need > PIECE_IN || hold->room + scan->room > PIECE_OUT) {
		int ret = usp_pieces_cut(pieces);

		if (ret < 0)
			return ret;
	}
	return hold_reserve(hold, hold->whole + scan->need);
}

int usp_pieces_feed(struct usp_pieces *pieces, const unsigned char *in, size_t *len)
{
	struct hold *hold = &pieces->hold;
	size_t taken = 0;
	int ret = 0;

	while (ret == 0 && !usp_pieces_is_full(pieces)) {
		size_t part = hold->len - hold->whole, chunk;

		if (part >= pieces->scan.need) {
			ret = pieces_look(pieces);
			continue;
		}
		if (taken == *len)
			break;
		chunk = usp_min(pieces->scan.need - part, *len - taken);
		ret = hold_reserve(hold, hold->len + chunk);
		if (ret < 0)
			break;
		memcpy(hold_at(hold) + hold->len, in + taken, chunk);
		hold->len += chunk;
		taken += chunk;
	}
	*len = taken;
	return ret;
}

/* --- In order ----------------------------------------------------------------------------------------------- */

bool usp_pieces_is_full(const struct usp_pieces *pieces)
{
	unsigned nr = pieces->end - pieces->first;

	return nr > 2 * pieces->nr_workers || (nr && pieces->nr_bytes >= PIECES_BYTES);
}

bool usp_pieces_has_some(const struct usp_pieces *pieces)
{
	return pieces->end != pieces->first;
}

bool usp_pieces_can_go_on(const struct usp_pieces *pieces)
{
	const struct hold *hold = &pieces->hold;

	return !pieces->split->is_encoder && (hold->whole || (hold->len && !pieces->split->is_late));
}

/* Drop the first piece, without its output. */
static void pieces_drop(struct usp_pieces *pieces)
{
	struct slot *slot = pieces_slot(pieces, pieces->first);

	pieces->nr_bytes -= slot->in->len + (slot->out ? slot->out->len : 0);
	usp_folio_put(slot->in);
	if (slot->out)
		usp_folio_put(slot->out);
	pthread_mutex_lock(&pieces->lock);
	pieces->first++;
	pthread_mutex_unlock(&pieces->lock);
}

/* Wait until no worker is at a piece, and none will be. */
static void pieces_recall(struct usp_pieces *pieces)
{
	pthread_mutex_lock(&pieces->lock);
	for (unsigned i = pieces->todo; i != pieces->end; i++)
		pieces_slot(pieces, i)->is_done = true;
	pieces->todo = pieces->end;
	pthread_mutex_unlock(&pieces->lock);
}

static void pieces_await(struct usp_pieces *pieces)
{
	pthread_mutex_lock(&pieces->lock);
	while (!pieces_slot(pieces, pieces->first)->is_done)
		pthread_cond_wait(&pieces->done, &pieces->lock);
	pthread_mutex_unlock(&pieces->lock);
}

int usp_pieces_next(struct usp_pieces *pieces, struct usp_folio **ret_folio, size_t *ret_len, size_t *ret_taken,
		    const char **ret_why)
{
	struct slot *slot = pieces_slot(pieces, pieces->first);
	int ret = 1;

	pieces_await(pieces);
	if (slot->error < 0 && (slot->error == -ENOMEM || pieces->split->is_encoder))
		return slot->error;
	if (slot->error < 0) {
		pieces_recall(pieces);
		return USP_PIECES_STREAM;
	}
	if (pieces->split->join) {
		if (!pieces->joint)
			pieces->joint = pieces->split->join_open();
		if (!pieces->joint)
			return -ENOMEM;
		ret = pieces->split->join(pieces->joint, &slot->piece, ret_why);
	}
	*ret_folio = slot->out;
	*ret_len = slot->piece.out_len;
	*ret_taken = slot->piece.in_len;
	pieces->nr_bytes -= slot->out->len;
	slot->out = NULL;
	pieces_drop(pieces);
	return ret < 0 ? ret : 1;
}

/* --- The rest ----------------------------------------------------------------------------------------------- */

const struct usp_split_frame *usp_pieces_frame(const struct usp_pieces *pieces)
{
	return usp_pieces_has_some(pieces) ? &pieces->slots[pieces->first % PIECES_MAX].piece.frame
					   : &pieces->hold.frame;
}

const unsigned char *usp_pieces_left(struct usp_pieces *pieces, size_t done, size_t *ret_len)
{
	struct hold *hold = &pieces->hold;

	if (usp_pieces_has_some(pieces)) {
		struct usp_piece *piece = &pieces_slot(pieces, pieces->first)->piece;

		pieces_await(pieces); /* a worker may still read it */
		piece->in += done;
		piece->in_len -= done;
		*ret_len = piece->in_len;
		if (*ret_len)
			return piece->in;
		pieces_drop(pieces);
		return usp_pieces_left(pieces, 0, ret_len);
	}
	hold->before += done;
	hold->len -= done;
	*ret_len = hold->len;
	if (*ret_len)
		return hold_at(hold);
	hold->before = hold->whole = hold->room = 0;
	hold->frame = hold->unit_frame = (struct usp_split_frame){0};
	pieces->scan = (struct usp_scan){0};
	return NULL;
}

/* --- Life --------------------------------------------------------------------------------------------------- */

struct usp_pieces *usp_pieces_new(const struct usp_split *split, int level)
{
	struct usp_pieces *pieces = usp_alloc(sizeof(*pieces));

	if (!pieces)
		return NULL;
	pieces->split = split;
	pieces->level = level;
	pthread_mutex_init(&pieces->lock, NULL);
	pthread_cond_init(&pieces->work, NULL);
	pthread_cond_init(&pieces->done, NULL);
	return pieces;
}

static void pieces_stop(struct usp_pieces *pieces)
{
	pthread_mutex_lock(&pieces->lock);
	pieces->must_quit = true;
	pthread_cond_broadcast(&pieces->work);
	pthread_mutex_unlock(&pieces->lock);
	for (unsigned i = 0; i < pieces->nr_workers; i++)
		pthread_join(pieces->workers[i], NULL);
}

void usp_pieces_free(struct usp_pieces *pieces)
{
	if (!pieces)
		return;
	pieces_stop(pieces);
	while (usp_pieces_has_some(pieces))
		pieces_drop(pieces);
	if (pieces->hold.folio)
		usp_folio_put(pieces->hold.folio);
	if (pieces->joint)
		pieces->split->join_free(pieces->joint);
	if (pieces->own)
		pieces->split->free(pieces->own);
	pthread_cond_destroy(&pieces->done);
	pthread_cond_destroy(&pieces->work);
	pthread_mutex_destroy(&pieces->lock);
	usp_free(pieces);
}
