#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --buffer and --buffer-file: marks, the file, ends that fail, and what is told of it.

load support

# shows PERCENT: the progress of the job has shown a buffer that is so full.
shows() {
	grep -q "buffer $1 %" job.err
}

@test "the bytes are those of the source: from files and pipes, into files and pipes, with and without marks" {
	data a 5000003
	for buffer in 64k 1M 1M,start=80% 1M,start=80%,low=20% 100M,start=100% 1M,refill=10%; do
		copy --buffer "$buffer" a b
		exits 0
		same a b
		"$USPLICE" copy --buffer "$buffer" - - <a | cat >c
		same a c
		cat a | "$USPLICE" copy --buffer "$buffer" - - >d
		same a d
		cat a | "$USPLICE" copy --buffer "$buffer" - e f
		same a e
		same a f
	done
	: >empty
	copy --buffer 1M,start=50% empty b
	exits 0
	same empty b
}

@test "the sink begins at start, and the progress shows how full the buffer is" {
	mkfifo fifo
	data a 600000
	start --progress --format %f --interval 20ms --buffer 1M,start=60% fifo b
	exec 5>fifo
	cat a >&5
	eventually shows 57
	[ ! -s b ]
	cat a >&5
	eventually test -s b
	exec 5>&-
	finish 0
	[ "$(stat -c %s b)" -eq 1200000 ]
}

@test "usplice cat has it, too, and it goes with stages and options" {
	data a 2000000
	data b 3000000
	cat a b >ab
	"$USPLICE" cat --buffer 256k,start=50% a b >c
	same ab c
	copy --buffer 256k --digest sha256 --atomic ab d
	exits 0
	says "SHA256 (ab) = $(sha256sum <ab | cut -d' ' -f1)"
	same ab d
	copy --buffer 256k --skip 1000 --count 2000000 ab e
	exits 0
	tail -c +1001 ab | head -c 2000000 | cmp - e
	copy --buffer 1M --limit-rate 100M --timeout 60 --idle-timeout 30 ab f
	exits 0
	same ab f
	copy --buffer 1M --on-error continue ab g /dev/full
	exits 4
	same ab g
	if "$USPLICE" copy --compress gzip /dev/null null: 2>/dev/null; then
		copy --buffer 256k --compress gzip ab ab.gz
		exits 0
		copy --buffer 256k --decompress ab.gz h
		exits 0
		same ab h
	fi
	head -c 1000000 ab >i
	copy --buffer 256k --resume --digest crc32c ab i
	exits 0
	same ab i
	for options in "" "--digest crc32c"; do
		head -c 1000000 ab >i
		# shellcheck disable=SC2086
		copy --buffer 256k --resume --count 1500000 $options ab i
		exits 0
		head -c 1500000 ab | same - i
	done
}

@test "holes stay holes" {
	truncate -s 3M a
	printf x | dd of=a bs=1 seek=1000000 conv=notrunc status=none
	copy --buffer 1M a b
	exits 0
	same a b
	[ "$(stat -c %b a)" -ge "$(stat -c %b b)" ]
}

@test "what does not fit goes into the file, which has no name" {
	mkdir spool
	mkfifo fifo
	data a 4000000
	start --progress --format %f --interval 20ms --report report --buffer 64k,start=100% --buffer-file spool,size=8M fifo b
	exec 5>fifo
	cat a >&5
	eventually shows 47
	[ -z "$(ls -A spool)" ]
	[ ! -s b ]
	exec 5>&-
	finish 0
	same a b
	[ "$(jq .buffer.capacity report)" -eq $((64 * 1024 + 8 * 1024 * 1024)) ]
	[ "$(jq .buffer.file_most report)" -gt 3000000 ]
	[ "$(jq .buffer.most report)" -eq 4000000 ]
	[ "$(jq -c '[.buffer.left, .buffer.file_error]' report)" = "[0,null]" ]
	copy --buffer 64k --buffer-file "with,comma,size=1M" a c
	exits 0
	same a c
	[ ! -e with,comma ]
}

@test "a file system that is full makes the buffer smaller, and that is told once" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	mkdir small
	mount -t tmpfs -o size=1M none small || skip "cannot mount"
	mkfifo fifo
	data a 4000000
	start --report report --buffer 64k,start=100% --buffer-file small,size=8M fifo b
	cat a >fifo
	finish 0
	same a b
	[ "$(grep -c "buffer-file small: No space left on device" job.err)" -eq 1 ]
	[ "$(jq -r .buffer.file_error report)" = "No space left on device" ]
	[ "$(jq .buffer.most report)" -le "$(jq .buffer.capacity report)" ]
	umount small
}

