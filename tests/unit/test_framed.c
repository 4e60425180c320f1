/* SPDX-License-Identifier: MIT */
/* test_framed - frames around a stream: what comes out, what is refused, and what both ends tell each other. */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <usplice/framed.h>

#include "framed/format.h"

#define STREAM_MAX 200000

static unsigned char stream[STREAM_MAX], came[STREAM_MAX];

/* --- Helpers ------------------------------------------------------------------------------------------------------- */

static struct usp_file *open_fd(int fd, unsigned mode)
{
	struct usp_file *file;

	assert_int_equal(usp_open_fd(fd, mode | USP_EXCLUSIVE, "test", &file), 0);
	return file;
}

static struct usp_file *open_sender(struct usp_file *below, unsigned flags, const char *digest)
{
	const struct usp_framed_params params = {
		.size = sizeof(params), .flags = flags, .digest = digest, .expected = -1};
	struct usp_file *file;

	assert_int_equal(usp_framed_open(below, USP_WRITE, &params, &file, NULL), 0);
	return file;
}

static struct usp_file *open_receiver(struct usp_file *below)
{
	struct usp_file *file;

	assert_int_equal(usp_framed_open(below, USP_READ, NULL, &file, NULL), 0);
	return file;
}

/* A receiver of len bytes of memory. */
static struct usp_file *receive_bytes(const void *base, size_t len)
{
	struct usp_file *below;

	assert_int_equal(usp_open_memory((void *)base, len, USP_READ, NULL, NULL, &below), 0);
	return open_receiver(below);
}

/* Read all that a receiver gives: 0 or the error; how much it was. */
static int read_all(struct usp_file *file, size_t *ret_len)
{
	ssize_t ret;

	*ret_len = 0;
	do {
		ret = usp_read(file, came + *ret_len, sizeof(came) - *ret_len);
		*ret_len += ret > 0 ? (size_t)ret : 0;
	} while (ret > 0);
	return (int)ret;
}

/* The same by a pump. */
static int pump_all(struct usp_file *file, size_t *ret_len)
{
	struct usp_file *sink;
	struct usp_hop hop = {.size = sizeof(hop)};
	int ret;

	assert_int_equal(usp_open_memory(came, sizeof(came), USP_WRITE, NULL, NULL, &sink), 0);
	ret = usp_copy_files(file, sink, NULL, NULL);
	usp_file_hop(sink, USP_WRITE, &hop);
	*ret_len = (size_t)(hop.bytes[USP_COPIED] + hop.bytes[USP_BY_REFERENCE]);
	usp_file_put(sink);
	return ret;
}

/* Make ./stream of the pattern, in frames of at most piece bytes: its length. */
static size_t make_stream(size_t len, size_t piece, const char *digest)
{
	unsigned char bytes[4096];
	struct usp_file *sender;
	size_t done = 0, got = 0;
	ssize_t ret;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_true(fcntl(fds[1], F_SETPIPE_SZ, 1 << 20) >= 0);
	sender = open_sender(open_fd(fds[1], USP_WRITE), 0, digest);
	while (done < len) {
		size_t chunk = len - done < piece ? len - done : piece;

		pattern_fill(bytes, done, chunk);
		assert_int_equal(usp_write(sender, bytes, chunk), chunk);
		done += chunk;
	}
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(usp_file_sync(sender), 0);
	assert_int_equal(usp_file_close(sender), 0);
	usp_file_put(sender);
	while ((ret = read(fds[0], stream + got, sizeof(stream) - got)) > 0)
		got += (size_t)ret;
	close(fds[0]);
	return got;
}

/* --- What comes out ------------------------------------------------------------------------------------------------- */

