#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: command lines that cannot work, and what it says about them.

load relay

@test "help relay and relay --help are the same, and name LISTEN, TARGET and the signals" {
	run "$USPLICE" help relay
	[ "$status" -eq 0 ]
	from_help=$output
	for option in --help -h; do
		run "$USPLICE" relay $option
		[ "$status" -eq 0 ]
		[ "$output" = "$from_help" ]
	done
	for word in "usage: usplice relay [OPTIONS] LISTEN TARGET [TARGET...]" systemd:NAME unix:PATH SIGTERM SIGUSR1; do
		[[ $output == *"$word"* ]]
	done
}

@test "every option of relay is in the manual, and every option in the manual exists" {
	"$USPLICE" relay --help | grep -oE -- '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort >in_help
	sed -n '/^# OPTIONS/,/^# SIGNALS/p' "$USPLICE_SOURCE_DIR/man/usplice-relay.1.scd" |
		grep -E '^\*-' | grep -oE -- '--[a-z0-9-]+' | sort >in_manual
	[ -s in_help ]
	diff in_help in_manual
}

@test "without a place to listen, or without a target, the exit code is 2" {
	for arguments in "" ":0"; do
		# shellcheck disable=SC2086
		usage $arguments
		exits 2
		says "usplice: relay: where to listen and at least one target are needed (usplice relay --help)"
	done
}

@test "options that are unknown, or lack their argument, or have one too many, are named" {
	usage --frobnicate :0 127.0.0.1:1
	exits 2
	says "relay: unknown option --frobnicate (usplice relay --help lists them)"
	usage :0 127.0.0.1:1 --balance
	exits 2
	says "relay: --balance needs an argument"
	usage --quiet=yes :0 127.0.0.1:1
	exits 2
	says "relay: --quiet=yes takes no argument"
}

# refuses OPTION VALUE TEXT
refuses() {
	usage "$1" "$2" 127.0.0.1:0 127.0.0.1:1
	exits 2
	says "usplice: relay: $1: '$2' $3"
	[ "${#stderr_lines[@]}" -eq 1 ]
}

@test "a value that an option cannot take is an error that names the option, the value and the reason" {
	refuses --workers 0 "is not between 1 and 256"
	refuses --workers 257 "is not between 1 and 256"
	refuses --workers two "is no number"
	refuses --connections-max 0 "is not between 1 and 1000000"
	refuses --connections-max -1 "is no number"
	refuses --backlog 1000001 "is not between 1 and 1000000"
	refuses --backlog 99999999999999999999 "is not between 1 and 1000000"
	refuses --backlog "" "is no number"
	refuses --balance random "is none of roundrobin, leastconn and source"
	for option in --connect-timeout --retry-after --idle-timeout --exit-idle-time --drain-timeout; do
		refuses $option 0 "is less than a millisecond"
		refuses $option 5d "has a unit that is none of ms, s, m and h"
		refuses $option soon "is no time, such as 2.5 or 500ms"
		refuses $option -1 "is no time, such as 2.5 or 500ms"
	done
	for option in --limit-rate --limit-total; do
		refuses $option 0 "would never move anything"
		refuses $option fast "is not a number"
		refuses $option 1X "has a unit that is none of k M G T (powers of 1024), kB MB GB TB and kbit Mbit Gbit Tbit (powers of 1000)"
	done
	refuses --proxy-protocol v3 "is none of accept, accept=CIDR[,CIDR...], send, send-v1 and send-v2"
	refuses --proxy-protocol acceptable "is none of accept, accept=CIDR[,CIDR...], send, send-v1 and send-v2"
	refuses --mark 4294967296 "is no number of 32 bits, such as 17 or 0x11"
	refuses --mark -1 "is no number of 32 bits, such as 17 or 0x11"
	refuses --lane fast "is none of auto, kernel and user"
}

# refused CODE TEXT ARGUMENTS
refused() {
	local code=$1 text=$2
	shift 2
	usage "$@"
	exits "$code"
	says "usplice: relay: $text"
	[ "${#stderr_lines[@]}" -eq 1 ]
}

