#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy of files whose sizes are wrong, as FUSE and network file systems have them: a size is a hint, and every byte arrives.

load support

# The sizes that are too small. Only reads get behind them, and where a file system forbids the page cache or tells the size anew.
too_small=("direct size=0" "direct size=1000" "direct size=-1000" "direct growing" growing "direct short=1000")

# disk FAULTS: in one word, for loops.
disk() {
	echo "--- $1"
	# shellcheck disable=SC2086
	faulty_disk $1
}

setup_file() {
	# 25 pages, and a part of one.
	export length=102500
}

a_real_file() {
	mkdir real
	data real/a $length
}

@test "a file that is longer than its size arrives whole" {
	a_real_file
	for faults in "${too_small[@]}"; do
		disk "$faults"
		for lane in auto user; do
			copy --lane $lane --report report faulty/a b
			exits 0
			same real/a b
			[ "$(jq -r '[.bytes, .sinks[0].bytes, .by_reference + .copied + .unknown, .stranded] | @csv' report)" = \
				$length,$length,$length,0 ]
		done
	done
}

@test "a file that is longer than its size arrives whole wherever it goes" {
	a_real_file
	mkfifo fifo
	for faults in "${too_small[@]}"; do
		disk "$faults"
		copy faulty/a b c d
		exits 0
		same real/a b
		same real/a c
		same real/a d
		"$USPLICE" copy faulty/a - | cmp - real/a
		"$USPLICE" copy faulty/a - >b
		same real/a b
		cat fifo >b 3>&- &
		copy faulty/a fifo
		exits 0
		wait $!
		same real/a b
		copy --atomic faulty/a b
		exits 0
		same real/a b
	done
}

@test "a file that is longer than its size arrives whole in its own file system" {
	a_real_file
	for faults in "${too_small[@]}" "direct size=1000 copy_range"; do
		disk "$faults"
		rm -f real/b
		copy faulty/a faulty/b
		exits 0
		same real/a real/b
	done
}

@test "an inherited file that is longer than its size arrives whole, and its reader is behind the last byte" {
	a_real_file
	for faults in "${too_small[@]}"; do
		disk "$faults"
		{ "$USPLICE" copy - b; cat >rest; } <faulty/a
		same real/a b
		[ ! -s rest ]
		{ "$USPLICE" copy --count 50000 fd:0 b; cat >>b; } <faulty/a
		same real/a b
	done
}

@test "--skip and --count mean bytes, not sizes" {
	a_real_file
	for faults in "${too_small[@]}"; do
		disk "$faults"
		copy --skip 4000 --count 70000 faulty/a b
		exits 0
		tail -c +4001 real/a | head -c 70000 | cmp - b
	done
}

@test "a file that is shorter than its size ends where its bytes end" {
	a_real_file
	for faults in "size=+5000" "direct size=+5000" "direct size=+5000 copy_range"; do
		disk "$faults"
		for lane in auto user kernel; do
			copy --lane $lane faulty/a b
			exits 0
			same real/a b
		done
		rm -f real/b
		copy faulty/a faulty/b
		exits 0
		same real/a real/b
	done
}

@test "bytes behind the size that cannot be read are an error of the source" {
	a_real_file
	for faults in "direct read=50000:EIO" "direct size=1000 read=50000:EIO"; do
		disk "$faults"
		for sink in b faulty/b; do
			rm -f real/b
			copy faulty/a $sink
			exits 3
			says "usplice: source faulty/a: at byte 50000: Input/output error"
			[ "$(stat -c %s "${sink/faulty/real}")" -eq 50000 ]
			cmp -n 50000 real/a "${sink/faulty/real}"
		done
	done
}

@test "on a forced kernel lane bytes that the kernel does not give are an error with a reason" {
	a_real_file
	disk "direct size=60000"
	for sink in b faulty/b; do
		copy --lane kernel faulty/a $sink
		exits 3
		says "usplice: source faulty/a: at byte 60000: Operation not supported (there is more, which the kernel's splice does not give)"
		[ "$(stat -c %s "${sink/faulty/real}")" -eq 60000 ]
		cmp -n 60000 real/a "${sink/faulty/real}"
	done
	mkfifo fifo
	cat fifo >b 3>&- &
	copy --require-zero-copy faulty/a fifo
	wait $!
	never exits 0
}

@test "--resume reads both files to their ends, whatever their sizes say" {
	a_real_file
	for faults in "${too_small[@]}" size=+5000 "direct size=+5000"; do
		disk "$faults"
		# The source has the wrong size.
		head -c 50000 real/a >b
		copy --resume --json faulty/a b
		exits 0
		same real/a b
		[ "$(jq .bytes <<<"$stderr")" -eq $((length - 50000)) ]
		# Both have. Behind the page cache, what is behind the size cannot be read, and is written again.
		head -c 50000 real/a >real/b
		copy --resume faulty/a faulty/b
		exits 0
		same real/a real/b
		cat real/a real/a >real/b
		cp real/b before
		copy --resume faulty/a faulty/b
		exits 4
		says "usplice: sink faulty/b: has more than the $length bytes that would be there"
		same before real/b
	done
}

@test "an old file that says it is empty is cut where the new one ends" {
	a_real_file
	disk "direct size=0"
	for option in --lane=auto --lane=user --lane=kernel; do
		data real/b 5000
		head -c 100 real/a >c
		copy "$option" c faulty/b
		exits 0
		same c real/b
	done
}

@test "the percentage of a file with a wrong size is one, or is not there" {
	a_real_file
	for faults in "direct size=0" "direct size=1" "direct size=-1000" "direct size=+5000"; do
		disk "$faults"
		copy --progress --limit-rate 500k faulty/a b
		exits 0
		never grep -Eq '(10[1-9]|1[1-9][0-9]|[2-9][0-9][0-9]|[0-9]{4,}|nan|inf|-[0-9]+)%' <<<"$stderr"
		[[ $stderr == *"B/s"* ]]
	done
}

@test "answers that take their time change nothing" {
	a_real_file
	disk "direct size=1000 short=20000 slow=20"
	copy faulty/a b
	exits 0
	same real/a b
}

# cloning ARGUMENTS: the copy on a kernel where the only ioctl on the sink is a clone, and succeeds.
cloning() {
	tracing
	run --separate-stderr strace -f -o trace -P "$PWD/faulty/b" -e trace=ioctl -e inject=ioctl:retval=0 "$USPLICE" copy "$@"
}

@test "extents are shared as far as the size goes, and what is behind it is copied" {
	a_real_file
	disk "direct size=60000"
	cloning faulty/a faulty/b
	exits 0
	grep -q FICLONERANGE trace
	tail -c +60001 real/b | cmp - <(tail -c +60001 real/a)
	rm real/b
	cloning --require-zero-copy faulty/a faulty/b
	exits 3
	says "usplice: source faulty/a: at byte 60000: there is more, and it would be copied"
	rm real/b
	cloning --count 60000 --require-zero-copy faulty/a faulty/b
	exits 0
}