static void the_bytes_come_out_of_the_frames(void **state)
{
	static const char *const digests[] = {"none", "crc32c", NULL};
	static const size_t lens[] = {0, 1, 12, 4096, 100001};

	(void)state;
	for (unsigned d = 0; d < ARRAY_LEN(digests); d++) {
		for (unsigned l = 0; l < ARRAY_LEN(lens); l++) {
			size_t len = make_stream(lens[l], 4096, digests[d]), got;
			struct usp_file *file = receive_bytes(stream, len);

			assert_int_equal(read_all(file, &got), 0);
			assert_int_equal(got, lens[l]);
			assert_pattern(came, 0, got);
			assert_null(usp_framed_failure(file));
			usp_file_put(file);
			file = receive_bytes(stream, len);
			assert_int_equal(pump_all(file, &got), 0);
			assert_int_equal(got, lens[l]);
			assert_pattern(came, 0, got);
			usp_file_put(file);
		}
	}
}

static void a_stream_that_is_cut_at_any_byte_is_an_error(void **state)
{
	size_t len = make_stream(100, 64, NULL), got;

	(void)state;
	for (size_t cut = 1; cut < len; cut++) {
		struct usp_file *file = receive_bytes(stream, cut);

		assert_true(read_all(file, &got) < 0);
		assert_true(got <= 100);
		assert_pattern(came, 0, got);
		assert_non_null(usp_framed_failure(file));
		usp_file_put(file);
		file = receive_bytes(stream, cut);
		assert_true(pump_all(file, &got) < 0);
		assert_pattern(came, 0, got);
		usp_file_put(file);
	}
}

static void any_bit_that_changes_is_an_error(void **state)
{
	size_t len = make_stream(100, 64, NULL), got;

	(void)state;
	for (size_t bit = 0; bit < 8 * len; bit++) {
		struct usp_file *file;

		stream[bit / 8] ^= (unsigned char)(1u << bit % 8);
		file = receive_bytes(stream, len);
		assert_true(read_all(file, &got) < 0);
		assert_non_null(usp_framed_failure(file));
		usp_file_put(file);
		stream[bit / 8] ^= (unsigned char)(1u << bit % 8);
	}
}

static void bytes_behind_the_end_mark_are_an_error(void **state)
{
	size_t len = make_stream(100, 64, NULL), got;
	struct usp_file *file = receive_bytes(stream, len + 1);

	(void)state;
	assert_int_equal(read_all(file, &got), -EBADMSG);
	assert_int_equal(got, 100);
	assert_string_equal(usp_framed_failure(file), "there are bytes behind the end mark");
	usp_file_put(file);
}

/* --- What a peer could think up --------------------------------------------------------------------------------------- */

static const struct framed_header plain = {.version = FRAMED_VERSION, .expected = FRAMED_UNKNOWN};

/* Receive what bytes hold: the error. */
static int receive(const struct framed_bytes *bytes, char why[USP_FRAMED_WHY_MAX])
{
	struct usp_file *file = receive_bytes(bytes->base, bytes->len);
	size_t got;
	int ret = read_all(file, &got);

	snprintf(why, USP_FRAMED_WHY_MAX, "%s", usp_framed_failure(file) ? usp_framed_failure(file) : "");
	usp_file_put(file);
	return ret;
}

static struct framed_bytes begin(const struct framed_header *header)
{
	struct framed_bytes bytes = {.len = 0};

	framed_put_header(&bytes, header);
	return bytes;
}

static void headers_that_nobody_should_send_are_refused(void **state)
{
	static const struct framed_header headers[] = {
		{.version = 0},
		{.version = 2},
		{.version = FRAMED_VERSION, .digest = 255},
		{.version = FRAMED_VERSION, .flags = 0x8000},
		{.version = FRAMED_VERSION, .flags = USP_FRAMED_RESUME},
		{.version = FRAMED_VERSION, .flags = USP_FRAMED_RESUME | USP_FRAMED_ANSWER, .digest = 0},
		{.version = FRAMED_VERSION, .flags = USP_FRAMED_ANSWER}, /* there is no way back */
	};
	char why[USP_FRAMED_WHY_MAX];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(headers); i++) {
		struct framed_bytes bytes = begin(&headers[i]);

		framed_put_count(&bytes, FRAMED_END, 0, NULL, 0);
		assert_int_equal(receive(&bytes, why), -EBADMSG);
		assert_true(why[0]);
	}
}

