/* SPDX-License-Identifier: MIT */
/* test_sock - stream sockets as sinks and sources (H13), and zero-copy sends with their notices. */
#include "net.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>

#include "lanes/kpipe.h"
#include "splice/sock.h"

#define GIFT_LEN ((size_t)1 << 20)

static struct usp_sock *sock_of(struct usp_file *file)
{
	return file->priv;
}

static ssize_t send_all(struct usp_file *in, struct usp_file *out, size_t len, unsigned flags)
{
	return usp_splice(in, NULL, out, NULL, len, flags);
}

/* --- Bytes ------------------------------------------------------------------------------------------ */

static void the_bytes_of_a_pipe_arrive_in_order_and_are_accounted(void **state)
{
	struct usp_file *end[2], *file;
	struct usp_hop hop = {.size = sizeof(hop)};
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	open_pipe(end, 16, 0);
	put_bytes(end[1], 0, 5000);
	assert_int_equal(send_all(end[0], file, 5000, 0), 5000);
	net_take(fds[1], 0, 5000);
	hop = net_hop(file, USP_WRITE);
	assert_int_equal(hop.bytes[USP_COPIED], 5000);
	assert_non_null(hop.reason[USP_COPIED]);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

static void a_splice_from_a_socket_gives_what_is_there(void **state)
{
	struct usp_file *end[2], *file;
	unsigned char bytes[100];
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_READ);
	open_pipe(end, 16, 0);
	pattern_fill(bytes, 0, sizeof(bytes));
	assert_int_equal(send(fds[1], bytes, sizeof(bytes), 0), sizeof(bytes));
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 4000, 0), sizeof(bytes));
	take_bytes(end[0], 0, sizeof(bytes));
	assert_int_equal(net_hop(file, USP_READ).bytes[USP_COPIED], sizeof(bytes));
	close(fds[1]);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 4000, 0), 0);
	close_pipe(end);
	drop(&file);
}

/* Spec 3.2: the flag of the call is about the pipe, not about the socket. */
static void an_empty_socket_gives_eagain_only_by_its_own_flag(void **state)
{
	struct usp_file *end[2], *file;
	struct worker worker;
	struct call call;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_READ);
	open_pipe(end, 16, 0);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 10, 0), -EAGAIN);
	assert_int_equal(usp_blocked_side(file, end[1]), USP_READ);
	assert_int_equal(usp_file_set_flags(file, 0), 0);
	call = (struct call){.in = file, .out = end[1], .len = 10, .flags = USP_SPLICE_NONBLOCK};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_false(worker.is_done);
	assert_int_equal(send(fds[1], "abc", 3, 0), 3);
	assert_int_equal(worker_join(&worker), 3);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

#define STILL_MS \
	250 /* in which a sender asks a full receiver whether it has room now, and may make some of its own by it */
#define NR_STILL 4

/* Fill a nonblocking socket from a pipe until it takes no more, and nothing is under way: the pattern bytes that went in. */
static uint64_t fill_socket(struct usp_file *end[2], struct usp_file *file)
{
	uint64_t off = 0, sent = 0;
	ssize_t ret = 0;

	for (unsigned nr_still = 0; nr_still < NR_STILL; nr_still = ret < 0 ? nr_still + 1 : 0) {
		while (usp_file_poll(end[1]) & POLLOUT) {
			put_bytes(end[1], off, PAGE);
			off += PAGE;
		}
		ret = send_all(end[0], file, SIZE_MAX / 4, 0);
		if (ret < 0)
			poll(&(struct pollfd){.fd = file->fd, .events = POLLOUT}, 1, STILL_MS);
		sent += ret > 0 ? (uint64_t)ret : 0;
	}
	assert_int_equal(ret, -EAGAIN);
	assert_int_equal(usp_pipe_bytes(end[0]), off - sent);
	return sent;
}

static void a_full_socket_gives_eagain_and_consumes_nothing(void **state)
{
	struct usp_file *end[2], *file;
	uint64_t sent;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, PAGE);
	file = net_file(fds[0], USP_WRITE);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	open_pipe(end, 4, 0);
	sent = fill_socket(end, file);
	assert_int_equal(usp_blocked_side(end[0], file), USP_WRITE);
	assert_int_equal(net_hop(file, USP_WRITE).bytes[USP_COPIED], sent);
	net_take(fds[1], 0, sent);
	take_bytes(end[0], sent, (size_t)usp_pipe_bytes(end[0]));
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

