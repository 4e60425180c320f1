/* SPDX-License-Identifier: MIT */
/*
 * test_sized - a program built against an older header, or a newer one, goes on working.
 *
 * What such a program has is put right in front of a page that nobody may touch, so that one byte too many is a fault.
 */
#include "support.h"

#include <poll.h>
#include <sys/mman.h>
#include <usplice/relay.h>

/* --- Structs at the end of memory ----------------------------------------------------------------------- */

static unsigned char *guarded; /* two pages, of which the second is not accessible */

static int map_guarded(void **state)
{
	(void)state;
	guarded = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(guarded, MAP_FAILED);
	return mprotect(guarded + PAGE, PAGE, PROT_NONE);
}

static int unmap_guarded(void **state)
{
	(void)state;
	return munmap(guarded, 2 * PAGE);
}

/* The first len bytes of a struct, as somebody has it who was built with that size. */
static void *cut(const void *from, size_t len)
{
	void *at = guarded + PAGE - len;

	memset(guarded, 0xa5, PAGE);
	memcpy(at, from, len);
	*(size_t *)at = len;
	return at;
}

#define UP_TO(type, member) \
	((offsetof(struct type, member) + 7) / 8 * 8) /* every size is a multiple of its alignment */

/* One that has grown: what we do not know of is filled with a byte. */
struct grown {
	size_t size;
	unsigned char bytes[1024];
};

static void *grow(struct grown *grown, const void *from, size_t len, unsigned char unknown)
{
	memset(grown, unknown, sizeof(*grown));
	memcpy(grown, from, len);
	grown->size = sizeof(*grown);
	return grown;
}

/* --- Parameters --------------------------------------------------------------------------------------------- */

static int open_with(const void *params)
{
	struct usp_file *file;
	int ret = usp_open("zero:", params, &file, NULL);

	if (ret == 0)
		usp_file_put(file);
	return ret;
}

static int open_pipe_with(const void *params)
{
	struct usp_file *end[2];
	int ret = usp_pipe_open(params, end);

	if (ret == 0)
		close_pipe(end);
	return ret;
}

static int new_pipe_with(const void *params)
{
	struct usp_pipe *pipe;
	int ret = usp_pipe_new(params, &pipe);

	if (ret == 0)
		usp_pipe_free(pipe);
	return ret;
}

static int new_pump_with(const void *params)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	struct usp_file *source;
	struct usp_pump *pump;
	int ret;

	assert_int_equal(usp_open("zero:", &to_read, &source, NULL), 0);
	ret = usp_pump_new(source, params, &pump);
	if (ret == 0)
		usp_pump_free(pump);
	usp_file_put(source);
	return ret;
}

static int new_relay_with(const void *params)
{
	struct usp_relay *relay;
	int ret = usp_relay_new(params, &relay);

	if (ret == 0)
		usp_relay_free(relay);
	return ret;
}

static const struct usp_open_params open_params = {.mode = USP_READ};
static const struct usp_pipe_params pipe_params = {.nr_slots = 4};
static const struct usp_pump_params pump_params = {.flags = USP_PUMP_COUNT, .count = 10};
static const struct usp_relay_params relay_params = {.nr_workers = 1};

static const struct {
	const char *name;
	int (*use)(const void *params);
	const void *params;
	size_t len, older_len;
} users[] = {
	{"open", open_with, &open_params, sizeof(open_params), UP_TO(usp_open_params, no_create)},
	{"pipe_open", open_pipe_with, &pipe_params, sizeof(pipe_params), UP_TO(usp_pipe_params, max_bytes)},
	{"pipe_new", new_pipe_with, &pipe_params, sizeof(pipe_params), UP_TO(usp_pipe_params, max_bytes)},
	{"pump_new", new_pump_with, &pump_params, sizeof(pump_params), UP_TO(usp_pump_params, idle_ns)},
	{"relay_new", new_relay_with, &relay_params, sizeof(relay_params), UP_TO(usp_relay_params, source)},
};

static void parameters_of_an_older_program_are_read_as_far_as_they_go(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		print_message("# %s\n", users[i].name);
		assert_int_equal(users[i].use(cut(users[i].params, users[i].older_len)), 0);
		assert_int_equal(users[i].use(cut(users[i].params, users[i].len)), 0);
	}
}

static void parameters_of_a_newer_program_must_not_ask_for_what_is_not_known(void **state)
{
	struct grown grown;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		print_message("# %s\n", users[i].name);
		assert_int_equal(users[i].use(grow(&grown, users[i].params, users[i].len, 0)), 0);
		assert_int_equal(users[i].use(grow(&grown, users[i].params, users[i].len, 1)), -E2BIG);
	}
}

