/* SPDX-License-Identifier: MIT */
/*
 * test_fault_framed - bytes go in frames from one end of a connection to the other with everything failing in turn: a
 * receiver that is content has all of them, and a sender that is content has such a receiver.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <usplice/endpoint.h>
#include <usplice/framed.h>

#include "base/compiler.h"
#include "fault.h"
#include "support.h"

#define FRAMED_LEN ((size_t)100001)
#define FRAMED_HAS ((size_t)5000) /* what the receiver has in a run that goes on */
#define FRAMED_TURNS 60000

static unsigned char plain[FRAMED_LEN], came[FRAMED_LEN + 1];

/* One end: its file, the one at the other end of its pump, and how it went. */
struct framed_end {
	struct usp_file *file, *memory;
	struct usp_pump *pump;
	int result;
};

struct framed_case {
	const char *digest;
};

/* Open one end over a socket, which it takes in any case: 0 or -errno. */
static int framed_open(struct framed_end *end, int fd, unsigned mode, const struct usp_framed_params *params)
{
	struct usp_file *below;
	int ret = usp_open_fd(fd, USP_READ | USP_WRITE | USP_EXCLUSIVE, "end", &below);

	if (ret < 0) {
		close(fd);
		return ret;
	}
	ret = usp_framed_open(below, mode, params, &end->file, NULL);
	if (ret < 0)
		usp_file_put(below);
	return ret;
}

/* Make the pump of an end: 0 or -errno. */
static int framed_pump(struct framed_end *end, struct usp_file *from, struct usp_file *to)
{
	int ret = usp_pump_new(from, NULL, &end->pump);

	return ret == 0 ? usp_pump_add_sink(end->pump, to) : ret;
}

static void framed_close(struct framed_end *end)
{
	usp_pump_free(end->pump);
	usp_file_put(end->memory);
	usp_file_put(end->file);
	*end = (struct framed_end){.result = end->result};
}

static void framed_step(struct framed_end *end)
{
	struct usp_pump_wait wait = {.size = sizeof(wait)};

	end->result = usp_pump_step(end->pump, &wait);
}

static int framed_open_ends(struct framed_end *sender, struct framed_end *receiver, const struct framed_case *which)
{
	const struct usp_framed_params params = {
		.size = sizeof(params), .flags = USP_FRAMED_ANSWER, .digest = which->digest, .expected = FRAMED_LEN};
	int fds[2], ret;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	ret = framed_open(sender, fds[0], USP_WRITE, &params);
	if (ret < 0) {
		close(fds[1]);
		return ret;
	}
	ret = framed_open(receiver, fds[1], USP_READ, NULL);
	if (ret == 0)
		ret = usp_open_memory(plain, FRAMED_LEN, USP_READ, NULL, NULL, &sender->memory);
	if (ret == 0)
		ret = usp_open_memory(came, sizeof(came), USP_WRITE, NULL, NULL, &receiver->memory);
	if (ret == 0)
		ret = framed_pump(sender, sender->memory, sender->file);
	return ret == 0 ? framed_pump(receiver, receiver->file, receiver->memory) : ret;
}

/* Run both pumps in turns until both have ended: how many bytes came. */
static size_t framed_run_ends(struct framed_end *sender, struct framed_end *receiver)
{
	size_t len = 0;

	for (unsigned i = 0; i < FRAMED_TURNS && (sender->pump || receiver->pump); i++) {
		if (sender->pump)
			framed_step(sender);
		if (sender->pump && sender->result != -EAGAIN)
			framed_close(sender);
		if (receiver->pump)
			framed_step(receiver);
		if (receiver->pump && receiver->result != -EAGAIN) {
			len = (size_t)usp_file_seek(receiver->memory, 0, SEEK_CUR);
			usp_framed_answer(receiver->file, receiver->result == 0 ? NULL : "failed");
			framed_close(receiver);
		}
		poll(NULL, 0, i > 100);
	}
	fault_check(!sender->pump && !receiver->pump);
	return len;
}

static void framed_run(const void *arg)
{
	struct framed_end sender = {.result = -EAGAIN}, receiver = {.result = -EAGAIN};
	size_t len = 0;
	int ret;

	pattern_fill(plain, 0, FRAMED_LEN);
	memset(came, 0, sizeof(came));
	fault_arm();
	ret = framed_open_ends(&sender, &receiver, arg);
	if (ret == 0)
		len = framed_run_ends(&sender, &receiver);
	framed_close(&sender);
	framed_close(&receiver);
	fault_disarm();
	fault_check((ret == 0 && sender.result == 0 && receiver.result == 0) || fault_hit().has_fired);
	fault_check(receiver.result != 0 || ret < 0 || len == FRAMED_LEN);
	fault_check(sender.result != 0 || ret < 0 || receiver.result == 0);
	fault_check(len <= FRAMED_LEN && pattern_is(came, 0, len));
}

/* Tell each other what the receiver has, in one thread: what one end says fits into the socket. */
static void framed_agree(const void *arg)
{
	const struct usp_framed_params params = {.size = sizeof(params),
						 .flags = USP_FRAMED_ANSWER | USP_FRAMED_RESUME,
						 .digest = "crc32c",
						 .expected = -1,
						 .timeout_ns = 1};
	struct framed_end sender = {.result = -EAGAIN}, receiver = {.result = -EAGAIN};
	int64_t have = -1, expected;
	unsigned flags;
	int fds[2], ret, told = -1, agreed = -1;

	(void)arg;
	pattern_fill(plain, 0, FRAMED_LEN);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		abort();
	fault_arm();
	ret = framed_open(&sender, fds[0], USP_WRITE, &params);
	if (ret == 0)
		ret = framed_open(&receiver, fds[1], USP_READ,
				  &(struct usp_framed_params){.size = sizeof(params), .timeout_ns = 1});
	else
		close(fds[1]);
	if (ret == 0) {
		ret = usp_framed_ask(sender.file, &have); /* the header goes, and no answer comes in time */
		fault_check(ret < 0);
		if (usp_framed_begin(receiver.file, &flags, &expected) == 0 &&
		    usp_framed_see(receiver.file, plain, FRAMED_HAS) == 0)
			told = usp_framed_offer(receiver.file);
		fault_check(told == 0 || fault_hit().has_fired);
		agreed = usp_framed_agree(sender.file); /* what it has to see is not known */
		fault_check(agreed < 0);
	}
	framed_close(&sender);
	framed_close(&receiver);
	fault_disarm();
}

int main(void)
{
	static const struct framed_case with = {.digest = "crc32c"}, without = {.digest = "none"};
	static const struct fault_scenario scenarios[] = {
		{"frames_with_a_digest", framed_run, &with},
		{"frames_without_one", framed_run, &without},
		{"what_the_receiver_has", framed_agree, NULL},
	};

	return fault_main(scenarios, usp_array_len(scenarios));
}
