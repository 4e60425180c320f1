#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice between several hosts: network namespaces with cables between them, which the test makes and removes.

load relay
load hosts

# A client, a relay and a server in a row, the server with a ROLE of relay_peer.py.
in_a_row() {
	networking
	host client
	host relay
	host server
	cable client relay 10.77.1
	cable relay server 10.77.2
	on server python3 "$BATS_TEST_DIRNAME/relay_peer.py" "$1" 10.77.2.2:7000 "${@:2}" >server.log 2>server.err 3>&- &
	eventually grep -q '^at ' server.log
}

# relay_between OPTIONS: in the middle of the row, with metrics that can be asked for there.
relay_between() {
	launch ip netns exec "${net}relay" "$USPLICE" relay --metrics unix:numbers "$@" 10.77.1.2:9000 10.77.2.2:7000
}

metric() {
	curl -sSf --unix-socket numbers http://relay/metrics | sed -n "s/^usplice_relay_$1 //p"
}

client() {
	on client python3 "$BATS_TEST_DIRNAME/relay_peer.py" "$@"
}

# Pieces of random bytes, one behind the other, until there is a file ./enough.
until_enough() {
	data piece 1000003
	until [ -e enough ]; do
		cat piece
	done
}

@test "links that are cut and restored in the middle of a transfer lose no byte and double none" {
	in_a_row echo
	relay_between --limit-rate 4M --workers 2
	until_enough | tee sent | client ask 10.77.1.2:9000 >got &
	asking=$!
	eventually moves_on 1000000
	for link in "relay to_server" "relay to_client" "server to_relay"; do
		ip -n "$net${link% *}" link set "${link#* }" down
		eventually still
		before=$(delivered)
		ip -n "$net${link% *}" link set "${link#* }" up
		eventually moves_on "$before"
	done
	touch enough
	wait "$asking"
	same sent got
	[ "$(delivered)" -eq "$(stat -c %s sent)" ]
	[ "$(metric stranded_bytes_total)" -eq 0 ]
	stops 0
}

delivered() {
	metric 'delivered_bytes_total{direction="to_client"}'
}

# still: nothing has been delivered for a while.
still() {
	local before
	before=$(delivered)
	sleep 0.3
	[ "$(delivered)" = "$before" ]
}

moves_on() {
	[ "$(delivered)" -gt "$1" ]
}

@test "a link that drops packets because it is narrower than what comes loses no byte" {
	data a 5000000
	in_a_row digest
	# A bucket whose queue holds hardly more than two packets drops what does not fit.
	on relay tc qdisc add dev to_server root tbf rate 200mbit burst 8k limit 6k 2>/dev/null || skip "no sch_tbf here"
	relay_between
	for _ in 1 2; do
		[ "$(client ask 10.77.1.2:9000 <a)" = "$(sha256sum <a | cut -d ' ' -f 1)" ]
	done
	dropped=$(on relay tc -s qdisc show dev to_server | sed -n 's/.*(dropped \([0-9]*\),.*/\1/p')
	echo "# $dropped packets were dropped on the way" >&3
	[ "$dropped" -gt 0 ]
	stops 0
}

@test "delay and loss on the way lose no byte" {
	data a 2000000
	in_a_row digest
	on relay tc qdisc add dev to_server root netem delay 5ms 2ms loss 1% 2>/dev/null || skip "no sch_netem here"
	on relay tc qdisc add dev to_client root netem delay 5ms 2ms loss 1% reorder 5%
	relay_between
	[ "$(client ask 10.77.1.2:9000 <a)" = "$(sha256sum <a | cut -d ' ' -f 1)" ]
	stops 0
}

@test "a client that vanishes is given up after --idle-timeout, and its target is told" {
	in_a_row name you
	relay_between --idle-timeout 1s
	mkfifo leash
	client keep 10.77.1.2:9000 1 <leash >kept 2>&1 3>&- &
	exec 9>leash
	eventually grep -qx "open 1" server.log
	# From here on nobody hears of it any more.
	ip -n "${net}client" link set to_relay down
	eventually grep -qx "reset (1)" server.log
	[ "$(metric idle_closed_total)" -eq 1 ]
	[ "$(metric connections)" -eq 0 ]
	exec 9>&-
	stops 0
}

