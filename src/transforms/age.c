/* SPDX-License-Identifier: MIT */
/*
 * age - decrypt what a source gives, or encrypt it, in the format age-encryption.org/v1.
 *
 *   below ──splice_read──► [pulled] ──► header ──► the key of the payload
 *                             │
 *                             │ a chunk that lies in one buf ──────────────┐
 *                             │ a chunk in several bufs ──► [gathered] ──┐ │
 *                             ▼                                          ▼ ▼
 *                           (one chunk is transformed at a time) ──► out ──► the caller's pipe
 *
 * The payload is a row of chunks of 64 KiB, each with a tag of its own. The nonce of a chunk is its number, and
 * whether it is the last one. So a chunk is transformed when one more byte is known to follow, or the end. Pulls
 * end where a chunk ends: the chunks of a file then lie in one buf each.
 *
 * A chunk is decrypted where it lies if the stage can steal its buf. Several chunks may be in one buf: it is
 * stolen once. The bufs that were given on refer to other parts of the same memory.
 *
 * No byte of a chunk goes on before its tag was checked.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "age/age_head.h"
#include "age/age_payload.h"
#include "base/alloc.h"
#include "base/compiler.h"
#include "splice/file.h"
#include "splice/pipe.h"
#include "splice/stack.h"
#include "transforms/transforms.h"

#define AGE_PULL_CHUNKS 8
#define AGE_FIRST_BYTES ((size_t)4 << 10) /* of the first pull: a header has few more */
#define AGE_PULLED_SLOTS 64
#define AGE_PULLED_SLOT_BYTES ((size_t)1 << 20)

static const char age_in_place[] = "decrypted where it lay";
static const char age_decrypted[] = "decrypted into a fresh folio";
static const char age_encrypted[] = "encrypted into a fresh folio";
static const char age_header_made[] = "the header of age";

struct age {
	bool is_encrypting;
	unsigned flags;	    /* USP_TRANSFORM_* */
	int64_t left;	    /* bytes until the input ends, with USP_TRANSFORM_LENGTH */
	size_t chunk_bytes; /* of a whole chunk, as it comes in */
	struct usp_age_head head;
	struct usp_age_aead *aead; /* NULL before the end of the head */
	uint64_t nr_chunks;	   /* that were transformed */
	struct usp_pipe *pulled;
	size_t queued;		    /* bytes in pulled */
	const void *stolen;	    /* the store of the first buf in pulled, if it is ours alone; else NULL */
	struct usp_folio *gathered; /* the beginning of a chunk, or NULL */
	size_t gathered_len;
	struct usp_buf out; /* a chunk that goes on; without ops there is none */
	const char *reason; /* of out */
	uint64_t consumed;  /* bytes of the input, up to the chunk that is next */
	bool is_ended, is_done;
	int error;	 /* that ended the stage, or 0 */
	const char *why; /* a sentence about it, or NULL */
};

/* --- Chunks ------------------------------------------------------------------------------------------------ */

/* Keep an error for good: bytes that are wrong, or half decrypted, do not get right. */
static int age_fail(struct age *age, int error, const char *why)
{
	age->error = error;
	age->why = why;
	return error;
}

/* Transform a chunk of len bytes at from into memory at to, which may be the same: bytes, or -errno. */
static ssize_t age_transform(struct age *age, const unsigned char *from, size_t len, unsigned char *to)
{
	bool is_last = age->is_ended && age->queued + age->gathered_len == len;
	unsigned char nonce[USP_AGE_NONCE_LEN];
	int ret;

	usp_age_chunk_nonce(age->nr_chunks, is_last, nonce);
	ret = age->is_encrypting ? usp_age_seal(age->aead, nonce, from, len, to)
				 : usp_age_unseal(age->aead, nonce, from, len, to);
	if (ret == 0 && !age->is_encrypting && len == USP_AGE_TAG_LEN && age->nr_chunks)
		ret = -EBADMSG; /* a last chunk without bytes belongs to an empty file only */
	if (ret == -EBADMSG)
		return age_fail(age, ret,
				is_last ? "the last chunk of age was changed, is cut off, or is not the last one"
					: "a chunk of age was changed, or is not the one that belongs here");
	if (ret < 0)
		return age_fail(age, ret, NULL);
	age->nr_chunks++;
	age->consumed += len;
	age->is_done = is_last;
	return (ssize_t)(age->is_encrypting ? len + USP_AGE_TAG_LEN : len - USP_AGE_TAG_LEN);
}

