/* SPDX-License-Identifier: MIT */
/*
 * test_mapping_model - random steps over a page cache, compared with plain reads of its source. Several readers read
 * and splice, pipes hold references for a while, the source changes, shrinks, grows and fails, and ranges are
 * forgotten, all in a small budget. After each step the memory is within the budget. Each byte that is seen is one
 * that the source had since it was lent, or has now if it was read. An end or an error was there, too.
 *
 * A world follows from its seed. In most worlds the test itself is the thread that reads: it keeps the pieces that
 * were asked for, and reads them at steps of its choice. So these worlds repeat exactly. In each fourth world the
 * threads of the mapping read.
 *
 *   MODEL_SEED=4711 MODEL_WORLDS=1 build-test/tests/test_mapping_model     the world of that seed
 */
#include <inttypes.h>
#include <stdio.h>
#include <usplice/mapping.h>

#include "mm/fill.h"
#include "mm/mapping.h"
#include "support.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define NR_WORLDS 40
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define NR_WORLDS 40
#endif
#endif
#ifndef NR_WORLDS
#define NR_WORLDS 200
#endif

#define MIB ((size_t)1 << 20)
#define KIB ((size_t)1 << 10)
#define NR_STEPS 500 /* of a world */
#define NR_READERS 4
#define NR_PIPES 3
#define NR_RANGES 64
#define SOURCE_MAX (3 * MIB)
#define FOLIO_MAX (2 * MIB)
#define CHUNK PAGE
#define TABLE 65537 /* a prime: no two pages and no two versions have the same bytes */

/* What the source was in the steps from one change to the next. */
struct epoch {
	int64_t bytes;
	uint64_t version;
	bool is_unsettled;
	int64_t bad_from, bad_to; /* reads of these fail */
	size_t most;		  /* bytes of one read */
};

/* Bytes in a pipe, and the epoch when they were lent. */
struct range {
	int64_t pos;
	size_t len;
	unsigned epoch;
};

struct held {
	struct usp_file *end[2];
	struct range ranges[NR_RANGES];
	unsigned nr_ranges;
};

static struct {
	uint64_t seed, draws;
	unsigned step;
	bool is_scripted; /* the test reads the pieces */
	TAILQ_HEAD(, usp_fill) fills;
	unsigned nr_fills;
	struct usp_filler *filler;

	pthread_mutex_t lock; /* of the epochs */
	struct epoch epochs[2 * NR_STEPS + 1];
	unsigned epoch;

	struct usp_mapping *mapping;
	struct usp_file *readers[NR_READERS];
	struct held pipes[NR_PIPES];
} world;

static unsigned char table[TABLE + CHUNK], bytes[MIB];

static struct {
	uint64_t nr_steps, nr_ends, nr_errors, nr_starved, nr_stolen, nr_old;
} seen;

/* --- Chance, and failures that say where ------------------------------------------------------------------------- */

#define check(condition) world_check(condition, #condition, __LINE__)

static void world_check(bool is_true, const char *what, int line)
{
	if (is_true)
		return;
	print_message("# MODEL_SEED=%" PRIu64 ": step %u: line %d: %s\n", world.seed, world.step, line, what);
	fail();
}

/* splitmix64, so that neighbouring seeds have nothing in common. */
static uint64_t draw(uint64_t below)
{
	uint64_t z = world.draws += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % below;
}

/* A length from 1 byte to 1 MiB, each order of magnitude as often as the others. */
static size_t draw_len(void)
{
	size_t least = (size_t)1 << draw(20);

	return draw(3) ? least + draw(least) : (least + PAGE - 1) / PAGE * PAGE;
}

/* --- The source ---------------------------------------------------------------------------------------------------- */

static struct epoch *now(void)
{
	return &world.epochs[world.epoch];
}

