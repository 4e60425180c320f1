#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The names that a relay makes in a directory: taken by one relay, and removed by their owner only.

load relay

# is_gone PATH
is_gone() {
	[ ! -e "$1" ]
}

# crash: what SIGKILL leaves of the relay that was launched last.
crash() {
	kill -KILL "$job"
	wait "$job" || true
}

@test "a relay that ends leaves alone the socket of its successor, and a file that stands at its path" {
	serve target echo unix:target
	for end in stops stops_with_a_client; do
		relay --metrics unix:numbers unix:front unix:target
		old=$job
		if [ "$end" = stops_with_a_client ]; then
			python3 -uc 'import socket, time
s = socket.socket(socket.AF_UNIX)
s.connect("front")
print("there")
time.sleep(1000)' >client.log 3>&- &
			client=$!
			eventually grep -q there client.log
		fi
		rm front numbers
		relay unix:front unix:target
		new=$job
		echo precious >numbers
		kill -TERM "$old"
		[ "$end" = stops ] || kill -KILL "$client"
		code=0
		wait "$old" || code=$?
		[ "$code" -eq 0 ]
		[ "$(ask hello unix:front)" = hello ]
		[ "$(cat numbers)" = precious ]
		rm numbers
		job=$new
		stops 0
		is_gone front
	done
}

@test "what a relay that was killed left behind is replaced" {
	serve target echo unix:target
	relay --metrics unix:numbers unix:front unix:target
	crash
	[ -S front ]
	[ -S numbers ]
	touch .front.usplice-lock # it may have been killed while it held the lock, too
	relay --metrics unix:numbers unix:front unix:target
	[ "$(ask hello unix:front)" = hello ]
	stops 0
	is_gone front
	is_gone numbers
	is_gone .front.usplice-lock
}

@test "of many relays that start at one path at once, one serves and the others are refused" {
	serve target echo unix:target
	for _ in {1..10}; do
		relay unix:front unix:target
		crash
		local started=()
		for i in {1..6}; do
			"$USPLICE" relay unix:front unix:target 2>"said.$i" 3>&- &
			started+=($!)
		done
		eventually eval '[ "$(grep -l "somebody else listens there" said.* | wc -l)" -eq 5 ]'
		eventually grep -q "listening at unix:front" said.*
		[ "$(grep -l "listening at unix:front" said.* | wc -l)" -eq 1 ]
		[ "$(ask hello unix:front)" = hello ]
		kill -TERM "${started[@]}" 2>/dev/null || true
		wait "${started[@]}" || true
		is_gone front
		rm said.*
	done
}

@test "a lock that another user holds on the directory keeps nobody from starting" {
	serve target echo unix:target
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	mkdir open
	chmod 755 open
	as_nobody flock open sleep 1000 3>&- &
	eventually never flock -n open true
	relay unix:open/front unix:target
	[ "$(ask hello unix:open/front)" = hello ]
	stops 0
	is_gone open/front
}

@test "a socket of another user, and one in a directory that may not be written, are refused with the reason" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	mkdir -m 1777 shared
	serve target echo unix:target
	for end in crash true; do
		umask 077
		relay unix:shared/front unix:target
		umask 022
		$end
		status=0
		as_nobody timeout "$patience" "$USPLICE" relay unix:shared/front unix:target 2>said || status=$?
		[ "$status" -eq 3 ]
		[ "$(cat said)" = "usplice: relay: cannot listen at 'unix:shared/front': Permission denied" ]
		[ -S shared/front ]
	done
	stops 0
	status=0
	as_nobody timeout "$patience" "$USPLICE" relay unix:front unix:target 2>said || status=$?
	[ "$status" -eq 3 ]
	[ "$(cat said)" = "usplice: relay: cannot listen at 'unix:front': Permission denied" ]
}
