/* SPDX-License-Identifier: MIT */
/*
 * test_accounts - random steps over three pipes whose entries keep count. After every step, and over all pipes
 * together: what went into a pipe is what came out, is in it, or was dropped by a rule; every piece of memory has as
 * many owners as there are entries that refer to it, and at most one of these may grow; no byte is seen before it was
 * confirmed; and the memory of a source is as it was. At the end every entry has been released once.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "mm/gift.h"
#include "splice/pipe.h"
#include "support.h"

#define NR_PIPES 3
#define NR_STORES 64
#define NR_WALKS 300
#define NR_STEPS 300
#define LEN_MAX (3 * PAGE)
#define GIFT_LEN (2 * PAGE)
#define ENTRIES_MAX 16
#define VALID_MASK 0x7f /* bytes that may be seen are below 0x80 */
#define INVALID 0xff

/* --- Entries that keep count ---------------------------------------------------------------------------------- */

struct store {
	struct usp_folio folio; /* first, so that the bytes are addressable */
	unsigned char bytes[PAGE];
	unsigned nr_owners; /* 0: free */
	bool fails_once, refuses_once;
};

static struct store stores[NR_STORES];
static uint64_t nr_inserted, nr_released;

static int store_confirm(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct store *store = buf->store;

	(void)pipe;
	if (store->fails_once) {
		store->fails_once = false;
		return -EIO;
	}
	for (size_t i = 0; i < buf->len; i++)
		store->bytes[buf->offset + i] = pattern_at(buf->offset + i) & VALID_MASK;
	return 0;
}

static void store_release(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct store *store = buf->store;

	(void)pipe;
	assert_true(store->nr_owners > 0);
	store->nr_owners--;
	nr_released++;
}

static bool store_get(struct usp_pipe *pipe, const struct usp_buf *buf, struct usp_buf *copy)
{
	struct store *store = buf->store;

	(void)pipe, (void)copy;
	if (store->refuses_once) {
		store->refuses_once = false;
		return false;
	}
	store->nr_owners++;
	nr_inserted++;
	return true;
}

static int store_map(struct usp_pipe *pipe, struct usp_buf *buf)
{
	struct store *store = buf->store;
	struct usp_folio *folio = usp_folio_new(PAGE);

	assert_non_null(folio);
	memcpy(folio->base + buf->offset, store->bytes + buf->offset, buf->len);
	store_release(pipe, buf);
	*buf = (struct usp_buf){
		.ops = &usp_folio_buf_ops, .store = folio, .offset = buf->offset, .len = buf->len, .flags = buf->flags};
	return 0;
}

static const struct usp_buf_ops store_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "store",
	.confirm = store_confirm,
	.release = store_release,
	.get = store_get,
};

static const struct usp_buf_ops unmapped_store_ops = {
	.size = sizeof(struct usp_buf_ops),
	.name = "unmapped-store",
	.confirm = store_confirm,
	.release = store_release,
	.get = store_get,
	.map = store_map,
};

static void store_ignore(struct usp_folio *folio)
{
	(void)folio;
}

static struct store *store_new(void)
{
	for (unsigned i = 0; i < NR_STORES; i++) {
		if (stores[i].nr_owners)
			continue;
		memset(stores[i].bytes, INVALID, sizeof(stores[i].bytes));
		stores[i].nr_owners = 1;
		return &stores[i];
	}
	return NULL;
}

/* --- A walk --------------------------------------------------------------------------------------------------- */

struct account {
	struct usp_file *end[2];
	uint64_t in, out, dropped;
};

struct walk {
	struct account pipes[NR_PIPES];
	struct usp_file *null;
	struct usp_gift *gift;
	unsigned char gifted[GIFT_LEN], bytes[LEN_MAX];
	unsigned seed, random, step;
	bool is_running;
};

static struct walk walk;
static unsigned char gift_content[GIFT_LEN];

static unsigned draw(unsigned nr_choices)
{
	walk.random = walk.random * 1664525 + 1013904223;
	return (walk.random >> 8) % nr_choices;
}

/* Small, about a page, or large: what is special happens at the borders. */
static size_t draw_len(void)
{
	const size_t lens[] = {1 + draw(10), 100, PAGE - 1, PAGE, PAGE + 1, 1 + draw(LEN_MAX)};

	return lens[draw(ARRAY_LEN(lens))];
}

static struct account *draw_pipe(void)
{
	return &walk.pipes[draw(NR_PIPES)];
}

static void account_open(struct account *account)
{
	*account = (struct account){.in = 0};
	open_pipe(account->end, 1 << draw(4), USP_NONBLOCK | (draw(4) ? 0 : USP_PACKET));
}

