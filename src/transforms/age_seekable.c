/* SPDX-License-Identifier: MIT */
/*
 * age_seekable - decrypt a file of age with positions: only the chunks that are read are decrypted.
 *
 * Chunk n has the plain bytes from n times 64 KiB on, and stands behind the header at n times 64 KiB and a tag. So the
 * size of the file tells that of the plain bytes, if the last chunk is the last one: that is verified first. A folio of
 * the mapping has whole chunks.
 *
 * Files share what was decrypted only if they have the same key of the payload, which each open finds by its own secret.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "age/age_payload.h"
#include "base/alloc.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "splice/filemap_source.h"
#include "transforms/transforms.h"

#define CHUNKS_THREADS_MAX 16
#define CHUNKS_BUDGET_MIN ((size_t)512 << 10)
#define CHUNKS_AT_ONCE 33 /* a folio of 2 MiB, and a rest */
#define CHUNKS_HEADER_FIRST ((size_t)4 << 10)

static const char chunk_is_wrong[] = "a chunk of age was changed, or is not the one that belongs here";
static const char last_is_wrong[] = "the last chunk of age was changed, is cut off, or is not the last one";

/* Where the chunks are, in one state of the file below. */
struct chunks {
	struct usp_mapping_state below;
	int64_t off;	 /* of the first one */
	int64_t nr;	 /* at least 1 */
	size_t last_len; /* bytes of the last one, with its tag */
};

/* The key of its source is that of the payload. */
struct chunks_source {
	struct usp_filemap_source source; /* first */
	pthread_mutex_t lock;
	struct chunks chunks;
};

/* --- Chunks -------------------------------------------------------------------------------------------------- */

static int64_t chunks_plain_len(const struct chunks *chunks)
{
	return (chunks->nr - 1) * (int64_t)USP_AGE_PLAIN_LEN + (int64_t)chunks->last_len - USP_AGE_TAG_LEN;
}

static size_t chunk_len(const struct chunks *chunks, int64_t nr)
{
	return nr == chunks->nr - 1 ? chunks->last_len : USP_AGE_SEALED_LEN;
}

static int64_t chunk_off(const struct chunks *chunks, int64_t nr)
{
	return chunks->off + nr * (int64_t)USP_AGE_SEALED_LEN;
}

/* Find the chunks behind a header that ends at off: 0 or -EBADMSG. A last chunk without bytes is the only one. */
static int chunks_init(struct chunks *chunks, const struct usp_mapping_state *below, int64_t off)
{
	const int64_t sealed = (int64_t)USP_AGE_SEALED_LEN;
	int64_t len = below->bytes - off;

	if (len < USP_AGE_TAG_LEN)
		return -EBADMSG;
	*chunks = (struct chunks){.below = *below, .off = off, .nr = (len + sealed - 1) / sealed};
	chunks->last_len = (size_t)(len - (chunks->nr - 1) * sealed);
	return chunks->last_len < USP_AGE_TAG_LEN + (chunks->nr > 1) ? -EBADMSG : 0;
}

/* Decrypt a chunk into memory for its plain bytes: 0 or -errno. */
static int chunk_unseal(struct usp_age_aead *aead, const struct chunks *chunks, int64_t nr, const unsigned char *from,
			unsigned char *to)
{
	unsigned char nonce[USP_AGE_NONCE_LEN];

	usp_age_chunk_nonce((uint64_t)nr, nr == chunks->nr - 1, nonce);
	return usp_age_unseal(aead, nonce, from, chunk_len(chunks, nr), to);
}

/* Verify that the last chunk is the last one: 0, -EBADMSG or -errno. */
static int chunks_verify(struct usp_file *below, const struct chunks *chunks, const unsigned char *key)
{
	struct usp_folio *folio = usp_folio_new(USP_AGE_SEALED_LEN);
	struct usp_age_aead *aead = NULL;
	int64_t last = chunks->nr - 1;
	int ret = folio ? usp_age_aead_new(key, false, &aead) : -ENOMEM;

	if (ret == 0)
		ret = usp_filemap_below_read(below, folio->base, chunks->last_len, chunk_off(chunks, last));
	if (ret == 0)
		ret = chunk_unseal(aead, chunks, last, folio->base, folio->base);
	usp_age_aead_free(aead);
	if (folio)
		usp_folio_put(folio);
	return ret == -ENODATA ? -EBADMSG : ret;
}

