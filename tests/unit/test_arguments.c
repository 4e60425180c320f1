/* SPDX-License-Identifier: MIT */
/* test_arguments - every argument that has values which make no sense, at the door of the library: -EINVAL, and what is next to it goes. */
#include "support.h"

#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <usplice/relay.h>

#define MANY UINT64_MAX

static unsigned char memory[PAGE];

/* --- Calls, each with one argument out of the table ----------------------------------------------------------- */

static ssize_t pipe_with(struct usp_pipe_params params)
{
	struct usp_file *end[2];
	struct usp_pipe *pipe;
	ssize_t ret, capacity;

	params.size = sizeof(params);
	ret = usp_pipe_open(&params, end);
	assert_int_equal(usp_pipe_new(&params, &pipe), ret);
	if (ret < 0)
		return ret;
	usp_pipe_free(pipe);
	capacity = usp_pipe_capacity(end[0]);
	close_pipe(end);
	return capacity > 0 ? 0 : capacity - 1000;
}

static ssize_t pipe_slots(uint64_t value)
{
	return pipe_with((struct usp_pipe_params){.nr_slots = value});
}

static ssize_t pipe_slot_bytes(uint64_t value)
{
	return pipe_with((struct usp_pipe_params){.slot_bytes = value});
}

static ssize_t pipe_one_slot_of(uint64_t value)
{
	return pipe_with((struct usp_pipe_params){.nr_slots = 1, .slot_bytes = value});
}

static ssize_t pipe_three_slots_of(uint64_t value)
{
	return pipe_with((struct usp_pipe_params){.nr_slots = 3, .slot_bytes = value});
}

static ssize_t pipe_max_bytes(uint64_t value)
{
	return pipe_with((struct usp_pipe_params){.max_bytes = value});
}

static ssize_t pipe_flags(uint64_t value)
{
	return pipe_with((struct usp_pipe_params){.flags = (unsigned)value});
}

static ssize_t pipe_resize(uint64_t value)
{
	struct usp_file *end[2];
	ssize_t ret;

	open_pipe(end, 4, 0);
	ret = usp_pipe_resize(end[0], value);
	close_pipe(end);
	return ret > 0 ? 0 : ret;
}

static ssize_t open_with(struct usp_open_params params)
{
	struct usp_file *file;
	int ret;

	params.size = sizeof(params);
	ret = usp_open("null:", &params, &file, NULL);
	if (ret == 0)
		drop(&file);
	return ret;
}

static ssize_t open_mode(uint64_t value)
{
	return open_with((struct usp_open_params){.mode = (unsigned)value});
}

static ssize_t open_creat_mode(uint64_t value)
{
	return open_with((struct usp_open_params){.mode = USP_WRITE, .creat_mode = (int)value});
}

static ssize_t open_fd_mode(uint64_t value)
{
	int fd = dup(0), ret;
	struct usp_file *file;

	ret = usp_open_fd(fd, (unsigned)value, "fd", &file);
	if (ret == 0)
		drop(&file);
	else
		close(fd);
	return ret == -EBADF ? 0 : ret; /* it may be open for something else */
}

static ssize_t memory_with(void *base, size_t len, unsigned mode)
{
	struct usp_file *file;
	int ret = usp_open_memory(base, len, mode, NULL, NULL, &file);

	if (ret == 0)
		drop(&file);
	return ret;
}

static ssize_t memory_mode(uint64_t value)
{
	return memory_with(memory, PAGE, (unsigned)value);
}

static ssize_t memory_len(uint64_t value)
{
	return memory_with(memory, value, USP_READ);
}

static ssize_t memory_at(uint64_t value)
{
	return memory_with((void *)(uintptr_t)value, PAGE, USP_READ);
}

static ssize_t file_mode(uint64_t value)
{
	struct usp_file *file;
	int ret = usp_file_new(&mock_bare_ops, (unsigned)value, "bare", NULL, &file);

	if (ret == 0)
		free(file);
	return ret;
}

static ssize_t file_flags(uint64_t value)
{
	struct usp_file *end[2];
	int ret;

	open_pipe(end, 4, 0);
	ret = usp_file_set_flags(end[1], (unsigned)value);
	close_pipe(end);
	return ret;
}