static uint64_t moved(ssize_t ret)
{
	assert_true(ret >= 0 || ret == -EAGAIN || ret == -EFAULT || ret == -EIO);
	return ret > 0 ? (uint64_t)ret : 0;
}

static void expect_valid(size_t len)
{
	for (size_t i = 0; i < len; i++)
		assert_true(walk.bytes[i] <= VALID_MASK);
}

/* --- What a read drops ---------------------------------------------------------------------------------------- */

struct entry {
	size_t len;
	bool is_packet;
};

static unsigned note_entries(const struct account *account, struct entry entries[ENTRIES_MAX])
{
	struct usp_pipe *pipe = usp_file_pipe(account->end[0]);
	unsigned nr = 0;

	for (unsigned i = pipe->tail; i != pipe->head; i++) {
		const struct usp_buf *buf = usp_pipe_slot(pipe, i);

		assert_true(nr < ENTRIES_MAX);
		entries[nr++] = (struct entry){.len = buf->len, .is_packet = buf->flags & USP_BUF_PACKET};
	}
	return nr;
}

/* The tail of the packet with which a read of len bytes ended, if it has got that far (R22, R23). */
static size_t tail_of_packet(const struct entry *entries, unsigned nr_entries, size_t len, size_t got)
{
	for (unsigned i = 0; i < nr_entries && got; i++) {
		size_t chunk = entries[i].len < len ? entries[i].len : len;

		assert_true(got >= chunk);
		got -= chunk;
		len -= chunk;
		if (entries[i].is_packet && chunk)
			return entries[i].len - chunk;
	}
	return 0;
}

/* --- Steps ---------------------------------------------------------------------------------------------------- */

static void step_write(struct account *account)
{
	size_t len = draw_len();

	memset(walk.bytes, VALID_MASK, len);
	account->in += moved(usp_write(account->end[1], walk.bytes, len));
}

static void step_insert(struct account *account)
{
	struct usp_pipe *pipe = usp_file_pipe(account->end[1]);
	struct store *store = store_new();
	size_t offset = draw(PAGE), len = draw(8) ? 1 + draw(PAGE - (unsigned)offset) : 0;
	struct usp_buf buf = {
		.ops = draw(2) ? &store_ops : &unmapped_store_ops,
		.store = store,
		.offset = offset,
		.len = len,
		.flags = draw(4) ? 0 : USP_BUF_PACKET,
	};

	if (!store)
		return;
	if (usp_pipe_begin_write(pipe, USP_SPLICE_NONBLOCK) < 0) {
		store->nr_owners = 0;
		return;
	}
	nr_inserted++;
	store->fails_once = !draw(8);
	store->refuses_once = !draw(8);
	assert_int_equal(usp_pipe_push(pipe, &buf, 1), 1);
	usp_pipe_end_write(pipe);
	account->in += len;
}

static void step_gift(struct account *account)
{
	size_t off = draw(GIFT_LEN), len = 1 + draw(GIFT_LEN - (unsigned)off);

	account->in += moved(usp_gift_splice(walk.gift, off, len, account->end[1], USP_SPLICE_NONBLOCK));
}

static void step_read(struct account *account)
{
	struct entry entries[ENTRIES_MAX];
	unsigned nr_entries = note_entries(account, entries);
	size_t len = draw_len(), got = moved(usp_read(account->end[0], walk.bytes, len));

	expect_valid(got);
	account->out += got;
	account->dropped += tail_of_packet(entries, nr_entries, len, got);
}

static void step_vmsplice_out(struct account *account)
{
	const struct iovec iov = {.iov_base = walk.bytes, .iov_len = draw_len()};
	size_t got = moved(usp_vmsplice(account->end[0], &iov, 1, USP_SPLICE_NONBLOCK));

	expect_valid(got);
	account->out += got;
}

static void step_discard(struct account *account)
{
	account->out += moved(usp_splice(account->end[0], NULL, walk.null, NULL, draw_len(), 0));
}

static void step_move(struct account *account)
{
	struct account *to = draw_pipe();
	size_t len;

	if (to == account)
		return;
	len = moved(usp_splice(account->end[0], NULL, to->end[1], NULL, draw_len(), 0));
	account->out += len;
	to->in += len;
}

static void step_tee(struct account *account)
{
	struct account *to = draw_pipe();

	if (to != account)
		to->in += moved(usp_tee(account->end[0], to->end[1], draw_len(), 0));
}

static void step_resize(struct account *account)
{
	ssize_t ret = usp_pipe_resize(account->end[0], (size_t)PAGE << draw(5));

	assert_true(ret > 0 || ret == -EBUSY);
}

/* What is in it is released with it. */
static void step_reopen(struct account *account)
{
	close_pipe(account->end);
	account_open(account);
}

