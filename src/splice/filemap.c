/* SPDX-License-Identifier: MIT */
/* filemap - hooks of files over a mapping: generic_file_splice_read with read-in, and a plain read. */
#include <errno.h>
#include <poll.h>
#include <usplice/mapping.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "mm/mapping.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"

#define FILEMAP_LENTS 64 /* in one look at the mapping */

static const char cached_reason[] = "in the cache already";

/* --- Bufs ------------------------------------------------------------------------------------------------- */

/* The buf may be longer than what is there: then the copy is cut, and the rest says why at the next confirm. */
static int filemap_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	ssize_t ret = usp_cached_valid(buf->store, buf->offset, buf->len);

	(void)pipe;
	if (ret > 0)
		buf->len = (size_t)ret;
	return ret < 0 ? (int)ret : 0;
}

static void filemap_release_buf(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_cached_put(buf->store);
}

static bool filemap_try_steal(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	return usp_cached_steal(buf->store, buf->offset, buf->len);
}

static bool filemap_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe;
	(void)copy;
	return usp_folio_get(buf->store);
}

static int filemap_buf_poll_fd(struct usp_pipe *pipe, const struct usp_buf *buf, short *ret_events)
{
	(void)pipe;
	*ret_events = POLLIN;
	return usp_cached_poll_fd(buf->store);
}

static const struct usp_buf_ops filemap_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "filemap",
	.confirm = filemap_confirm,
	.release = filemap_release_buf,
	.try_steal = filemap_try_steal,
	.get = filemap_get,
	.poll_fd = filemap_buf_poll_fd,
};

/* --- Reading ---------------------------------------------------------------------------------------------- */

/* Cut len to what the source has behind pos: bytes, 0 at its end, or -errno. */
static ssize_t filemap_cut(struct usp_file *in, int64_t pos, size_t len)
{
	int64_t size = usp_mapping_look(in->mapping);

	return size < 0 ? size : pos >= size ? 0 : (ssize_t)usp_min(len, (size_t)(size - pos));
}

/* Lend pieces, and wait for memory where the call blocks: their number, -EAGAIN or -ENOMEM. */
static int filemap_lend(struct usp_file *in, int64_t pos, size_t len, size_t piece, struct usp_lent *ret_lents,
			unsigned nr_lents, unsigned flags)
{
	int ret;

	while ((ret = usp_mapping_lend(in->mapping, &in->ra, pos, len, piece, ret_lents, nr_lents)) == -EAGAIN &&
	       usp_file_blocks(in, flags))
		usp_mapping_await_room(in->mapping);
	return ret;
}

static void filemap_account(struct usp_file *in, size_t fresh, size_t done)
{
	const char *reason;
	enum usp_way way;

	usp_mapping_ways(in->mapping, &way, &reason);
	if (fresh)
		usp_file_account(in, USP_READ, way, fresh, reason);
	if (done > fresh)
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, done - fresh, cached_reason);
}

/* Each piece that is lent becomes a buf, which takes over its reference. */
ssize_t usp_filemap_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct usp_lent lents[FILEMAP_LENTS];
	ssize_t ret = filemap_cut(in, *pos, len);
	size_t done = 0, fresh = 0, room;
	unsigned nr_slots;
	int nr;

	if (ret <= 0)
		return ret;
	nr_slots = (unsigned)usp_min(usp_pipe_room(pipe, &room), FILEMAP_LENTS);
	if (!nr_slots || !room)
		return -EAGAIN;
	nr = filemap_lend(in, *pos, usp_min((size_t)ret, room), usp_pipe_slot_bytes(pipe), lents, nr_slots, flags);
	for (int i = 0; i < nr; i++) {
		const struct usp_lent *lent = &lents[i];

		fresh += usp_cached_charge(lent->folio, lent->offset, lent->len);
		done += lent->len;
		usp_pipe_push(pipe,
			      &(struct usp_buf){.ops = &filemap_buf_ops,
						.store = lent->folio,
						.offset = lent->offset,
						.len = lent->len},
			      1);
	}
	filemap_account(in, fresh, done);
	*pos += (int64_t)done;
	return nr < 0 ? nr : (ssize_t)done;
}

/* Copy what is there of a piece. The first one is waited for, as a read from a disk waits. */
static ssize_t filemap_copy(const struct usp_iter *to, size_t off, const struct usp_lent *lent, bool may_block)
{
	ssize_t ret;

	while ((ret = usp_cached_valid(lent->folio, lent->offset, lent->len)) == -EAGAIN && may_block)
		usp_cached_await(lent->folio);
	if (ret > 0)
		usp_iter_copy_to(to, off, lent->folio->base + lent->offset, (size_t)ret);
	return ret;
}

ssize_t usp_filemap_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct usp_lent lents[FILEMAP_LENTS];
	ssize_t ret = filemap_cut(in, *pos, to->count);
	size_t done = 0;
	int nr;

	if (ret <= 0)
		return ret;
	nr = filemap_lend(in, *pos, (size_t)ret, SIZE_MAX, lents, FILEMAP_LENTS, flags);
	if (nr < 0)
		return nr;
	ret = 0;
	for (int i = 0; i < nr; i++) {
		if (ret >= 0)
			ret = filemap_copy(to, done, &lents[i], !done);
		done += ret > 0 ? (size_t)ret : 0;
		if (ret >= 0 && (size_t)ret < lents[i].len)
			ret = -EAGAIN; /* the next read says what is behind */
		usp_cached_put(lents[i].folio);
	}
	*pos += (int64_t)done;
	return done ? (ssize_t)done : ret == -ENODATA ? 0 : ret;
}

/* --- Files ------------------------------------------------------------------------------------------------ */

int usp_filemap_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	(void)side;
	*ret_events = POLLIN;
	return usp_mapping_poll_fd(file->mapping);
}

int64_t usp_filemap_size(const struct usp_file *file)
{
	return usp_mapping_look(file->mapping);
}

int usp_filemap_release(struct usp_file *file)
{
	usp_mapping_put(file->mapping);
	file->mapping = NULL;
	return 0;
}

static const struct usp_file_ops filemap_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "cached",
	.read_iter = usp_filemap_read_iter,
	.splice_read = usp_filemap_splice_read,
	.poll_fd = usp_filemap_poll_fd,
	.get_size = usp_filemap_size,
	.release = usp_filemap_release,
};

int usp_mapping_open(struct usp_mapping *mapping, const char *name, struct usp_file **ret_file)
{
	int ret = name ? usp_file_new(&filemap_ops, USP_READ, name, NULL, ret_file) : -EINVAL;

	if (ret < 0)
		return ret;
	(*ret_file)->mapping = usp_mapping_get(mapping);
	(*ret_file)->traits = USP_FILE_SEEKABLE;
	return 0;
}

/* --- The source ------------------------------------------------------------------------------------------- */

int usp_filemap_get_state(void *source, struct usp_mapping_state *ret_state)
{
	const struct usp_file *file = source;
	struct stat st;
	int ret;

	if (file->mapping)
		return usp_mapping_look_at(file->mapping, ret_state);
	ret = file->fd < 0 ? -EBADF : usp_sys_fstat(file->fd, &st);
	if (ret < 0 || !S_ISREG(st.st_mode)) {
		ret_state->bytes = usp_file_size(file);
		return ret_state->bytes < 0 ? (int)ret_state->bytes : 0;
	}
	ret_state->bytes = st.st_size;
	ret_state->version[0] = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	ret_state->version[1] = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
	ret_state->is_unsettled = usp_sys_is_recent(&st.st_ctim);
	return 0;
}
