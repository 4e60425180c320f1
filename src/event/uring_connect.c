/* SPDX-License-Identifier: MIT */
/* uring_connect - sockets that a ring connects. */
#include <assert.h>
#include <stddef.h>

#include "base/alloc.h"
#include "base/compiler.h"
#include "event/uring_ring.h"

enum connect_request { CONNECT_GO, CONNECT_CANCEL };

struct usp_uring_connect {
	struct usp_uring_owner owner;
	struct usp_uring *uring;
	usp_uring_connected *connected;
	void *arg;
	unsigned nr_requests; /* under way */
	bool is_dropped;
};

static_assert(offsetof(struct usp_uring_connect, owner) == 0, "the ring frees it by its owner");

static void connect_completed(struct usp_uring_owner *owner, unsigned request, const struct io_uring_cqe *cqe)
{
	struct usp_uring_connect *connect = usp_container_of(owner, struct usp_uring_connect, owner);
	const struct usp_uring_connect was = *connect;

	if (--connect->nr_requests == 0) {
		LIST_REMOVE(&connect->owner, link);
		usp_free(connect);
	}
	if (request == CONNECT_GO && !was.is_dropped)
		was.connected(was.arg, cqe->res);
}

struct usp_uring_connect *usp_uring_connect(struct usp_uring *uring, int fd, const struct sockaddr *address,
					    socklen_t len, usp_uring_connected *connected, void *arg)
{
	struct usp_uring_connect *connect = usp_alloc(sizeof(*connect));
	struct io_uring_sqe *sqe = connect ? usp_uring_request(uring) : NULL;

	if (!sqe) {
		usp_free(connect);
		return NULL;
	}
	*connect = (struct usp_uring_connect){
		.owner.completed = connect_completed,
		.uring = uring,
		.connected = connected,
		.arg = arg,
		.nr_requests = 1,
	};
	LIST_INSERT_HEAD(&uring->owners, &connect->owner, link);
	io_uring_prep_connect(sqe, fd, address, len);
	io_uring_sqe_set_data64(sqe, usp_uring_tag(&connect->owner, CONNECT_GO));
	return connect;
}

/* Hand over the cancel at once: afterwards no request names the descriptor or the address. */
void usp_uring_drop_connect(struct usp_uring_connect *connect)
{
	struct io_uring_sqe *sqe = usp_uring_request(connect->uring);

	connect->is_dropped = true;
	if (sqe) {
		io_uring_prep_cancel64(sqe, usp_uring_tag(&connect->owner, CONNECT_GO), 0);
		io_uring_sqe_set_data64(sqe, usp_uring_tag(&connect->owner, CONNECT_CANCEL));
		connect->nr_requests++;
	}
	io_uring_submit_and_get_events(&connect->uring->ring);
}
