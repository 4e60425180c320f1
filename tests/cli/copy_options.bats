#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: what each option does when all is well.

load support

@test "a file arrives whole" {
	data a 3000001
	copy a b
	exits 0
	[ -z "$stderr" ]
	[ -z "$output" ]
	same a b
}

@test "an empty file arrives empty" {
	: >a
	echo old >b
	copy a b
	exits 0
	[ ! -s b ]
}

@test "standard input goes to standard output" {
	data a 300001
	"$USPLICE" copy - - <a >b
	same a b
	cat a | "$USPLICE" copy - - | cat >c
	same a c
}

@test "--skip passes over the beginning of a file" {
	data a 100000
	copy --skip 1k a b
	exits 0
	tail -c +1025 a | same - b
}

@test "--skip reads and drops the beginning of a stream" {
	data a 300000
	cat a | "$USPLICE" copy --skip 150k --json - b 2>report
	tail -c +153601 a | same - b
	[ "$(jq .bytes report)" -eq 146400 ]
	[ "$(jq '.hops[0] | .by_reference + .copied + .unknown' report)" -eq 146400 ]
}

@test "--skip behind the end copies nothing" {
	data a 1000
	copy --skip 2000 a b
	exits 0
	[ -e b ]
	[ ! -s b ]
	cat a | "$USPLICE" copy --skip 2000 - c
	[ -e c ]
	[ ! -s c ]
}

@test "--count ends the copy early, and what is behind stays in the pipe" {
	data a 300000
	copy --count 100k a b
	exits 0
	head -c 102400 a | same - b
	cat a | { "$USPLICE" copy --count 1000 - c && cat >d; }
	head -c 1000 a | same - c
	tail -c +1001 a | same - d
}

@test "--count 0 makes an empty file" {
	data a 1000
	copy --count 0 a b
	exits 0
	[ -e b ]
	[ ! -s b ]
}

@test "--skip and --count take a piece out of the middle" {
	data a 100000
	copy --skip 10kB --count 20kB a b
	exits 0
	tail -c +10001 a | head -c 20000 | same - b
}

@test "--seek keeps what is before and behind" {
	data old 50000
	data new 1000
	cp old b
	copy --seek 7k new b
	exits 0
	{ head -c 7168 old && cat new && tail -c +8169 old; } | same - b
}

@test "--seek behind the end leaves a hole" {
	data a 10
	copy --seek 4096 a b
	exits 0
	[ "$(stat -c %s b)" -eq 4106 ]
	tail -c 10 b | same - a
}

@test "sizes have units" {
	for pair in 100:100 100B:100 1k:1024 1K:1024 2KiB:2048 3kB:3000 1KB:1000 1M:1048576 1MB:1000000 1MiB:1048576 1mb:1000000 1.5M:1572864 0.5kb:500; do
		copy --count "${pair%%:*}" zero: b
		exits 0
		[ "$(stat -c %s b)" -eq "${pair##*:}" ]
	done
}

@test "--append writes behind what is there" {
	data old 1000
	data new 70000
	cp old b
	copy --append new b
	exits 0
	cat old new | same - b
	copy --append new c
	exits 0
	same new c
}

@test "--append works on standard output and leaves streams alone" {
	data new 70000
	echo old >b
	"$USPLICE" copy --append new - 1<>b
	{ echo old && cat new; } | same - b
	"$USPLICE" copy --append new - | same - new
}

@test "a redirection that appends is obeyed" {
	data new 70000
	echo old >b
	"$USPLICE" copy new - >>b
	{ echo old && cat new; } | same - b
}

@test "several commands share the position of a redirection" {
	data a 1000
	{ "$USPLICE" copy --count 300 - - && "$USPLICE" copy - -; } <a >b
	same a b
}

@test "--sync calls fsync" {
	command -v strace >/dev/null || skip "no strace"
	data a 1000
	strace -f -o trace -e trace=fsync,fdatasync "$USPLICE" copy a b || skip "cannot trace here"
	never grep -q 'sync(' trace
	strace -f -o trace -e trace=fsync,fdatasync "$USPLICE" copy --sync a b
	grep -q 'sync(' trace
}

@test "--sync leaves streams alone" {
	data a 1000
	"$USPLICE" copy --sync a - | same - a
}

@test "--limit-rate holds a copy back" {
	copy --json --limit-rate 1MB/s --count 500kB zero: null:
	exits 0
	[ "$(jq '.bytes == 500000 and .seconds > 0.3' <<<"$stderr")" = true ]
}

@test "--resume goes on where the copy ended" {
	data a 500000
	head -c 300001 a >b
	copy --json --resume a b
	exits 0
	same a b
	[ "$(jq .bytes <<<"$stderr")" -eq 199999 ]
}

@test "--resume begins where nothing is, and has nothing to do where all is" {
	data a 5000
	copy --resume a b
	exits 0
	same a b
	copy --json --resume a b
	exits 0
	same a b
	[ "$(jq .bytes <<<"$stderr")" -eq 0 ]
}

@test "--resume minds --skip and --count" {
	data a 500000
	tail -c +1001 a | head -c 2000 >b
	copy --resume --skip 1000 --count 100000 a b
	exits 0
	tail -c +1001 a | head -c 100000 | same - b
}

@test "--resume has to be allowed to read the destination" {
	data a 5000
	head -c 100 a >b
	chmod 644 a
	chmod 222 b
	cp "$USPLICE" command
	run --separate-stderr as_nobody ./command copy --resume a b
	exits 4
	[ "$stderr" = "usplice: sink b: Permission denied" ]
	[ "$(stat -c %s b)" -eq 100 ]
}

