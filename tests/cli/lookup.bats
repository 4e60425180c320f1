#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Looking up names, with a name server of the test's own that answers at once, late or never. It has a network and a view of /etc
# of its own, which go when it ends.

load relay
load names

# start COMMAND...: "usplice COMMAND" where the names are, in the background, with the signals of a terminal's; $job is its process id.
start() {
	: >asked
	env --default-signal=INT,TERM,HUP,USR1 "${inside[@]}" "$USPLICE" "$@" >job.out 2>job.err 3>&- &
	job=$!
}

# copy ARGUMENTS: run it there, with standard error in $stderr.
copy() {
	run --separate-stderr timeout 60 "${inside[@]}" "$USPLICE" copy "$@"
}

# listening PORT: is there somebody?
listening() {
	"${inside[@]}" ss -Hltn "sport = :$1" | grep -q .
}

# The specs that look a name up, %s.
specs=("tcp:%s:9000" "tcp-listen:%s:0" "udp:%s:9000" "udp-listen:%s:0")

@test "a name that is answered at once becomes a connection, and data" {
	data a 100000
	start copy tcp-listen:here.test:9000 b
	eventually listening 9000
	copy a tcp:now.test:9000
	exits 0
	finish 0
	same a b
	asked here.test
	asked now.test
}

@test "a name that is answered late becomes a connection, if there is time" {
	data a 100000
	"${inside[@]}" "$USPLICE" copy tcp-listen:127.0.0.1:9000 b 3>&- &
	listener=$!
	eventually listening 9000
	start copy a tcp:late.test:9000,timeout=60
	eventually asked late.test
	kill -USR1 "$names"
	finish 0
	wait "$listener"
	same a b
}

@test "a name that is never answered is given up after timeout=, by every endpoint that looks names up" {
	for spec in "${specs[@]}"; do
		spec=$(printf "$spec" never.test),timeout=0.3
		before=$(date +%s%N)
		copy "$spec" b
		exits 3
		says "source $spec: Connection timed out (the name service did not answer in time)"
		[ $((($(date +%s%N) - before) / 1000000)) -ge 300 ]
		[ ! -e b ]
	done
	for spec in "${specs[@]:0:3}"; do
		spec=$(printf "$spec" never.test),timeout=0.3
		copy mem:some c "$spec"
		exits 4
		says "sink $spec: Connection timed out (the name service did not answer in time)"
		[ ! -e c ]
	done
}

@test "timeout= ends a look-up although retry= is longer, and needs no look-up to end a wait" {
	copy tcp:never.test:9000,retry=600,timeout=0.3 b
	exits 3
	says "the name service did not answer in time"
	copy tcp-listen:127.0.0.1:0,timeout=0.3 b
	exits 3
	says "nobody came or answered in time"
}

@test "a service by name is looked up, and a number of either kind is not" {
	copy tcp:never.test:http,timeout=0.3 b
	exits 3
	: >asked
	copy mem:some tcp:127.0.0.1:9000
	exits 4
	says "Connection refused"
	[ ! -s asked ]
}

@test "SIGINT, SIGTERM and SIGHUP end a look-up" {
	for spec in "${specs[@]}"; do
		for pair in INT:130 TERM:143 HUP:129; do
			start copy "$(printf "$spec" never.test)" b
			eventually asked never.test
			kill "-${pair%%:*}" "$job"
			finish "${pair##*:}"
			grep -q "^usplice: stopped by signal $((${pair##*:} - 128)) .* before anything was copied$" job.err
			[ ! -e b ]
		done
	done
}

@test "SIGINT ends the look-up of a destination, and leaves none behind" {
	start copy mem:some b tcp:never.test:9000
	eventually asked never.test
	kill -INT "$job"
	finish 130
	[ ! -e b ]
}

@test "a look-up goes on where it was stopped by a terminal and continued" {
	data a 1000
	"${inside[@]}" "$USPLICE" copy tcp-listen:127.0.0.1:9000 b 3>&- &
	listener=$!
	eventually listening 9000
	start copy a tcp:late.test:9000
	eventually asked late.test
	kill -STOP "$job"
	eventually grep -q "^State:.T" "/proc/$job/status"
	kill -CONT "$job"
	kill -USR1 "$names"
	finish 0
	wait "$listener"
	same a b
}

