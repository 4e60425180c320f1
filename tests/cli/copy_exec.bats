#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Commands as endpoints: their bytes, how they end, and what they inherit.

load support

# runs NAME: the shell that has written its process id into NAME.pid is there.
runs() {
	[ -s "$1.pid" ] && kill -0 "$(cat "$1.pid")" 2>/dev/null
}

# has_gone NAME: it has been there, and has gone. A zombie would still be there.
has_gone() {
	[ -e "$1.pid" ] && { [ ! -s "$1.pid" ] || never kill -0 "$(cat "$1.pid")" 2>/dev/null; }
}

@test "the output of a command is a source, on each lane" {
	data a 300000
	for lane in auto kernel user; do
		copy --lane "$lane" --report report 'exec:cat a' b
		exits 0
		same a b
		[ "$(jq -c '[.bytes, .source.spec, .source.code]' report)" = '[300000,"exec:cat a",null]' ]
	done
}

@test "a command that fails among the bytes that --skip leaves out says how it ended" {
	copy --skip 100 'exec:printf a; exit 9' b
	exits 3
	says "usplice: source exec:printf a; exit 9: its command exited with status 9"
}

@test "the input of a command is a sink, on each lane" {
	data a 300000
	for lane in auto kernel user; do
		copy --lane "$lane" a 'exec:cat >b'
		exits 0
		same a b
	done
}

@test "a pipe from a command to a command goes by reference" {
	data a 300000
	copy --require-zero-copy --report report 'exec:cat a' 'exec:cat >b'
	exits 0
	same a b
	[ "$(jq .by_reference report)" -eq 300000 ]
}

@test "a command can be one of several sinks, and shows its output" {
	data a 100000
	run --separate-stderr "$USPLICE" copy a b exec:sha256sum c
	exits 0
	same a b
	same a c
	[ "${output%% *}" = "$(sha256sum <a | cut -d ' ' -f 1)" ]
}

@test "several commands can be sources of cat" {
	run --separate-stderr "$USPLICE" cat 'exec:echo one' 'exec:echo two; sleep 0' exec:true
	exits 0
	[ "$output" = $'one\ntwo' ]
	run --separate-stderr "$USPLICE" cat 'exec:echo one; exit 9' 'exec:echo two'
	exits 3
	[ "$output" = one ]
	says "usplice: source exec:echo one; exit 9: at byte 4: its command exited with status 9"
}

@test "the text behind exec: is one command of the shell, with commas, backslashes and slashes" {
	mkdir bin
	printf '#!/bin/sh\necho ran\n' >bin/x
	chmod +x bin/x
	[ "$("$USPLICE" copy 'exec:printf "%s\n" a,b,append c\\,d | tr a-z A-Z' -)" = $'A,B,APPEND\nC\\,D' ]
	[ "$("$USPLICE" copy 'exec://bin/echo x' -)" = x ]
	copy exec: b
	exits 2
	says "source exec:: the command is missing"
	copy a 'exec: '
	exits 2
}

@test "a source whose command fails is a copy that failed, though its bytes have ended" {
	copy --report report 'exec:echo part; exit 3' b
	exits 3
	says "usplice: source exec:echo part; exit 3: at byte 5: its command exited with status 3"
	[ "$(jq -c '[.source.code, .source.kind]' report)" = '["EBADR","command"]' ]
	echo old >b
	copy --atomic 'exec:echo part; exit 3' b
	exits 3
	[ "$(cat b)" = old ]
	copy 'exec:kill -9 $$' b
	exits 3
	says "its command was killed by signal 9 (Killed)"
	copy 'exec:/no/such/command' b
	exits 3
	says "its command exited with status 127"
}

@test "a command that fails after it has closed its output is waited for" {
	for lane in kernel user; do
		copy --lane "$lane" 'exec:echo part; exec >&-; sleep 0.2; exit 7' b
		exits 3
		says "at byte 5: its command exited with status 7"
	done
	copy --digest sha256 'exec:echo part; exec >&-; sleep 0.2; exit 7' b
	exits 3
	says "its command exited with status 7"
}

@test "a sink whose command fails is a sink that failed" {
	data a 1000
	copy --report report a b 'exec:cat >/dev/null; exit 3'
	exits 4
	says "usplice: sink exec:cat >/dev/null; exit 3: at byte 1000: its command exited with status 3"
	same a b
	[ "$(jq -c '[.sinks[1].code, .sinks[1].kind]' report)" = '["EBADR","command"]' ]
	copy a 'exec:cat >/dev/null; kill -TERM $$'
	exits 4
	says "its command was killed by signal 15 (Terminated)"
}