/* --- The header ---------------------------------------------------------------------------------------------- */

/* A header, as far as it was read. */
struct chunks_header {
	char *text;
	size_t len;
	struct usp_age_header parsed;
};

/* Read the header, and the nonce behind it: the bytes of both, or -errno with a sentence. */
static ssize_t header_read(struct usp_file *below, int64_t size, struct chunks_header *header, const char **ret_why)
{
	size_t most = usp_min(USP_AGE_HEADER_ROOM, (size_t)size);
	ssize_t len = 0;

	for (size_t want = usp_min(CHUNKS_HEADER_FIRST, most); len == 0; want = most) {
		int ret = usp_filemap_below_read(below, header->text + header->len, want - header->len,
						 (int64_t)header->len);

		if (ret < 0)
			return ret;
		header->len = want;
		*ret_why = "this is no header of age";
		len = usp_age_header_parse(header->text, header->len, &header->parsed);
		len += len > 0 ? USP_AGE_PAYLOAD_NONCE_LEN : 0;
		len = len > 0 && (size_t)len > header->len ? 0 : len;
		if (len == 0 && want == most) {
			*ret_why = most < USP_AGE_HEADER_ROOM ? "the header of age is cut off"
							      : "the header of age is too long";
			return -EBADMSG;
		}
	}
	return len;
}

/* Find the key of the payload by keys: 0 or -errno with a sentence. */
static int header_open(const struct chunks_header *header, ssize_t len, const struct usp_age_keys *keys,
		       unsigned char ret_key[USP_AGE_KEY_LEN], const char **ret_why)
{
	unsigned char file_key[USP_AGE_FILE_KEY_LEN];
	int ret = usp_age_unwrap(keys, header->text, &header->parsed, file_key);

	*ret_why = ret == -ENOKEY    ? "none of the keys opens this file of age"
		   : ret == -EBADMSG ? "the header of age was changed"
				     : NULL;
	if (ret == 0)
		ret = usp_age_payload_key(
			file_key, (const unsigned char *)header->text + len - USP_AGE_PAYLOAD_NONCE_LEN, ret_key);
	explicit_bzero(file_key, sizeof(file_key));
	return ret;
}

/* Read the header, and open it by the secret: the bytes of it, or -errno with a sentence. */
static ssize_t header_unlock(struct usp_file *below, int64_t size, const char *kind,
			     const struct usp_transform_params *params, unsigned char ret_key[USP_AGE_KEY_LEN],
			     const char **ret_why)
{
	struct chunks_header header = {.text = usp_alloc(USP_AGE_HEADER_ROOM)};
	struct usp_age_keys keys = {.nr_pairs = 0};
	ssize_t len =
		header.text ? usp_age_secret_parse(kind, params->secret, params->secret_len, &keys, ret_why) : -ENOMEM;

	if (len == 0)
		len = header_read(below, size, &header, ret_why);
	if (len > 0) {
		int ret = header_open(&header, len, &keys, ret_key, ret_why);

		len = ret < 0 ? ret : len;
	}
	usp_age_keys_fini(&keys);
	usp_free(header.text);
	return len;
}

/* --- The mapping's source ------------------------------------------------------------------------------------- */

static struct chunks chunks_now(struct chunks_source *source)
{
	struct chunks chunks;

	pthread_mutex_lock(&source->lock);
	chunks = source->chunks;
	pthread_mutex_unlock(&source->lock);
	return chunks;
}

static bool chunks_are_of(const struct chunks *chunks, const struct usp_mapping_state *state)
{
	return chunks->below.bytes == state->bytes && chunks->below.version[0] == state->version[0] &&
	       chunks->below.version[1] == state->version[1];
}

/* Tell of a chunk that failed: the error. One that stands in a file that has changed tells nothing. */
static int chunks_fail(struct chunks_source *source, const struct chunks *chunks, int64_t nr, int error)
{
	struct usp_mapping_state now = {.bytes = 0};

	if (error != -EBADMSG && error != -ENODATA)
		return error;
	if (usp_filemap_get_state(source->source.below, &now) < 0 || !chunks_are_of(chunks, &now))
		return -ESTALE;
	usp_filemap_source_fail(&source->source, nr == chunks->nr - 1 ? last_is_wrong : chunk_is_wrong,
				(uint64_t)chunk_off(chunks, nr));
	return -EBADMSG;
}

