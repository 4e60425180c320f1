#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: which clients are served, how many connections of each address, and how often.

load relay

# refused REASON NUMBER: the metric has it.
refused() {
	[ "$(curl -sSf --max-time "$patience" "http://$metrics/metrics" |
		sed -n "s/^usplice_relay_refused_total{reason=\"$1\"} //p")" = "$2" ]
}

# from SOURCE: what comes back to a client there, which says hello.
from() {
	ask hello "$here" "$1"
}

# is_reset SOURCE: a client there is.
is_reset() {
	never from "$1" >/dev/null 2>said && grep -q "reset" said
}

# open FD: a connection that is there, and stays.
open() {
	hold "$1"
	echo here >&"$1"
	read -r -t "$patience" -u "$1" word
	[ "$word" = here ]
}

@test "--allow and --deny: the first rule that has the client decides, and it is reset, counted and told of" {
	serve target echo 127.0.0.1:0
	relay --deny 127.0.0.2 --allow 127.0.0.0/30,::1 --metrics 127.0.0.1:0 --access-log access 127.0.0.1:0 "${at[target]}"
	[ "$(from 127.0.0.1)" = hello ]
	is_reset 127.0.0.2
	[ "$(from 127.0.0.3)" = hello ]
	is_reset 127.0.0.4 # whom no rule names
	refused denied 2
	[ "$(curl -sSf "http://$metrics/status.json" | jq -c .refused)" = '{"denied":2,"too_many":0,"too_fast":0}' ]
	[ "$(metric accepted_total)" -eq 4 ]
	[ "$(metric unserved_total)" -eq 0 ]
	eventually grep -q "relay: client 127.0.0.2:[0-9]* is denied" job.err
	stops 0
	[ "$(grep -c "target=- .* end=denied$" access)" -eq 2 ]
}

@test "with --deny alone all others are served, and the order of the command line is that of the rules" {
	serve target echo 127.0.0.1:0
	relay --deny 127.0.0.2 127.0.0.1:0 "${at[target]}"
	[ "$(from 127.0.0.9)" = hello ]
	is_reset 127.0.0.2
	stops 0
	relay --allow 127.0.0.2 --deny all 127.0.0.1:0 "${at[target]}"
	[ "$(from 127.0.0.2)" = hello ]
	is_reset 127.0.0.1
	stops 0
}

@test "a listener for both families sees clients by IPv4 as such, and UNIX clients have a name of their own" {
	serve target echo 127.0.0.1:0
	relay --deny ::/0 :0 "${at[target]}"
	here=127.0.0.1:${here##*:}
	[ "$(from 127.0.0.1)" = hello ]
	stops 0
	relay --deny unix: unix:front "${at[target]}"
	[ -z "$(ask hello || true)" ]
	stops 0
	relay --allow 127.0.0.1 --allow unix: unix:front "${at[target]}"
	[ "$(ask hello)" = hello ]
	stops 0
}

@test "SIGHUP reads the rules of --access-file again; if they are wrong the old ones stay, and connections always do" {
	serve target echo 127.0.0.1:0
	printf '# ours\n\n allow 127.0.0.1 # this one\n' >rules
	relay --access-file rules 127.0.0.1:0 "${at[target]}"
	open 5
	is_reset 127.0.0.2
	echo "deny 127.0.0.1" >rules
	kill -HUP "$job"
	eventually grep -q "the rules were read again" job.err
	is_reset 127.0.0.1
	[ "$(from 127.0.0.2)" = hello ]
	echo "deny nothing" >rules
	kill -HUP "$job"
	eventually grep -q "relay: rule 'deny nothing': " job.err
	is_reset 127.0.0.1
	: >rules
	kill -HUP "$job"
	eventually grep -q "relay: rules: there are no rules in it ('allow all' serves everybody)" job.err
	is_reset 127.0.0.1
	rm rules
	kill -HUP "$job"
	eventually grep -q "relay: rules: No such file or directory" job.err
	is_reset 127.0.0.1
	echo still >&5
	read -r -t "$patience" -u 5 word
	[ "$word" = still ]
	exec 5>&-
	stops 0
}

@test "the rules of the command line stand before those of the file" {
	serve target echo 127.0.0.1:0
	echo "deny all" >rules
	relay --allow 127.0.0.2 --access-file rules 127.0.0.1:0 "${at[target]}"
	[ "$(from 127.0.0.2)" = hello ]
	is_reset 127.0.0.1
	stops 0
}

@test "--connections-per-address: one address cannot keep others out, and may come again when one of its connections ends" {
	serve target echo 127.0.0.1:0
	relay --workers 2 --connections-max 20 --connections-per-address 3 --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	open 5
	open 6
	open 7
	for _ in {1..30}; do # silent ones
		hold 8
		exec 8>&-
	done
	eventually refused too_many 30
	[ "$(from 127.0.0.2)" = hello ]
	is_reset 127.0.0.1
	eventually grep -q "was refused: its address has too many connections" job.err
	exec 5>&-
	eventually shows connections 2
	[ "$(from 127.0.0.1)" = hello ]
	exec 6>&- 7>&-
	stops 0
}

@test "--accept-rate: so many connections of an address at once, and then one after the other" {
	serve target echo 127.0.0.1:0
	relay --accept-rate 3/1h --metrics 127.0.0.1:0 --access-log access 127.0.0.1:0 "${at[target]}"
	for _ in 1 2 3; do
		[ "$(from 127.0.0.1)" = hello ]
	done
	is_reset 127.0.0.1
	is_reset 127.0.0.1
	refused too_fast 2
	[ "$(from 127.0.0.2)" = hello ]
	eventually grep -q "was refused: its address connects too often" job.err
	stops 0
	[ "$(grep -c "end=too_fast$" access)" -eq 2 ]
	relay --accept-rate 1/10ms 127.0.0.1:0 "${at[target]}"
	[ "$(from 127.0.0.1)" = hello ]
	eventually from 127.0.0.1
	stops 0
}

@test "behind a proxy the rules and limits are for the client that the header names" {
	serve target echo 127.0.0.1:0
	relay --proxy-protocol accept --deny 192.0.2.1 --connections-per-address 1 --accept-rate 2/1h 127.0.0.1:0 "${at[target]}"
	named() { printf 'PROXY %s %s 4711 80\r\nhello' "$1" "$2" | peer ask "$here"; }
	never named TCP4 "192.0.2.1 192.0.2.9"
	never named TCP6 "::ffff:192.0.2.1 ::1" # the same address
	for address in 2 3 4; do # from one peer
		[ "$(named TCP4 "192.0.2.$address 192.0.2.9")" = hello ]
	done
	[ "$(named TCP4 "192.0.2.2 192.0.2.9")" = hello ]
	never named TCP4 "192.0.2.2 192.0.2.9"
	stops 0
}

@test "rules and numbers that are none are refused" {
	usage --allow 10.0.0.0/8,host unix:front unix:target
	exits 2
	says "relay: rule 'allow host': "
	[ ! -e front ]
	usage --deny "" unix:front unix:target
	exits 2
	for rate in 0 5/ x 3/1y 10000000; do
		usage --accept-rate "$rate" unix:front unix:target
		exits 2
		says "--accept-rate: '$rate' "
	done
	usage --connections-per-address 0 unix:front unix:target
	exits 2
	usage --ipv6-prefix 129 unix:front unix:target
	exits 2
	usage --access-file /nowhere/rules unix:front unix:target
	exits 1
	says "relay: /nowhere/rules: No such file or directory"
}
