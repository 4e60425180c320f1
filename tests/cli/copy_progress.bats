#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: the line of progress tells the truth about the last seconds, and about who is waited for.

load support

# last: the line as it stands on the screen at the end of job.err.
last() {
	tr '\r' '\n' <job.err | grep . | tail -n 1
}

shows() {
	last | grep -qE -- "$1"
}

@test "a stall shows within a few seconds: the rate is zero, and the line says who is waited for" {
	hold
	start --progress --count 600k --name job held b
	feed 200k
	eventually shows '^job: +200.0 KiB .*  0 B/s .* 33%  stalled: held$'
	feed 400k
	finish 0
	shows '^job: +600.0 KiB .*/s  \[=+\] 100%$'
}

@test "a destination that takes nothing is named, and what each destination lacks is told" {
	mkfifo slow
	sleep "$patience" <slow 3>&- &
	reader=$!
	data a 8M
	start --progress --lane user a b slow
	eventually shows 'stalled: slow  .*slow -[0-9.]+ [KM]iB$'
	kill -USR1 "$job"
	eventually grep -q '^usplice: sink slow: [0-9]* bytes$' job.err
	kill "$reader"
	wait "$job" || [ $? -eq 4 ]
}

@test "standard input and output are named in words" {
	hold
	"$USPLICE" copy --progress - - <held 2>job.err 3>&- 9>&- | cat >out 9>&- &
	feed 10k
	eventually shows 'stalled: standard input$'
	exec 9>&-
	wait $!
}

@test "--limit-rate at a few bytes a second is no stall" {
	start --progress --limit-rate 1 mem:abcde b
	sleep 3.5
	never grep -q stalled job.err
	finish 0
}

@test "--size tells what a stream is going to have" {
	mkfifo source
	{
		head -c 100k /dev/zero
		eventually [ -e go ]
	} >source 3>&- &
	start --progress --size 400k source b
	eventually shows ' 25%  ETA '
	: >go
	finish 0
	shows ' 100.0 KiB .* 100%$' # it is the end, whatever was expected
}

@test "--format has what it asks for, in its order" {
	data a 100000
	"$USPLICE" copy --progress --name one --format '%N|%B|%b|%P|%10B|%%' a b 2>job.err
	[ "$(last)" = "one|100000|97.7 KiB|100%|    100000|%" ]
	"$USPLICE" copy --progress --format 'x %p' a b 2>job.err
	shows '^x \[={60}\] 100%$'
	copy --format '%z' a b
	exits 2
	says "has a % without one of the letters"
	copy --format 'x%' a b
	exits 2
}

@test "--interval draws no more often than asked" {
	SECONDS=0
	"$USPLICE" copy --progress --interval 1s --limit-rate 100k --count 250k zero: null: 2>job.err
	[ "$(tr '\r' '\n' <job.err | grep -c /s)" -le $((SECONDS + 3)) ]
	"$USPLICE" copy --progress -i 1h --limit-rate 100k --count 100k zero: null: 2>job.err
	[ "$(tr '\r' '\n' <job.err | grep -c /s)" -le 2 ]
}

@test "a copy that fails keeps the share that it reached" {
	mkdir small
	mount -t tmpfs -o size=256k small small 2>/dev/null || skip "no tmpfs can be mounted here"
	data a 1M
	copy --progress a small/b
	exits 4
	says "No space left on device"
	printf '%s\n' "$stderr" >job.err
	shows "25%$"
	never grep -q '100%' job.err
}

@test "a name cannot command the terminal, and wide letters fit the columns" {
	command -v script >/dev/null || skip "no script"
	name=$'\e]2;x\a日本語の名前がとても長い場合'
	env TERM=dumb script -qefc "stty cols 40; ${USPLICE@Q} copy --name \"$name\" --limit-rate 200k --count 100k zero: null:" /dev/null \
		</dev/null >shown
	never grep -q $'\e' shown
	tr '\r' '\n' <shown | python3 -c '
import sys, unicodedata
for line in sys.stdin.buffer.read().decode().split("\n"):
    width = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
    if width > 39: sys.exit(f"{width} columns: {line}")'
}

@test "--title sets the title of the terminal, and gives the old one back" {
	command -v script >/dev/null || skip "no script"
	env TERM=xterm script -qefc "${USPLICE@Q} copy --title --name job --limit-rate 200k --count 100k zero: null:" /dev/null </dev/null >shown
	grep -q $'\e\\[22;2t\e]2;job ' shown
	grep -q $'\e]2;job 100%\a\e\\[23;2t' shown
	copy --progress --title --count 100k zero: null:
	[[ $stderr != *$'\e'* ]]
}

@test "--watch shows how far another process is in a file, until it has closed it" {
	data a 1M
	mkfifo go
	exec 9<>go
	(
		exec 7<a
		head -c 256k <&7 >/dev/null
		: >ready
		read -r _ <go
		head -c 256k <&7 >/dev/null
		read -r _ <go
		exec 7<&-
		read -r _ <go
	) 3>&- &
	other=$!
	eventually [ -e ready ]
	for what in "$other:7" "$other"; do
		"$USPLICE" copy --watch "$what" -i 100ms 2>job.err 3>&- 9>&- &
		job=$!
		eventually grep -qE '7 a: .* 25%' job.err
		[ "$what" = "$other" ] || {
			echo >&9
			eventually grep -qE '7 a: .* 50%' job.err
			kill $job
			: >job.err
			wait $job || true
			"$USPLICE" copy --watch "$what" 2>job.err 3>&- 9>&- &
			job=$!
			eventually grep -qE '7 a: .* 50%' job.err
			echo >&9
			wait $job
			break
		}
	done
	echo >&9
	wait "$other"
}

@test "--watch refuses what it cannot follow" {
	for bad in x 12:x :3 -1 0 ""; do
		copy --watch "$bad"
		exits 2
		says "takes the number of a process, or PID:FD"
	done
	copy --watch 1 a b
	exits 2
	says "it takes no source and no sink"
	copy --watch $$:0 <&-
	[ "$status" -eq 3 ]
	sleep 60 3>&- &
	other=$!
	kill $other
	wait $other || true
	copy --watch $other
	exits 3
	says "--watch $other: No such process"
}

@test "an item that has nothing to show leaves no gap" {
	data a 1000
	copy --progress --format 'begin %N  %l  end' a null:
	exits 0
	says "begin end"
}
