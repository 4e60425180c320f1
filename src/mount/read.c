/* SPDX-License-Identifier: MIT */
/*
 * read - requests to read, and the thread that goes on with those that had to wait.
 *
 *   splice_read ──► bufs in a pipe ──► confirm each ──► one writev of all to the kernel ──► bufs are released
 *        │ no memory           │ not there yet
 *        └── give back ────────┴──► parked, with a descriptor ──► waiter: poll ──► again
 *
 * The kernel's page cache takes a short reply for the end of the file. So a request that meets an error fails as a whole,
 * and the kernel asks again page by page: what is good arrives, and the error stands exactly where it is. With
 * USP_MOUNT_DIRECT the good bytes go first.
 *
 * What the kernel has cached of a plain file is spliced or read from there first, and at once. Only the rest goes the way
 * above.
 */
#include <errno.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "mm/folio.h"
#include "mount/inside.h"
#include "splice/pipe.h"

#define READ_BUFS 512 /* a request has 1 MiB at most, and a buf at least a page, but for the first and the last */
#define READ_POOL 32  /* kept */
#define READ_WAITS 1024

struct mount_read {
	struct mount_wait wait;	 /* first */
	struct mount_read *next; /* in the pool */
	struct usp_pipe *pipe;
	struct usp_folio *plain; /* of MOUNT_READ_BYTES, for bytes of a plain file; NULL until they are read */
	struct mount_node *node;
	struct usp_file *file;
	int64_t pos;
	size_t len, done; /* asked for; in the pipe */
	int error;	  /* of the byte behind done, or 0 */
	bool is_ended;	  /* there is none */
	int fd;		  /* to wait for */
	short events;
	unsigned nr;
	struct usp_buf bufs[READ_BUFS];
	struct iovec iov[READ_BUFS];
};

/* --- Memory ----------------------------------------------------------------------------------------------- */

static void read_free(struct mount_read *read)
{
	if (read) {
		usp_pipe_free(read->pipe);
		if (read->plain)
			usp_folio_put(read->plain);
	}
	usp_free(read);
}

static struct mount_read *read_new(void)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = READ_BUFS, .slot_bytes = MOUNT_READ_BYTES};
	struct mount_read *read = usp_alloc(sizeof(*read));

	if (read && usp_pipe_new(&params, &read->pipe) < 0) {
		usp_free(read);
		read = NULL;
	}
	return read;
}

static struct mount_read *read_take(struct usp_mount *mount)
{
	struct mount_read *read;

	pthread_mutex_lock(&mount->lock);
	read = mount->pool;
	if (read) {
		mount->pool = read->next;
		mount->nr_pool--;
	}
	pthread_mutex_unlock(&mount->lock);
	return read ? read : read_new();
}

/* Give a read back, whose pipe is empty. */
static void read_give(struct usp_mount *mount, struct mount_read *read)
{
	bool is_kept;

	pthread_mutex_lock(&mount->lock);
	is_kept = mount->nr_pool < READ_POOL;
	if (is_kept) {
		read->next = mount->pool;
		mount->pool = read;
		mount->nr_pool++;
	}
	pthread_mutex_unlock(&mount->lock);
	if (!is_kept)
		read_free(read);
}

/* --- Bytes ------------------------------------------------------------------------------------------------ */

/* Release all bufs. The read turn is not held. */
static void read_drop(struct mount_read *read)
{
	if (read->done && usp_pipe_begin_read(read->pipe, USP_SPLICE_NONBLOCK) > 0) {
		usp_pipe_advance(read->pipe, usp_pipe_len(read->pipe));
		usp_pipe_end_read(read->pipe);
	}
	read->done = 0;
}

