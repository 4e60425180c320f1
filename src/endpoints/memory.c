/* SPDX-License-Identifier: MIT */
/*
 * memory - bytes in memory as a file: the caller's memory, a text in the spec, or a store that grows
 * as it is written.
 *
 * All three are a row of chunks of equal length; the caller's memory is one chunk. Reading gives
 * references to the chunks. Writing copies into them. Before a growing store changes bytes that other
 * references may see, it copies the chunk. The caller's memory cannot be moved: there the caller must
 * prevent such a change.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "mm/gift.h"
#include "splice/iter.h"

#define MEMORY_CHUNK_LEN ((size_t)256 << 10)
#define MEMORY_MAX_DEFAULT ((int64_t)1 << 30) /* a sink that is never read must not use up the memory */

struct memory {
	pthread_mutex_t lock;
	struct usp_folio **chunks;
	size_t nr_chunks, nr_room; /* chunks, and entries of the array */
	size_t chunk_len;
	size_t len, max_len;
	bool can_move; /* a chunk may be replaced by a copy */
};

static void memory_free(struct memory *memory)
{
	for (size_t i = 0; i < memory->nr_chunks; i++)
		usp_folio_put(memory->chunks[i]);
	usp_free(memory->chunks);
	pthread_mutex_destroy(&memory->lock);
	usp_free(memory);
}

static struct memory *memory_new(size_t chunk_len, size_t max_len, bool can_move)
{
	struct memory *memory = usp_alloc(sizeof(*memory));

	if (!memory)
		return NULL;
	pthread_mutex_init(&memory->lock, NULL);
	memory->chunk_len = chunk_len;
	memory->max_len = max_len;
	memory->can_move = can_move;
	return memory;
}

/* --- Chunks, with the lock held --------------------------------------------------------------------- */

static bool memory_add_chunk(struct memory *memory, struct usp_folio *folio)
{
	if (memory->nr_chunks == memory->nr_room) {
		size_t nr_room = usp_max(2 * memory->nr_room, 8);
		struct usp_folio **chunks = usp_alloc_array(nr_room, sizeof(struct usp_folio *));

		if (!chunks)
			return false;
		if (memory->nr_chunks)
			memcpy(chunks, memory->chunks, memory->nr_chunks * sizeof(struct usp_folio *));
		usp_free(memory->chunks);
		memory->chunks = chunks;
		memory->nr_room = nr_room;
	}
	memory->chunks[memory->nr_chunks++] = folio;
	return true;
}

static bool memory_grow(struct memory *memory)
{
	struct usp_folio *folio = usp_folio_new(memory->chunk_len);

	if (folio && memory_add_chunk(memory, folio))
		return true;
	if (folio)
		usp_folio_put(folio);
	return false;
}

static bool memory_copy_chunk(struct memory *memory, size_t index)
{
	struct usp_folio *old = memory->chunks[index], *folio = usp_folio_new(memory->chunk_len);

	if (!folio)
		return false;
	memcpy(folio->base, old->base, memory->chunk_len);
	memory->chunks[index] = folio;
	usp_folio_put(old);
	return true;
}

/*
 * Return the chunk of pos, ready for writing there; NULL if memory is short. Bytes from len on have no
 * other reference.
 */
static struct usp_folio *memory_writable(struct memory *memory, size_t pos)
{
	size_t index = pos / memory->chunk_len;

	if (index == memory->nr_chunks && !memory_grow(memory))
		return NULL;
	if (memory->can_move && pos < memory->len && atomic_load(usp_u32(&memory->chunks[index]->refs)) > 1 &&
	    !memory_copy_chunk(memory, index))
		return NULL;
	return memory->chunks[index];
}

/* Write len bytes at pos, or zeros if from is NULL, while memory lasts; their number. pos is at most memory->len. */
static size_t memory_put(struct memory *memory, size_t pos, const struct usp_iter *from, size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t off = pos % memory->chunk_len, part = usp_min(memory->chunk_len - off, len - done);
		struct usp_folio *folio = memory_writable(memory, pos);

		if (!folio)
			break;
		if (from)
			usp_iter_copy_from(from, done, folio->base + off, part);
		else
			memset(folio->base + off, 0, part);
		done += part;
		pos += part;
		memory->len = usp_max(memory->len, pos);
	}
	return done;
}

