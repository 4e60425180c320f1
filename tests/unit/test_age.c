/* SPDX-License-Identifier: MIT */
/* test_age - encryption and decryption of age: files of the program age, and what must never be believed. */
#include "support.h"

#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <usplice/transform.h>

#include "age/age_crypto.h"
#include "age/age_text.h"
#include "age_vectors.h"

#define CHUNK ((size_t)64 << 10)
#define SEALED (CHUNK + 16)
#define FRAME_MAX ((size_t)1000) /* of a header here, and its nonce */
#define OTHERS AGE_IDENTITY_2

static const size_t lens[] = {0, 1, 4096, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 20 * CHUNK + 12345};

/* --- Helpers ----------------------------------------------------------------------------------------------- */

/* Bytes on the heap. */
struct bytes {
	unsigned char *base;
	size_t len;
};

static struct bytes pattern_bytes(size_t len)
{
	struct bytes bytes = {.base = malloc(len + 1), .len = len};

	pattern_fill(bytes.base, 0, len);
	return bytes;
}

static struct bytes bytes_of(const void *base, size_t len)
{
	struct bytes bytes = {.base = malloc(len + 1), .len = len};

	memcpy(bytes.base, base, len);
	return bytes;
}

/* Where the stage gets its bytes from. */
enum source { SOURCE_GIFT, SOURCE_FILE, SOURCE_PIECES, SOURCE_PIPE, NR_SOURCES };

/* A stream that gives its bytes in pieces of any size. */
struct pieces {
	struct bytes bytes;
	size_t at;
	unsigned random;
	size_t most; /* bytes in a piece */
};

static ssize_t pieces_read_iter(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	struct pieces *pieces = in->priv;
	size_t len = pieces->bytes.len - pieces->at, piece;

	(void)pos, (void)flags;
	pieces->random = pieces->random * 1103515245 + 12345;
	piece = 1 + (pieces->random >> 8) % pieces->most;
	len = len < piece ? len : piece;
	len = len < to->iov[0].iov_len ? len : to->iov[0].iov_len;
	memcpy(to->iov[0].iov_base, pieces->bytes.base + pieces->at, len);
	pieces->at += len;
	return (ssize_t)len;
}

static int pieces_release(struct usp_file *file)
{
	free(file->priv);
	return 0;
}

static const struct usp_file_ops pieces_ops = {
	.size = sizeof(struct usp_file_ops),
	.name = "pieces",
	.read_iter = pieces_read_iter,
	.splice_read = usp_copy_splice_read,
	.release = pieces_release,
};

static struct usp_file *open_pieces(struct bytes bytes, size_t most, unsigned seed)
{
	struct pieces *pieces = malloc(sizeof(*pieces));
	struct usp_file *file;

	*pieces = (struct pieces){.bytes = bytes, .random = seed, .most = most};
	assert_int_equal(usp_file_new(&pieces_ops, USP_READ, "pieces", pieces, &file), 0);
	return file;
}

static struct usp_file *open_file(struct bytes bytes)
{
	int fd = memfd_create("age", MFD_CLOEXEC);
	struct usp_file *file;

	assert_int_equal(write(fd, bytes.base, bytes.len), (ssize_t)bytes.len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(usp_open_fd(fd, USP_READ | USP_EXCLUSIVE, "file", &file), 0);
	return file;
}

/* The read end of a pipe of ours that holds all bytes. */
static struct usp_file *open_filled_pipe(struct bytes bytes)
{
	const struct usp_pipe_params params = {.size = sizeof(params), .nr_slots = 64};
	struct usp_file *ends[2];

	assert_int_equal(usp_pipe_open(&params, ends), 0);
	assert_int_equal(usp_write(ends[1], bytes.base, bytes.len), (ssize_t)bytes.len);
	usp_file_put(ends[1]);
	return ends[0];
}

static struct usp_file *open_source(enum source source, struct bytes bytes)
{
	struct usp_file *file;

