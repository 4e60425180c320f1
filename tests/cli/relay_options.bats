#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: what each option changes, as clients and targets see it.

load relay

# three_targets: three targets that say their names, a, b and c; and the arguments for them in $targets.
three_targets() {
	targets=()
	for name in a b c; do
		serve $name name 127.0.0.1:0 $name
		targets+=("${at[$name]}")
	done
}

# names COUNT: who answers the next clients, in one line.
names() {
	for ((i = 0; i < $1; i++)); do
		ask ""
	done | paste -sd ' '
}

# said FD: the next line from a connection that is held.
said() {
	local line
	read -r -t "$patience" -u "$1" line
	echo "$line"
}

seconds() {
	date +%s.%N
}

# lasted FROM LEAST [MOST]: as many seconds have gone by since FROM. On a machine with much else to do everything takes longer, so
# MOST is far more than it needs.
lasted() {
	awk -v from="$1" -v to="$(seconds)" -v least="$2" -v most="${3:-$patience}" 'BEGIN {
		printf "%.3f seconds\n", to - from
		exit !(to - from >= least && to - from <= most)
	}'
}

# --- Who serves ----------------------------------------------------------------------------------------------

@test "by default targets take turns" {
	three_targets
	relay 127.0.0.1:0 "${targets[@]}"
	[ "$(names 6)" = "a b c a b c" ]
	stops 0
	relay --balance roundrobin 127.0.0.1:0 "${targets[@]}"
	[ "$(names 4)" = "a b c a" ]
	stops 0
}

@test "--balance leastconn prefers the target with the fewest connections" {
	three_targets
	relay --balance leastconn 127.0.0.1:0 "${targets[@]}"
	for fd in 5 6 7; do
		hold $fd
		held[fd]=$(said $fd)
	done
	[ "${held[*]}" = "a b c" ]
	exec 6>&-
	logs b "end 0 (1)"
	# Only b has none. Each client that comes is gone before the next one.
	for i in 2 3 4; do
		[ "$(ask "")" = b ]
		logs b "end 0 ($i)"
	done
	exec 5>&- 7>&-
	stops 0
}

@test "--balance source sends a client to the same target each time, and clients to all of them" {
	three_targets
	relay --balance source 127.0.0.1:0 "${targets[@]}"
	for i in {1..12}; do
		first=$(ask "" "$here" "127.0.0.$i")
		[ "$(ask "" "$here" "127.0.0.$i")" = "$first" ]
		echo "$first"
	done >chosen
	[ "$(sort -u chosen | paste -sd ' ')" = "a b c" ]
	stops 0
}

@test "a target that is named twice gets two turns" {
	three_targets
	relay 127.0.0.1:0 "${at[a]}" "${at[a]}" "${at[b]}"
	[ "$(names 6)" = "a a b a a b" ]
	stops 0
}

