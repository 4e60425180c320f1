#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A relay whose target is itself: refused where that is known, and otherwise each client is refused and none becomes the next.

load relay

refused() {
	local text=$1
	shift
	usage "$@"
	exits 2
	says "usplice: relay: $text"
}

loops() {
	refused "cannot listen at '$1': a target is this very address" "$@"
}

@test "a target that is where the relay listens is refused, whatever its name" {
	port=$(free_port)
	loops "127.0.0.1:$port" "127.0.0.1:$port"
	loops "127.0.0.1:$port" "tcp:127.0.0.1:$port"
	loops "127.0.0.1:$port" "0.0.0.0:$port"
	loops "127.0.0.1:$port" "[::ffff:127.0.0.1]:$port"
	loops "127.0.0.1:$port" 127.0.0.1:1 "127.0.0.1:$port"
	loops "localhost:$port" "127.0.0.1:$port"
	loops ":$port" "127.0.0.1:$port"
	loops ":$port" "127.0.0.9:$port"
	loops "0.0.0.0:$port" "127.0.0.1:$port"
	for address in $(hostname -I 2>/dev/null); do
		[[ $address == *:* ]] || loops ":$port" "$address:$port"
	done
	loops unix:front unix:front
	loops unix:front "unix:$PWD/front"
	ln -s "$PWD" here
	loops unix:front unix:here/front
	[ ! -e front ]
	python3 -c 'import socket; socket.socket(socket.AF_INET6).bind(("::1", 0))' 2>/dev/null || return 0
	loops ":$port" "[::1]:$port"
	loops ":$port" "[::]:$port"
	loops "localhost:$port" "[::1]:$port"
}

@test "a name that turns out to be the relay itself when it is looked up is told, and gets nobody" {
	port=$(free_port)
	relay --metrics 127.0.0.1:0 ":$port" "localhost:$port"
	eventually grep -q "target 'localhost:$port': this relay listens there itself" job.err
	never ask hello "127.0.0.1:$port" 2>/dev/null
	shows accepted_total 1
	shows unserved_total 1
	shows 'target_up{index="0",target="localhost:'"$port"'"}' 0
	stops 0
}

@test "the same port at another address is a target like any other" {
	port=$(free_port)
	serve target echo "127.0.0.2:$port"
	relay "127.0.0.1:$port" "${at[target]}"
	[ "$(ask hello)" = hello ]
	stops 0
}

@test "a relay at all addresses may have a target at the same port of another machine" {
	port=$(free_port)
	relay ":$port" "192.0.2.1:$port" "[2001:db8::1]:$port"
	stops 0
	[ "$(id -u)" -eq 0 ] && unshare -n true 2>/dev/null || skip "no network namespaces here"
	launch unshare -n sh -c 'ip link set lo up
		ip address add 10.77.0.1/32 dev lo || exit 77
		echo 1 >/proc/sys/net/ipv4/ip_nonlocal_bind
		"$1" relay :9000 10.77.0.1:9000 2>&1 | grep "a target is this very address" || exit 1
		exec "$@"' - "$USPLICE" relay :9000 10.77.0.2:9000
	stops 0
}

@test "when targets are read again the relay itself is refused, and the old ones stay" {
	serve target echo unix:target
	echo unix:target >targets
	relay --targets targets 127.0.0.1:0
	echo "$here" >targets
	kill -HUP "$job"
	eventually grep -q "target '$here': this relay listens there itself" job.err
	[ "$(ask hello)" = hello ]
	stops 0
}

# knock: a client that is refused; then the relay has had one client, and has none.
knock() {
	[ -z "$(ask hello || true)" ] # at a UNIX socket a refusal looks like an end
	eventually shows connections 0
	shows accepted_total 1
	shows unserved_total 1
}

@test "a target that becomes the relay itself while it runs breaks the loop at the first round" {
	relay --workers 2 --metrics 127.0.0.1:0 unix:front unix:later
	ln -s front later
	knock
	stops 0
	rm later
	[ "$(id -u)" -eq 0 ] && unshare -n true 2>/dev/null || skip "no network namespaces here"
	for ring in "" --no-io-uring; do
		launch unshare -n sh -c 'ip link set lo up && exec "$@"' - "$USPLICE" relay $ring --workers 2 --metrics unix:numbers \
			:9000 10.77.0.1:9000
		nsenter -t "$job" -n ip address add 10.77.0.1/32 dev lo
		never nsenter -t "$job" -n python3 "$BATS_TEST_DIRNAME/relay_peer.py" ask 127.0.0.1:9000 <<<hello
		numbers=$(curl -sSf --unix-socket numbers http://relay/metrics)
		grep -qx "usplice_relay_accepted_total 1" <<<"$numbers"
		grep -qx "usplice_relay_unserved_total 1" <<<"$numbers"
		stops 0
	done
}

@test "a socket that was passed from another network is not what has the same address in this one" {
	[ "$(id -u)" -eq 0 ] && unshare -n true 2>/dev/null || skip "no network namespaces here"
	port=$(free_port)
	launch python3 "$BATS_TEST_DIRNAME/pass_sockets.py" "front=127.0.0.1:$port" -- "$(command -v unshare)" -n sh -c '
		ip link set lo up
		python3 "$2" echo "$3" >echo.log 3>&- &
		echo $! >echo.pid
		until grep -q "^at" echo.log; do sleep 0.05; done
		exec "$1" relay systemd "$3"' - "$USPLICE" "$BATS_TEST_DIRNAME/relay_peer.py" "127.0.0.1:$port"
	[ "$(ask hello)" = hello ]
	stops 0
	kill "$(cat echo.pid)"
}

@test "a socket that was passed is known as the relay's own, too" {
	port=$(free_port)
	run --separate-stderr timeout "$patience" python3 "$BATS_TEST_DIRNAME/pass_sockets.py" "front=127.0.0.1:$port" -- \
		"$USPLICE" relay systemd "127.0.0.1:$port"
	exits 2
	says "usplice: relay: socket 'front': a target is this very address"
	run --separate-stderr timeout "$patience" python3 "$BATS_TEST_DIRNAME/pass_sockets.py" "front=$PWD/front" -- \
		"$USPLICE" relay systemd unix:front
	exits 2
	says "usplice: relay: socket 'front': a target is this very address"
}
