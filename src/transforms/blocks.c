/* SPDX-License-Identifier: MIT */
/*
 * blocks - a checksum for each block of a source: verified in confirm of its bufs (blocks:), or computed (sums:).
 *
 *   below ──splice_read──► [pulled] ──► struct block ──► its bufs in the caller's pipe
 *                             │              ▲
 *                             └─► gathered ──┘  (copied, where a block comes in several bufs)
 *
 * A block refers to the memory that the file below lent, where one of its bufs covers it. The bufs that go on refer to
 * the block, and whoever confirms the first of them has its checksum computed and compared: so no sink gets a byte of
 * a bad block, all before it are delivered, and bytes that come later are not waited for here. sums: needs the bytes
 * at once, and waits for them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "hash/block_sums.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"
#include "splice/stack.h"
#include "transforms/blocks_buf.h"
#include "transforms/transforms.h"

#define BLOCKS_PULLED_SLOTS 64

static const char refer_reason[] = "a buf covers the block, and is passed on as it is";
static const char map_reason[] = "bytes held by the kernel were read into memory, to hash them";
static const char gather_reason[] = "a block that came in several bufs was put together";

/* --- The stage ----------------------------------------------------------------------------------------------- */

struct blocks {
	struct usp_block_sums sums; /* expected, or computed so far */
	bool is_computed;
	bool must_end; /* behind the last block there must be the end, and it has not been seen */
	bool has_ended, has_told_end;
	int error;		 /* -EBADMSG: the input is shorter or longer than the list says */
	uint64_t at, limit;	 /* where the next block begins, and where the last one ends */
	struct usp_pipe *pulled; /* from the file below */
	struct usp_folio *gather;
	size_t gathered;       /* bytes of the next block in it */
	struct block *current; /* the one that is being given; NULL: none */
	size_t given;	       /* bytes of it */
};

static size_t blocks_next_len(const struct blocks *blocks)
{
	return (size_t)usp_min(blocks->sums.block_len, blocks->limit - blocks->at);
}

/* Return how much to pull: the rest of the next block, and as many whole ones as the caller has use for. */
static size_t blocks_ask(const struct blocks *blocks, size_t len)
{
	size_t rest = blocks->sums.block_len - blocks->gathered;
	size_t more = len > rest ? (len - rest) / blocks->sums.block_len * blocks->sums.block_len : 0;

	return (size_t)usp_min(rest + more, blocks->limit - blocks->at - blocks->gathered);
}

/* Note what the list has of the block, or put its checksum into the list: 0 or -ENOMEM. */
static int blocks_seal(struct blocks *blocks, struct block *block)
{
	uint64_t nr = blocks->at / blocks->sums.block_len;
	int ret;

	if (!blocks->is_computed) {
		memcpy(block->expected, usp_block_sums_digest(&blocks->sums, nr), blocks->sums.hash->len);
		return 0;
	}
	ret = usp_block_sums_reserve(&blocks->sums);
	if (ret == 0)
		ret = usp_block_digest(block, usp_block_sums_digest(&blocks->sums, nr));
	if (ret < 0)
		return ret;
	usp_block_set_good(block);
	blocks->sums.nr++;
	blocks->sums.length += block->folio.len;
	return 0;
}

/* Make a block of inner the current one. Takes over the reference, also on failure. 1 or -ENOMEM. */
static int blocks_begin(struct blocks *blocks, struct usp_buf *inner, const char *reason)
{
	struct block *block = usp_block_new(inner, blocks->sums.hash, reason);
	int ret;

	if (!block) {
		usp_buf_release(NULL, inner);
		return -ENOMEM;
	}
	ret = blocks_seal(blocks, block);
	if (ret < 0) {
		usp_folio_put(&block->folio);
		return ret;
	}
	blocks->at += block->folio.len;
	blocks->current = block;
	blocks->given = 0;
	return 1;
}

static int blocks_begin_gathered(struct blocks *blocks)
{
	struct usp_buf inner = {.ops = &usp_folio_buf_ops, .store = blocks->gather, .len = blocks->gathered};
	int ret;

	if (!usp_folio_get(blocks->gather))
		return -EFAULT;
	ret = blocks_begin(blocks, &inner, gather_reason);
	if (ret < 0)
		return ret;
	usp_folio_put(blocks->gather);
	blocks->gather = NULL;
	blocks->gathered = 0;
	return ret;
}

