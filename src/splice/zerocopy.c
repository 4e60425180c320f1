/* SPDX-License-Identifier: MIT */
/*
 * zerocopy - sends from the memory of bufs (MSG_ZEROCOPY), and the kernel's notices that it has
 * finished.
 *
 *   pipe  [buf][buf][buf] ──sendmsg(MSG_ZEROCOPY)──▶ socket, send number 7
 *           │ get                                      │
 *           ▼                                          ▼  acknowledged by the peer, or given up
 *   send 7 {copies of the sent range} ◀──release── error queue: "5 to 7 done", or "5 to 7 done, but copied"
 *
 * The kernel pins the pages and reads them whenever it transmits, so they must not change before its
 * notice. The bufs get second owners, which wait in a list until the notice comes. Only the notice
 * tells whether the bytes went by reference (on loopback they never do); until then they are accounted
 * as unknown. A socket whose notices keep saying "copied" falls back to plain sends.
 */
#include "splice/zerocopy.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include <linux/errqueue.h> /* needs struct timespec */

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/own.h"
#include "base/sys.h"

/* Headers of kernels and C libraries from before 2017 do not define these. */
#ifndef SO_ZEROCOPY
#define SO_ZEROCOPY 60
#endif
#ifndef MSG_ZEROCOPY
#define MSG_ZEROCOPY 0x4000000
#endif

#define ZEROCOPY_USELESS_MAX 4 /* notices of "copied" in a row: a single one may come from a short packet capture */
#define ZEROCOPY_STALL_NS 5000000000u
#define ZEROCOPY_POLL_NS 50000000	/* how often a drain looks for progress without a notice */
#define ZEROCOPY_PAUSE_NS 1000000	/* if poll(2) returns at once, because the socket stays in error */
#define ZEROCOPY_DEVICE_NS 60000000000u /* longer than any device keeps the bytes that it sends */

/* One send that the kernel has not finished with. */
struct usp_zerocopy_send {
	struct usp_zerocopy_send *next; /* newer */
	uint32_t id;
	size_t len;
	unsigned nr_bufs;
	struct usp_buf bufs[];
};

/* A range of sends that the kernel has finished with. */
struct zerocopy_notice {
	uint32_t first, last;
	bool is_copied;
};

static atomic_size_t zerocopy_nr_pending; /* of the process, for usp_zerocopy_nr_pending */

size_t usp_zerocopy_nr_pending(void)
{
	return atomic_load_explicit(&zerocopy_nr_pending, memory_order_relaxed);
}

void usp_zerocopy_init(struct usp_zerocopy *zerocopy, int fd)
{
	pthread_mutex_init(&zerocopy->lock, NULL);
	zerocopy->process = usp_own_nr();
	zerocopy->stall_ns = ZEROCOPY_STALL_NS;
	zerocopy->may_ask = fd >= 0;
}

void usp_zerocopy_forbid(struct usp_zerocopy *zerocopy)
{
	atomic_store(&zerocopy->may_ask, false);
}

/* Tell whether this process made it, and not a parent. */
static bool zerocopy_is_mine(const struct usp_zerocopy *zerocopy)
{
	return zerocopy->process == usp_own_nr();
}

bool usp_zerocopy_is_on(struct usp_file *out, struct usp_zerocopy *zerocopy)
{
	if (!zerocopy_is_mine(zerocopy))
		return false; /* all processes that have the socket share one sequence of send numbers */
	if (zerocopy->may_ask && atomic_exchange(&zerocopy->may_ask, false))
		zerocopy->is_on = usp_sys_setsockopt_int(out->fd, SOL_SOCKET, SO_ZEROCOPY, 1) == 0;
	return zerocopy->is_on;
}

/* --- Sending ------------------------------------------------------------------------------------ */