static void a_blocking_splice_waits_until_the_peer_reads(void **state)
{
	struct usp_file *end[2], *file;
	struct worker worker;
	struct call call;
	uint64_t sent;
	size_t left;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, PAGE);
	file = net_file(fds[0], USP_WRITE);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	open_pipe(end, 4, 0);
	sent = fill_socket(end, file);
	left = (size_t)usp_pipe_bytes(end[0]);
	assert_int_equal(usp_file_set_flags(file, 0), 0);
	call = (struct call){.in = end[0], .out = file, .len = left, .flags = USP_SPLICE_NONBLOCK};
	worker_start(&worker, call_splice, &call);
	worker_await_sleep(&worker);
	assert_false(worker.is_done);
	net_take(fds[1], 0, sent + left);
	assert_int_equal(worker_join(&worker), left);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

/* --- What the bufs do (H13) ------------------------------------------------------------------------- */

static void a_confirm_that_fails_in_the_middle_lets_go_what_stands_before_it(void **state)
{
	struct mock_store good, bad;
	struct usp_file *end[2], *file;
	int fds[2];

	(void)state;
	mock_store_init(&good);
	mock_store_init(&bad);
	bad.confirm_error = -EIO;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	open_pipe(end, 4, 0);
	inject(end[1], mock_buf(&good, &mock_buf_ops, 0, 100, 0));
	inject(end[1], mock_buf(&bad, &mock_buf_ops, 100, 50, 0));
	assert_int_equal(send_all(end[0], file, 150, 0), 100);
	net_take(fds[1], 0, 100);
	assert_int_equal(send_all(end[0], file, 150, 0), -EIO);
	bad.confirm_error = -ENODATA;
	assert_int_equal(send_all(end[0], file, 150, 0), 0);
	bad.confirm_error = 0;
	assert_int_equal(send_all(end[0], file, 150, 0), 50);
	net_take(fds[1], 100, 50);
	close_pipe(end);
	mock_store_fini(&good);
	mock_store_fini(&bad);
	drop(&file);
	close(fds[1]);
}

static void a_buf_that_is_not_addressable_is_mapped_when_it_comes_first(void **state)
{
	struct mock_store plain, hidden;
	struct usp_file *end[2], *file;
	struct usp_hop hop = {.size = sizeof(hop)};
	int fds[2];

	(void)state;
	mock_store_init(&plain);
	mock_store_init(&hidden);
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	open_pipe(end, 4, 0);
	inject(end[1], mock_buf(&plain, &mock_buf_ops, 0, 100, 0));
	inject(end[1], mock_buf(&hidden, &mock_unmapped_buf_ops, 100, 60, 0));
	inject(end[1], mock_buf(&plain, &mock_buf_ops, 160, 40, 0));
	assert_int_equal(send_all(end[0], file, 200, 0), 200);
	net_take(fds[1], 0, 200);
	assert_int_equal(hidden.nr_map, 1);
	hop = net_hop(file, USP_WRITE);
	assert_int_equal(hop.nr_calls, 2); /* it ended the first batch and began the second */
	assert_int_equal(hop.bytes[USP_COPIED], 200);
	assert_string_equal(hop.reason[USP_COPIED], "read into a folio, then copied into the socket");
	close_pipe(end);
	mock_store_fini(&plain);
	mock_store_fini(&hidden);
	drop(&file);
	close(fds[1]);
}

static void a_map_that_fails_leaves_the_buf_where_it_is(void **state)
{
	struct mock_store hidden;
	struct usp_file *end[2], *file;
	int fds[2];

	(void)state;
	mock_store_init(&hidden);
	hidden.map_error = -ENOMEM;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	open_pipe(end, 4, 0);
	inject(end[1], mock_buf(&hidden, &mock_unmapped_buf_ops, 0, 60, 0));
	assert_int_equal(send_all(end[0], file, 60, 0), -ENOMEM);
	assert_int_equal(usp_pipe_bytes(end[0]), 60);
	close_pipe(end);
	mock_store_fini(&hidden);
	drop(&file);
	close(fds[1]);
}