static void parameters_without_a_size_are_einval(void **state)
{
	struct grown grown;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(users); i++) {
		print_message("# %s\n", users[i].name);
		grow(&grown, users[i].params, users[i].len, 0);
		for (grown.size = 0; grown.size < sizeof(grown.size); grown.size++)
			assert_int_equal(users[i].use(&grown), -EINVAL);
	}
}

static void what_an_older_program_does_not_know_has_its_default(void **state)
{
	const struct usp_pipe_params params = {.nr_slots = 4, .slot_bytes = PAGE, .max_bytes = PAGE};
	struct usp_file *end[2];

	(void)state;
	assert_int_equal(usp_pipe_open(cut(&params, UP_TO(usp_pipe_params, max_bytes)), end), 0);
	put_bytes(end[1], 0, 4 * PAGE); /* max_bytes has no say */
	close_pipe(end);
}

/* --- Results ------------------------------------------------------------------------------------------------ */

/* A pump that has moved 10 bytes, and what it can be asked. */
static struct usp_pump *run_pump(void)
{
	const struct usp_open_params to_read = {.size = sizeof(to_read), .mode = USP_READ};
	const struct usp_open_params to_write = {.size = sizeof(to_write), .mode = USP_WRITE};
	const struct usp_pump_params params = {.size = sizeof(params), .flags = USP_PUMP_COUNT, .count = 10};
	struct usp_file *source, *sink;
	struct usp_pump *pump;

	assert_int_equal(usp_open("zero:", &to_read, &source, NULL), 0);
	assert_int_equal(usp_open("null:", &to_write, &sink, NULL), 0);
	assert_int_equal(usp_pump_new(source, &params, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	usp_file_put(source);
	usp_file_put(sink);
	return pump;
}

static void ask_status(struct usp_pump *pump, void *result)
{
	usp_pump_status(pump, result);
}

static void ask_sink_status(struct usp_pump *pump, void *result)
{
	assert_int_equal(usp_pump_sink_status(pump, 0, result), 0);
}

static void ask_total(struct usp_pump *pump, void *result)
{
	usp_pump_total(pump, result);
}

static void ask_source_hop(struct usp_pump *pump, void *result)
{
	usp_pump_hop(pump, 0, result);
}

static void ask_sink_hop(struct usp_pump *pump, void *result)
{
	assert_int_equal(usp_pump_hop(pump, 1, result), 0);
}

static void ask_usage(struct usp_pump *pump, void *result)
{
	(void)pump;
	usp_trim(result);
}

static const struct {
	const char *name;
	void (*ask)(struct usp_pump *pump, void *result);
	size_t len, older_len;
} answers[] = {
	{"status", ask_status, sizeof(struct usp_pump_status), UP_TO(usp_pump_status, stranded)},
	{"sink_status", ask_sink_status, sizeof(struct usp_sink_status), UP_TO(usp_sink_status, stranded)},
	{"total", ask_total, sizeof(struct usp_route_total), UP_TO(usp_route_total, unknown)},
	{"source_hop", ask_source_hop, sizeof(struct usp_hop), UP_TO(usp_hop, reason)},
	{"sink_hop", ask_sink_hop, sizeof(struct usp_hop), UP_TO(usp_hop, nr_calls)},
	{"usage", ask_usage, sizeof(struct usp_usage), UP_TO(usp_usage, nr_kpipes)},
};

static void a_result_for_an_older_program_is_cut_to_what_it_knows(void **state)
{
	struct usp_pump *pump = run_pump();
	struct grown whole;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		unsigned char *part;

		print_message("# %s\n", answers[i].name);
		memset(&whole, 0xa5, sizeof(whole));
		whole.size = answers[i].len;
		answers[i].ask(pump, &whole);
		memset(guarded, 0xa5, PAGE);
		part = guarded + PAGE - answers[i].older_len;
		*(size_t *)part = answers[i].older_len;
		answers[i].ask(pump, part);
		assert_int_equal(*(size_t *)part, answers[i].older_len);
		assert_memory_equal(part + sizeof(size_t), whole.bytes, answers[i].older_len - sizeof(size_t));
	}
	usp_pump_free(pump);
}

static void a_result_for_a_newer_program_is_zero_where_this_one_knows_nothing(void **state)
{
	struct usp_pump *pump = run_pump();
	struct grown whole;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		print_message("# %s\n", answers[i].name);
		memset(&whole, 0xa5, sizeof(whole));
		whole.size = sizeof(whole);
		answers[i].ask(pump, &whole);
		assert_int_equal(whole.size, sizeof(whole));
		for (size_t at = answers[i].len; at < sizeof(whole); at++)
			assert_int_equal(((unsigned char *)&whole)[at], 0);
	}
	usp_pump_free(pump);
}

