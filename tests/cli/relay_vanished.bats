#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: peers that vanish without a word.

load relay

net=usp_van$$

networking() {
	[ "$(id -u)" -eq 0 ] || skip "only root makes network namespaces"
	command -v ip >/dev/null || skip "no ip"
	ip netns add "${net}far" 2>/dev/null || skip "cannot make network namespaces here"
	ip netns add "${net}near"
	ip -n "${net}near" link add to_far type veth peer name to_near netns "${net}far" || skip "cannot make cables here"
	ip -n "${net}near" address add 10.79.1.1/24 dev to_far
	ip -n "${net}far" address add 10.79.1.2/24 dev to_near
	ip -n "${net}near" link set to_far up
	ip -n "${net}far" link set to_near up
	ip -n "${net}near" link set lo up
}

teardown() {
	local host
	for host in far near; do
		ip netns pids "$net$host" 2>/dev/null | xargs -r kill -9
		ip netns del "$net$host" 2>/dev/null || true
	done
	cd / && rm -rf "$command_dir"
}

# far, near COMMAND...: there.
far() {
	ip netns exec "${net}far" "$@"
}

near() {
	ip netns exec "${net}near" "$@"
}

metric() {
	curl -sSf --unix-socket numbers http://relay/metrics | sed -n "s/^usplice_relay_$1 //p"
}

# A relay and its target are near; clients are far.
relay_near() {
	near python3 "$BATS_TEST_DIRNAME/relay_peer.py" "$1" 127.0.0.1:7000 $2 >target.log 2>&1 3>&- &
	eventually grep -q '^at ' target.log
	launch ip netns exec "${net}near" "$USPLICE" relay --metrics unix:numbers "${@:3}" 10.79.1.1:9000 127.0.0.1:7000
}

cut_the_cable() {
	ip -n "${net}far" link set to_near down
}

@test "a client that vanishes is found by keepalive, and its target is told" {
	networking
	relay_near name you --keepalive-time 1s --keepalive-interval 1s --keepalive-probes 2
	mkfifo leash
	far python3 "$BATS_TEST_DIRNAME/relay_peer.py" keep 10.79.1.1:9000 1 <leash >kept 2>&1 3>&- &
	exec 9>leash
	eventually grep -qx "open 1" target.log
	# The kernel probes only a peer that has acknowledged everything.
	eventually has_all 9 # "you", and its own "word"
	cut_the_cable
	eventually grep -qx "reset (1)" target.log
	[ "$(metric idle_closed_total)" -eq 0 ]
	[ "$(metric reset_total)" -eq 1 ]
	eventually shows connections 0
	exec 9>&-
	stops 0
}

# has_all LENGTH: the client's system has acknowledged so many bytes of the relay, and none is under way.
has_all() {
	near ss -tniH state established src 10.79.1.1:9000 >sockets
	grep -q "bytes_acked:$1 " sockets && ! grep -q unacked: sockets
}

@test "a client that vanishes with bytes under way is found by --user-timeout" {
	networking
	truncate -s 64M large
	relay_near send large --user-timeout 1s
	mkfifo leash
	far python3 "$BATS_TEST_DIRNAME/relay_peer.py" keep 10.79.1.1:9000 1 <leash >kept 2>&1 3>&- &
	exec 9>leash
	eventually grep -qx "open 1" target.log
	cut_the_cable
	eventually grep -qx "reset (1)" target.log
	[ "$(metric reset_total)" -eq 1 ]
	eventually shows connections 0
	exec 9>&-
	stops 0
}

# It reads nothing, so that its window closes, and says nothing: but its system answers.
@test "a peer with a closed window lives through keepalive, and not through --user-timeout" {
	networking
	for options in "--keepalive-time 1s --keepalive-interval 1s --keepalive-probes 1" "--user-timeout 1s"; do
		echo "--- $options"
		relay_near deaf "" $options
		head -c 64M /dev/zero | far python3 "$BATS_TEST_DIRNAME/relay_peer.py" ask 10.79.1.1:9000 >got 2>&1 3>&- &
		client=$!
		if [[ $options == --user-timeout* ]]; then
			eventually shows reset_total 1
			eventually shows connections 0
			stops 0
		else
			eventually is_asked
			shows connections 1
			shows reset_total 0
			kill "$client"
			stops_at_once
		fi
		ip netns pids "${net}near" | xargs -r kill
		rm target.log
	done
}

# is_asked: the target's system has been asked for room again and again, which takes three seconds.
is_asked() {
	near ss -tni state established dst 127.0.0.1:7000 | grep -q 'backoff:[4-9]'
}

@test "what keepalive cannot do is refused" {
	usage --keepalive-time 100ms 127.0.0.1:0 127.0.0.1:1
	exits 2
	says "usplice: relay: --keepalive-time: '100ms' is not between 1s and 32767s"
	usage --keepalive-interval 10h 127.0.0.1:0 127.0.0.1:1
	exits 2
	usage --keepalive-probes 128 127.0.0.1:0 127.0.0.1:1
	exits 2
	usage --user-timeout 1000h 127.0.0.1:0 127.0.0.1:1
	exits 2
}
