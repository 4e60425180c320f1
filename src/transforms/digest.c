/* SPDX-License-Identifier: MIT */
/*
 * digest - checksums of what a source gives, while it goes on into the pipe as it is.
 *
 *   below ──splice_read──► bufs ─────────────────────────────► the caller's pipe
 *                            │ get: a second owner
 *                            ▼
 *                         [fresh] ──(inline: hashed here, by the caller)
 *                            │ with a thread
 *                            ▼
 *                         [queue] ──► the stage's thread hashes
 *
 * fresh holds what one call brought. A call begins by emptying it: inline it hashes, with a thread it moves the
 * bufs on into the queue, which is bounded. So a digest that is too slow holds the flow back, as does a buf that
 * has no bytes yet. A call that may not block gives -EAGAIN then, and poll_fd tells what for.
 *
 * Before the end of input is told, the hashes are finished, and compared with what is expected.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/thread.h"
#include "splice/file.h"
#include "splice/iter.h"
#include "splice/pipe.h"
#include "splice/sock.h"
#include "transforms/digest_sums.h"
#include "transforms/transforms.h"

#define DIGEST_QUEUE_BYTES ((size_t)4 << 20)
#define DIGEST_QUEUE_SLOTS 64
#define DIGEST_THREAD_BYTES ((uint64_t)256 << 10) /* less is hashed before a thread has started */
#define DIGEST_FRESH_BUF_BYTES ((size_t)1 << 40)  /* a buf of any pipe fits */

enum digest_stage {
	DIGEST_OPEN,
	DIGEST_ENDING, /* the input has ended; the thread may still have bytes to hash */
	DIGEST_ENDED,
};

struct digest {
	struct usp_digest_sums sums;
	unsigned flags; /* USP_TRANSFORM_* */
	int64_t left;	/* bytes until the input ends, with USP_TRANSFORM_LENGTH */
	uint64_t seen;	/* bytes passed on */
	enum digest_stage stage;
	int result; /* at the end: 0 or -EBADMSG */
	struct usp_pipe *fresh;
	bool may_thread;	/* a thread pays, and was not tried yet */
	struct usp_pipe *queue; /* to the thread; NULL without one */
	pthread_t thread;
	unsigned process;     /* that made the thread */
	int done_fd, quit_fd; /* eventfds: the thread has hashed everything; it has to quit */
	atomic_bool is_done, must_quit;
	atomic_int error; /* why the hashes are not those of the bytes, or 0 */
};

/* --- The options ------------------------------------------------------------------------------------------ */

static int digest_check(const char *options, const char **ret_why)
{
	struct usp_digest_sums sums;

	return usp_digest_sums_parse(options, &sums, ret_why);
}

/* --- Hashing ------------------------------------------------------------------------------------------------ */

static ssize_t digest_actor(struct usp_pipe *pipe, struct usp_buf *buf, size_t len, void *arg)
{
	struct digest *digest = arg;

	(void)pipe;
	if (atomic_load_explicit(&digest->must_quit, memory_order_relaxed))
		return -ECANCELED;
	usp_digest_sums_add(&digest->sums, usp_buf_bytes(buf), len);
	return (ssize_t)len;
}

/* Hash what is in a pipe, also beside its producer: bytes, -EAGAIN for bytes that come later, or -errno. */
static ssize_t digest_hash(struct digest *digest, struct usp_pipe *pipe, unsigned flags)
{
	ssize_t ret = usp_splice_from_pipe(pipe, USP_MAX_RW_COUNT, flags, digest_actor, digest);

	return ret == 0 && usp_pipe_len(pipe) ? -ENODATA : ret; /* confirm found that the bytes are gone */
}

/* --- The thread --------------------------------------------------------------------------------------------- */

/* Wait until the first buf of the queue has its bytes, or the thread has to quit. */
static void digest_await_late(struct digest *digest)
{
	struct pollfd fds[2] = {{.fd = digest->quit_fd, .events = POLLIN}};

	if (usp_pipe_is_late(digest->queue, &fds[1].fd, &fds[1].events))
		usp_sys_poll(fds, usp_array_len(fds), -1);
}

