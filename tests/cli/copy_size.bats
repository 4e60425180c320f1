#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# How much a copy will have: --stop-at-size, and what is known of block devices before a byte moves.

load support

# loop FILE: a loop device over it, $device. The test is skipped where none can be made.
loop() {
	device=$(losetup --find --show "$1" 2>/dev/null) || skip "cannot make a loop device here"
	devices+=("$device")
}

teardown() {
	for device in "${devices[@]}"; do
		losetup --detach "$device"
	done
	remove_all
}

# grows: append to the file a, until there is a file "enough".
grows() {
	until [ -e enough ]; do
		echo more >>a
	done
}

@test "a file that grows is copied as far as it went at the beginning" {
	data a 5000000
	grows &
	before=$(stat -c %s a)
	copy --stop-at-size --report report --limit-rate 4M a b
	exits 0
	: >enough
	wait
	[ "$(stat -c %s b)" -ge "$before" ]
	[ "$(stat -c %s b)" -lt "$(stat -c %s a)" ]
	same <(head -c "$(stat -c %s b)" a) b
}

@test "a source that ends before its size has failed" {
	data a 20000000
	echo old >b
	"$USPLICE" copy --stop-at-size --limit-rate 1M --json a - 2>said | {
		head -c 1000 >/dev/null
		truncate -s 1000000 a
		cat >/dev/null
	} || true
	grep -q 'it became shorter while it was read' said
	grep -q '"kind":"cut-short"' said
	for options in "" "--digest crc32c" "--compress gzip" "--buffer 1M"; do
		# shellcheck disable=SC2086
		run --separate-stderr bash -c 'printf 0123456789 | "$USPLICE" copy --stop-at-size --size 100 --atomic "$@" - b' bash $options
		exits 3
		says "it ended before all bytes of --size had come"
		[ "$(cat b)" = old ]
	done
}

@test "the size counts from where the copy begins, and --count may say less" {
	data a 1000
	copy --stop-at-size --skip 100 a b
	exits 0
	same <(tail -c +101 a) b
	copy --stop-at-size --skip 100 --count 50 a b
	same <(tail -c +101 a | head -c 50) b
	head -c 700 a >b
	copy --stop-at-size --resume a b
	exits 0
	same a b
	{
		head -c 100 >/dev/null
		"$USPLICE" copy --stop-at-size - -
	} <a >b
	same <(tail -c +101 a) b
	: >a
	copy --stop-at-size a b
	exits 0
	[ ! -s b ]
}

@test "with --size a stream ends there, too" {
	run --separate-stderr "$USPLICE" copy --stop-at-size --size 1000 zero: b
	exits 0
	[ "$(stat -c %s b)" -eq 1000 ]
	data a 10
	run --separate-stderr "$USPLICE" cat --stop-at-size --size 15 --to b a a
	exits 0
	same <(cat a a | head -c 15) b
}

@test "what does not tell its size is refused, before anything is made" {
	for source in zero: tcp:127.0.0.1:1 /proc/self/status; do
		copy --stop-at-size "$source" b
		exits 2
		says "usplice: source $source: does not tell its size, so --stop-at-size needs --size"
		[ ! -e b ]
	done
	run --separate-stderr "$USPLICE" cat --stop-at-size /dev/null /dev/null
	exits 2
	says "--stop-at-size takes one source, or --size"
	copy --stop-at-size --decompress /dev/null b
	exits 2
	says "give --size"
}

@test "the progress of a block device knows its size" {
	truncate -s 4M image
	loop image
	copy --progress --format '%P of %t' --report report "$device" b
	copy --progress --limit-rate 8M "$device" b
	exits 0
	says "100%"
	says "4.0 MiB"
	copy --stop-at-size "$device" c
	exits 0
	same image c
}

@test "a device that is smaller than the source is told before a byte moves" {
	truncate -s 1M image
	data a 1048577
	loop image
	cp image before
	copy --report report a "$device"
	exits 4
	says "usplice: sink $device: has room for 1048576 bytes, and 1048577 would come"
	[ "$(jq -r '.bytes, .sinks[0].code' report | tr '\n' ' ')" = "0 ENOSPC " ]
	same before "$device"
	copy --skip 1 a "$device"
	exits 0
	same <(tail -c +2 a) "$device"
	copy --count 10 --seek 1048570 a "$device"
	exits 4
	says "has room for 6 bytes, and 10 would come"
	same <(tail -c +2 a) "$device"
}

@test "where others can go on, a device that is too small is said, and they go on" {
	truncate -s 1M image
	data a 1500000
	loop image
	copy --on-error continue a "$device" b
	exits 4
	says "usplice: sink $device: has room for 1048576 bytes, and 1500000 would come"
	same a b
}

@test "a stream, and what is compressed, may be too long: that shows when it happens" {
	truncate -s 1M image
	loop image
	run --separate-stderr bash -c 'head -c 2000000 /dev/zero | "$USPLICE" copy - "$1"' - "$device"
	exits 4
	says "at byte 1048576: No space left on device"
	head -c 3000000 /dev/zero >a
	copy --compress zstd a "$device"
	exits 0
}