/* Take bufs of the source once: as splice_read. */
static ssize_t read_some(struct mount_read *read)
{
	int64_t pos = read->pos + (int64_t)read->done;
	ssize_t ret = usp_pipe_begin_write(read->pipe, USP_SPLICE_NONBLOCK);

	if (ret < 0)
		return -EIO; /* more bufs than a request can have */
	ret = usp_file_splice_read(read->file, &pos, read->pipe, read->len - read->done, USP_SPLICE_NONBLOCK);
	usp_pipe_end_write(read->pipe);
	return ret;
}

/*
 * Take bufs until there are as many bytes as were asked for, or no more: 0, or -EAGAIN with fd. A read that has to wait
 * for memory keeps none: two that wait for each other would wait for ever.
 */
static int read_fill(struct mount_read *read)
{
	while (read->done < read->len && !read->is_ended && !read->error) {
		ssize_t ret = read_some(read);

		if (ret > 0) {
			read->done += (size_t)ret;
		} else if (ret == 0) {
			read->is_ended = true;
		} else if (ret == -EAGAIN) {
			read_drop(read);
			read->fd = usp_file_poll_fd(read->file, USP_READ, &read->events);
			if (read->fd >= 0)
				return -EAGAIN;
			read->error = read->fd;
		} else {
			read->error = (int)ret;
		}
	}
	return 0;
}

/* Ask what is wrong with the bytes of a buf behind the first len ones, which are good: -errno, or -ENODATA at the end. */
static int read_fault(struct mount_read *read, const struct usp_buf *whole, size_t len)
{
	struct usp_buf rest = *whole;
	int ret;

	rest.offset += len;
	rest.len -= len;
	ret = usp_buf_confirm(read->pipe, &rest, USP_SPLICE_NONBLOCK);
	return ret < 0 ? ret : -ENODATA;
}

/*
 * Look which bytes are there. Sets nr and iov: 0 with *ret_len and, in error, what is wrong with the next byte. -EAGAIN
 * with fd. The read turn is held.
 */
static int read_confirm(struct mount_read *read, size_t *ret_len)
{
	unsigned nr_bufs = usp_pipe_peek(read->pipe, read->bufs, READ_BUFS);
	size_t len = 0;

	for (read->nr = 0; read->nr < nr_bufs;) {
		struct usp_buf buf = read->bufs[read->nr];
		int ret = usp_buf_confirm(read->pipe, &buf, USP_SPLICE_NONBLOCK);

		if (ret == -EAGAIN) {
			ret = usp_buf_poll_fd(read->pipe, &buf, &read->events);
			if (ret == -EAGAIN)
				continue;
			read->fd = ret;
			if (ret >= 0)
				return -EAGAIN;
		}
		if (ret < 0) {
			read->error = ret;
			break;
		}
		read->iov[read->nr] = (struct iovec){.iov_base = usp_buf_bytes(&buf), .iov_len = buf.len};
		len += buf.len;
		read->nr++;
		if (buf.len < read->bufs[read->nr - 1].len) {
			read->error = read_fault(read, &read->bufs[read->nr - 1], buf.len);
			break;
		}
	}
	*ret_len = len;
	return 0;
}

/* --- Answers ---------------------------------------------------------------------------------------------- */

/* Send what is there, or the error. The bufs are released by the caller. */
static void read_reply(struct mount_read *read, size_t len)
{
	struct mount_node *node = read->node;
	bool gives_part = read->wait.mount->params.flags & USP_MOUNT_DIRECT && len > 0;

	mount_wait_end(&read->wait);
	atomic_fetch_add(&node->nr_reads, 1);
	if (read->error && read->error != -ENODATA && !gives_part) {
		atomic_fetch_add(&node->nr_errors, 1);
		fuse_reply_err(read->wait.req, -read->error);
		return;
	}
	atomic_fetch_add(&node->copied, len);
	fuse_reply_iov(read->wait.req, read->iov, (int)read->nr);
}

