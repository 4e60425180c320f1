#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay --proxy-protocol: of whom headers are taken, and what other programs make of them.

load relay

# header_is FAULT COUNT: so many clients were refused for it.
header_is() {
	shows "header_faults_total{fault=\"$1\"}" "$2"
}

line=$'PROXY TCP4 192.0.2.7 192.0.2.8 1111 2222\r\n'

@test "with a list only those in it send a header, and they have to" {
	serve target echo 127.0.0.1:0
	relay --metrics 127.0.0.1:0 --proxy-protocol accept=127.0.0.8/31,::1 127.0.0.1:0 "${at[target]}"
	[ "$(ask "${line}hello" "$here" 127.0.0.9)" = hello ]
	[ "$(ask "${line}hello" "$here" 127.0.0.10)" = "${line}hello" ]
	[ "$(ask hello "$here")" = hello ]
	run --separate-stderr ask "GET / HTTP/1.0" "$here" 127.0.0.8
	exits 1
	header_is malformed 1
	shows unserved_total 1
	stops 0
}

@test "clients of a UNIX socket are in the list as unix:" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol accept=0.0.0.0/0,::/0 unix:front "${at[target]}"
	[ "$(ask "${line}hello")" = "${line}hello" ]
	stops 0
	relay --proxy-protocol accept=unix: unix:front "${at[target]}"
	[ "$(ask "${line}hello")" = hello ]
	stops 0
}

@test "who is not in the list is told to the target as it is" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol accept=127.0.0.8 --proxy-protocol send-v1 127.0.0.1:0 "${at[target]}"
	[ "$(ask "${line}hello" "$here" 127.0.0.8)" = "${line}hello" ]
	[[ $(ask "${line}hello" "$here" 127.0.0.9) =~ ^"PROXY TCP4 127.0.0.9 127.0.0.1 "[0-9]+" ${here##*:}"$'\r\n'"${line}hello"$ ]]
	stops 0
}

@test "a list that is none is a mistake of the command line" {
	list_refused() {
		usage --proxy-protocol "accept=$1" 127.0.0.1:0 127.0.0.1:1
		exits 2
		says "usplice: relay: cannot accept PROXY headers of '$1': $2"
		[ "${#stderr_lines[@]}" -eq 1 ]
	}
	list_refused "" "this is no address, nor a block of them such as 10.0.0.0/8"
	list_refused "::1,localhost" "this is no address, nor a block of them such as 10.0.0.0/8"
	list_refused "10.0.0.0/33" "the length behind the / is a number of bits, at most 32 or, of IPv6, 128"
	list_refused "10.1.2.3/8" "the address has bits behind its prefix: 10.1.2.3/8 is 10.0.0.0/8 or 10.1.2.3"
}

@test "two lists are refused, because one of them might be forgotten" {
	local first
	for first in accept accept=::1; do
		usage --proxy-protocol $first --proxy-protocol accept=::2 127.0.0.1:0 127.0.0.1:1
		exits 2
		says "comes behind another accept: put all blocks into one list"
	done
	usage --proxy-protocol accept=::1 --proxy-protocol accept 127.0.0.1:0 127.0.0.1:1
	exits 2
}

@test "why headers were refused is in the metrics" {
	serve target echo 127.0.0.1:0
	relay --metrics 127.0.0.1:0 --proxy-protocol accept 127.0.0.1:0 "${at[target]}"
	refusal() { # FAULT, of what comes by standard input
		timeout "$patience" socat -u - "TCP:$here" 2>socat.err || true
		eventually header_is "$1" 1
	}
	local start='\r\n\r\n\0\r\nQUIT\n\x21\x11' v4='\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51'
	printf "${start}\x3f\xf1" | refusal too_long
	printf "${start}\0\x13$v4\x03\0\x04\x01\x02\x03\x04" | refusal wrong_checksum
	printf "${start}\0\x0f$v4\x04\xff\xff" | refusal malformed
	printf "PROXY TCP4 " | refusal cut
	shows unserved_total 4
	stops 0
}

# --- Other programs -------------------------------------------------------------------------------------------

needs() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || skip "no $program"
	done
}