/* At least CHUNK bytes that the source has at pos in a version. */
static const unsigned char *source_bytes(int64_t pos, uint64_t version)
{
	return table + ((uint64_t)pos + version * 4099) % TABLE;
}

static size_t source_copy(const struct epoch *epoch, unsigned char *to, size_t len, int64_t off)
{
	size_t done = 0;

	while (done < len && off + (int64_t)done < epoch->bytes) {
		size_t left = (size_t)(epoch->bytes - off) - done, chunk = len - done < CHUNK ? len - done : CHUNK;

		chunk = chunk < left ? chunk : left;
		memcpy(to + done, source_bytes(off + (int64_t)done, epoch->version), chunk);
		done += chunk;
	}
	return done;
}

static ssize_t source_read_folios(void *arg, const struct iovec *iov, unsigned nr_segs, int64_t off)
{
	struct epoch epoch;
	size_t done = 0, part = 1;

	(void)arg;
	pthread_mutex_lock(&world.lock);
	epoch = *now();
	pthread_mutex_unlock(&world.lock);
	if (off >= epoch.bad_from && off < epoch.bad_to)
		return -EIO;
	if (off < epoch.bad_from && epoch.bad_to > epoch.bad_from && epoch.bytes > epoch.bad_from)
		epoch.bytes = epoch.bad_from;
	for (unsigned i = 0; i < nr_segs && part && done < epoch.most; i++) {
		size_t len = iov[i].iov_len < epoch.most - done ? iov[i].iov_len : epoch.most - done;

		part = source_copy(&epoch, iov[i].iov_base, len, off + (int64_t)done);
		done += part;
	}
	return (ssize_t)done;
}

static int source_get_state(void *arg, struct usp_mapping_state *ret_state)
{
	(void)arg;
	*ret_state = (struct usp_mapping_state){
		.bytes = now()->bytes, .version = {now()->version}, .is_unsettled = now()->is_unsettled};
	return 0;
}

static const struct usp_mapping_ops source_ops = {
	.size = sizeof(struct usp_mapping_ops),
	.name = "model",
	.read_folios = source_read_folios,
	.get_state = source_get_state,
};

static void source_become(struct epoch epoch)
{
	pthread_mutex_lock(&world.lock);
	world.epochs[++world.epoch] = epoch;
	pthread_mutex_unlock(&world.lock);
}

static void source_change(void)
{
	struct epoch epoch = *now();

	switch (draw(6)) {
	case 0:
	case 1:
		epoch.version++;
		break;
	case 2:
		epoch.bytes = (int64_t)draw(SOURCE_MAX);
		break;
	case 3:
		epoch.version++;
		epoch.is_unsettled = !epoch.is_unsettled;
		epoch.bytes += (int64_t)draw(3 * PAGE) - PAGE - 100;
		epoch.bytes = epoch.bytes < 0 ? 0 : epoch.bytes;
		break;
	case 4:
		epoch.bad_from = (int64_t)draw(SOURCE_MAX);
		epoch.bad_to = draw(2) ? epoch.bad_from + (int64_t)draw_len() : 0;
		break;
	default:
		epoch.most = draw(2) ? SOURCE_MAX : draw_len();
	}
	source_become(epoch);
}

/* --- The threads that read: the test, in scripted worlds --------------------------------------------------------- */

bool __real_usp_filler_ask(struct usp_filler *filler, struct usp_fill *fill, bool is_urgent);
bool __wrap_usp_filler_ask(struct usp_filler *filler, struct usp_fill *fill, bool is_urgent);
void __real_usp_filler_hurry(struct usp_filler *filler, struct usp_fill *fill);
void __wrap_usp_filler_hurry(struct usp_filler *filler, struct usp_fill *fill);
bool __real_usp_filler_cancel(struct usp_filler *filler, struct usp_fill *fill);
bool __wrap_usp_filler_cancel(struct usp_filler *filler, struct usp_fill *fill);
void __real_usp_filler_free(struct usp_filler *filler);
void __wrap_usp_filler_free(struct usp_filler *filler);
void __real_usp_cached_await(struct usp_folio *folio);
void __wrap_usp_cached_await(struct usp_folio *folio);