/* Let a chunk go on. Takes the buf, and drops one without bytes. */
static void age_give(struct age *age, struct usp_buf *buf, const char *reason)
{
	if (buf->len) {
		age->out = *buf;
		age->reason = reason;
	} else {
		usp_buf_release(NULL, buf);
	}
}

/* Transform a chunk into a fresh folio: 0 or -errno. */
static int age_to_folio(struct age *age, const unsigned char *from, size_t len)
{
	struct usp_buf own = {.ops = &usp_folio_buf_ops, .store = usp_folio_new(USP_AGE_SEALED_LEN)};
	struct usp_folio *folio = own.store;
	ssize_t ret = folio ? age_transform(age, from, len, folio->base) : -ENOMEM;

	if (ret < 0) {
		if (folio)
			usp_folio_put(folio);
		return (int)ret;
	}
	own.len = (size_t)ret;
	age_give(age, &own, age->is_encrypting ? age_encrypted : age_decrypted);
	return 0;
}

/* Decrypt a chunk of len bytes at the beginning of a buf that is ours: 0 or -errno. */
static int age_in_buf(struct age *age, struct usp_pipe *pulled, const struct usp_buf *buf, size_t len)
{
	struct usp_buf own = *buf;
	unsigned char *bytes = usp_buf_bytes(buf);
	ssize_t ret;

	own.len = len;
	own.flags &= USP_BUF_MAPPED;
	if (!usp_buf_get(pulled, buf, &own))
		return age_to_folio(age, bytes, len);
	ret = age_transform(age, bytes, len, bytes);
	if (ret < 0) {
		usp_buf_release(pulled, &own);
		return (int)ret;
	}
	own.len = (size_t)ret;
	age_give(age, &own, age_in_place);
	return 0;
}

/* Transform what was gathered, all of a chunk: 0 or -errno. */
static int age_gathered(struct age *age)
{
	struct usp_buf own = {.ops = &usp_folio_buf_ops, .store = age->gathered};
	ssize_t ret = age->is_encrypting
			      ? age_to_folio(age, age->gathered->base, age->gathered_len)
			      : age_transform(age, age->gathered->base, age->gathered_len, age->gathered->base);

	if (ret < 0)
		return (int)ret;
	if (age->is_encrypting) {
		age->gathered_len = 0; /* the folio is for the next one */
		return 0;
	}
	own.len = (size_t)ret;
	age->gathered = NULL;
	age->gathered_len = 0;
	age_give(age, &own, age_decrypted);
	return 0;
}

/* Copy bytes to the chunk that is being gathered: how many, or -ENOMEM. */
static ssize_t age_gather(struct age *age, const unsigned char *bytes, size_t len)
{
	len = usp_min(len, age->chunk_bytes - age->gathered_len);
	if (!age->gathered)
		age->gathered = usp_folio_new(USP_AGE_SEALED_LEN);
	if (!age->gathered)
		return -ENOMEM;
	memcpy(age->gathered->base + age->gathered_len, bytes, len);
	age->gathered_len += len;
	age->queued -= len;
	return (ssize_t)len;
}

/* Tell whether it is known if the next chunk is the last one. */
static bool age_is_ready(const struct age *age)
{
	return age->is_ended || age->gathered_len + age->queued > age->chunk_bytes;
}

/* --- The header ---------------------------------------------------------------------------------------------- */

/* Take bytes of the header, and of the nonce: how many, or -errno. */
static ssize_t age_take_header(struct age *age, const unsigned char *bytes, size_t len)
{
	const char *why = NULL;
	ssize_t taken = usp_age_head_take(&age->head, bytes, len, &age->aead, &why);

	if (taken < 0)
		return age_fail(age, (int)taken, why);
	age->consumed += (size_t)taken;
	age->queued -= (size_t)taken;
	return taken;
}

/* Make the header of a file that is encrypted, and let it go on: 0 or -errno. */
static int age_make_header(struct age *age)
{
	struct usp_buf own = {.ops = &usp_folio_buf_ops, .store = usp_folio_new(USP_AGE_HEADER_ROOM)};
	struct usp_folio *folio = own.store;
	ssize_t len = folio ? usp_age_head_make(&age->head, folio->base, &age->aead) : -ENOMEM;

	if (len < 0) {
		if (folio)
			usp_folio_put(folio);
		return age_fail(age, (int)len, NULL);
	}
	own.len = (size_t)len;
	age_give(age, &own, age_header_made);
	return 0;
}