/* Two waits, with the distance that the caller's struct has. */
static void waits_lie_as_far_apart_as_the_caller_says(void **state)
{
	const size_t older = UP_TO(usp_pump_wait, timeout_ns);
	const struct usp_pump_params params = {.size = sizeof(params)};
	struct usp_pump_wait *first = (void *)(guarded + PAGE - 2 * older), *second = (void *)(guarded + PAGE - older);
	struct usp_file *empty[2], *full[2][2];
	struct usp_pump *pump;

	(void)state;
	memset(guarded, 0xa5, PAGE);
	first->size = older;
	open_pipe(empty, 4, USP_NONBLOCK);
	assert_int_equal(usp_pump_new(empty[0], &params, &pump), 0);
	for (unsigned i = 0; i < 2; i++) {
		open_pipe(full[i], 1, USP_NONBLOCK);
		put_bytes(full[i][1], 0, 10);
		assert_int_equal(usp_pump_add_sink(pump, full[i][1]), 0);
	}
	put_bytes(empty[1], 0, 10);
	assert_int_equal(usp_pump_step(pump, first), -EAGAIN);
	assert_true(usp_pump_waits(pump, first, 2) >= 2);
	assert_ptr_equal(first->file, full[0][1]);
	assert_int_equal(second->size, older);
	assert_ptr_equal(second->file, full[1][1]);
	usp_pump_free(pump);
	close_pipe(empty);
	close_pipe(full[0]);
	close_pipe(full[1]);
}

/* --- Operations --------------------------------------------------------------------------------------------- */

static ssize_t ends_at_once(struct usp_file *in, const struct usp_iter *to, int64_t *pos, unsigned flags)
{
	(void)in, (void)to, (void)pos, (void)flags;
	return 0;
}

static void a_table_needs_its_size_and_no_hook_that_is_not_known(void **state)
{
	struct usp_file_ops ops = {.size = sizeof(ops), .name = "sized", .read_iter = ends_at_once};
	struct usp_file *file;
	struct grown grown;
	unsigned char byte;

	(void)state;
	assert_int_equal(usp_file_new(grow(&grown, &ops, sizeof(ops), 0), USP_READ, "newer", NULL, &file), 0);
	assert_int_equal(usp_read(file, &byte, 1), 0);
	usp_file_put(file);
	assert_int_equal(usp_file_new(grow(&grown, &ops, sizeof(ops), 1), USP_READ, "newer", NULL, &file), -E2BIG);
	ops.size = 0;
	assert_int_equal(usp_file_new(&ops, USP_READ, "no size", NULL, &file), -EINVAL);
}

/* The first version of the table ended with release; no door may look behind it. */
static void the_doors_do_not_look_behind_an_older_table(void **state)
{
	const struct usp_file_ops ops = {.name = "older", .read_iter = ends_at_once};
	const size_t older = UP_TO(usp_file_ops, release) + sizeof(ops.release);
	struct usp_file *file;
	short events;

	(void)state;
	assert_int_equal(usp_file_new(cut(&ops, older), USP_READ | USP_WRITE, "older", NULL, &file), 0);
	assert_int_equal(usp_file_poll(file), POLLIN | POLLOUT);
	assert_int_equal(usp_file_poll_fd(file, USP_READ, &events), -EPERM);
	assert_int_equal(usp_file_sync(file), 0);
	assert_int_equal(usp_file_shutdown(file), 0);
	assert_int_equal(usp_file_seek(file, 0, SEEK_END), -ESPIPE);
	usp_file_put(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(parameters_of_an_older_program_are_read_as_far_as_they_go),
		CASE(parameters_of_a_newer_program_must_not_ask_for_what_is_not_known),
		CASE(parameters_without_a_size_are_einval),
		CASE(what_an_older_program_does_not_know_has_its_default),
		CASE(a_result_for_an_older_program_is_cut_to_what_it_knows),
		CASE(a_result_for_a_newer_program_is_zero_where_this_one_knows_nothing),
		CASE(waits_lie_as_far_apart_as_the_caller_says),
		CASE(a_table_needs_its_size_and_no_hook_that_is_not_known),
		CASE(the_doors_do_not_look_behind_an_older_table),
	};

	return cmocka_run_group_tests_name("sized", tests, map_guarded, unmap_guarded);
}
