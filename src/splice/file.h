/* SPDX-License-Identifier: MIT */
/* file - functions about files, for this floor and those above. */
#ifndef USP_SPLICE_FILE_H
#define USP_SPLICE_FILE_H

#include <usplice/endpoint.h>

/* A hook that the table of an older program may end before: the hook, or NULL. */
#define USP_FILE_HOOK(file, hook) ((file)->ops->size > offsetof(struct usp_file_ops, hook) ? (file)->ops->hook : NULL)

/* Tell whether a call with these flags waits for this file. If not, it gives -EAGAIN. */
bool usp_file_blocks(const struct usp_file *file, unsigned flags);

/*
 * Wait until a side of a file may be ready: 0 or -errno (-EINTR too). SO_RCVTIMEO and SO_SNDTIMEO of a
 * socket limit the wait: -EAGAIN then (N3). -EAGAIN also where there is
 * nothing to wait on. A short nap where poll_fd says that the file is ready by now.
 */
int usp_file_wait(struct usp_file *file, unsigned side);

/* After -EAGAIN of a call with these flags: wait as usp_file_wait if the file blocks, else -EAGAIN. Hold no lock. */
int usp_file_await(struct usp_file *file, unsigned side, unsigned flags);

/* Call read_iter or write_iter as the door does, but without its wait: for a file that lies below another one. */
ssize_t usp_file_try_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags);
ssize_t usp_file_try_write_iter(struct usp_file *out, const struct usp_iter *from, int64_t *pos, unsigned flags);

/* Return the file whose hooks carry the bytes of a side: that below, with USP_FILE_SIDE_BELOW. */
static inline struct usp_file *usp_file_carrier(struct usp_file *file)
{
	return file->traits & USP_FILE_SIDE_BELOW ? file->below : file;
}

/* Tell whether *pos is an offset for the hooks of a file that is read. */
static inline bool usp_file_has_pos(const struct usp_file *file)
{
	return file->traits & (USP_FILE_SEEKABLE | USP_FILE_HAS_POS);
}

/* Tell whether pos is the offset that the file shares. Then calls without an offset move it, and *pos only follows. */
static inline bool usp_file_shares_pos(const struct usp_file *file, const int64_t *pos)
{
	return pos == &file->pos && file->traits & USP_FILE_SHARED && usp_file_has_pos(file);
}

/* Go on behind the end of what a file gives, as the hooks next and end: 1, 0 at the real end, or -errno. */
int usp_file_next(struct usp_file *file);

/*
 * Move the shared offset of a source back over the last len bytes that it gave and that nobody used, for other users of
 * the descriptor. A stage that only looks at bytes passes this on to the file below. Nothing is done where the offset is
 * not shared, or others have moved it meanwhile.
 */
void usp_file_unread(struct usp_file *source, uint64_t len);

/* Cut len to what one splice may offer a sink: one splice is one datagram, and a longer one is an error. */
size_t usp_file_offer(const struct usp_file *out, size_t len);

/*
 * Take len bytes back from the account of a side: they were lent, and turned out to be missing. Those that
 * were read for it go first.
 */
void usp_file_unaccount(struct usp_file *file, unsigned side, size_t len);

/* Count len bytes as rewritten that a helper has just counted as copied. */
void usp_file_reaccount(struct usp_file *file, unsigned side, size_t len, const char *reason);

/* Take the account of a side since the last call, and reset it to 0. ret_hop->lane is not set. */
void usp_file_take_account(struct usp_file *file, unsigned side, struct usp_hop *ret_hop);

/*
 * Split delivered bytes into the USP_NR_WAYS ways. sums has the bytes by way, added up over the hops of
 * the route. A byte counts as copied if any hop may have copied it. So copied is an upper bound where
 * hops went several ways: the ledger does not record which bytes those were.
 */
void usp_ways_judge(uint64_t delivered, const uint64_t sums[USP_NR_WAYS], uint64_t ret_ways[USP_NR_WAYS]);

/* Check a position before bytes move (S10): 0 or -EINVAL. */
int usp_file_verify_area(int64_t pos, size_t len);

#endif