/* --- The input ------------------------------------------------------------------------------------------------ */

/* Transform the chunk at the beginning of a buf: the bytes of it, or -errno. */
static ssize_t age_take_chunk(struct age *age, struct usp_pipe *pulled, struct usp_buf *buf, size_t len)
{
	int ret;

	if (!age->is_encrypting && !age->stolen && usp_buf_try_steal(pulled, buf))
		age->stolen = buf->store;
	ret = age->stolen ? age_in_buf(age, pulled, buf, len) : age_to_folio(age, usp_buf_bytes(buf), len);
	if (ret < 0)
		return ret;
	age->queued -= len;
	return (ssize_t)len;
}

/* Take the next bytes of a buf that was pulled: how many, 0 when a chunk goes on or more is needed, or -errno. */
static ssize_t age_take(struct age *age, struct usp_pipe *pulled, struct usp_buf *buf, size_t len)
{
	size_t chunk = age->chunk_bytes;

	if (!age->aead)
		return age_take_header(age, usp_buf_bytes(buf), len);
	if (age->out.ops)
		return 0;
	if (age->is_ended)
		chunk = usp_min(chunk, age->gathered_len + age->queued);
	if (!age->gathered_len && len >= chunk && age_is_ready(age))
		return age_take_chunk(age, pulled, buf, chunk);
	return age->gathered_len < chunk ? age_gather(age, usp_buf_bytes(buf), len) : 0;
}

static ssize_t age_actor(struct usp_pipe *pulled, struct usp_buf *buf, size_t len, void *arg)
{
	struct age *age = arg;
	ssize_t ret = age_take(age, pulled, buf, len);

	if (ret > 0 && (size_t)ret == buf->len)
		age->stolen = NULL; /* the next buf is another one */
	return ret;
}

/* Return how much to pull: up to the end of a chunk. */
static size_t age_pull_len(const struct age *age)
{
	size_t len = AGE_PULL_CHUNKS * age->chunk_bytes;

	len -= age->aead ? (age->gathered_len + age->queued) % age->chunk_bytes : len - AGE_FIRST_BYTES;
	return age->flags & USP_TRANSFORM_LENGTH ? usp_min(len, (size_t)age->left) : len;
}

/* Pull bufs of the file below, or learn that it has ended: 0 or -errno. */
static int age_pull(struct usp_file *in, unsigned flags)
{
	struct age *age = in->priv;
	size_t len = age_pull_len(age);
	ssize_t ret = len ? usp_stack_pull(in, age->pulled, len, flags) : 0;

	if (ret < 0)
		return (int)ret;
	age->is_ended = ret == 0;
	age->queued += (size_t)ret;
	age->left -= age->flags & USP_TRANSFORM_LENGTH ? ret : 0;
	return 0;
}

/* Tell whether the next thing to do is to pull. */
static bool age_has_to_pull(const struct age *age)
{
	if (age->is_ended || (age->queued && usp_pipe_is_full(age->pulled)))
		return false;
	return !age->queued || (age->aead && !age_is_ready(age));
}

/* The input has ended, and all of it is taken: 0 or -errno. */
static int age_finish(struct age *age)
{
	if (!age->aead)
		return age_fail(age, -EBADMSG, "the header of age is cut off");
	if (!age->gathered_len) { /* an empty input, or an empty payload */
		static const unsigned char nothing[1];

		return age_to_folio(age, nothing, 0);
	}
	return age_gathered(age);
}

/* Work on what was pulled: 0 or -errno. */
static int age_work(struct age *age, unsigned flags)
{
	size_t before = age->queued;
	ssize_t ret;

	if (age->gathered_len == age->chunk_bytes && age_is_ready(age))
		return age_gathered(age);
	ret = usp_splice_from_pipe(age->pulled, age->queued, flags, age_actor, age);
	if (age->error)
		return age->error;
	if (ret < 0)
		return (int)ret;
	return age->queued < before || age->out.ops ? 0 : -EIO; /* the bytes are gone, and that is not the end */
}

/*
 * Go on until a chunk goes on: 1, 0 at the end, or -errno. may_pull: without it -EAGAIN when the file below would
 * have to be asked.
 */
