/* SPDX-License-Identifier: MIT */
/*
 * ring - memory whose pages the driver of kmod/ lends to pipes, and takes from them.
 *
 * As a source and as a sink a ring is a descriptor like others, on the kernel lane: splice(2) carries its bytes. Which slots these are is
 * said and heard beside that, by usp_ring_*: write(2) hands slots over, read(2) tells that they are back.
 *
 *   usp_ring_lend ──► order ──► splice(2) ──► pipe ──► socket ──► news ──► usp_ring_reap ──► done of the gift
 *   usp_ring_offer ─► order ──► splice(2) fills the slot ───────► news ──► usp_ring_reap ──► filled
 *
 * With the option "drop" every slot that was filled is offered again at once: a sink that shows what a driver could take.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <usplice/probe.h>
#include <usplice_ring.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"
#include "base/wait.h"
#include "endpoints/endpoints.h"
#include "endpoints/spec.h"
#include "lanes/kpool.h"
#include "mm/gift.h"
#include "splice/fd.h"
#include "splice/file.h"

#define RING_PATH "/dev/usplice"
#define RING_SLOTS 256
#define RING_BATCH 32u /* orders or news at a time */

/* Who waits for a slot. All of it is empty if the slot is the program's. */
struct ring_slot {
	struct usp_gift *gift; /* lent: a reference */
	void (*filled)(void *arg, void *base, size_t len, enum usp_way way);
	void *arg;
	bool is_out;
};

struct ring {
	pthread_mutex_t lock; /* for all below; never held while a callback runs */
	unsigned char *base;
	size_t len, slot_len;
	unsigned nr_slots, nr_out;
	bool drops;
	uint64_t seen_taken, seen_copied; /* bytes that are in the account of the sink */
	struct ring_slot slots[];
};

static const struct usp_file_ops ring_ops;

/* --- Orders ------------------------------------------------------------------------------------------- */

/* Give orders of one kind for slots that are marked, at most RING_BATCH: how many the driver took, or -errno. */
static ssize_t ring_give(const struct usp_file *file, const struct usplice_order *orders, unsigned nr)
{
	ssize_t ret = usp_sys_write(file->fd, orders, nr * sizeof(*orders));

	return ret < 0 ? ret : ret / (ssize_t)sizeof(*orders);
}

/* Note the owner of a slot that goes out. The caller has the lock. */
static void ring_mark(struct ring *ring, unsigned slot, const struct ring_slot *owner)
{
	ring->slots[slot] = *owner;
	ring->slots[slot].is_out = true;
	ring->nr_out++;
}

static struct ring_slot ring_unmark(struct ring *ring, unsigned slot)
{
	struct ring_slot owner = ring->slots[slot];

	ring->slots[slot] = (struct ring_slot){.gift = NULL};
	ring->nr_out--;
	return owner;
}

/* Make the order for the piece of the gift at off that lies in one slot: its length, or 0 if the slot is not the program's. */
static size_t ring_order_piece(struct ring *ring, struct usp_gift *gift, size_t off, size_t len,
			       struct usplice_order *ret_order)
{
	size_t at = (size_t)(gift->folio.base + off - ring->base), in_slot = at % ring->slot_len;
	unsigned slot = (unsigned)(at / ring->slot_len);

	len = usp_min(len, ring->slot_len - in_slot);
	if (ring->slots[slot].is_out || !usp_folio_get(&gift->folio))
		return 0;
	ring_mark(ring, slot, &(struct ring_slot){.gift = gift});
	*ret_order = (struct usplice_order){
		.what = USPLICE_LEND,
		.slot = slot,
		.offset = (uint32_t)in_slot,
		.len = (uint32_t)len,
	};
	return len;
}