/* Does a splice with these flags, of more than there is, hold the 10 bytes back? The kernel lets go of them after 200 ms all the same. */
static bool is_held_back(unsigned flags)
{
	struct usp_file *end[2], *file;
	int fds[2], unsent;

	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	open_pipe(end, 4, 0);
	put_bytes(end[1], 0, 10);
	assert_int_equal(usp_splice(end[0], NULL, file, NULL, PAGE, flags), 10);
	assert_int_equal(ioctl(fds[0], SIOCOUTQNSD, &unsent), 0);
	net_take(fds[1], 0, 10);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
	return unsent > 0;
}

static void the_tail_is_held_back_only_if_the_caller_says_more(void **state)
{
	bool is_held = false;

	(void)state;
	for (unsigned i = 0; i < 5 && !is_held; i++)
		is_held = is_held_back(USP_SPLICE_MORE);
	assert_true(is_held);
	for (unsigned i = 0; i < 5; i++)
		assert_false(is_held_back(0));
}

/* In how many segments the bytes of many small bufs leave, which take two calls to send. */
static unsigned nr_segments_of_two_batches(void)
{
	struct usp_file *end[2], *file;
	unsigned nr_segments;
	int fds[2];

	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	assert_int_equal(setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
	open_pipe(end, 128, 0);
	for (unsigned i = 0; i < 128; i++)
		inject(end[1], folio_buf(i * 10, 10, 0));
	assert_int_equal(usp_splice(end[0], NULL, file, NULL, 128 * 10, 0), 128 * 10);
	nr_segments = tcp_nr_segments(fds[0]);
	net_take(fds[1], 0, 128 * 10);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
	return nr_segments;
}

/* The kernel lets go of the first one after 200 ms all the same. */
static void what_two_calls_send_is_one_segment(void **state)
{
	bool is_one = false;

	(void)state;
	for (unsigned i = 0; i < 20 && !is_one; i++)
		is_one = nr_segments_of_two_batches() == 1;
	assert_true(is_one);
}

/* --- Errors ----------------------------------------------------------------------------------------- */

/* A buf over a store whose map, which ends a batch, makes the peer reset the connection. */
static int resetting_fd;

static int resetting_map(struct usp_pipe *pipe, struct usp_buf *buf)
{
	net_reset(resetting_fd);
	return mock_unmapped_buf_ops.map(pipe, buf);
}

/* A connection that is reset behind the first 100 bytes of a splice: the socket itself forgets why at once. */
static struct usp_file *reset_behind_progress(struct usp_file *end[2], struct usp_buf_ops *resetting_ops,
					      struct mock_store *store)
{
	struct usp_file *file;
	int fds[2];

	mock_store_init(store);
	*resetting_ops = mock_unmapped_buf_ops;
	resetting_ops->map = resetting_map;
	net_tcp_pair(fds, 0);
	resetting_fd = fds[1];
	file = net_file(fds[0], USP_WRITE);
	open_pipe(end, 4, 0);
	inject(end[1], mock_buf(store, &mock_buf_ops, 0, 100, 0));
	inject(end[1], mock_buf(store, resetting_ops, 100, 50, 0));
	assert_int_equal(send_all(end[0], file, 150, 0), 100);
	return file;
}

static void an_error_behind_bytes_that_moved_comes_with_the_next_call(void **state)
{
	struct usp_buf_ops resetting_ops;
	struct mock_store store;
	struct usp_file *end[2], *file = reset_behind_progress(end, &resetting_ops, &store);

	(void)state;
	assert_int_equal(send_all(end[0], file, 150, 0), -ECONNRESET);
	assert_int_equal(send_all(end[0], file, 150, 0), -EPIPE);
	assert_int_equal(usp_pipe_bytes(end[0]), 50);
	close_pipe(end);
	mock_store_fini(&store);
	drop(&file);
}

static void a_write_or_a_shutdown_tells_it_if_it_comes_next(void **state)
{
	(void)state;
	for (unsigned is_shutdown = 0; is_shutdown < 2; is_shutdown++) {
		struct usp_buf_ops resetting_ops;
		struct mock_store store;
		struct usp_file *end[2], *file = reset_behind_progress(end, &resetting_ops, &store);

		if (is_shutdown)
			assert_int_equal(usp_file_shutdown(file), -ECONNRESET);
		else
			assert_int_equal(usp_write(file, "x", 1), -ECONNRESET);
		assert_int_equal(usp_write(file, "x", 1), -EPIPE);
		close_pipe(end);
		mock_store_fini(&store);
		drop(&file);
	}
}

static void no_sigpipe_is_raised(void **state)
{
	struct usp_file *end[2], *file;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	file = net_file(fds[0], USP_WRITE);
	open_pipe(end, 4, 0);
	close(fds[1]);
	put_bytes(end[1], 0, 10);
	assert_int_equal(send_all(end[0], file, 10, 0), -EPIPE); /* the default action of SIGPIPE would end us here */
	assert_int_equal(usp_write(file, "x", 1), -EPIPE);
	take_bytes(end[0], 0, 10);
	close_pipe(end);
	drop(&file);
}

static void a_shutdown_after_a_reset_says_reset(void **state)
{
	struct usp_file *file;
	struct pollfd pollfd;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	net_reset(fds[1]);
	pollfd = (struct pollfd){.fd = fds[0], .events = 0};
	assert_int_equal(poll(&pollfd, 1, 10000), 1);
	assert_int_equal(usp_file_shutdown(file), -ECONNRESET);
	drop(&file);
}

static void closing_tells_that_the_peer_has_thrown_the_bytes_away(void **state)
{
	struct usp_file *file;
	struct pollfd pollfd;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	assert_int_equal(usp_write(file, "0123456789", 10), 10);
	close(fds[1]); /* with 10 bytes in it, which makes it a reset */
	pollfd = (struct pollfd){.fd = fds[0], .events = 0};
	assert_int_equal(poll(&pollfd, 1, 10000), 1);
	assert_int_equal(usp_file_close(file), -ECONNRESET);
	assert_int_equal(usp_file_close(file), 0);
	drop(&file);
}

static void closing_says_nothing_of_a_peer_that_took_all(void **state)
{
	struct usp_file *file;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	put_bytes(file, 0, 10);
	net_take(fds[1], 0, 10);
	close(fds[1]);
	assert_int_equal(usp_file_close(file), 0);
	drop(&file);
}

/* --- Zero-copy sends -------------------------------------------------------------------------------- */

/* A gift whose memory is overwritten as soon as it is done. */
struct present {
	unsigned char *bytes;
	size_t len;
	_Atomic(unsigned) nr_done;
};

static void present_done(void *arg)
{
	struct present *present = arg;

	memset(present->bytes, 0xee, present->len);
	present->nr_done++;
}

static void present_init(struct present *present, uint64_t off, size_t len)
{
	*present = (struct present){.bytes = malloc(len), .len = len};
	assert_non_null(present->bytes);
	pattern_fill(present->bytes, off, len);
}

/* Give all of it to a pipe, and keep no reference. */
static void present_give(struct present *present, struct usp_file *end)
{
	struct usp_gift *gift;

	assert_int_equal(usp_gift_new(present->bytes, present->len, present_done, present, &gift), 0);
	assert_int_equal(usp_gift_splice(gift, 0, present->len, end, 0), present->len);
	usp_gift_put(gift);
}

struct taker {
	int fd;
	size_t len;
};

static ssize_t taker_run(void *arg)
{
	struct taker *taker = arg;

	net_take(taker->fd, 0, taker->len);
	return 0;
}

static void open_big_pipe(struct usp_file *end[2])
{
	assert_int_equal(usp_pipe_open(NULL, end), 0);
	assert_true(usp_pipe_capacity(end[0]) >= (ssize_t)GIFT_LEN);
}

static uint64_t all_bytes(const struct usp_hop *hop)
{
	return hop->bytes[USP_BY_REFERENCE] + hop->bytes[USP_COPIED] + hop->bytes[USP_UNKNOWN];
}

static void gifts_that_are_refilled_when_done_arrive_as_they_were(void **state)
{
	struct present present[16];
	struct usp_file *end[2], *file;
	struct worker worker;
	struct taker taker;
	struct usp_hop hop = {.size = sizeof(hop)};
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	open_big_pipe(end);
	taker = (struct taker){.fd = fds[1], .len = ARRAY_LEN(present) * GIFT_LEN};
	worker_start(&worker, taker_run, &taker);
	for (unsigned i = 0; i < ARRAY_LEN(present); i++) {
		present_init(&present[i], i * GIFT_LEN, GIFT_LEN);
		present_give(&present[i], end[1]);
		while (usp_pipe_bytes(end[0]))
			assert_true(send_all(end[0], file, GIFT_LEN, 0) > 0);
	}
	worker_join(&worker);
	assert_int_equal(usp_file_sync(file), 0);
	for (unsigned i = 0; i < ARRAY_LEN(present); i++) {
		assert_int_equal(present[i].nr_done, 1);
		free(present[i].bytes);
	}
	hop = net_hop(file, USP_WRITE);
	assert_int_equal(all_bytes(&hop), taker.len);
	assert_int_equal(hop.bytes[USP_UNKNOWN], 0);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

/* Wait until the kernel has finished with all that was sent. */
static int settle(struct usp_file *file)
{
	assert_int_equal(usp_file_set_flags(file, 0), 0);
	return usp_file_sync(file);
}

/* Send a gift to a peer that does not read, and drop what the socket did not take: the bytes sent. */
static size_t send_to_a_deaf_peer(struct present *present, struct usp_file *end[2], struct usp_file *file)
{
	ssize_t sent;
	char *rest = malloc(GIFT_LEN);

	assert_non_null(rest);
	assert_int_equal(usp_file_set_flags(file, USP_NONBLOCK), 0);
	present_init(present, 0, GIFT_LEN);
	present_give(present, end[1]);
	sent = send_all(end[0], file, GIFT_LEN, 0);
	assert_in_range(sent, 1, GIFT_LEN - 1);
	while (usp_pipe_bytes(end[0]))
		assert_true(usp_read(end[0], rest, GIFT_LEN) > 0);
	free(rest);
	return (size_t)sent;
}

static void open_deaf_pair(int fds[2], struct usp_file **ret_file)
{
	const int sndbuf = 256 << 10;

	net_tcp_pair(fds, 64 << 10); /* smaller windows take seconds to empty */
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)), 0);
	*ret_file = net_file(fds[0], USP_WRITE);
	if (usp_zerocopy_is_on(*ret_file, &sock_of(*ret_file)->zerocopy))
		return;
	drop(ret_file);
	close(fds[1]);
	skip();
}