static ssize_t memory_write(struct memory *memory, const struct usp_iter *from, int64_t pos)
{
	size_t start = (size_t)pos, done;

	if (pos < 0)
		return -EINVAL;
	if (from->count == 0)
		return 0;
	if ((uint64_t)pos >= memory->max_len)
		return -ENOSPC;
	if (start > memory->len)
		memory_put(memory, memory->len, NULL, start - memory->len);
	if (start > memory->len)
		return -ENOMEM;
	done = memory_put(memory, start, from, usp_min(from->count, memory->max_len - start));
	return done ? (ssize_t)done : -ENOMEM;
}

/* Cut len to the bytes that exist at pos. */
static size_t memory_left(const struct memory *memory, int64_t pos, size_t len)
{
	if (pos < 0 || (uint64_t)pos >= memory->len)
		return 0;
	return usp_min(len, memory->len - (size_t)pos);
}

static size_t memory_get(struct memory *memory, const struct usp_iter *to, int64_t pos)
{
	size_t len = memory_left(memory, pos, to->count);

	for (size_t done = 0; done < len;) {
		size_t at = (size_t)pos + done, off = at % memory->chunk_len;
		size_t part = usp_min(memory->chunk_len - off, len - done);

		usp_iter_copy_to(to, done, memory->chunks[at / memory->chunk_len]->base + off, part);
		done += part;
	}
	return len;
}

/* Push references to len existing bytes at pos, while the pipe has room: bytes, or -errno if none went in. */
static ssize_t memory_share(struct memory *memory, size_t pos, struct usp_pipe *pipe, size_t len)
{
	size_t done = 0;
	ssize_t ret = 0;

	while (done < len) {
		struct usp_folio *folio = memory->chunks[(pos + done) / memory->chunk_len];
		size_t off = (pos + done) % memory->chunk_len;

		ret = usp_pipe_push_folio(pipe, folio, off, usp_min(memory->chunk_len - off, len - done), 0);
		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	return done ? (ssize_t)done : ret;
}

/* --- The hooks ---------------------------------------------------------------------------------------- */

static ssize_t memory_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct memory *memory = in->priv;
	size_t len;

	(void)flags;
	pthread_mutex_lock(&memory->lock);
	len = memory_get(memory, to, *pos);
	pthread_mutex_unlock(&memory->lock);
	*pos += (int64_t)len;
	return (ssize_t)len;
}

static ssize_t memory_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct memory *memory = out->priv;
	ssize_t ret;

	(void)flags;
	pthread_mutex_lock(&memory->lock);
	ret = memory_write(memory, from, *pos);
	pthread_mutex_unlock(&memory->lock);
	if (ret > 0)
		*pos += ret;
	return ret;
}

static ssize_t memory_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct memory *memory = in->priv;
	ssize_t ret = 0;

	(void)flags;
	pthread_mutex_lock(&memory->lock);
	len = memory_left(memory, *pos, len);
	if (len)
		ret = memory_share(memory, (size_t)*pos, pipe, len);
	pthread_mutex_unlock(&memory->lock);
	if (ret > 0) {
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, (size_t)ret, "references to memory of this process");
		*pos += ret;
	}
	return ret;
}

static int memory_release(struct usp_file *file)
{
	memory_free(file->priv);
	return 0;
}

static int64_t memory_size(const struct usp_file *file)
{
	struct memory *memory = file->priv;
	int64_t len;

	pthread_mutex_lock(&memory->lock);
	len = (int64_t)memory->len;
	pthread_mutex_unlock(&memory->lock);
	return len;
}

