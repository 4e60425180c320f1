/* SPDX-License-Identifier: MIT */
/*
 * seekable - decompress with positions: only what is read is decompressed, where the file can tell its pieces.
 *
 *   reader ──► mapping ──► read_folios ──► piece of the table ──► kept pieces ──► folios
 *                                               │ not there          ▲
 *                                               └──► decompress ─────┘
 *
 * A piece is longer or shorter than a folio, and begins anywhere. It is decompressed once, kept, and copied into the
 * folios that it covers. One that lies within a folio is decompressed right there: folios that are read ahead are as long
 * as the longest piece, for files whose pieces are a power of two. A thread that finds its piece in the
 * work of another thread does the next piece meanwhile, if the pieces are read in order. Half of the budget is for
 * folios, or more, and the rest for pieces; the least recently used ones make room.
 *
 * The table belongs to a state of the file below. When that file changes the table is read again, and the pieces of the
 * old one are of no use.
 *
 * No byte of a piece goes on that is damaged, or has another length or checksum than the table says.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "splice/filemap_source.h"
#include "transforms/seekable_table.h"
#include "transforms/transforms.h"

#define SEEKABLE_BUDGET ((size_t)64 << 20)
#define SEEKABLE_BUDGET_MAX ((size_t)256 << 20) /* that it takes without being asked */
#define SEEKABLE_BUDGET_MIN ((size_t)512 << 10)
#define SEEKABLE_THREADS_MAX 16u

/* A piece that is kept, or is in work. */
struct seekable_piece {
	TAILQ_ENTRY(seekable_piece) link;
	uint64_t table_nr;
	size_t index;
	struct usp_folio *folio; /* NULL if it goes right into a folio of the mapping, and after an error */
	size_t memory;		 /* bytes of it, that count */
	unsigned nr_users;	 /* threads that copy from it */
	bool is_ready;
	int error;
};

struct seekable {
	struct usp_filemap_source source; /* first */
	unsigned nr_threads;
	pthread_mutex_t lock;
	pthread_cond_t moved; /* a piece is ready, or no longer in use */
	struct seekable_table *table;
	TAILQ_HEAD(seekable_pieces, seekable_piece) pieces; /* the most recently used one first */
	size_t memory, room;				    /* of the pieces, and at most */
};

/* --- Tables ------------------------------------------------------------------------------------------------- */

static struct seekable_table *seekable_get_table(struct seekable *seekable)
{
	struct seekable_table *table;

	pthread_mutex_lock(&seekable->lock);
	table = seekable->table;
	table->refs++;
	pthread_mutex_unlock(&seekable->lock);
	return table;
}

static void seekable_put_table(struct seekable *seekable, struct seekable_table *table)
{
	bool is_last;

	pthread_mutex_lock(&seekable->lock);
	is_last = --table->refs == 0;
	pthread_mutex_unlock(&seekable->lock);
	if (is_last)
		usp_seekable_table_free(table);
}

/* --- Kept pieces. The lock is held, except where said. ------------------------------------------------------- */

/* Return the memory that a folio of len bytes takes. */
static size_t piece_memory(size_t len)
{
	size_t memory = 4096;

	while (memory < len)
		memory *= 2;
	return memory;
}

static struct seekable_piece *piece_find(const struct seekable *seekable, const struct seekable_table *table,
					 size_t index)
{
	struct seekable_piece *piece;

	TAILQ_FOREACH(piece, &seekable->pieces, link)
	{
		if (piece->table_nr == table->nr && piece->index == index)
			return piece;
	}
	return NULL;
}

/* Give the memory of a piece back. */
static void piece_drop_memory(struct seekable *seekable, struct seekable_piece *piece)
{
	if (piece->folio)
		usp_folio_put(piece->folio);
	piece->folio = NULL;
	seekable->memory -= piece->memory;
	piece->memory = 0;
}

static void piece_remove(struct seekable *seekable, struct seekable_piece *piece)
{
	TAILQ_REMOVE(&seekable->pieces, piece, link);
	piece_drop_memory(seekable, piece);
	usp_free(piece);
	pthread_cond_broadcast(&seekable->moved);
}