static void a_gift_is_not_done_before_the_kernel_has_finished_with_it(void **state)
{
	struct present present;
	struct usp_file *end[2], *file;
	struct usp_hop hop = {.size = sizeof(hop)};
	size_t sent;
	int fds[2];

	(void)state;
	open_deaf_pair(fds, &file);
	open_big_pipe(end);
	sent = send_to_a_deaf_peer(&present, end, file);
	usp_file_poll(file); /* takes notices in, and there can be none */
	assert_int_equal(present.nr_done, 0);
	hop = net_hop(file, USP_WRITE);
	assert_int_equal(all_bytes(&hop), sent);
	assert_int_equal(hop.bytes[USP_UNKNOWN], sent); /* nobody knows yet */
	assert_int_equal(usp_file_sync(file), -EAGAIN);
	net_take(fds[1], 0, sent);
	assert_int_equal(settle(file), 0);
	assert_int_equal(present.nr_done, 1);
	hop = net_hop(file, USP_WRITE);
	assert_int_equal(all_bytes(&hop), sent);
	close_pipe(end);
	drop(&file);
	assert_int_equal(present.nr_done, 1);
	free(present.bytes);
	close(fds[1]);
}

static void a_gift_is_done_once_when_the_peer_resets(void **state)
{
	struct present present;
	struct usp_file *end[2], *file;
	int fds[2];

	(void)state;
	open_deaf_pair(fds, &file);
	open_big_pipe(end);
	send_to_a_deaf_peer(&present, end, file);
	assert_int_equal(present.nr_done, 0);
	net_reset(fds[1]);
	assert_int_equal(settle(file), -ECONNRESET); /* the notices alone would look as if all had arrived */
	assert_int_equal(present.nr_done, 1);
	put_bytes(end[1], 0, 10);
	assert_int_equal(send_all(end[0], file, 10, 0), -EPIPE);
	close_pipe(end);
	drop(&file);
	assert_int_equal(present.nr_done, 1);
	free(present.bytes);
}