/* Now and then there is no thread to be had: then the reader reads. */
bool __wrap_usp_filler_ask(struct usp_filler *filler, struct usp_fill *fill, bool is_urgent)
{
	if (!world.is_scripted)
		return __real_usp_filler_ask(filler, fill, is_urgent);
	world.filler = filler;
	if (draw(20) == 0)
		return false;
	TAILQ_INSERT_TAIL(&world.fills, fill, link);
	fill->queue = USP_FILL_AHEAD;
	world.nr_fills++;
	return true;
}

static void fill_take(struct usp_fill *fill)
{
	TAILQ_REMOVE(&world.fills, fill, link);
	fill->queue = USP_FILL_IDLE;
	world.nr_fills--;
}

void __wrap_usp_filler_hurry(struct usp_filler *filler, struct usp_fill *fill)
{
	if (!world.is_scripted)
		__real_usp_filler_hurry(filler, fill);
}

bool __wrap_usp_filler_cancel(struct usp_filler *filler, struct usp_fill *fill)
{
	bool is_queued = world.is_scripted && fill->queue != USP_FILL_IDLE;

	if (is_queued)
		fill_take(fill);
	return world.is_scripted ? is_queued : __real_usp_filler_cancel(filler, fill);
}

/* Read up to nr pieces, in any order. */
static void run_fills(unsigned nr)
{
	while (nr-- && world.nr_fills) {
		struct usp_fill *fill = TAILQ_FIRST(&world.fills);

		for (uint64_t i = draw(world.nr_fills); i; i--)
			fill = TAILQ_NEXT(fill, link);
		fill_take(fill);
		usp_filler_run(world.filler, fill);
	}
}

void __wrap_usp_filler_free(struct usp_filler *filler)
{
	run_fills(UINT32_MAX);
	__real_usp_filler_free(filler);
}

void __wrap_usp_cached_await(struct usp_folio *folio)
{
	run_fills(UINT32_MAX);
	__real_usp_cached_await(folio);
}

/* --- What may be seen ------------------------------------------------------------------------------------------------ */

static bool epoch_has(const struct epoch *epoch, const unsigned char *base, int64_t pos, size_t len)
{
	return pos + (int64_t)len <= epoch->bytes && memcmp(base, source_bytes(pos, epoch->version), len) == 0;
}

static bool was_there(unsigned since, const unsigned char *base, int64_t pos, size_t len)
{
	unsigned epoch = since;

	while (epoch <= world.epoch && !epoch_has(&world.epochs[epoch], base, pos, len))
		epoch++;
	seen.nr_old += epoch < world.epoch;
	return epoch <= world.epoch;
}

/* Bytes that were lent in an epoch are those of this or a later one. Several reads may have filled one folio. */
static void check_bytes(unsigned since, const unsigned char *base, int64_t pos, size_t len)
{
	for (size_t done = 0, chunk; done < len; done += chunk) {
		chunk = CHUNK - ((size_t)pos + done) % CHUNK;
		chunk = chunk < len - done ? chunk : len - done;
		if (was_there(since, base + done, pos + (int64_t)done, chunk))
			continue;
		for (size_t i = done; i < done + chunk; i++)
			check(was_there(since, base + i, pos + (int64_t)i, 1));
	}
}

/*
 * An end: the source was no longer than pos. An error: a read that may have been for this folio failed in front. A
 * thread may have met either before the source changed, and tell it later.
 */
static bool may_be_missing(unsigned since, int64_t pos, ssize_t error)
{
	since = world.is_scripted ? since : 0;
	for (unsigned i = since; i <= world.epoch; i++) {
		const struct epoch *epoch = &world.epochs[i];

		if (error == -ENODATA && epoch->bytes <= pos)
			return true;
		if (error == -EIO && epoch->bad_from < epoch->bad_to && epoch->bad_from <= pos &&
		    epoch->bad_to > pos - (int64_t)FOLIO_MAX)
			return true;
	}
	return false;
}