@test "a target that refuses is left out for --retry-after, and its clients do not notice" {
	three_targets
	dead=127.0.0.1:$(free_port)
	relay --metrics 127.0.0.1:0 --retry-after 1h 127.0.0.1:0 "$dead" "${at[b]}"
	[ "$(names 6)" = "b b b b b b" ]
	shows "target_failed_total{index=\"0\",target=\"$dead\"}" 1
	shows "target_up{index=\"0\",target=\"$dead\"}" 0
	shows "target_up{index=\"1\",target=\"${at[b]}\"}" 1
	shows unserved_total 0
	stops 0
	relay --metrics 127.0.0.1:0 --retry-after 1ms 127.0.0.1:0 "$dead" "${at[b]}"
	[ "$(names 6)" = "b b b b b b" ]
	[ "$(metric "target_failed_total{index=\"0\",target=\"$dead\"}")" -ge 3 ]
	serve a name "$dead" back
	eventually comes_back
	stops 0
}

comes_back() {
	[ "$(ask "")" = back ]
}

# A listener whose queue is full lets nobody in: the kernel drops what wants to connect.
@test "a target that does not answer is given up after --connect-timeout" {
	python3 - <<-'PYTHON' >mute 3>&- &
		import signal, socket
		listener = socket.socket()
		listener.bind(("127.0.0.1", 0))
		listener.listen(0)
		clients = [socket.socket() for _ in range(4)]
		for client in clients:
		    client.setblocking(False)
		    client.connect_ex(listener.getsockname())
		print("127.0.0.1:%d" % listener.getsockname()[1], flush=True)
		signal.pause()
	PYTHON
	eventually test -s mute
	three_targets
	relay --metrics 127.0.0.1:0 --connect-timeout 300ms 127.0.0.1:0 "$(cat mute)" "${at[a]}"
	from=$(seconds)
	[ "$(ask "")" = a ]
	lasted "$from" 0.3
	shows "target_failed_total{index=\"0\",target=\"$(cat mute)\"}" 1
	stops 0
}

@test "--targets names more of them, with comments and blanks, and SIGHUP reads it again" {
	three_targets
	printf '# two of them\n\n  %s # the first\n\t%s\r\n' "${at[b]}" "${at[c]}" >list
	relay --targets list 127.0.0.1:0 "${at[a]}"
	[ "$(names 6)" = "a b c a b c" ]
	hold 8
	[ "$(said 8)" = a ]
	echo "${at[c]}" >list
	kill -HUP "$job"
	eventually grep -q " usplice: relay: the targets were read again$" job.err
	[ "$(names 4)" = "a c a c" ]
	echo still there >&8
	[ "$(said 8)" = "still there" ]
	exec 8>&-
	stops 0
}

@test "a target file that has become bad changes nothing, and is complained about" {
	three_targets
	echo "${at[b]}" >list
	relay --targets list 127.0.0.1:0
	echo nonsense >list
	kill -HUP "$job"
	eventually grep -q " usplice: relay: target 'nonsense': " job.err
	rm list
	kill -HUP "$job"
	eventually grep -q " usplice: relay: list: No such file or directory$" job.err
	: >list
	kill -HUP "$job"
	eventually grep -q " usplice: relay: there are no targets$" job.err
	never grep -q "were read again" job.err
	[ "$(names 2)" = "b b" ]
	stops 0
}

# --- How many ------------------------------------------------------------------------------------------------

@test "--workers is the number of threads that serve" {
	serve target echo 127.0.0.1:0
	for count in 1 3; do
		for option in --workers -w; do
			relay $option $count 127.0.0.1:0 "${at[target]}"
			# One more takes the signals, and one writes what is said.
			[ "$(find "/proc/$job/task" -mindepth 1 -maxdepth 1 | wc -l)" -eq $((count + 2)) ]
			[ "$(peer crowd "$here" 100 </dev/null)" = "all heard" ]
			stops 0
		done
	done
}

# queued: how many clients wait in the listener's queue; lines of /proc/net/tcp: local address, state 0A, ...:RX.
queued() {
	[ "$(awk -v port=":$(printf %04X "${here##*:}")" \
		'$4 == "0A" && index($2, port) { print $5 }' /proc/net/tcp)" = "00000000:0000000$1" ]
}

@test "--connections-max lets those beyond it wait until another one ends" {
	serve target name 127.0.0.1:0 you
	for option in --connections-max -c; do
		relay $option 2 127.0.0.1:0 "${at[target]}"
		hold 5
		hold 6
		[ "$(said 5) $(said 6)" = "you you" ]
		hold 7
		eventually queued 1
		never read -r -t 0.2 -u 7 word
		exec 5>&-
		[ "$(said 7)" = you ]
		exec 6>&- 7>&-
		stops 0
	done
}

@test "--backlog is the length of the listener's queue" {
	command -v ss >/dev/null || skip "no ss"
	relay --backlog 7 127.0.0.1:0 127.0.0.1:1
	[ "$(ss -Hltn "src $here" | awk '{ print $3 }')" -eq 7 ]
	stops 0
}

# --- How long ------------------------------------------------------------------------------------------------

# be_busy_until_idle: connection 6 says something all the time, until the relay has closed one that is idle. $silence is how long
# it took us at most, in milliseconds, to say the next thing.
be_busy_until_idle() {
	local last=$EPOCHREALTIME word
	silence=0
	while shows idle_closed_total 0; do
		echo busy >&6 || break
		read -r -t "$patience" -u 6 word || break
		note_silence
	done
	note_silence
}

note_silence() {
	local now=$EPOCHREALTIME
	local ms=$(((${now/[.,]/} - ${last/[.,]/}) / 1000))
	((ms <= silence)) || silence=$ms
	last=$now
}

# idle_and_busy OPTIONS: two connections, of which one says nothing. Where we are so slow that the other one might look idle,
# idle is what lasts longer.
idle_and_busy() {
	local ms
	for ms in 1500 6000 24000; do
		relay "$@" --metrics 127.0.0.1:0 --idle-timeout ${ms}ms 127.0.0.1:0 "${at[target]}"
		from=$(seconds)
		hold 5
		hold 6
		: $((idle += 2)) # its number at the target
		be_busy_until_idle
		((silence > ms / 2)) || break
		exec 5>&- 6>&-
		stops 0
	done
	lasted "$from" $((ms / 1000)).$((ms % 1000))
	never read -r -t "$patience" -u 5 word
	echo there >&6
	[ "$(said 6)" = there ]
	shows idle_closed_total 1
	exec 5>&- 6>&-
	logs target "reset ($idle)"
	stops 0
}

@test "--idle-timeout closes a connection on which nothing moves, and no other" {
	serve target echo 127.0.0.1:0
	idle=-1
	idle_and_busy
	idle_and_busy --no-io-uring
}

@test "--exit-idle-time ends the relay when nobody has come for so long, and not while somebody is there" {
	serve target echo 127.0.0.1:0
	# Longer if it has ended before we came.
	for limit in 0.4 2 10; do
		relay --exit-idle-time $limit 127.0.0.1:0 "${at[target]}"
		hold 5 2>refused || continue
		break
	done
	from=$(seconds)
	until lasted "$from" "$(awk "BEGIN { print 2 * $limit }")"; do
		echo here >&5
		[ "$(said 5)" = here ]
		sleep 0.05
	done
	echo "still here" >&5
	[ "$(said 5)" = "still here" ]
	from=$(seconds)
	exec 5>&-
	finish 0
	lasted "$from" "$(awk "BEGIN { print 0.8 * $limit }")"
}

@test "--drain-timeout closes what is left after SIGTERM" {
	serve target echo 127.0.0.1:0
	relay --drain-timeout 1h 127.0.0.1:0 "${at[target]}"
	hold 5
	echo here >&5
	[ "$(said 5)" = here ]
	kill -TERM "$job"
	eventually grep -q "waiting for 1 connections to end" job.err
	echo "still here" >&5
	[ "$(said 5)" = "still here" ]
	exec 5>&-
	finish 0
	relay --drain-timeout 500ms 127.0.0.1:0 "${at[target]}"
	hold 5
	echo here >&5
	[ "$(said 5)" = here ]
	from=$(seconds)
	kill -TERM "$job"
	finish 0
	lasted "$from" 0.5
	logs target "reset (2)"
}

# --- How fast ------------------------------------------------------------------------------------------------

@test "--limit-rate holds for each way of each connection" {
	data a 150000
	serve target send 127.0.0.1:0 a
	relay --limit-rate 100k 127.0.0.1:0 "${at[target]}"
	from=$(seconds)
	asking=()
	for fd in {31..50}; do
		hold $fd
		cat <&$fd >got$fd &
		asking+=($!)
	done
	wait "${asking[@]}"
	lasted "$from" 1 15 # all together would need 30
	for fd in {31..50}; do
		same a got$fd
		eval "exec $fd>&-"
	done
	stops 0
}

@test "--limit-total holds for all of them together" {
	data a 300000
	serve target send 127.0.0.1:0 a
	relay --limit-total 400k --workers 2 127.0.0.1:0 "${at[target]}"
	from=$(seconds)
	peer ask "$here" </dev/null >one &
	peer ask "$here" </dev/null >two
	wait $!
	lasted "$from" 1
	same a one
	same a two
	stops 0
}

# --- How they travel (and relay.bats has --lane) --------------------------------------------------------------

has_ring() {
	find "/proc/$job/fd" -lname '*io_uring*' | grep -q .
}

# chat: small messages on one connection, to and fro.
chat() {
	hold 5
	for i in {1..100}; do
		echo "message $i" >&5
		[ "$(said 5)" = "message $i" ]
	done
	exec 5>&-
}

@test "--no-io-uring uses none for small messages" {
	serve target echo 127.0.0.1:0
	relay --no-io-uring 127.0.0.1:0 "${at[target]}"
	chat
	never has_ring
	stops 0
	relay 127.0.0.1:0 "${at[target]}"
	chat
	has_ring || skip "no io_uring here"
	stops 0
}

# flood: a relay of one worker that copies as fast as it can, until it is ebb. $flood are both its ends.
flood() {
	rm -f sink
	"$USPLICE" copy unix-listen:sink null: 2>sink.err &
	flood=$!
	eventually grep -q ' 00010000 .* sink$' /proc/net/unix # it listens
	timeout 100 "$USPLICE" copy zero: "tcp:$here" 2>flood.err &
	flood+=" $!"
}

ebb() {
	kill $flood
	wait $flood || true
}

@test "a worker that is busy with bulk is a batch thread, and an ordinary one when it is not" {
	be_busy
	relay --workers 1 --lane kernel --metrics 127.0.0.1:0 127.0.0.1:0 unix:sink
	is_scheduled 0
	shows batch_workers 0
	flood
	eventually is_scheduled "0 3" # the one that waits for signals, and the worker
	eventually shows batch_workers 1
	ebb
	eventually is_scheduled 0
	eventually shows batch_workers 0
	stops 0
}

@test "--no-batch leaves a busy worker as it is, and so does a policy that was chosen" {
	be_busy
	relay --workers 1 --lane kernel --no-batch 127.0.0.1:0 unix:sink
	flood
	stays is_scheduled 0
	ebb
	stops 0
	launch chrt -i 0 "$USPLICE" relay --workers 1 --lane kernel 127.0.0.1:0 unix:sink
	flood
	stays is_scheduled 5
	ebb
	stops 0
}

# --- Where from ----------------------------------------------------------------------------------------------

@test "--source is where targets see the connections come from" {
	serve target whence 127.0.0.1:0
	for source in 127.0.0.2 127.0.0.2:0; do
		relay --source $source 127.0.0.1:0 "${at[target]}"
		[[ $(ask "") == 127.0.0.2:* ]]
		stops 0
	done
	port=$(free_port)
	relay --source "127.0.0.3:$port" 127.0.0.1:0 "${at[target]}"
	[ "$(ask "")" = "127.0.0.3:$port" ]
	stops 0
	serve target6 whence [::1]:0
	for source in ::1 [::1]; do
		relay --source $source 127.0.0.1:0 "${at[target6]}"
		[[ $(ask "") == "[::1]:"* ]]
		stops 0
	done
}

@test "--mark marks the connections to targets" {
	command -v ss >/dev/null || skip "no ss"
	[ "$(id -u)" -eq 0 ] || skip "only root may set and see marks"
	serve target name 127.0.0.1:0 you
	for mark in 4711 0x1267; do
		relay --mark $mark 127.0.0.1:0 "${at[target]}"
		hold 5
		[ "$(said 5)" = you ]
		ss -Htne "dst ${at[target]}" | grep -q "fwmark:0x1267"
		never grep -q fwmark <(ss -Htne "src ${at[target]}")
		exec 5>&-
		stops 0
	done
}

@test "--proxy-protocol send-v1 tells the target who the client is" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol send-v1 127.0.0.1:0 "${at[target]}"
	[[ $(ask "hello" "$here" 127.0.0.9) =~ ^"PROXY TCP4 127.0.0.9 127.0.0.1 "[0-9]+" ${here##*:}"$'\r\n'hello$ ]]
	stops 0
}

