#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: bytes, ends and resets between clients and targets of all kinds.

load relay

@test "TCP and UNIX on either side, and IPv6, in all combinations" {
	data a 300000
	for target in 127.0.0.1:0 [::1]:0 unix:target; do
		serve "$target" echo "$target"
		for listen in 127.0.0.1:0 [::1]:0 :0 localhost:0 unix:front; do
			echo "--- $listen to $target"
			relay "$listen" "${at[$target]}"
			peer ask "$here" <a | same - a
			stops 0
		done
	done
}

@test "schemes, names of hosts and services are understood" {
	serve target echo 127.0.0.1:0
	relay tcp:127.0.0.1:0 "tcp:localhost:${at[target]##*:}"
	[ "$(ask hello)" = hello ]
	stops 0
	relay 127.0.0.1:0 127.0.0.1:no-such-service
	eventually grep -q "target '127.0.0.1:no-such-service': no service of this name has a port" job.err
	stops 0
}

@test "half-close is kept: the reply to a client that has ended its side arrives" {
	data a 3000001
	expected=$(sha256sum <a | cut -d ' ' -f 1)
	for address in 127.0.0.1:0 unix:target; do
		serve "$address" digest "$address"
		for lane in auto kernel user; do
			relay --lane $lane 127.0.0.1:0 "${at[$address]}"
			[ "$(peer ask "$here" <a)" = "$expected" ]
			stops 0
			relay --lane $lane unix:front "${at[$address]}"
			[ "$(peer ask "$here" <a)" = "$expected" ]
			stops 0
		done
	done
}

@test "half-close is kept the other way, too: a target that has ended its side is still told things" {
	serve target first 127.0.0.1:0 "I am done"
	relay 127.0.0.1:0 "${at[target]}"
	[ "$(peer late "$here" "one more thing")" = "I am done" ]
	logs target "got one more thing (1)"
	stops 0
}

@test "large and small pieces at the same time, both ways, arrive in order" {
	data a 20000001
	serve target echo unix:target
	relay --workers 2 --metrics 127.0.0.1:0 127.0.0.1:0 unix:target
	for i in 1 2 3; do
		peer ask "$here" <a >"got$i" &
		asking[i]=$!
	done
	peer crowd "$here" 200 </dev/null
	for i in 1 2 3; do
		wait "${asking[i]}"
		same a "got$i"
	done
	eventually shows connections 0
	shows 'delivered_bytes_total{direction="to_client"}' "$(metric 'delivered_bytes_total{direction="to_target"}')"
	shows stranded_bytes_total 0
	shows accepted_total 203
	stops 0
}

@test "an empty connection ends on both sides" {
	serve target echo 127.0.0.1:0
	relay 127.0.0.1:0 "${at[target]}"
	[ -z "$(ask '')" ]
	logs target "end 0 (1)"
	stops 0
}

@test "a target that resets resets the client" {
	serve target cut 127.0.0.1:0 5
	relay --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	run --separate-stderr ask hello
	exits 1
	says "ask: Connection reset by peer"
	[ -z "$output" ]
	eventually shows reset_total 1
	eventually shows connections 0
	stops 0
}

@test "a client that resets resets the target" {
	serve target echo 127.0.0.1:0
	relay 127.0.0.1:0 "${at[target]}"
	peer leave "$here" hello
	logs target "reset (1)"
	stops 0
}

@test "a reset in the middle of a large transfer is no end of it" {
	data a 5000001
	serve target send 127.0.0.1:0 a
	relay --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	peer leave "$here" hello
	logs target "reset (1)"
	eventually shows connections 0
	peer ask "$here" </dev/null | same - a
	stops 0
}

@test "a client that nobody serves is reset, and counted" {
	relay --metrics 127.0.0.1:0 127.0.0.1:0 "127.0.0.1:$(free_port)" unix:nobody
	run --separate-stderr ask hello
	exits 1
	shows unserved_total 1
	shows connections 0
	stops 0
}

# A byte that TCP marks as urgent has no place in a stream: it is left out, and nothing else is. The kernel's splice stops
# there for good, so where that is forced on us the connection has to break instead.
@test "urgent data is left out, and what is before and behind it arrives" {
	serve target digest 127.0.0.1:0
	for lane in auto user; do
		relay --lane $lane 127.0.0.1:0 "${at[target]}"
		for len in 5 3000000; do
			expected=$(head -c $((2 * len)) /dev/zero | sha256sum | cut -d ' ' -f 1)
			[ "$(timeout "$patience" python3 "$BATS_TEST_DIRNAME/relay_peer.py" urgent "$here" $len)" = "$expected" ]
		done
		stops 0
	done
	relay --lane kernel 127.0.0.1:0 "${at[target]}"
	run --separate-stderr timeout "$patience" python3 "$BATS_TEST_DIRNAME/relay_peer.py" urgent "$here" 5
	exits 1
	[ -z "$output" ]
	logs target "reset (5)"
	stops 0
}

@test "a target that reads nothing holds its client back, and the relay holds little memory meanwhile" {
	serve target deaf 127.0.0.1:0
	relay --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	head -c 1G /dev/zero | peer ask "$here" >/dev/null 2>&1 &
	sender=$!
	eventually is_held_back
	[ "$(metric 'delivered_bytes_total{direction="to_target"}')" -lt 100000000 ]
	[ "$(awk '$1 == "Private_Dirty:" { print $2 }' "/proc/$job/smaps_rollup")" -lt 30000 ]
	stops_at_once
	logs target "broken (1)"
	wait "$sender" || true
}

is_held_back() {
	[ "$(metric 'waits_total{direction="to_target",side="sink"}')" -ge 1 ] &&
		still 'delivered_bytes_total{direction="to_target"}'
}