/* Give up the least recently used piece that has memory, is not in use, and does not stand at or behind `from`. */
static bool piece_evict(struct seekable *seekable, const struct seekable_table *table, size_t from)
{
	struct seekable_piece *piece;

	TAILQ_FOREACH_REVERSE(piece, &seekable->pieces, seekable_pieces, link)
	{
		if (piece->is_ready && !piece->nr_users && piece->memory &&
		    (piece->table_nr != table->nr || piece->index < from)) {
			piece_remove(seekable, piece);
			return true;
		}
	}
	return false;
}

/* Count memory for a piece, and make room for it by pieces that stand before `from`. False if there is no room now. */
static bool piece_reserve(struct seekable *seekable, const struct seekable_table *table, size_t memory, size_t from)
{
	while (seekable->memory + memory > seekable->room) {
		if (!piece_evict(seekable, table, from))
			return false;
	}
	seekable->memory += memory;
	return true;
}

/*
 * Add a piece that this thread is going to make. memory is counted already, and goes along; 0 if it is made elsewhere.
 * NULL without memory: then it does not count any more.
 */
static struct seekable_piece *piece_add(struct seekable *seekable, const struct seekable_table *table, size_t index,
					size_t memory)
{
	struct seekable_piece *piece = usp_alloc(sizeof(*piece));

	if (piece && memory)
		piece->folio = usp_folio_new(memory);
	if (!piece || (memory && !piece->folio)) {
		seekable->memory -= memory;
		pthread_cond_broadcast(&seekable->moved);
		usp_free(piece);
		return NULL;
	}
	piece->table_nr = table->nr;
	piece->index = index;
	piece->memory = memory;
	TAILQ_INSERT_HEAD(&seekable->pieces, piece, link);
	return piece;
}

/* --- Decompressing. Without the lock. ------------------------------------------------------------------------ */

/* Tell of a piece that failed: the error. One that stands in a file that has changed tells nothing. */
static int seekable_fail(struct seekable *seekable, const struct seekable_table *table, size_t index, int error,
			 const char *why)
{
	struct usp_mapping_state now = {.bytes = 0};

	if (error != -EBADMSG && error != -ENODATA && error != -EFBIG)
		return error;
	if (usp_filemap_get_state(seekable->source.below, &now) < 0 || !usp_seekable_table_is_of(table, &now))
		return -ESTALE;
	usp_filemap_source_fail(&seekable->source, error == -ENODATA ? "the input is cut off" : why,
				(uint64_t)table->pieces.pieces[index].in_off);
	return error == -ENODATA ? -EBADMSG : error;
}

/* Decompress a piece: 0 or -errno. */
static int seekable_decode(struct seekable *seekable, const struct seekable_table *table, size_t index,
			   unsigned char *out)
{
	const char *why = NULL;
	int ret = usp_seekable_table_decode(table, index, out, &why);

	return ret < 0 ? seekable_fail(seekable, table, index, ret, why) : 0;
}

/* Make a piece that was added, with the lock held, which is dropped meanwhile: 0 or -errno. */
static int piece_make(struct seekable *seekable, const struct seekable_table *table, struct seekable_piece *piece,
		      unsigned char *out)
{
	int error;

	pthread_mutex_unlock(&seekable->lock);
	error = seekable_decode(seekable, table, piece->index, out);
	pthread_mutex_lock(&seekable->lock);
	piece->is_ready = true;
	piece->error = error;
	if (error < 0)
		piece_drop_memory(seekable, piece);
	pthread_cond_broadcast(&seekable->moved);
	return error;
}

/* --- Taking. The lock is held, and dropped meanwhile. -------------------------------------------------------- */

/* Return the first piece behind index that is not there, and should be soon, or nr_pieces. */
static size_t piece_ahead(const struct seekable *seekable, const struct seekable_table *table, size_t index)
{
	size_t end = usp_min(table->pieces.nr_pieces, index + seekable->nr_threads);

	if (index && !piece_find(seekable, table, index - 1))
		return table->pieces.nr_pieces; /* they are not read in order */
	for (size_t next = index + 1; next < end; next++) {
		if (!piece_find(seekable, table, next))
			return next;
	}
	return table->pieces.nr_pieces;
}