@test "--proxy-protocol send tells it in version 2" {
	serve target echo 127.0.0.1:0
	for way in send send-v2; do
		relay --proxy-protocol $way 127.0.0.1:0 "${at[target]}"
		ask "hello" "$here" 127.0.0.9 | od -An -v -tx1 | tr -d ' \n' >got
		# The signature, version 2 PROXY, TCP over IPv4, 12 bytes; the addresses, the ports; and then the stream.
		grep -qE "^0d0a0d0a000d0a515549540a2111000c7f0000097f000001....$(printf %04x "${here##*:}")68656c6c6f$" got
		stops 0
	done
}

@test "--proxy-protocol accept takes a header from the client, and passes the rest on" {
	serve target echo 127.0.0.1:0
	relay --metrics 127.0.0.1:0 --proxy-protocol accept --connect-timeout 1h 127.0.0.1:0 "${at[target]}"
	[ "$(ask $'PROXY TCP4 192.0.2.7 192.0.2.8 1111 2222\r\nhello')" = hello ]
	[ "$(ask $'PROXY UNKNOWN\r\nhello')" = hello ]
	run --separate-stderr ask "GET / HTTP/1.0"
	exits 1
	shows unserved_total 1
	stops 0
	relay --metrics 127.0.0.1:0 --proxy-protocol accept --connect-timeout 300ms 127.0.0.1:0 "${at[target]}"
	hold 5
	eventually shows unserved_total 1
	exec 5>&-
	stops 0
}

@test "given twice it passes on who the first relay's client was" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol accept --proxy-protocol send-v1 127.0.0.1:0 "${at[target]}"
	[ "$(ask $'PROXY TCP6 2001:db8::7 2001:db8::8 1111 2222\r\nhello')" = \
		$'PROXY TCP6 2001:db8::7 2001:db8::8 1111 2222\r\nhello' ]
	stops 0
}