/* Lend the first bytes, as far as RING_BATCH orders reach. The caller has the lock. */
static ssize_t ring_lend_batch(struct usp_file *file, struct usp_gift *gift, size_t off, size_t len)
{
	struct ring *ring = file->priv;
	struct usplice_order orders[RING_BATCH];
	unsigned nr = 0;
	size_t done = 0, piece;
	ssize_t given;

	while (nr < RING_BATCH && done < len &&
	       (piece = ring_order_piece(ring, gift, off + done, len - done, &orders[nr]))) {
		done += piece;
		nr++;
	}
	if (!nr)
		return -EBUSY;
	given = ring_give(file, orders, nr);
	for (unsigned i = nr; i > (given > 0 ? (unsigned)given : 0); i--) {
		done -= orders[i - 1].len;
		ring_unmark(ring, orders[i - 1].slot);
		usp_folio_put(&gift->folio); /* not the last: the caller has one */
	}
	return given < 0 ? given : (ssize_t)done;
}

static struct ring *ring_of(const struct usp_file *file)
{
	return file && file->ops == &ring_ops ? file->priv : NULL;
}

ssize_t usp_ring_lend(struct usp_file *file, struct usp_gift *gift, size_t off, size_t len)
{
	struct ring *ring = ring_of(file);
	ssize_t ret = 0;
	size_t done = 0;

	if (!ring || !gift || off > gift->folio.len || len > gift->folio.len - off || gift->folio.base < ring->base ||
	    (size_t)(gift->folio.base - ring->base) > ring->len ||
	    off + len > ring->len - (size_t)(gift->folio.base - ring->base))
		return -EINVAL;
	if (!(file->mode & USP_READ))
		return -EBADF;
	pthread_mutex_lock(&ring->lock);
	while (done < len && ret >= 0) {
		ret = ring_lend_batch(file, gift, off + done, len - done);
		done += ret > 0 ? (size_t)ret : 0;
	}
	pthread_mutex_unlock(&ring->lock);
	return done ? (ssize_t)done : ret;
}

/* Offer a slot. The caller has the lock. */
static int ring_offer(struct usp_file *file, unsigned slot, const struct ring_slot *owner)
{
	struct usplice_order order = {.what = USPLICE_RECEIVE, .slot = slot};
	struct ring *ring = file->priv;
	ssize_t ret;

	if (ring->slots[slot].is_out)
		return -EBUSY;
	ring_mark(ring, slot, owner);
	ret = ring_give(file, &order, 1);
	if (ret < 0)
		ring_unmark(ring, slot);
	return ret < 0 ? (int)ret : 0;
}

int usp_ring_offer(struct usp_file *file, size_t off,
		   void (*filled)(void *arg, void *base, size_t len, enum usp_way way), void *arg)
{
	struct ring *ring = ring_of(file);
	int ret;

	if (!ring || off % ring->slot_len || off >= ring->len)
		return -EINVAL;
	if (!(file->mode & USP_WRITE) || ring->drops)
		return -EBADF;
	pthread_mutex_lock(&ring->lock);
	ret = ring_offer(file, (unsigned)(off / ring->slot_len), &(struct ring_slot){.filled = filled, .arg = arg});
	pthread_mutex_unlock(&ring->lock);
	return ret;
}

int usp_ring_end(struct usp_file *file)
{
	return ring_of(file) ? usp_sys_ring(file->fd, USPLICE_END, NULL) : -EINVAL;
}

int usp_ring_memory(const struct usp_file *file, void **ret_base, size_t *ret_len, size_t *ret_slot_len)
{
	const struct ring *ring = ring_of(file);

	if (!ring)
		return -EINVAL;
	if (ret_base)
		*ret_base = ring->base;
	if (ret_len)
		*ret_len = ring->len;
	if (ret_slot_len)
		*ret_slot_len = ring->slot_len;
	return 0;
}

int usp_ring_stat(const struct usp_file *file, struct usp_ring_stat *ret_stat)
{
	struct usplice_stat stat;
	int ret = ring_of(file) ? usp_sys_ring(file->fd, USPLICE_STAT, &stat) : -EINVAL;

	if (ret < 0)
		return ret;
	usp_sized_give(ret_stat,
		       &(struct usp_ring_stat){
			       .nr_slots = stat.nr_slots,
			       .nr_out = stat.nr_out,
			       .lent_bytes = stat.lent_bytes,
			       .freed_slots = stat.freed_slots,
			       .late_slots = stat.late_slots,
			       .taken_bytes = stat.taken_bytes,
			       .copied_bytes = stat.copied_bytes,
		       },
		       sizeof(*ret_stat));
	return 0;
}

