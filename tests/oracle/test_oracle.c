/* SPDX-License-Identifier: MIT */
/*
 * test_oracle - the same script on kernel pipes and on ours: every result, errno, poll bit, byte count and byte must agree.
 *
 * A script is a line of steps on two pipes, A and B, of 16 slots of 4096 bytes, all ends nonblocking at first:
 *
 *   Aw100  write 100 bytes         Ar100  read up to 100           Av100  vmsplice from memory    Au100  vmsplice to memory
 *   As100  splice A to B           At100  tee A to B               Bs, Bt the other way round
 *   Az100  set the size            Ag     get the size             Ax     close the read end      Ay     close the write end
 *   Ap1    packet mode on (0 off)  Aj0    read end may block       Ak0    write end may block     (1: nonblocking again)
 *   AS100  splice, unknown flag    AT100  tee, unknown flag        Ao100  splice with an offset   Ac100  splice A to itself
 *   Am100  tee A to itself         An100  splice by SPLICE_NONBLOCK  Aq100  read the write end    Ai100  write the read end
 *   AU100  vmsplice, unknown flag  Af100  splice from the write end
 *
 * After each step both pipes are looked at too. A step on an end that is closed is skipped on both sides.
 */
#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define NR_RANDOM_SCRIPTS 400
#define NR_RANDOM_STEPS 60
#define BYTES_MAX (1u << 20)

struct step {
	char op;
	unsigned pipe; /* 0 is A, 1 is B; the other one is where splice and tee go */
	size_t arg;
};

/* What can be seen of both pipes from outside: poll bits of both ends, and bytes. */
struct view {
	unsigned bits[2][2];
	ssize_t bytes[2];
};

/* --- The kernel's side -------------------------------------------------------------------------------------------- */

static int kernel_fd[2][2];

static ssize_t kernel_result(ssize_t ret)
{
	return ret < 0 ? -errno : ret;
}

static ssize_t kernel_flag(int fd, int flag, bool is_on)
{
	int flags = fcntl(fd, F_GETFL);

	return kernel_result(fcntl(fd, F_SETFL, is_on ? flags | flag : flags & ~flag));
}

static ssize_t kernel_splice(int in, int out, size_t len, unsigned flags)
{
	return kernel_result(splice(in, NULL, out, NULL, len, flags));
}

static ssize_t kernel_vmsplice(int fd, void *base, size_t len, unsigned flags)
{
	return kernel_result(vmsplice(fd, &(struct iovec){.iov_base = base, .iov_len = len}, 1, flags));
}

static void kernel_close_end(unsigned pipe, unsigned end)
{
	if (kernel_fd[pipe][end] >= 0)
		close(kernel_fd[pipe][end]);
	kernel_fd[pipe][end] = -1;
}

static ssize_t kernel_run(const struct step *step, unsigned char *bytes)
{
	int *fd = kernel_fd[step->pipe], out = kernel_fd[!step->pipe][1];
	loff_t off = 0;

	/* clang-format off */
	switch (step->op) {
	case 'w': return kernel_result(write(fd[1], bytes, step->arg));
	case 'i': return kernel_result(write(fd[0], bytes, step->arg));
	case 'r': return kernel_result(read(fd[0], bytes, step->arg));
	case 'q': return kernel_result(read(fd[1], bytes, step->arg));
	case 'v': return kernel_vmsplice(fd[1], bytes, step->arg, SPLICE_F_NONBLOCK);
	case 'u': return kernel_vmsplice(fd[0], bytes, step->arg, SPLICE_F_NONBLOCK);
	case 'U': return kernel_vmsplice(fd[1], bytes, step->arg, 0x10);
	case 's': return kernel_splice(fd[0], out, step->arg, 0);
	case 'n': return kernel_splice(fd[0], out, step->arg, SPLICE_F_NONBLOCK);
	case 'S': return kernel_splice(fd[0], out, step->arg, 0x10);
	case 'f': return kernel_splice(fd[1], out, step->arg, 0);
	case 'c': return kernel_splice(fd[0], fd[1], step->arg, 0);
	case 'o': return kernel_result(splice(fd[0], &off, out, NULL, step->arg, 0));
	case 't': return kernel_result(tee(fd[0], out, step->arg, 0));
	case 'T': return kernel_result(tee(fd[0], out, step->arg, 0x10));
	case 'm': return kernel_result(tee(fd[0], fd[1], step->arg, 0));
	case 'z': return kernel_result(fcntl(fd[0], F_SETPIPE_SZ, step->arg));
	case 'g': return kernel_result(fcntl(fd[1], F_GETPIPE_SZ));
	case 'p': return kernel_flag(fd[1], O_DIRECT, step->arg);
	case 'j': return kernel_flag(fd[0], O_NONBLOCK, step->arg);
	case 'k': return kernel_flag(fd[1], O_NONBLOCK, step->arg);
	default: fail_msg("no step '%c'", step->op); return 0;
	}
	/* clang-format on */
}