static void zerocopy_free(struct usp_zerocopy_send *send)
{
	/* Without a pipe: the bufs' pipe may be gone by now. */
	for (unsigned i = 0; i < send->nr_bufs; i++)
		usp_buf_release(NULL, &send->bufs[i]);
	atomic_fetch_sub_explicit(&zerocopy_nr_pending, 1, memory_order_relaxed);
	usp_free(send);
}

/* Make second owners of the bufs of a batch. NULL if memory is short or a buf refuses. */
static struct usp_zerocopy_send *zerocopy_keep(struct usp_pipe *pipe, const struct usp_batch *batch)
{
	struct usp_zerocopy_send *send = usp_alloc(sizeof(*send) + batch->nr_segs * sizeof(send->bufs[0]));

	if (!send)
		return NULL;
	atomic_fetch_add_explicit(&zerocopy_nr_pending, 1, memory_order_relaxed);
	for (unsigned i = 0; send->nr_bufs < batch->nr_segs; i++) {
		const struct usp_buf *buf = &batch->bufs[i];
		struct usp_buf *copy = &send->bufs[send->nr_bufs];

		if (!buf->len)
			continue;
		*copy = *buf;
		copy->flags &= ~(USP_BUF_GIFT | USP_BUF_CAN_MERGE);
		if (!usp_buf_get(pipe, buf, copy)) {
			zerocopy_free(send);
			return NULL;
		}
		send->nr_bufs++;
	}
	return send;
}

/* Keep only what was sent. The pipe still has its own references, so none of these releases is the last one. */
static void zerocopy_trim(struct usp_zerocopy_send *send, size_t len)
{
	unsigned nr_bufs = 0;

	send->len = len;
	while (len) {
		struct usp_buf *buf = &send->bufs[nr_bufs++];

		if (buf->len > len)
			buf->len = len;
		len -= buf->len;
	}
	while (send->nr_bufs > nr_bufs)
		usp_buf_release(NULL, &send->bufs[--send->nr_bufs]);
}

static void zerocopy_append(struct usp_zerocopy *zerocopy, struct usp_zerocopy_send *send)
{
	struct usp_zerocopy_send **end = &zerocopy->oldest;

	while (*end)
		end = &(*end)->next;
	*end = send;
	atomic_store(&zerocopy->is_busy, true);
	send->id = zerocopy->next_id++;
}

ssize_t usp_zerocopy_send(struct usp_file *out, struct usp_zerocopy *zerocopy, struct usp_pipe *pipe,
			  const struct usp_batch *batch, int flags)
{
	const struct msghdr message = {.msg_iov = (struct iovec *)batch->iov, .msg_iovlen = batch->nr_segs};
	struct usp_zerocopy_send *send = zerocopy_keep(pipe, batch);
	ssize_t ret;

	if (!send)
		return -ENOBUFS;
	/* Hold the lock until the send is in the list: else another thread may read its notice before. */
	pthread_mutex_lock(&zerocopy->lock);
	ret = usp_sys_sendmsg(out->fd, &message, flags | MSG_ZEROCOPY);
	if (ret > 0) {
		zerocopy_trim(send, (size_t)ret);
		zerocopy_append(zerocopy, send);
		usp_file_account(out, USP_WRITE, USP_UNKNOWN, (size_t)ret,
				 "MSG_ZEROCOPY, and the kernel has yet to say");
	}
	pthread_mutex_unlock(&zerocopy->lock);
	if (ret <= 0)
		zerocopy_free(send);
	return ret;
}

/* --- Notices ------------------------------------------------------------------------------------ */

static bool zerocopy_parse(struct msghdr *message, struct zerocopy_notice *ret_notice)
{
	struct cmsghdr *cmsg;

	for (cmsg = CMSG_FIRSTHDR(message); cmsg; cmsg = CMSG_NXTHDR(message, cmsg)) {
		struct sock_extended_err error;

		if (!(cmsg->cmsg_level == SOL_IP && cmsg->cmsg_type == IP_RECVERR) &&
		    !(cmsg->cmsg_level == SOL_IPV6 && cmsg->cmsg_type == IPV6_RECVERR))
			continue;
		memcpy(&error, CMSG_DATA(cmsg), sizeof(error));
		if (error.ee_origin != SO_EE_ORIGIN_ZEROCOPY || error.ee_errno != 0)
			continue;
		*ret_notice = (struct zerocopy_notice){
			.first = error.ee_info,
			.last = error.ee_data,
			.is_copied = error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED,
		};
		return true;
	}
	return false;
}