static ssize_t file_whence(uint64_t value)
{
	struct usp_file *file;
	int64_t ret;

	assert_int_equal(usp_open_memory(memory, PAGE, USP_READ, NULL, NULL, &file), 0);
	ret = usp_file_seek(file, 0, (int)value);
	drop(&file);
	return ret;
}

static ssize_t file_offset(uint64_t value)
{
	struct usp_file *file;
	int64_t ret;

	assert_int_equal(usp_open_memory(memory, PAGE, USP_READ, NULL, NULL, &file), 0);
	assert_int_equal(usp_file_seek(file, 1, SEEK_SET), 1);
	ret = usp_file_seek(file, (int64_t)value, SEEK_CUR);
	drop(&file);
	return ret < 0 ? ret : 0;
}

static ssize_t file_poll_side(uint64_t value)
{
	struct usp_file *end[2];
	short events;
	int ret;

	open_pipe(end, 4, 0);
	ret = usp_file_poll_fd(end[0], (unsigned)value, &events);
	close_pipe(end);
	return ret < 0 ? ret : 0;
}

/* Every call that takes flags of splices must say the same about them. */
static ssize_t splice_flags(uint64_t value)
{
	unsigned flags = (unsigned)value | USP_SPLICE_NONBLOCK;
	struct usp_file *one[2], *two[2], *file;
	struct usp_gift *gift;
	ssize_t ret;

	open_pipe(one, 4, 0);
	open_pipe(two, 4, 0);
	put_bytes(one[1], 0, 10);
	assert_int_equal(usp_open_memory(memory, PAGE, USP_READ, NULL, NULL, &file), 0);
	assert_int_equal(usp_gift_new(memory, PAGE, NULL, NULL, &gift), 0);
	ret = usp_splice(one[0], NULL, two[1], NULL, 10, flags);
	ret = ret > 0 ? 0 : ret;
	assert_int_equal(usp_tee(two[0], one[1], 10, flags), ret ? ret : 10);
	assert_int_equal(usp_vmsplice(one[1], &(struct iovec){memory, 10}, 1, flags), ret ? ret : 10);
	assert_int_equal(usp_gift_splice(gift, 0, 10, one[1], flags), ret ? ret : 10);
	assert_int_equal(usp_splice_direct(file, NULL, one[1], NULL, 10, flags, NULL), ret ? ret : 10);
	usp_gift_put(gift);
	drop(&file);
	close_pipe(one);
	close_pipe(two);
	return ret;
}

static ssize_t gift_len(uint64_t value)
{
	struct usp_gift *gift;
	int ret = usp_gift_new(memory, value, NULL, NULL, &gift);

	if (ret == 0)
		usp_gift_put(gift);
	return ret;
}

static ssize_t gift_at(uint64_t value)
{
	struct usp_gift *gift;
	int ret = usp_gift_new((void *)(uintptr_t)value, PAGE, NULL, NULL, &gift);

	if (ret == 0)
		usp_gift_put(gift);
	return ret;
}

static ssize_t gift_range(uint64_t off)
{
	struct usp_file *end[2];
	struct usp_gift *gift;
	ssize_t ret;

	open_pipe(end, 4, 0);
	assert_int_equal(usp_gift_new(memory, PAGE, NULL, NULL, &gift), 0);
	ret = usp_gift_splice(gift, off, PAGE - 10, end[1], 0);
	usp_gift_put(gift);
	close_pipe(end);
	return ret > 0 ? 0 : ret;
}

static ssize_t folio_range(uint64_t off)
{
	struct usp_folio *folio = usp_folio_new(PAGE);
	const struct usp_pipe_params params = {.size = sizeof(params)};
	struct usp_pipe *pipe;
	ssize_t ret;

	assert_int_equal(usp_pipe_new(&params, &pipe), 0);
	assert_int_equal(usp_pipe_begin_write(pipe, 0), 0);
	ret = usp_pipe_push_folio(pipe, folio, off, PAGE - 10, 0);
	usp_pipe_end_write(pipe);
	usp_pipe_free(pipe);
	usp_folio_put(folio);
	return ret > 0 ? 0 : ret;
}