static void closing_aborts_a_connection_whose_peer_takes_nothing(void **state)
{
	struct present present;
	struct usp_file *end[2], *file;
	struct pollfd pollfd;
	char byte;
	int fds[2], error = 0;
	socklen_t len = sizeof(error);

	(void)state;
	open_deaf_pair(fds, &file);
	open_big_pipe(end);
	send_to_a_deaf_peer(&present, end, file);
	close_pipe(end);
	sock_of(file)->zerocopy.stall_ns = 1000000;
	assert_int_equal(present.nr_done, 0);
	assert_int_equal(usp_file_close(file), -ETIMEDOUT);
	drop(&file);
	assert_int_equal(present.nr_done, 1);
	free(present.bytes);
	pollfd = (struct pollfd){.fd = fds[1], .events = POLLRDHUP};
	assert_int_equal(poll(&pollfd, 1, 10000), 1);
	assert_int_equal(getsockopt(fds[1], SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_true(error == ECONNRESET || recv(fds[1], &byte, 1, MSG_DONTWAIT) >= 0);
	close(fds[1]);
}

static void notices_do_not_look_like_errors(void **state)
{
	struct present present;
	struct usp_file *end[2], *file;
	struct pollfd pollfd;
	size_t sent;
	int fds[2];

	(void)state;
	open_deaf_pair(fds, &file);
	open_big_pipe(end);
	sent = send_to_a_deaf_peer(&present, end, file);
	net_take(fds[1], 0, sent);
	pollfd = (struct pollfd){.fd = fds[0], .events = 0};
	assert_int_equal(poll(&pollfd, 1, 10000), 1);
	assert_int_equal(pollfd.revents, POLLERR);
	assert_int_equal(usp_file_poll(file), POLLOUT);
	close_pipe(end);
	drop(&file);
	free(present.bytes);
	close(fds[1]);
}

static void a_socket_that_copies_all_the_same_gives_zero_copy_up(void **state)
{
	struct present present;
	struct usp_file *end[2], *file;
	struct worker worker;
	struct taker taker;
	struct usp_hop hop = {.size = sizeof(hop)};
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = net_file(fds[0], USP_WRITE);
	open_big_pipe(end);
	taker = (struct taker){.fd = fds[1], .len = 32 * GIFT_LEN};
	worker_start(&worker, taker_run, &taker);
	for (unsigned i = 0; i < 32; i++) {
		present_init(&present, i * GIFT_LEN, GIFT_LEN);
		present_give(&present, end[1]);
		while (usp_pipe_bytes(end[0]))
			assert_true(send_all(end[0], file, GIFT_LEN, 0) > 0);
		assert_int_equal(usp_file_sync(file), 0);
		assert_int_equal(present.nr_done, 1);
		free(present.bytes);
	}
	worker_join(&worker);
	hop = net_hop(file, USP_WRITE);
	assert_int_equal(all_bytes(&hop), taker.len);
	assert_int_equal(sock_of(file)->zerocopy.is_on, hop.bytes[USP_BY_REFERENCE] > 0);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

static void a_buf_that_cannot_be_kept_is_copied_instead(void **state)
{
	struct mock_store store;
	struct usp_file *end[2], *file;
	unsigned char *bytes = malloc(GIFT_LEN);
	int fds[2];

	(void)state;
	assert_non_null(bytes);
	mock_store_init(&store);
	store.refuses_get = true;
	open_deaf_pair(fds, &file);
	open_big_pipe(end);
	pattern_fill(bytes, 100, GIFT_LEN);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 100, 0));
	assert_int_equal(usp_write(end[1], bytes, 128 << 10), 128 << 10);
	assert_int_equal(send_all(end[0], file, 100 + (128 << 10), USP_SPLICE_NONBLOCK), 100 + (128 << 10));
	assert_int_equal(net_hop(file, USP_WRITE).bytes[USP_COPIED], 100 + (128 << 10));
	assert_int_equal(store.nr_refused, 1);
	net_take(fds[1], 0, 100 + (128 << 10));
	close_pipe(end);
	drop(&file);
	mock_store_fini(&store);
	free(bytes);
	close(fds[1]);
}

static void bytes_that_had_to_be_mapped_are_never_called_references(void **state)
{
	struct mock_store hidden;
	struct usp_file *end[2], *file;
	unsigned char *bytes = malloc(GIFT_LEN);
	struct usp_hop hop = {.size = sizeof(hop)};
	int fds[2];

	(void)state;
	assert_non_null(bytes);
	mock_store_init(&hidden);
	open_deaf_pair(fds, &file);
	open_big_pipe(end);
	pattern_fill(bytes, 100, GIFT_LEN);
	inject(end[1], mock_buf(&hidden, &mock_unmapped_buf_ops, 0, 100, 0));
	assert_int_equal(usp_write(end[1], bytes, 128 << 10), 128 << 10);
	assert_int_equal(send_all(end[0], file, 100 + (128 << 10), 0), 100 + (128 << 10));
	hop = net_hop(file, USP_WRITE);
	assert_int_equal(hop.bytes[USP_COPIED], 100 + (128 << 10));
	net_take(fds[1], 0, 100 + (128 << 10));
	close_pipe(end);
	drop(&file);
	mock_store_fini(&hidden);
	free(bytes);
	close(fds[1]);
}

/* --- SO_RCVTIMEO and SO_SNDTIMEO (N3); of the hooks of the user lane in test_oracle ----------------------------------- */

#define PATIENCE_MS 20

static struct usp_file *impatient_file(int fd, unsigned mode)
{
	const struct timeval value = {.tv_usec = PATIENCE_MS * 1000};
	struct usp_file *file;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &value, sizeof(value)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &value, sizeof(value)), 0);
	assert_int_equal(usp_open_fd(fd, mode, "socket", &file), 0);
	return file;
}