@test "a sink whose command reads only a part is a sink that failed" {
	data a 3000000
	copy a 'exec:head -c 10 >/dev/null'
	exits 4
	says "its command exited with status 0 before it had read everything"
	copy a 'exec:echo $$ >child.pid; exec <&-; exec sleep 1000'
	exits 4
	says "its command took no more bytes"
	has_gone child
	copy --on-error continue a b 'exec:exit 5'
	exits 4
	same a b
}

@test "a sink of a copy that fails is terminated, and does not see an end" {
	printf '%s\n' 'echo $$ >child.pid; trap "echo term >how; exit" TERM; cat >got; echo end >how' >child
	for what in 'exec:echo part; exit 3' 'exec:until [ -s child.pid ]; do sleep 0.01; done; echo part; exit 3'; do
		rm -f how child.pid
		copy "$what" 'exec:exec sh child'
		exits 3
		[ ! -e how ] || [ "$(cat how)" = term ]
		[ ! -e child.pid ] || has_gone child
	done
}

@test "a source whose rest is not wanted is terminated" {
	copy --count 5 'exec:echo $$ >child.pid; echo part; exec sleep 1000' b
	exits 0
	[ "$(cat b)" = part ]
	has_gone child
	copy --count 5 'exec:trap "" TERM PIPE; echo $$ >child.pid; echo part; while :; do sleep 0.05; done' b
	exits 0
	has_gone child
}

@test "a signal ends the wait for a command, and the command" {
	data a 10
	start a 'exec:cat >/dev/null; echo $$ >child.pid; exec sleep 1000'
	eventually runs child
	kill -INT "$job"
	finish 130
	has_gone child
	rm child.pid
	start 'exec:echo $$ >child.pid; exec sleep 1000' b
	eventually runs child
	kill -TERM "$job"
	finish 143
	has_gone child
}

@test "a time-out counts for a command that gives nothing, or does not end" {
	copy --idle-timeout 50ms 'exec:echo $$ >child.pid; exec sleep 1000' b
	exits 3
	says "nothing moved for 0.05 s"
	[ ! -e child.pid ] || has_gone child
	copy --timeout 50ms 'exec:echo part; exec >&-; echo $$ >child.pid; exec sleep 1000' b
	exits 3
	says "the copy was not done after 0.05 s"
	[ ! -e child.pid ] || has_gone child
	echo text >a
	rm -f child.pid
	copy --timeout 50ms a 'exec:cat >/dev/null; echo $$ >child.pid; exec sleep 1000'
	exits 4
	says "its command had not exited after 0.05 s"
	[ ! -e child.pid ] || has_gone child
}

@test "a command gets no descriptor, no blocked signal, and no ignored SIGPIPE" {
	exec 7<>/dev/null
	"$USPLICE" copy 'exec:exec ls -l /proc/self/fd' list 7>fd8 8>fd9
	[ "$(grep -c -- '->' list)" -eq 4 ] # its standard ones, and that of ls
	grep -q ' 0 -> /dev/null$' list
	(
		trap '' PIPE CHLD
		exec "$USPLICE" copy 'exec:grep Sig /proc/self/status' signals
	)
	grep -Eq '^SigBlk:\s0{16}$' signals
	for signo in 13 25; do # SIGPIPE, SIGXFSZ
		[ $((0x$(sed -n 's/^SigIgn:\t//p' signals) >> (signo - 1) & 1)) -eq 0 ]
	done
}

@test "standard input is not read by a source, and a closed one does no harm" {
	[ "$(echo text | "$USPLICE" copy 'exec:cat; echo end' -)" = end ]
	[ "$("$USPLICE" copy 'exec:echo text' 'exec:cat' <&-)" = text ]
}

@test "the probe and the plan look at a command's pipe, and run nothing" {
	echo text >a
	"$USPLICE" explain a 'exec:touch ran; cat' 'exec:touch ran' >/dev/null
	"$USPLICE" explain 'exec:touch ran; cat' b >/dev/null
	run "$USPLICE" probe 'exec:touch ran'
	[ "$status" -eq 0 ]
	[ ! -e ran ]
}

@test "a copy that is refused runs no command" {
	echo text >a
	copy --seek 1 a 'exec:touch ran'
	exits 2
	copy a 'exec:touch ran' tcp:
	exits 2
	copy missing 'exec:touch ran'
	exits 3
	[ ! -e ran ]
}

@test "the status of a command is known where the parent ignored SIGCHLD" {
	(
		trap '' CHLD
		exec "$USPLICE" copy 'exec:exit 3' b
	) 2>said || code=$?
	[ "$code" -eq 3 ]
	grep -q 'exited with status 3' said
}