static int age_next(struct usp_file *in, unsigned flags, bool may_pull)
{
	struct age *age = in->priv;
	int ret = age->error;

	while (ret == 0 && !age->out.ops && !age->is_done) {
		if (age->is_encrypting && !age->aead)
			ret = age_make_header(age);
		else if (age_has_to_pull(age))
			ret = may_pull ? age_pull(in, flags) : -EAGAIN;
		else if (age->queued)
			ret = age_work(age, flags);
		else
			ret = age_finish(age);
	}
	return age->out.ops ? 1 : ret;
}

/* --- The hooks ------------------------------------------------------------------------------------------------- */

/* Account for bytes of the chunk that goes on, and take them off. */
static void age_advance(struct usp_file *in, size_t len)
{
	struct age *age = in->priv;

	usp_file_account(in, USP_READ, USP_REWRITTEN, len, age->reason);
	age->out.offset += len;
	age->out.len -= len;
	if (!age->out.len)
		age->out = (struct usp_buf){.ops = NULL};
}

/* Push the next bytes of the chunk that goes on: how many, 0 without room, or -EFAULT. */
static ssize_t age_push(struct usp_file *in, struct usp_pipe *pipe, size_t len)
{
	struct age *age = in->priv;
	struct usp_buf piece = age->out;
	size_t room;

	if (!usp_pipe_room(pipe, &room))
		return 0;
	piece.len = usp_min(usp_min(len, piece.len), usp_min(room, usp_pipe_slot_bytes(pipe)));
	if (piece.len < age->out.len && !usp_buf_get(NULL, &age->out, &piece))
		return -EFAULT;
	usp_pipe_push(pipe, &piece, 1);
	age_advance(in, piece.len);
	return (ssize_t)piece.len;
}

static ssize_t age_splice_read(struct usp_file *in, int64_t *pos, struct usp_pipe *pipe, size_t len, unsigned flags)
{
	size_t done = 0;
	ssize_t ret = 1;

	(void)pos; /* a stream */
	flags = usp_file_blocks(in, flags) ? flags & ~USP_SPLICE_NONBLOCK : flags | USP_SPLICE_NONBLOCK;
	while (done < len && ret > 0) {
		ret = age_next(in, done ? flags | USP_SPLICE_NONBLOCK : flags, !done);
		if (ret > 0)
			ret = age_push(in, pipe, len - done);
		done += ret > 0 ? (size_t)ret : 0;
	}
	return done ? (ssize_t)done : ret; /* an error comes again with the next call */
}

/* Copy the chunk that goes on. The door waits, by poll_fd. */
static ssize_t age_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct age *age = in->priv;
	size_t done = 0;
	ssize_t ret;

	(void)pos;
	if (!to->count)
		return 0;
	ret = age_next(in, flags | USP_SPLICE_NONBLOCK, true);
	if (ret <= 0)
		return ret;
	for (unsigned i = 0; i < to->nr_segs && age->out.ops; i++) {
		struct usp_buf whole = age->out;
		size_t len = usp_min(whole.len, to->iov[i].iov_len);

		memcpy(to->iov[i].iov_base, usp_buf_bytes(&whole), len);
		age_advance(in, len);
		if (!age->out.ops)
			usp_buf_release(NULL, &whole);
		done += len;
	}
	return (ssize_t)done;
}

/* Wait for the file below, or for bytes that were pulled and come late. */
static int age_poll_fd(struct usp_file *file, unsigned side, short *ret_events)
{
	struct age *age = file->priv;
	int fd;

	*ret_events = POLLIN;
	if (age->error || age->is_done || age->out.ops || (age->is_encrypting && !age->aead))
		return -EPERM;
	if (age_has_to_pull(age))
		return usp_file_poll_fd(file->below, side, ret_events);
	return usp_pipe_is_late(age->pulled, &fd, ret_events) ? fd : -EPERM;
}

/* The size is not known before the end. */
static int64_t age_get_size(const struct usp_file *file)
{
	(void)file;
	return -EINVAL;
}

static void age_free(struct age *age)
{
	if (!age)
		return;
	usp_age_head_fini(&age->head);
	usp_age_aead_free(age->aead);
	if (age->out.ops)
		usp_buf_release(NULL, &age->out);
	if (age->gathered)
		usp_folio_put(age->gathered);
	usp_pipe_free(age->pulled);
	usp_free(age);
}

static int age_release(struct usp_file *file)
{
	age_free(file->priv);
	file->priv = NULL;
	return usp_stack_release(file);
}