/* Decrypt chunks from nr on that were read into memory, into the segments: bytes, or -errno of the first one. */
static ssize_t chunks_decrypt(struct chunks_source *source, const struct chunks *chunks, int64_t nr, int64_t end,
			      const unsigned char *from, const struct iovec *iov)
{
	struct usp_age_aead *aead;
	ssize_t done = 0;
	int ret = usp_age_aead_new(source->source.key.secret, false, &aead);

	if (ret < 0)
		return ret;
	for (size_t at = 0; nr < end && ret == 0; nr++, at += USP_AGE_PLAIN_LEN) {
		for (; at >= iov->iov_len; iov++)
			at -= iov->iov_len;
		ret = chunk_unseal(aead, chunks, nr, from, (unsigned char *)iov->iov_base + at);
		if (ret < 0)
			ret = chunks_fail(source, chunks, nr, ret);
		done += ret < 0 ? 0 : (ssize_t)chunk_len(chunks, nr) - USP_AGE_TAG_LEN;
		from += chunk_len(chunks, nr);
	}
	usp_age_aead_free(aead);
	return done ? done : ret;
}

/* Read chunks, and decrypt them: bytes or -errno. */
static ssize_t chunks_read(struct chunks_source *source, const struct chunks *chunks, int64_t nr, int64_t end,
			   const struct iovec *iov)
{
	size_t len = (size_t)(chunk_off(chunks, end - 1) - chunk_off(chunks, nr)) + chunk_len(chunks, end - 1);
	struct usp_folio *folio = usp_folio_new(len);
	ssize_t ret = -ENOMEM;

	if (folio)
		ret = usp_filemap_below_read(source->source.below, folio->base, len, chunk_off(chunks, nr));
	if (ret == 0)
		ret = chunks_decrypt(source, chunks, nr, end, folio->base, iov);
	else if (ret == -ENODATA)
		ret = chunks_fail(source, chunks, nr, (int)ret);
	if (folio)
		usp_folio_put(folio);
	return ret;
}

/* Behind an error of many chunks the first one is read by itself: it may be good. */
static ssize_t chunks_read_folios(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	struct chunks_source *source = arg;
	struct chunks chunks = chunks_now(source);
	int64_t nr = off / (int64_t)USP_AGE_PLAIN_LEN, end = nr;
	ssize_t ret;

	if (off >= chunks_plain_len(&chunks))
		return 0;
	for (unsigned i = 0; i < nr_segs; i++)
		end += (int64_t)(iov[i].iov_len / USP_AGE_PLAIN_LEN);
	end = end < chunks.nr ? end : chunks.nr;
	end = end < nr + CHUNKS_AT_ONCE ? end : nr + CHUNKS_AT_ONCE;
	ret = chunks_read(source, &chunks, nr, end, iov);
	return ret < 0 && end > nr + 1 ? chunks_read(source, &chunks, nr, nr + 1, iov) : ret;
}

/* After a change the last chunk is verified again. The header is taken for the same: another one has another key. */
static int chunks_get_state(void *arg, struct usp_mapping_state *ret_state)
{
	struct chunks_source *source = arg;
	struct chunks chunks = chunks_now(source);
	int ret = usp_filemap_get_state(source->source.below, ret_state);

	if (ret == 0 && (chunks.below.is_unsettled || !chunks_are_of(&chunks, ret_state))) {
		ret = chunks_init(&chunks, ret_state, chunks.off);
		if (ret == 0)
			ret = chunks_verify(source->source.below, &chunks, source->source.key.secret);
		if (ret < 0)
			return ret == -EBADMSG ? -ESTALE : ret;
		pthread_mutex_lock(&source->lock);
		source->chunks = chunks;
		pthread_mutex_unlock(&source->lock);
	}
	ret_state->bytes = chunks_plain_len(&chunks);
	return ret;
}

