#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a relay tells of itself, to Prometheus and, in a real browser, to people.

load support
load pages

# A target that sends back what it gets, a relay in front of it, and one connection that has carried some bytes.
begin() {
	port=$(free_port)
	socat UNIX-LISTEN:echo,fork EXEC:cat &
	eventually test -S echo
	run_relay
	data sent 200000
	mkfifo to_relay
	socat UNIX-CONNECT:clients - <to_relay >received &
	exec 8>to_relay
	cat sent >&8
	eventually has_bytes received 200000
	same sent received
}

run_relay() {
	rm -f clients
	"$USPLICE" relay --metrics "127.0.0.1:$port" unix:clients unix:echo 2>relay.err 8>&- &
	relay=$!
	eventually test -S clients
	eventually get /metrics
}

# get PATH: what the relay answers, into ./answer.
get() {
	python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode(), end="")' \
		"http://127.0.0.1:$port$1" >answer 2>/dev/null
}

@test "what flows is told to Prometheus" {
	begin
	get /metrics
	grep -qx 'usplice_relay_connections 1' answer
	grep -qx 'usplice_relay_accepted_total 1' answer
	for direction in to_target to_client; do
		grep -qx "usplice_relay_delivered_bytes_total{direction=\"$direction\"} 200000" answer
		for hop in in out; do
			grep "^usplice_relay_hop_bytes_total{direction=\"$direction\",hop=\"$hop\"," answer |
				awk '{ sum += $2 } END { exit sum != 200000 }'
		done
	done
	grep -qx 'usplice_relay_target_up{index="0",target="unix:echo"} 1' answer
}

@test "Prometheus finds nothing wrong with its format and its names" {
	command -v promtool >/dev/null || skip "needs promtool"
	begin
	get /metrics
	promtool check metrics <answer
}

@test "the status is JSON with all that the page shows" {
	begin
	get /status.json
	jq -e '.connections.now == 1 and .directions.to_target.delivered_bytes == 200000 and .draining == false and
		(.targets | map(.name)) == ["unix:echo"] and .history.step_ms == 1000' answer
}

@test "the page shows what flows, in a browser" {
	begin
	browse shows_the_flow
}

@test "the page can be read by the keyboard" {
	begin
	browse obeys_the_keyboard
}

@test "the page fits every window, and its text can be read on light and on dark" {
	begin
	browse fits_every_window
}

@test "the page says when the relay does not answer any more, and when it does again" {
	begin
	watch_the_end
	kill -9 "$relay"
	eventually test -e here.lost
	run_relay
	finish 0
}