/* --- News --------------------------------------------------------------------------------------------- */

/* Pass one piece of news on. 1 if the slot came back, 0 if it is only late. */
static int ring_hear(struct usp_file *file, const struct usplice_news *news)
{
	struct ring *ring = file->priv;
	struct ring_slot owner;

	if (news->flags == USPLICE_LATE)
		return 0;
	pthread_mutex_lock(&ring->lock);
	owner = ring_unmark(ring, news->slot);
	if (ring->drops)
		ring_offer(file, news->slot, &(struct ring_slot){.filled = NULL});
	pthread_mutex_unlock(&ring->lock);
	usp_gift_put(owner.gift);
	if (owner.filled && news->flags & (USPLICE_TAKEN | USPLICE_COPIED))
		owner.filled(owner.arg, ring->base + news->slot * ring->slot_len, news->len,
			     news->flags == USPLICE_TAKEN ? USP_BY_REFERENCE : USP_COPIED);
	return 1;
}

/* Hear what there is to hear now: slots that came back, -ETIME if there are only late ones, 0 if all are here, -EAGAIN or -errno. */
static int ring_reap_now(struct usp_file *file)
{
	struct usplice_news news[RING_BATCH];
	int nr_back = 0, nr_late = 0;
	ssize_t ret;

	do {
		ret = usp_sys_read(file->fd, news, sizeof(news));
		for (ssize_t i = 0; i < ret / (ssize_t)sizeof(news[0]); i++) {
			int back = ring_hear(file, &news[i]);

			nr_back += back;
			nr_late += !back;
		}
	} while (ret == sizeof(news));
	if (nr_back || nr_late)
		return nr_back ? nr_back : -ETIME;
	return ret < 0 ? (int)ret : 0;
}

static bool ring_has_all(struct ring *ring)
{
	bool has_all;

	pthread_mutex_lock(&ring->lock);
	has_all = !ring->nr_out;
	pthread_mutex_unlock(&ring->lock);
	return has_all;
}

int usp_ring_reap(struct usp_file *file, unsigned flags)
{
	struct ring *ring = ring_of(file);
	int ret;

	if (!ring || flags & ~USP_SPLICE_NONBLOCK)
		return -EINVAL;
	do {
		if (ring_has_all(ring))
			return 0;
		ret = ring_reap_now(file);
		if (ret != -EAGAIN || flags & USP_SPLICE_NONBLOCK)
			return ret;
		ret = usp_wait_until(file->fd, POLLPRI, USP_NEVER);
	} while (ret == 0);
	return ret;
}

/* --- The hooks ---------------------------------------------------------------------------------------- */

static const char lent_reason[] = "the driver lends the pages of the ring";
static const char taken_reason[] = "the driver took the pages";
static const char copied_reason[] = "the driver copied what it could not take";

static void ring_account(struct usp_file *file, unsigned side, size_t len)
{
	struct ring *ring = file->priv;
	struct usplice_stat stat;

	if (side == USP_READ) {
		usp_file_account(file, side, USP_BY_REFERENCE, len, lent_reason);
		return;
	}
	if (usp_sys_ring(file->fd, USPLICE_STAT, &stat) < 0) {
		usp_file_account(file, side, USP_UNKNOWN, len, "the driver did not tell");
		return;
	}
	pthread_mutex_lock(&ring->lock);
	if (stat.taken_bytes > ring->seen_taken)
		usp_file_account(file, side, USP_BY_REFERENCE, stat.taken_bytes - ring->seen_taken, taken_reason);
	if (stat.copied_bytes > ring->seen_copied)
		usp_file_account(file, side, USP_COPIED, stat.copied_bytes - ring->seen_copied, copied_reason);
	ring->seen_taken = stat.taken_bytes;
	ring->seen_copied = stat.copied_bytes;
	pthread_mutex_unlock(&ring->lock);
}