	if (source == SOURCE_FILE || (source == SOURCE_GIFT && !bytes.len)) /* there is no memory of 0 bytes */
		return open_file(bytes);
	if (source == SOURCE_PIECES)
		return open_pieces(bytes, 30000, 1);
	if (source == SOURCE_PIPE)
		return open_filled_pipe(bytes);
	assert_int_equal(usp_open_memory(bytes.base, bytes.len, USP_READ, NULL, NULL, &file), 0);
	return file;
}

static struct usp_file *open_stage(const char *spec, const char *secret, struct usp_file *below)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .secret = secret, .secret_len = secret ? strlen(secret) : 0};
	struct usp_file *stage;
	const char *why = NULL;

	assert_int_equal(usp_transform_open(spec, below, &params, &stage, &why), 0);
	assert_null(why);
	return stage;
}

/* Move everything through a stage, and close it: what came out, and the error in *ret_error. */
static struct bytes run_stage(struct usp_file *stage, int *ret_error)
{
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);
	struct bytes bytes;

	*ret_error = usp_copy_files(stage, sink->file, NULL, NULL);
	bytes = bytes_of(sink->bytes ? sink->bytes : (const unsigned char *)"", sink->len);
	mock_close(sink);
	usp_file_put(stage);
	return bytes;
}

static struct bytes transform(const char *spec, const char *secret, enum source source, struct bytes bytes,
			      int *ret_error)
{
	return run_stage(open_stage(spec, secret, open_source(source, bytes)), ret_error);
}

static struct bytes encrypt(struct bytes plain)
{
	int error;
	struct bytes sealed = transform("encrypt:" AGE_RECIPIENT_1, NULL, SOURCE_FILE, plain, &error);

	assert_int_equal(error, 0);
	return sealed;
}

/* Decrypting gives this error, and before it nothing but the first bytes of the pattern. */
static void assert_fails(enum source source, struct bytes sealed, int expected)
{
	int error;
	struct bytes plain = transform("decrypt:identity", AGE_IDENTITY_1, source, sealed, &error);

	assert_int_equal(error, expected);
	assert_pattern(plain.base, 0, plain.len);
	free(plain.base);
}

static void assert_opens(const unsigned char *sealed, size_t len, const char *spec, const char *secret,
			 const char *expected)
{
	for (enum source source = 0; source < NR_SOURCES; source++) {
		struct bytes bytes = bytes_of(sealed, len), plain;
		int error;

		plain = transform(spec, secret, source, bytes, &error);
		assert_int_equal(error, 0);
		assert_int_equal(plain.len, strlen(expected));
		assert_memory_equal(plain.base, expected, plain.len);
		free(plain.base);
		free(bytes.base);
	}
}

/* The bytes of the header and the nonce. */
static size_t frame_len(struct bytes sealed)
{
	const unsigned char *mark = memmem(sealed.base, sealed.len, "\n--- ", 5);

	assert_non_null(mark);
	return (size_t)(mark - sealed.base) + 5 + 43 + 1 + 16;
}

/* --- Files of the program age ---------------------------------------------------------------------------- */

static void files_of_age_are_decrypted(void **state)
{
	(void)state;
	assert_opens(age_empty, sizeof(age_empty) - 1, "decrypt:identity", AGE_IDENTITY_1, "");
	assert_opens(age_one, sizeof(age_one) - 1, "decrypt:identity", AGE_IDENTITY_1 "\n", "x");
	assert_opens(age_one, sizeof(age_one) - 1, "decrypt:identity",
		     "# a comment\r\n\r\n" AGE_IDENTITY_2 "\r\n" AGE_IDENTITY_1, "x");
}

static void stanzas_of_others_are_skipped(void **state)
{
	(void)state;
	assert_opens(age_several, sizeof(age_several) - 1, "decrypt:identity", AGE_IDENTITY_1,
		     "for several recipients\n");
	assert_opens(age_several, sizeof(age_several) - 1, "decrypt:identity", AGE_IDENTITY_2,
		     "for several recipients\n");
}