/* The last of two segments. */
static ssize_t segment_len(uint64_t value)
{
	struct iovec iov[] = {{memory, 1}, {memory, value}};
	struct usp_file *end[2];
	ssize_t ret;

	open_pipe(end, 4, USP_NONBLOCK);
	ret = usp_writev(end[1], iov, 2);
	if (ret < 0)
		assert_int_equal(usp_vmsplice(end[1], iov, 2, USP_SPLICE_NONBLOCK), ret);
	close_pipe(end);
	return ret > 0 ? 0 : ret;
}

static ssize_t segment_count(uint64_t value)
{
	static struct iovec iov[1025];
	struct usp_file *end[2];
	ssize_t ret;

	open_pipe(end, 4, USP_NONBLOCK);
	ret = usp_writev(end[1], iov, (unsigned)value);
	close_pipe(end);
	return ret;
}

static ssize_t pump_with(struct usp_pump_params params)
{
	struct usp_file *file;
	struct usp_pump *pump;
	int ret;

	params.size = sizeof(params);
	assert_int_equal(usp_open_memory(memory, PAGE, USP_READ, NULL, NULL, &file), 0);
	ret = usp_pump_new(file, &params, &pump);
	if (ret == 0)
		usp_pump_free(pump);
	drop(&file);
	return ret;
}

static ssize_t pump_flags(uint64_t value)
{
	return pump_with((struct usp_pump_params){.flags = (unsigned)value});
}

static ssize_t pump_lane(uint64_t value)
{
	return pump_with((struct usp_pump_params){.lane = (enum usp_lane_choice)value});
}

static ssize_t pump_slow(uint64_t value)
{
	return pump_with((struct usp_pump_params){.slow_ns = value});
}

static ssize_t pump_idle(uint64_t value)
{
	return pump_with((struct usp_pump_params){.idle_ns = value});
}

static ssize_t pump_total(uint64_t value)
{
	return pump_with((struct usp_pump_params){.total_ns = value});
}

/* Of a pump with one sink, that has run if ran. */
static ssize_t pump_index(uint64_t index)
{
	struct usp_sink_status status = {.size = sizeof(status)};
	struct usp_hop hop = {.size = sizeof(hop)};
	struct usp_file *source, *sink;
	struct usp_pump *pump;
	int ret;

	assert_int_equal(usp_open_memory(memory, PAGE, USP_READ, NULL, NULL, &source), 0);
	assert_int_equal(
		usp_open("null:", &(struct usp_open_params){.size = sizeof(struct usp_open_params), .mode = USP_WRITE},
			 &sink, NULL),
		0);
	assert_int_equal(usp_pump_new(source, NULL, &pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), 0);
	assert_int_equal(usp_pump_run(pump), 0);
	assert_int_equal(usp_pump_add_sink(pump, sink), -EINVAL);
	assert_int_equal(usp_pump_salvage(pump, 0, source), -EBADF);
	ret = usp_pump_sink_status(pump, (unsigned)index, &status);
	assert_int_equal(usp_pump_hop(pump, (unsigned)index == UINT_MAX ? UINT_MAX : 1 + (unsigned)index, &hop), ret);
	assert_int_equal(usp_pump_salvage(pump, (unsigned)index, sink), ret);
	usp_pump_free(pump);
	drop(&source);
	drop(&sink);
	return ret;
}

static ssize_t relay_with(struct usp_relay_params params)
{
	struct usp_relay *relay;
	int ret;

	params.size = sizeof(params);
	ret = usp_relay_new(&params, &relay);
	if (ret == 0)
		usp_relay_free(relay);
	return ret;
}

#define RELAY_MEMBER(member)                                        \
	static ssize_t relay_##member(uint64_t value)               \
	{                                                           \
		struct usp_relay_params params = {.nr_workers = 0}; \
                                                                    \
		params.member = (__typeof__(params.member))value;   \
		return relay_with(params);                          \
	}

RELAY_MEMBER(nr_workers)
RELAY_MEMBER(backlog)
RELAY_MEMBER(connect_timeout_ns)
RELAY_MEMBER(idle_timeout_ns)
RELAY_MEMBER(exit_idle_ns)
RELAY_MEMBER(drain_timeout_ns)
RELAY_MEMBER(retry_after_ns)
RELAY_MEMBER(balance)
RELAY_MEMBER(lane)
RELAY_MEMBER(proxy_send)