static void ring_probe(const struct usp_file *file, unsigned side, struct usp_probe_result *ret_result)
{
	(void)file;
	ret_result->way = side == USP_READ ? USP_BY_REFERENCE : USP_UNKNOWN;
	ret_result->reason = side == USP_READ ? lent_reason : "the driver takes whole pages that have no other owner";
}

/* Memory of this process: copied into pages of a kernel pipe, which the ring takes over. */
static ssize_t ring_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags)
{
	struct pollfd poll_fd = {.fd = out->fd, .events = POLLOUT};
	struct usp_kpipe_ends ends;
	struct usplice_stat stat;
	ssize_t ret, written;

	(void)pos, (void)flags;
	if (usp_sys_poll(&poll_fd, 1, 0) == 0)
		return -EAGAIN;
	ret = usp_kpool_take(&ends);
	if (ret < 0)
		return ret;
	ret = written = usp_sys_writev(ends.wr, from->iov, from->nr_segs, NULL);
	if (ret > 0)
		ret = usp_sys_splice(ends.rd, NULL, out->fd, NULL, (size_t)written,
				     USP_SPLICE_MOVE | USP_SPLICE_NONBLOCK);
	usp_kpool_give(&ends, ret == written);
	if (ret > 0 && usp_sys_ring(out->fd, USPLICE_STAT, &stat) == 0) { /* the caller accounts for these */
		struct ring *ring = out->priv;

		pthread_mutex_lock(&ring->lock);
		ring->seen_taken = stat.taken_bytes;
		ring->seen_copied = stat.copied_bytes;
		pthread_mutex_unlock(&ring->lock);
	}
	return ret;
}

/* A ring that drops makes room for itself, where a pump asks what to wait for. */
static int ring_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct ring *ring = file->priv;

	if (side == USP_WRITE && ring->drops)
		ring_reap_now(file);
	*ret_events = side == USP_WRITE ? POLLOUT : POLLIN;
	return file->fd;
}

/* The kernel keeps the pages that are still lent. The memory goes here, so all gifts are done with. */
static int ring_release(struct usp_file *file)
{
	struct ring *ring = file->priv;

	for (unsigned slot = 0; slot < ring->nr_slots; slot++)
		usp_gift_put(ring->slots[slot].gift);
	usp_sys_unmap(ring->base, ring->len);
	pthread_mutex_destroy(&ring->lock);
	usp_free(ring);
	return usp_fd_release(file);
}

static const struct usp_file_ops ring_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "ring",
	.write_iter = ring_write_iter,
	.splice_read = usp_kernel_splice_read,
	.splice_write = usp_kernel_splice_write,
	.poll_fd = ring_poll_fd,
	.probe = ring_probe,
	.account = ring_account,
	.release = ring_release,
};

/* --- Opening ------------------------------------------------------------------------------------------ */

struct ring_options {
	int64_t nr_slots;
	uint64_t late_ns;
	bool drops;
};

static int ring_parse(const struct usp_spec *spec, const struct usp_open_params *params,
		      struct ring_options *ret_options, const char **ret_why)
{
	const char *slots = usp_spec_option(spec, "slots"), *late = usp_spec_option(spec, "late");

	*ret_options = (struct ring_options){.nr_slots = RING_SLOTS, .late_ns = 1000000000};
	ret_options->drops = usp_spec_option(spec, "drop");
	if (slots && (usp_size_parse(slots, &ret_options->nr_slots, NULL) < 0 || ret_options->nr_slots < 1 ||
		      ret_options->nr_slots > UINT32_MAX))
		*ret_why = "slots= takes a number of pages";
	else if (late && (usp_time_parse(late, &ret_options->late_ns, NULL) < 0 || ret_options->late_ns < 1000000 ||
			  ret_options->late_ns / 1000000 > UINT32_MAX))
		*ret_why = "late= takes a time of at least 1ms";
	else if (ret_options->drops && params->mode != USP_WRITE)
		*ret_why = "drop is for a sink";
	else if (params->append)
		*ret_why = "a ring has no end to append to";
	return *ret_why ? -EINVAL : 0;
}

