/* checked - a kind of buf with a checksum, which is verified when somebody touches the bytes, and not before. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <usplice/endpoint.h>

#define BLOCK_LEN 4096

/* The folio is embedded, so the store of a buf is a folio as the core expects, and the checksum is found beside it. */
struct block {
	struct usp_folio folio;
	uint32_t sum;
	atomic_int state; /* 0: not verified yet, 1: good, -EBADMSG: bad */
	unsigned char bytes[BLOCK_LEN];
};

static atomic_uint nr_verified;

static struct block *block_of(const struct usp_buf *buf)
{
	return (struct block *)((char *)buf->store - offsetof(struct block, folio));
}

/* Adler-32, as in RFC 1950. */
static uint32_t block_sum(const unsigned char *bytes, size_t len)
{
	uint32_t a = 1, b = 0;

	for (size_t i = 0; i < len; i++) {
		a = (a + bytes[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

static void block_release(struct usp_folio *folio)
{
	free((char *)folio - offsetof(struct block, folio));
}

static struct block *block_new(int letter)
{
	struct block *block = calloc(1, sizeof(*block));

	if (!block)
		return NULL;
	memset(block->bytes, letter, sizeof(block->bytes));
	block->sum = block_sum(block->bytes, sizeof(block->bytes));
	usp_folio_init(&block->folio, block->bytes, sizeof(block->bytes), block_release);
	return block;
}

/* --- The kind of buf ------------------------------------------------------------------------------- */

/* What is learnt is kept in the store: buf may be a copy, and its bytes may have other owners who ask as well. */
static int checked_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct block *block = block_of(buf);
	int state = atomic_load(&block->state);

	(void)pipe;
	if (state == 0) {
		state = block_sum(block->bytes, sizeof(block->bytes)) == block->sum ? 1 : -EBADMSG;
		atomic_store(&block->state, state);
		atomic_fetch_add(&nr_verified, 1);
	}
	return state < 0 ? state : 0;
}

static void checked_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	(void)pipe;
	usp_folio_put(buf->store);
}

static bool checked_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	(void)pipe, (void)copy; /* the copy has the same store, with one owner more */
	return usp_folio_get(buf->store);
}

/* No try_steal: what a checksum belongs to must not change. No map: the bytes are addressable. */
static const struct usp_buf_ops checked_buf_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "checked",
	.confirm = checked_confirm,
	.release = checked_release,
	.get = checked_get,
};

/* Push a block; the pipe has the reference then. */
static int checked_push(struct usp_pipe *pipe, struct block *block)
{
	int ret = usp_pipe_begin_write(pipe, USP_SPLICE_NONBLOCK);
	const struct usp_buf buf = {.ops = &checked_buf_ops, .store = &block->folio, .len = sizeof(block->bytes)};

	if (ret < 0) {
		usp_folio_put(&block->folio);
		return ret;
	}
	ret = usp_pipe_push(pipe, &buf, 1) == 1 ? 0 : -EPIPE;
	usp_pipe_end_write(pipe);
	return ret;
}

/* --- Two blocks, of which the second is damaged ----------------------------------------------------- */

static int checked_fill(struct usp_pipe *pipe)
{
	struct block *good = block_new('a'), *bad = block_new('b');
	int ret = good && bad ? 0 : -ENOMEM;

	if (ret < 0) {
		free(good);
		free(bad);
		return ret;
	}
	bad->bytes[100] ^= 1;
	ret = checked_push(pipe, good);
	if (ret < 0)
		usp_folio_put(&bad->folio);
	else
		ret = checked_push(pipe, bad);
	return ret;
}

int main(void)
{
	struct usp_file *sink = NULL;
	struct usp_pipe *pipe = NULL;
	int64_t pos = 0;
	int ret = usp_pipe_new(NULL, &pipe);

	if (ret == 0)
		ret = usp_open(
			"null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			&sink, NULL);
	if (ret == 0)
		ret = checked_fill(pipe);
	for (int i = 0; ret == 0 && i < 3; i++) {
		ssize_t moved = usp_file_splice_write(pipe, sink, &pos, BLOCK_LEN / (i ? 1 : 2), USP_SPLICE_NONBLOCK);

		if (moved < 0)
			printf("nothing moved: %s", strerror((int)-moved));
		else
			printf("%zd bytes moved", moved);
		printf("; %u blocks verified, %zu bytes left\n", atomic_load(&nr_verified), usp_pipe_len(pipe));
	}
	usp_file_put(sink);
	usp_pipe_free(pipe);
	if (ret < 0)
		fprintf(stderr, "checked: %s\n", strerror(-ret));
	return ret ? 1 : 0;
}