/* Another thread makes this piece: make the next one, or wait until something has changed. */
static void piece_await(struct seekable *seekable, const struct seekable_table *table, size_t index)
{
	size_t next = piece_ahead(seekable, table, index), memory;
	struct seekable_piece *piece = NULL;

	if (next < table->pieces.nr_pieces) {
		memory = piece_memory(table->pieces.pieces[next].out_len);
		if (piece_reserve(seekable, table, memory, index))
			piece = piece_add(seekable, table, next, memory);
	}
	if (piece)
		piece_make(seekable, table, piece, piece->folio->base);
	else
		pthread_cond_wait(&seekable->moved, &seekable->lock);
}

/* Make a piece that is not there, or wait until there is room for it: 0 or -errno. */
static int piece_begin(struct seekable *seekable, const struct seekable_table *table, size_t index)
{
	size_t memory = piece_memory(table->pieces.pieces[index].out_len);
	struct seekable_piece *piece;

	if (!piece_reserve(seekable, table, memory, SIZE_MAX)) {
		pthread_cond_wait(&seekable->moved, &seekable->lock);
		return 0;
	}
	piece = piece_add(seekable, table, index, memory);
	if (!piece)
		return -ENOMEM;
	piece_make(seekable, table, piece, piece->folio->base); /* whoever finds it next takes the error */
	return 0;
}

/* Take a piece into use: 0, or -errno, which is told once. */
static int piece_take(struct seekable *seekable, const struct seekable_table *table, size_t index,
		      struct seekable_piece **ret_piece)
{
	struct seekable_piece *piece;
	int ret = 0;

	while (ret == 0) {
		piece = piece_find(seekable, table, index);
		if (!piece) {
			ret = piece_begin(seekable, table, index);
		} else if (!piece->is_ready) {
			piece_await(seekable, table, index);
		} else if (piece->error) {
			ret = piece->error;
			piece_remove(seekable, piece);
		} else {
			TAILQ_REMOVE(&seekable->pieces, piece, link);
			TAILQ_INSERT_HEAD(&seekable->pieces, piece, link);
			piece->nr_users++;
			*ret_piece = piece;
			return 0;
		}
	}
	return ret;
}

/* --- The mapping's source ------------------------------------------------------------------------------------ */

/* Decompress a piece right into memory, if it is not there: 1 if that was done, 0 if not, or -errno. */
static int seekable_make_in(struct seekable *seekable, const struct seekable_table *table, size_t index,
			    unsigned char *out)
{
	struct seekable_piece *piece = NULL;
	int ret = 0;

	pthread_mutex_lock(&seekable->lock);
	if (!piece_find(seekable, table, index))
		piece = piece_add(seekable, table, index, 0);
	if (piece) {
		ret = piece_make(seekable, table, piece, out);
		piece_remove(seekable, piece);
		ret = ret < 0 ? ret : 1;
	}
	pthread_mutex_unlock(&seekable->lock);
	return ret;
}

/* Give bytes of a piece, from at on: 0 or -errno. */
static int seekable_copy(struct seekable *seekable, const struct seekable_table *table, size_t index, size_t at,
			 unsigned char *to, size_t len)
{
	struct seekable_piece *piece = NULL;
	int ret;

	pthread_mutex_lock(&seekable->lock);
	ret = piece_take(seekable, table, index, &piece);
	pthread_mutex_unlock(&seekable->lock);
	if (ret < 0)
		return ret;
	memcpy(to, piece->folio->base + at, len);
	pthread_mutex_lock(&seekable->lock);
	piece->nr_users--;
	pthread_cond_broadcast(&seekable->moved);
	pthread_mutex_unlock(&seekable->lock);
	return 0;
}