/* Answer, if all is there: true. Otherwise fd says what to wait for. */
static bool read_try(struct mount_read *read)
{
	size_t len = 0;
	int ret = read_fill(read);

	if (ret < 0)
		return false;
	read->nr = 0;
	if (read->done > 0 && usp_pipe_begin_read(read->pipe, USP_SPLICE_NONBLOCK) > 0) {
		ret = read_confirm(read, &len);
		if (ret == 0) {
			read_reply(read, len);
			usp_pipe_advance(read->pipe, usp_pipe_len(read->pipe));
		}
		usp_pipe_end_read(read->pipe);
		return ret == 0;
	}
	read_reply(read, 0);
	return true;
}

static void read_fail(struct mount_read *read, int error)
{
	read_drop(read);
	atomic_fetch_add(&read->node->nr_errors, 1);
	fuse_reply_err(read->wait.req, error);
	read_give(read->wait.mount, read);
}

static void read_interrupted(struct mount_wait *wait)
{
	struct mount_read *read = usp_container_of(wait, struct mount_read, wait);

	wait->is_hooked = false;
	read_fail(read, EINTR);
}

/* --- Plain files ------------------------------------------------------------------------------------------ */

/* tmpfs knows no RWF_NOWAIT, and has all bytes in memory. */
static ssize_t read_plain_some(const struct mount_node *node, void *base, size_t len, int64_t off)
{
	const struct iovec iov = {.iov_base = base, .iov_len = len};

	return node->is_in_memory ? usp_sys_readv(node->fd, &iov, 1, &off)
				  : usp_sys_read_cached(node->fd, base, len, off);
}

/* Answer with the pages themselves: false if they are not all there, and then nothing has happened. */
static bool read_spliced(struct mount_read *read)
{
	struct mount_node *node = read->node;
	struct mount_splice splice;

	if (!node->may_splice || !mount_splice_begin(node, read->pos, read->len, &splice))
		return false;
	mount_wait_end(&read->wait);
	atomic_fetch_add(&node->nr_reads, 1);
	atomic_fetch_add(&node->copied, splice.len);
	atomic_fetch_add(&node->spliced, splice.len);
	mount_splice_reply(read->wait.req, &splice);
	return true;
}

/*
 * Answer with bytes that are in the page cache of the source's own file: false if they are not, and then nothing has
 * happened. One buffer that stays in the caches of the processor costs less than folios, their threads and wake-ups.
 */
static bool read_plain(struct mount_read *read)
{
	struct mount_node *node = read->node;
	size_t done = 0;
	ssize_t ret = 1;

	if (!read->plain)
		read->plain = usp_folio_new(MOUNT_READ_BYTES);
	if (!read->plain)
		return false;
	while (done < read->len && ret > 0) {
		ret = read_plain_some(node, read->plain->base + done, read->len - done, read->pos + (int64_t)done);
		done += ret > 0 ? (size_t)ret : 0;
	}
	if (ret < 0) {
		if (ret == -EOPNOTSUPP)
			mount_node_not_plain(node);
		usp_folio_put(read->plain); /* a request that waits keeps no memory */
		read->plain = NULL;
		return false;
	}
	read->iov[0] = (struct iovec){.iov_base = read->plain->base, .iov_len = done};
	read->nr = 1;
	read_reply(read, done);
	return true;
}

/* Answer, or park. */
static void read_go_on(struct mount_read *read)
{
	struct usp_mount *mount = read->wait.mount;

	if (read_try(read)) {
		read_give(mount, read);
	} else if (mount_wait_park(&read->wait, &mount->reads)) {
		usp_sys_eventfd_set(mount->wake_fd, true);
	} else {
		mount_wait_end(&read->wait);
		read_fail(read, EINTR);
	}
}

