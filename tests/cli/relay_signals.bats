#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: signals, and running as an ordinary user. (service.bats has what service managers want.)

load relay

@test "SIGTERM and SIGINT end an idle relay at once, with exit code 0 and what it did" {
	serve target echo 127.0.0.1:0
	for signal in TERM INT; do
		relay 127.0.0.1:0 "${at[target]}"
		ask hello
		kill -$signal "$job"
		finish 0
		grep -qE " usplice: relay: 1 connections, 0 of them now; 5 B to targets, 5 B to clients; " job.err
	done
}

@test "SIGTERM refuses new clients, and lets those who are there end" {
	serve target echo 127.0.0.1:0
	for signal in TERM INT; do
		relay --workers 2 127.0.0.1:0 "${at[target]}"
		hold 5
		hold 6
		for fd in 5 6; do
			echo here >&$fd
			read -r -t "$patience" -u $fd word
		done
		kill -$signal "$job"
		eventually grep -q "waiting for 2 connections to end (a second signal closes them)" job.err
		eventually is_refused
		for fd in 5 6; do
			echo "still here" >&$fd
			read -r -t "$patience" -u $fd word
			[ "$word" = "still here" ]
		done
		exec 5>&-
		echo alone >&6
		read -r -t "$patience" -u 6 word
		[ "$word" = alone ]
		exec 6>&-
		finish 0
	done
}

is_refused() {
	never ask hello >/dev/null 2>said && grep -q refused said
}

@test "a transfer that is under way when SIGTERM comes is finished" {
	data a 50000000 # more than all the buffers on the way hold
	serve target send 127.0.0.1:0 a
	relay 127.0.0.1:0 "${at[target]}"
	python3 "$BATS_TEST_DIRNAME/relay_peer.py" ask "$here" </dev/null 3>&- | (
		head -c 100000
		touch begun
		eventually test -e draining
		cat
	) >got &
	asking=$!
	eventually test -e begun
	kill -TERM "$job"
	eventually grep -q "waiting for 1 connections to end" job.err
	touch draining
	wait "$asking"
	same a got
	finish 0
}

@test "a second SIGTERM or SIGINT resets what is left and ends" {
	serve target echo 127.0.0.1:0
	for pair in "TERM TERM" "TERM INT" "INT INT"; do
		relay 127.0.0.1:0 "${at[target]}"
		hold 5
		echo here >&5
		read -r -t "$patience" -u 5 word
		for signal in $pair; do
			kill -"$signal" "$job"
			eventually grep -q "waiting for 1 connections to end" job.err
		done
		finish 0
		never read -r -t "$patience" -u 5 word
		exec 5>&-
	done
	[ "$(grep -c ^reset target.log)" -eq 3 ]
}

@test "a UNIX socket that it made is gone after the end, and one that was left behind by a crash is replaced" {
	serve target echo 127.0.0.1:0
	relay unix:front "${at[target]}"
	stops 0
	[ ! -e front ]
	relay unix:front "${at[target]}"
	kill -9 "$job"
	wait "$job" || true
	[ -S front ]
	relay unix:front "${at[target]}"
	[ "$(ask hello)" = hello ]
	stops 0
	[ ! -e front ]
}

# What has arrived is counted a moment later, and said a moment after that.
stands() {
	kill -USR1 "$job"
	grep -q " usplice: relay: $1" job.err
}

@test "SIGUSR1 says how it stands, and disturbs nobody" {
	serve target echo 127.0.0.1:0
	relay 127.0.0.1:0 "${at[target]}"
	hold 5
	echo hello >&5
	read -r -t "$patience" -u 5 word
	eventually stands "1 connections, 1 of them now; 6 B to targets, 6 B to clients; "
	echo there >&5
	read -r -t "$patience" -u 5 word
	[ "$word" = there ]
	exec 5>&-
	stops 0
}

@test "whatever would end it without a word lets connections end, as SIGTERM does" {
	serve target echo 127.0.0.1:0
	for signal in QUIT XCPU ALRM VTALRM PROF; do
		relay 127.0.0.1:0 "${at[target]}"
		hold 5
		echo here >&5
		read -r -t 10 -u 5 word
		kill -$signal "$job"
		eventually grep -q "waiting for 1 connections to end" job.err
		echo "still here" >&5
		read -r -t 10 -u 5 word
		[ "$word" = "still here" ]
		exec 5>&-
		finish 0
	done
}

@test "a signal that is ignored when it starts stays ignored, but for those that it is told things by" {
	serve target echo 127.0.0.1:0
	launch env --ignore-signal=INT --ignore-signal=HUP "$USPLICE" relay 127.0.0.1:0 "${at[target]}"
	kill -INT "$job"
	kill -HUP "$job"
	eventually grep -q "the targets were read again" job.err
	[ "$(ask hello)" = hello ]
	stops 0
}

@test "clients meet no gap while the targets are read again" {
	serve a name 127.0.0.1:0 a
	serve b name 127.0.0.1:0 b
	echo "${at[b]}" >list
	relay --targets list --workers 2 127.0.0.1:0
	for name in a b a b a b a b; do
		echo "${at[$name]}" >new
		mv new list
		kill -HUP "$job"
		[[ $(ask "") == [ab] ]]
	done
	stops 0
}

@test "an ordinary user can run all of it" {
	chmod 777 .
	serve target digest unix:target
	chmod 777 target
	data a 3000001
	as=()
	[ "$(id -u)" -ne 0 ] || as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
	launch "${as[@]}" "$USPLICE" relay --workers 2 --metrics 127.0.0.1:0 127.0.0.1:0 unix:target
	[ "$(stat -c %u "/proc/$job")" -ne 0 ]
	[ "$(peer ask "$here" <a)" = "$(sha256sum <a | cut -d ' ' -f 1)" ]
	shows 'delivered_bytes_total{direction="to_target"}' 3000001
	stops 0
}

@test "a user without the right to a port is told so" {
	status=0
	as_nobody timeout "$patience" "$USPLICE" relay 127.0.0.1:1 127.0.0.1:2 2>said || status=$?
	[ "$status" -eq 3 ] || skip "every user may listen at every port here"
	[ "$(cat said)" = "usplice: relay: cannot listen at '127.0.0.1:1': Permission denied" ]
}