# threads ARGUMENTS: how many threads a copy makes.
threads() {
	timeout 60 "${inside[@]}" strace -f -o trace -e trace=clone,clone3 "$USPLICE" copy "$@" 2>/dev/null || true
	grep -cE "clone3?\(" trace
}

@test "a numeric address costs no thread, and a name costs one" {
	tracing "${inside[@]}"
	mine=$(threads null: null:)
	[ "$(threads mem:some tcp:127.0.0.1:9000)" -eq "$mine" ]
	[ "$(threads mem:some "tcp:[::1]:9000")" -eq "$mine" ]
	[ "$(threads tcp-listen:0,timeout=0 null:)" -eq "$mine" ]
	[ "$(threads null: udp:127.0.0.1:9000)" -eq "$mine" ]
	[ "$(threads null: udp:now.test:9000)" -eq $((mine + 1)) ]
}

# without_threads ARGUMENTS: a copy that gets no thread but that of its signals.
without_threads() {
	run --separate-stderr timeout 60 "${inside[@]}" strace -f -o trace -e trace=clone,clone3 \
		-e inject=clone,clone3:error=EAGAIN:when=2+ "$USPLICE" copy "$@"
	grep -q INJECTED trace
}

@test "where no thread can be had a name is looked up all the same, and a time-out says why it comes late" {
	tracing "${inside[@]}"
	without_threads null: udp:now.test:9000
	exits 0
	export RES_OPTIONS="timeout:1 attempts:1"
	without_threads null: udp:never.test:9000,timeout=0.1
	exits 4
	says "the name service did not answer in time, and no thread could be had to stop waiting for it"
	without_threads null: udp:never.test:9000
	exits 4
	says "the name service does not answer"
}

@test "a relay that waits for a name when it begins ends with SIGTERM, at once" {
	start relay 127.0.0.1:0 never.test:9000
	eventually asked never.test
	kill -TERM "$job"
	finish 0
	never grep -q "did not answer in time" job.err
}

@test "a relay serves while it waits for a name that it has read again, and keeps its targets" {
	"${inside[@]}" python3 "$BATS_TEST_DIRNAME/relay_peer.py" name 127.0.0.1:7000 one >one.log 2>&1 3>&- &
	eventually grep -qs '^at ' one.log
	echo now.test:7000 >targets
	start relay --targets targets 127.0.0.1:9000
	eventually grep -q "listening at" job.err
	echo never.test:7000 >targets
	kill -HUP "$job"
	eventually asked never.test
	[ "$("${inside[@]}" python3 "$BATS_TEST_DIRNAME/relay_peer.py" ask 127.0.0.1:9000 </dev/null)" = one ]
	for _ in {1..6}; do # fifteen seconds, and ten at a time
		eventually grep -q "target 'never.test:7000': the name service did not answer in time" job.err && break
	done
	grep -q "target 'never.test:7000'" job.err
	[ "$("${inside[@]}" python3 "$BATS_TEST_DIRNAME/relay_peer.py" ask 127.0.0.1:9000 </dev/null)" = one ]
	kill -TERM "$job"
	finish 0
}

@test "a program may unload the library while a look-up that it gave up goes on" {
	library=$USPLICE_BUILD_DIR/src/libusplice.so
	python3 -c 'import ctypes, sys; ctypes.CDLL(sys.argv[1])' "$library" || skip "python cannot load this library"
	mkfifo leash
	"${inside[@]}" python3 "$BATS_TEST_DIRNAME/unload.py" "$library" late.test <leash >unload.log 2>&1 3>&- &
	job=$!
	exec 9>leash
	eventually grep -q "ended with -4" unload.log
	never has_one_thread "$job"
	kill -USR1 "$names"
	eventually has_one_thread "$job"
	exec 9>&-
	wait "$job"
	grep -q alive unload.log
}

has_one_thread() {
	grep -qx "Threads:.1" "/proc/$1/status"
}