static void *digest_run(void *arg)
{
	struct digest *digest = arg;
	ssize_t ret;

	while ((ret = usp_pipe_begin_read(digest->queue, 0)) > 0) {
		usp_pipe_end_read(digest->queue);
		ret = digest_hash(digest, digest->queue, USP_SPLICE_NONBLOCK);
		if (ret == -EAGAIN && !atomic_load(&digest->must_quit))
			digest_await_late(digest);
		else if (ret < 0)
			break;
	}
	if (ret < 0)
		atomic_store(&digest->error, (int)ret);
	usp_pipe_close_read(digest->queue); /* after an error nobody must wait for room */
	atomic_store(&digest->is_done, true);
	usp_sys_eventfd_set(digest->done_fd, true);
	return NULL;
}

static void digest_close_events(struct digest *digest)
{
	usp_sys_close(digest->done_fd);
	usp_sys_close(digest->quit_fd);
	digest->done_fd = digest->quit_fd = -1;
}

static int digest_start_thread(struct digest *digest)
{
	digest->done_fd = usp_sys_eventfd();
	digest->quit_fd = usp_sys_eventfd();
	if (digest->done_fd < 0 || digest->quit_fd < 0)
		return -EMFILE;
	return usp_thread_start(&digest->thread, digest_run, digest);
}

/* Hash in a thread from now on. Where there can be none, the caller's thread goes on hashing. */
static void digest_try_thread(struct digest *digest)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = DIGEST_QUEUE_SLOTS, .max_bytes = DIGEST_QUEUE_BYTES};

	digest->may_thread = false;
	if (usp_pipe_new(&params, &digest->queue) < 0)
		return;
	digest->process = usp_own_nr();
	if (digest_start_thread(digest) == 0)
		return;
	digest_close_events(digest);
	usp_pipe_free(digest->queue);
	digest->queue = NULL;
}

static bool digest_is_foreign(const struct digest *digest)
{
	return digest->queue && digest->process != usp_own_nr();
}

/* --- What the stage waits for ------------------------------------------------------------------------------- */

/* Move the fresh bufs into the queue: 0 when all are there, or -errno. */
static int digest_pass_to_thread(struct digest *digest, unsigned flags)
{
	ssize_t ret = 0;

	while (ret >= 0 && usp_pipe_len(digest->fresh))
		ret = usp_pipe_transfer(digest->fresh, digest->queue, USP_MAX_RW_COUNT, flags, true);
	return ret == -EPIPE ? atomic_load(&digest->error) : ret < 0 ? (int)ret : 0;
}

/* Get rid of the fresh bufs, by one way or the other: 0, -EAGAIN or -errno. */
static int digest_catch_up(struct digest *digest, unsigned flags)
{
	ssize_t ret = atomic_load(&digest->error);

	if (ret == 0 && digest->queue)
		return digest_pass_to_thread(digest, flags);
	while (ret >= 0 && usp_pipe_len(digest->fresh))
		ret = digest_hash(digest, digest->fresh, flags);
	if (ret < 0 && ret != -EAGAIN && ret != -EINTR)
		atomic_store(&digest->error, (int)ret);
	return ret < 0 ? (int)ret : 0;
}

static int digest_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct digest *digest = file->priv;
	int fd;

	if (digest->stage == DIGEST_ENDED)
		return -EPERM;
	*ret_events = POLLIN;
	if (digest->stage == DIGEST_ENDING && digest->queue)
		return digest->done_fd;
	if (usp_pipe_len(digest->fresh) && digest->queue)
		return usp_pipe_room_fd(digest->queue);
	if (usp_pipe_is_late(digest->fresh, &fd, ret_events))
		return fd;
	return usp_file_poll_fd(file->below, side, ret_events);
}

/* --- The end ------------------------------------------------------------------------------------------------ */

