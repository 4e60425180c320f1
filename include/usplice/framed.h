/* SPDX-License-Identifier: MIT */
/*
 * framed.h - a stream whose cut is noticed: frames with lengths, an end mark with a digest, and an answer of the
 * receiver. docs/framed.md describes the bytes; see usp_framed(3).
 */
#ifndef USPLICE_FRAMED_H
#define USPLICE_FRAMED_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define USP_FRAMED_ANSWER 0x1u /* of a sender: wait at the end for what the receiver answers; below can be read, too */
#define USP_FRAMED_RESUME 0x2u /* of a sender, with ANSWER: the receiver tells first what it has; see usp_framed_ask */

#define USP_FRAMED_WHY_MAX 512 /* bytes of the longest sentence of a peer, and of those of usp_framed_failure */

struct usp_framed_params {
	size_t size;	    /* sizeof(struct usp_framed_params) */
	unsigned flags;	    /* USP_FRAMED_*, of a sender */
	const char *digest; /* of a sender: as in digest:ALG, or "none"; NULL: a fast one. A receiver: NULL */
	int64_t expected;   /* of a sender: the bytes that will come, as far as that is known, else -1. A receiver: 0 */
	uint64_t timeout_ns; /* -ETIMEDOUT where a call of this header waits for the peer longer; 0: no limit */
};

/*
 * Make a file over the stream below: with USP_WRITE in mode a sender, a sink that puts its bytes into frames; with
 * USP_READ a receiver, a source that gives the bytes out of the frames. It owns below; on failure below stays with the
 * caller. params may be NULL for a receiver. Does not block. -EINVAL, -ENOMEM, -EOPNOTSUPP for a digest that this build
 * lacks, and ret_why as in usp_open.
 *
 * A sender writes the end mark when it is shut down (usp_file_shutdown, as a pump does behind the last byte), and
 * usp_file_sync waits for the answer. A sender that is closed without that leaves a stream that its receiver refuses.
 *
 * A receiver gives the end of input only behind a whole stream: all lengths fit, and so does the digest. Else, behind
 * good or unverified bytes: -ENODATA for a stream that was cut, -EREMOTEIO if the sender has failed, -EBADMSG
 * for one that is damaged or not framed. Digests are no proof of who sent the bytes.
 */
USP_EXPORT int usp_framed_open(struct usp_file *below, unsigned mode, const struct usp_framed_params *params,
			       struct usp_file **ret_file, const char **ret_why);

/*
 * Receive the header of a stream, and check it: 0 or -errno as above. *ret_flags are those of the sender, *ret_expected
 * are the bytes that it expects to send, or -1. Blocks. The first read does it otherwise. Before a pump is made over the
 * receiver, so that splice(2) can carry bytes without a digest.
 */
USP_EXPORT int usp_framed_begin(struct usp_file *receiver, unsigned *ret_flags, int64_t *ret_expected);

/*
 * Of a sender with RESUME, before the first byte: send the header, and wait until the receiver tells how many bytes
 * it has. Give the sender the same bytes of its source by usp_framed_see, then compare by usp_framed_agree: 0, or
 * -EBADMSG if they differ. What is written then comes behind them. Blocks.
 */
USP_EXPORT int usp_framed_ask(struct usp_file *sender, int64_t *ret_have);
USP_EXPORT int usp_framed_agree(struct usp_file *sender);

/*
 * Take bytes into the digest that are not sent, because the receiver has them: of a sender after usp_framed_ask, of a
 * receiver before usp_framed_offer. Does not block. -EINVAL elsewhere.
 */
USP_EXPORT int usp_framed_see(struct usp_file *framed, const void *bytes, size_t len);

/* Of a receiver whose sender has the flag RESUME: tell it how many bytes were seen, and their digest. Blocks. */
USP_EXPORT int usp_framed_offer(struct usp_file *receiver);

/*
 * Tell the sender, if it waits for that, how it went: why NULL says that all bytes are where they belong. Call it once,
 * at the end. 0, also if no answer is wanted, or -errno. Blocks, but at most 10 seconds.
 */
USP_EXPORT int usp_framed_answer(struct usp_file *receiver, const char *why);

/* Tell the receiver, if that is possible, why the sender gives up. It is told once. Does not block. */
USP_EXPORT void usp_framed_fail(struct usp_file *sender, const char *why);

/*
 * After such a file gave an error: tell what went wrong in a sentence, which the file owns, or NULL if it is an ordinary error of
 * the stream below. NULL for other files. Does not block.
 */
USP_EXPORT const char *usp_framed_failure(const struct usp_file *framed);

#ifdef __cplusplus
}
#endif
#endif
