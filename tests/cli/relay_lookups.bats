#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay and the names of its targets: when they are looked up, what becomes of their addresses, and what a reload keeps.

load relay
load names

# within NAME ADDRESS: a server there that says its name; its process id is $server[NAME].
within() {
	rm -f "$1.log"
	"${inside[@]}" python3 "$BATS_TEST_DIRNAME/relay_peer.py" name "$2" "$1" >"$1.log" 2>"$1.err" 3>&- &
	server[$1]=$!
	eventually grep -qs '^at ' "$1.log"
}

# relaying ARGUMENTS: a relay at 127.0.0.1:9000 there, with metrics.
relaying() {
	launch "${inside[@]}" "$USPLICE" relay --metrics unix:numbers --retry-after 1h 127.0.0.1:9000 "$@"
}

metric() {
	curl -sSf --max-time "$patience" --unix-socket numbers http://relay/metrics | sed -n "s/^usplice_relay_$1 //p"
}

# hears NAME: a client hears that target.
hears() {
	[ "$("${inside[@]}" timeout "$patience" python3 "$BATS_TEST_DIRNAME/relay_peer.py" ask 127.0.0.1:9000 </dev/null)" = "$1" ]
}

# zone LINES...: what the name server answers from now on.
zone() {
	printf '%s\n' "$@" >zone.new
	mv zone.new zone
}

nr_asked() {
	grep -c "^$1 1$" asked
}

asked_again() {
	[ "$(nr_asked "$1")" -gt "$2" ]
}

@test "a relay begins with a target that does not resolve, says so once, and serves it when it does" {
	zone "db.test"
	within one 127.0.0.1:7000
	relaying --resolve-interval 1s db.test:7000
	eventually grep -q "target 'db.test:7000': the name does not resolve; it is looked up again" job.err
	never hears one 2>/dev/null
	[ "$(metric 'target_up{index="0",target="db.test:7000"}')" -eq 0 ]
	before=$(nr_asked db.test)
	eventually asked_again db.test $((before + 1))
	[ "$(grep -c "db.test:7000" job.err)" -eq 1 ]
	zone "db.test 127.0.0.1"
	eventually grep -q "target 'db.test:7000': its name resolves again" job.err
	hears one
	[ "$(metric 'target_up{index="0",target="db.test:7000"}')" -eq 1 ]
	[ "$(grep -c "db.test:7000" job.err)" -eq 2 ]
	stops 0
}

@test "the first clients wait for the first answer of the name service" {
	within one 127.0.0.1:7000
	relaying --connect-timeout 1h late.test:7000
	eventually asked late.test
	hears one &
	asking=$!
	eventually metric_is connections 1
	kill -USR1 "$names"
	wait "$asking"
	[ "$(metric unserved_total)" -eq 0 ]
	stops 0
}

metric_is() {
	[ "$(metric "$1")" = "$2" ]
}

@test "a name that is not answered holds up no other" {
	within one 127.0.0.1:7000
	relaying --connect-timeout 1h never.test:7000 now.test:7000
	hears one
	never grep -q "did not answer in time" job.err
	stops 0
}

@test "names are looked up again by the time of --resolve-interval, and clients follow the answer" {
	zone "db.test 127.0.0.1"
	within one 127.0.0.1:7000
	within two 127.0.0.2:7000
	relaying --resolve-interval 300ms db.test:7000
	eventually hears one
	zone "db.test 127.0.0.2"
	eventually hears two
	stops 0
}

@test "names are looked up again when no address of theirs works, without waiting for the interval" {
	zone "db.test 127.0.0.1"
	within one 127.0.0.1:7000
	within two 127.0.0.2:7000
	relaying --resolve-interval 1h db.test:7000
	eventually hears one
	zone "db.test 127.0.0.2"
	before=$(nr_asked db.test)
	hears one # it has no reason to ask
	[ "$(nr_asked db.test)" -eq "$before" ]
	kill "${server[one]}"
	wait "${server[one]}" 2>/dev/null || true
	never hears one 2>/dev/null
	eventually hears two
	[ "$(nr_asked db.test)" -gt "$before" ]
	stops 0
}

@test "a name that does not resolve any more keeps its addresses" {
	zone "db.test 127.0.0.1"
	within one 127.0.0.1:7000
	relaying --resolve-interval 300ms db.test:7000
	eventually hears one
	zone "db.test"
	eventually grep -q "target 'db.test:7000': the name does not resolve" job.err
	hears one
	stops 0
}

# jam ADDRESS: somebody listens there, and has no room for anybody: connecting takes as long as one likes to wait.
jam() {
	"${inside[@]}" python3 -c '
import socket, sys, time
listener = socket.socket()
listener.bind((sys.argv[1], int(sys.argv[2])))
listener.listen(0)
others = [socket.socket() for _ in range(4)]
for other in others:
	other.setblocking(False)
	other.connect_ex(listener.getsockname())
print("at", flush=True)
time.sleep(1000)' "${1%:*}" "${1##*:}" >jam.log 3>&- &
	eventually grep -q at jam.log
}

@test "a dead address of a name is left out like a dead target: it costs one client the time-out, and not each" {
	zone "db.test 127.0.0.1 127.0.0.2"
	jam 127.0.0.1:7000
	within two 127.0.0.2:7000
	relaying --connect-timeout 1s db.test:7000
	for _ in {1..8}; do
		eventually hears two
	done
	[ "$(metric 'target_failed_total{index="0",target="db.test:7000"}')" -eq 1 ]
	[ "$(metric 'target_up{index="0",target="db.test:7000"}')" -eq 1 ]
	[ "$(metric unserved_total)" -eq 0 ]
	stops 0
}

@test "SIGHUP keeps what is known of an address that stays: connections, counters, and that it is left out" {
	zone "db.test 127.0.0.1"
	within one 127.0.0.1:7000
	within two 127.0.0.2:7000
	printf '%s\n' db.test:7000 127.0.0.2:7000 127.0.0.3:7000 >targets
	relaying --balance leastconn --targets targets
	eventually hears one
	# One of them stays, and then only the other one has none.
	mkfifo leash
	"${inside[@]}" python3 "$BATS_TEST_DIRNAME/relay_peer.py" ask 127.0.0.1:9000 <leash >held.log 2>&1 3>&- &
	exec 9>leash
	eventually test -s held.log
	for _ in {1..6}; do # so that the third one has had its turn
		hears one || hears two
	done
	[ "$(metric 'target_up{index="2",target="127.0.0.3:7000"}')" -eq 0 ]
	served=$(cat held.log)
	other=$([ "$served" = one ] && echo two || echo one)
	before=$(metric 'target_connected_total{index="1",target="127.0.0.2:7000"}')
	printf '%s\n' 127.0.0.3:7000 127.0.0.2:7000 127.0.0.1:7000 >targets # the name became a number
	kill -HUP "$job"
	eventually grep -q "the targets were read again" job.err
	[ "$(metric 'target_up{index="0",target="127.0.0.3:7000"}')" -eq 0 ]
	[ "$(metric 'target_connected_total{index="1",target="127.0.0.2:7000"}')" -eq "$before" ]
	for _ in {1..4}; do
		hears "$other"
	done
	exec 9>&-
	stops 0
}

@test "old targets stay until one of the new ones has an address" {
	within one 127.0.0.1:7000
	within two 127.0.0.2:7000
	zone "late.test 127.0.0.2"
	echo now.test:7000 >targets
	relaying --targets targets
	eventually hears one
	echo late.test:7000 >targets
	kill -HUP "$job"
	eventually asked late.test
	hears one
	kill -USR1 "$names"
	eventually hears two
	stops 0
}
