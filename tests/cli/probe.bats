#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice probe: what it prints, that it is what reports say, and that it touches nothing.

load support

# way OBJECT SIDE: one answer out of the file all.
way() {
	jq -r --arg object "$1" --arg side "$2" '.objects[] | select(.object == $object) | .[$side].way' all
}

@test "each object has an answer and a reason for each side" {
	"$USPLICE" probe --json --dir . >all
	jq -e '.objects | length >= 6' all
	jq -e '[.objects[] | .into_pipe, .out_of_pipe | select(. != null)] |
		all((.way == "by reference" or .way == "copied" or .way == "unknown") and (.reason | length > 5))' all
	[ "$(way "file in ." out_of_pipe)" != "" ]
	[ "$(way /proc/self/status out_of_pipe)" = null ]
	[ "$(way /dev/null out_of_pipe)" = "by reference" ]
}

@test "the table and the reasons are for people" {
	run "$USPLICE" probe
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == *"into a pipe"*"out of a pipe"* ]]
	[[ $output != *$'\033'* ]]
	run "$USPLICE" probe -v
	[[ $output == *"    into a pipe: "* ]]
}

@test "a terminal has colours, unless NO_COLOR says no" {
	command -v script >/dev/null || skip "no script(1)"
	TERM=xterm script -qec "$USPLICE probe" /dev/null >typescript 3>&-
	grep -q $'\033\[3' typescript
	NO_COLOR=1 TERM=xterm script -qec "$USPLICE probe" /dev/null >typescript 3>&-
	never grep -q $'\033\[3' typescript
}

@test "what it says of two ends is what the report of a copy says" {
	data a 3000000
	: >b
	"$USPLICE" probe --json a b >both
	[ "$(jq -r '[.hops[] | .from, .to] | @csv' both)" = '"a","pipe","pipe","b"' ]
	port=$(free_port)
	"$USPLICE" copy "tcp-listen:127.0.0.1:$port" c 3>&- &
	"$USPLICE" copy --report report a "tcp:127.0.0.1:$port,retry=60"
	wait
	[ "$(jq -r '.hops[0].reason' report)" = "$(jq -r '.hops[0].answer.reason' both)" ]
}

@test "no file is made, cut or read" {
	data a 100000
	cp a old
	touch -d @1000 a
	"$USPLICE" probe a a
	same a old
	[ "$(stat -c %Y a)" = 1000 ]
	run "$USPLICE" probe a new
	[ "$status" -eq 4 ]
	[ ! -e new ]
	exec 7<a
	dd bs=10 count=1 status=none <&7 >/dev/null
	"$USPLICE" probe fd:7 null: >/dev/null
	cmp <(cat <&7) <(tail -c +11 a)
	exec 7<&-
	[ "$(ls)" = $'a\nold' ]
}

@test "names do not reach the terminal as commands" {
	data $'e\033[31mx\nfake' 100
	"$USPLICE" probe $'e\033[31mx\nfake' null: >out
	never grep -q $'\033' out
	[ "$(wc -l <out)" -eq 2 ]
	"$USPLICE" explain $'e\033[31mx\nfake' null: >out
	never grep -q $'\033' out
	mkdir $'d\033[1m'
	"$USPLICE" probe --dir $'d\033[1m' >out
	never grep -q $'\033' out
}

@test "who waits at a FIFO is not woken, and a listener is not asked" {
	mkfifo fifo
	cat fifo >got 3>&- &
	"$USPLICE" probe null: fifo
	"$USPLICE" probe fifo null:
	"$USPLICE" explain null: fifo
	echo text >fifo
	wait $!
	[ "$(cat got)" = text ]
	run "$USPLICE" probe unix-listen:sock
	[ "$status" -eq 3 ]
	[ ! -e sock ]
}

@test "what the kernel makes is not used up" {
	[ "$(id -u)" -eq 0 ] || skip "not root"
	run timeout 20 "$USPLICE" explain /proc/kmsg null:
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "Nothing was moved: "* ]]
}

@test "a directory where no file can be made is named" {
	run "$USPLICE" probe --dir missing
	[[ $output == *"no file can be made in missing: No such file or directory"* ]]
}

@test "what is wrong is said, with its exit code" {
	run "$USPLICE" probe missing
	[ "$status" -eq 3 ]
	[[ $output == *"source missing: No such file or directory"* ]]
	run "$USPLICE" probe a b c
	[ "$status" -eq 2 ]
	run "$USPLICE" probe --dir /tmp a
	[ "$status" -eq 2 ]
	run "$USPLICE" probe --nonsense
	[ "$status" -eq 2 ]
	run "$USPLICE" probe --help
	[ "$status" -eq 0 ]
	[[ $output == *"usage: usplice probe"* ]]
	run sh -c '"$1" probe >/dev/full' sh "$USPLICE"
	[ "$status" -eq 1 ]
}

@test "an ordinary user has answers, too" {
	[ "$(id -u)" -eq 0 ] || skip "not root"
	chmod 777 .
	setpriv --reuid 65534 --regid 65534 --clear-groups "$USPLICE" probe --json --dir . >all
	[ "$(way "file in ." into_pipe)" = "$("$USPLICE" probe --json --dir . | jq -r '.objects[0].into_pipe.way')" ]
}