/* Make the first buf of pulled addressable, and valid where its bytes are needed now: 0 or -errno. May cut its len. */
static int blocks_prepare(struct blocks *blocks, struct usp_buf *buf, unsigned flags)
{
	bool is_mapped = usp_buf_is_mapped(buf);
	int ret = is_mapped && !blocks->is_computed ? 0 : usp_buf_confirm(blocks->pulled, buf, flags);

	if (ret < 0 || is_mapped)
		return ret;
	ret = usp_buf_map(blocks->pulled, buf);
	if (ret == 0)
		usp_pipe_set(blocks->pulled, 0, buf);
	return ret;
}

/* Begin a block of len bytes by reference: 1, 0 if the first buf of pulled does not cover it, or -errno. */
static int blocks_refer_turn(struct blocks *blocks, size_t len, unsigned flags)
{
	struct usp_buf buf, inner;
	int ret = 0;

	if (!usp_pipe_peek(blocks->pulled, &buf, 1) || buf.len < len)
		return 0;
	ret = blocks_prepare(blocks, &buf, flags);
	if (ret < 0 || buf.len < len)
		return ret == -ENODATA ? 0 : ret;
	inner = buf;
	inner.len = len;
	if (!usp_buf_get(blocks->pulled, &buf, &inner))
		return -EFAULT;
	ret = blocks_begin(blocks, &inner, buf.flags & USP_BUF_MAPPED ? map_reason : NULL);
	if (ret > 0)
		usp_pipe_advance(blocks->pulled, len);
	return ret;
}

static int blocks_refer(struct blocks *blocks, size_t len, unsigned flags)
{
	int ret = blocks->gathered ? 0 : usp_pipe_begin_read(blocks->pulled, USP_SPLICE_NONBLOCK);

	if (ret <= 0)
		return ret;
	ret = blocks_refer_turn(blocks, len, flags);
	usp_pipe_end_read(blocks->pulled);
	return ret;
}

static ssize_t blocks_gather_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct blocks *blocks = arg;

	(void)pipe;
	memcpy(blocks->gather->base + blocks->gathered, usp_buf_bytes(buf), len);
	blocks->gathered += len;
	return (ssize_t)len;
}

/* Copy what was pulled to the bytes of the next block, up to len: bytes, 0 if they are gone, or -errno. */
static ssize_t blocks_gather(struct blocks *blocks, size_t len, unsigned flags)
{
	if (!blocks->gather)
		blocks->gather = usp_folio_new(blocks->sums.block_len);
	if (!blocks->gather)
		return -ENOMEM;
	return usp_splice_from_pipe(blocks->pulled, len - blocks->gathered, flags, blocks_gather_actor, blocks);
}

/* Go on towards a block of len bytes: more than 0, 0 at the end of the input, or -errno. */
static ssize_t blocks_advance(struct usp_file *in, size_t len, size_t wanted, unsigned flags, bool may_pull)
{
	struct blocks *blocks = in->priv;
	int ret;

	if (blocks->gathered == len)
		return blocks_begin_gathered(blocks);
	if (!usp_pipe_len(blocks->pulled))
		return may_pull ? usp_stack_pull(in, blocks->pulled, blocks_ask(blocks, wanted), flags) : -EAGAIN;
	ret = blocks_refer(blocks, len, flags);
	return ret ? ret : blocks_gather(blocks, len, flags);
}

static ssize_t blocks_more_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	(void)pipe, (void)buf, (void)arg;
	return (ssize_t)len;
}

/* Behind the last block: 0 if the input ends there, -EBADMSG if not, -EAGAIN or -errno. */
static int blocks_end(struct usp_file *in, unsigned flags, bool may_pull)
{
	struct blocks *blocks = in->priv;
	ssize_t ret = 1;

	if (blocks->must_end && !usp_pipe_len(blocks->pulled))
		ret = may_pull ? usp_stack_pull(in, blocks->pulled, 1, flags) : -EAGAIN;
	if (blocks->must_end && ret > 0) /* a byte that is late may turn out to be missing */
		ret = usp_splice_from_pipe(blocks->pulled, 1, flags, blocks_more_actor, NULL);
	if (blocks->must_end && ret > 0)
		blocks->error = ret = -EBADMSG;
	if (ret < 0)
		return (int)ret;
	blocks->must_end = false;
	blocks->has_told_end = true;
	return 0;
}

/* The input ended before the last block did. */
static void blocks_end_early(struct blocks *blocks)
{
	blocks->has_ended = true;
	if (blocks->is_computed)
		blocks->limit = blocks->at + blocks->gathered;
	else
		blocks->error = -EBADMSG;
}

/*
 * Have a current block: 1, 0 at the end of the input, -EAGAIN, or -errno. wanted is what the caller would take.
 * Without may_pull the file below is not asked.
 */