static void kernel_look(struct view *ret_view)
{
	for (unsigned i = 0; i < 4; i++) {
		struct pollfd poll_fd = {.fd = kernel_fd[i / 2][i % 2], .events = POLLIN | POLLOUT};
		int bytes;

		ret_view->bits[i / 2][i % 2] = 0;
		if (poll_fd.fd < 0)
			continue;
		assert_true(poll(&poll_fd, 1, 0) >= 0);
		ret_view->bits[i / 2][i % 2] = (unsigned)poll_fd.revents;
		assert_int_equal(ioctl(poll_fd.fd, FIONREAD, &bytes), 0);
		ret_view->bytes[i / 2] = bytes;
	}
}

/* --- Our side ------------------------------------------------------------------------------------------------------ */

static struct usp_file *our_end[2][2];

static ssize_t our_flag(struct usp_file *end, unsigned flag, bool is_on)
{
	unsigned flags = usp_file_flags(end);

	return usp_file_set_flags(end, is_on ? flags | flag : flags & ~flag);
}

static ssize_t our_vmsplice(struct usp_file *end, void *base, size_t len, unsigned flags)
{
	return usp_vmsplice(end, &(struct iovec){.iov_base = base, .iov_len = len}, 1, flags);
}

static ssize_t our_run(const struct step *step, unsigned char *bytes)
{
	struct usp_file **end = our_end[step->pipe], *out = our_end[!step->pipe][1];
	int64_t off = 0;

	/* clang-format off */
	switch (step->op) {
	case 'w': return usp_write(end[1], bytes, step->arg);
	case 'i': return usp_write(end[0], bytes, step->arg);
	case 'r': return usp_read(end[0], bytes, step->arg);
	case 'q': return usp_read(end[1], bytes, step->arg);
	case 'v': return our_vmsplice(end[1], bytes, step->arg, USP_SPLICE_NONBLOCK);
	case 'u': return our_vmsplice(end[0], bytes, step->arg, USP_SPLICE_NONBLOCK);
	case 'U': return our_vmsplice(end[1], bytes, step->arg, 0x10);
	case 's': return usp_splice(end[0], NULL, out, NULL, step->arg, 0);
	case 'n': return usp_splice(end[0], NULL, out, NULL, step->arg, USP_SPLICE_NONBLOCK);
	case 'S': return usp_splice(end[0], NULL, out, NULL, step->arg, 0x10);
	case 'f': return usp_splice(end[1], NULL, out, NULL, step->arg, 0);
	case 'c': return usp_splice(end[0], NULL, end[1], NULL, step->arg, 0);
	case 'o': return usp_splice(end[0], &off, out, NULL, step->arg, 0);
	case 't': return usp_tee(end[0], out, step->arg, 0);
	case 'T': return usp_tee(end[0], out, step->arg, 0x10);
	case 'm': return usp_tee(end[0], end[1], step->arg, 0);
	case 'z': return usp_pipe_resize(end[0], step->arg);
	case 'g': return usp_pipe_capacity(end[1]);
	case 'p': return our_flag(end[1], USP_PACKET, step->arg);
	case 'j': return our_flag(end[0], USP_NONBLOCK, step->arg);
	case 'k': return our_flag(end[1], USP_NONBLOCK, step->arg);
	default: fail_msg("no step '%c'", step->op); return 0;
	}
	/* clang-format on */
}