static void frames_that_nobody_should_send_are_refused(void **state)
{
	static const struct {
		uint32_t type, len;
		int error;
	} frames[] = {
		{FRAMED_DATA, 0, -EBADMSG},    {FRAMED_DATA, UINT32_MAX, -ENODATA}, {FRAMED_END, 0, -EBADMSG},
		{FRAMED_END, 11, -EBADMSG},    {FRAMED_END, UINT32_MAX, -EBADMSG},  {FRAMED_FAIL, 3, -EBADMSG},
		{FRAMED_FAIL, 1025, -EBADMSG}, {FRAMED_HAVE, 12, -ENODATA},	    {0, 0, -EBADMSG},
		{UINT32_MAX, 12, -EBADMSG},
	};
	char why[USP_FRAMED_WHY_MAX];
	struct framed_bytes bytes;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(frames); i++) {
		bytes = begin(&plain);
		framed_put_frame(&bytes, frames[i].type, frames[i].len);
		assert_int_equal(receive(&bytes, why), frames[i].error);
		assert_true(why[0]);
	}
	bytes = begin(&plain);
	framed_put_count(&bytes, FRAMED_DONE, 0, NULL, 0);
	assert_int_equal(receive(&bytes, why), -EBADMSG);
	bytes = begin(&plain);
	framed_put_count(&bytes, FRAMED_END, UINT64_MAX, NULL, 0);
	assert_int_equal(receive(&bytes, why), -EBADMSG);
	assert_string_equal(why, "0 bytes came, and the sender has sent 18446744073709551615");
	bytes = begin(&plain);
	framed_put_count(&bytes, FRAMED_END, 0, "digest", 6); /* of a stream without one */
	assert_int_equal(receive(&bytes, why), -EBADMSG);
}

static void a_sentence_of_the_peer_cannot_control_a_terminal(void **state)
{
	struct framed_bytes bytes = begin(&plain);
	char why[USP_FRAMED_WHY_MAX];

	(void)state;
	framed_put_text(&bytes, FRAMED_FAIL, "a\033[2Jb\n\xff\xc3\xa9\xe2\x80\xae.");
	assert_int_equal(receive(&bytes, why), -EREMOTEIO);
	assert_string_equal(why, "the sender gave up: a?[2Jb??\xc3\xa9?.");
}

/* --- The sender ------------------------------------------------------------------------------------------------------- */

static void parameters_that_make_no_sense_are_refused(void **state)
{
	static const struct usp_framed_params senders[] = {
		{.size = 0},
		{.size = sizeof(senders[0]), .flags = 0x80, .expected = -1},
		{.size = sizeof(senders[0]), .flags = USP_FRAMED_ANSWER, .expected = -1}, /* below cannot be read */
		{.size = sizeof(senders[0]), .expected = -2},
		{.size = sizeof(senders[0]), .expected = -1, .digest = "md5"},
	};
	struct usp_file *file;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	struct usp_file *below = open_fd(fds[1], USP_WRITE);

	for (unsigned i = 0; i < ARRAY_LEN(senders); i++)
		assert_int_equal(usp_framed_open(below, USP_WRITE, &senders[i], &file, NULL), -EINVAL);
	assert_int_equal(usp_framed_open(below, USP_WRITE, NULL, &file, NULL), -EINVAL);
	assert_int_equal(usp_framed_open(below, USP_READ, NULL, &file, NULL), -EINVAL);
	assert_int_equal(usp_framed_open(below, 0, NULL, &file, NULL), -EINVAL);
	assert_null(usp_framed_failure(below));
	assert_int_equal(usp_framed_answer(below, NULL), -EINVAL);
	assert_int_equal(usp_framed_see(below, "", 0), -EINVAL);
	usp_file_put(below);
	close(fds[0]);
}

