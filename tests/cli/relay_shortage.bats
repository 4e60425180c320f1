#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay where this machine is short of something, of ports or of descriptors: that is no fault of the targets, and clients wait.

load relay

# few_ports: a network with 20 local ports for each address that is connected to. What runs in "${inside[@]}" has it.
few_ports() {
	own=(--net)
	[ "$(id -u)" -eq 0 ] || own+=(--map-root-user)
	unshare "${own[@]}" true 2>/dev/null || skip "cannot make namespaces here"
	# shellcheck disable=SC2016
	unshare "${own[@]}" sh -ec '
		ip link set lo up
		echo 40000 40019 >/proc/sys/net/ipv4/ip_local_port_range
		exec python3 "$@"' - "$BATS_TEST_DIRNAME/relay_peer.py" echo 127.0.0.1:7000 >target.log 2>target.err 3>&- &
	network=$!
	eventually grep -qs '^at ' target.log
	inside=(nsenter --target "$network" --net)
	[ "$(id -u)" -eq 0 ] || inside+=(--user --preserve-credentials)
}

metric() {
	curl -sSf --max-time "$patience" ${numbers:+--unix-socket "$numbers"} "http://${metrics#unix:}/metrics" | sed -n "s/^usplice_relay_$1 //p"
}

# throng N: that many clients at unix:front at a time, each of which asks and is answered, and only then all go. Those who wait for
# another one to go are served, too: each goes when it has heard.
throng() {
	timeout 100 python3 -c '
import socket, sys, threading
heard = []
def ask(number):
	with socket.socket(socket.AF_UNIX) as client:
		client.connect("front")
		client.sendall(b"%d\n" % number)
		heard.append(client.recv(100) == b"%d\n" % number)
threads = [threading.Thread(target=ask, args=(number,)) for number in range(int(sys.argv[1]))]
for thread in threads:
	thread.start()
for thread in threads:
	thread.join()
print(heard.count(True))' "$1" 2>throng.err
}

@test "clients for whom there is no local port wait for one, and the target is not left out" {
	few_ports
	for source in "" "--source=127.0.0.1"; do
		numbers=numbers
		launch "${inside[@]}" "$USPLICE" relay --metrics unix:numbers --connect-timeout 1h $source unix:front 127.0.0.1:7000
		[ "$(throng 60)" -eq 60 ]
		[ "$(metric unserved_total)" -eq 0 ]
		[ "$(metric 'target_failed_total{index="0",target="127.0.0.1:7000"}')" -eq 0 ]
		[ "$(metric 'target_up{index="0",target="127.0.0.1:7000"}')" -eq 1 ]
		[ "$(metric accept_pauses_total)" -ge 1 ]
		stops 0
	done
}

@test "a client for whom there is no local port gets a target for which there is one" {
	serve one name 127.0.0.1:0 one
	serve two name 127.0.0.1:0 two
	relay --metrics 127.0.0.1:0 --connect-timeout 1h --source "127.0.0.1:$(free_port)" 127.0.0.1:0 "${at[one]}" "${at[two]}"
	hold 5
	read -r -t "$patience" -u 5 first
	hold 6
	read -r -t "$patience" -u 6 second
	[ "$first $second" = "one two" ]
	# And the third one waits until somebody goes.
	ask "" >third 5>&- 6>&- &
	asking=$!
	eventually shows connections 3
	[ ! -s third ]
	exec 5>&-
	wait "$asking"
	grep -qx one third
	exec 6>&-
	shows unserved_total 0
	for name in one two; do
		[ "$(metric "target_failed_total{index=\"$([ $name = one ] && echo 0 || echo 1)\",target=\"${at[$name]}\"}")" -eq 0 ]
	done
	stops 0
}

# few_fds ARGUMENTS: a relay with 40 descriptors.
few_fds() {
	launch bash -c 'ulimit -n 40; exec "$@"' - "$USPLICE" relay --metrics 127.0.0.1:0 "$@"
}

# crowded: more clients are there than it has descriptors for, and stay.
crowded() {
	serve target echo 127.0.0.1:0
	few_fds --targets targets 127.0.0.1:0 --connect-timeout 300ms "$@" "${at[target]}"
	timeout 100 python3 "$BATS_TEST_DIRNAME/relay_peer.py" crowd "$here" 60 </dev/null >/dev/null 2>&1 3>&- &
	crowd=$!
	eventually pauses 20
}

pauses() {
	[ "$(metric accept_pauses_total)" -ge "$1" ]
}

@test "without descriptors the metrics can be read, and clients wait in the queue instead of being reset" {
	: >targets
	crowded
	for _ in {1..5}; do
		[ "$(metric unserved_total)" -eq 0 ]
		[ "$(metric "target_failed_total{index=\"0\",target=\"${at[target]}\"}")" -eq 0 ]
	done
	connections=$(metric connections)
	[ "$connections" -ge 8 ]
	[ "$connections" -lt 20 ]
	before=$(metric accept_pauses_total)
	eventually pauses $((before + 20)) # a second, and three times as long as a client waits for its target
	shows unserved_total 0
	kill "$crowd"
	[ "$(ask late)" = late ]
	shows unserved_total 0
	stops 0
}

@test "without descriptors the watchdog is fed, and targets are read again" {
	socat -u UNIX-RECV:notify OPEN:news,creat,append 3>&- &
	eventually test -S notify
	export NOTIFY_SOCKET=$PWD/notify WATCHDOG_USEC=100000
	: >targets
	crowded
	before=$(grep -ao WATCHDOG=1 news | wc -l)
	eventually fed $((before + 3))
	echo 127.0.0.1:1 >targets
	kill -HUP "$job"
	eventually grep -q "the targets were read again" job.err
	[ -n "$(metric 'target_up{index="1",target="127.0.0.1:1"}')" ]
	kill "$crowd"
	stops 0
}

fed() {
	[ "$(grep -ao WATCHDOG=1 news | wc -l)" -ge "$1" ]
}

@test "clients of whom the header is awaited have a descriptor for their target, too" {
	serve target echo 127.0.0.1:0
	mkfifo leash
	exec 9<>leash
	few_fds --proxy-protocol accept 127.0.0.1:0 "${at[target]}"
	python3 -c '
import socket, sys
host, port = sys.argv[1].rsplit(":", 1)
clients = [socket.create_connection((host, int(port))) for _ in range(40)]
print("there", flush=True)
sys.stdin.readline()
heard = 0
for client in clients[:8]:
	client.sendall(b"PROXY TCP4 192.0.2.1 198.51.100.7 1111 80\r\nword")
for client in clients[:8]:
	heard += client.recv(100) == b"word"
print(heard, flush=True)
sys.stdin.readline()' "$here" <leash >clients.log 2>&1 3>&- &
	eventually grep -qs there clients.log
	eventually pauses 5
	echo >&9
	eventually grep -qx 8 clients.log
	stops_at_once
}