# still NAME: the metric is not 0 and has not moved for a tenth of a second.
still() {
	local before
	before=$(metric "$1")
	sleep 0.1
	[ "$before" -gt 0 ] && shows "$1" "$before"
}

# The same for as long as you like: tests/soak/relay COMMAND SECONDS.
@test "connections that come, go and break for eight seconds lose nothing and leave nothing behind" {
	"$USPLICE_SOURCE_DIR/tests/soak/relay" "$USPLICE" 8 >soak || {
		cat soak
		return 1
	}
	[ "$(grep -c "exchanges whole" soak)" -eq 8 ]
}

# --- Descriptors and memory ----------------------------------------------------------------------------------

pauses() {
	[ "$(metric accept_pauses_total)" -ge "$1" ]
}

@test "without descriptors accepting pauses, those who are there are served, and later the others, too" {
	serve target echo 127.0.0.1:0
	launch bash -c 'ulimit -n 40; exec "$@"' - "$USPLICE" relay --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	hold 8
	echo early >&8
	read -r -t "$patience" -u 8 word
	[ "$word" = early ]
	# Not by the function: what is killed has to be the crowd itself.
	timeout 100 python3 "$BATS_TEST_DIRNAME/relay_peer.py" crowd "$here" 40 </dev/null >/dev/null 2>&1 &
	crowd=$!
	eventually pauses 1
	for i in {1..20}; do
		echo "still here $i" >&8
		read -r -t "$patience" -u 8 word
		[ "$word" = "still here $i" ]
	done
	kill "$crowd"
	[ "$(ask late)" = late ]
	exec 8>&-
	eventually shows connections 0
	stops 0
}

# private: the memory, in KiB, that belongs to the relay alone.
private() {
	awk '$1 ~ /^Private_/ { sum += $2 } END { print sum }' "/proc/$job/smaps_rollup"
}

# The relay needs two descriptors for each connection.
@test "10,000 idle connections, or as many as we may have, cost at most 2 KiB of memory each" {
	limit=$(ulimit -Hn)
	count=10000
	[ "$limit" = unlimited ] || [ "$limit" -ge 20100 ] || count=$((limit / 2 - 50))
	[ "$count" -ge 400 ] || skip "this user may have $limit descriptors"
	ulimit -n "$limit"
	serve target park 127.0.0.1:0
	relay --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	shows connections 0
	before=$(private)
	mkfifo leash
	peer keep "$here" "$count" <leash >kept &
	exec 9>leash
	eventually grep -q "all are there" kept
	eventually shows connections "$count"
	eventually shows 'delivered_bytes_total{direction="to_target"}' $((5 * count))
	each=$((($(private) - before) * 1024 / count))
	echo "# $each bytes of memory for each of $count idle connections" >&3
	# What a sanitizer puts around each piece of memory is not ours.
	[ "$each" -le 2048 ] || grep -q -e libasan -e libtsan "/proc/$job/maps"
	shows reset_total 0
	exec 9>&-
	kill "${server[target]}"
	eventually shows connections 0
	stops 0
}

# --- The kernel lane -----------------------------------------------------------------------------------------

carriers=read,write,readv,writev,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,sendto,sendmsg,sendmmsg,recvfrom,recvmsg,recvmmsg,io_uring_enter

# carried: how many bytes the calls in ./trace moved into the relay or out of it.
carried() {
	sed -n 's/.* = \([0-9]\+\)$/\1/p' trace | awk '{ sum += $1 } END { print sum + 0 }'
}

# traced LANE TARGET: 100 MB from a target to a client of a relay whose calls are in ./trace.
traced() {
	serve "$2" send "$2" big
	launch strace -f -o trace -e trace=$carriers "$USPLICE" relay --lane "$1" 127.0.0.1:0 "${at[$2]}"
	peer ask "$here" </dev/null | same - big
	kill -TERM "$(pgrep -P "$job")"
	finish 0
}

@test "on the kernel lane no byte of a transfer enters the relay" {
	tracing
	data big 100000000
	for target in 127.0.0.1:0 unix:target; do
		traced kernel $target
		# What the loader and the probe read.
		[ "$(carried)" -lt 500000 ]
	done
}

@test "the automatic lane takes a large transfer to the kernel, and the user lane does not" {
	tracing
	data big 100000000
	traced auto unix:target
	[ "$(carried)" -lt 10000000 ]
	rm target
	traced user unix:target
	[ "$(carried)" -ge 200000000 ]
}

@test "the metrics say which way the bytes went over each hop, and why" {
	data big 10000001
	serve target send unix:target big
	relay --lane user --metrics 127.0.0.1:0 127.0.0.1:0 unix:target
	peer ask "$here" </dev/null | same - big
	shows 'delivered_bytes_total{direction="to_client"}' 10000001
	for hop in in out; do
		shows "hop_bytes_total{direction=\"to_client\",hop=\"$hop\",way=\"copied\"}" 10000001
		shows "hop_bytes_total{direction=\"to_client\",hop=\"$hop\",way=\"by_reference\"}" 0
		curl -sSf "http://$metrics/metrics" | grep "^usplice_relay_hop_reason_info{direction=\"to_client\",hop=\"$hop\""
	done
	stops 0
	relay --lane kernel --metrics 127.0.0.1:0 127.0.0.1:0 unix:target
	peer ask "$here" </dev/null | same - big
	for hop in in out; do
		sum=0
		for way in by_reference copied unknown; do
			sum=$((sum + $(metric "hop_bytes_total{direction=\"to_client\",hop=\"$hop\",way=\"$way\"}")))
		done
		[ "$sum" -eq 10000001 ]
	done
	stops 0
}