/* --- The table ---------------------------------------------------------------------------------------------------- */

#define TAKES_MAX 3
#define REFUSES_MAX 5

static const struct argument {
	const char *name;
	ssize_t (*call)(uint64_t value);
	uint64_t takes[TAKES_MAX], refuses[REFUSES_MAX]; /* up to the first 0 behind the first */
} arguments[] = {
	{"pipe: nr_slots", pipe_slots, {0, 1, 1 << 20}, {(1 << 20) + 1, SIZE_MAX}},
	{"pipe: slot_bytes",
	 pipe_slot_bytes,
	 {0, 4096, SSIZE_MAX / 16},
	 {1, 4095, SSIZE_MAX / 16 + 1, SIZE_MAX - 4095, SIZE_MAX}},
	{"pipe: slot_bytes of one slot", pipe_one_slot_of, {SSIZE_MAX}, {(size_t)SSIZE_MAX + 1, SIZE_MAX}},
	{"pipe: slot_bytes of three slots, which are four",
	 pipe_three_slots_of,
	 {SSIZE_MAX / 4},
	 {SSIZE_MAX / 3, SIZE_MAX / 2}},
	{"pipe: max_bytes", pipe_max_bytes, {0, 1, SSIZE_MAX}, {(size_t)SSIZE_MAX + 1, SIZE_MAX}},
	{"pipe: flags", pipe_flags, {0, USP_NONBLOCK | USP_PACKET}, {USP_APPEND, USP_DIRECT, 0x10, 0x80000000}},
	{"pipe: resize", pipe_resize, {0, 4096}, {((size_t)1 << 31) + 1, SIZE_MAX - 1, SIZE_MAX}},
	{"open: mode", open_mode, {USP_WRITE}, {0x4, USP_WRITE | 0x4, 0x80000002}},
	{"open: creat_mode", open_creat_mode, {0, 0644, S_IFREG | 07777}, {0x10000, S_IFDIR | 0644, (uint64_t)-1}},
	{"open_fd: mode", open_fd_mode, {USP_READ}, {0x4, USP_READ | 0x8}},
	{"open_memory: mode", memory_mode, {USP_READ, USP_WRITE}, {0x4, USP_READ | 0x80}},
	{"open_memory: len", memory_len, {1, PAGE}, {(size_t)SSIZE_MAX + 1, SIZE_MAX}},
	{"open_memory: base", memory_at, {PAGE}, {UINTPTR_MAX - PAGE + 1, UINTPTR_MAX}},
	{"file_new: mode", file_mode, {USP_READ, USP_READ | USP_WRITE}, {0x4, USP_READ | 0x80000000}},
	{"set_flags",
	 file_flags,
	 {0, USP_NONBLOCK, USP_PACKET},
	 {USP_APPEND, USP_DIRECT, 0x10, USP_NONBLOCK | 0x80000000}},
	{"seek: whence", file_whence, {SEEK_SET}, {3, 4, (uint64_t)-1}},
	{"seek: off", file_offset, {0, INT64_MAX - 1}, {INT64_MAX, (uint64_t)INT64_MIN, (uint64_t)-2}},
	{"poll_fd: side", file_poll_side, {USP_READ, USP_WRITE}, {USP_READ | USP_WRITE, 0x4, 0x80000001}},
	{"splice, tee, vmsplice, gift_splice, splice_direct: flags",
	 splice_flags,
	 {0, USP_SPLICE_MOVE | USP_SPLICE_MORE},
	 {0x10, 0x20, 0x80000000}},
	{"gift: len", gift_len, {1, PAGE}, {(size_t)SSIZE_MAX + 1, SIZE_MAX - PAGE, SIZE_MAX}},
	{"gift: base", gift_at, {PAGE}, {UINTPTR_MAX - PAGE + 1, UINTPTR_MAX}},
	{"gift_splice: off", gift_range, {0, 10}, {11, PAGE + 1, SIZE_MAX, SIZE_MAX - PAGE + 11}},
	{"push_folio: off", folio_range, {0, 10}, {11, PAGE + 1, SIZE_MAX, SIZE_MAX - PAGE + 11}},
	{"writev, vmsplice: the sum of lengths",
	 segment_len,
	 {1, PAGE - 1},
	 {SSIZE_MAX, (size_t)SSIZE_MAX + 1, SIZE_MAX}},
	{"writev: nr_segs", segment_count, {0, 1024}, {1025, UINT_MAX}},
	{"pump: flags", pump_flags, {0, 0xfff}, {0x1000, 0x80000000, UINT_MAX}},
	{"pump: lane", pump_lane, {USP_LANE_AUTO, USP_LANE_KERNEL, USP_LANE_USER}, {3, 0x80000000, (uint64_t)-1}},
	{"pump: slow_ns", pump_slow, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"pump: idle_ns", pump_idle, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"pump: total_ns", pump_total, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"pump: index of a sink", pump_index, {0}, {1, UINT_MAX}},
	{"relay: nr_workers", relay_nr_workers, {0, 2}, {257, UINT_MAX}},
	{"relay: backlog", relay_backlog, {0, INT_MAX}, {(uint64_t)INT_MAX + 1, UINT_MAX}},
	{"relay: connect_timeout_ns", relay_connect_timeout_ns, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"relay: idle_timeout_ns", relay_idle_timeout_ns, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"relay: exit_idle_ns", relay_exit_idle_ns, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"relay: drain_timeout_ns", relay_drain_timeout_ns, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"relay: retry_after_ns", relay_retry_after_ns, {0, INT64_MAX}, {(uint64_t)INT64_MAX + 1, MANY}},
	{"relay: balance", relay_balance, {0, 2}, {3, (uint64_t)-1}},
	{"relay: lane", relay_lane, {0, 2}, {3, (uint64_t)-1}},
	{"relay: proxy_send", relay_proxy_send, {0, 2}, {3, UINT_MAX}},
};

