#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay under a service manager: sockets that it passes, what it hears, the watchdog.

load support

# echo_target: a target at ./target that sends everything back.
echo_target() {
	socat UNIX-LISTEN:target,fork PIPE 3>&- &
	eventually test -S target
}

# hear: what is told to the manager goes to ./news, one message behind the other.
hear() {
	socat -u UNIX-RECV:notify OPEN:news,creat,append 3>&- &
	eventually test -S notify
	export NOTIFY_SOCKET=$PWD/notify
}

# serve SOCKETS -- ARGUMENTS: usplice relay in the background with these sockets, as pass_sockets.py takes them. Returns when
# it takes signals; $job is its process id.
serve() {
	local sockets=()
	while [ "$1" != -- ]; do
		sockets+=("$1")
		shift
	done
	shift
	env --default-signal=TERM,HUP python3 "$USPLICE_SOURCE_DIR/tests/cli/pass_sockets.py" "${sockets[@]}" -- \
		"$USPLICE" relay "$@" >job.out 2>job.err 3>&- &
	job=$!
	eventually takes_signals "$job"
}

heard() {
	grep -q "$1" news
}

times_heard() {
	[ "$(grep -o "$1" news | wc -l)" -ge "$2" ]
}

# echoes SOCKET: what a client sends there comes back.
echoes() {
	[ "$(echo "hello $1" | socat -t "$patience" - "UNIX-CONNECT:$1")" = "hello $1" ]
}

@test "it serves all sockets that the manager passes" {
	echo_target
	serve web=a db=b web=c -- systemd unix:target
	echoes a
	echoes b
	echoes c
	kill "$job"
	finish 0
}

@test "it serves the sockets of one name, and closes the others" {
	echo_target
	serve web=a db=b web=c -- systemd:web unix:target
	echoes a
	echoes c
	run ! socat -u OPEN:/dev/null UNIX-CONNECT:b
	[[ $output == *refused* ]]
	kill "$job"
	finish 0
}

@test "a relay that is to get its sockets from a manager is refused without them" {
	for listen in systemd systemd:web; do
		run --separate-stderr "$USPLICE" relay "$listen" unix:target
		exits 3
		says "the service manager passed none"
	done
	run --separate-stderr python3 "$USPLICE_SOURCE_DIR/tests/cli/pass_sockets.py" db=b -- \
		"$USPLICE" relay systemd:web unix:target
	exits 3
	says "'web'"
}

@test "what was passed and does not listen is refused" {
	run --separate-stderr bash -c 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" relay systemd unix:target' "$USPLICE" 3</dev/null
	exits 2
	says "listens"
}

@test "it tells the manager when it is ready, reads its targets again, and stops" {
	echo_target
	hear
	echo unix:target >targets
	serve web=a -- --targets targets systemd
	eventually heard READY=1
	never heard RELOADING=1
	kill -HUP "$job"
	eventually times_heard READY=1 2
	heard RELOADING=1
	grep -qE "MONOTONIC_USEC=[0-9]+" news
	echoes a
	never heard STOPPING=1
	kill "$job"
	finish 0
	eventually heard STOPPING=1
}

@test "it does not say that it is ready when it cannot begin" {
	hear
	run -3 "$USPLICE" relay systemd unix:target
	printf end | socat -u - UNIX-SENDTO:notify
	eventually heard end
	never heard READY
}

@test "the watchdog is fed as often as the manager wants it" {
	hear
	WATCHDOG_USEC=100000 serve web=a -- systemd unix:target
	eventually times_heard WATCHDOG=1 3
	kill "$job"
	finish 0
}