@test "--balance source goes by the address in the header" {
	three_targets
	relay --balance source --proxy-protocol accept 127.0.0.1:0 "${targets[@]}"
	for i in {1..12}; do
		ask $'PROXY TCP4 192.0.2.'"$i"$' 192.0.2.200 1 2\r\n'
	done | sort -u | paste -sd ' ' >chosen
	[ "$(cat chosen)" = "a b c" ]
	stops 0
}

# --- What it says --------------------------------------------------------------------------------------------

@test "--quiet says nothing, and errors all the same" {
	serve target echo 127.0.0.1:0
	for option in --quiet -q; do
		here=127.0.0.1:$(free_port)
		echo "${at[target]}" >list
		begin "$USPLICE" relay $option --targets list "$here"
		eventually answers
		kill -HUP "$job"
		stops 0
		[ ! -s job.err ]
		[ ! -s job.out ]
	done
	usage --quiet 127.0.0.1:0 127.0.0.1
	exits 2
	says "target '127.0.0.1'"
}

answers() {
	[ "$(ask hello 2>/dev/null)" = hello ]
}

@test "--metrics serves Prometheus, JSON and a page, also at a UNIX socket" {
	relay --metrics unix:numbers 127.0.0.1:0 127.0.0.1:1
	curl -sSf --unix-socket numbers http://relay/metrics | grep -x "usplice_relay_connections 0"
	curl -sSf --unix-socket numbers http://relay/status.json | jq -e .connections.now==0
	curl -sSf --unix-socket numbers http://relay/ | grep -i "<!doctype html>"
	[ "$(curl -sS -o body -w '%{http_code}' --unix-socket numbers http://relay/nothing)" = 404 ]
	stops 0
	[ ! -e numbers ]
}
