#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: checksums for the blocks of a source, written and verified.

load support

# spoil FILE OFFSET: change one byte.
spoil() {
	local byte
	byte=$(od -An -tu1 -j "$2" -N 1 "$1")
	# shellcheck disable=SC2059
	printf "\\$(printf %o $((byte ^ 255)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# list FILE: make a list of its blocks, of 4096 bytes.
list() {
	"$USPLICE" copy --quiet --write-blocks crc32c:4k:list "$1" null:
}

# refuses TEXT ARGUMENTS: the copy of a is refused with that text, and neither b is made nor c changed.
refuses() {
	local text=$1
	shift
	printf old >c
	copy "$@" a b c
	exits 2
	says "$text"
	[ ! -e b ]
	[ "$(cat c)" = old ]
	[ -z "$(compgen -G '.list*')" ]
}

@test "a list is written in the form that the manual says, and verifies what it was made of" {
	data a 200001
	copy --write-blocks crc32c:list a b
	exits 0
	same a b
	[ "$(head -n 1 list)" = "# usplice blocks crc32c 65536 200001" ]
	[ "$(tail -n +2 list | grep -cE '^[0-9a-f]{8}$')" -eq 4 ]
	[ "$(wc -l <list)" -eq 5 ]
	for lane in auto user; do
		rm -f b c
		copy --lane "$lane" --verify-blocks list a b c
		exits 0
		same a b
		same a c
	done
	copy --verify-blocks list cached:a b
	exits 0
	same a b
	run --separate-stderr bash -c 'cat a | "$USPLICE" copy --verify-blocks list - b'
	exits 0
	same a b
}

@test "the algorithm and the size of a block can be chosen" {
	data a 10000
	copy --write-blocks list a null:
	exits 0
	copy --verify-blocks list a null:
	exits 0
	copy --write-blocks crc32c:4k:list a null:
	[ "$(head -n 1 list)" = "# usplice blocks crc32c 4096 10000" ]
	copy --write-blocks crc32c:1M:list a null:
	[ "$(head -n 1 list)" = "# usplice blocks crc32c 1048576 10000" ]
	printf 123456789 >nine
	copy --write-blocks crc32c:list nine null:
	[ "$(tail -n 1 list)" = e3069283 ]
	: >empty
	copy --write-blocks crc32c:list empty null:
	[ "$(cat list)" = "# usplice blocks crc32c 65536 0" ]
	copy --verify-blocks list empty null:
	exits 0
	if "$USPLICE" copy --write-blocks sha256:list nine null:; then
		[ "$(tail -n 1 list)" = "$(sha256sum <nine | cut -d ' ' -f 1)" ]
	fi
}

@test "the copy ends right before a block that is another one, and says where" {
	data a 100000
	list a
	for at in 0 4095 4096 50000 99999; do
		cp a bad
		spoil bad "$at"
		cmp -s a bad && continue # it was the same byte
		for from in bad - cached:bad; do
			rm -f b c
			copy --verify-blocks list "$from" b c <bad
			exits 3
			says "source $from: at byte $((at / 4096 * 4096)): from here on it is not what list says"
			[ "$(stat -c %s b)" -eq "$((at / 4096 * 4096))" ]
			cmp -n "$((at / 4096 * 4096))" a b
			same b c
		done
	done
}

@test "the next command reads on at the block that is another one" {
	data a 1000000
	list a
	cp a bad
	spoil bad 300000
	for lane in "" "--lane user" "--limit-rate 10M"; do
		for sinks in b "b c"; do
			# shellcheck disable=SC2086
			{
				copy $lane --verify-blocks list - $sinks
				cat >rest
			} <bad
			exits 3
			[ "$(stat -c %s b)" -eq $((300000 / 4096 * 4096)) ]
			cat b rest | cmp - bad
		done
	done
}

@test "a source that is longer or shorter fails" {
	data a 100000
	list a
	head -c 99999 a >short
	head -c 40960 a >aligned
	: >empty
	cp a long
	printf x >>long
	for bad in short:98304 aligned:40960 empty:0 long:100000; do
		copy --verify-blocks list "${bad%:*}" b
		exits 3
		says "at byte ${bad#*:}: from here on it is not what list says"
	done
}

@test "with --atomic the old file stays where a block is another one" {
	data a 100000
	list a
	spoil a 70000
	printf old >b
	copy --atomic --verify-blocks list a b
	exits 3
	[ "$(cat b)" = old ]
}

@test "a copy that fails leaves no list, or the old one" {
	data a 100000
	printf old >list
	copy --write-blocks list a /dev/full
	exits 4
	[ "$(cat list)" = old ]
	[ -z "$(compgen -G '.list*')" ]
	copy --write-blocks nowhere/list a b
	exits 1
	says "nowhere/list"
	[ ! -e b ]
}

@test "the list is that of the bytes that are copied, and works beside digests" {
	data a 100000
	tail -c +1001 a | head -c 50000 >part
	list part
	cp list expected
	copy --skip 1000 --count 50000 --write-blocks crc32c:4k:list a b
	exits 0
	same part b
	same expected list
	run --separate-stderr bash -c 'cat a | "$USPLICE" copy --skip 1000 --count 50000 --digest crc32c --write-blocks crc32c:4k:list - b'
	exits 0
	same expected list
	copy --verify-blocks expected --write-blocks crc32c:4k:list --digest crc32c part b
	exits 0
	says "CRC32C (part) = "
	same expected list
	spoil part 30000
	copy --verify-blocks expected --digest crc32c part b
	exits 3
	says "at byte 28672"
	[ "$(stat -c %s b)" -eq 28672 ]
}

@test "what cannot be right is refused, and nothing is changed" {
	data a 10000
	list a
	refuses "excludes --skip and --count" --verify-blocks list --skip 1
	refuses "excludes --skip and --count" --verify-blocks list --count 10000
	refuses "exclude --lane kernel" --verify-blocks list --lane kernel
	refuses "exclude --lane kernel" --write-blocks new --lane kernel
	refuses "is the same file as the source" --write-blocks a
	refuses "is also a sink" --write-blocks c
	refuses "is also a sink" --verify-blocks c
	refuses "is also the file of the report" --write-blocks new --report new
	refuses "power of two" --write-blocks crc32c:5000:new
	refuses "names no file" --write-blocks crc32c:
	refuses "No such file" --verify-blocks nowhere
	printf '# usplice blocks crc32c 4096 9\n' >list
	refuses "lines than blocks" --verify-blocks list
	printf 'hello\n' >list
	refuses "first line" --verify-blocks list
	[ ! -e new ]
	copy --resume --verify-blocks list a b
	exits 2
	copy --atomic --write-blocks new a new
	exits 2
	says "is also a sink"
	[ ! -e new ]
}