static struct usp_mapping_usage usage_now(void)
{
	struct usp_mapping_usage usage = {.size = sizeof(usage)};

	usp_mapping_usage(world.mapping, &usage);
	check(usage.bytes <= usage.budget);
	return usage;
}

/* --- Pipes that hold references ---------------------------------------------------------------------------------- */

static void held_open(struct held *held)
{
	const struct usp_pipe_params params = {
		.size = sizeof(params), .nr_slots = 16, .slot_bytes = MIB, .flags = USP_NONBLOCK};

	check(usp_pipe_open(&params, held->end) == 0);
	held->nr_ranges = 0;
}

static void held_empty(struct held *held)
{
	close_pipe(held->end);
	held_open(held);
}

/* A full list of ranges is rare: then the pipe is emptied. */
static void held_add(struct held *held, struct range range)
{
	if (!range.len)
		return;
	check(held->nr_ranges < NR_RANGES);
	held->ranges[held->nr_ranges++] = range;
	if (held->nr_ranges == NR_RANGES)
		held_empty(held);
}

static void held_drop(struct held *held, size_t len)
{
	while (len) {
		struct range *first = &held->ranges[0];
		size_t part = len < first->len ? len : first->len;

		check(held->nr_ranges > 0);
		first->pos += (int64_t)part;
		first->len -= part;
		len -= part;
		if (!first->len)
			memmove(first, first + 1, --held->nr_ranges * sizeof(*first));
	}
}

/* Add the first len bytes of a pipe to another one. */
static void held_share(const struct held *from, struct held *to, size_t len)
{
	for (unsigned i = 0; i < from->nr_ranges && len; i++) {
		struct range range = from->ranges[i];

		range.len = range.len < len ? range.len : len;
		held_add(to, range);
		len -= range.len;
	}
	check(len == 0);
}

/* Read from a pipe and compare. Behind bytes that cannot come the pipe is emptied. */
static void held_read(struct held *held, size_t len)
{
	ssize_t ret = usp_read(held->end[0], bytes, len);
	size_t done = 0;

	if (ret < 0 && ret != -EAGAIN) {
		check(held->nr_ranges && may_be_missing(held->ranges[0].epoch, held->ranges[0].pos, ret));
		++*(ret == -EIO ? &seen.nr_errors : &seen.nr_ends);
		held_empty(held);
	}
	if (ret == -EAGAIN && world.is_scripted)
		check(!held->nr_ranges || world.nr_fills);
	while (ret > 0 && done < (size_t)ret) {
		struct range first = held->ranges[0];
		size_t part = (size_t)ret - done < first.len ? (size_t)ret - done : first.len;

		check_bytes(first.epoch, bytes + done, first.pos, part);
		held_drop(held, part);
		done += part;
	}
}

/* Take the first buf, and write over its bytes: nothing else may change. */
static void held_steal(struct held *held)
{
	struct usp_buf buf;

	if (!held->nr_ranges || !peek_bufs(held->end[0], &buf, 1) || !usp_buf_try_steal(NULL, &buf))
		return;
	memset((unsigned char *)((struct usp_folio *)buf.store)->base + buf.offset, 0xee, buf.len);
	seen.nr_stolen++;
	held_empty(held);
}

/* --- Steps ------------------------------------------------------------------------------------------------------------- */