static void what_makes_no_sense_is_refused_and_what_is_next_to_it_goes(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(arguments); i++) {
		const struct argument *argument = &arguments[i];

		for (unsigned j = 0; j < TAKES_MAX && (j == 0 || argument->takes[j]); j++) {
			ssize_t ret = argument->call(argument->takes[j]);

			if (ret != 0)
				fail_msg("%s: %#lx gives %zd", argument->name, (unsigned long)argument->takes[j], ret);
		}
		for (unsigned j = 0; j < REFUSES_MAX && argument->refuses[j]; j++) {
			ssize_t ret = argument->call(argument->refuses[j]);

			if (ret != -EINVAL)
				fail_msg("%s: %#lx gives %zd", argument->name, (unsigned long)argument->refuses[j],
					 ret);
		}
	}
}

static void files_without_a_mode_are_refused(void **state)
{
	(void)state;
	assert_int_equal(open_mode(0), -EINVAL);
	assert_int_equal(open_fd_mode(0), -EINVAL);
	assert_int_equal(memory_mode(0), -EINVAL);
	assert_int_equal(memory_len(0), -EINVAL);
	assert_int_equal(gift_len(0), -EINVAL);
	assert_int_equal(file_poll_side(0), -EINVAL);
}

static void a_pipe_that_is_lent_must_have_its_two_ends_in_order(void **state)
{
	struct usp_file *end[2], *swapped[2], *in, *out;

	(void)state;
	open_pipe(end, 4, 0);
	swapped[0] = end[1];
	swapped[1] = end[0];
	assert_int_equal(usp_open_memory(memory, PAGE, USP_READ, NULL, NULL, &in), 0);
	assert_int_equal(usp_open_memory(memory, PAGE, USP_WRITE, NULL, NULL, &out), 0);
	assert_int_equal(usp_splice_direct(in, NULL, out, NULL, 10, 0, swapped), -EINVAL);
	assert_int_equal(usp_splice_direct(in, NULL, out, NULL, 10, 0, (struct usp_file *[]){end[0], end[0]}), -EINVAL);
	assert_int_equal(usp_splice_direct(in, NULL, out, NULL, 10, 0, end), 10);
	drop(&in);
	drop(&out);
	close_pipe(end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(what_makes_no_sense_is_refused_and_what_is_next_to_it_goes),
		CASE(files_without_a_mode_are_refused),
		CASE(a_pipe_that_is_lent_must_have_its_two_ends_in_order),
	};

	return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
