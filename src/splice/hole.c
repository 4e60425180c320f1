/* SPDX-License-Identifier: MIT */
/*
 * hole - holes of a file on their way through a pipe.
 *
 *   source ──find_hole──► data: its own hooks, up to the next hole
 *                    └──► hole: bufs over one piece of zeroed memory ──► sink ──make_hole──► nothing is written
 *                                                                          └──► the zeros are written
 *
 * A hole is a buf like any other: a stage hashes its zeros, a socket sends them. Only a sink that can
 * leave them out looks at the kind of the buf.
 */
#include "splice/hole.h"

#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "splice/file.h"
#include "splice/pipe.h"

#define HOLE_BUFS 16
#define HOLE_BLOCK 4096u /* zeros are left out in whole blocks of this length, at such offsets */

/* Never written, so the kernel backs all of it with its own page of zeros. */
#define HOLE_LEN ((size_t)1 << 20)
static unsigned char hole_bytes[HOLE_LEN] __attribute__((aligned(4096)));

/* Belongs to the library, which keeps the first reference. */
static struct usp_folio hole_folio = {.refs = {1}, .len = HOLE_LEN, .base = hole_bytes};

static void hole_buf_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_folio_put(buf->store);
}

static bool hole_buf_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)copy;
	return usp_folio_get(buf->store);
}

/* Its own table tells a hole from zeros that somebody wrote. */
static const struct usp_buf_ops hole_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "hole",
	.release = hole_buf_release,
	.get = hole_buf_get,
};

void usp_hole_set_mode(struct usp_file *file, enum usp_sparse mode)
{
	file->holes = (struct usp_holes){.mode = (uint8_t)mode};
}

static bool hole_is_asked_for(const struct usp_file *file)
{
	return file->holes.mode == USP_SPARSE_AUTO || file->holes.mode == USP_SPARSE_ALWAYS;
}

bool usp_hole_seeks_zeros(const struct usp_file *out)
{
	return out->holes.mode == USP_SPARSE_ALWAYS && USP_FILE_HOOK(out, make_hole);
}

void usp_hole_account(struct usp_file *file, unsigned side, size_t len)
{
	struct usp_account *account = &file->sides[side & USP_READ ? 0 : 1].account;

	atomic_fetch_add_explicit(usp_u64(&account->holes), len, memory_order_relaxed);
}

/* --- The source ------------------------------------------------------------------------------------------ */

/* Ask again behind what is known. What a file cannot tell is data. */
static void hole_look(struct usp_file *in, int64_t pos)
{
	int (*find)(struct usp_file *, int64_t, struct usp_holes *) = USP_FILE_HOOK(in, find_hole);
	struct usp_holes found = {.end = INT64_MAX};

	if (!find || find(in, pos, &found) < 0 || found.end <= pos)
		found = (struct usp_holes){.end = INT64_MAX};
	in->holes.is_hole = found.is_hole;
	in->holes.start = pos;
	in->holes.end = found.end;
}

bool usp_hole_is_next(struct usp_file *in, const int64_t *pos, size_t *len)
{
	if (!hole_is_asked_for(in) || !usp_file_has_pos(in) || usp_file_shares_pos(in, pos))
		return false;
	/* A hole is looked at anew for each step: behind the end of a file that became shorter there is none. */
	if (*pos < in->holes.start || *pos >= in->holes.end || (in->holes.is_hole && *pos != in->holes.start))
		hole_look(in, *pos);
	if ((uint64_t)(in->holes.end - *pos) < *len)
		*len = (size_t)(in->holes.end - *pos);
	return in->holes.is_hole;
}

ssize_t usp_hole_push(struct usp_file *in, struct usp_pipe *pipe, size_t len)
{
	size_t done = 0, room;

	while (done < len && usp_pipe_room(pipe, &room)) {
		size_t chunk = usp_min(usp_min(len - done, room), usp_min(usp_pipe_slot_bytes(pipe), HOLE_LEN));
		struct usp_buf buf = {.ops = &hole_buf_ops, .store = &hole_folio, .len = chunk};

		if (!usp_folio_get(&hole_folio))
			return done ? (ssize_t)done : -EFAULT;
		usp_pipe_push(pipe, &buf, 1);
		done += chunk;
	}
	usp_hole_account(in, USP_READ, done);
	return (ssize_t)done;
}

/* --- The sink -------------------------------------------------------------------------------------------- */

ssize_t usp_hole_make(struct usp_file *out, int64_t *pos, size_t len)
{
	ssize_t (*make)(struct usp_file *, int64_t, size_t) = USP_FILE_HOOK(out, make_hole);
	ssize_t ret = make ? make(out, *pos, len) : -EOPNOTSUPP;

	if (ret <= 0)
		return ret < 0 ? ret : -EOPNOTSUPP;
	if (out->traits & USP_FILE_SEEKABLE)
		*pos += ret;
	usp_hole_account(out, USP_WRITE, (size_t)ret);
	return ret;
}