static void bytes_that_fail_are_not_promised(void **state)
{
	struct usp_file *sender, *end[2], *receiver;
	struct mock_store store;
	size_t got;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sender = open_sender(open_fd(fds[1], USP_WRITE), 0, NULL);
	receiver = open_receiver(open_fd(fds[0], USP_READ));
	mock_store_init(&store);
	open_pipe(end, 16, 0);
	put_bytes(end[1], 0, 100);
	inject(end[1], mock_buf(&store, &mock_buf_ops, 0, 10, 0));
	store.confirm_error = -EIO;
	assert_int_equal(usp_splice(end[0], NULL, sender, NULL, 1000, 0), 100);
	assert_int_equal(usp_splice(end[0], NULL, sender, NULL, 1000, 0), -EIO);
	usp_framed_fail(sender, "the disk failed");
	usp_framed_fail(sender, "and this is not told");
	assert_true(usp_file_shutdown(sender) < 0);
	usp_file_put(sender);
	assert_int_equal(read_all(receiver, &got), -EREMOTEIO);
	assert_int_equal(got, 100);
	assert_string_equal(usp_framed_failure(receiver), "the sender gave up: the disk failed");
	usp_file_put(receiver);
	close_pipe(end);
	mock_store_fini(&store);
}

static void a_sender_that_is_closed_without_an_end_tells_so(void **state)
{
	struct usp_file *sender, *receiver;
	size_t got;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sender = open_sender(open_fd(fds[1], USP_WRITE), 0, NULL);
	receiver = open_receiver(open_fd(fds[0], USP_READ));
	assert_int_equal(usp_write(sender, "bytes", 5), 5);
	usp_file_put(sender);
	assert_int_equal(read_all(receiver, &got), -EREMOTEIO);
	assert_int_equal(got, 5);
	usp_file_put(receiver);
}

static void the_account_has_the_bytes_and_not_the_frames_also_when_it_is_closed(void **state)
{
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_file *sender, *end[2];
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sender = open_sender(open_fd(fds[1], USP_WRITE), 0, NULL);
	open_pipe(end, 16, 0);
	put_bytes(end[1], 0, 1000);
	assert_int_equal(usp_splice(end[0], NULL, sender, NULL, 1000, 0), 1000);
	usp_file_hop(sender, USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], 1000);
	assert_int_equal(usp_file_close(sender), 0);
	usp_file_hop(sender, USP_WRITE, &hop);
	assert_int_equal(hop.bytes[USP_COPIED], 1000);
	usp_file_put(sender);
	close_pipe(end);
	close(fds[0]);
}

static void a_full_stream_takes_the_rest_later(void **state)
{
	struct usp_file *sender, *receiver, *end[2];
	size_t sent = 0, got = 0;
	ssize_t ret;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	sender = open_sender(open_fd(fds[1], USP_WRITE), 0, NULL);
	receiver = open_receiver(open_fd(fds[0], USP_READ));
	assert_int_equal(usp_file_set_flags(sender, USP_NONBLOCK), 0);
	assert_int_equal(usp_file_set_flags(receiver, USP_NONBLOCK), 0);
	open_pipe(end, 64, 0);
	while (got < 1000000) {
		if (nr_bufs_in(end[0]) == 0 && sent < 1000000)
			put_bytes(end[1], sent, 50000);
		ret = nr_bufs_in(end[0]) ? usp_splice(end[0], NULL, sender, NULL, 7001, 0) : 0;
		assert_true(ret >= 0 || ret == -EAGAIN);
		sent += ret > 0 ? (size_t)ret : 0;
		if (ret > 0 && sent < 1000000)
			continue;
		ret = usp_read(receiver, came, 10007);
		if (ret > 0)
			assert_pattern(came, got, (size_t)ret);
		assert_true(ret > 0 || ret == -EAGAIN);
		got += ret > 0 ? (size_t)ret : 0;
	}
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(usp_file_close(sender), 0);
	assert_int_equal(usp_read(receiver, came, 1), 0);
	usp_file_put(sender);
	usp_file_put(receiver);
	close_pipe(end);
}