/* The budget is used up. With all references dropped there is room, and the descriptor says so. */
static void make_room(struct usp_file *reader)
{
	struct pollfd fd = {.events = POLLIN, .fd = usp_file_poll_fd(reader, USP_READ, &(short){0})};
	bool was_held = world.nr_fills || !world.is_scripted;

	seen.nr_starved++;
	check(fd.fd >= 0);
	if (world.nr_fills) { /* the end of a read is news, too */
		run_fills(1);
		check(poll(&fd, 1, 0) == 1);
	}
	for (unsigned i = 0; i < NR_PIPES; i++) {
		was_held |= world.pipes[i].nr_ranges > 0;
		held_empty(&world.pipes[i]);
	}
	check(was_held);
	run_fills(UINT32_MAX);
	check(poll(&fd, 1, 60000) == 1);
}

static int64_t draw_pos(const struct usp_file *reader)
{
	return draw(2) ? reader->pos : (int64_t)draw(SOURCE_MAX);
}

static void step_read(struct usp_file *reader)
{
	int64_t pos = draw_pos(reader);
	size_t len = draw_len();
	ssize_t ret;

	while ((ret = usp_pread(reader, bytes, len, pos)) == -EAGAIN)
		make_room(reader);
	if (ret <= 0)
		check(may_be_missing(world.epoch, pos, ret ? ret : -ENODATA));
	else
		check_bytes(world.epoch, bytes, pos, (size_t)ret);
	if (pos == reader->pos && ret > 0)
		usp_file_seek(reader, ret, SEEK_CUR);
}

static void step_splice(struct usp_file *reader)
{
	struct held *held = &world.pipes[draw(NR_PIPES)];
	int64_t pos = draw_pos(reader), at = pos;
	size_t len = draw_len();
	ssize_t ret;

	if (usp_file_poll(held->end[1]) & POLLOUT) {
		while ((ret = usp_splice(reader, &at, held->end[1], NULL, len, 0)) == -EAGAIN)
			make_room(reader);
		check(ret >= 0 && at == pos + ret);
		check(ret > 0 || pos >= now()->bytes);
		held_add(held, (struct range){.pos = pos, .len = (size_t)ret, .epoch = world.epoch});
		if (pos == reader->pos)
			usp_file_seek(reader, ret, SEEK_CUR);
	}
}

static void step_share(void)
{
	unsigned from = (unsigned)draw(NR_PIPES), to = (from + 1) % NR_PIPES;
	bool is_moved = draw(2);
	ssize_t ret = is_moved ? usp_splice(world.pipes[from].end[0], NULL, world.pipes[to].end[1], NULL, draw_len(), 0)
			       : usp_tee(world.pipes[from].end[0], world.pipes[to].end[1], draw_len(), 0);

	check(ret >= 0 || ret == -EAGAIN);
	if (ret <= 0)
		return;
	held_share(&world.pipes[from], &world.pipes[to], (size_t)ret);
	if (is_moved)
		held_drop(&world.pipes[from], (size_t)ret);
}

static void step_reopen(struct usp_file **reader)
{
	if (*reader)
		drop(reader);
	check(usp_mapping_open(world.mapping, "model", reader) == 0);
	usp_file_set_flags(*reader, USP_NONBLOCK);
	(*reader)->ra.is_kept_above = draw(2);
	usp_file_seek(*reader, (int64_t)draw(SOURCE_MAX), SEEK_SET);
}

/* The source is shorter for a moment, as a file that is written anew. What was read then must not be kept. */
static void step_blink(void)
{
	struct epoch before = *now(), epoch = before;

	epoch.bytes = (int64_t)draw((uint64_t)before.bytes + 1);
	source_become(epoch);
	run_fills(UINT32_MAX);
	source_become(before);
}

static void step_steal(void)
{
	for (unsigned i = 0; i < NR_PIPES; i++)
		held_steal(&world.pipes[i]);
}

