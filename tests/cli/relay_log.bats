#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay: what it says while it runs.

load relay

# news PATTERN NUMBER: so many lines of the log have it.
news() {
	[ "$(grep -c -- "$1" job.err)" -eq "$2" ]
}

# knock NUMBER: so many clients, which nobody serves.
knock() {
	local i
	for ((i = 0; i < $1; i++)); do
		ask hello >/dev/null 2>&1 || true
	done
}

@test "a target that goes down and comes back is told of once each, however many clients ask" {
	local port
	port=$(free_port)
	relay --retry-after 1ms 127.0.0.1:0 127.0.0.1:"$port"
	knock 3
	eventually news "target 127.0.0.1:$port is down: Connection refused" 1
	serve target echo 127.0.0.1:"$port"
	for _ in 1 2 3; do
		[ "$(ask hello)" = hello ]
	done
	eventually news "target 127.0.0.1:$port is up again" 1
	stops 0
	news "is down" 1
	news "is up again" 1
}

@test "of one kind of news five lines are shown, and then how many there were more" {
	relay 127.0.0.1:0 127.0.0.1:"$(free_port)"
	knock 8
	eventually news "found no target: Connection refused" 5
	stops 0
	news "found no target: Connection refused" 5
	news "relay: 3 more clients found no target" 1
}

@test "the side that reset a connection is named" {
	serve target cut 127.0.0.1:0 5
	relay 127.0.0.1:0 "${at[target]}"
	peer leave "$here" hello || true
	eventually news "had its connection broken by target ${at[target]}" 1
	stops 0
	serve other echo 127.0.0.1:0
	relay 127.0.0.1:0 "${at[other]}"
	peer leave "$here" hello
	eventually news "broke its connection to target ${at[other]}" 1
	stops 0
}

@test "--log-level leaves out what matters less, and --quiet all but errors" {
	local level levels=(error warning notice info)
	for level in 0 1 2 3; do
		begin "$USPLICE" relay --log-level "${levels[level]}" unix:front 127.0.0.1:"$(free_port)"
		eventually test -S front
		eventually takes_signals "$job"
		here=unix:front knock 1
		stops 0
		news "listening at" $((level >= 2))
		news "is down" $((level >= 1))
		news "found no target" $((level >= 1))
		news "1 connections, 0 of them now" $((level >= 3))
	done
	begin "$USPLICE" relay --quiet unix:front 127.0.0.1:"$(free_port)"
	eventually test -S front
	eventually takes_signals "$job"
	kill -USR1 "$job" # what is asked for is answered
	eventually news "0 connections, 0 of them now" 1
	stops 0
	[ "$(wc -l <job.err)" -eq 1 ]
}

@test "a level that is none is refused" {
	usage --log-level loud unix:front unix:target
	exits 2
	says "--log-level: 'loud' is none of error, warning, notice and info"
}

@test "lines in a file begin with the time and its zone, those in a pipe with neither" {
	serve target echo 127.0.0.1:0
	TZ=XXX-05:30 relay 127.0.0.1:0 "${at[target]}"
	stops 0
	never grep -vE '^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}\+05:30 usplice: relay: ' job.err
	: | timeout "$patience" "$USPLICE" relay --exit-idle-time 1ms unix:front "${at[target]}" 2>&1 | cat >said
	grep -q '^usplice: relay: listening at unix:front$' said
	never grep -v '^usplice: relay: ' said
}

@test "lines for the journal begin with their priority, where standard error is the journal's" {
	local theirs
	: >job.err
	theirs=$(stat -c %d:%i job.err)
	JOURNAL_STREAM=$theirs timeout "$patience" "$USPLICE" relay --exit-idle-time 1ms unix:front unix:target 2>job.err
	grep -q '^<5>usplice: relay: listening at unix:front$' job.err
	grep -q '^<6>usplice: relay: 0 connections' job.err
	never grep -v '^<[456]>usplice: relay: ' job.err
	JOURNAL_STREAM=1$theirs timeout "$patience" "$USPLICE" relay --exit-idle-time 1ms unix:front unix:target 2>job.err
	never grep '^<' job.err
}

@test "a name cannot send commands to a terminal, or begin a line" {
	relay unix:front $'unix:no\e[31m\nwhere'
	here=unix:front knock 1
	eventually news 'target unix:no?\[31m?where is down' 1
	stops 0
	never grep -q $'\e' job.err
}

@test "a standard error that takes nothing holds neither clients nor signals" {
	serve target echo 127.0.0.1:0
	mkfifo log
	exec 8<>log
	head -c 65536 /dev/zero >&8 # all that it takes
	env --default-signal=TERM,HUP,USR1 "$USPLICE" relay unix:front "${at[target]}" 2>log 3>&- &
	job=$!
	eventually takes_signals "$job"
	here=unix:front
	for _ in 1 2 3; do
		kill -USR1 "$job"
		kill -HUP "$job"
		[ "$(ask hello)" = hello ]
	done
	kill -TERM "$job"
	wait "$job"
	exec 8>&-
}