static void our_look(struct view *ret_view)
{
	for (unsigned i = 0; i < 4; i++) {
		struct usp_file *end = our_end[i / 2][i % 2];

		ret_view->bits[i / 2][i % 2] = 0;
		if (!end)
			continue;
		ret_view->bits[i / 2][i % 2] = usp_file_poll(end);
		ret_view->bytes[i / 2] = usp_pipe_bytes(end);
	}
}

/* --- Both ------------------------------------------------------------------------------------------------------------ */

/* Does every end that the step touches exist? One world is asked for both, as they close together. */
static bool step_is_possible(const struct step *step)
{
	struct usp_file **end = our_end[step->pipe], *out = our_end[!step->pipe][1];

	if (strchr("wvpgkqU", step->op))
		return end[1];
	if (strchr("rujzi", step->op))
		return end[0];
	if (step->op == 'f')
		return end[1] && out;
	if (strchr("cm", step->op))
		return end[0] && end[1];
	return end[0] && out;
}

static void oracle_open(void)
{
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(pipe2(kernel_fd[i], O_NONBLOCK | O_CLOEXEC), 0);
		open_pipe(our_end[i], 16, USP_NONBLOCK);
	}
}

static void oracle_close(void)
{
	for (unsigned i = 0; i < 2; i++) {
		kernel_close_end(i, 0);
		kernel_close_end(i, 1);
		close_pipe(our_end[i]);
	}
}

static uint64_t stream_off; /* of what write writes: no two writes have the same bytes */
static unsigned char *kernel_bytes, *our_bytes;

static void fill_sources(const struct step *step)
{
	size_t len = step->arg < BYTES_MAX ? step->arg : BYTES_MAX;
	uint64_t off = step->op == 'v' ? 0 : stream_off; /* what vmsplice refers to is always the same */
	bool is_source = strchr("wv", step->op);

	for (unsigned i = 0; i < 2; i++) {
		unsigned char *bytes = i ? our_bytes : kernel_bytes;

		if (is_source)
			pattern_fill(bytes, off, len);
		else
			memset(bytes, 0, len);
	}
	if (step->op == 'w')
		stream_off += len;
}

/* The kernel refers to the memory of vmsplice for as long as it is in a pipe: nothing else may use that. */
static unsigned char *kernel_memory(const struct step *step)
{
	static unsigned char *constant;

	if (!constant) {
		constant = aligned_alloc(PAGE, BYTES_MAX);
		assert_non_null(constant);
		pattern_fill(constant, 0, BYTES_MAX);
	}
	return step->op == 'v' ? constant : kernel_bytes;
}