# listens PORT|unix:PATH
listens() {
	[ -S "${1#unix:}" ] || (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# haproxy_behind: HAProxy that says what it has learnt about its client; its port is $behind.
haproxy_behind() {
	behind=$(free_port)
	cat >behind.cfg <<-END
		defaults
			mode http
			timeout connect 5s
			timeout client 60s
			timeout server 60s
		frontend behind
			bind 127.0.0.1:$behind accept-proxy
			http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] [%[fc_pp_unique_id]] [%[fc_pp_authority]]\n"
	END
	haproxy -db -f behind.cfg >behind.out 2>&1 3>&- &
	eventually listens "$behind"
}

# haproxy_in_front OPTIONS: HAProxy in TCP mode that sends to the relay; its port is $front.
haproxy_in_front() {
	front=$(free_port)
	cat >front.cfg <<-END
		defaults
			mode tcp
			timeout connect 5s
			timeout client 60s
			timeout server 60s
		listen front
			bind 127.0.0.1:$front
			unique-id-format id-%ci-end
			server one $here $*
	END
	haproxy -db -f front.cfg >front.out 2>&1 3>&- &
}

@test "HAProxy behind gets what HAProxy in front has sent, with its checksum" {
	needs haproxy curl
	haproxy_behind
	relay --metrics 127.0.0.1:0 --proxy-protocol accept --proxy-protocol send 127.0.0.1:0 "127.0.0.1:$behind"
	haproxy_in_front send-proxy-v2 proxy-v2-options crc32c,unique-id
	eventually listens "$front"
	run curl -sSf --interface 127.0.0.8 --local-port 20000-40000 "http://127.0.0.1:$front/"
	[[ $output =~ ^"127.0.0.8 "[0-9]+" 127.0.0.1 [id-127.0.0.8-end] []"$ ]]
	eventually shows connections 0
	header_is wrong_checksum 0
	stops 0
}

@test "HAProxy behind takes clients without an address" {
	needs haproxy curl
	haproxy_behind
	for way in send-v1 send-v2; do
		relay --proxy-protocol $way unix:front "127.0.0.1:$behind"
		[[ $(curl -sSf --unix-socket front http://relay/) =~ ^"127.0.0.1 "[0-9]+" 127.0.0.1 [] []"$ ]]
		stops 0
	done
	relay --proxy-protocol accept --proxy-protocol send 127.0.0.1:0 "127.0.0.1:$behind"
	printf 'PROXY UNKNOWN\r\nGET / HTTP/1.0\r\n\r\n' | peer ask "$here" | grep -q '^127.0.0.1 [0-9]* 127.0.0.1'
	stops 0
}

@test "HAProxy's checks of its servers are taken as what they are" {
	needs haproxy
	serve target echo 127.0.0.1:0
	for version in send-proxy send-proxy-v2; do
		relay --metrics 127.0.0.1:0 --proxy-protocol accept 127.0.0.1:0 "${at[target]}"
		haproxy_in_front $version check inter 100ms check-send-proxy
		three_came() { [ "$(metric accepted_total)" -ge 3 ]; }
		eventually three_came
		header_is malformed 0
		header_is late 0
		stops 0
	done
}

# nginx_in_front CONFIGURATION: nginx as a relay of streams that sends to ours; it listens at $front.
nginx_in_front() {
	local modules=/usr/lib/nginx/modules/ngx_stream_module.so
	needs nginx
	[ -e $modules ] || skip "no stream module of nginx"
	cat >nginx.conf <<-END
		load_module $modules;
		daemon off;
		master_process off;
		pid nginx.pid;
		error_log stderr crit;
		events {}
		stream {
			proxy_protocol on;
			proxy_half_close on;
			server { proxy_pass $here; $1 }
		}
	END
	nginx -p "$PWD" -c nginx.conf -e stderr >nginx.out 2>&1 3>&- &
	eventually listens "$front"
}

@test "nginx names an IPv4 client of a listener for both families in the form of IPv6" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol accept --proxy-protocol send-v1 127.0.0.1:0 "${at[target]}"
	front=$(free_port)
	nginx_in_front "listen [::]:$front ipv6only=off;"
	[[ $(ask hello "127.0.0.1:$front" 127.0.0.8) =~ \
		^"PROXY TCP6 ::ffff:127.0.0.8 ::ffff:127.0.0.1 "[0-9]+" $front"$'\r\n'hello$ ]]
	stops 0
}

@test "nginx names a client and a destination of two families" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol accept --proxy-protocol send-v1 127.0.0.1:0 "${at[target]}"
	front=$(free_port)
	nginx_in_front "listen 127.0.0.1:$front proxy_protocol; set_real_ip_from 127.0.0.1;"
	[ "$(ask $'PROXY TCP6 2001:db8::7 ::1 1111 80\r\nhello' "127.0.0.1:$front")" = \
		$'PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 1111 '"$front"$'\r\nhello' ]
	stops 0
}

@test "nginx names a client of another address behind a UNIX socket" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol accept --proxy-protocol send-v1 127.0.0.1:0 "${at[target]}"
	front=unix:$PWD/nginx.sock
	nginx_in_front "listen $front proxy_protocol; set_real_ip_from unix:;"
	[ "$(ask $'PROXY TCP6 2001:db8::7 ::1 1111 80\r\nhello' "$front")" = $'PROXY TCP6 2001:db8::7 :: 1111 0\r\nhello' ]
	stops 0
}