/* Wait until the thread has hashed everything: 0, -EAGAIN or -errno. */
static int digest_await_thread(struct digest *digest, unsigned flags)
{
	usp_pipe_close_write(digest->queue);
	if (flags & USP_SPLICE_NONBLOCK && !atomic_load(&digest->is_done))
		return -EAGAIN;
	pthread_join(digest->thread, NULL);
	digest_close_events(digest);
	usp_pipe_free(digest->queue);
	digest->queue = NULL;
	return 0;
}

/* Tell the end of the input: 0 or -EBADMSG. -EAGAIN while the thread is busy, -errno if it failed. */
static int digest_end(struct digest *digest, unsigned flags)
{
	int ret = 0;

	if (digest->stage == DIGEST_ENDED)
		return digest->result;
	digest->stage = DIGEST_ENDING;
	if (digest->queue)
		ret = digest_await_thread(digest, flags);
	if (ret == 0)
		ret = atomic_load(&digest->error);
	if (ret < 0)
		return ret;
	digest->result = usp_digest_sums_finish(&digest->sums);
	digest->stage = DIGEST_ENDED;
	return digest->result;
}

/* --- The bytes ---------------------------------------------------------------------------------------------- */

/* Cut len to what the input still has. */
static size_t digest_allowed(const struct digest *digest, size_t len)
{
	return digest->flags & USP_TRANSFORM_LENGTH ? usp_min(len, (size_t)digest->left) : len;
}

static void digest_count(struct digest *digest, size_t len)
{
	digest->seen += len;
	digest->left -= digest->flags & USP_TRANSFORM_LENGTH ? (int64_t)len : 0;
}

/* Keep a second owner of a buf for hashing. What the kernel holds is mapped in the caller's pipe: 0 or -errno. */
static int digest_keep(struct digest *digest, struct usp_pipe *pipe, unsigned index, size_t *mapped)
{
	struct usp_buf buf = usp_pipe_peek_pushed(pipe, index), copy;
	int ret = usp_buf_is_mapped(&buf) ? 0 : usp_buf_map(pipe, &buf);

	if (ret < 0 || !buf.len)
		return ret;
	usp_pipe_set_pushed(pipe, index, &buf);
	*mapped += buf.flags & USP_BUF_MAPPED ? buf.len : 0;
	copy = buf;
	copy.flags &= ~(USP_BUF_GIFT | USP_BUF_CAN_MERGE | USP_BUF_PACKET);
	if (!usp_buf_get(pipe, &buf, &copy))
		return -EFAULT;
	ret = usp_pipe_begin_write(digest->fresh, USP_SPLICE_NONBLOCK); /* there is room: usp_pipe_reserve */
	assert(ret == 0);
	usp_pipe_push(digest->fresh, &copy, 1);
	usp_pipe_end_write(digest->fresh);
	return 0;
}

static void digest_account(struct usp_file *in, size_t len, size_t mapped)
{
	if (mapped)
		usp_file_account(in, USP_READ, USP_COPIED, mapped,
				 "bytes held by the kernel were read into memory, to hash them");
	if (len > mapped)
		usp_file_account(in, USP_READ, USP_BY_REFERENCE, len - mapped, "hashed, and passed on as it is");
}

/* Take bufs from the file below into the caller's pipe, and keep second owners. */
static ssize_t digest_pull(struct usp_file *in, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct digest *digest = in->priv;
	unsigned before = usp_pipe_nr_pushed(pipe), room = usp_pipe_room(pipe, NULL), nr;
	ssize_t taken = usp_pipe_reserve(digest->fresh, room);
	size_t mapped = 0;
	int ret = 0;

	if (taken == 0)
		taken = usp_stack_splice_read(in, &in->pos, pipe, digest_allowed(digest, len), flags);
	if (taken == 0)
		taken = usp_sock_end_error(in->below);
	if (taken <= 0)
		return taken;
	nr = usp_pipe_nr_pushed(pipe);
	for (unsigned i = before; i < nr && ret == 0; i++)
		ret = digest_keep(digest, pipe, i, &mapped);
	if (ret < 0)
		atomic_store(&digest->error, ret); /* the next call tells: these bytes are on their way */
	digest_account(in, (size_t)taken, mapped);
	digest_count(digest, (size_t)taken);
	return taken;
}

