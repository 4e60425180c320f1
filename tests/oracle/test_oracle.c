/* SPDX-License-Identifier: MIT */
/*
 * test_oracle - the same scripts on the kernel and on the library: every result, errno, offset, position, poll bit, count
 * of bytes and byte must agree. script.h has the language, docs/kernel-rules.md the rules in brackets.
 *
 * Where a script is known to give different results, the scenario names the section of docs/differences.md that says so.
 * That is checked too: the section must be there, and the worlds must differ. A scenario that differs on some kernels only
 * names the trait by which to know them, and must agree on all others.
 */
#include <stdio.h>

#include "oracle.h"
#include "support.h"
#include "traits.h"

struct scenario {
	const char *name, *script;
};

/* What is known to differ, and the section of docs/differences.md that says so. */
struct difference {
	struct scenario scenario;
	const char *section;
};

/* What differs on the kernels with a trait, and agrees on all others. */
struct variation {
	struct difference difference;
	const struct trait *trait;
};

#define WHOM_WE_WAIT_FOR "Whom a nonblocking call waits for"
#define ONE_DATAGRAM "One splice, one datagram"
#define WHAT_CAN_BE_SPLICED "What can be read can be spliced"
#define OFFSETS_ADVANCE "An offset advances by what moved"
#define PEERS_GO_AWAY "A peer that goes away while we wait"
#define SENDFILE "usp_splice_direct is sendfile with a pipe that you may see"
#define SLOTS_ARE_FILLED "A file fills its slots"
#define BEYOND_ALL_FILES "Lengths and offsets that no file has"
#define FULL_SOCKETS "A full socket is full"
#define SOCKET_BYTES "Bytes of a socket fill their slots"
#define SNAPSHOTS "What was copied does not change"
#define FIFOS "A FIFO of the system is a file"
#define URGENT "An urgent byte is no end"

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
	{"a_read_goes_from_stream_into_packet", "Aw3 AsB3 Ap1 Aw3 Aw3 AsB100 Br100 Br100 Br100"},
	{"a_read_goes_from_stream_into_packet_and_loses_its_tail", "Aw3 AsB3 Ap1 Aw6 AsB6 Br5 Br5"},
	{"a_read_stops_behind_a_packet", "Ap1 Aw3 Ap0 AsB3 Bw6 Br100 Br100"},
	{"reading_the_write_end", "Aw1 Aq1 Aq0"},
	/* readiness and ends (R30-R37) */
	{"readiness_of_an_ended_pipe", "Aw1 Ay Ar1"},
	{"readiness_of_a_broken_pipe", "Aw1 Ax Aw1"},
	{"readiness_of_a_broken_full_pipe", "Az4096 Aw1 Ax"},
	{"one_byte_of_a_slot_makes_nothing_writable", "Az4096 Aw4096 Ar1 Ar4094 Ar1"},
	{"bytes_stay_when_the_reader_leaves", "Aw100 Ax Ag"},
	/* splice between pipes (section 3 and T1-T8) */
	{"splice_of_nothing", "AsB0 AsB0/x AsB0@0 AsA0 AfB0"},
	{"splice_with_unknown_flags", "Aw1 AsB1/x Ar1"},
	{"splice_with_an_offset", "Aw1 AsB1@0 Ar1"},
	{"splice_of_a_pipe_into_itself", "Aw1 AsA1 Ar1"},
	{"splice_from_a_write_end", "Bw1 AfB1"},
	{"splice_of_an_empty_pipe", "AsB1 AsB1/n"},
	{"splice_of_an_ended_pipe", "Ay AsB1"},
	{"splice_of_an_ended_pipe_with_data", "Aw10 Ay AsB5 AsB10 AsB1 Br100"},
	{"splice_into_a_full_pipe", "Bz4096 Bw4096 Aw1 AsB1 Br4096 AsB1 Br1"},
	{"splice_of_an_ended_pipe_into_a_full_one", "Bz4096 Bw1 Ay AsB1"},
	{"splice_of_an_ended_pipe_into_a_broken_one", "Ay Bx AsB1"},
	{"splice_of_an_empty_pipe_into_a_broken_one", "Bx AsB1"},
	{"splice_into_a_broken_pipe", "Aw10 Bx AsB10 Ar10"},
	{"splice_into_a_broken_full_pipe", "Bz4096 Bw1 Bx Aw10 AsB10"},
	{"splice_moves_whole_slots", "Aw4096 Aw4096 Bz4096 AsB8192 Br4096 AsB8192 Br4096"},
	{"splice_moves_a_part", "Aw100 AsB40 AsB40 AsB40 Br50 Br50"},
	{"parts_cost_slots", "Aw100 Bz8192 AsB10 AsB10 AsB10 Br5 AsB10 Br5 AsB10 Br100"},
	{"a_write_merges_behind_a_whole_move", "Aw100 AsB100 Bw100 Bz4096 Bw3896 Bw1 Br5000"},
	{"a_write_does_not_merge_behind_a_part", "Aw100 AsB60 Bw100 Bz4096 Bz8192 Br5000"},
	{"the_rest_of_a_part_may_grow", "Aw100 AsB60 Aw100 Az4096 Ar1000 Br1000"},
	{"a_move_of_the_rest_may_grow_too", "Aw100 AsB60 AsB40 Bw100 Bz8192 Br1000"},
	{"a_packet_stays_a_packet", "Ap1 Aw3 Aw4 AsB7 Br100 Br100 Br100"},
	{"a_part_of_a_packet_is_a_packet", "Ap1 Aw10 AsB4 AsB6 Br100 Br100"},
	{"splice_of_everything", "Aw65536 AsB18446744073709551615 AsB1 Br100000"},
	{"either_end_makes_a_splice_nonblocking", "Aj0 AsB1 Aj1 Bk0 AsB1"},
	{"the_flag_makes_a_splice_nonblocking", "Aj0 Bk0 AsB1/n Bw65536 Aw1 AsB1/n"},
	{"there_and_back", "Aw5000 AsB3000 BsA2000 AsB9000 Br9000 Ar9000"},
	/* tee (T9-T13) */
	{"tee_of_nothing_and_unknown_flags", "AtB0 AtB0/x AtB1/x"},
	{"tee_of_a_pipe_into_itself", "Aw1 AtA1 Ar1"},
	{"tee_of_an_empty_pipe", "AtB1"},
	{"tee_of_an_ended_pipe", "Ay AtB1"},
	{"tee_of_an_ended_pipe_into_a_full_one", "Bz4096 Bw1 Ay AtB1"},
	{"tee_of_an_ended_pipe_into_a_broken_one", "Ay Bx AtB1"},
	{"tee_of_an_empty_pipe_into_a_broken_one", "Bx AtB1"},
	{"tee_consumes_nothing", "Aw5000 AtB5000 Br5000 Ar5000"},
	{"tee_begins_at_the_first_unread_byte", "Aw5 AtB3 AtB100 Br100 Ar2 AtB100 Br100 Ar100"},
	{"tee_stops_where_the_output_is_full", "Aw12288 Bz8192 AtB12288 AtB1 Br4096 AtB12288 Br20000"},
	{"tee_cuts_the_last_slot", "Aw8192 AtB4097 Br10000 Ar10000"},
	{"tee_then_a_merge_in_the_source", "Aw10 AtB10 Aw10 Br100 AtB100 Br100 Ar100"},
	{"tee_then_a_write_to_the_copy", "Aw10 AtB10 Bw10 Bz8192 Bz4096 Br100 Ar100"},
	{"tee_then_read_then_write", "Az4096 Aw100 AtB100 Ar100 Aw100 Br100 Ar100"},
	{"tee_of_packets", "Ap1 Aw3 Aw4 AtB7 Br100 Br100 Ar100 Ar100"},
	{"tee_of_a_part_of_a_packet", "Ap1 Aw10 AtB4 Br100 Ar100"},
	{"tee_outlives_its_source", "Aw5000 AtB5000 Ax Ay Br9000"},
	{"tee_then_splice", "Aw100 AtB100 AsB100 Br60 Br100 Br100"},
	/* vmsplice (V1-V7) */
	{"vmsplice_of_nothing_and_unknown_flags", "Av0/n Av0/x Av1/x Ax Av0/n"},
	{"vmsplice_without_readers", "Ax Av1/n"},
	{"vmsplice_takes_a_page_per_slot", "Av8192/n Az4096 Az8192 Ar10000"},
	{"vmsplice_is_short_when_the_pipe_fills", "Av100000/n Ar100000"},
	{"nothing_merges_into_what_vmsplice_put_in", "Av10/n Aw10 Az4096 Az8192 Ar100"},
	{"vmsplice_does_not_merge_into_what_was_written", "Aw10 Av10/n Az4096 Ar100"},
	{"vmsplice_out_of_a_pipe", "Aw5000 Au3000/n Au3000/n Au1/n"},
	{"vmsplice_out_of_an_ended_pipe", "Aw10 Ay Au100/n Au100/n"},
	{"vmsplice_out_of_packets_takes_them_all", "Ap1 Aw3 Aw4 Au100/n Au100/n"},
	{"vmsplice_out_of_a_part_of_a_packet_keeps_the_rest", "Ap1 Aw10 Au4/n Au100/n"},
	/* files as sources (S9, S13-S17, S22, H3-H5) */
	{"a_file_goes_into_a_pipe", "FsA100 FsA100 FsA5000 Ar10000"},
	{"a_file_with_an_offset_keeps_its_position", "FsA100@50 FsA100@50 FsA10 Ar1000"},
	{"a_file_fills_a_pipe", "FsA100000@0 FsA1 Ar100000"},
	{"a_splice_of_a_few_bytes_takes_a_slot", "FsA100 FsA100 FsA100 Az8192 Az16384 Ar1000"},
	{"a_file_at_its_end", "FsA10@100000 FsA10@99995 FsA10@100001 Fe100000 FsA1 Ar100"},
	{"a_file_beyond_its_end", "Fe200000 FsA1 FsA1@9223372036854775806 FsA1@9223372036854775807"},
	{"the_end_of_a_file_and_a_full_pipe", "Az4096 Aw1 FsA10@100000 FsA10"},
	{"the_end_of_a_file_and_a_broken_pipe", "Ax FsA10@100000 FsA10"},
	{"the_end_of_a_file_and_a_broken_full_pipe", "Az4096 Aw1 Ax FsA10@100000"},
	{"a_file_into_one_slot_is_short", "Az4096 FsA5000 FsA5000 Ar4096 FsA5000 Ar5000"},
	{"a_hole_is_zeros", "OsA20000 Ar30000 OsA5000@19000 Ar5000"},
	{"what_was_written_can_be_spliced_again", "Aw5000 AsG5000>10000 GsA20000@0 Ar30000 Ge0 GsA12000 Ar20000"},
	{"nothing_merges_into_what_came_from_a_file", "FsA10 Aw10 Az4096 Az8192 Ar100"},
	{"a_page_of_a_file_moves_on", "FsA4096 AsB1000 AsB5000 Bw96 Br1000 Br9000"},
	{"a_page_of_a_file_is_duplicated", "FsA5000 AtB5000 AtB5000 Ar9000 Br9000 Br9000"},
	{"a_write_only_source", "JsA10 JsA10@0 Ax JsA10"},
	{"an_appending_source", "HsA10 HsA10@5 Ar100"},
	{"a_read_only_source", "IsA10000 Ar10000 IsA1"},
	{"offsets_that_no_file_has", "FsA5@-1 FsA5@9223372036854775803 FsA5@-9223372036854775808 Fe50 FsA5"},
	{"a_source_with_an_offset_for_the_pipe", "FsA5>0 FsA5@0>0 FsA5@-1>0 JsA5>0"},
	{"a_source_with_unknown_flags", "FsA5/x FsA5@-1/x FsA5/nmvg Ar10"},
	{"a_closed_source_lives_on_in_the_pipe", "FsA5000 Fx Ar5000"},
	{"a_file_written_through_another_pipe_meanwhile", "FsA10 Bw10 BsF10>100000 FsA10@100000 Ar100"},
	/* files as sinks (S8, S10, S20-S22, H11) */
	{"a_pipe_goes_into_a_file", "Aw5000 AsG3000 AsG3000 AsG1 Gr10 Ge0 Gr9000"},
	{"a_sink_with_an_offset_keeps_its_position", "Aw100 AsG50>1000 AsG50>0 AsG1 Gr10"},
	{"a_sink_in_the_middle_of_what_is_there", "Aw9000 AsF9000>5000 Fr20000"},
	{"packets_into_a_file", "Ap1 Aw3 Aw4 Aw5000 AsG5 AsG9000 Ge0 Gr9000"},
	{"an_empty_pipe_and_a_file", "AsG5 AsG5/n AsG0 Ay AsG5"},
	{"a_file_takes_what_is_there_at_the_end", "Aw5 Ay AsG10 AsG10"},
	{"an_appending_sink", "Aw5 AsH5 AsH5>0 AsH5>-1 AsH5/x Ar5"},
	{"a_read_only_sink", "Aw5 AsI5 AsI5>0 AsI5>-1 Ar5"},
	{"a_write_only_sink", "Aw5 AsJ3 AsJ2>100 Ar5"},
	{"a_sealed_sink", "Aw5 AsK5 AsK5>100 Ar5"},
	{"a_sink_that_may_not_grow_on", "Gl6000 Aw8192 AsG8192 AsG8192 Ar10000"},
	{"a_sink_past_the_limit", "Gl6000 Aw10 AsG10>6000 AsG10>7000 AsG10>5995 AsG10 Ar10"},
	{"a_sink_past_all_files", "Aw5 AsG5>9223372036854775802 AsG5>9223372036854775803 AsG5>9223372036854775807 Ar5"},
	{"sink_offsets_that_no_file_has", "Aw5 AsG5>-1 AsG5>-9223372036854775808 Ar5"},
	{"sink_lengths_that_no_file_has", "Aw5 AsG9223372036854775808 AsG-1 AsG-1>0 AsG9223372036854775807"},
	{"a_sink_with_an_offset_for_the_pipe", "Aw5 AsG5@0 AsG5@0>0 AsI5@0 Ar5"},
	{"a_sink_with_unknown_flags", "Aw50 AsG5/x AsG5>-1/x AsG5/m AsG5/v AsG5/g AsG5/n Ge0 Gr50"},
	{"pages_of_a_file_moved_into_a_file_are_copied", "FsA8192@0 AsG8192/v Fw8192 Ge0 Gr9000"},
	{"pages_of_a_pipe_moved_into_a_file_are_copied", "Aw8192 AsG8192/v Aw8192 Ge0 Gw4096 Ge0 Gr9000 Ar9000"},
	{"a_page_in_two_pipes_moved_into_a_file_is_copied", "Aw4096 AtB4096 AsG4096/v Ge0 Gw4096 Br5000 Ge0 Gr5000"},
	{"what_vmsplice_put_in_goes_into_a_file", "Av5000@10/n AsG6000 Ge0 Gr6000"},
	{"a_write_to_an_appending_file_and_its_position", "He0 Hr5 Hw5 Hr5 HsA5 He3 Hw7 Hr1"},
	{"two_files_and_no_pipe", "FsG5 FsG5@0 FsG5@0>0 FsI5 JsG5 FsG0 FsG5/x NsG5 FsN5 UsG5 FsU5"},
	/* UNIX streams (S16, S20, H13, H27) */
	{"a_unix_stream_goes_into_a_pipe", "UsA1 Vw100 UsA60 UsA60 UsA60 Ar200"},
	{"a_unix_stream_of_several_sends", "Vw5 Vw7 Vw9 UsA100 Ar100"},
	{"a_unix_stream_that_ended", "Vw5 Vh0 UsA10 UsA10 Ar10"},
	{"a_unix_stream_that_was_closed", "Vw5 Vx UsA10 UsA10 Ar10"},
	{"a_unix_stream_and_a_full_pipe", "Az4096 Aw1 Vw5 UsA5 Ax UsA5 Ur5"},
	{"a_unix_stream_with_an_offset", "Vw5 UsA5@0 UsA5@-1 UsA5@5 Aw5 AsU5>0 AsU5>-1"},
	{"a_pipe_goes_into_a_unix_stream", "Aw5000 AsU3000 AsU3000 AsU1 Vr9000 Vr1"},
	{"packets_go_into_a_unix_stream", "Ap1 Aw3 Aw4 Aw5 AsU5 AsU100 Vr100"},
	{"many_slots_go_into_a_unix_stream", "Az131072 Av100000@5/n AsU100000 Vr100000"},
	{"a_closed_unix_stream_as_a_sink", "Aw5 Vx AsU5 AsU5 Ar5"},
	{"a_unix_stream_with_every_flag", "Aw20 AsU5/m AsU5/v AsU5/g AsU5/n AsU5/x Vr50"},
	/* TCP (S16, S20, H13, H26) */
	{"a_tcp_stream_goes_into_a_pipe", "TsA1 Ww100 TsA60 TsA60 TsA60 Ar200"},
	{"a_tcp_stream_that_ended", "Ww5 Wh0 TsA10 TsA10 Ar10"},
	{"a_tcp_stream_that_was_closed", "Ww5 Wx TsA10 TsA10 Ar10"},
	{"a_tcp_stream_with_an_offset", "Ww5 TsA5@0 Aw5 AsT5>0 Ar5"},
	{"a_tcp_stream_and_a_full_pipe", "Az4096 Aw1 Ww5 TsA5 Ax TsA5 Tr5"},
	{"a_tcp_socket_that_is_not_connected", "SsA10 SsA10/n Aw5 AsS5 Ar5 Sr1 Sw1"},
	{"a_pipe_goes_into_a_tcp_stream", "Aw5000 AsT3000 AsT3000 AsT1 Wr9000 Wr1"},
	{"packets_go_into_a_tcp_stream", "Ap1 Aw3 Aw4 Aw5 AsT5 AsT100 Wr100"},
	{"an_urgent_byte_at_the_end", "Ww10 Wb1 Wh0 TsA100 TsA100 TsA100"},
	{"more_is_sent_in_the_end", "Aw9 AsT5/m AsT4 Wr100"},
	/* datagrams (H3, H15) */
	{"a_datagram_goes_into_a_pipe", "XsA10 Yw100 Yw5000 XsA1000 XsA9000 XsA1 Ar9000"},
	{"a_datagram_of_nothing_looks_like_the_end", "Yw0 Yw3 XsA10 XsA10 Ar10"},
	{"a_pipe_becomes_a_datagram", "Aw100 Aw100 AsX200 Yr1000 Yr1"},
	{"nobody_reads_the_datagrams", "Aw5 Yx AsX5 Ar5"},
	{"a_datagram_socket_that_is_not_waited_for", "XsA10 XsA10/n Aw5 Xo0 AsX5 Ar5"},
	/* packets of UNIX sockets (H3, H15) */
	{"a_packet_of_a_socket_goes_into_a_pipe", "QsA10 Rw100 Rw5000 QsA1000 QsA9000 QsA1 Ar9000"},
	{"the_end_of_a_packet_socket", "Rw5 Rh0 QsA10 QsA10 Ar10"},
	{"a_packet_socket_that_was_closed", "Rw5 Rx QsA10 QsA10 Ar10"},
	{"a_packet_of_nothing_looks_like_the_end", "Rw0 Rw3 QsA10 QsA10 Ar10"},
	{"a_packet_socket_and_a_full_pipe", "Az4096 Aw1 Rw5 QsA5 Ax QsA5 Qr5"},
	{"a_packet_socket_with_an_offset", "Rw5 QsA5@0 QsA5@-1 Aw5 AsQ5>0 AsQ5>-1 QsA5 AsQ5 Rr9"},
	{"a_packet_socket_with_every_flag", "Aw20 AsQ5/m AsQ5/v AsQ5/g AsQ5/n AsQ5/x Rr50 Rr50 Rr50 Rr50"},
	{"a_pipe_becomes_packets_of_a_socket", "Aw100 AsQ60 AsQ60 AsQ1 Rr1000 Rr1000 Rr1"},
	{"a_closed_packet_socket_as_a_sink", "Aw5 Rx AsQ5 AsQ5 Ar5"},
	{"sendfile_into_a_packet_socket", "FdQ4096 FdQ100@5 Rr9000 Rr9000"},
	/* UDP (H3, H15) */
	{"a_udp_datagram_goes_into_a_pipe", "EsA10 Lw100 Lw5000 EsA1000 EsA9000 EsA1 Ar9000"},
	{"a_udp_datagram_of_nothing_looks_like_the_end", "Lw0 Lw3 EsA10 EsA10 Ar10"},
	{"a_udp_socket_and_a_full_pipe", "Az4096 Aw1 Lw5 EsA5 Ax EsA5 Er5"},
	{"a_udp_socket_with_an_offset", "Lw5 EsA5@0 EsA5@-1 Aw5 AsE5>0 AsE5>-1 EsA5 AsE5 Lr9"},
	{"a_udp_socket_with_flags", "Aw20 AsE5/v AsE5/g AsE5/n AsE5/x Lr50 Lr50 Lr50"},
	{"a_pipe_becomes_udp_datagrams", "Aw1000 AsE600 AsE600 AsE1 Lr1000 Lr1000 Lr1"},
	{"entries_become_a_udp_datagram", "Ap1 Aw1 Aw1 Aw1 AsE2 AsE3 Lr10 Lr10"},
	{"sendfile_into_udp", "FdE1000 FdE100@5 Lr9000 Lr9000"},
	{"nobody_reads_the_udp_datagrams", "Aw10 Lx AsE5 AsE5 Ar10"},
	/* terminals and devices (S26, H16) */
	{"a_terminal_goes_into_a_pipe", "PsA1 Mw10 PsA5 PsA10 PsA10 Ar100"},
	{"a_pipe_goes_into_a_terminal", "Aw10 AsP6 AsP6 AsP1 Mr100"},
	{"a_terminal_with_an_offset", "Mw5 PsA5@0 Aw5 AsP5>0 PsA5"},
	{"zeros_and_a_broken_pipe", "Ax ZsA1"},
	{"the_null_device_takes_everything", "Aw5000 AsN3000 AsN1>-1 AsN5000/m AsN1 Ay AsN1"},
	{"the_null_device_and_a_broken_or_full_pipe", "Az4096 Aw1 NsA5 Ax NsA5"},
	{"files_of_the_kernel", "1sA10 1sA1000 1sA1 2sA100 2sA1 Ar2000"},
	{"a_file_of_the_kernel_without_splice_and_a_broken_pipe", "Ax 3sA10"},
	/* sendfile (H19-H24) */
	{"sendfile_between_files", "FdG5000 FdG5000@100 FdG70000 Ge0 Gr90000"},
	{"sendfile_stops_at_the_end", "Fe99000 FdG5000 FdG5000 FdG5@100000 FdG5@100001"},
	{"sendfile_of_nothing", "FdG0 JdG0 FdI0 AdG0 FdG0@-1"},
	{"sendfile_into_a_pipe", "FdA4096 FdA100000 FdA1 Ar100000"},
	{"sendfile_into_a_socket", "FdU5000 FdU5000@5 Vr20000"},
	{"sendfile_into_devices", "FdN5000@4096 FdP100 Mr200"},
	{"sendfile_into_a_tcp_stream", "FdT5000 FdT5000@5 Wr20000"},
	{"sendfile_out_of_what_has_no_positions", "Aw5 Vw5 Mw5 AdG5 AdG5@0 UdG5 UdG5@0 PdG5 PdG5@0 Ar5 Ur5 Pr5"},
	{"sendfile_with_a_wrong_direction", "JdG5 JdG5@-1 FdI5 FdI5@-1 JdA5"},
	{"sendfile_with_bad_numbers", "FdG5@-1 FdG-1 FdG-1@0 FdG9223372036854775808 FdA-1 FdA5@-1"},
	{"sendfile_into_an_appending_file", "FdH5 FdH5@0"},
	{"sendfile_into_a_sealed_file", "FdK5 FdK5@7"},
	{"sendfile_past_a_limit", "Gl3000 FdG5000 FdG5000 FdG5000@100"},
	{"sendfile_into_a_closed_socket", "Vx FdU5 FdU5@3"},
	{"sendfile_of_itself", "Fe5000 FdF3000@0"},
	/* vmsplice (V1-V7) */
	{"vmsplice_checks_before_it_asks_for_a_pipe", "Fv0 Fv10 FV1025 FV1024 Nv0 Nv1 Uv0 Uv1 Fv1/x Fv-1"},
	{"vmsplice_of_lengths_that_do_not_exist",
	 "Av-1/n Av9223372036854775808/n Au-1/n Aw5 Au9223372036854775808/n Ar5"},
	{"vmsplice_of_many_segments", "AV20/n Ar100 AV1024/n AV1025/n Az1048576 AV1024/n Ar2000"},
	{"vmsplice_of_memory_that_is_not_aligned", "Av65536@1/n Av1/n Ar100000 Av100@4050/n Az8192 Az4096 Ar1000"},
	{"vmsplice_of_a_gift", "Av4096/gn Av100@7/gn Av5000@4000/gn Ar20000"},
	{"vmsplice_moves_on", "Av5000@96/n AsB3000 AtB5000 Br9000 Br9000 Ar9000"},
	{"vmsplice_behind_a_write_and_before_one", "Aw10 Av10/n Aw10 Az8192 Az16384 Ar100"},
	{"vmsplice_into_a_full_and_a_broken_pipe", "Az4096 Aw1 Av1/n Ax Av1/n"},
	/* the rest of a pipe's life (R4, R33, R37) */
	{"a_second_reference_keeps_an_end_open", "AD0 Ax Aw5 Aw5 AL0 Aw5"},
	{"a_second_writer_keeps_the_end_away", "AD1 Ay Ar1 AL1 Ar1"},
	{"there_are_no_positions_in_a_stream", "Ae0 Ae5 Ue0 Te0 Pe0 Fe-1 Fe50 Fr10"},
	{"only_pipes_have_a_size", "Fz4096 Fg0 Uz4096 Ug0 Nz1 Pz1 Zg0"},
	/* who waits (table 3.2 of the rules, R18, R25, S18, T4, V2) */
	{"a_read_waits_for_bytes", "Aj0 !Ar10 Aw5"},
	{"a_read_waits_for_the_end", "Aj0 !Ar10 Ay"},
	{"a_write_waits_for_room", "Ak0 Az4096 Aw4096 !Aw100 Ar1 Ar4095 Ar200"},
	{"a_write_waits_again_and_again", "Ak0 Az4096 Aw4096 !Aw8192 Ar4096 Ar4096 Ar9000"},
	{"a_write_waits_for_a_larger_pipe", "Ak0 Az4096 Aw4096 !Aw100 Az8192 Ar9000"},
	{"a_write_waits_and_loses_its_readers", "Ak0 Az4096 Aw4096 !Aw100 Ax"},
	{"a_write_that_is_half_done_loses_its_readers", "Ak0 Az4096 !Aw8192 Ax"},
	{"splice_waits_for_input", "Aj0 Bk0 !AsB10 Aw5 Br9"},
	{"splice_takes_what_came_first", "Aj0 Bk0 !AsB4 Aw2 Aw2 Br9"},
	{"splice_waits_for_the_end_of_input", "Aj0 Bk0 !AsB10 Ay"},
	{"splice_waits_for_room", "Aj0 Bk0 Bz4096 Bw4096 Aw10 !AsB10 Br1 Br4095 Br10"},
	{"splice_waits_for_a_larger_pipe", "Aj0 Bk0 Bz4096 Bw4096 Aw10 !AsB10 Bz8192 Br5000"},
	{"splice_waits_for_room_at_the_end_of_input", "Aj0 Bk0 Bz4096 Bw4096 Ay !AsB10 Br4096"},
	{"splice_waits_for_room_and_loses_the_readers", "Aj0 Bk0 Bz4096 Bw4096 Aw10 !AsB10 Bx Ar100"},
	{"splice_waits_for_input_and_loses_the_readers", "Aj0 Bk0 !AsB10 Bx Aw5 Ar5"},
	{"tee_waits_for_input", "Aj0 Bk0 !AtB10 Aw5 Br9 Ar9"},
	{"tee_waits_for_room", "Aj0 Bk0 Bz4096 Bw4096 Aw10 !AtB10 Br4096 Br10 Ar10"},
	{"tee_waits_for_the_end_of_input", "Aj0 Bk0 !AtB10 Ay"},
	{"tee_waits_for_room_and_loses_the_readers", "Aj0 Bk0 Bz4096 Bw4096 Aw10 !AtB10 Bx Ar100"},
	{"a_file_waits_for_a_pipe", "Aj0 !AsG10 Aw5"},
	{"a_file_waits_for_the_end_of_a_pipe", "Aj0 !AsG10 Ay"},
	{"a_file_is_never_nonblocking", "Aj0 Gk1 !AsG10 Aw5"},
	{"the_flag_makes_a_sink_nonblocking", "Aj0 AsG10/n AsN10/n AsU10/n AsT10/n AsX10/n AsP10/n"},
	{"a_nonblocking_pipe_makes_a_sink_nonblocking", "Uk0 Tk0 Pk0 AsG10 AsN10 AsU10 AsT10 AsP10"},
	{"the_null_device_waits_for_a_pipe", "Aj0 !AsN10 Aw5"},
	{"a_socket_waits_for_a_pipe", "Aj0 !AsU10 Aw5 Vr9"},
	{"a_file_waits_for_room", "Ak0 Az4096 Aw1 !FsA10 Ar1 Ar10"},
	{"a_file_waits_for_a_larger_pipe", "Ak0 Az4096 Aw1 !FsA10 Az8192 Ar20"},
	{"a_file_waits_for_room_and_loses_the_readers", "Ak0 Az4096 Aw1 !FsA10 Ax"},
	{"a_file_at_its_end_waits_for_room", "Ak0 Az4096 Aw1 !FsA10@100000 Ar1"},
	{"the_flag_does_not_wait_for_room", "Ak0 Az4096 Aw1 FsA10/n ZsA10/n UsA10/n TsA10/n"},
	{"vmsplice_waits_for_room_in_a_nonblocking_pipe", "Az4096 Aw1 !Av10 Ar1 Ar10"},
	{"vmsplice_waits_once", "Az4096 Aw1 !Av10000 Ar1 Ar10000"},
	{"vmsplice_waits_and_loses_the_readers", "Az4096 Aw1 !Av10 Ax"},
	{"vmsplice_waits_for_bytes_in_a_nonblocking_pipe", "!Au10 Aw5"},
	{"vmsplice_waits_for_the_end", "!Au10 Ay"},
	{"a_unix_stream_is_waited_for", "Uk0 Ak0 !UsA10 Vw5 Ar9"},
	{"the_end_of_a_unix_stream_is_waited_for", "Uk0 Ak0 !UsA10 Vh0"},
	{"a_tcp_stream_is_waited_for", "Tk0 Ak0 !TsA10 Ww5 Ar9"},
	{"a_tcp_stream_is_waited_for_whatever_the_flag_says", "Tk0 !TsA10/n Ww5 Ar9"},
	{"a_datagram_is_waited_for_whatever_the_flag_says", "Xk0 !XsA10/n Yw5 Ar9"},
	{"a_packet_of_a_socket_is_waited_for", "Qk0 Ak0 !QsA10 Rw5 Ar9"},
	{"a_packet_of_a_socket_is_waited_for_whatever_the_flag_says", "Qk0 !QsA10/n Rw5 Ar9"},
	{"the_end_of_a_packet_socket_is_waited_for", "Qk0 Ak0 !QsA10 Rx Ar9"},
	{"a_full_packet_socket_is_waited_for_whatever_the_flag_says", "Aw5 Qo0 Qk0 !AsQ5/n Rc0"},
	{"a_full_packet_socket_that_does_not_wait", "Aw5 Qo0 AsQ5 Ar5"},
	{"a_udp_datagram_is_waited_for", "Ek0 Ak0 !EsA10 Lw5 Ar9"},
	{"a_udp_datagram_is_waited_for_whatever_the_flag_says", "Ek0 !EsA10/n Lw5 Ar9"},
	{"the_end_of_a_tcp_stream_is_waited_for", "Tk0 Ak0 !TsA10 Wh0"},
	{"a_terminal_is_waited_for", "Pk0 Ak0 !PsA10 Mw5 Ar9"},
	/* times of sockets (N3) */
	{"a_read_of_a_unix_stream_takes_no_longer_than_it_may", "Um20 Uk0 Ur10 Vw5 Ur10"},
	{"a_splice_of_a_unix_stream_takes_no_longer_than_it_may", "Um20 Uk0 Ak0 UsA10 Vw5 UsA10"},
	{"a_write_to_a_full_unix_stream_takes_no_longer_than_it_may", "Uo0 Um20 Uk0 Uw5"},
	{"a_read_of_a_tcp_stream_takes_no_longer_than_it_may", "Tm20 Tk0 Tr10 Ww5 Tr10"},
	{"a_splice_of_a_tcp_stream_takes_no_longer_than_it_may", "Tm20 Tk0 TsA10 Ww5 TsA10"},
	{"a_write_to_a_full_tcp_stream_takes_no_longer_than_it_may", "To0 Tm20 Tk0 Tw5"},
	{"a_splice_into_a_full_tcp_stream_takes_no_longer_than_it_may", "Aw5 To0 Tm20 Tk0 AsT5 Ar9"},
	{"a_read_of_a_datagram_takes_no_longer_than_it_may", "Xm20 Xk0 Xr10 XsA10"},
	{"a_read_of_a_packet_takes_no_longer_than_it_may", "Qm20 Qk0 Qr10 QsA10"},
	{"a_splice_into_a_full_packet_socket_takes_no_longer_than_it_may", "Aw5 Qo0 Qm20 Qk0 AsQ5 Ar9"},
	{"a_read_of_a_udp_datagram_takes_no_longer_than_it_may", "Em20 Ek0 Er10 EsA10"},
	{"a_time_that_is_taken_back_is_none", "Um20 Um0 Uk0 Ak0 !UsA10 Vw5 Ar9"},
	/* a call of several slots is one for the other side (N1) */
	{"a_read_that_waits_gets_a_whole_write", "Aj0 !Ar10000 Aw9000"},
	{"a_read_that_waits_gets_a_whole_splice", "Aj0 !Ar10000 FsA9000"},
	{"a_read_that_waits_gets_a_whole_vmsplice", "Aj0 !Ar10000 AV10/n"},
	{"a_splice_that_waits_gets_a_whole_write", "Aj0 Bk0 !AsB10000 Aw9000 Br9000 Br9000"},
	{"a_splice_that_waits_gets_a_whole_vmsplice", "Aj0 Bk0 !AsB20000 Av10000/n Br20000"},
	{"a_splice_that_waits_gets_a_whole_gift", "Aj0 Bk0 !AsB20000 Av10000/gn Br20000"},
	{"a_splice_that_waits_gets_a_whole_sendfile", "Aj0 Bk0 !AsB10000 FdA9000 Br9000"},
	{"a_tee_that_waits_gets_a_whole_write", "Aj0 Bk0 !AtB10000 Aw9000 Br9000 Ar9000"},
	{"a_tee_that_waits_gets_a_whole_sendfile", "Aj0 Bk0 !AtB10000 FdA9000 Br9000"},
	{"a_sink_that_waits_gets_a_whole_write", "Aj0 !AsG10000 Aw9000"},
	{"a_splice_that_waits_gets_the_room_of_a_whole_read", "Ak0 Az16384 Aw16384 !FsA16384 Ar12288 Ar16384"},
	{"a_splice_that_waits_gets_the_room_of_a_whole_splice", "Ak0 Az16384 Aw16384 !FsA16384 AsG12288 Ar16384"},
	{"a_splice_that_waits_gets_the_room_of_a_whole_vmsplice", "Ak0 Az16384 Aw16384 !FsA16384 Au12288/n Ar16384"},
	{"a_vmsplice_that_waits_gets_the_room_of_a_whole_read", "Az16384 Aw16384 !Av16384 Ar12288 Ar16384"},
	{"a_tee_that_waits_gets_the_room_of_a_whole_read", "Aj0 Bk0 Bz16384 Bw16384 Aw16384 !AtB16384 Br12288 Br16384"},
	{"a_full_tcp_stream_is_waited_for_whatever_the_flag_says", "Aw5 To0 Tk0 !AsT5/n Wc0 Wc0"},
	{"a_full_tcp_stream_that_does_not_wait", "Aw5 To0 AsT5 Ar5"},
};