static int blocks_next(struct usp_file *in, size_t wanted, unsigned flags, bool may_pull)
{
	struct blocks *blocks = in->priv;

	while (!blocks->current) {
		size_t len = blocks_next_len(blocks);
		ssize_t ret = blocks->error;

		if (ret == 0 && !len)
			return blocks_end(in, flags, may_pull);
		if (ret == 0)
			ret = blocks_advance(in, len, wanted, flags, may_pull);
		if (ret < 0)
			return (int)ret;
		if (ret == 0)
			blocks_end_early(blocks);
	}
	return 1;
}

/* --- Giving them --------------------------------------------------------------------------------------------- */

/* Note that len bytes of the current block were given. Returns whether they were the last ones. */
static bool blocks_give(struct blocks *blocks, size_t len)
{
	blocks->given += len;
	return blocks->given == blocks->current->folio.len;
}

/* Push the next bytes of the current block, at most len: bytes or -EFAULT. The last buf takes over the reference. */
static ssize_t blocks_push(struct usp_file *in, struct usp_pipe *pipe, size_t len)
{
	struct blocks *blocks = in->priv;
	struct block *block = blocks->current;
	struct usp_buf buf = {.ops = &usp_block_buf_ops, .store = block, .offset = blocks->given};
	const char *reason = block->reason;

	buf.len = len = usp_min(usp_min(len, usp_pipe_slot_bytes(pipe)), block->folio.len - blocks->given);
	buf.flags = reason == map_reason ? USP_BUF_MAPPED : 0;
	if (blocks_give(blocks, len))
		blocks->current = NULL;
	else if (!usp_folio_get(&block->folio)) {
		blocks->given -= len;
		return -EFAULT;
	}
	usp_pipe_push(pipe, &buf, 1);
	usp_file_account(in, USP_READ, reason ? USP_COPIED : USP_BY_REFERENCE, len, reason ? reason : refer_reason);
	return (ssize_t)len;
}

static ssize_t blocks_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	size_t done = 0, room;
	ssize_t ret = -EAGAIN;

	(void)pos; /* a stream */
	flags = usp_file_blocks(in, flags) ? flags & ~USP_SPLICE_NONBLOCK : flags | USP_SPLICE_NONBLOCK;
	while (done < len && usp_pipe_room(pipe, &room) && room) {
		size_t wanted = usp_min(len - done, room);

		ret = blocks_next(in, wanted, done ? flags | USP_SPLICE_NONBLOCK : flags, done == 0);
		if (ret > 0)
			ret = blocks_push(in, pipe, wanted);
		if (ret <= 0)
			break;
		done += (size_t)ret;
	}
	return usp_file_progress(in, USP_READ, done, ret);
}

/* The door waits, by poll_fd, as it does for every file. */
static ssize_t blocks_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct blocks *blocks = in->priv;
	size_t done = 0, chunk;
	ssize_t ret = 0;

	(void)pos;
	while (done < to->count) {
		ret = blocks_next(in, to->count - done, flags | USP_SPLICE_NONBLOCK, done == 0);
		if (ret > 0)
			ret = usp_block_verify(blocks->current);
		else if (ret == 0)
			break;
		if (ret < 0)
			break;
		chunk = usp_min(to->count - done, blocks->current->folio.len - blocks->given);
		usp_iter_copy_to(to, done, blocks->current->folio.base + blocks->given, chunk);
		done += chunk;
		if (blocks_give(blocks, chunk)) {
			usp_folio_put(&blocks->current->folio);
			blocks->current = NULL;
		}
	}
	return usp_file_progress(in, USP_READ, done, ret);
}

static int blocks_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct blocks *blocks = file->priv;
	int fd;

	if (blocks->current) {
		fd = usp_block_verify(blocks->current) == -EAGAIN
			     ? usp_buf_poll_fd(NULL, &blocks->current->inner, ret_events)
			     : -EPERM;
		return fd == -EAGAIN ? -EPERM : fd;
	}
	if (blocks->error || blocks->has_ended || blocks->has_told_end)
		return -EPERM;
	if (usp_pipe_is_late(blocks->pulled, &fd, ret_events))
		return fd;
	return usp_pipe_len(blocks->pulled) ? -EPERM : usp_file_poll_fd(file->below, side, ret_events);
}

/* --- Life ---------------------------------------------------------------------------------------------------- */