static void a_passphrase_opens_a_file_of_age(void **state)
{
	struct bytes sealed = bytes_of(age_passphrase, sizeof(age_passphrase) - 1), plain;
	int error;

	(void)state;
	plain = transform("decrypt:passphrase", AGE_PASSPHRASE "\n", SOURCE_FILE, sealed, &error);
	assert_int_equal(error, 0);
	assert_int_equal(plain.len, 16);
	assert_memory_equal(plain.base, "by a passphrase\n", 16);
	free(plain.base);
	plain = transform("decrypt:passphrase", "wrong", SOURCE_FILE, sealed, &error);
	assert_int_equal(error, -ENOKEY);
	assert_int_equal(plain.len, 0);
	free(plain.base);
	free(sealed.base);
}

/* Run a command of the shell on files that hold these bytes; $in, $out and $key are their names. */
static int run_age(const char *command, const char *key, struct bytes in, struct bytes *ret_out)
{
	char line[1000];
	int fds[3], ret;
	off_t len;

	for (unsigned i = 0; i < 3; i++)
		fds[i] = memfd_create("age", 0);
	assert_int_equal(write(fds[0], in.base, in.len), (ssize_t)in.len);
	assert_int_equal(write(fds[2], key, strlen(key)), (ssize_t)strlen(key));
	snprintf(line, sizeof(line), "in=/proc/%d/fd/%d out=/proc/%d/fd/%d key=/proc/%d/fd/%d; %s", getpid(), fds[0],
		 getpid(), fds[1], getpid(), fds[2], command);
	ret = system(line);
	len = lseek(fds[1], 0, SEEK_END);
	*ret_out = (struct bytes){.base = malloc((size_t)len + 1), .len = (size_t)len};
	assert_int_equal(pread(fds[1], ret_out->base, (size_t)len, 0), len);
	for (unsigned i = 0; i < 3; i++)
		close(fds[i]);
	return ret;
}

static void the_program_age_reads_ours_and_we_its(void **state)
{
	(void)state;
	if (system("command -v age >/dev/null") != 0)
		skip();
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		struct bytes plain = pattern_bytes(lens[i]), sealed = encrypt(plain), opened;
		int error;

		assert_int_equal(run_age("age -d -i $key <$in >$out", AGE_IDENTITY_1, sealed, &opened), 0);
		assert_int_equal(opened.len, lens[i]);
		assert_pattern(opened.base, 0, lens[i]);
		free(opened.base);
		free(sealed.base);
		assert_int_equal(
			run_age("age -r " AGE_RECIPIENT_2 " -r " AGE_RECIPIENT_1 " <$in >$out", "", plain, &sealed), 0);
		for (enum source source = 0; source < NR_SOURCES; source++) {
			opened = transform("decrypt:identity", AGE_IDENTITY_1, source, sealed, &error);
			assert_int_equal(error, 0);
			assert_int_equal(opened.len, lens[i]);
			assert_pattern(opened.base, 0, lens[i]);
			free(opened.base);
		}
		free(sealed.base);
		free(plain.base);
	}
}

/* --- There and back ---------------------------------------------------------------------------------------- */

static void what_was_encrypted_is_decrypted(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++) {
		struct bytes plain = pattern_bytes(lens[i]);

		for (enum source source = 0; source < NR_SOURCES; source++) {
			struct bytes sealed, opened;
			int error;

			sealed = transform("encrypt:" AGE_RECIPIENT_2 "," AGE_RECIPIENT_1, NULL, source, plain, &error);
			assert_int_equal(error, 0);
			assert_int_equal(sealed.len - frame_len(sealed),
					 lens[i] + 16 * (lens[i] ? (lens[i] + CHUNK - 1) / CHUNK : 1));
			opened = transform("decrypt:identity", AGE_IDENTITY_1, source, sealed, &error);
			assert_int_equal(error, 0);
			assert_int_equal(opened.len, lens[i]);
			assert_pattern(opened.base, 0, lens[i]);
			free(opened.base);
			free(sealed.base);
		}
		free(plain.base);
	}
}