/* Give up to len bytes at off of what comes out, of one piece: how many, or -errno. */
static ssize_t seekable_give(struct seekable *seekable, const struct seekable_table *table, int64_t off,
			     unsigned char *to, size_t len)
{
	size_t index = usp_seek_find(&table->pieces, off);
	const struct usp_seek_piece *piece = &table->pieces.pieces[index];
	size_t at = (size_t)(off - piece->out_off);
	int ret = 0;

	len = usp_min(len, piece->out_len - at);
	if (len == piece->out_len)
		ret = seekable_make_in(seekable, table, index, to);
	if (ret == 0)
		ret = seekable_copy(seekable, table, index, at, to, len);
	return ret < 0 ? ret : (ssize_t)len;
}

static ssize_t seekable_read_folios(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	struct seekable *seekable = arg;
	struct seekable_table *table = seekable_get_table(seekable);
	int64_t end = table->pieces.out_len;
	ssize_t ret = 0, done = 0;

	for (unsigned i = 0; i < nr_segs && ret >= 0; i++) {
		for (size_t at = 0; at < iov[i].iov_len && off < end && ret >= 0; at += (size_t)ret) {
			ret = seekable_give(seekable, table, off, (unsigned char *)iov[i].iov_base + at,
					    iov[i].iov_len - at);
			if (ret < 0)
				break;
			off += ret;
			done += ret;
		}
	}
	seekable_put_table(seekable, table);
	return done ? done : ret;
}

/* Put a new table in the place of one that is out of date. */
static void seekable_set_table(struct seekable *seekable, struct seekable_table *table)
{
	struct seekable_table *old;

	pthread_mutex_lock(&seekable->lock);
	old = seekable->table;
	table->nr = old->nr + 1;
	seekable->table = table;
	pthread_mutex_unlock(&seekable->lock);
	seekable_put_table(seekable, old);
}

/* Tell the state of the file below, and the size of what comes out. The table is read again if it is out of date. */
static int seekable_get_state(void *arg, struct usp_mapping_state *ret_state)
{
	struct seekable *seekable = arg;
	struct seekable_table *table = seekable_get_table(seekable), *fresh;
	const char *why;
	int ret = usp_filemap_get_state(seekable->source.below, ret_state);

	if (ret == 0 && (table->below.is_unsettled || !usp_seekable_table_is_of(table, ret_state))) {
		ret = usp_seekable_table_new(seekable->source.below, &fresh, &why);
		seekable_put_table(seekable, table);
		if (ret < 0)
			return ret == -ESPIPE || ret == -EFBIG ? -ESTALE : ret;
		seekable_set_table(seekable, fresh);
		table = seekable_get_table(seekable);
	}
	*ret_state = table->below;
	ret_state->bytes = table->pieces.out_len;
	seekable_put_table(seekable, table);
	return ret;
}

/* Called when no thread works any more. */
static void seekable_free(void *arg)
{
	struct seekable *seekable = arg;

	while (!TAILQ_EMPTY(&seekable->pieces))
		piece_remove(seekable, TAILQ_FIRST(&seekable->pieces));
	usp_seekable_table_free(seekable->table);
	usp_filemap_source_fini(&seekable->source);
	pthread_mutex_destroy(&seekable->lock);
	pthread_cond_destroy(&seekable->moved);
	usp_free(seekable);
}

static const struct usp_mapping_ops seekable_mapping_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "seekable",
	.read_folios = seekable_read_folios,
	.get_state = seekable_get_state,
	.release = seekable_free,
};

/* --- Opening ------------------------------------------------------------------------------------------------- */

/* Choose the budget, so that each thread may have a piece in hand: bytes, or -EFBIG for a piece that is too long. */
static int64_t seekable_budget(const struct seekable_table *table, unsigned nr_threads, size_t asked,
			       const char **ret_why)
{
	size_t longest = piece_memory(table->pieces.longest);

	if (!asked)
		return (int64_t)usp_max(SEEKABLE_BUDGET, usp_min(SEEKABLE_BUDGET_MAX, 2 * nr_threads * longest));
	*ret_why = "a piece of it is too long for the budget";
	return longest > asked / 2 ? -EFBIG : (int64_t)asked;
}

/*
 * Choose how much of the budget is for pieces that are kept: half of it. Where pieces are as long as folios few are kept, so
 * that these have more, but each thread may have one in hand.
 */