/* --- Two ways ----------------------------------------------------------------------------------------------------------- */

/* A sender and a receiver at the ends of one connection. */
static void connect_ends(unsigned flags, struct usp_file **ret_sender, struct usp_file **ret_receiver)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_sender = open_sender(open_fd(fds[0], USP_READ | USP_WRITE), flags, "crc32c");
	*ret_receiver = open_receiver(open_fd(fds[1], USP_READ | USP_WRITE));
	assert_int_equal(usp_file_set_flags(*ret_sender, USP_NONBLOCK), 0);
}

static void the_sender_is_done_when_the_receiver_says_so(void **state)
{
	struct usp_file *sender, *receiver;
	size_t got;

	(void)state;
	connect_ends(USP_FRAMED_ANSWER, &sender, &receiver);
	assert_int_equal(usp_write(sender, "bytes", 5), 5);
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(usp_file_sync(sender), -EAGAIN);
	assert_int_equal(usp_framed_answer(receiver, NULL), 0); /* too early: nothing is said */
	assert_int_equal(read_all(receiver, &got), 0);
	assert_int_equal(got, 5);
	assert_int_equal(usp_file_sync(sender), -EAGAIN);
	assert_int_equal(usp_framed_answer(receiver, NULL), 0);
	assert_int_equal(usp_file_sync(sender), 0);
	assert_int_equal(usp_file_sync(sender), 0);
	assert_int_equal(usp_write(sender, "more", 4), -EPIPE);
	usp_file_put(sender);
	usp_file_put(receiver);
}

static void the_sender_hears_why_the_receiver_failed(void **state)
{
	struct usp_file *sender, *receiver;
	size_t got;

	(void)state;
	connect_ends(USP_FRAMED_ANSWER, &sender, &receiver);
	assert_int_equal(usp_write(sender, "bytes", 5), 5);
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(read_all(receiver, &got), 0);
	assert_int_equal(usp_framed_answer(receiver, "no room"), 0);
	usp_file_put(receiver);
	assert_int_equal(usp_file_sync(sender), -EREMOTEIO);
	assert_string_equal(usp_framed_failure(sender), "the receiver failed: no room");
	usp_file_put(sender);
}

/* Make a sender of 5 bytes, and an answer to it of some DONE whose count is 5, which has more contents after that. */
static int begin_answered(struct usp_file **ret_sender, struct framed_bytes *ret_answer, const char *more)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*ret_sender = open_sender(open_fd(fds[0], USP_READ | USP_WRITE), USP_FRAMED_ANSWER, "crc32c");
	assert_int_equal(usp_file_set_flags(*ret_sender, USP_NONBLOCK), 0);
	assert_int_equal(usp_write(*ret_sender, "bytes", 5), 5);
	*ret_answer = (struct framed_bytes){.len = 0};
	framed_put_count(ret_answer, FRAMED_DONE, 5, more, strlen(more));
	return fds[1];
}

/* End a sender whose answer has come: 0 or the error; ret_why is what it says. */
static int end_answered(struct usp_file *sender, int peer, char ret_why[USP_FRAMED_WHY_MAX])
{
	int ret = usp_file_shutdown(sender);
	const char *why;

	if (ret == 0)
		ret = usp_file_sync(sender);
	why = usp_framed_failure(sender);
	snprintf(ret_why, USP_FRAMED_WHY_MAX, "%s", why ? why : "");
	usp_file_put(sender);
	close(peer);
	return ret;
}