static void a_passphrase_closes_and_opens(void **state)
{
	struct bytes plain = pattern_bytes(CHUNK + 5), sealed, opened;
	int error;

	(void)state;
	sealed = transform("encrypt:passphrase", AGE_PASSPHRASE, SOURCE_FILE, plain, &error);
	assert_int_equal(error, 0);
	opened = transform("decrypt:passphrase", AGE_PASSPHRASE, SOURCE_FILE, sealed, &error);
	assert_int_equal(error, 0);
	assert_int_equal(opened.len, plain.len);
	assert_pattern(opened.base, 0, opened.len);
	free(opened.base);
	assert_fails(SOURCE_FILE, sealed, -ENOKEY);
	free(sealed.base);
	free(plain.base);
}

static void pieces_of_any_size_give_the_same(void **state)
{
	static const size_t most[] = {1, 100, 5000, 100000, 1000000};
	int error;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(most); i++) { /* few bytes of one each: a sanitizer takes long for them */
		struct bytes plain = pattern_bytes(most[i] == 1 ? CHUNK + 7 : 3 * CHUNK + 77);
		struct bytes sealed = encrypt(plain), opened;

		opened = run_stage(open_stage("decrypt:identity", AGE_IDENTITY_1, open_pieces(sealed, most[i], i)),
				   &error);
		assert_int_equal(error, 0);
		assert_int_equal(opened.len, plain.len);
		assert_pattern(opened.base, 0, opened.len);
		free(opened.base);
		free(sealed.base);
		free(plain.base);
	}
}