static const struct difference differences[] = {
	{{"a_file_from_the_middle_of_a_page_fills_a_pipe", "FsA65536@100 Ar100000"}, SLOTS_ARE_FILLED},
	{{"a_file_within_a_page_takes_a_slot", "FsA100@4000 FsA96@4000 Az8192"}, SLOTS_ARE_FILLED},
	{{"a_datagram_larger_than_asked_for", "Yw100 XsA10 Ar100 XsA1"}, ONE_DATAGRAM},
	{{"a_packet_of_a_socket_larger_than_asked_for", "Rw100 QsA10 Ar100 QsA1"}, ONE_DATAGRAM},
	{{"a_udp_datagram_larger_than_asked_for", "Lw100 EsA10 Ar100 EsA1"}, ONE_DATAGRAM},
	{{"a_udp_datagram_larger_than_a_frame", "Aw4000 AsE4000"}, ONE_DATAGRAM},
	{{"many_slots_become_datagrams",
	  "Az131072 Ap1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 Aw1 AsX20 Yr100 Yr100"},
	 ONE_DATAGRAM},
	{{"a_pipe_larger_than_a_datagram", "Az1048576 Av1048575/n AsX1048575"}, ONE_DATAGRAM},
	{{"the_null_device_as_a_source", "NsA5"}, WHAT_CAN_BE_SPLICED},
	{{"the_full_device_as_a_sink", "Aw5 As05"}, WHAT_CAN_BE_SPLICED},
	{{"a_file_of_the_kernel_without_splice", "3sA10"}, WHAT_CAN_BE_SPLICED},
	{{"a_terminal_that_hung_up_as_a_source", "Mx PsA5"}, WHAT_CAN_BE_SPLICED},
	{{"a_terminal_that_hung_up_as_a_sink", "Mx Aw5 AsP5"}, WHAT_CAN_BE_SPLICED},
	{{"sendfile_into_the_full_device", "Fd05"}, WHAT_CAN_BE_SPLICED},
	{{"an_offset_of_the_zero_device", "ZsA100@50"}, OFFSETS_ADVANCE},
	{{"an_offset_of_the_null_device", "Aw5 AsN1>5"}, OFFSETS_ADVANCE},
	{{"a_full_unix_stream_loses_its_peer", "Aw5 Uo0 Uk0 !AsU5 Vx"}, PEERS_GO_AWAY},
	{{"many_messages_of_a_unix_stream",
	  "Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 Vw10 UsA400"},
	 SOCKET_BYTES},
	{{"a_long_message_of_a_unix_stream_into_one_slot", "Az4096 Vw6000 UsA10000"}, SOCKET_BYTES},
	{{"a_file_that_changes_behind_a_splice", "FsA100@0 Fw100 Ar100"}, SNAPSHOTS},
	{{"a_fifo_is_no_source_of_a_tee", "4w10 4tA10"}, FIFOS},
	{{"a_fifo_is_no_sink_of_a_tee", "Aw10 At410"}, FIFOS},
	{{"a_fifo_takes_no_vmsplice", "4v10/n"}, FIFOS},
	{{"a_fifo_and_a_file_need_a_pipe_between_them", "Fs410"}, FIFOS},
	{{"a_fifo_has_no_size_here", "4g0"}, FIFOS},
	{{"an_urgent_byte_before_more", "Ww10 Wb1 Ww10 TsA100 TsA100 TsA100"}, URGENT},
	{{"an_urgent_byte_before_more_and_the_end", "Ww10 Wb1 Ww10 Wh0 TsA100 TsA100 TsA100"}, URGENT},
	{{"a_unix_stream_and_the_flag", "Uk0 !UsA10/n Vw5"}, WHOM_WE_WAIT_FOR},
	{{"a_unix_stream_and_a_nonblocking_pipe", "Uk0 !UsA10 Vw5"}, WHOM_WE_WAIT_FOR},
	{{"a_terminal_and_the_flag", "Pk0 !PsA10/n Mw5"}, WHOM_WE_WAIT_FOR},
};

