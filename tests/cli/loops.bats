#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The examples that use other people's loops and another language. What they need may be missing: then they are skipped.

load support

examples=$USPLICE_BUILD_DIR/examples

# needs_example NAME: it was built.
needs_example() {
	[ -x "$examples/$1" ] || skip "built without what $1 needs"
}

# A source that pauses, sinks that never wait, and one that takes nothing for a while: the loop waits for both sides.
copies_in_a_loop() {
	needs_example "$1"
	mkfifo source sink
	{ seq 300000; until [ -e go_on ]; do sleep 0.02; done; seq 5; } >source &
	{ until [ -e go_on ]; do sleep 0.02; done; cat; } <sink >from_sink &
	"$examples/$1" source first.txt null: sink >report 3>&- &
	copy=$!
	eventually has_bytes first.txt 4096
	touch go_on
	wait
	{ seq 300000; seq 5; } | tee >(cmp - first.txt) | cmp - from_sink
	[ "$(cat report)" = $'first.txt: 1988905 bytes\nnull:: 1988905 bytes\nsink: 1988905 bytes' ]
}

# An endless copy that never waits for a descriptor still lets the loop see a signal.
can_be_interrupted() {
	needs_example "$1"
	env --default-signal=INT "$examples/$1" zero: null: null: >report 2>errors 3>&- &
	copy=$!
	eventually catches_interrupts "$copy" "$1"
	kill -INT "$copy"
	finish 1 "$copy" errors
	[ "$(cat errors)" = "$1: Operation canceled" ]
	grep -qE '^null:: [0-9]+ bytes$' report
}

# catches_interrupts PROCESS PROGRAM: it is that program already, and SIGINT, the second signal, has a handler.
catches_interrupts() {
	local mask
	[ "$(cat "/proc/$1/comm")" = "$2" ] || return 1
	mask=$(sed -n 's/^SigCgt:\t//p' "/proc/$1/status")
	(((0x${mask:-0} >> 1 & 1) == 1))
}

says_what_is_wrong() {
	needs_example "$1"
	run "$examples/$1" missing.txt copy.txt
	[ "$status" -eq 1 ]
	[ "$output" = "$1: missing.txt: No such file or directory" ]
	[ ! -e copy.txt ]
	seq 1000 >some.txt
	run "$examples/$1" some.txt /dev/full
	[ "$status" -eq 1 ]
	[[ $output == *"$1: No space left on device"* ]]
}

@test "uv_copy waits in the loop of libuv for its source and for each sink" {
	copies_in_a_loop uv_copy
}

@test "glib_copy waits in a main loop of GLib for its source and for each sink" {
	copies_in_a_loop glib_copy
}

@test "uv_copy can be interrupted" {
	can_be_interrupted uv_copy
}

@test "glib_copy can be interrupted" {
	can_be_interrupted glib_copy
}

@test "uv_copy says what is wrong" {
	says_what_is_wrong uv_copy
}

@test "glib_copy says what is wrong" {
	says_what_is_wrong glib_copy
}

# fanout ARGUMENTS: the program in Python, with the library that was built.
fanout() {
	/usr/bin/python3 -c 'import cffi' 2>/dev/null || skip "no cffi"
	[ -z "$(nm -D "$USPLICE_BUILD_DIR/src/libusplice.so" | grep -E '__(asan|tsan|ubsan)_')" ] ||
		skip "a sanitized library needs a sanitized program"
	USPLICE_INCLUDE=$USPLICE_SOURCE_DIR/include LIBUSPLICE=$USPLICE_BUILD_DIR/src/libusplice.so \
		run /usr/bin/python3 "$USPLICE_SOURCE_DIR/examples/fanout.py" "$@"
}

@test "fanout.py gives a heading away, and gets it back before its sinks get the rest" {
	seq 300000 >numbers.txt
	fanout "all numbers" numbers.txt first.txt null: second.txt
	[ "$status" -eq 0 ]
	{ echo "all numbers"; cat numbers.txt; } | tee >(cmp - first.txt) | cmp - second.txt
	[ "${lines[0]}" = "heading: 12 bytes are free again" ]
	[ "${lines[1]}" = "sha256: $(sha256sum <numbers.txt | cut -d ' ' -f 1)" ]
	[[ ${lines[2]} == "crc32c: "???????? ]]
	[ "${lines[3]}" = "first.txt: 0 by reference, 1988907 copied, 0 unknown" ]
	[ "${lines[4]}" = "null:: 1988907 by reference, 0 copied, 0 unknown" ]
}

@test "fanout.py says what failed" {
	fanout heading missing.txt first.txt
	[ "$status" -eq 1 ]
	[ "$output" = "fanout.py: missing.txt: No such file or directory" ]
	seq 1000 >numbers.txt
	fanout heading numbers.txt /dev/full
	[ "$status" -eq 1 ]
	[[ $output == *"fanout.py: /dev/full: No space left on device" ]]
}
