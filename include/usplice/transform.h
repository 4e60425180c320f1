/* SPDX-License-Identifier: MIT */
/*
 * transform.h - transforms: stages that look at the bytes of a source, or rewrite them, on their way into the
 * pipe. What stands behind the pipe, such as a fan-out, pays for it once. See usp_transform(3).
 */
#ifndef USPLICE_TRANSFORM_H
#define USPLICE_TRANSFORM_H

#include <usplice.h>

#ifdef __cplusplus
extern "C" {
#endif

#define USP_TRANSFORM_LENGTH 0x1u /* the input ends after params.length bytes, or at its own end before that */
#define USP_TRANSFORM_INLINE 0x2u /* do all work in the thread of the caller */
#define USP_TRANSFORM_THREAD \
	0x4u /* work in a thread of the stage from the first byte on; without both: where that pays */

#define USP_TRANSFORM_SEEKABLE 0x8u /* give a file with positions and a size, or -ESPIPE; without the others */

struct usp_transform_params {
	size_t size;	    /* sizeof(struct usp_transform_params) */
	unsigned flags;	    /* USP_TRANSFORM_* */
	int64_t length;	    /* with LENGTH: the bytes of the input, 0 too; else 0 */
	const void *secret; /* identities or a passphrase, for the specs that need them; else NULL. Copied. */
	size_t secret_len;
	size_t budget; /* with SEEKABLE: most bytes that are kept, at least 512 KiB; 0: 64 MiB to 256 MiB; else 0 */
};

/*
 * Make a file that gives the bytes of the file below through a transform. spec names the transform and its
 * options:
 *
 *   digest:ALG[:HEX][,ALG[:HEX]...]   compute checksums; with HEX compare them
 *   decompress                        decompress zstd, gzip, lz4 or xz, whichever it is
 *   zstd[:LEVEL], gzip[:LEVEL], lz4[:LEVEL], xz[:LEVEL]   compress
 *   decrypt:identity | decrypt:passphrase              read a file of age, by params.secret
 *   encrypt:age1...[,age1...] | encrypt:passphrase     make a file of age
 *   buffer:SIZE[,start=P%][,low=P%][,refill=P%][,file-size=SIZE,file=PATH]   read ahead
 *   blocks:FILE                       verify each block of the bytes by the list of checksums in FILE
 *   rescue:zero[:STEP] | rescue:skip[:STEP]   go on behind what cannot be read, with zeros for it or without it,
 *                                     in steps of STEP bytes: a power of two from 512 to 1048576, 4096 without it
 *   sums:ALG[:SIZE]                   compute such a list, of blocks of SIZE bytes: a power of two from 4096
 *                                     to 1048576, 65536 without it
 *
 * The algorithms are sha256, sha512, blake2b (of 512 bits), crc32c, xxh64, xxh3 (of 64 bits) and xxh128.
 *
 * The new file is a stream, but for rescue and SEEKABLE. It owns below, also its position, and closes it. On failure below
 * stays with the caller. params may be NULL. Does not block, but for blocks and SEEKABLE. -EINVAL for a spec that does not parse or a file that cannot be
 * read, -EOPNOTSUPP for what this build lacks, -ENOMEM. ret_why is as in usp_open.
 *
 * A digest passes bufs on as they are, by reference. What the kernel holds is read into memory first, so that
 * all get the bytes that were hashed. Hashing runs behind, in a thread, and holds the flow back when it is too
 * slow. Before it tells the end of input the stage waits for the hashes. If one is not the expected one, it
 * gives -EBADMSG instead of the end: a pump then fails before it ends its sinks.
 *
 * decompress and the compressing ones make new bytes. They read ahead, so how far below has been read tells nothing.
 * Input that is damaged, cut off or followed by something else gives -EBADMSG, behind good bytes; input
 * of no known format -EINVAL, before any byte. -EFBIG for what needs too much memory. See usp_transform_failure.
 *
 * The secret of decrypt:identity is the text of an identity file: lines of AGE-SECRET-KEY-1..., and comments. A
 * passphrase may have a newline behind it. Wipe it after the call; the stage wipes its own copy. decrypt passes a
 * chunk of 64 KiB on when its tag has been checked. -EBADMSG for input that is no file of age, was changed, or
 * ends too early; -ENOKEY if none of the keys fits. See usp_transform_failure.
 * blocks lends bufs whose confirm verifies the block that they are in, once for all sinks. So a bad block goes
 * nowhere: confirm gives -EBADMSG, and a pump ends with it as the error of the source, at the first byte of that
 * block, after all before it. An input that is shorter or longer than the list says ends with -EBADMSG. A block
 * goes by reference where one buf of the file below covers it; else it is copied. FILE is read at once, in a call
 * that may block; a malformed one is -EINVAL. The list takes the memory of its checksums.
 *
 * buffer reads ahead, in a thread that begins with the first call, until it holds SIZE bytes, at least 64 KiB. With start it gives nothing
 * until it is filled to that part of it, it is full, or the input has ended; and again when it has fallen to low,
 * which is 0% without it. With refill the thread, once all is full, reads on when it has fallen to that. What does not
 * fit into SIZE bytes of memory goes into a file of at most file-size bytes, without a name, in the directory PATH or
 * at PATH, which must not exist. Where that file system is full the buffer is smaller: usp_buffer_status. An error of the
 * input comes behind all bytes before it. What was not given when the stage is closed goes back, as far as below is a
 * file whose offset is shared. Bytes stay as they are where below lends them; else they are read into memory once.
 * -ENOMEM if it can be known that SIZE does not fit; -EINVAL with INLINE.
 *
 * sums passes bytes on in the same way, and waits for those that come late. usp_sums_write writes the list.
 *
 * With SEEKABLE decompress and decrypt give a file with positions and a size, which decodes only what is read. The
 * format must tell where its pieces are: the table of zstd's seekable format, or frames of zstd that tell their lengths;
 * BGZF; the index of xz; the chunks of age. below needs positions and a size. Opening reads the table, and blocks. -ESPIPE
 * and ret_why without a table or positions, -EFBIG for pieces of more than 32 MiB. Files over the same object, budget and
 * key share what was decoded; below is closed when the last of them is. A damaged piece gives -EBADMSG, and none of its
 * bytes. -ESTALE if below has changed, and is of no use any more.
 *
 * The stage waits, or not, by its own USP_NONBLOCK, and for a socket below by that of the socket; a pump sets
 * both. In a child of fork(2) a stage with a thread gives -ESTALE.
 */
USP_EXPORT int usp_transform_open(const char *spec, struct usp_file *below, const struct usp_transform_params *params,
				  struct usp_file **ret_file, const char **ret_why);

/* Tell whether usp_transform_open would accept a spec: 0, -EINVAL or -EOPNOTSUPP, and ret_why. Reads no file. */
USP_EXPORT int usp_transform_check(const char *spec, const char **ret_why);

/*
 * After a stage gave an error, tell whether it, or one below it, says more: a static sentence, and the offset in the
 * input of that stage. Does not block.
 */
USP_EXPORT bool usp_transform_failure(const struct usp_file *stage, const char **ret_why, uint64_t *ret_offset);

/* Return the stage that usp_transform_failure tells of, or NULL. It stays with the stage above it. Does not block. */
USP_EXPORT const struct usp_file *usp_transform_failed(const struct usp_file *stage);

/*
 * Return a range that a stage of rescue could not read: the index counts them in the order of the input. -EINVAL if there
 * is none. At most 65536 are listed. Does not block. rescue needs a file with positions and a size, whose offset
 * nobody shares, and gives one with positions. It reads into memory.
 */
USP_EXPORT int usp_rescue_range(const struct usp_file *stage, unsigned index, int64_t *ret_off, uint64_t *ret_len);

/* How full a buffer is: plain values. */
struct usp_buffer_status {
	size_t size;	     /* sizeof(struct usp_buffer_status) */
	uint64_t capacity;   /* of memory and file */
	uint64_t bytes;	     /* in it now */
	uint64_t most;	     /* that were in it at a time */
	uint64_t file_bytes; /* of bytes, those in the file */
	uint64_t file_most;
	uint64_t nr_empty; /* times that it ran empty, or fell to low, before the end: the source is the slow one */
	uint64_t nr_full;  /* times that nothing more fitted: what is behind it is the slow one */
	int file_error;	   /* why the file takes less than was said, a negative errno value; or 0 */
	bool is_paused;	   /* nothing goes on until it is filled to start */
};

/* Tell how full a stage of buffer is. -EINVAL for another file. Does not block; also while bytes move. */
USP_EXPORT int usp_buffer_status(const struct usp_file *stage, struct usp_buffer_status *ret_status);

struct usp_digest_result {
	size_t size;	       /* sizeof(struct usp_digest_result) */
	const char *algorithm; /* static */
	const char *hex;       /* lower case; owned by the stage */
	const char *expected;  /* lower case, or NULL; owned by the stage */
	bool is_expected;      /* there is no other expectation than this */
};

/*
 * Return the digest of this index, in the order of the spec, after the stage has told the end of input or
 * -EBADMSG. -EAGAIN before that, -EINVAL if there is none. Does not block. Valid until the stage is closed.
 */
USP_EXPORT int usp_digest_result(const struct usp_file *stage, unsigned index, struct usp_digest_result *ret_result);

/*
 * Write the list of a stage of sums to a descriptor, after the stage has told the end of input, or has given
 * params.length bytes; blocks:FILE reads it. 0, -EAGAIN before that, -EINVAL for another file, or -errno of write(2). Blocks.
 */
USP_EXPORT int usp_sums_write(const struct usp_file *stage, int fd);

#ifdef __cplusplus
}
#endif
#endif