void mount_read(fuse_req_t req, struct mount_open *open, int64_t pos, size_t len)
{
	struct mount_node *node = open->node;
	struct usp_mount *mount = node->mount;
	struct mount_read *read = open->file ? read_take(mount) : NULL;

	if (!open->file) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	if (!read) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	read->wait = (struct mount_wait){.mount = mount, .req = req, .interrupted = read_interrupted};
	read->node = node;
	read->file = open->file;
	read->pos = pos;
	read->len = usp_min(len, MOUNT_READ_BYTES);
	read->done = 0;
	read->error = 0;
	read->is_ended = false;
	if (atomic_load(&node->is_plain) && (read_spliced(read) || read_plain(read)))
		read_give(mount, read);
	else
		read_go_on(read);
}

/* --- The waiter ------------------------------------------------------------------------------------------- */

/* List what the parked reads wait for, behind the waker: how many there are. */
static unsigned waiter_list(struct usp_mount *mount, struct pollfd *fds, struct mount_read **reads)
{
	struct mount_wait *wait;
	unsigned nr = 0;

	pthread_mutex_lock(&mount->lock);
	TAILQ_FOREACH(wait, &mount->reads, link)
	{
		if (nr == READ_WAITS)
			break;
		reads[nr] = usp_container_of(wait, struct mount_read, wait);
		fds[1 + nr] = (struct pollfd){.fd = reads[nr]->fd, .events = reads[nr]->events};
		nr++;
	}
	pthread_mutex_unlock(&mount->lock);
	return nr;
}

/* Go on with a read if it is still parked. One that was answered meanwhile may be another request now: that does no harm. */
static void waiter_go_on(struct usp_mount *mount, struct mount_read *read)
{
	struct mount_wait *wait;
	bool is_parked = false;

	pthread_mutex_lock(&mount->lock);
	TAILQ_FOREACH(wait, &mount->reads, link)
	{
		if (wait == &read->wait) {
			mount_wait_take(wait);
			is_parked = true;
			break;
		}
	}
	pthread_mutex_unlock(&mount->lock);
	if (is_parked)
		read_go_on(read);
}

void *mount_read_waiter(void *arg)
{
	static const int64_t forever = -1;
	struct usp_mount *mount = arg;
	struct pollfd *fds = mount->waiter_fds;
	struct mount_read **reads = mount->waiter_reads;

	while (!atomic_load(&mount->must_end)) {
		unsigned nr;
		int ret;

		usp_sys_eventfd_set(mount->wake_fd, false);
		nr = waiter_list(mount, fds, reads);
		fds[0] = (struct pollfd){.fd = mount->wake_fd, .events = POLLIN};
		if (atomic_load(&mount->must_end))
			continue;
		ret = usp_sys_poll(fds, nr + 1, forever);
		for (unsigned i = 0; i < nr; i++) {
			if (ret < 0 || fds[1 + i].revents) /* without memory to wait, ask each of them */
				waiter_go_on(mount, reads[i]);
		}
	}
	return NULL;
}

int mount_read_init(struct usp_mount *mount)
{
	mount->waiter_fds = usp_alloc_array(READ_WAITS + 1, sizeof(*mount->waiter_fds));
	mount->waiter_reads = usp_alloc_array(READ_WAITS, sizeof(struct mount_read *));
	return mount->waiter_fds && mount->waiter_reads ? 0 : -ENOMEM;
}

void mount_read_cancel(struct usp_mount *mount)
{
	struct mount_wait *wait;

	do {
		pthread_mutex_lock(&mount->lock);
		wait = TAILQ_FIRST(&mount->reads);
		if (wait)
			mount_wait_take(wait);
		pthread_mutex_unlock(&mount->lock);
		if (wait) {
			mount_wait_end(wait);
			read_fail(usp_container_of(wait, struct mount_read, wait), ENOTCONN);
		}
	} while (wait);
}

void mount_read_fini(struct usp_mount *mount)
{
	struct mount_read *read;

	while ((read = mount->pool)) {
		mount->pool = read->next;
		read_free(read);
	}
	usp_free(mount->waiter_fds);
	usp_free(mount->waiter_reads);
}