/* Read the next notice of the error queue; drop other entries. */
static bool zerocopy_read_notice(int fd, struct zerocopy_notice *ret_notice)
{
	_Alignas(struct cmsghdr) char control[256];

	for (;;) {
		struct msghdr message = {.msg_control = control, .msg_controllen = sizeof(control)};

		if (usp_sys_recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return false;
		if (zerocopy_parse(&message, ret_notice))
			return true;
	}
}

/* Unlink the sends that a notice names. Lock held. */
static struct usp_zerocopy_send *zerocopy_unlink(struct usp_zerocopy *zerocopy, const struct zerocopy_notice *notice)
{
	struct usp_zerocopy_send *done = NULL, **next_done = &done, **at = &zerocopy->oldest;

	while (*at) {
		struct usp_zerocopy_send *send = *at;

		/* The difference is correct also when the numbers wrap. */
		if (send->id - notice->first > notice->last - notice->first) {
			at = &send->next;
			continue;
		}
		*at = send->next;
		send->next = NULL;
		*next_done = send;
		next_done = &send->next;
	}
	zerocopy->nr_useless = notice->is_copied ? zerocopy->nr_useless + 1 : 0;
	if (zerocopy->nr_useless >= ZEROCOPY_USELESS_MAX)
		zerocopy->is_on = false;
	return done;
}

/* Move sent bytes in the account from unknown to the way that their notice names. */
static void zerocopy_rebook(struct usp_file *out, size_t len, enum usp_way way, const char *reason)
{
	struct usp_account *account = &usp_file_side(out, USP_WRITE)->account;

	atomic_store_explicit(usp_text_of(&account->reason[way]), reason, memory_order_relaxed);
	atomic_fetch_add_explicit(usp_u64(&account->bytes[way]), len, memory_order_relaxed);
	atomic_fetch_sub_explicit(usp_u64(&account->bytes[USP_UNKNOWN]), len, memory_order_relaxed);
}

static void zerocopy_account(struct usp_file *out, size_t len, bool is_copied, bool is_aborted)
{
	if (is_aborted)
		zerocopy_rebook(out, len, USP_UNKNOWN, "sent from our memory, and the connection was aborted");
	else if (is_copied)
		zerocopy_rebook(out, len, USP_COPIED, "MSG_ZEROCOPY, but the kernel said that it copied");
	else
		zerocopy_rebook(out, len, USP_BY_REFERENCE, "MSG_ZEROCOPY, as the kernel confirmed");
}

bool usp_zerocopy_reap(struct usp_file *out, struct usp_zerocopy *zerocopy)
{
	struct zerocopy_notice notice;
	bool is_any = false;

	if (!atomic_load(&zerocopy->is_busy) || !zerocopy_is_mine(zerocopy))
		return false;
	for (;;) {
		struct usp_zerocopy_send *done = NULL, *send;
		bool is_aborted;

		pthread_mutex_lock(&zerocopy->lock);
		if (zerocopy->oldest && zerocopy_read_notice(out->fd, &notice)) {
			done = zerocopy_unlink(zerocopy, &notice);
			atomic_store(&zerocopy->is_busy, zerocopy->oldest != NULL);
			is_any = true;
		}
		is_aborted = zerocopy->is_aborted;
		pthread_mutex_unlock(&zerocopy->lock);
		if (!done)
			return is_any;
		while ((send = done)) { /* without the lock: a release may call the user's done */
			done = send->next;
			zerocopy_account(out, send->len, notice.is_copied, is_aborted);
			zerocopy_free(send);
		}
	}
}

/* --- The end ------------------------------------------------------------------------------------ */

bool usp_zerocopy_is_idle(struct usp_zerocopy *zerocopy)
{
	bool is_idle;

	if (!zerocopy_is_mine(zerocopy))
		return true;
	pthread_mutex_lock(&zerocopy->lock);
	is_idle = !zerocopy->oldest;
	pthread_mutex_unlock(&zerocopy->lock);
	return is_idle;
}

/* Wait for a notice, for a short time: 1 if there was one, 0, or -errno such as -EINTR. */
static int zerocopy_wait(struct usp_file *out, struct usp_zerocopy *zerocopy)
{
	struct pollfd fd = {.fd = out->fd};
	int ret = usp_sys_poll(&fd, 1, ZEROCOPY_POLL_NS); /* a notice shows as POLLERR, which poll(2) always reports */

	if (usp_zerocopy_reap(out, zerocopy))
		return 1;
	return ret > 0 ? usp_sys_poll(NULL, 0, ZEROCOPY_PAUSE_NS) : ret;
}

int usp_zerocopy_drain(struct usp_file *out, struct usp_zerocopy *zerocopy, uint64_t patience_ns)
{
	uint64_t since = usp_sys_now_ns();
	int unsent = -1;

	usp_zerocopy_reap(out, zerocopy);
	while (!usp_zerocopy_is_idle(zerocopy)) {
		int ret = zerocopy_wait(out, zerocopy), left = usp_sys_bytes_unsent(out->fd);

		if (ret < 0)
			return ret;
		if (ret > 0 || left != unsent)
			since = usp_sys_now_ns();
		else if (usp_sys_now_ns() - since > patience_ns)
			return -ETIMEDOUT;
		unsent = left;
	}
	return 0;
}

/*
 * Reset the connection, so that the kernel drops its queue. Memory that a device is just sending from
 * comes back a moment later. If a broken device never gives it back, the memory is leaked: better than
 * bytes that change while they are sent.
 */
static void zerocopy_abort(struct usp_file *out, struct usp_zerocopy *zerocopy)
{
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	uint64_t since = usp_sys_now_ns();

	pthread_mutex_lock(&zerocopy->lock);
	zerocopy->is_aborted = true;
	pthread_mutex_unlock(&zerocopy->lock);
	usp_sys_connect(out->fd, &nobody, sizeof(nobody));
	usp_zerocopy_reap(out, zerocopy);
	while (!usp_zerocopy_is_idle(zerocopy) && usp_sys_now_ns() - since < ZEROCOPY_DEVICE_NS)
		zerocopy_wait(out, zerocopy);
}

/* In a child: drop its references. The connection and its notices belong to the parent. */
static void zerocopy_forget(struct usp_zerocopy *zerocopy)
{
	struct usp_zerocopy_send *send;

	while ((send = zerocopy->oldest)) {
		zerocopy->oldest = send->next;
		zerocopy_free(send);
	}
}

int usp_zerocopy_fini(struct usp_file *out, struct usp_zerocopy *zerocopy, bool is_cut)
{
	uint64_t since = usp_sys_now_ns();
	int ret;

	if (!zerocopy_is_mine(zerocopy)) {
		zerocopy_forget(zerocopy);
		return 0;
	}
	/* If waiting itself fails, try again: the peer may still be taking bytes. */
	do {
		ret = is_cut && !usp_zerocopy_is_idle(zerocopy) ? -ETIMEDOUT
								: usp_zerocopy_drain(out, zerocopy, zerocopy->stall_ns);
	} while (ret == -EINTR || (ret < 0 && ret != -ETIMEDOUT && usp_sys_now_ns() - since < zerocopy->stall_ns));
	if (ret < 0)
		zerocopy_abort(out, zerocopy);
	pthread_mutex_destroy(&zerocopy->lock);
	return ret;
}