static const struct usp_file_ops memory_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "memory",
	.read_iter = memory_read_iter,
	.write_iter = memory_write_iter,
	.splice_read = memory_splice_read,
	.splice_write = usp_iter_splice_write,
	.release = memory_release,
	.get_size = memory_size,
};

/* --- The caller's memory -------------------------------------------------------------------------------- */

/* Make the gift last: done must not be called if opening fails. */
static int memory_take(struct memory *memory, void *base, size_t len, void (*done)(void *arg), void *arg)
{
	struct usp_gift *gift;
	int ret;

	memory->chunks = usp_alloc_array(1, sizeof(struct usp_folio *));
	if (!memory->chunks)
		return -ENOMEM;
	memory->nr_room = 1;
	ret = usp_gift_new(base, len, done, arg, &gift);
	if (ret < 0)
		return ret;
	memory->chunks[memory->nr_chunks++] = &gift->folio;
	memory->len = len;
	return 0;
}

int usp_open_memory(void *base, size_t len, unsigned mode, void (*done)(void *arg), void *arg,
		    struct usp_file **ret_file)
{
	struct memory *memory;
	struct usp_file *file;
	int ret;

	if (!base || len == 0 || len > SSIZE_MAX || (uintptr_t)base > UINTPTR_MAX - len || !mode ||
	    mode & ~(USP_READ | USP_WRITE))
		return -EINVAL;
	memory = memory_new(len, len, false);
	if (!memory)
		return -ENOMEM;
	ret = usp_file_new(&memory_ops, mode, "mem:", memory, &file);
	if (ret < 0) {
		memory_free(memory);
		return ret;
	}
	ret = memory_take(memory, base, len, done, arg);
	if (ret < 0) {
		usp_file_put(file);
		return ret;
	}
	file->traits = USP_FILE_SEEKABLE;
	*ret_file = file;
	return 0;
}

/* --- mem: ------------------------------------------------------------------------------------------------- */

/* Check "mem:TEXT" for a source, or "mem:" for a store that a sink fills. */
static int memory_check_spec(const struct usp_spec *spec, unsigned mode, int64_t *ret_max, const char **ret_why)
{
	const char *max = usp_spec_option(spec, "max");

	*ret_max = MEMORY_MAX_DEFAULT;
	if (mode & USP_WRITE && spec->address[0])
		*ret_why = "a text after mem: is to be read; a sink is written mem:";
	else if (max && !(mode & USP_WRITE))
		*ret_why = "max is for memory that is written";
	else if (max && (usp_size_parse(max, ret_max, NULL) < 0 || *ret_max == 0 || *ret_max > SSIZE_MAX))
		*ret_why = "max is a size such as 64M";
	else
		return 0;
	return -EINVAL;
}

static int memory_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		       const char **ret_why)
{
	const struct iovec text = {.iov_base = (char *)spec->address, .iov_len = strlen(spec->address)};
	const struct usp_iter from = {.iov = &text, .nr_segs = 1, .count = text.iov_len};
	struct memory *memory;
	int64_t max_len;
	int ret = memory_check_spec(spec, params->mode, &max_len, ret_why);

	if (ret < 0)
		return ret;
	if (!(params->mode & USP_WRITE))
		max_len = (int64_t)usp_max(text.iov_len, 1);
	memory = memory_new(usp_min(MEMORY_CHUNK_LEN, (size_t)max_len), (size_t)max_len, true);
	if (!memory)
		return -ENOMEM;
	ret = memory_put(memory, 0, &from, text.iov_len) < text.iov_len ? -ENOMEM : 0;
	if (ret == 0)
		ret = usp_file_new(&memory_ops, params->mode, usp_spec_text(spec), memory, ret_file);
	if (ret < 0)
		memory_free(memory);
	else
		(*ret_file)->traits = USP_FILE_SEEKABLE;
	return ret;
}

static const char *const memory_options[] = {"max", NULL};

const struct usp_endpoint usp_memory_endpoint = {
	.scheme = "mem",
	.summary = "mem:TEXT, the bytes of TEXT, and mem:, a sink in memory",
	.options = memory_options,
	.open = memory_open,
};