@test "--lane user and --no-splice keep the bytes in memory" {
	data a 300000
	for option in "--lane user" --no-splice; do
		rm -f b
		# shellcheck disable=SC2086
		copy --json $option a b
		exits 0
		same a b
		[ "$(jq -r '.lane, (.hops[].lane)' <<<"$stderr" | sort -u)" = user ]
	done
}

@test "--lane kernel keeps the bytes in the kernel" {
	command -v strace >/dev/null || skip "no strace"
	data a 300000
	for lane in kernel user; do
		: >b
		strace -f -o trace -P "$PWD/a" -P "$PWD/b" -e trace=%desc "$USPLICE" copy --lane $lane --report report a b ||
			skip "cannot trace here"
		same a b
		[ "$(jq -r '.lane, (.hops[].lane)' report | sort -u)" = $lane ]
		# The one that asks whether the end is one gets nothing. The probe looks at a page by reading one byte.
		grep -E '(p?readv?2?|p?writev?2?|p(read|write)64)\(.* = ([2-9]|[1-9][0-9])' trace >moved_$lane || true
	done
	[ ! -s moved_kernel ]
	[ -s moved_user ]
}

@test "--lane auto is the default" {
	data a 1000
	copy --lane auto a b
	exits 0
	same a b
}

@test "--require-zero-copy lets a copy by reference through" {
	copy --json --require-zero-copy mem:hello null:
	exits 0
	[ "$(jq -c '[.by_reference, .copied, .unknown]' <<<"$stderr")" = "[5,0,0]" ]
}

@test "--require-zero-copy refuses before anything is changed" {
	data a 1000
	echo old >b
	copy --require-zero-copy --lane user a b
	exits 5
	says "would copy: "
	[ "$(cat b)" = old ]
	copy --require-zero-copy --lane user a c
	exits 5
	[ ! -e c ]
}

@test "--snapshot reads into memory" {
	data a 300000
	copy --json --snapshot a b
	exits 0
	same a b
	[ "$(jq '.copied == 300000' <<<"$stderr")" = true ]
	[ "$(jq -r '.hops[0].lane' <<<"$stderr")" = user ]
}

@test "--snapshot does not follow later changes of the source" {
	data a 4096
	mkfifo f
	exec 9<>f
	start --snapshot a f
	finish 0
	cp a before
	printf 'changed' | dd of=a conv=notrunc status=none
	head -c 4096 <&9 | same - before
	exec 9>&-
}

@test "--progress shows percentage, rate and what is left" {
	hold
	start --progress --count 600k held null:
	feed 200k
	eventually grep -q '/s.* 33%.*ETA' job.err
	feed 400k
	finish 0
	tail -n 1 job.err | tr '\r' '\n' | tail -n 1 | grep -qE '^ 600.0 KiB  [0-9:]+ .*/s  \[=+\] 100%$'
	never grep -q "by reference" job.err # that is for -v
	never grep -q $'\033' job.err
}

@test "progress is shown on a terminal, in colours unless NO_COLOR is set, and not with -q" {
	command -v script >/dev/null || skip "no script"
	on_terminal TERM=xterm
	grep -q $'\033' shown
	on_terminal NO_COLOR=1 TERM=xterm
	never grep -q $'\033' shown
	TERM=xterm script -qec "${USPLICE@Q} copy --limit-rate 1M --count 300k zero: null: -q" /dev/null </dev/null >shown
	[ ! -s shown ]
}

# on_terminal ENVIRONMENT...: a copy until its progress is ./shown, and then to its end.
on_terminal() {
	hold
	env "$@" script -qefc "stty cols ${columns-80}; ${USPLICE@Q} copy --count 300k held null:" /dev/null </dev/null >shown 3>&- &
	feed 150k
	eventually grep -q '/s' shown
	feed 150k
	wait $!
}

@test "the progress line fits a narrow terminal" {
	command -v script >/dev/null || skip "no script"
	columns=30 on_terminal TERM=dumb
	# Each state of the line begins with a return of the carriage.
	tr '\r' '\n' <shown | grep '/s' | grep -v usplice: >drawn
	[ -s drawn ]
	never grep -qE '.{30}' drawn
}

@test "without a terminal nothing is shown" {
	copy --limit-rate 1M --count 300k zero: null:
	exits 0
	[ -z "$stderr" ]
}

@test "--verbose says how each hop went" {
	data a 1000
	copy -v a b
	exits 0
	says "a -> b"
	says "usplice: 1000 B in "
	copy -v --lane user a b
	says "a -> pipe"
	says "pipe -> b"
}

@test "options may stand behind the operands, and -- ends them" {
	data a 1000
	copy a b --count 10
	exits 0
	[ "$(stat -c %s b)" -eq 10 ]
	copy -- a --count
	exits 0
	same a ./--count
}

# flood: what comes out of ./in and goes into ./out is without end, until the command has ended.
flood() {
	[ -p in ] || mkfifo in out
	cat /dev/zero >in 2>/dev/null &
	cat out >/dev/null &
}

@test "between two pipes it is a batch process while it is busy" {
	be_busy
	flood
	start in out
	eventually is_scheduled "0 3" # the one that waits for signals, and the copy
	rm busy
	eventually is_scheduled 0
	kill -TERM "$job"
	finish 143
}

@test "with --no-batch it stays an ordinary process, and so it does when it is one end itself" {
	be_busy
	flood
	start --no-batch in out
	stays is_scheduled 0
	kill -TERM "$job"
	finish 143
	start unix-listen:here out
	cat out >/dev/null &
	eventually test -S here
	"$USPLICE" copy -q zero: unix:here &
	stays is_scheduled 0
	kill -TERM "$job"
	finish 143
}
