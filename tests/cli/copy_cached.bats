#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy cached:SPEC: a source behind a page cache of the command's own.

load support

# said HOP: what the report of the last run tells of one hop, by name.
said() {
	jq -r ".hops[$1] | [.from, .to, .by_reference, .copied, .unknown, .reason] | @csv" report | tr -d '"'
}

@test "every byte arrives, whatever the budget" {
	for length in 0 1 4095 4096 4097 262144 3000001; do
		data a $length
		for budget in "" ,budget=256k ,budget=1M; do
			copy "cached:a$budget" b
			exits 0
			same a b
		done
	done
}

@test "what is read into the cache counts as copied there, and with O_DIRECT as unknown" {
	data a 3000001
	copy --report report cached:a null:
	exits 0
	[ "$(said 0)" = "cached:a,pipe,0,3000001,0,read into the cache" ]
	[ "$(said 1)" = "pipe,null:,3000001,0,0,dropped, not read" ]
	copy --report report 'cached:a\,direct' b
	exits 0
	same a b
	[[ $(said 0) == 'cached:a\,direct,pipe,0,0,3000001,O_DIRECT: '* ]]
	copy -v cached:a b
	exits 0
	says "cached:a -> pipe, user lane: 2.9 MiB copied: read into the cache"
}

@test "many destinations cost one read of the source" {
	data a 3000001
	copy --report report cached:a b c d null:
	exits 0
	same a b
	same a c
	same a d
	[ "$(said 0)" = "cached:a,pipe,0,3000001,0,read into the cache" ]
}

@test "--skip and --count take a part" {
	data a 300000
	tail -c +1001 a | head -c 70000 >part
	copy --skip 1000 --count 70000 cached:a b
	exits 0
	same part b
	copy --skip 1000 cached:a b
	exits 0
	tail -c +1001 a | same - b
	copy --skip 300000 cached:a b
	exits 0
	[ ! -s b ]
}

@test "a cache lies over what has a size and positions, also over memory, a cache and a block device" {
	copy cached:mem:hello b
	exits 0
	[ "$(cat b)" = hello ]
	data a 1000000
	copy cached:cached:a b
	exits 0
	same a b
	truncate -s 1M a
	device=$(losetup --find --show --read-only a 2>/dev/null) || skip "cannot make a loop device here"
	copy "cached:$device" b
	losetup --detach "$device"
	exits 0
	same a b
}

@test "a source without a size or positions, or whose size is wrong, is refused" {
	mkfifo fifo
	data a 1000
	for source in null: zero: /dev/zero /proc/version /proc/self/status; do
		run --separate-stderr timeout 10 "$USPLICE" copy "cached:$source" b
		exits 2
		says "source cached:$source: it has "
		[ ! -e b ]
	done
	sleep 1 >fifo 3>&- &
	copy cached:fifo b
	exits 2
	says "it has no positions or no size"
	run --separate-stderr bash -c 'cat a | "$USPLICE" copy cached:- b'
	exits 2
	run --separate-stderr bash -c '"$USPLICE" copy cached:- b <a'
	exits 2
	says "others share the offset"
	[ ! -e b ]
}

@test "a budget that is no size or too small is refused, and so is a source that is missing" {
	data a 1000
	for source in a,budget=255k a,budget=0 a,budget=x a,budget= a,budget; do
		copy "cached:$source" b
		exits 2
		says "budget= takes a size of at least 256k"
	done
	copy cached:a,other=1 b
	exits 2
	copy cached: b
	exits 2
	says "the source is missing"
	copy cached:nowhere b
	exits 3
	says "No such file"
	[ ! -e b ]
}

@test "a cache is no destination, and a file no destination of its own cache" {
	data a 1000
	cp a before
	copy a cached:b
	exits 2
	says "a cache is for reading"
	[ ! -e b ]
	copy cached:a a
	exits 2
	says "is the same file as the source"
	same before a
}

@test "the kernel lane cannot carry a cache" {
	data a 1000
	copy --lane kernel cached:a b
	exits 2
}

@test "a cache over a file is not zero copy, and explain expects what copy reports" {
	data a 1000000
	for sink in null: b; do
		copy --require-zero-copy cached:a $sink
		exits 5
		[ ! -e b ]
		says "source cached:a: would copy: read into the cache"
	done
	"$USPLICE" explain cached:a null: >drawing
	grep -q "KiB copied" drawing
	grep -q "because: read into the cache" drawing
	"$USPLICE" explain 'cached:a\,direct' null: >drawing
	grep -q "KiB unknown" drawing
}

# The first page is taken, and no more fits into a FIFO of one page: most of the file stands in no pipe yet when it is cut.
@test "a file that is cut while it is copied ends there, and that is no failure" {
	data a 20000000
	data first 20000
	dd if=first of=a conv=notrunc status=none
	mkfifo slow
	"$USPLICE" copy --report report cached:a,budget=256k slow 2>err 3>&- &
	job=$!
	exec 8<slow
	head -c 4096 <&8 >b
	truncate -s 8192 a
	cat <&8 >>b
	exec 8<&-
	wait $job
	length=$(stat -c %s b)
	[ "$length" -lt 20000000 ]
	[ "$(jq -c '[.bytes, .sinks[0].bytes, .stranded]' report)" = "[$length,$length,0]" ]
	head -c 8192 b | same - <(head -c 8192 first)
}

@test "a disk that fails late: what it gave arrives, and the failure names the source and the offset" {
	mkdir real
	data real/a 3000000
	disk_bytes=1048576
	for sinks in b "b c d"; do
		for lane in "" "--lane user"; do
			faulty_disk direct read=$disk_bytes:EIO
			# shellcheck disable=SC2086
			copy --report report $lane cached:faulty/a $sinks
			exits 3
			says "source cached:faulty/a: at byte $disk_bytes: Input/output error"
			for sink in $sinks; do
				head -c $disk_bytes real/a | same - "$sink"
			done
			[ "$(jq -c '[.bytes, .stranded]' report)" = "[$disk_bytes,0]" ]
		done
	done
	faulty_disk direct read=$disk_bytes:EIO
	run bash -c "\"$USPLICE\" copy cached:faulty/a - 2>err | cat >b; exit \${PIPESTATUS[0]}"
	[ "$status" -eq 3 ]
	[ "$(cat err)" = "usplice: source cached:faulty/a: at byte $disk_bytes: Input/output error" ]
	head -c $disk_bytes real/a | same - b
}

@test "--atomic keeps the old content when a cached disk fails" {
	mkdir real
	data real/a 3000000
	faulty_disk direct read=1048576:EIO
	echo old >b
	copy --atomic cached:faulty/a b
	exits 3
	[ "$(cat b)" = old ]
}

@test "explain moves a sample through a cache, and refuses the file under it as a sink" {
	head -c 300000 /dev/urandom >data
	run "$USPLICE" explain cached:data null:
	[ "$status" -eq 0 ]
	[[ $output == *"293.0 KiB copied"*"read into the cache"* ]]
	run "$USPLICE" explain cached:data data
	[ "$status" -eq 2 ]
	[[ $output == *"sink data: is the same file as the source"* ]]
}