/* A read into memory gives the same as a splice. */
static void reads_give_the_plain_bytes(void **state)
{
	struct bytes plain = pattern_bytes(2 * CHUNK + 77), sealed = encrypt(plain);
	struct usp_file *stage = open_stage("decrypt:identity", AGE_IDENTITY_1, open_source(SOURCE_FILE, sealed));
	unsigned char some[10007];
	const char *why;
	uint64_t offset;
	size_t done = 0;
	ssize_t ret;

	(void)state;
	while ((ret = usp_read(stage, some, sizeof(some))) > 0) {
		assert_pattern(some, done, (size_t)ret);
		done += (size_t)ret;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(done, plain.len);
	assert_false(usp_transform_failure(stage, &why, &offset));
	usp_file_put(stage);
	free(sealed.base);
	free(plain.base);
}

/* A pipe that follows the kernel's rule has less room than a chunk. */
static void a_chunk_goes_on_in_pieces(void **state)
{
	struct bytes plain = pattern_bytes(2 * CHUNK + 77), sealed = encrypt(plain);
	struct usp_file *stage = open_stage("decrypt:identity", AGE_IDENTITY_1, open_source(SOURCE_FILE, sealed));
	struct usp_file *end[2];
	size_t done = 0;
	ssize_t ret;

	(void)state;
	open_pipe(end, 4, 0);
	while ((ret = usp_splice(stage, NULL, end[1], NULL, 1000000, 0)) > 0) {
		assert_true(ret <= 4 * (ssize_t)PAGE);
		take_bytes(end[0], done, (size_t)ret);
		done += (size_t)ret;
	}
	assert_int_equal(ret, 0);
	assert_int_equal(done, plain.len);
	close_pipe(end);
	usp_file_put(stage);
	free(sealed.base);
	free(plain.base);
}

/* --- Where it is decrypted ------------------------------------------------------------------------------------ */

static void assert_hop(struct usp_file *stage, size_t len, const char *reason)
{
	struct usp_hop hop = {.size = sizeof(hop)};

	usp_file_hop(stage, USP_READ, &hop);
	assert_int_equal(hop.bytes[USP_REWRITTEN], len);
	assert_string_equal(hop.reason[USP_REWRITTEN], reason);
}

/* Decrypt 8 chunks; the last of them has to be decrypted where `reason` says. */
static void check_place(enum source source, const char *reason)
{
	struct bytes plain = pattern_bytes(8 * CHUNK), sealed = encrypt(plain),
		     before = bytes_of(sealed.base, sealed.len);
	struct usp_file *stage = open_stage("decrypt:identity", AGE_IDENTITY_1, open_source(source, sealed));
	struct mock *sink = mock_open(&mock_copy_ops, USP_WRITE, 0);

	assert_int_equal(usp_copy_files(stage, sink->file, NULL, NULL), 0);
	assert_int_equal(sink->len, plain.len);
	assert_pattern(sink->bytes, 0, sink->len);
	assert_hop(stage, plain.len, reason);
	assert_memory_equal(sealed.base, before.base, before.len); /* memory of others is not written */
	mock_close(sink);
	usp_file_put(stage);
	free(before.base);
	free(sealed.base);
	free(plain.base);
}

static void a_chunk_of_a_file_is_decrypted_where_it_lies(void **state)
{
	(void)state;
	check_place(SOURCE_FILE, "decrypted where it lay");
}

static void a_chunk_of_others_is_decrypted_into_a_fresh_folio(void **state)
{
	(void)state;
	check_place(SOURCE_GIFT, "decrypted into a fresh folio");
}

static void all_sinks_get_the_plain_bytes(void **state)
{
	struct bytes plain = pattern_bytes(20 * CHUNK + 5), sealed = encrypt(plain);

	(void)state;
	for (enum source source = 0; source < NR_SOURCES; source++) {
		struct usp_file *stage = open_stage("decrypt:identity", AGE_IDENTITY_1, open_source(source, sealed));
		struct mock *sinks[3];
		struct usp_pump *pump;

		assert_int_equal(usp_pump_new(stage, NULL, &pump), 0);
		for (unsigned i = 0; i < 3; i++) {
			sinks[i] = mock_open(&mock_copy_ops, USP_WRITE, 0);
			assert_int_equal(usp_pump_add_sink(pump, sinks[i]->file), 0);
		}
		assert_int_equal(usp_pump_run(pump), 0);
		usp_pump_free(pump);
		for (unsigned i = 0; i < 3; i++) {
			assert_int_equal(sinks[i]->len, plain.len);
			assert_pattern(sinks[i]->bytes, 0, plain.len);
			mock_close(sinks[i]);
		}
		usp_file_put(stage);
	}
	free(sealed.base);
	free(plain.base);
}

/* --- What must never be believed ------------------------------------------------------------------------------ */

static void a_file_that_is_cut_anywhere_is_an_error(void **state)
{
	struct bytes plain = pattern_bytes(100), sealed = encrypt(plain);

	(void)state;
	for (size_t len = 0; len < sealed.len; len++)
		assert_fails(len % NR_SOURCES, (struct bytes){sealed.base, len}, -EBADMSG);
	free(sealed.base);
	free(plain.base);
}

static void a_file_that_is_cut_at_a_chunk_is_an_error(void **state)
{
	struct bytes plain = pattern_bytes(3 * CHUNK), sealed = encrypt(plain);
	size_t frame = frame_len(sealed);

	(void)state;
	for (enum source source = 0; source < NR_SOURCES; source++) {
		for (size_t i = 0; i < 3; i++) {
			assert_fails(source, (struct bytes){sealed.base, frame + i * SEALED}, -EBADMSG);
			assert_fails(source, (struct bytes){sealed.base, frame + i * SEALED + 1}, -EBADMSG);
			assert_fails(source, (struct bytes){sealed.base, frame + i * SEALED + SEALED - 1}, -EBADMSG);
		}
	}
	free(sealed.base);
	free(plain.base);
}

/* Changing one bit anywhere is an error. In the body of the stanza it is that no key fits. */
static void a_file_that_was_changed_anywhere_is_an_error(void **state)
{
	struct bytes plain = pattern_bytes(100), sealed = encrypt(plain);

	(void)state;
	for (size_t at = 0; at < sealed.len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct bytes opened;
			int error;

			sealed.base[at] ^= (unsigned char)(1 << bit);
			opened = transform("decrypt:identity", AGE_IDENTITY_1, at % NR_SOURCES, sealed, &error);
			assert_true(error == -EBADMSG || error == -ENOKEY);
			assert_int_equal(opened.len, 0);
			free(opened.base);
			sealed.base[at] ^= (unsigned char)(1 << bit);
		}
	}
	free(sealed.base);
	free(plain.base);
}