static void the_time_of_a_socket_bounds_the_kernel_lane_too(void **state)
{
	unsigned char bytes[PAGE] = {0};
	struct usp_file *end[2], *file;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = impatient_file(fds[0], USP_READ | USP_WRITE);
	usp_file_side(file, USP_READ)->lane = usp_file_side(file, USP_WRITE)->lane = &usp_kernel_lane;
	open_pipe(end, 16, 0);
	assert_int_equal(usp_splice(file, NULL, end[1], NULL, 100, 0), -EAGAIN);
	while (send(fds[0], bytes, sizeof(bytes), MSG_DONTWAIT) > 0 || tcp_is_under_way(fds[0]))
		;
	put_bytes(end[1], 0, 100);
	assert_int_equal(usp_splice(end[0], NULL, file, NULL, 100, 0), -EAGAIN);
	take_bytes(end[0], 0, 100);
	close_pipe(end);
	drop(&file);
	close(fds[1]);
}

static void a_call_takes_as_long_as_its_socket_says(void **state)
{
	const struct timeval soon = {.tv_usec = 1000};
	struct timespec begin, now;
	struct usp_file *file;
	unsigned char byte;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = impatient_file(fds[0], USP_READ);
	assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDTIMEO, &soon, sizeof(soon)), 0); /* of the other side */
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(usp_read(file, &byte, 1), -EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &now);
	assert_true((now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000 >= PATIENCE_MS - 1);
	drop(&file);
	close(fds[1]);
}

