/* SPDX-License-Identifier: MIT */
/*
 * uring_stream - streams of small messages from socket to socket, received and sent by io_uring.
 *
 *   source ──multishot receive──► [buffer][buffer] ──one send at a time──► sink
 *                  ▲                  given back to the ring when it is sent
 *                  └── stopped while too many buffers wait, begun again when all are sent
 *
 * One receive goes on for as long as the stream lasts and takes its buffers out of a ring that all
 * streams of the thread share; all sends of a round are handed over by one system call. A relay of
 * small messages needs three quarters of the processor time that recv and send need (docs/lanes.md).
 * Only one send of a stream is under way at a time, because io_uring does not promise to keep the
 * order of two.
 *
 * A request names a descriptor by its number until it is handed over. So stream_drop hands over all
 * requests first: then the caller may close the descriptors, and other files may get their numbers.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "event/uring_ring.h"

#define URING_PIECES_MAX 8	  /* of one stream, before it stops receiving */
#define URING_BURST_MAX 8	  /* pieces without a pause: this is not a message */
#define URING_NR_BURSTS 16	  /* after which their size is judged */
#define URING_BURST_PIECES_MAX 20 /* in so many bursts: with two pieces each, a ring costs more than recv and send do */
#define URING_NONE (-1)

enum stream_request { STREAM_RECEIVE, STREAM_SEND, STREAM_CANCEL };

struct usp_uring_stream {
	struct usp_uring_owner owner;
	struct usp_uring *uring;
	int from_fd, to_fd;
	usp_uring_told *told;
	void *arg;
	int first, last; /* pieces, by buffer number */
	unsigned nr_pieces;
	unsigned burst_pieces;			      /* of the burst under way */
	unsigned nr_bursts, nr_burst_pieces;	      /* judged together */
	bool is_receiving, is_sending, is_cancelling; /* requests under way */
	bool must_leave, is_dropped;
	bool tells_more; /* the source tells whether it has more */
	int why;	 /* the why of the last report, when all is sent; 0 while the source goes on */
};

static_assert(offsetof(struct usp_uring_stream, owner) == 0, "the ring frees it by its owner");

/* --- Pieces ---------------------------------------------------------------------------------------- */

static void stream_push(struct usp_uring_stream *stream, int number, unsigned len)
{
	struct usp_uring_piece *pieces = stream->uring->pieces;

	pieces[number] = (struct usp_uring_piece){.len = len, .next = URING_NONE};
	if (stream->nr_pieces++)
		pieces[stream->last].next = number;
	else
		stream->first = number;
	stream->last = number;
}

static void stream_pop(struct usp_uring_stream *stream)
{
	int number = stream->first;

	stream->first = stream->uring->pieces[number].next;
	stream->nr_pieces--;
	usp_uring_give_back(stream->uring, number);
}

/* --- Requests -------------------------------------------------------------------------------------- */

static bool stream_is_busy(const struct usp_uring_stream *stream)
{
	return stream->is_receiving || stream->is_sending || stream->is_cancelling;
}

/* Request a cancel. If there is no room for a request, a later event tries again. */
static void stream_cancel(struct usp_uring_stream *stream, enum stream_request request)
{
	struct io_uring_sqe *sqe = usp_uring_request(stream->uring);

	if (!sqe)
		return;
	io_uring_prep_cancel64(sqe, usp_uring_tag(&stream->owner, request), 0);
	io_uring_sqe_set_data64(sqe, usp_uring_tag(&stream->owner, STREAM_CANCEL));
	stream->is_cancelling = true;
}

/* Count the bytes of a send that has ended and whose completion is still in the ring. At most one is under way. */
static size_t stream_find_sent(struct usp_uring_stream *stream)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(&stream->uring->ring, head, cqe)
	{
		if (cqe->user_data == usp_uring_tag(&stream->owner, STREAM_SEND) && cqe->res > 0)
			return (size_t)cqe->res;
	}
	return 0;
}