static size_t seekable_room(const struct seekable_table *table, unsigned nr_threads, int64_t budget)
{
	size_t longest = table->pieces.longest, half = budget < 0 ? 0 : (size_t)budget / 2;

	return piece_memory(longest) == longest ? usp_max(half / 2, usp_min(half, nr_threads * longest)) : half;
}

/* Make a source that has a table: 0 or -errno. */
static int seekable_new(struct usp_file *below, struct seekable_table *table, size_t asked, const char **ret_why,
			struct seekable **ret_seekable)
{
	unsigned nr_threads = (unsigned)usp_min(usp_sys_nr_processors(), SEEKABLE_THREADS_MAX);
	int64_t budget = seekable_budget(table, nr_threads, asked, ret_why);
	size_t room = seekable_room(table, nr_threads, budget);
	const struct usp_mapping_params params = {
		.size = sizeof(params),
		.budget = (size_t)budget - room,
		.nr_threads = nr_threads,
		.way = USP_REWRITTEN,
		.reason = table->pieces.reason,
		.piece_bytes = piece_memory(table->pieces.longest),
	};
	struct seekable *seekable = budget < 0 ? NULL : usp_alloc(sizeof(*seekable));
	int ret = budget < 0 ? (int)budget : seekable ? 0 : -ENOMEM;

	if (ret == 0)
		ret = usp_mapping_new(&seekable_mapping_ops, seekable, &params, &seekable->source.mapping);
	if (ret < 0) {
		usp_free(seekable);
		return ret;
	}
	seekable->source.below = usp_file_get(below);
	seekable->nr_threads = nr_threads;
	pthread_mutex_init(&seekable->lock, NULL);
	pthread_cond_init(&seekable->moved, NULL);
	TAILQ_INIT(&seekable->pieces);
	seekable->room = room;
	seekable->table = table;
	*ret_seekable = seekable;
	return 0;
}

/* Find the source that is open already, or make it: 0 or -errno. One whose file has lost its table is of no use. */
static int seekable_share(struct usp_file *below, size_t budget, const char **ret_why,
			  struct usp_filemap_source **ret_source)
{
	struct seekable_table *table;
	struct usp_filemap_key key;
	struct seekable *seekable;
	int ret;

	usp_filemap_key_init(&key, &seekable_mapping_ops, below, budget, NULL);
	*ret_source = usp_filemap_source_find(&key);
	if (*ret_source)
		return usp_filemap_source_look(*ret_source);
	ret = usp_seekable_table_new(below, &table, ret_why);
	if (ret < 0)
		return ret;
	ret = seekable_new(below, table, budget, ret_why, &seekable);
	if (ret < 0)
		usp_seekable_table_free(table);
	else
		*ret_source = usp_filemap_source_add(&seekable->source, &key);
	return ret;
}

static const struct usp_file_ops seekable_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "decompress",
	.read_iter = usp_filemap_read_iter,
	.splice_read = usp_filemap_splice_read,
	.poll_fd = usp_filemap_poll_fd,
	.get_size = usp_filemap_size,
	.release = usp_filemap_source_release,
};

static int seekable_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
			 struct usp_file **ret_file, const char **ret_why)
{
	struct usp_filemap_source *source;
	int ret;

	(void)options;
	if (params->budget && params->budget < SEEKABLE_BUDGET_MIN)
		return -EINVAL;
	ret = seekable_share(below, params->budget, ret_why, &source);
	if (ret < 0)
		return ret;
	ret = usp_filemap_source_open(&seekable_ops, source, below, "decompress", ret_file);
	if (ret < 0)
		usp_filemap_source_put(source);
	return ret;
}

/* As usp_transform_failure, of this file alone. */
static bool seekable_failure(const struct usp_file *file, const char **ret_why, uint64_t *ret_offset)
{
	return file->ops == &seekable_ops && usp_filemap_source_failure(file->priv, ret_why, ret_offset);
}

const struct usp_transform usp_decompress_seekable = {
	.name = "decompress", .open = seekable_open, .failure = seekable_failure};