@test "an error of the source comes behind the bytes before it" {
	mkdir real
	data real/a 3000000
	faulty_disk direct bad=2000000+10
	copy --buffer 4M,start=100% faulty/a b
	exits 3
	says "source faulty/a: at byte"
	size=$(stat -c %s b)
	[ "$size" -gt 1000000 ]
	cmp <(head -c "$size" real/a) b
}

@test "a sink that fails stops the source, and what was not delivered is counted, and given back" {
	data a 3000000
	{
		run --separate-stderr "$USPLICE" copy --report report --buffer 1M - /dev/full
		[ "$status" -eq 4 ]
		[ "$(jq .sinks[0].bytes report)" -eq 0 ]
		[ "$(jq .stranded report)" -gt 0 ]
		cat >rest
	} <a
	same a rest
}

@test "the lane is that of all hops, also out of the buffer" {
	data a 3000000
	run --separate-stderr bash -c 'cat a | "$USPLICE" copy -q --report report --buffer 64M - b'
	[ "$status" -eq 0 ]
	same a b
	lanes=$(jq -r '[.hops[].lane] | unique | if length > 1 then "mixed" else .[0] end' report)
	[ "$(jq -r .lane report)" = "$lanes" ]
}

@test "the report counts what is left in the buffer as taken, and as stranded" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	mkdir small
	mount -t tmpfs -o size=1M none small || skip "cannot mount"
	data a 9000000
	for buffer in 64k 1M 8M; do
		run --separate-stderr bash -c 'cat a | "$USPLICE" copy --report report --buffer "$0" - small/b' "$buffer"
		[ "$status" -eq 4 ]
		[ "$(jq .bytes report)" -eq "$(jq '.sinks[0].bytes + .stranded' report)" ]
		[ "$(jq .bytes report)" -eq "$(jq '.hops[0] | .copied + .by_reference + .unknown' report)" ]
		rm small/b
	done
	umount small
}

@test "a file as standard input stands where the sinks are, also after SIGKILL with a full buffer" {
	mkfifo fifo
	data a 6000000
	exec {input}<a
	"$USPLICE" copy --progress --format %f --interval 20ms --buffer 4M - fifo <&"$input" 2>job.err &
	copy_pid=$!
	exec {reader}<fifo # nobody reads from it
	eventually grep -qE "buffer ([789][0-9]|100) %" job.err
	kill -KILL "$copy_pid"
	wait "$copy_pid" || true
	cat <&"$input" >rest
	[ "$(stat -c %s rest)" -ge $((6000000 - 2 * 1048576)) ] # the FIFO has 1 MiB
	tail -c "$(stat -c %s rest)" a | cmp - rest
	exec {input}<&- {reader}<&-
}

@test "signals end it, while it fills, and while the sink takes nothing" {
	for pair in INT:130 TERM:143; do
		rm -f b fifo
		mkfifo fifo
		exec 9<>fifo
		start --buffer 1M,start=50% fifo b
		eventually test -e b
		echo something >&9
		kill "-${pair%%:*}" "$job"
		finish "${pair##*:}"
		[ ! -s b ]
		start --progress --format %f --interval 20ms --buffer 1M zero: fifo
		eventually shows 100
		kill "-${pair%%:*}" "$job"
		finish "${pair##*:}"
		exec 9>&-
	done
}

@test "a signal ends it while the next source has no writer yet" {
	data a 100000
	mkfifo fifo
	env --default-signal=INT "$USPLICE" cat --buffer 1M a fifo >b 2>job.err 3>&- &
	job=$!
	eventually cmp -s a b
	kill -INT "$job"
	finish 130
}

@test "the report tells which end was slow" {
	data a 3000000
	copy -v --report report --buffer 256k a null:
	exits 0
	says "buffer: at most "
	[ "$(jq .buffer.capacity report)" -eq 262144 ]
	copy --report report a null:
	[ "$(jq .buffer report)" = null ]
}

@test "what cannot be is refused, and nothing is touched" {
	data a 100
	for buffer in x 1k 1M,start=101% 1M,low=10% 1M,start=10%,low=20% 1M,refill=0% 1M,file=b 1M,start; do
		copy --buffer "$buffer" a b
		exits 2
		says "copy: --buffer: '$buffer'"
	done
	for file in . .,size= .,size=x .,size=1k; do
		copy --buffer 1M --buffer-file "$file" a b
		exits 2
		says "copy: --buffer-file: '$file'"
	done
	copy --buffer-file .,size=1M a b
	exits 2
	says "needs --buffer"
	copy --buffer 1M --lane kernel a b
	exits 2
	copy --buffer 100000T a b
	exits 1
	says "--buffer 100000T: there is not so much memory"
	copy --buffer 1M --buffer-file /nowhere/at/all,size=1M a b
	exits 1
	says "--buffer-file /nowhere/at/all: No such file or directory"
	copy --buffer 1M --buffer-file a,size=1M a b
	exits 1
	says "--buffer-file a: File exists"
	[ ! -e b ]
}