static void chunks_in_another_order_are_an_error(void **state)
{
	struct bytes plain = pattern_bytes(3 * CHUNK), sealed = encrypt(plain),
		     other = bytes_of(sealed.base, sealed.len);
	size_t frame = frame_len(sealed);

	(void)state;
	memcpy(other.base + frame, sealed.base + frame + SEALED, SEALED);
	memcpy(other.base + frame + SEALED, sealed.base + frame, SEALED);
	for (enum source source = 0; source < NR_SOURCES; source++)
		assert_fails(source, other, -EBADMSG);
	free(other.base);
	free(sealed.base);
	free(plain.base);
}

static void bytes_behind_the_end_are_an_error(void **state)
{
	static const size_t plain_lens[] = {0, 5, CHUNK, 2 * CHUNK};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(plain_lens); i++) {
		struct bytes plain = pattern_bytes(plain_lens[i]), sealed = encrypt(plain), longer;

		for (size_t more = 1; more < 200000; more *= 7) {
			longer = (struct bytes){.base = calloc(1, sealed.len + more), .len = sealed.len + more};
			memcpy(longer.base, sealed.base, sealed.len);
			for (enum source source = 0; source < NR_SOURCES; source++)
				assert_fails(source, longer, -EBADMSG);
			free(longer.base);
		}
		free(sealed.base);
		free(plain.base);
	}
}

static void an_error_tells_the_chunk_and_comes_again(void **state)
{
	struct bytes plain = pattern_bytes(3 * CHUNK), sealed = encrypt(plain);
	size_t frame = frame_len(sealed), done = 0;
	struct usp_file *stage;
	unsigned char some[10000];
	const char *why;
	uint64_t offset;
	ssize_t ret;

	(void)state;
	sealed.base[frame + SEALED + 5] ^= 1;
	stage = open_stage("decrypt:identity", AGE_IDENTITY_1, open_source(SOURCE_FILE, sealed));
	while ((ret = usp_read(stage, some, sizeof(some))) > 0)
		done += (size_t)ret;
	assert_int_equal(ret, -EBADMSG);
	assert_int_equal(done, CHUNK);
	assert_true(usp_transform_failure(stage, &why, &offset));
	assert_int_equal(offset, frame + SEALED);
	assert_string_equal(why, "a chunk of age was changed, or is not the one that belongs here");
	assert_int_equal(usp_read(stage, some, sizeof(some)), -EBADMSG);
	usp_file_put(stage);
	free(sealed.base);
	free(plain.base);
}

static void a_file_for_others_has_no_key(void **state)
{
	struct bytes plain = pattern_bytes(100), sealed = encrypt(plain), opened;
	int error;

	(void)state;
	opened = transform("decrypt:identity", OTHERS, SOURCE_FILE, sealed, &error);
	assert_int_equal(error, -ENOKEY);
	assert_int_equal(opened.len, 0);
	free(opened.base);
	free(sealed.base);
	free(plain.base);
}