@test "where it cannot listen the exit code is 3, and 2 where it never could" {
	refused 2 "cannot listen at 'nonsense': no service of this name has a port" nonsense 127.0.0.1:1
	refused 2 "cannot listen at '127.0.0.1': the address needs a port: HOST:PORT" 127.0.0.1 127.0.0.1:1
	refused 2 "cannot listen at '127.0.0.1:65536': the port is larger than 65535" 127.0.0.1:65536 127.0.0.1:1
	refused 2 "cannot listen at '127.0.0.1:': the port is missing" 127.0.0.1: 127.0.0.1:1
	refused 2 "cannot listen at '::1:80': an IPv6 address needs brackets: [::1]:PORT" ::1:80 127.0.0.1:1
	refused 3 "cannot listen at '192.0.2.1:80': this machine does not have that address" 192.0.2.1:80 127.0.0.1:1
	refused 2 "cannot listen at 'unix:': the path of the socket is missing" unix: 127.0.0.1:1
	refused 3 "cannot listen at 'unix:no/socket': there is no such directory" unix:no/socket 127.0.0.1:1
	touch file
	refused 3 "cannot listen at 'unix:file': a file that is no socket is there" unix:file 127.0.0.1:1
	[ -e file ]
	refused 2 "cannot serve metrics at 'nonsense': no service of this name has a port" \
		--metrics nonsense 127.0.0.1:0 127.0.0.1:1
}

@test "an address where somebody listens already is refused, and he goes on listening" {
	serve other echo 127.0.0.1:0
	refused 3 "cannot listen at '${at[other]}': somebody else listens there" "${at[other]}" 127.0.0.1:1
	refused 3 "cannot serve metrics at '${at[other]}': somebody else listens there" \
		--metrics "${at[other]}" 127.0.0.1:0 127.0.0.1:1
	serve other_path echo unix:path
	refused 3 "cannot listen at 'unix:path': somebody else listens there" unix:path 127.0.0.1:1
	[ "$(ask hello unix:path)" = hello ]
}

@test "targets that cannot be are named, and the exit code is 4, or 2 for a text that is no address" {
	refused 2 "target '127.0.0.1': the address needs a port: HOST:PORT" 127.0.0.1:0 127.0.0.1:1 127.0.0.1
	refused 2 "target ':80': the address needs a host: HOST:PORT" 127.0.0.1:0 :80
	refused 2 "target '127.0.0.1:65536': the port is larger than 65535" 127.0.0.1:0 127.0.0.1:65536
	refused 2 "target 'unix:': the path of the socket is missing" 127.0.0.1:0 unix:
	refused 2 "target 'unix:$(printf 'x%.0s' {1..200})': the path is too long for a socket" \
		127.0.0.1:0 "unix:$(printf 'x%.0s' {1..200})"
	refused 4 "missing: No such file or directory" --targets missing 127.0.0.1:0
	refused 4 ".: Is a directory" --targets . 127.0.0.1:0
	printf '# nothing but this\n\n' >empty
	refused 4 "there are no targets" --targets empty 127.0.0.1:0
	echo 127.0.0.1 >bad
	refused 2 "target '127.0.0.1': the address needs a port: HOST:PORT" --targets bad 127.0.0.1:0
}

@test "a source that this machine does not have is told before anybody is served" {
	refused 1 "cannot connect from '192.0.2.1': Cannot assign requested address" \
		--source 192.0.2.1 127.0.0.1:0 127.0.0.1:1
	refused 2 "cannot connect from '127.0.0.1:none': Invalid argument" --source 127.0.0.1:none 127.0.0.1:0 127.0.0.1:1
}

@test "an ordinary user may not set a mark, and is told so" {
	status=0
	as_nobody timeout "$patience" "$USPLICE" relay --mark 17 127.0.0.1:0 127.0.0.1:1 2>said || status=$?
	[ "$status" -eq 1 ]
	[ "$(cat said)" = "usplice: relay: cannot mark packets: Operation not permitted" ]
}

@test "systemd as LISTEN without sockets from a service manager is an error" {
	refused 3 "socket 'systemd': the service manager passed none" systemd 127.0.0.1:1
	refused 3 "socket 'web': the service manager passed none" systemd:web 127.0.0.1:1
}

@test "control characters in a name are not sent to the terminal" {
	usage $'127.0.0.1:0\e[31m' 127.0.0.1:1
	exits 2
	[[ $stderr != *$'\e'* ]]
}