static void (*const steps[])(struct account *) = {
	step_write,   step_insert, step_insert, step_gift, step_read, step_read,   step_read,	step_vmsplice_out,
	step_discard, step_move,   step_move,	step_tee,  step_tee,  step_resize, step_reopen,
};

/* --- After every step ----------------------------------------------------------------------------------------- */

struct owners {
	unsigned nr_entries, nr_growing;
};

static struct owners count_owners(const void *store)
{
	struct owners owners = {0, 0};

	for (unsigned i = 0; i < NR_PIPES; i++) {
		struct usp_pipe *pipe = usp_file_pipe(walk.pipes[i].end[0]);

		for (unsigned position = pipe->tail; position != pipe->head; position++) {
			const struct usp_buf *buf = usp_pipe_slot(pipe, position);

			owners.nr_entries += buf->store == store;
			owners.nr_growing += buf->store == store && buf->flags & USP_BUF_CAN_MERGE;
		}
	}
	return owners;
}

/* Of the core's own kinds of entries: exactly as many references as entries, over all pipes. */
static void check_entry(const struct usp_buf *buf)
{
	struct usp_folio *folio = buf->store;
	struct owners owners;

	if (buf->ops == &store_ops || buf->ops == &unmapped_store_ops)
		return;
	owners = count_owners(buf->store);
	assert_int_equal(atomic_load(usp_u32(&folio->refs)), owners.nr_entries + (folio == &walk.gift->folio));
	assert_true(owners.nr_growing <= 1);
}

static void check_pipe(const struct account *account)
{
	struct usp_pipe *pipe = usp_file_pipe(account->end[0]);
	uint64_t len = 0;

	for (unsigned position = pipe->tail; position != pipe->head; position++) {
		check_entry(usp_pipe_slot(pipe, position));
		len += usp_pipe_slot(pipe, position)->len;
	}
	assert_int_equal(account->in, account->out + account->dropped + len);
	assert_int_equal(usp_pipe_bytes(account->end[0]), len);
}

static void check_all(void)
{
	for (unsigned i = 0; i < NR_PIPES; i++)
		check_pipe(&walk.pipes[i]);
	for (unsigned i = 0; i < NR_STORES; i++)
		assert_int_equal(count_owners(&stores[i]).nr_entries, stores[i].nr_owners);
	assert_memory_equal(walk.gifted, gift_content, GIFT_LEN);
}

/* --- Walks ---------------------------------------------------------------------------------------------------- */

static void walk_run(unsigned seed)
{
	walk = (struct walk){.seed = seed, .random = seed, .is_running = true};
	nr_inserted = nr_released = 0;
	memcpy(walk.gifted, gift_content, GIFT_LEN);
	assert_int_equal(usp_gift_new(walk.gifted, GIFT_LEN, NULL, NULL, &walk.gift), 0);
	assert_int_equal(
		usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			 &walk.null, NULL),
		0);
	for (unsigned i = 0; i < NR_PIPES; i++)
		account_open(&walk.pipes[i]);
	for (walk.step = 0; walk.step < NR_STEPS; walk.step++) {
		steps[draw(ARRAY_LEN(steps))](draw_pipe());
		check_all();
	}
	for (unsigned i = 0; i < NR_PIPES; i++)
		close_pipe(walk.pipes[i].end);
	assert_int_equal(nr_released, nr_inserted);
	assert_int_equal(atomic_load(usp_u32(&walk.gift->folio.refs)), 1);
	usp_gift_put(walk.gift);
	usp_file_put(walk.null);
	walk.is_running = false;
}

static void every_account_is_right_after_every_step(void **state)
{
	(void)state;
	for (size_t i = 0; i < GIFT_LEN; i++)
		gift_content[i] = pattern_at(i) & VALID_MASK;
	for (unsigned i = 0; i < NR_STORES; i++) {
		stores[i] = (struct store){.nr_owners = 0};
		usp_folio_init(&stores[i].folio, stores[i].bytes, sizeof(stores[i].bytes), store_ignore);
	}
	for (unsigned i = 0; i < NR_WALKS; i++)
		walk_run(i);
	for (unsigned i = 0; i < NR_STORES; i++)
		usp_folio_put(&stores[i].folio);
}

static int accounts_after(void **state)
{
	if (walk.is_running)
		print_error("in step %u of walk %u\n", walk.step, walk.seed);
	return support_after(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_account_is_right_after_every_step, support_before,
						accounts_after),
	};
	int nr_failed = cmocka_run_group_tests(tests, NULL, NULL);

	print_message("# %d walks of %d steps kept their accounts\n", NR_WALKS, NR_STEPS);
	return nr_failed != 0;
}