static void what_is_no_file_of_age_is_refused(void **state)
{
	static const char *const texts[] = {
		"age-encryption.org/v2\n",
		"-----BEGIN AGE ENCRYPTED FILE-----\n",
		"age-encryption.org/v1\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n0123456789abcdef",
		"age-encryption.org/v1\n->  X25519 a\n\n",
		"age-encryption.org/v1\n-> X25519 a \n\n",
		"age-encryption.org/v1\n-> \n\n",
		"age-encryption.org/v1\n-> X25519 a\r\n\n",
		"age-encryption.org/v1\n-> other\nAB\n",   /* the last bits are not 0 */
		"age-encryption.org/v1\n-> other\nAA==\n", /* padded */
		"age-encryption.org/v1\n-> other\nA\n",	   /* of no bytes */
		"age-encryption.org/v1\n-> other\nA A\n",
		"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1\n"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-> other\n\n", /* scrypt is alone */
		"age-encryption.org/v1\n-> other\n\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1\n"
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(texts); i++)
		assert_fails(i % NR_SOURCES, (struct bytes){(unsigned char *)texts[i], strlen(texts[i])}, -EBADMSG);
}

static void a_passphrase_may_not_cost_too_much(void **state)
{
	static const char *const works[] = {"0", "23", "018", "64", "+1", "1x", "100"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(works); i++) {
		char text[300];
		struct bytes opened;
		int error;

		snprintf(text, sizeof(text), "%s-> scrypt AAAAAAAAAAAAAAAAAAAAAA %s\n%s\n--- %s\n0123456789abcdef",
			 "age-encryption.org/v1\n", works[i], "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
			 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
		opened = transform("decrypt:passphrase", "x", SOURCE_FILE,
				   (struct bytes){(unsigned char *)text, strlen(text)}, &error);
		assert_int_equal(error, -EBADMSG);
		free(opened.base);
	}
}

static void a_header_without_an_end_is_refused(void **state)
{
	struct bytes header = {.base = malloc(200000), .len = 200000};

	(void)state;
	header.len = (size_t)sprintf((char *)header.base, "age-encryption.org/v1\n");
	while (header.len < 190000)
		header.len += (size_t)sprintf((char *)header.base + header.len, "-> other %zu\n\n", header.len);
	for (enum source source = 0; source < NR_SOURCES; source++)
		assert_fails(source, header, -EBADMSG);
	free(header.base);
}

/* --- Opening -------------------------------------------------------------------------------------------------- */

static void assert_refused(const char *spec, const char *secret)
{
	const struct usp_transform_params params = {
		.size = sizeof(params), .secret = secret, .secret_len = secret ? strlen(secret) : 0};
	struct usp_file *below = open_source(SOURCE_GIFT, (struct bytes){(unsigned char *)"", 0}), *stage;
	const char *why = NULL;

	assert_int_equal(usp_transform_open(spec, below, &params, &stage, &why), -EINVAL);
	assert_non_null(why);
	usp_file_put(below);
}

static void keys_that_are_none_are_refused(void **state)
{
	char upper[sizeof(AGE_RECIPIENT_1) + 8] = "encrypt:" AGE_RECIPIENT_1;

	(void)state;
	assert_refused("decrypt", AGE_IDENTITY_1);
	assert_refused("decrypt:other", AGE_IDENTITY_1);
	assert_refused("decrypt:identity", NULL);
	assert_refused("decrypt:identity", "");
	assert_refused("decrypt:identity", "# nothing\n");
	assert_refused("decrypt:identity", AGE_RECIPIENT_1);
	assert_refused("decrypt:identity", AGE_IDENTITY_1 "A");
	assert_refused("decrypt:identity", AGE_IDENTITY_1 "\n AGE");
	assert_refused("decrypt:passphrase", NULL);
	assert_refused("decrypt:passphrase", "\n");
	assert_refused("encrypt:passphrase", NULL);
	assert_refused("encrypt", NULL);
	assert_refused("encrypt:" AGE_RECIPIENT_1 ",", NULL);
	assert_refused("encrypt:" AGE_IDENTITY_1, NULL);
	upper[20] ^= 1; /* the checksum finds it */
	assert_refused(upper, NULL);
	upper[20] ^= 1;
	upper[8] = 'A'; /* both cases */
	assert_refused(upper, NULL);
}

/* The stage waits for its socket by poll_fd, and takes what is there. */
static void a_socket_is_waited_for(void **state)
{
	struct bytes plain = pattern_bytes(CHUNK + 9), sealed = encrypt(plain);
	struct usp_file *below, *stage;
	unsigned char some[2 * CHUNK];
	short events;
	int fds[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(usp_open_fd(fds[0], USP_READ | USP_EXCLUSIVE, "socket", &below), 0);
	assert_int_equal(usp_file_set_flags(below, USP_NONBLOCK), 0);
	stage = open_stage("decrypt:identity", AGE_IDENTITY_1, below);
	assert_int_equal(usp_file_set_flags(stage, USP_NONBLOCK), 0);
	assert_int_equal(usp_read(stage, some, sizeof(some)), -EAGAIN);
	assert_int_equal(write(fds[1], sealed.base, sealed.len - 1), (ssize_t)sealed.len - 1);
	assert_int_equal(usp_read(stage, some, sizeof(some)), CHUNK);
	assert_pattern(some, 0, CHUNK);
	assert_int_equal(usp_read(stage, some, sizeof(some)), -EAGAIN);
	assert_int_equal(usp_file_poll_fd(stage, USP_READ, &events), fds[0]);
	assert_int_equal(write(fds[1], sealed.base + sealed.len - 1, 1), 1);
	close(fds[1]);
	assert_int_equal(usp_read(stage, some, sizeof(some)), 9);
	assert_pattern(some, CHUNK, 9);
	assert_int_equal(usp_read(stage, some, sizeof(some)), 0);
	usp_file_put(stage);
	free(sealed.base);
	free(plain.base);
}

static void only_the_length_belongs_to_the_input(void **state)
{
	struct bytes plain = pattern_bytes(3 * CHUNK), sealed;
	const struct usp_transform_params params = {
		.size = sizeof(params), .flags = USP_TRANSFORM_LENGTH, .length = CHUNK + 1};
	struct bytes opened;
	struct usp_file *stage;
	int error;

	(void)state;
	assert_int_equal(
		usp_transform_open("encrypt:" AGE_RECIPIENT_1, open_source(SOURCE_FILE, plain), &params, &stage, NULL),
		0);
	sealed = run_stage(stage, &error);
	assert_int_equal(error, 0);
	opened = transform("decrypt:identity", AGE_IDENTITY_1, SOURCE_FILE, sealed, &error);
	assert_int_equal(error, 0);
	assert_int_equal(opened.len, CHUNK + 1);
	assert_pattern(opened.base, 0, opened.len);
	free(opened.base);
	free(sealed.base);
	free(plain.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(files_of_age_are_decrypted),
		CASE(stanzas_of_others_are_skipped),
		CASE(a_passphrase_opens_a_file_of_age),
		CASE(the_program_age_reads_ours_and_we_its),
		CASE(what_was_encrypted_is_decrypted),
		CASE(a_passphrase_closes_and_opens),
		CASE(pieces_of_any_size_give_the_same),
		CASE(reads_give_the_plain_bytes),
		CASE(a_chunk_goes_on_in_pieces),
		CASE(a_chunk_of_a_file_is_decrypted_where_it_lies),
		CASE(a_chunk_of_others_is_decrypted_into_a_fresh_folio),
		CASE(all_sinks_get_the_plain_bytes),
		CASE(a_file_that_is_cut_anywhere_is_an_error),
		CASE(a_file_that_is_cut_at_a_chunk_is_an_error),
		CASE(a_file_that_was_changed_anywhere_is_an_error),
		CASE(chunks_in_another_order_are_an_error),
		CASE(bytes_behind_the_end_are_an_error),
		CASE(an_error_tells_the_chunk_and_comes_again),
		CASE(a_file_for_others_has_no_key),
		CASE(what_is_no_file_of_age_is_refused),
		CASE(a_passphrase_may_not_cost_too_much),
		CASE(a_header_without_an_end_is_refused),
		CASE(keys_that_are_none_are_refused),
		CASE(a_socket_is_waited_for),
		CASE(only_the_length_belongs_to_the_input),
	};

	if (usp_age_crypto_missing())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