static bool views_agree(const struct view *a, const struct view *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void print_view(const char *name, ssize_t ret, const struct view *view)
{
	print_error("  %-7s %zd; A: %zd bytes, poll 0x%02x 0x%02x; B: %zd bytes, poll 0x%02x 0x%02x\n", name, ret,
		    view->bytes[0], view->bits[0][0], view->bits[0][1], view->bytes[1], view->bits[1][0],
		    view->bits[1][1]);
}

/* One step on both sides; false if they do not agree. */
static bool oracle_step(const struct step *step)
{
	struct view kernel_view = {.bytes = {-1, -1}}, our_view = {.bytes = {-1, -1}};
	ssize_t kernel_ret = 0, our_ret = 0;

	if (strchr("xy", step->op)) {
		kernel_close_end(step->pipe, step->op == 'y');
		drop(&our_end[step->pipe][step->op == 'y']);
	} else if (step_is_possible(step)) {
		fill_sources(step);
		kernel_ret = kernel_run(step, kernel_memory(step));
		our_ret = our_run(step, our_bytes);
	}
	kernel_look(&kernel_view);
	our_look(&our_view);
	if (kernel_ret == our_ret && views_agree(&kernel_view, &our_view) &&
	    (!strchr("ru", step->op) || kernel_ret <= 0 || memcmp(kernel_bytes, our_bytes, (size_t)kernel_ret) == 0))
		return true;
	print_error("after %c%c%zu:\n", "AB"[step->pipe], step -> op, step -> arg);
	print_view("kernel", kernel_ret, &kernel_view);
	print_view("usplice", our_ret, &our_view);
	return false;
}

/* --- Scenarios ----------------------------------------------------------------------------------------------------------- */

struct scenario {
	const char *name, *script;
};

static const struct scenario scenarios[] = {
	/* capacity (R1-R8) */
	{"a_new_pipe_has_sixteen_slots", "Ag Bg"},
	{"sizes_are_rounded_up", "Az0 Az1 Az4095 Az4096 Az4097 Az8193 Az65536 Az65537 Az131072 Ag"},
	{"a_size_beyond_the_limit_is_einval", "Az2147483649 Az18446744073709551615 Ag"},
	{"shrinking_counts_slots", "Ap1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Az32768 Ag Ar9 Az32768 Az16384 Ag"},
	{"exactly_the_slots_in_use_may_stay", "Ap1 Aw1 Aw1 Aw1 Aw1 Az16384 Az8192 Ag"},
	{"a_size_may_be_set_on_an_empty_pipe_to_one_slot", "Az4096 Aw4096 Aw1 Ar4096 Aw5000 Ar10000"},
	{"a_resize_keeps_the_order", "Az16384 Aw12288 Ar8192 Aw10000 Az65536 Aw3 Ar1000 Ar50000"},
	{"a_resize_keeps_packets", "Ap1 Aw3 Aw4 Aw5 Az16384 Ar100 Ar100 Ar100 Ar100"},
	{"a_resize_keeps_what_can_be_merged", "Aw100 Az8192 Aw100 Az65536 Aw100 Az4096 Ar1000"},
	{"growing_makes_a_full_pipe_writable", "Az4096 Aw4096 Aw1 Az8192 Aw1 Aw5000"},
	{"shrinking_makes_a_pipe_full", "Aw4096 Aw4096 Az8192 Aw1 Ar1 Aw1 Ar4095 Aw1"},
	/* writing (R9-R18) */
	{"a_write_of_nothing", "Aw0 Ax Aw0"},
	{"a_write_without_readers", "Ax Aw1 Aw5000"},
	{"a_write_merges_the_odd_bytes", "Az8192 Aw100 Aw8092 Ar10000"},
	{"a_write_that_does_not_fit_merges_nothing", "Az8192 Aw100 Aw8093 Ar10000"},
	{"a_write_of_whole_pages_does_not_merge", "Az8192 Aw1 Aw4096 Aw4096 Ar10000"},
	{"small_writes_share_a_slot", "Az4096 Aw1000 Aw1000 Aw1000 Aw1000 Aw96 Aw1 Ar5000"},
	{"a_read_does_not_give_room_in_front_back", "Az4096 Aw4000 Ar3999 Aw97 Aw96 Ar1000"},
	{"a_read_of_a_whole_slot_gives_it_back", "Az4096 Aw4000 Ar4000 Aw4096 Ar5000"},
	{"up_to_a_page_goes_in_whole_or_not_at_all", "Az8192 Aw4097 Aw4096 Aw4095 Aw1 Ar10000"},
	{"a_large_write_goes_in_as_far_as_it_fits", "Aw1000000 Aw1 Ar1000000 Ar1"},
	{"a_large_write_behind_a_small_one", "Aw10 Aw1000000 Ar1000000"},
	{"a_full_pipe_with_room_to_merge_is_not_writable_but_takes_it", "Az4096 Aw10 Aw10 Aw4076 Aw1 Ar5000"},
	{"a_merge_into_a_buf_that_was_read_in_part", "Az4096 Aw100 Ar50 Aw100 Ar50 Aw100 Ar1000"},
	{"an_emptied_pipe_begins_with_a_new_slot", "Az4096 Aw4000 Ar4000 Aw4000 Ar4000 Aw100 Ar100"},
	{"packets_take_a_slot_each", "Az8192 Ap1 Aw1 Aw1 Aw1 Ar100 Aw1 Ar100 Ar100"},
	{"packet_mode_begins_with_the_next_slot", "Aw2 Ap1 Aw2 Aw2 Ar100 Aw2 Aw2 Ar100 Ar100"},
	{"packet_mode_ends_with_the_next_slot", "Ap1 Aw2 Ap0 Aw2 Aw2 Ar100 Ar100"},
	{"packets_larger_than_a_page_are_split", "Ap1 Aw5000 Ar10000 Ar10000 Ar1"},
	{"a_packet_that_does_not_fit_goes_in_as_pages", "Az8192 Ap1 Aw10000 Ar10000 Ar10000 Ar10000"},
	{"writing_to_the_read_end", "Ai1 Ai0"},
	/* reading (R19-R25) */
	{"a_read_of_nothing", "Ar0 Aw1 Ar0 Ar1 Ay Ar0"},
	{"a_read_of_an_empty_pipe", "Ar1 Aw1 Ar1 Ar1"},
	{"a_read_of_an_ended_pipe", "Aw5 Ay Ar3 Ar3 Ar3"},
	{"a_read_crosses_slots", "Aw4096 Aw4096 Aw4096 Ar5000 Ar5000 Ar5000"},
	{"a_read_takes_part_of_a_packet_and_loses_the_rest", "Ap1 Aw904 Ar10 Ar10"},
	{"a_read_of_exactly_a_packet", "Ap1 Aw10 Aw10 Ar10 Ar10 Ar10"},
	{"a_read_goes_from_stream_into_packet", "Aw3 As3 Ap1 Aw3 Aw3 As100 Br100 Br100 Br100"},
	{"a_read_goes_from_stream_into_packet_and_loses_its_tail", "Aw3 As3 Ap1 Aw6 As6 Br5 Br5"},
	{"a_read_stops_behind_a_packet", "Ap1 Aw3 Ap0 As3 Bw6 Br100 Br100"},
	{"reading_the_write_end", "Aw1 Aq1 Aq0"},
	/* readiness and ends (R30-R37) */
	{"readiness_of_an_ended_pipe", "Aw1 Ay Ar1"},
	{"readiness_of_a_broken_pipe", "Aw1 Ax Aw1"},
	{"readiness_of_a_broken_full_pipe", "Az4096 Aw1 Ax"},
	{"one_byte_of_a_slot_makes_nothing_writable", "Az4096 Aw4096 Ar1 Ar4094 Ar1"},
	{"bytes_stay_when_the_reader_leaves", "Aw100 Ax Ag"},
	/* splice between pipes (section 3 and T1-T8) */
	{"splice_of_nothing", "As0 AS0 Ao0 Ac0 Af0"},
	{"splice_with_unknown_flags", "Aw1 AS1 Ar1"},
	{"splice_with_an_offset", "Aw1 Ao1 Ar1"},
	{"splice_of_a_pipe_into_itself", "Aw1 Ac1 Ar1"},
	{"splice_from_a_write_end", "Bw1 Af1"},
	{"splice_of_an_empty_pipe", "As1 An1"},
	{"splice_of_an_ended_pipe", "Ay As1"},
	{"splice_of_an_ended_pipe_with_data", "Aw10 Ay As5 As10 As1 Br100"},
	{"splice_into_a_full_pipe", "Bz4096 Bw4096 Aw1 As1 Br4096 As1 Br1"},
	{"splice_of_an_ended_pipe_into_a_full_one", "Bz4096 Bw1 Ay As1"},
	{"splice_of_an_ended_pipe_into_a_broken_one", "Ay Bx As1"},
	{"splice_of_an_empty_pipe_into_a_broken_one", "Bx As1"},
	{"splice_into_a_broken_pipe", "Aw10 Bx As10 Ar10"},
	{"splice_into_a_broken_full_pipe", "Bz4096 Bw1 Bx Aw10 As10"},
	{"splice_moves_whole_slots", "Aw4096 Aw4096 Bz4096 As8192 Br4096 As8192 Br4096"},
	{"splice_moves_a_part", "Aw100 As40 As40 As40 Br50 Br50"},
	{"parts_cost_slots", "Aw100 Bz8192 As10 As10 As10 Br5 As10 Br5 As10 Br100"},
	{"a_write_merges_behind_a_whole_move", "Aw100 As100 Bw100 Bz4096 Bw3896 Bw1 Br5000"},
	{"a_write_does_not_merge_behind_a_part", "Aw100 As60 Bw100 Bz4096 Bz8192 Br5000"},
	{"the_rest_of_a_part_may_grow", "Aw100 As60 Aw100 Az4096 Ar1000 Br1000"},
	{"a_move_of_the_rest_may_grow_too", "Aw100 As60 As40 Bw100 Bz8192 Br1000"},
	{"a_packet_stays_a_packet", "Ap1 Aw3 Aw4 As7 Br100 Br100 Br100"},
	{"a_part_of_a_packet_is_a_packet", "Ap1 Aw10 As4 As6 Br100 Br100"},
	{"splice_of_everything", "Aw65536 As18446744073709551615 As1 Br100000"},
	{"either_end_makes_a_splice_nonblocking", "Aj0 As1 Aj1 Bk0 As1"},
	{"the_flag_makes_a_splice_nonblocking", "Aj0 Bk0 An1 Bw65536 Aw1 An1"},
	{"there_and_back", "Aw5000 As3000 Bs2000 As9000 Br9000 Ar9000"},
	/* tee (T9-T13) */
	{"tee_of_nothing_and_unknown_flags", "At0 AT0 AT1"},
	{"tee_of_a_pipe_into_itself", "Aw1 Am1 Ar1"},
	{"tee_of_an_empty_pipe", "At1"},
	{"tee_of_an_ended_pipe", "Ay At1"},
	{"tee_of_an_ended_pipe_into_a_full_one", "Bz4096 Bw1 Ay At1"},
	{"tee_of_an_ended_pipe_into_a_broken_one", "Ay Bx At1"},
	{"tee_of_an_empty_pipe_into_a_broken_one", "Bx At1"},
	{"tee_consumes_nothing", "Aw5000 At5000 Br5000 Ar5000"},
	{"tee_begins_at_the_first_unread_byte", "Aw5 At3 At100 Br100 Ar2 At100 Br100 Ar100"},
	{"tee_stops_where_the_output_is_full", "Aw12288 Bz8192 At12288 At1 Br4096 At12288 Br20000"},
	{"tee_cuts_the_last_slot", "Aw8192 At4097 Br10000 Ar10000"},
	{"tee_then_a_merge_in_the_source", "Aw10 At10 Aw10 Br100 At100 Br100 Ar100"},
	{"tee_then_a_write_to_the_copy", "Aw10 At10 Bw10 Bz8192 Bz4096 Br100 Ar100"},
	{"tee_then_read_then_write", "Az4096 Aw100 At100 Ar100 Aw100 Br100 Ar100"},
	{"tee_of_packets", "Ap1 Aw3 Aw4 At7 Br100 Br100 Ar100 Ar100"},
	{"tee_of_a_part_of_a_packet", "Ap1 Aw10 At4 Br100 Ar100"},
	{"tee_outlives_its_source", "Aw5000 At5000 Ax Ay Br9000"},
	{"tee_then_splice", "Aw100 At100 As100 Br60 Br100 Br100"},
	/* vmsplice (V1-V7) */
	{"vmsplice_of_nothing_and_unknown_flags", "Av0 AU0 AU1 Ax Av0"},
	{"vmsplice_without_readers", "Ax Av1"},
	{"vmsplice_takes_a_page_per_slot", "Av8192 Az4096 Az8192 Ar10000"},
	{"vmsplice_is_short_when_the_pipe_fills", "Av100000 Ar100000"},
	{"nothing_merges_into_what_vmsplice_put_in", "Av10 Aw10 Az4096 Az8192 Ar100"},
	{"vmsplice_does_not_merge_into_what_was_written", "Aw10 Av10 Az4096 Ar100"},
	{"vmsplice_out_of_a_pipe", "Aw5000 Au3000 Au3000 Au1"},
	{"vmsplice_out_of_an_ended_pipe", "Aw10 Ay Au100 Au100"},
	{"vmsplice_out_of_packets_takes_them_all", "Ap1 Aw3 Aw4 Au100 Au100"},
	{"vmsplice_out_of_a_part_of_a_packet_keeps_the_rest", "Ap1 Aw10 Au4 Au100"},
};

static const char *script_next(const char *at, struct step *ret_step)
{
	char *end;

	while (*at == ' ')
		at++;
	if (!*at)
		return NULL;
	ret_step->pipe = at[0] == 'B';
	ret_step->op = at[1];
	ret_step->arg = strtoull(at + 2, &end, 10);
	return end;
}

static void run_scenario(void **state)
{
	const struct scenario *scenario = *state;
	const char *at = scenario->script;
	struct step step;

	oracle_open();
	while ((at = script_next(at, &step))) {
		if (!oracle_step(&step)) {
			print_error("  in %s\n", scenario->script);
			fail();
		}
	}
	oracle_close();
}

/* --- Random scripts ------------------------------------------------------------------------------------------------------- */

static unsigned draw(unsigned *seed, unsigned below)
{
	*seed = *seed * 1664525 + 1013904223;
	return (*seed >> 8) % below;
}

static struct step draw_step(unsigned *seed)
{
	static const char ops[] = "wwwwwrrrrrvussssstttzpxy"; /* the commoner the oftener */
	static const size_t lens[] = {0, 1, 5, 100, 3996, 4000, 4095, 4096, 4097, 8092, 8192, 20000, 65536, 70000};
	struct step step = {.op = ops[draw(seed, sizeof(ops) - 1)], .pipe = draw(seed, 2)};

	step.arg = lens[draw(seed, ARRAY_LEN(lens))];
	if (strchr("xy", step.op) && draw(seed, 8)) /* or no script would last */
		step.op = 'r';
	if (step.op == 'p')
		step.arg = draw(seed, 2);
	return step;
}

static void random_scripts_agree(void **state)
{
	(void)state;
	for (unsigned number = 0; number < NR_RANDOM_SCRIPTS; number++) {
		struct step steps[NR_RANDOM_STEPS];
		unsigned seed = number;

		oracle_open();
		for (unsigned i = 0; i < NR_RANDOM_STEPS; i++) {
			steps[i] = draw_step(&seed);
			if (oracle_step(&steps[i]))
				continue;
			print_error("  in the script of seed %u:", number);
			for (unsigned j = 0; j <= i; j++)
				print_error(" %c%c%zu", "AB"[steps[j].pipe], steps[j].op, steps[j].arg);
			print_error("\n");
			fail();
		}
		oracle_close();
	}
	print_message("# %d random scripts of %d steps\n", NR_RANDOM_SCRIPTS, NR_RANDOM_STEPS);
}

int main(void)
{
	static struct CMUnitTest tests[ARRAY_LEN(scenarios) + 1];
	int fd[2], nr_failed;

	if (pipe(fd) < 0 || fcntl(fd[0], F_GETPIPE_SZ) != 65536) {
		printf("kernel pipes do not have 16 slots of 4096 bytes here: skipped\n");
		return 77;
	}
	close(fd[0]);
	close(fd[1]);
	signal(SIGPIPE, SIG_IGN);
	kernel_bytes = malloc(BYTES_MAX);
	our_bytes = aligned_alloc(PAGE, BYTES_MAX);
	if (!kernel_bytes || !our_bytes)
		return 1;
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
		tests[i] = (struct CMUnitTest){
			.name = scenarios[i].name,
			.test_func = run_scenario,
			.setup_func = support_before,
			.teardown_func = support_after,
			.initial_state = (void *)&scenarios[i],
		};
	tests[ARRAY_LEN(scenarios)] = (struct CMUnitTest)CASE(random_scripts_agree);
	nr_failed = _cmocka_run_group_tests("oracle", tests, ARRAY_LEN(tests), NULL, NULL);
	print_message("# %zu scenarios\n", ARRAY_LEN(scenarios));
	free(kernel_bytes);
	free(our_bytes);
	return nr_failed != 0;
}
