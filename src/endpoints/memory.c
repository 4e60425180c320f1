/* SPDX-License-Identifier: MIT */
/*
 * memory - bytes in memory as a file: the caller's memory, a text in the spec, or a store that grows
 * as it is written.
 *
 * All three are a rope. Reading gives references to its pieces. Writing copies into them; with MOVE a
 * growing store takes over the memory of a buf that has no other owner. Before a growing store changes
 * bytes that other references may see, it copies the piece. The caller's memory cannot be moved: there
 * the caller must prevent such a change.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "mm/folio.h"
#include "mm/gift.h"
#include "splice/rope.h"

#define MEMORY_MAX_DEFAULT ((int64_t)1 << 30) /* a sink that is never read must not use up the memory */

struct memory {
	pthread_mutex_t lock;
	struct usp_rope rope;
};

static void memory_free(struct memory *memory)
{
	usp_rope_fini(&memory->rope);
	pthread_mutex_destroy(&memory->lock);
	usp_free(memory);
}

static struct memory *memory_new(size_t max_len)
{
	struct memory *memory = usp_alloc(sizeof(*memory));

	if (!memory)
		return NULL;
	pthread_mutex_init(&memory->lock, NULL);
	memory->rope.max_len = max_len;
	return memory;
}

/* --- Out of a pipe ------------------------------------------------------------------------------------- */

/* What one splice_write did. */
struct memory_work {
	struct usp_file *out;
	int64_t *pos;
	unsigned flags;
	size_t taken, copied, mapped; /* bytes */
	const char *why;	      /* the last ones were copied */
};

/* Tell why the buf itself cannot be taken over, or NULL. */
static const char *memory_refusal(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, unsigned flags)
{
	if (!(flags & USP_SPLICE_MOVE))
		return "MOVE was not asked for";
	if (len < buf->len)
		return "only a part of a buf was asked for";
	if (!usp_folio_is_pooled(buf->store))
		return "the memory has another owner";
	return usp_buf_try_steal(pipe, buf) ? NULL : "others refer to the memory";
}

static void memory_count(struct memory_work *work, const struct usp_buf *buf, size_t len, const char *why)
{
	if (buf->flags & USP_BUF_MAPPED)
		work->mapped += len;
	else if (why)
		work->copied += len;
	else
		work->taken += len;
	work->why = why ? why : work->why;
}

static ssize_t memory_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	const struct iovec bytes = {.iov_base = usp_buf_bytes(buf), .iov_len = len};
	const struct usp_iter from = {.iov = &bytes, .nr_segs = 1, .count = len};
	struct memory_work *work = arg;
	struct memory *memory = work->out->priv;
	const char *why = memory_refusal(pipe, buf, len, work->flags);
	ssize_t ret = (ssize_t)len;

	pthread_mutex_lock(&memory->lock);
	if (!why)
		why = usp_rope_take(&memory->rope, buf->store, buf->offset, len, *work->pos);
	if (why)
		ret = usp_rope_write(&memory->rope, &from, *work->pos);
	pthread_mutex_unlock(&memory->lock);
	if (ret > 0) {
		*work->pos += ret;
		memory_count(work, buf, (size_t)ret, why);
	}
	return ret;
}

static ssize_t memory_splice_write(struct usp_pipe *pipe, struct usp_file *out, int64_t *pos, size_t len,
				   unsigned flags)
{
	struct memory_work work = {.out = out, .pos = pos, .flags = flags};
	ssize_t ret = usp_splice_from_pipe(pipe, len, flags, memory_actor, &work);

	if (work.mapped)
		usp_file_account(out, USP_WRITE, USP_COPIED, work.mapped,
				 "bytes held by the kernel were read into a folio");
	if (work.copied)
		usp_file_account(out, USP_WRITE, USP_COPIED, work.copied, work.why);
	if (work.taken)
		usp_file_account(out, USP_WRITE, USP_BY_REFERENCE, work.taken, "the memory was taken over");
	return ret;
}

/* --- The other hooks ------------------------------------------------------------------------------------ */

static ssize_t memory_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct memory *memory = in->priv;
	size_t len;

	(void)flags;
	pthread_mutex_lock(&memory->lock);
	len = usp_rope_read(&memory->rope, to, *pos);
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
	ret = usp_rope_write(&memory->rope, from, *pos);
	pthread_mutex_unlock(&memory->lock);
	if (ret > 0)
		*pos += ret;
	return ret;
}

static ssize_t memory_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct memory *memory = in->priv;
	ssize_t ret;

	(void)flags;
	pthread_mutex_lock(&memory->lock);
	ret = usp_rope_lend(&memory->rope, *pos, pipe, len);
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
	len = (int64_t)memory->rope.len;
	pthread_mutex_unlock(&memory->lock);
	return len;
}

static const struct usp_file_ops memory_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "memory",
	.read_iter = memory_read_iter,
	.write_iter = memory_write_iter,
	.splice_read = memory_splice_read,
	.splice_write = memory_splice_write,
	.release = memory_release,
	.get_size = memory_size,
};

/* --- The caller's memory -------------------------------------------------------------------------------- */

/* Make the gift last: done must not be called if opening fails. */
static int memory_take(struct memory *memory, void *base, size_t len, void (*done)(void *arg), void *arg)
{
	int ret = usp_rope_reserve(&memory->rope);
	struct usp_gift *gift;

	if (ret == 0)
		ret = usp_gift_new(base, len, done, arg, &gift);
	if (ret == 0)
		usp_rope_lay(&memory->rope, &gift->folio);
	return ret;
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
	memory = memory_new(len);
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
	memory = memory_new((size_t)max_len);
	if (!memory)
		return -ENOMEM;
	ret = usp_rope_write(&memory->rope, &from, 0) < (ssize_t)text.iov_len ? -ENOMEM : 0;
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
	.form = "mem:[TEXT]",
	.summary = "the bytes of TEXT; without it, a sink in memory",
	.modes = USP_READ | USP_WRITE,
	.options = memory_options,
	.open = memory_open,
};