static const struct variation variations[] = {
	{{{"more_than_udp_can_carry", "Av65536/n AsE65536 Ar100000 Lr1"}, ONE_DATAGRAM}, &trait_splits_datagrams},
	{{{"lengths_that_no_file_has",
	   "FsA9223372036854775808 FsA-1 FsA-1@0 FsA9223372036854775807 Fe4096 FsA9223372036854775807"},
	  BEYOND_ALL_FILES},
	 &trait_asks_late},
	{{{"an_offset_that_no_file_has_and_a_full_pipe", "Az4096 Aw1 FsA5@-1"}, BEYOND_ALL_FILES}, &trait_asks_late},
	{{{"an_offset_that_no_file_has_and_a_broken_pipe", "Ax FsA5@-1"}, BEYOND_ALL_FILES}, &trait_asks_late},
	{{{"sendfile_into_a_broken_or_full_pipe", "Az4096 Aw1 FdA1 FdA1@100000 Ax FdA1 FdA1@100000"}, SENDFILE},
	 &trait_sendfile_writes},
	{{{"sendfile_waits_for_room", "Ak0 Az4096 Aw1 !FdA10 Ar1 Ar10"}, SENDFILE}, &trait_sendfile_writes},
	{{{"sendfile_of_nothing_into_a_full_pipe", "Az4096 Aw1 FdA0"}, SENDFILE}, &trait_sendfile_of_nothing},
	{{{"entries_become_a_packet_of_a_socket", "Ap1 Aw1 Aw1 Aw1 AsQ2 AsQ3 Rr10 Rr10"}, ONE_DATAGRAM},
	 &trait_splits_datagrams},
	{{{"sendfile_of_two_pages_into_a_packet_socket", "FdQ5000 Rr9000"}, ONE_DATAGRAM}, &trait_splits_datagrams},
	{{{"packets_become_a_datagram", "Ap1 Aw1 Aw1 Aw1 AsX2 AsX3 Yr10 Yr10"}, ONE_DATAGRAM}, &trait_splits_datagrams},
	{{{"zeros_fill_a_pipe", "ZsA5000 ZsA100000 ZsA1 Ar100000"}, WHAT_CAN_BE_SPLICED}, &trait_bare_devices},
	{{{"the_zero_device_takes_everything", "Aw5000 AsZ3000 AsZ3000 AsZ1"}, WHAT_CAN_BE_SPLICED},
	 &trait_bare_devices},
	{{{"the_full_device_as_a_source", "0sA5000 Ar5000"}, WHAT_CAN_BE_SPLICED}, &trait_bare_devices},
	{{{"sendfile_into_the_zero_device", "FdZ5000 FdZ5000@4096"}, WHAT_CAN_BE_SPLICED}, &trait_bare_devices},
	{{{"sendfile_of_zeros", "ZdG5000 ZdG70000 Ge0 Gr9000"}, WHAT_CAN_BE_SPLICED}, &trait_bare_devices},
	{{{"a_full_unix_stream_is_waited_for_whatever_the_flag_says", "Aw5 Uo0 Uk0 !AsU5/n Vc0"}, FULL_SOCKETS},
	 &trait_overfills_unix},
	{{{"a_full_unix_stream_that_does_not_wait", "Aw5 Uo0 AsU5 Ar5"}, FULL_SOCKETS}, &trait_overfills_unix},
	{{{"a_splice_into_a_full_unix_stream_takes_no_longer_than_it_may", "Aw5 Uo0 Um20 Uk0 AsU5 Ar9"}, FULL_SOCKETS},
	 &trait_overfills_unix},
	{{{"a_read_that_waits_gets_a_whole_splice_of_zeros", "Aj0 !Ar10000 ZsA9000"}, WHAT_CAN_BE_SPLICED},
	 &trait_bare_devices},
};