@test "a target that cannot be reached is left out, and found again when its link is back" {
	in_a_row name far
	on relay python3 "$BATS_TEST_DIRNAME/relay_peer.py" name 127.0.0.1:7000 near >near.log 2>&1 3>&- &
	eventually grep -q '^at ' near.log
	ip -n "${net}relay" link set to_server down
	launch ip netns exec "${net}relay" "$USPLICE" relay --metrics unix:numbers --connect-timeout 300ms --retry-after 1ms \
		10.77.1.2:9000 10.77.2.2:7000 127.0.0.1:7000
	[ "$(client ask 10.77.1.2:9000 </dev/null)" = near ]
	[ "$(metric 'target_failed_total{index="0",target="10.77.2.2:7000"}')" -ge 1 ]
	[ "$(metric 'target_failed_total{index="1",target="127.0.0.1:7000"}')" -eq 0 ]
	ip -n "${net}relay" link set to_server up
	eventually hears_from far
	stops 0
}

hears_from() {
	[ "$(client ask 10.77.1.2:9000 </dev/null)" = "$1" ]
}

# chain N: hosts in a row, host1 - host2 - ...
chain() {
	local i
	networking
	for ((i = 1; i <= $1; i++)); do
		host "host$i"
	done
	for ((i = 1; i < $1; i++)); do
		cable "host$i" "host$((i + 1))" "10.78.$i"
		# Links of the same width: a chain is as fast as one of them if nobody waits for the whole of it.
		on "host$i" tc qdisc add dev "to_host$((i + 1))" root tbf rate 800mbit burst 256k latency 100ms 2>/dev/null || true
	done
}

# hand_on LAST: what comes into ./image goes from host1 over all hosts to that one, each of which keeps it.
hand_on() {
	local last=$1 i
	on "host$last" "$USPLICE" copy tcp-listen:9000 "disk$last.img" 3>&- 9>&- &
	for ((i = last - 1; i > 1; i--)); do
		on "host$i" "$USPLICE" copy tcp-listen:9000 "disk$i.img" "tcp:10.78.$i.2:9000,retry=60" 3>&- 9>&- &
	done
	on host1 "$USPLICE" copy image "tcp:10.78.1.2:9000,retry=60" 3>&- 9>&- &
}

# More than all the buffers on the way hold: whoever waits for the whole of it keeps the next one from getting anything.
@test "a chain of copies hands an image to every host while it is still coming in" {
	data half 50000000
	chain 4
	mkfifo image
	exec 9<>image
	hand_on 4
	cat half >&9
	eventually has_bytes disk4.img 10000000
	cat half >&9
	exec 9>&-
	wait
	cat half half >whole
	for i in 2 3 4; do
		same whole "disk$i.img"
	done
}

# The largest header of version 2: 16 bytes, addresses, and one TLV, for a target with room for a part of it.
@test "a target gets all of a PROXY header that its socket takes in pieces" {
	in_a_row echo
	on relay sysctl -qw net.ipv4.tcp_wmem="4096 4096 4096"
	on server sysctl -qw net.ipv4.tcp_rmem="4096 4096 4096" # of listeners that come after this
	on server python3 "$BATS_TEST_DIRNAME/relay_peer.py" echo 10.77.2.2:7001 >narrow.log 2>&1 3>&- &
	eventually grep -q '^at ' narrow.log
	for option in --no-io-uring --lane=auto; do
		launch ip netns exec "${net}relay" "$USPLICE" relay --metrics unix:numbers $option \
			--proxy-protocol accept --proxy-protocol send 10.77.1.2:9000 10.77.2.2:7001
		{
			printf '\r\n\r\n\0\r\nQUIT\n\x21\x11\x3f\xf0\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51\xe0\x3f\xe1'
			head -c 16353 /dev/urandom
			echo hello
		} >sent
		client ask 10.77.1.2:9000 <sent | same - sent
		[ "$(metric 'target_failed_total{index="0",target="10.77.2.2:7001"}')" -eq 0 ]
		stops 0
	done
}