static void chunks_free(void *arg)
{
	struct chunks_source *source = arg;

	usp_filemap_source_fini(&source->source);
	pthread_mutex_destroy(&source->lock);
	usp_free(source);
}

static const struct usp_mapping_ops chunks_mapping_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "age",
	.read_folios = chunks_read_folios,
	.get_state = chunks_get_state,
	.release = chunks_free,
};

/* --- Opening -------------------------------------------------------------------------------------------------- */

/* Make a source: 0 or -errno. */
static int chunks_new(struct usp_file *below, const struct chunks *chunks, size_t budget,
		      struct chunks_source **ret_source)
{
	const struct usp_mapping_params params = {
		.size = sizeof(params),
		.budget = budget,
		.folio_bytes = USP_AGE_PLAIN_LEN,
		.nr_threads = (unsigned)usp_min(usp_sys_nr_processors(), CHUNKS_THREADS_MAX),
		.way = USP_REWRITTEN,
		.reason = "decrypted, by its chunks",
	};
	struct chunks_source *source = usp_alloc(sizeof(*source));
	int ret = source ? usp_mapping_new(&chunks_mapping_ops, source, &params, &source->source.mapping) : -ENOMEM;

	if (ret < 0) {
		usp_free(source);
		return ret;
	}
	source->source.below = usp_file_get(below);
	source->chunks = *chunks;
	pthread_mutex_init(&source->lock, NULL);
	*ret_source = source;
	return 0;
}

/* Find the source of this key that is open already, or make it: 0 or -errno with a sentence. */
static int chunks_share(struct usp_file *below, const struct usp_mapping_state *state, int64_t off,
			const unsigned char *key, size_t budget, const char **ret_why,
			struct usp_filemap_source **ret_source)
{
	struct usp_filemap_key shared;
	struct chunks_source *source;
	struct chunks chunks;
	int ret = 0;

	usp_filemap_key_init(&shared, &chunks_mapping_ops, below, budget, key);
	*ret_source = usp_filemap_source_find(&shared);
	if (*ret_source) {
		ret = usp_filemap_source_look(*ret_source);
	} else {
		ret = chunks_init(&chunks, state, off);
		if (ret == 0)
			ret = chunks_verify(below, &chunks, key);
		*ret_why = ret == -EBADMSG ? last_is_wrong : NULL;
		if (ret == 0)
			ret = chunks_new(below, &chunks, budget, &source);
		if (ret == 0)
			*ret_source = usp_filemap_source_add(&source->source, &shared);
	}
	explicit_bzero(shared.secret, sizeof(shared.secret));
	return ret;
}

static const struct usp_file_ops chunks_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "age",
	.read_iter = usp_filemap_read_iter,
	.splice_read = usp_filemap_splice_read,
	.poll_fd = usp_filemap_poll_fd,
	.get_size = usp_filemap_size,
	.release = usp_filemap_source_release,
};

static int chunks_open(const char *options, struct usp_file *below, const struct usp_transform_params *params,
		       struct usp_file **ret_file, const char **ret_why)
{
	struct usp_mapping_state state = {.bytes = 0};
	struct usp_filemap_source *source;
	unsigned char key[USP_AGE_KEY_LEN];
	ssize_t len =
		params->budget && params->budget < CHUNKS_BUDGET_MIN ? -EINVAL : usp_filemap_get_state(below, &state);
	int ret;

	if (len == 0)
		len = header_unlock(below, state.bytes, options, params, key, ret_why);
	if (len < 0)
		return len == -ENODATA ? -EBADMSG : (int)len;
	ret = chunks_share(below, &state, len, key, params->budget, ret_why, &source);
	explicit_bzero(key, sizeof(key));
	if (ret < 0)
		return ret;
	ret = usp_filemap_source_open(&chunks_ops, source, below, "decrypt:age", ret_file);
	if (ret < 0)
		usp_filemap_source_put(source);
	return ret;
}

/* As usp_transform_failure, of this file alone. */
static bool chunks_failure(const struct usp_file *file, const char **ret_why, uint64_t *ret_offset)
{
	return file->ops == &chunks_ops && usp_filemap_source_failure(file->priv, ret_why, ret_offset);
}

const struct usp_transform usp_decrypt_seekable = {.name = "decrypt", .open = chunks_open, .failure = chunks_failure};