int usp_hole_finish(struct usp_file *out)
{
	int64_t end = out->holes.grown;
	struct stat st;
	int ret = 0;

	if (end && out->fd >= 0)
		ret = usp_sys_fstat(out->fd, &st);
	if (end && ret == 0 && st.st_size < end)
		ret = usp_sys_ftruncate(out->fd, end);
	usp_hole_set_mode(out, USP_SPARSE_ANY);
	return ret;
}

/* The first bufs of a pipe, as far as their bytes can be looked at. */
struct hole_view {
	struct usp_buf bufs[HOLE_BUFS];
	unsigned nr;
	size_t len;
};

static void hole_view(struct usp_pipe *pipe, size_t len, struct hole_view *ret_view)
{
	unsigned nr = usp_pipe_peek(pipe, ret_view->bufs, HOLE_BUFS);

	ret_view->len = 0;
	for (ret_view->nr = 0; ret_view->nr < nr && ret_view->len < len; ret_view->nr++) {
		struct usp_buf *buf = &ret_view->bufs[ret_view->nr];

		if (!usp_buf_is_mapped(buf) || usp_buf_confirm(pipe, buf, USP_SPLICE_NONBLOCK) < 0)
			break;
		buf->len = usp_min(buf->len, len - ret_view->len);
		ret_view->len += buf->len;
	}
}

/* Tell whether all of [off, off + len) is zero. */
static bool hole_is_zero(const struct hole_view *view, size_t off, size_t len)
{
	for (unsigned i = 0; i < view->nr && len; i++) {
		const struct usp_buf *buf = &view->bufs[i];
		size_t skip = usp_min(off, buf->len), chunk = usp_min(buf->len - skip, len);

		if (chunk && buf->ops != &hole_buf_ops && memcmp(usp_buf_bytes(buf) + skip, hole_bytes, chunk))
			return false;
		off -= skip;
		len -= chunk;
	}
	return len == 0;
}

/* Return how many blocks' bytes from off on are all zero (is_zero), or all not. off is at the begin of a block. */
static size_t hole_run(const struct hole_view *view, size_t off, bool is_zero)
{
	size_t at = off;

	while (at + HOLE_BLOCK <= view->len && hole_is_zero(view, at, HOLE_BLOCK) == is_zero)
		at += HOLE_BLOCK;
	return at - off;
}

/*
 * Find zeros: the bytes at the begin that can be left out, or 0 and in *len how many have to be written
 * before the next ones that can.
 */
static size_t hole_find_zeros(struct usp_pipe *pipe, int64_t pos, size_t *len)
{
	size_t head = (size_t)(-(uint64_t)pos % HOLE_BLOCK), run;
	struct hole_view view;

	hole_view(pipe, *len, &view);
	run = head == 0 ? hole_run(&view, 0, true) : 0;
	if (run)
		return run;
	run = head + hole_run(&view, head, false);
	if (run + HOLE_BLOCK <= view.len)
		*len = run;
	return 0;
}

/* Find a hole of the source: its bytes at the begin, or 0 and in *len how many bytes come before the next one. */
static size_t hole_find_bufs(struct usp_pipe *pipe, size_t *len)
{
	struct usp_buf bufs[HOLE_BUFS];
	unsigned nr = usp_pipe_peek(pipe, bufs, HOLE_BUFS);
	bool is_hole = nr && bufs[0].ops == &hole_buf_ops;
	size_t run = 0;

	for (unsigned i = 0; i < nr && is_hole == (bufs[i].ops == &hole_buf_ops); i++)
		run += bufs[i].len;
	if (is_hole)
		return usp_min(run, *len);
	*len = run ? usp_min(run, *len) : *len;
	return 0;
}

/* Make a hole of the first run bytes. If that is not possible cut *len to what to write instead, up to a block's begin. */
static ssize_t hole_make_first(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t run, size_t *len)
{
	size_t past = (size_t)((uint64_t)*pos % HOLE_BLOCK);
	ssize_t ret = usp_hole_make(out, pos, run);

	if (ret > 0)
		usp_pipe_advance(pipe, (size_t)ret);
	if (ret != -EOPNOTSUPP)
		return ret;
	*len = past ? usp_min(run, HOLE_BLOCK - past) : run;
	return 0;
}

ssize_t usp_hole_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t *len, unsigned flags)
{
	size_t run, ready = *len;
	ssize_t ret;

	if (!hole_is_asked_for(out) || !USP_FILE_HOOK(out, make_hole))
		return 0;
	ret = usp_pipe_take_read(pipe, flags, &ready);
	if (ret <= 0)
		return ret; /* the hook will find the same end */
	*len = ready;
	run = hole_find_bufs(pipe, len);
	if (!run && out->holes.mode == USP_SPARSE_ALWAYS && out->traits & USP_FILE_SEEKABLE)
		run = hole_find_zeros(pipe, *pos, len);
	ret = run ? hole_make_first(pipe, out, pos, run, len) : 0;
	usp_pipe_end_read(pipe);
	return ret;
}