/* Hash, or let hash, what was just taken, as far as that goes without waiting. An error comes with the next call. */
static void digest_work(struct digest *digest)
{
	if (digest->may_thread && (digest->flags & USP_TRANSFORM_THREAD || digest->seen > DIGEST_THREAD_BYTES))
		digest_try_thread(digest);
	digest_catch_up(digest, USP_SPLICE_NONBLOCK);
}

static ssize_t digest_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	struct digest *digest = in->priv;
	ssize_t ret = digest_is_foreign(digest) ? -ESTALE : 0;

	(void)pos; /* a stream */
	flags = usp_file_blocks(in, flags) ? flags & ~USP_SPLICE_NONBLOCK : flags | USP_SPLICE_NONBLOCK;
	if (ret == 0)
		ret = digest_catch_up(digest, flags);
	if (ret < 0)
		return ret;
	if (digest->stage == DIGEST_OPEN && digest_allowed(digest, len)) {
		ret = digest_pull(in, pipe, len, flags);
		if (ret > 0)
			digest_work(digest);
	}
	return ret ? ret : digest_end(digest, flags);
}

/* Copy bytes that a read brought into the queue of the thread, behind those that it has: 0 or -errno. */
static int digest_copy_to_thread(struct digest *digest, const void *bytes, size_t len)
{
	struct usp_buf buf = {.ops = &usp_folio_buf_ops, .store = usp_folio_new(len), .len = len};
	struct usp_folio *folio = buf.store;
	int ret = folio ? usp_pipe_reserve(digest->fresh, 1) : -ENOMEM;

	if (ret < 0) {
		if (folio)
			usp_folio_put(folio);
		return ret;
	}
	memcpy(folio->base, bytes, len);
	usp_pipe_begin_write(digest->fresh, USP_SPLICE_NONBLOCK);
	usp_pipe_push(digest->fresh, &buf, 1);
	usp_pipe_end_write(digest->fresh);
	return 0;
}

static void digest_see_read(struct digest *digest, const struct usp_iter *to, size_t len)
{
	for (unsigned i = 0; len; i++) {
		size_t chunk = usp_min(to->iov[i].iov_len, len), done = 0;

		while (digest->queue && done < chunk) {
			size_t piece = usp_min(chunk - done, DIGEST_QUEUE_BYTES);
			int ret = digest_copy_to_thread(digest, (const char *)to->iov[i].iov_base + done, piece);

			if (ret < 0)
				atomic_store(&digest->error, ret);
			done += piece;
		}
		if (!digest->queue)
			usp_digest_sums_add(&digest->sums, to->iov[i].iov_base, chunk);
		len -= chunk;
	}
}

/* A read into memory of len bytes, without waiting for the file below. */
static ssize_t digest_read(struct usp_file *in, const struct usp_iter *to, size_t len, unsigned flags)
{
	struct iovec cut[USP_ITER_SEGS_MAX];
	struct usp_iter allowed = {.iov = cut, .count = len};

	for (size_t left = len; left; allowed.nr_segs++) {
		cut[allowed.nr_segs] = to->iov[allowed.nr_segs];
		cut[allowed.nr_segs].iov_len = usp_min(cut[allowed.nr_segs].iov_len, left);
		left -= cut[allowed.nr_segs].iov_len;
	}
	return usp_file_try_read_iter(in->below, &allowed, &in->below->pos, flags | USP_SPLICE_NONBLOCK);
}

/* The door waits, by poll_fd, as it does for every file. */
static ssize_t digest_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct digest *digest = in->priv;
	ssize_t ret = digest_is_foreign(digest) ? -ESTALE : digest_catch_up(digest, USP_SPLICE_NONBLOCK);
	size_t len = digest_allowed(digest, to->count);

	(void)pos;
	if (ret < 0 || !to->count)
		return ret;
	if (digest->stage == DIGEST_OPEN && len) {
		ret = digest_read(in, to, len, flags);
		if (ret == 0)
			ret = usp_sock_end_error(in->below);
		if (ret > 0) {
			digest_see_read(digest, to, (size_t)ret);
			digest_count(digest, (size_t)ret);
		}
	}
	return ret ? ret : digest_end(digest, USP_SPLICE_NONBLOCK);
}