static void a_good_answer_that_comes_too_early_is_refused(void **state)
{
	char why[USP_FRAMED_WHY_MAX];
	struct framed_bytes answer;
	struct usp_file *sender;

	(void)state;
	for (size_t early = 1; early <= FRAMED_FRAME_LEN + 12; early++) {
		int peer = begin_answered(&sender, &answer, "");

		assert_int_equal(answer.len, FRAMED_FRAME_LEN + 12);
		assert_int_equal(write(peer, answer.base, early), early);
		if (early < answer.len) { /* the rest comes in time */
			assert_int_equal(usp_file_shutdown(sender), 0);
			assert_int_equal(write(peer, answer.base + early, answer.len - early), answer.len - early);
		}
		assert_int_equal(end_answered(sender, peer, why), -EBADMSG);
		assert_string_equal(why, "the receiver answers before it can have everything");
	}
}

static void a_failure_may_be_told_at_any_time(void **state)
{
	char why[USP_FRAMED_WHY_MAX];
	struct framed_bytes answer;
	struct usp_file *sender;
	int peer = begin_answered(&sender, &answer, "");

	(void)state;
	answer.len = 0;
	framed_put_text(&answer, FRAMED_FAIL, "no room");
	assert_int_equal(write(peer, answer.base, answer.len), answer.len);
	assert_int_equal(end_answered(sender, peer, why), -EREMOTEIO);
	assert_string_equal(why, "the receiver failed: no room");
	peer = begin_answered(&sender, &answer, "");
	answer.len = 0;
	framed_put_text(&answer, FRAMED_FAIL, "no room");
	assert_int_equal(write(peer, answer.base, 3), 3);
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(write(peer, answer.base + 3, answer.len - 3), answer.len - 3);
	assert_int_equal(end_answered(sender, peer, why), -EREMOTEIO);
}

static void an_answer_with_more_than_a_count_and_what_comes_behind_one_are_refused(void **state)
{
	char why[USP_FRAMED_WHY_MAX];
	struct framed_bytes answer;
	struct usp_file *sender;
	int peer = begin_answered(&sender, &answer, "more");

	(void)state;
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(write(peer, answer.base, answer.len), answer.len);
	assert_int_equal(end_answered(sender, peer, why), -EBADMSG);
	assert_string_equal(why, "a frame is damaged");
	peer = begin_answered(&sender, &answer, "");
	framed_put_text(&answer, FRAMED_FAIL, "no room");
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(write(peer, answer.base, answer.len), answer.len);
	assert_int_equal(end_answered(sender, peer, why), -EBADMSG);
	assert_string_equal(why, "there are bytes behind the answer of the receiver");
	peer = begin_answered(&sender, &answer, "");
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(write(peer, answer.base, answer.len), answer.len);
	assert_int_equal(end_answered(sender, peer, why), 0);
}

static void a_sender_without_an_answer_has_failed(void **state)
{
	struct usp_file *sender, *receiver;
	size_t got;

	(void)state;
	connect_ends(USP_FRAMED_ANSWER, &sender, &receiver);
	assert_int_equal(usp_file_shutdown(sender), 0);
	assert_int_equal(read_all(receiver, &got), 0);
	usp_file_put(receiver);
	assert_true(usp_file_sync(sender) < 0);
	assert_non_null(usp_framed_failure(sender));
	usp_file_put(sender);
}

/* The receiver of a stream that goes on: it has have bytes. */
struct resuming {
	struct usp_file *receiver;
	size_t have;
};

static void *offer(void *arg)
{
	struct resuming *resuming = arg;
	unsigned char bytes[4096];
	int64_t expected;
	unsigned flags;

	pattern_fill(bytes, 0, resuming->have);
	assert_int_equal(usp_framed_begin(resuming->receiver, &flags, &expected), 0);
	assert_int_equal(flags, USP_FRAMED_ANSWER | USP_FRAMED_RESUME);
	assert_int_equal(expected, -1);
	assert_int_equal(usp_framed_see(resuming->receiver, bytes, resuming->have), 0);
	assert_int_equal(usp_framed_offer(resuming->receiver), 0);
	assert_int_equal(usp_framed_offer(resuming->receiver), -EINVAL);
	return NULL;
}

