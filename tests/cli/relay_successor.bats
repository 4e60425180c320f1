#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A relay and the next one: what is free as soon as a drain begins, and what clients notice of a restart.

load relay

# answers FD: that connection carries a byte there and back.
answers() {
	printf x >&"$1"
	[ "$(timeout "$patience" head -c 1 <&"$1")" = x ]
}

drains() {
	grep -q "connections to end (a second signal closes them)" job.err
}

@test "as soon as a drain begins a successor can have the addresses of the clients and of the metrics" {
	serve target echo 127.0.0.1:0
	port=$(free_port)
	for address in "127.0.0.1:$port" "localhost:$port" unix:numbers; do
		relay --workers 2 --metrics "$address" "127.0.0.1:$(free_port)" "${at[target]}"
		first=$here
		hold 7
		answers 7 # it is served, and not only in the queue
		kill -TERM "$job"
		eventually drains
		old=$job
		# It may be a little later than what is said of it.
		until relay_has_begun "$address" "$first"; do
			sleep 0.05
		done
		[ "$(ask hello)" = hello ]
		kill -0 "$old" # its client is still there
		answers 7
		exec 7>&-
		stops 0
		job=$old
		code=0
		wait "$old" || code=$?
		[ "$code" -eq 0 ]
	done
}

# relay_has_begun METRICS LISTEN: one that could have both addresses.
relay_has_begun() {
	begin "$USPLICE" relay --metrics "$1" "$2" "${at[target]}"
	eventually grep -qE "listening at|somebody else listens there" job.err
	grep -q "listening at" job.err
}

@test "a program that does not set SO_REUSEADDR can have the address of the metrics, too" {
	serve target echo 127.0.0.1:0
	relay --metrics "127.0.0.1:$(free_port)" 127.0.0.1:0 "${at[target]}" # not one that the kernel chose: that it takes back
	hold 7
	answers 7
	kill -TERM "$job"
	eventually python3 -c 'import socket, sys
host, port = sys.argv[1].split(":")
socket.socket().bind((host, int(port)))' "$metrics"
	exec 7>&-
	finish 0
}

@test "a successor can have the source port of the relay before it at once" {
	serve target whence 127.0.0.1:0
	local from=127.8.$((RANDOM % 250)).$((RANDOM % 250 + 1)):$(free_port)
	for _ in 1 2; do
		relay --source "$from" 127.0.0.1:0 "${at[target]}"
		[ "$(ask "")" = "$from" ]
		stops 0
		serve target whence 127.0.0.1:0 # the kernel keeps the pair of addresses for a while
	done
}

@test "of two instances at one socket that overlap no client notices that the first one ends" {
	serve target echo 127.0.0.1:0
	printed=$(restarted overlap 5)
	echo "# overlap: $printed" >&3
	[[ $printed == *" served, "* ]]
}

@test "in a restart of one instance clients wait in the queue, and each is served" {
	serve target echo 127.0.0.1:0
	printed=$(restarted 5)
	echo "# restart: $printed" >&3
	[[ $printed == *" served, "* ]]
}

restarted() {
	timeout 100 python3 "$BATS_TEST_DIRNAME/restart.py" "$@" "$USPLICE" relay systemd "${at[target]}" 3>&-
}