/* --- Life --------------------------------------------------------------------------------------------------- */

/* End a thread that may still have bytes to hash, which nobody asks for any more. */
static void digest_stop_thread(struct digest *digest)
{
	if (!digest->queue)
		return;
	if (!digest_is_foreign(digest)) {
		atomic_store(&digest->must_quit, true);
		usp_sys_eventfd_set(digest->quit_fd, true);
		usp_pipe_close_write(digest->queue);
		pthread_join(digest->thread, NULL);
		usp_pipe_free(digest->queue);
	} /* else a waiter that the child does not have would keep the queue from being freed */
	digest_close_events(digest);
}

static void digest_free(struct digest *digest)
{
	if (!digest)
		return;
	digest_stop_thread(digest);
	usp_digest_sums_fini(&digest->sums);
	usp_pipe_free(digest->fresh);
	usp_free(digest);
}

static int digest_release(struct usp_file *file)
{
	digest_free(file->priv);
	file->priv = NULL;
	return usp_stack_release(file);
}

static const struct usp_file_ops digest_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "digest",
	.read_iter = digest_read_iter,
	.splice_read = digest_splice_read,
	.release = digest_release,
	.poll_fd = digest_poll_fd,
	.get_size = usp_stack_size,
};

/* Does a thread pay? Not for what is faster than the memory, and not where it would only take the caller's processor. */
static bool digest_wants_thread(const struct digest *digest)
{
	if (digest->flags & (USP_TRANSFORM_INLINE | USP_TRANSFORM_THREAD))
		return digest->flags & USP_TRANSFORM_THREAD;
	return usp_digest_sums_are_heavy(&digest->sums) && usp_sys_nr_processors() > 1;
}

static int digest_new(const char *options, const struct usp_transform_params *params, struct digest **ret_digest)
{
	const struct usp_pipe_params fresh = {
		.size = sizeof(fresh), .nr_slots = 1, .slot_bytes = DIGEST_FRESH_BUF_BYTES};
	struct digest *digest = usp_alloc(sizeof(*digest));
	const char *why;
	int ret = digest ? usp_pipe_new(&fresh, &digest->fresh) : -ENOMEM;

	*ret_digest = digest;
	if (ret < 0)
		return ret;
	digest->done_fd = digest->quit_fd = -1;
	digest->flags = params->flags;
	digest->left = params->length;
	usp_digest_sums_parse(options, &digest->sums, &why); /* the check has accepted them */
	ret = usp_digest_sums_open(&digest->sums);
	digest->may_thread = ret == 0 && digest_wants_thread(digest);
	return ret;
}

static int digest_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
		       struct usp_file **ret_file, const char **ret_why)
{
	char name[USP_DIGEST_NAME_MAX];
	struct digest *digest;
	int ret = digest_new(options, params, &digest);

	(void)ret_why; /* the check has said all that there is to say */
	if (ret == 0) {
		usp_digest_sums_name(&digest->sums, name);
		ret = usp_stack_new(&digest_ops, below, USP_READ, name, digest, ret_file);
	}
	if (ret < 0) {
		digest_free(digest);
		return ret;
	}
	(*ret_file)->traits &= ~(USP_FILE_SEEKABLE | USP_FILE_SHARED);
	(*ret_file)->traits |= USP_FILE_OBSERVES;
	return 0;
}

const struct usp_transform usp_digest_transform = {.name = "digest", .check = digest_check, .open = digest_open};

int usp_digest_result(const struct usp_file *stage, unsigned index, struct usp_digest_result *ret_result)
{
	const struct digest *digest = stage->ops == &digest_ops ? stage->priv : NULL;

	if (!digest || index >= digest->sums.nr)
		return -EINVAL;
	if (digest->stage != DIGEST_ENDED)
		return -EAGAIN;
	usp_digest_sums_result(&digest->sums, index, ret_result);
	return 0;
}
