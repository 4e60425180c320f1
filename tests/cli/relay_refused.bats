#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What `usplice relay` cannot honour is refused before a client comes: exit status 2, which a service manager does not try again.

load relay

# refused TEXT ARGUMENTS: with exit status 2 and one line that says so.
refused() {
	local text=$1
	shift
	usage "$@"
	exits 2
	says "usplice: relay: $text"
	[ "${#stderr_lines[@]}" -eq 1 ]
}

ipv6() {
	python3 -c 'import socket; socket.socket(socket.AF_INET6).bind(("::1", 0))' 2>/dev/null || skip "no IPv6 here"
}

@test "a text that is no address of a stream is refused as LISTEN, as TARGET and for --metrics, and the reason is true" {
	local only="this is for streams: only tcp: and unix: may stand before an address"
	local url="a URL is no address here: HOST:PORT or unix:PATH"
	while read -r text why; do
		refused "cannot listen at '$text': $why" "$text" 127.0.0.1:1
		refused "target '$text': $why" 127.0.0.1:0 "$text"
		refused "cannot serve metrics at '$text': $why" --metrics "$text" 127.0.0.1:0 127.0.0.1:1
	done <<-END
		udp:127.0.0.1:53 $only
		udp:53 $only
		udp-listen:53 $only
		tcp-listen:127.0.0.1:80 $only
		tcp-listen:80 $only
		unix-listen:socket $only
		fd:3 $only
		exec:cat $only
		ssl:example.org:443 $only
		udp:[::1]:53 $only
		tcp://127.0.0.1:80 $url
		udp://127.0.0.1:80 $url
		http://127.0.0.1/ $url
		fe80::1:80 an IPv6 address needs brackets: [::1]:PORT
		127.0.0.1:65536 the port is larger than 65535
		unix: the path of the socket is missing
	END
}

@test "port 0 of a target is refused, in every way that it can be written" {
	for target in 127.0.0.1:0 '[::1]:0' tcp:127.0.0.1:00 localhost:0; do
		refused "target '$target': nobody can be reached at port 0" 127.0.0.1:0 $target
		echo "$target" >targets
		refused "target '$target': nobody can be reached at port 0" --targets targets 127.0.0.1:0
	done
}

@test "a host whose name looks like a scheme can be told behind tcp:" {
	usage 127.0.0.1:0 tcp:udp:99999
	exits 2
	says "the port is larger than 65535"
}

@test "--source of another family than a target's is refused, at the start and when targets are read again" {
	ipv6
	local why="the source address is of another family"
	refused "target '[::1]:80': $why" --source 127.0.0.1 127.0.0.1:0 '[::1]:80'
	refused "target '127.0.0.1:80': $why" --source ::1 127.0.0.1:0 127.0.0.1:80
	refused "target '127.0.0.1:80': $why" --source '[::1]:7777' 127.0.0.1:0 127.0.0.1:80
	refused "target '[::1]:80': $why" --source 127.0.0.1 127.0.0.1:0 127.0.0.1:80 '[::1]:80'
	serve target echo 127.0.0.1:0
	echo "${at[target]}" >targets
	relay --source 127.0.0.2 --targets targets 127.0.0.1:0
	echo '[::1]:80' >targets
	kill -HUP "$job"
	eventually grep -q " usplice: relay: target '\[::1\]:80': $why$" job.err
	[ "$(ask hello)" = hello ]
	stops 0
}

@test "of a name with addresses of both families those are used that --source can reach" {
	ipv6
	printf '::1 both\n127.0.0.1 both\n' >hosts
	unshare -m true 2>/dev/null || skip "no namespaces here"
	serve target whence 127.0.0.1:0
	serve target6 whence '[::1]:0'
	local with=(unshare -m sh -c 'mount --bind hosts /etc/hosts && exec "$@"' -)
	launch "${with[@]}" "$USPLICE" relay --source 127.0.0.3 127.0.0.1:0 "both:${at[target]##*:}"
	[[ $(ask "") == 127.0.0.3:* ]]
	stops 0
	launch "${with[@]}" "$USPLICE" relay --source ::1 127.0.0.1:0 "both:${at[target6]##*:}"
	[[ $(ask "") == "[::1]:"* ]]
	stops 0
}

@test "options that mean nothing for the sockets of this relay are refused" {
	local passed="the service manager makes the sockets: Backlog= of their unit"
	refused "--backlog: $passed" --backlog 5 systemd 127.0.0.1:1
	refused "--backlog: $passed" --backlog 5 systemd:web 127.0.0.1:1
	refused "target 'unix:there': a UNIX socket is not reached from a source address" \
		--source 127.0.0.1 127.0.0.1:0 unix:there
	refused "--balance source: clients of a UNIX socket have no address" --balance source unix:front 127.0.0.1:1 127.0.0.1:2
	[ ! -e front ]
	[ "$(id -u)" -eq 0 ] || return 0
	refused "target 'unix:there': what goes to a UNIX socket cannot be marked" --mark 7 127.0.0.1:0 unix:there
}

@test "--balance source is of use at a UNIX socket whose clients send a PROXY header" {
	relay --balance source --proxy-protocol accept unix:front 127.0.0.1:1
	stops 0
}