static void step(void)
{
	struct usp_file **reader = &world.readers[draw(NR_READERS)];
	uint64_t what = draw(100);

	if (what < 25)
		step_read(*reader);
	else if (what < 55)
		step_splice(*reader);
	else if (what < 75)
		held_read(&world.pipes[draw(NR_PIPES)], draw_len());
	else if (what < 80)
		step_share();
	else if (what < 82)
		step_steal();
	else if (what < 86)
		source_change();
	else if (what < 88)
		usp_mapping_invalidate(world.mapping, (int64_t)draw(SOURCE_MAX), draw(2) ? draw_len() : 0);
	else if (what < 90)
		step_reopen(reader);
	else if (what < 92)
		step_blink();
	else
		run_fills((unsigned)draw(5));
	usage_now();
}

/* --- Worlds ------------------------------------------------------------------------------------------------------------ */

static void world_begin(uint64_t seed)
{
	struct usp_mapping_params params = {.size = sizeof(params), .way = USP_COPIED};

	memset(&world, 0, sizeof(world));
	world.seed = world.draws = seed;
	world.is_scripted = draw(4) > 0;
	TAILQ_INIT(&world.fills);
	pthread_mutex_init(&world.lock, NULL);
	world.epochs[0] = (struct epoch){.bytes = (int64_t)draw(SOURCE_MAX), .most = SOURCE_MAX};
	params.budget = (256 * KIB) << draw(4);
	params.folio_bytes = draw(3) ? 0 : (size_t)PAGE << draw(4);
	params.nr_threads = 1 + (unsigned)draw(4);
	params.piece_bytes = draw(2) ? 0 : (size_t)PAGE << draw(12);
	check(usp_mapping_new(&source_ops, NULL, &params, &world.mapping) == 0);
	for (unsigned i = 0; i < NR_READERS; i++)
		step_reopen(&world.readers[i]);
	for (unsigned i = 0; i < NR_PIPES; i++)
		held_open(&world.pipes[i]);
}

/* Without a reference the memory is given back, at the latest when the last read has ended. */
static void check_no_memory(void)
{
	run_fills(UINT32_MAX);
	usp_mapping_invalidate(world.mapping, 0, 0);
	for (unsigned i = 0; usage_now().bytes; i++) {
		check(!world.is_scripted && i < 60000);
		usleep(1000);
	}
}

static void world_end(void)
{
	bool is_checked = draw(2);

	for (unsigned i = 0; i < NR_PIPES; i++)
		close_pipe(world.pipes[i].end);
	for (unsigned i = 0; i < NR_READERS; i++)
		drop(&world.readers[i]);
	if (is_checked)
		check_no_memory();
	usp_mapping_put(world.mapping);
	pthread_mutex_destroy(&world.lock);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void a_cache_agrees_with_plain_reads(void **state)
{
	uint64_t seed = number_from("MODEL_SEED", 1), nr = number_from("MODEL_WORLDS", NR_WORLDS);

	(void)state;
	world.draws = 99;
	for (size_t i = 0; i < TABLE; i++)
		table[i] = (unsigned char)draw(256);
	memcpy(table + TABLE, table, CHUNK);
	for (uint64_t i = 0; i < nr; i++) {
		world_begin(seed + i);
		for (world.step = 0; world.step < NR_STEPS; world.step++)
			step();
		world_end();
		seen.nr_steps += NR_STEPS;
	}
	print_message("# %" PRIu64 " steps agree: %" PRIu64 " ends, %" PRIu64 " errors, %" PRIu64
		      " waits for memory, %" PRIu64 " stolen, %" PRIu64 " pages of an older version\n",
		      seen.nr_steps, seen.nr_ends, seen.nr_errors, seen.nr_starved, seen.nr_stolen, seen.nr_old);
	/* What never happens is not tested. */
	assert_true(nr < 10 || (seen.nr_ends && seen.nr_errors && seen.nr_starved && seen.nr_stolen && seen.nr_old));
}

int main(void)
{
	const struct CMUnitTest tests[] = {CASE(a_cache_agrees_with_plain_reads)};

	return cmocka_run_group_tests_name("mapping_model", tests, NULL, NULL);
}