static const struct usp_file_ops age_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "age",
	.read_iter = age_read_iter,
	.splice_read = age_splice_read,
	.release = age_release,
	.poll_fd = age_poll_fd,
	.get_size = age_get_size,
};

/* --- Opening --------------------------------------------------------------------------------------------------- */

static int age_check_crypto(const char **ret_why)
{
	*ret_why = usp_age_crypto_missing();
	return *ret_why ? -EOPNOTSUPP : 0;
}

static int age_check_decrypt(const char *options, const char **ret_why)
{
	*ret_why = "decrypt:identity or decrypt:passphrase";
	if (strcmp(options, "identity") != 0 && strcmp(options, "passphrase") != 0)
		return -EINVAL;
	return age_check_crypto(ret_why);
}

static int age_check_encrypt(const char *options, const char **ret_why)
{
	struct usp_age_keys keys;
	int ret = age_check_crypto(ret_why);

	if (ret == 0 && strcmp(options, "passphrase") != 0) {
		ret = usp_age_recipients_parse(options, &keys, ret_why);
		if (ret == 0)
			usp_age_keys_fini(&keys);
	}
	return ret;
}

/* Read the keys from where the options say that they are: 0, -EINVAL with a sentence, or -ENOMEM. */
static int age_read_keys(const char *options, const struct usp_transform_params *params, bool is_encrypting,
			 struct usp_age_keys *ret_keys, const char **ret_why)
{
	if (is_encrypting && strcmp(options, "passphrase") != 0)
		return usp_age_recipients_parse(options, ret_keys, ret_why);
	return usp_age_secret_parse(options, params->secret, params->secret_len, ret_keys, ret_why);
}

static int age_new(const struct usp_transform_params *params, bool is_encrypting, struct age **ret_age)
{
	const struct usp_pipe_params pulled = {
		.size = sizeof(pulled), .nr_slots = AGE_PULLED_SLOTS, .slot_bytes = AGE_PULLED_SLOT_BYTES};
	struct age *age = usp_alloc(sizeof(*age));
	int ret;

	*ret_age = age;
	if (!age)
		return -ENOMEM;
	age->is_encrypting = is_encrypting;
	age->chunk_bytes = is_encrypting ? USP_AGE_PLAIN_LEN : USP_AGE_SEALED_LEN;
	age->flags = params->flags;
	age->left = params->length;
	ret = is_encrypting ? 0 : usp_age_head_expect(&age->head);
	return ret < 0 ? ret : usp_pipe_new(&pulled, &age->pulled);
}

static int age_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
		    bool is_encrypting, struct usp_file **ret_file, const char **ret_why)
{
	struct age *age;
	int ret = age_new(params, is_encrypting, &age);

	if (ret == 0)
		ret = age_read_keys(options, params, is_encrypting, &age->head.keys, ret_why);
	if (ret == 0)
		ret = usp_stack_new(&age_ops, below, USP_READ, is_encrypting ? "encrypt:age" : "decrypt:age", age,
				    ret_file);
	if (ret < 0) {
		age_free(age);
		return ret;
	}
	(*ret_file)->traits &= ~(USP_FILE_SEEKABLE | USP_FILE_SHARED);
	return 0;
}

static int age_open_decrypt(const char *options, struct usp_file *below, const struct usp_transform_params *params,
			    struct usp_file **ret_file, const char **ret_why)
{
	return age_open(options, below, params, false, ret_file, ret_why);
}

static int age_open_encrypt(const char *options, struct usp_file *below, const struct usp_transform_params *params,
			    struct usp_file **ret_file, const char **ret_why)
{
	return age_open(options, below, params, true, ret_file, ret_why);
}

/* As usp_transform_failure, of this file alone. */
static bool age_failure(const struct usp_file *file, const char **ret_why, uint64_t *ret_offset)
{
	const struct age *age = file->ops == &age_ops ? file->priv : NULL;

	if (!age || !age->why || !age->error)
		return false;
	*ret_why = age->why;
	*ret_offset = age->consumed;
	return true;
}

const struct usp_transform usp_decrypt_transform = {
	.name = "decrypt", .check = age_check_decrypt, .open = age_open_decrypt, .failure = age_failure};
const struct usp_transform usp_encrypt_transform = {
	.name = "encrypt", .check = age_check_encrypt, .open = age_open_encrypt};