static void blocks_free(struct blocks *blocks)
{
	if (!blocks)
		return;
	if (blocks->current)
		usp_folio_put(&blocks->current->folio);
	if (blocks->gather)
		usp_folio_put(blocks->gather);
	usp_pipe_free(blocks->pulled);
	usp_block_sums_fini(&blocks->sums);
	usp_free(blocks);
}

/* Return how many bytes were taken from the file below and not given. */
static size_t blocks_left(const struct blocks *blocks)
{
	size_t current = blocks->current ? blocks->current->folio.len - blocks->given : 0;

	return usp_pipe_len(blocks->pulled) + blocks->gathered + current;
}

static int blocks_release(struct usp_file *file)
{
	usp_file_unread(file->below, blocks_left(file->priv));
	blocks_free(file->priv);
	file->priv = NULL;
	return usp_stack_release(file);
}

static const struct usp_file_ops blocks_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "blocks",
	.read_iter = blocks_read_iter,
	.splice_read = blocks_splice_read,
	.release = blocks_release,
	.poll_fd = blocks_poll_fd,
	.get_size = usp_stack_size,
};

/* Open a stage with a list, which it owns from then on: 0 or -errno, and then the list is freed. */
static int blocks_open_sums(struct blocks *blocks, const char *name, struct usp_file *below, struct usp_file **ret_file)
{
	const struct usp_pipe_params pulled = {
		.size = sizeof(pulled), .nr_slots = BLOCKS_PULLED_SLOTS, .slot_bytes = USP_BLOCK_MAX};
	char spec[sizeof("blocks:blake2b")];
	int ret = usp_pipe_new(&pulled, &blocks->pulled);

	if (ret == 0) {
		snprintf(spec, sizeof(spec), "%s:%s", name, blocks->sums.hash->name);
		ret = usp_stack_new(&blocks_ops, below, USP_READ, spec, blocks, ret_file);
	}
	if (ret < 0) {
		blocks_free(blocks);
		return ret;
	}
	(*ret_file)->traits &= ~(USP_FILE_SEEKABLE | USP_FILE_SHARED);
	(*ret_file)->traits |= USP_FILE_OBSERVES;
	return 0;
}

/* --- blocks: ------------------------------------------------------------------------------------------------- */

static int blocks_check(const char *options, const char **ret_why)
{
	*ret_why = options[0] ? NULL : "it has no file of checksums behind the colon";
	return options[0] ? 0 : -EINVAL;
}

static int blocks_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
		       struct usp_file **ret_file, const char **ret_why)
{
	struct blocks *blocks = usp_alloc(sizeof(*blocks));
	bool has_length = params->flags & USP_TRANSFORM_LENGTH;
	int ret = blocks ? usp_block_sums_read(options, &blocks->sums, ret_why) : -ENOMEM;

	if (ret == 0 && has_length && (uint64_t)params->length < blocks->sums.length) {
		*ret_why = "the input would end before the last block";
		ret = -EINVAL;
	}
	if (ret < 0) {
		blocks_free(blocks);
		return ret;
	}
	blocks->limit = blocks->sums.length;
	blocks->must_end = !has_length || (uint64_t)params->length > blocks->limit;
	return blocks_open_sums(blocks, "blocks", below, ret_file);
}

const struct usp_transform usp_blocks_transform = {.name = "blocks", .check = blocks_check, .open = blocks_open};

/* --- sums: --------------------------------------------------------------------------------------------------- */

static int sums_check(const char *options, const char **ret_why)
{
	struct usp_block_sums sums;

	return usp_block_sums_parse(options, &sums, ret_why);
}

static int sums_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
		     struct usp_file **ret_file, const char **ret_why)
{
	struct blocks *blocks = usp_alloc(sizeof(*blocks));
	int ret = blocks ? usp_block_sums_parse(options, &blocks->sums, ret_why) : -ENOMEM;

	if (ret < 0) {
		blocks_free(blocks);
		return ret;
	}
	blocks->is_computed = true;
	blocks->limit = params->flags & USP_TRANSFORM_LENGTH ? (uint64_t)params->length : INT64_MAX;
	return blocks_open_sums(blocks, "sums", below, ret_file);
}

const struct usp_transform usp_sums_transform = {.name = "sums", .check = sums_check, .open = sums_open};

int usp_sums_write(const struct usp_file *stage, int fd)
{
	const struct blocks *blocks = stage->ops == &blocks_ops ? stage->priv : NULL;

	if (!blocks || !blocks->is_computed)
		return -EINVAL;
	if (blocks->current || blocks->at < blocks->limit)
		return -EAGAIN;
	return usp_block_sums_write(&blocks->sums, fd);
}