/* Its files do not block, and it waits by itself: its own idle_ns is what ends it. */
static void a_pump_does_not_look_at_the_time_of_a_socket(void **state)
{
	const struct usp_pump_params params = {.size = sizeof(params), .idle_ns = 3 * PATIENCE_MS * 1000000u};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_file *file, *null;
	struct usp_pump *pump;
	int fds[2];

	(void)state;
	net_tcp_pair(fds, 0);
	file = impatient_file(fds[0], USP_READ);
	assert_int_equal(usp_open("null:", &to_write, &null, NULL), 0);
	assert_int_equal(usp_pump_new(file, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, null), 0);
	assert_int_equal(usp_pump_run(pump), -ETIMEDOUT);
	usp_pump_free(pump);
	drop(&null);
	drop(&file);
	close(fds[1]);
}

/* --- The end of a source ------------------------------------------------------------------------------------ */

/* What a run says whose source has three bytes, and an end, or a reset that a send was told before. */
static int pump_to_the_end(enum usp_lane_choice lane, bool is_reset, uint64_t *ret_bytes)
{
	const struct usp_pump_params params = {.size = sizeof(params), .lane = lane};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	struct usp_pump_status status = {.size = sizeof(status)};
	struct usp_file *file, *null;
	struct usp_pump *pump;
	int fds[2], ret;

	net_tcp_pair(fds, 0);
	assert_int_equal(send(fds[1], "abc", 3, 0), 3);
	if (is_reset)
		net_reset(fds[1]);
	else
		close(fds[1]);
	while (is_reset && send(fds[0], "x", 1, MSG_NOSIGNAL) == 1)
		;
	file = net_file(fds[0], USP_READ);
	assert_int_equal(usp_open("null:", &to_write, &null, NULL), 0);
	assert_int_equal(usp_pump_new(file, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, null), 0);
	ret = usp_pump_run(pump);
	usp_pump_status(pump, &status);
	*ret_bytes = status.bytes;
	usp_pump_free(pump);
	drop(&null);
	drop(&file);
	return ret;
}