static void stream_cancel_next(struct usp_uring_stream *stream)
{
	if (stream->is_sending && !stream->is_cancelling)
		stream_cancel(stream, STREAM_SEND);
	else if (stream->is_receiving && !stream->is_cancelling)
		stream_cancel(stream, STREAM_RECEIVE);
}

/* Report what was sent until now. Afterwards nothing is reported, and no request names a descriptor. */
static void stream_drop(struct usp_uring_stream *stream)
{
	size_t given;

	stream->is_dropped = true;
	if (!stream_is_busy(stream))
		return;
	stream_cancel_next(stream);
	io_uring_submit_and_get_events(&stream->uring->ring);
	given = stream->is_sending ? stream_find_sent(stream) : 0;
	if (given)
		stream->told(stream->arg, 0, given, 0);
}

/* Make the last report. Afterwards the caller may close the descriptors. */
static void stream_finish(struct usp_uring_stream *stream, int why)
{
	stream_drop(stream);
	stream->told(stream->arg, 0, 0, why);
}

static void stream_receive(struct usp_uring_stream *stream)
{
	struct io_uring_sqe *sqe = usp_uring_request(stream->uring);

	if (!sqe) {
		stream->must_leave = true;
		return;
	}
	io_uring_prep_recv_multishot(sqe, stream->from_fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = USP_URING_GROUP;
	io_uring_sqe_set_data64(sqe, usp_uring_tag(&stream->owner, STREAM_RECEIVE));
	stream->is_receiving = true;
}

static void stream_send(struct usp_uring_stream *stream)
{
	const struct usp_uring_piece *piece = &stream->uring->pieces[stream->first];
	struct io_uring_sqe *sqe = usp_uring_request(stream->uring);

	if (!sqe) {
		stream_finish(stream, -ENOBUFS);
		return;
	}
	io_uring_prep_send(sqe, stream->to_fd, usp_uring_buffer(stream->uring, stream->first) + piece->offset,
			   piece->len - piece->offset, MSG_NOSIGNAL | MSG_WAITALL);
	io_uring_sqe_set_data64(sqe, usp_uring_tag(&stream->owner, STREAM_SEND));
	stream->is_sending = true;
}

/* --- Streams --------------------------------------------------------------------------------------- */

static void stream_free(struct usp_uring_stream *stream)
{
	while (stream->nr_pieces)
		stream_pop(stream);
	LIST_REMOVE(&stream->owner, link);
	usp_free(stream);
}

/* Free a dropped stream as soon as no request names it. */
static void stream_fade(struct usp_uring_stream *stream)
{
	if (stream_is_busy(stream))
		stream_cancel_next(stream);
	else
		stream_free(stream);
}

static void stream_go_on(struct usp_uring_stream *stream)
{
	bool must_stop = stream->must_leave || stream->nr_pieces >= URING_PIECES_MAX;

	if (!stream->is_dropped && !stream->is_sending && stream->nr_pieces)
		stream_send(stream);
	if (!stream->is_dropped && stream->is_receiving && must_stop && !stream->is_cancelling)
		stream_cancel(stream, STREAM_RECEIVE);
	if (!stream->is_dropped && !stream_is_busy(stream) && !stream->nr_pieces && !stream->must_leave)
		stream_receive(stream);
	if (!stream->is_dropped && !stream_is_busy(stream) && !stream->nr_pieces)
		stream_finish(stream, stream->why ? stream->why : -EAGAIN);
	if (stream->is_dropped)
		stream_fade(stream);
}

/*
 * Leave if bursts are too long for a ring. A burst is what comes until the source is empty: as a rule
 * one message. TCP tells whether it has more; for others, such as UNIX sockets, a full buffer counts
 * as the sign. A ring is best at bursts of one piece.
 */
static void stream_judge(struct usp_uring_stream *stream, const struct io_uring_cqe *cqe)
{
	bool is_full = (size_t)cqe->res == USP_URING_BUFFER_BYTES;
	bool goes_on = is_full && (cqe->flags & IORING_CQE_F_SOCK_NONEMPTY || !stream->tells_more);

	stream->burst_pieces++;
	stream->must_leave |= stream->burst_pieces >= URING_BURST_MAX;
	if (goes_on)
		return;
	stream->nr_burst_pieces += stream->burst_pieces;
	stream->burst_pieces = 0;
	if (++stream->nr_bursts < URING_NR_BURSTS)
		return;
	stream->must_leave |= stream->nr_burst_pieces > URING_BURST_PIECES_MAX;
	stream->nr_bursts = stream->nr_burst_pieces = 0;
}

static void stream_received(struct usp_uring_stream *stream, const struct io_uring_cqe *cqe)
{
	int number = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

	stream->is_receiving = cqe->flags & IORING_CQE_F_MORE;
	if (cqe->res > 0) {
		stream_push(stream, number, (unsigned)cqe->res);
		stream_judge(stream, cqe);
		if (!stream->is_dropped)
			stream->told(stream->arg, (size_t)cqe->res, 0, 0);
		return;
	}
	if (cqe->flags & IORING_CQE_F_BUFFER)
		usp_uring_give_back(stream->uring, number);
	if (cqe->res == -ECANCELED)
		return;
	stream->must_leave = true; /* the end, an error, or no buffers */
	if (cqe->res == 0)	   /* for TCP, the kernel counts a FIN as a byte to read */
		stream->why = cqe->flags & IORING_CQE_F_SOCK_NONEMPTY || !stream->tells_more ? USP_URING_END
											     : USP_URING_SILENCE;
	else if (cqe->res != -ENOBUFS && cqe->res != -EINTR)
		stream->why = cqe->res;
}

/* Tell whether this side lacks memory: then the sink is intact. */
static bool stream_is_short(int error)
{
	return error == -ENOMEM || error == -ENOBUFS;
}

static void stream_sent(struct usp_uring_stream *stream, const struct io_uring_cqe *cqe)
{
	struct usp_uring_piece *piece = &stream->uring->pieces[stream->first];

	stream->is_sending = false;
	if (cqe->res <= 0) {
		if (!stream->is_dropped && cqe->res != -EINTR && cqe->res != -EAGAIN)
			stream_finish(stream, stream_is_short(cqe->res) ? cqe->res : USP_URING_REFUSED);
		return;
	}
	piece->offset += (unsigned)cqe->res;
	if (piece->offset == piece->len)
		stream_pop(stream);
	if (!stream->is_dropped)
		stream->told(stream->arg, 0, (size_t)cqe->res, 0);
}

static void stream_completed(struct usp_uring_owner *owner, unsigned request, const struct io_uring_cqe *cqe)
{
	struct usp_uring_stream *stream = usp_container_of(owner, struct usp_uring_stream, owner);

	if (request == STREAM_RECEIVE)
		stream_received(stream, cqe);
	else if (request == STREAM_SEND)
		stream_sent(stream, cqe);
	else
		stream->is_cancelling = false;
	stream_go_on(stream);
}

struct usp_uring_stream *usp_uring_begin(struct usp_uring *uring, int from_fd, bool from_is_tcp, int to_fd,
					 usp_uring_told *told, void *arg)
{
	struct usp_uring_stream *stream = usp_alloc(sizeof(*stream));

	if (!stream)
		return NULL;
	stream->owner.completed = stream_completed;
	stream->uring = uring;
	stream->from_fd = from_fd;
	stream->tells_more = from_is_tcp;
	stream->to_fd = to_fd;
	stream->told = told;
	stream->arg = arg;
	LIST_INSERT_HEAD(&uring->owners, &stream->owner, link);
	stream_receive(stream);
	if (!stream->is_receiving) {
		stream_free(stream);
		return NULL;
	}
	return stream;
}

void usp_uring_leave(struct usp_uring_stream *stream)
{
	stream->must_leave = true;
	if (stream->is_receiving && !stream->is_cancelling)
		stream_cancel(stream, STREAM_RECEIVE);
}

void usp_uring_drop(struct usp_uring_stream *stream)
{
	stream_drop(stream);
	stream_fade(stream);
}
