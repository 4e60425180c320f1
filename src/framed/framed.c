/* SPDX-License-Identifier: MIT */
/* framed - the doors: make senders and receivers, and what both tell each other besides the bytes. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/atomic.h"
#include "base/compiler.h"
#include "base/sized.h"
#include "base/sys.h"
#include "base/wait.h"
#include "framed/inside.h"
#include "splice/file.h"

#define FRAMED_ANSWER_NS ((uint64_t)10000000000) /* a short answer fits into a connection that is alive */

static struct framed *framed_of(const struct usp_file *file, const struct usp_file_ops *ops)
{
	return file->ops == ops ? file->priv : NULL;
}

/* --- Making ---------------------------------------------------------------------------------------------------------- */

/* Find the digest for a sender: 0 or -errno. Without a wish: the fastest one that this build has. */
static int framed_choose(const char *name, const struct usp_hash_ops **ret_digest, const char **ret_why)
{
	static const struct usp_hash_ops *const wishes[] = {&usp_hash_xxh128, &usp_hash_crc32c};
	unsigned i = 0;

	*ret_digest = NULL;
	if (name && strcmp(name, "none") == 0)
		return 0;
	if (!name) {
		while (wishes[i]->missing && wishes[i]->missing())
			i++;
		*ret_digest = wishes[i];
		return 0;
	}
	*ret_digest = usp_hash_named(name, strlen(name));
	if (!*ret_digest) {
		*ret_why = "there is no such digest";
		return -EINVAL;
	}
	*ret_why = (*ret_digest)->missing ? (*ret_digest)->missing() : NULL;
	return *ret_why ? -EOPNOTSUPP : 0;
}

/* Prepare a sender: 0 or -errno. */
static int framed_init_sender(struct framed *framed, const struct usp_framed_params *params,
			      const struct usp_file *below, const char **ret_why)
{
	bool resumes = params->flags & USP_FRAMED_RESUME, asks = params->flags & USP_FRAMED_ANSWER;
	int ret = framed_choose(params->digest, &framed->digest, ret_why);

	if (ret < 0)
		return ret;
	if (params->flags & ~(USP_FRAMED_ANSWER | USP_FRAMED_RESUME) || (resumes && (!asks || !framed->digest)) ||
	    (asks && !(below->mode & USP_READ)) || params->expected < -1)
		return -EINVAL;
	framed->flags = params->flags;
	framed->expected = params->expected < 0 ? FRAMED_UNKNOWN : (uint64_t)params->expected;
	if (framed->digest)
		framed->state = framed->digest->open();
	if (resumes)
		framed->seen = framed->digest->open();
	return (framed->digest && !framed->state) || (resumes && !framed->seen) ? -ENOMEM : 0;
}

