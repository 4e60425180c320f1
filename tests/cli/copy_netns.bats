#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy to another host over a link that is slow, or cut: what was sent is not delivered before the other host has it.

load support
load hosts

# linked: a sender and a receiver, with a link of 8 Mbit/s in which bytes wait, and 20 ms in each direction where the kernel can do that.
linked() {
	networking
	host sender
	host receiver
	cable sender receiver 10.78.1
	on sender tc qdisc add dev to_receiver root netem delay 20ms rate 8mbit 2>/dev/null ||
		on sender tc qdisc add dev to_receiver root tbf rate 8mbit burst 16k latency 1s || skip "no slow links here"
	on receiver tc qdisc add dev to_sender root netem delay 20ms 2>/dev/null || true
}

# peer WAY: banner_peer.py at the receiver; $sink is where it listens, ./said what it printed. It goes on until end_peer.
peer() {
	rm -f port go
	mkfifo go
	ADDRESS=10.78.1.2 on receiver python3 "$BATS_TEST_DIRNAME/banner_peer.py" "$1" port <go >said 3>&- &
	peer=$!
	exec 8>go
	eventually test -e port
	sink=tcp:10.78.1.2:$(cat port)
}

end_peer() {
	exec 8>&-
	wait "$peer"
}

cut_link() {
	ip -n "${net}sender" link set to_receiver down
}

restore_link() {
	ip -n "${net}sender" link set to_receiver up
}

# send ARGUMENTS: a copy at the sender.
send() {
	run --separate-stderr ip netns exec "${net}sender" "$USPLICE" copy "$@"
}

@test "over a slow link a server that sends a banner and reads slowly gets every byte" {
	linked
	data a 1000000
	for lane in auto kernel user; do
		peer slow
		send --lane "$lane" --report report a "$sink"
		exits 0
		end_peer
		[ "$(cat said)" = "1000000 end" ]
		[ "$(jq '.sinks[0].bytes' report)" -eq 1000000 ]
	done
}

@test "when a copy has ended well the other host has all of it, and the link is needed no more" {
	linked
	data a 60000
	for lane in auto kernel user; do
		peer deaf
		send --lane "$lane" --linger 1 a "$sink"
		exits 0
		cut_link
		end_peer
		[ "$(cat said)" = "60000 end" ]
		restore_link
	done
}

@test "what a link that is cut has not carried is not delivered" {
	linked
	data a 60000
	for lane in auto kernel user; do
		peer deaf
		rm -f in
		mkfifo in
		ip netns exec "${net}sender" "$USPLICE" copy --lane "$lane" --linger 1 --report report in "$sink" 2>job.err 3>&- &
		job=$!
		exec 7>in
		head -c 1000 a >&7
		eventually is_acknowledged 1000
		cut_link
		tail -c +1001 a >&7
		exec 7>&-
		finish 4
		[ "$(jq -r '.sinks[0] | [.bytes, .error] | @csv' report)" = '1000,"Connection timed out"' ]
		grep -q "sink $sink: at byte 1000: Connection timed out" job.err
		restore_link
		kill "$peer"
		exec 8>&-
	done
}

# is_acknowledged LENGTH: so many bytes, and the sender knows it.
is_acknowledged() {
	on sender ss -Htin dst 10.78.1.2 | grep -q "bytes_acked:$(($1 + 1)) "
}