static void a_stream_goes_on_behind_what_the_receiver_has(void **state)
{
	unsigned char bytes[4096];
	struct resuming resuming;
	struct usp_file *sender;
	pthread_t thread;
	int64_t have;
	size_t got;

	(void)state;
	for (size_t has = 0; has <= 3000; has += 1500) {
		for (int differs = 0; differs <= (has > 0); differs++) {
			connect_ends(USP_FRAMED_ANSWER | USP_FRAMED_RESUME, &sender, &resuming.receiver);
			resuming.have = has;
			pthread_create(&thread, NULL, offer, &resuming);
			assert_int_equal(usp_framed_ask(sender, &have), 0);
			pthread_join(thread, NULL);
			assert_int_equal(have, has);
			assert_int_equal(usp_write(sender, "early", 5), -EPIPE);
			pattern_fill(bytes, 0, sizeof(bytes));
			bytes[has / 2] ^= (unsigned char)differs;
			assert_int_equal(usp_framed_see(sender, bytes, has), 0);
			assert_int_equal(usp_framed_agree(sender), differs ? -EBADMSG : 0);
			if (!differs) {
				assert_int_equal(usp_write(sender, bytes + has, 4096 - has), 4096 - has);
				assert_int_equal(usp_file_shutdown(sender), 0);
				assert_int_equal(read_all(resuming.receiver, &got), 0);
				assert_int_equal(got, 4096 - has);
				assert_pattern(came, has, got);
				assert_int_equal(usp_framed_answer(resuming.receiver, NULL), 0);
				assert_int_equal(usp_file_sync(sender), 0);
			}
			usp_file_put(sender);
			usp_file_put(resuming.receiver);
		}
	}
}

static void a_receiver_that_does_not_know_of_it_does_not_resume(void **state)
{
	struct usp_file *sender, *receiver;
	int64_t have;
	size_t got;

	(void)state;
	connect_ends(USP_FRAMED_ANSWER | USP_FRAMED_RESUME, &sender, &receiver);
	assert_int_equal(usp_file_shutdown(sender), 0); /* it sends the header */
	assert_int_equal(read_all(receiver, &got), -EBADMSG);
	assert_int_equal(usp_framed_ask(sender, &have), -EINVAL);
	usp_file_put(sender);
	usp_file_put(receiver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_bytes_come_out_of_the_frames),
		CASE(a_stream_that_is_cut_at_any_byte_is_an_error),
		CASE(any_bit_that_changes_is_an_error),
		CASE(bytes_behind_the_end_mark_are_an_error),
		CASE(headers_that_nobody_should_send_are_refused),
		CASE(frames_that_nobody_should_send_are_refused),
		CASE(a_sentence_of_the_peer_cannot_control_a_terminal),
		CASE(parameters_that_make_no_sense_are_refused),
		CASE(bytes_that_fail_are_not_promised),
		CASE(a_sender_that_is_closed_without_an_end_tells_so),
		CASE(the_account_has_the_bytes_and_not_the_frames_also_when_it_is_closed),
		CASE(a_full_stream_takes_the_rest_later),
		CASE(the_sender_is_done_when_the_receiver_says_so),
		CASE(the_sender_hears_why_the_receiver_failed),
		CASE(a_good_answer_that_comes_too_early_is_refused),
		CASE(a_failure_may_be_told_at_any_time),
		CASE(an_answer_with_more_than_a_count_and_what_comes_behind_one_are_refused),
		CASE(a_sender_without_an_answer_has_failed),
		CASE(a_stream_goes_on_behind_what_the_receiver_has),
		CASE(a_receiver_that_does_not_know_of_it_does_not_resume),
	};

	return cmocka_run_group_tests_name("framed", tests, NULL, NULL);
}