/* Give the ring its slots and map them. */
static int ring_set_up(int fd, const struct ring_options *options, struct ring **ret_ring, const char **ret_why)
{
	struct usplice_setup setup = {
		.nr_slots = (uint32_t)options->nr_slots,
		.event_fd = -1,
		.timeout_ms = (uint32_t)(options->late_ns / 1000000),
	};
	struct usplice_stat stat;
	struct ring *ring;
	void *base;
	int ret = usp_sys_ring(fd, USPLICE_SETUP, &setup);

	if (ret == 0)
		ret = usp_sys_ring(fd, USPLICE_STAT, &stat);
	if (ret == -EDQUOT)
		*ret_why = "this user has as many rings as the driver allows (max_rings_per_user)";
	else if (ret == -EINVAL)
		*ret_why = "the driver does not give a ring so many slots (max_slots)";
	else if (ret == -ENOTTY)
		*ret_why = "that is not the device of usplice's driver";
	if (ret < 0)
		return ret;
	ring = usp_alloc(sizeof(*ring) + stat.nr_slots * sizeof(ring->slots[0]));
	if (!ring)
		return -ENOMEM;
	memset(ring, 0, sizeof(*ring) + stat.nr_slots * sizeof(ring->slots[0]));
	ring->nr_slots = stat.nr_slots;
	ring->slot_len = stat.slot_bytes;
	ring->len = ring->nr_slots * ring->slot_len;
	ring->drops = options->drops;
	ret = usp_sys_map_file(fd, ring->len, &base);
	if (ret < 0) {
		usp_free(ring);
		return ret;
	}
	ring->base = base;
	pthread_mutex_init(&ring->lock, NULL);
	*ret_ring = ring;
	return 0;
}

/* Make the file. On failure the ring and the descriptor stay with the caller. */
static int ring_file_new(int fd, struct ring *ring, const struct usp_spec *spec, unsigned mode,
			 struct usp_file **ret_file)
{
	int ret = usp_fd_file_new(&ring_ops, fd, mode, usp_spec_text(spec),
				  USP_FILE_SPLICEABLE | USP_FILE_POLLABLE | USP_FILE_TAKES, ret_file);

	if (ret < 0)
		return ret;
	(*ret_file)->priv = ring;
	for (unsigned slot = 0; ring->drops && slot < ring->nr_slots; slot++)
		ring_offer(*ret_file, slot, &(struct ring_slot){.filled = NULL});
	return 0;
}

static const char missing_reason[] = "needs the driver of usplice, which is not loaded (there is no " RING_PATH ")";

static const char *ring_missing(void)
{
	struct stat st;

	return usp_sys_stat(RING_PATH, &st) == 0 && S_ISCHR(st.st_mode) ? NULL : missing_reason;
}

static int ring_open(const struct usp_spec *spec, const struct usp_open_params *params, struct usp_file **ret_file,
		     const char **ret_why)
{
	const char *path = spec->address[0] ? spec->address : RING_PATH;
	struct ring_options options;
	struct ring *ring;
	int fd, ret = ring_parse(spec, params, &options, ret_why);

	if (ret < 0)
		return ret;
	fd = usp_sys_open(path, O_RDWR | O_NONBLOCK | O_NOCTTY, 0);
	if (fd == -ENOENT && strcmp(path, RING_PATH) == 0)
		*ret_why = missing_reason;
	if (fd < 0)
		return fd;
	ret = ring_set_up(fd, &options, &ring, ret_why);
	if (ret == 0) {
		ret = ring_file_new(fd, ring, spec, params->mode, ret_file);
		if (ret == 0)
			return 0;
		usp_sys_unmap(ring->base, ring->len);
		pthread_mutex_destroy(&ring->lock);
		usp_free(ring);
	}
	usp_sys_close(fd);
	return ret;
}

static const char *const ring_options[] = {"slots", "late", "drop", NULL};

const struct usp_endpoint usp_ring_endpoint = {
	.scheme = "ring",
	.form = "ring:PATH",
	.summary = "pages that the driver of usplice lends and takes",
	.modes = USP_READ | USP_WRITE,
	.options = ring_options,
	.open = ring_open,
	.missing = ring_missing,
};