static void a_reset_that_a_send_was_told_is_no_end_of_a_source(void **state)
{
	uint64_t bytes;

	(void)state;
	for (enum usp_lane_choice lane = USP_LANE_KERNEL; lane <= USP_LANE_USER; lane++) {
		assert_int_equal(pump_to_the_end(lane, true, &bytes), -ECONNRESET);
		assert_int_equal(bytes, 3);
		assert_int_equal(pump_to_the_end(lane, false, &bytes), 0);
		assert_int_equal(bytes, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_bytes_of_a_pipe_arrive_in_order_and_are_accounted),
		CASE(a_splice_from_a_socket_gives_what_is_there),
		CASE(an_empty_socket_gives_eagain_only_by_its_own_flag),
		CASE(a_full_socket_gives_eagain_and_consumes_nothing),
		CASE(a_blocking_splice_waits_until_the_peer_reads),
		CASE(a_confirm_that_fails_in_the_middle_lets_go_what_stands_before_it),
		CASE(a_buf_that_is_not_addressable_is_mapped_when_it_comes_first),
		CASE(a_map_that_fails_leaves_the_buf_where_it_is),
		CASE(the_tail_is_held_back_only_if_the_caller_says_more),
		CASE(what_two_calls_send_is_one_segment),
		CASE(an_error_behind_bytes_that_moved_comes_with_the_next_call),
		CASE(a_write_or_a_shutdown_tells_it_if_it_comes_next),
		CASE(no_sigpipe_is_raised),
		CASE(a_shutdown_after_a_reset_says_reset),
		CASE(closing_tells_that_the_peer_has_thrown_the_bytes_away),
		CASE(closing_says_nothing_of_a_peer_that_took_all),
		CASE(gifts_that_are_refilled_when_done_arrive_as_they_were),
		CASE(a_gift_is_not_done_before_the_kernel_has_finished_with_it),
		CASE(a_gift_is_done_once_when_the_peer_resets),
		CASE(closing_aborts_a_connection_whose_peer_takes_nothing),
		CASE(notices_do_not_look_like_errors),
		CASE(a_socket_that_copies_all_the_same_gives_zero_copy_up),
		CASE(a_buf_that_cannot_be_kept_is_copied_instead),
		CASE(bytes_that_had_to_be_mapped_are_never_called_references),
		CASE(the_time_of_a_socket_bounds_the_kernel_lane_too),
		CASE(a_call_takes_as_long_as_its_socket_says),
		CASE(a_pump_does_not_look_at_the_time_of_a_socket),
		CASE(a_reset_that_a_send_was_told_is_no_end_of_a_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