static struct oracle oracle;
static unsigned nr_alike, nr_different;

static void run_scenario(void **state)
{
	const struct scenario *scenario = *state;

	if (!oracle_play(&oracle, scenario->script))
		fail_msg("%s\n  in %s", oracle.why, scenario->script);
	nr_alike++;
}

static void run_difference(void **state)
{
	const struct difference *difference = *state;

	if (!oracle_play_difference(&oracle, difference->scenario.script, difference->section))
		fail_msg("%s\n  in %s", oracle.why, difference->scenario.script);
	nr_different++;
}

static void run_variation(void **state)
{
	const struct variation *variation = *state;
	const void *inner = &variation->difference.scenario;

	if (!trait_is_here(variation->trait)) {
		run_scenario((void **)&inner);
		return;
	}
	inner = &variation->difference;
	run_difference((void **)&inner);
}

static struct CMUnitTest make_test(const char *name, CMUnitTestFunction run, const void *state)
{
	return (struct CMUnitTest){
		.name = name,
		.test_func = run,
		.setup_func = support_before,
		.teardown_func = support_after,
		.initial_state = (void *)state,
	};
}

int main(void)
{
	static struct CMUnitTest tests[ARRAY_LEN(scenarios) + ARRAY_LEN(differences) + ARRAY_LEN(variations)];
	size_t nr_tests = 0;
	int code = oracle_init(), nr_failed;

	if (code)
		return code;
	for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
		tests[nr_tests++] = make_test(scenarios[i].name, run_scenario, &scenarios[i]);
	for (size_t i = 0; i < ARRAY_LEN(differences); i++)
		tests[nr_tests++] = make_test(differences[i].scenario.name, run_difference, &differences[i]);
	for (size_t i = 0; i < ARRAY_LEN(variations); i++)
		tests[nr_tests++] = make_test(variations[i].difference.scenario.name, run_variation, &variations[i]);
	nr_failed = _cmocka_run_group_tests("oracle", tests, nr_tests, NULL, NULL);
	print_message("# %u scenarios agree, %u more differ as documented\n", nr_alike, nr_different);
	oracle_fini();
	return nr_failed != 0;
}