/* A host that vanished sends no end: look after a minute without a byte whether it is there, and six times again. */
static void framed_set_socket(int fd)
{
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_NODELAY, 1); /* what is short goes at once */
	usp_sys_setsockopt_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
	usp_sys_setsockopt_int(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

/* What is over below waits for it, so below itself never does. */
static void framed_set_traits(struct usp_file *file)
{
	struct usp_file *below = file->below;

	atomic_fetch_or(usp_u32(&below->flags), USP_NONBLOCK);
	if (below->traits & USP_FILE_SOCKET && !(below->traits & USP_FILE_SHARED))
		framed_set_socket(below->fd);
	file->traits = 0;
	if (!(file->mode & USP_WRITE))
		return;
	file->traits = USP_FILE_SOCKET; /* a pump waits for its end */
	framed_lend_side(file);
}

int usp_framed_open(struct usp_file *below, unsigned mode, const struct usp_framed_params *params,
		    struct usp_file **ret_file, const char **ret_why)
{
	const struct usp_file_ops *ops = mode == USP_WRITE ? &usp_framed_sender_ops : &usp_framed_receiver_ops;
	struct usp_framed_params own = {.expected = 0};
	struct framed *framed = usp_alloc(sizeof(*framed));
	const char *why = NULL;
	int ret = framed ? 0 : -ENOMEM;

	if (ret == 0 && params)
		ret = usp_sized_take(&own, sizeof(own), params);
	if (ret == 0 && mode == USP_WRITE)
		ret = params ? framed_init_sender(framed, &own, below, &why) : -EINVAL;
	else if (ret == 0 && (mode != USP_READ || own.flags || own.digest || own.expected))
		ret = -EINVAL;
	if (ret == 0) {
		framed->timeout_ns = own.timeout_ns;
		framed->expected = mode == USP_READ ? FRAMED_UNKNOWN : framed->expected;
		ret = usp_stack_new(ops, below, mode, mode == USP_WRITE ? usp_file_spec(below) : "frames", framed,
				    ret_file);
	}
	if (ret_why)
		*ret_why = ret < 0 ? why : NULL;
	if (ret < 0) {
		framed_free(framed);
		return ret;
	}
	framed_set_traits(*ret_file);
	return 0;
}

/* --- Before the bytes -------------------------------------------------------------------------------------------------- */

static uint64_t framed_moment(const struct framed *framed)
{
	return usp_earlier(USP_NEVER, usp_sys_now_ns(), framed->timeout_ns);
}

/* Repeat a step that may say -EAGAIN, until the moment. */
static int framed_repeat(struct usp_file *file, int (*step)(struct usp_file *file), unsigned side, uint64_t moment_ns)
{
	int ret;

	while ((ret = step(file)) == -EAGAIN) {
		ret = framed_await(file, side, moment_ns);
		if (ret < 0)
			break;
	}
	return ret;
}

static int framed_step_flush(struct usp_file *file)
{
	return framed_flush(file, 0);
}

int usp_framed_begin(struct usp_file *receiver, unsigned *ret_flags, int64_t *ret_expected)
{
	struct framed *framed = framed_of(receiver, &usp_framed_receiver_ops);
	int ret = framed ? framed_repeat(receiver, framed_receiver_begin, USP_READ, framed_moment(framed)) : -EINVAL;

	if (ret < 0)
		return ret;
	if (!framed->digest)
		framed_lend_side(receiver);
	*ret_flags = framed->flags;
	*ret_expected = framed->expected > INT64_MAX ? -1 : (int64_t)framed->expected;
	return 0;
}

/* Take in what the receiver has: 0 or -errno. */
static int framed_take_have(struct framed *framed)
{
	size_t len = framed->digest->len;

	if (framed->type == FRAMED_FAIL)
		return framed_told(framed, "the receiver failed");
	if (framed->type != FRAMED_HAVE || framed->control_len != sizeof(uint64_t) + len + FRAMED_CRC_LEN)
		return framed_failed(framed, -EBADMSG, "the receiver answers with a frame that does not belong here");
	framed->have = framed_get_count(framed->in.base);
	memcpy(framed->have_digest, framed->in.base + sizeof(uint64_t), len);
	framed_drop(framed);
	return framed->have > INT64_MAX ? framed_failed(framed, -EBADMSG, "a frame is damaged") : 0;
}

int usp_framed_ask(struct usp_file *sender, int64_t *ret_have)
{
	struct framed *framed = framed_of(sender, &usp_framed_sender_ops);
	uint64_t moment_ns;
	int ret = framed && framed->seen && framed->stage == FRAMED_NEW ? 0 : -EINVAL;

	if (ret < 0)
		return ret;
	moment_ns = framed_moment(framed);
	framed_sender_begin(framed);
	framed->is_asking = true;
	ret = framed_repeat(sender, framed_step_flush, USP_WRITE, moment_ns);
	if (ret == 0)
		ret = framed_repeat(sender, framed_next, USP_READ, moment_ns);
	if (ret == -ENODATA || ret == -ECONNRESET)
		ret = framed_failed(framed, -ECONNRESET, "the receiver ended before it told what it has");
	if (ret == 0)
		ret = framed_take_have(framed);
	if (ret == 0) {
		framed->was_told = true;
		*ret_have = (int64_t)framed->have;
	}
	return ret;
}

int usp_framed_see(struct usp_file *file, const void *bytes, size_t len)
{
	struct framed *framed = framed_of(file, &usp_framed_sender_ops);

	if (!framed)
		framed = framed_of(file, &usp_framed_receiver_ops);
	if (!framed || !framed->seen || framed->stage != FRAMED_FLOWS)
		return -EINVAL;
	framed->digest->update(framed->seen, bytes, len);
	framed_hash(framed, bytes, len);
	framed->total += len;
	return 0;
}

/* Finish the digest of what was seen. */
static void framed_finish_seen(struct framed *framed, unsigned char *ret_digest)
{
	framed->digest->finish(framed->seen, ret_digest);
	framed->digest->free(framed->seen);
	framed->seen = NULL;
}

int usp_framed_agree(struct usp_file *sender)
{
	struct framed *framed = framed_of(sender, &usp_framed_sender_ops);
	unsigned char digest[USP_HASH_LEN_MAX];

	if (!framed || !framed->was_told || !framed->seen || framed->error)
		return -EINVAL;
	framed_finish_seen(framed, digest);
	framed->is_asking = false;
	return framed->total == framed->have && memcmp(digest, framed->have_digest, framed->digest->len) == 0
		       ? 0
		       : -EBADMSG;
}

int usp_framed_offer(struct usp_file *receiver)
{
	struct framed *framed = framed_of(receiver, &usp_framed_receiver_ops);
	unsigned char digest[USP_HASH_LEN_MAX];

	if (!framed || !framed->seen || framed->stage != FRAMED_FLOWS || framed->error)
		return -EINVAL;
	framed_finish_seen(framed, digest);
	framed_put_count(&framed->out, FRAMED_HAVE, framed->total, digest, framed->digest->len);
	return framed_repeat(receiver, framed_step_flush, USP_WRITE, framed_moment(framed));
}

/* --- How it went --------------------------------------------------------------------------------------------------------- */

int usp_framed_answer(struct usp_file *receiver, const char *why)
{
	struct framed *framed = framed_of(receiver, &usp_framed_receiver_ops);

	if (!framed || framed->stage == FRAMED_NEW || !(framed->flags & USP_FRAMED_ANSWER))
		return framed ? 0 : -EINVAL;
	if (!why && framed->stage != FRAMED_TOLD)
		return -EINVAL;
	if (why)
		framed_put_text(&framed->out, FRAMED_FAIL, why);
	else
		framed_put_count(&framed->out, FRAMED_DONE, framed->total, NULL, 0);
	framed->flags &= ~USP_FRAMED_ANSWER;
	return framed_repeat(receiver, framed_step_flush, USP_WRITE, usp_sys_now_ns() + FRAMED_ANSWER_NS);
}

void usp_framed_fail(struct usp_file *sender, const char *why)
{
	if (framed_of(sender, &usp_framed_sender_ops))
		framed_sender_give_up(sender, why);
}

const char *usp_framed_failure(const struct usp_file *file)
{
	const struct framed *framed = framed_of(file, &usp_framed_sender_ops);

	if (!framed)
		framed = framed_of(file, &usp_framed_receiver_ops);
	return framed && framed->why[0] ? framed->why : NULL;
}
