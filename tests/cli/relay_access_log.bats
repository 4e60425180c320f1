#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay --access-log: one line for each connection.

load relay

# lines NUMBER [PATTERN [FILE]]: so many lines of the access log have it.
lines() {
	[ "$(grep -cE -- "${2:-.}" "${3:-access}")" -eq "$1" ]
}

@test "each connection gets a line that says who, where to, how much, how, for how long, and how it ended" {
	local time='[0-9-]{10}T[0-9:]{8}\.[0-9]{3}[+-][0-9]{2}:[0-9]{2}'
	serve target echo 127.0.0.1:0
	relay --access-log access 127.0.0.1:0 "${at[target]}"
	[ "$(ask hello)" = hello ]
	eventually lines 1
	lines 1 "^time=$time client=127\.0\.0\.1:[0-9]+ listener=$here target=${at[target]} to_target=5 to_client=5 by_reference=0 copied=10 unknown=0 rewritten=0 duration=[0-9]+\.[0-9]{3} end=closed\$"
	[ "$(stat -c %a access)" = 640 ]
	stops 0
	lines 1
}

@test "as JSON each line is an object that programs can read" {
	serve target echo unix:'a "target"'
	relay --access-log - --access-log-format json 127.0.0.1:0 "${at[target]}"
	[ "$(ask hello)" = hello ]
	eventually lines 1 . job.out
	stops 0
	[ "$(jq -c '[.target, .listener, .to_target, .to_target_copied, .to_client, .to_client_by_reference, .end]' job.out)" = \
		"[\"unix:a \\\"target\\\"\",\"$here\",5,5,5,0,\"closed\"]" ]
	jq -e '.duration >= 0 and (.client | startswith("127.0.0.1:")) and (.time | length == 29)' job.out
}

@test "a name with blanks stands in quotes, and cannot begin a line" {
	serve target echo unix:$'a\nb\e end=closed'
	relay --access-log access unix:front unix:$'a\nb\e end=closed'
	here=unix:front ask hello
	eventually lines 1
	lines 1 'client=unix listener=unix:front target="unix:a\\nb\\u001b end=closed" '
	stops 0
}

@test "the line says why a connection ended" {
	serve target echo 127.0.0.1:0
	serve cutter cut 127.0.0.1:0 5
	relay --access-log access --idle-timeout 100ms 127.0.0.1:0 "${at[target]}"
	peer leave "$here" hello
	eventually lines 1 "to_target=5 .* end=client_reset\$"
	hold 5
	eventually lines 1 "end=idle\$"
	exec 5>&-
	stops 0
	relay --access-log access 127.0.0.1:0 "${at[cutter]}"
	peer leave "$here" hello || true
	eventually lines 1 "target=${at[cutter]} to_target=5 .* end=target_reset\$"
	hold 5
	eventually logs cutter "open 2"
	stops_at_once
	lines 1 "end=stopped\$"
	exec 5>&-
	relay --access-log access 127.0.0.1:0 127.0.0.1:"$(free_port)"
	never ask hello
	eventually lines 1 "target=- to_target=0 .* end=no_target\$"
	stops 0
	relay --access-log access --proxy-protocol accept 127.0.0.1:0 "${at[target]}"
	never ask "nonsense of more than sixteen bytes"
	eventually lines 1 "end=no_header\$"
	[ "$(printf 'PROXY TCP4 192.0.2.7 192.0.2.8 4711 80\r\nhello' | peer ask "$here")" = hello ]
	eventually lines 1 " client=192\.0\.2\.7:4711 peer=127\.0\.0\.1:[0-9]+ .* end=closed\$"
	stops 0
}

@test "SIGHUP opens the file again: after a rename lines go to a new one, and none is lost" {
	serve target echo 127.0.0.1:0
	relay --access-log access 127.0.0.1:0 "${at[target]}"
	ask one
	eventually lines 1
	mv access access.1
	ask two
	eventually lines 2 . access.1
	kill -HUP "$job"
	eventually test -e access
	ask three
	eventually lines 1
	stops 0
	lines 2 . access.1
}

@test "a FIFO that nobody reads holds neither clients nor the end" {
	mkfifo access
	serve target echo 127.0.0.1:0
	relay --access-log access 127.0.0.1:0 "${at[target]}"
	for _ in 1 2 3; do
		[ "$(ask hello)" = hello ]
	done
	(timeout "$patience" head -n 3 access >got; touch done) 3>&- &
	eventually test -e done
	lines 3 "end=closed" got
	ask hello
	stops 0
	grep -q "access log access: 1 lines could not be written" job.err
}

@test "a full disk is told of once, holds no client, and leaves no part of a line behind" {
	serve target echo 127.0.0.1:0
	small_disk 64k
	head -c 65500 /dev/zero >small/filler 2>/dev/null || true
	relay --access-log small/access 127.0.0.1:0 "${at[target]}"
	for _ in {1..30}; do
		[ "$(ask hello)" = hello ]
	done
	eventually grep -q "access log small/access: No space left on device" job.err
	rm small/filler
	eventually lines 30 "^time=.* end=closed\$" small/access
	grep -q "access log small/access: it is written again" job.err
	stops 0
	lines 30 . small/access
	[ "$(grep -c "No space left" job.err)" -eq 1 ]
}

@test "a file that cannot be opened is refused, and so is a format that is none" {
	usage --access-log /nowhere/access unix:front unix:target
	exits 1
	says "access log /nowhere/access: No such file or directory"
	[ ! -e front ]
	usage --access-log-format xml unix:front unix:target
	exits 2
	says "--access-log-format: 'xml' is neither text nor json"
}

@test "an ordinary user's relay whose new file cannot be made goes on with the old one" {
	[ "$(id -u)" -eq 0 ] || skip "not root"
	serve target echo 127.0.0.1:0
	mkdir logs
	chmod 777 logs
	launch setpriv --reuid 65534 --regid 65534 --clear-groups "$USPLICE" relay --access-log logs/access 127.0.0.1:0 "${at[target]}"
	ask one
	eventually lines 1 . logs/access
	mv logs/access logs/access.1
	chmod 755 logs
	kill -HUP "$job"
	eventually grep -q "access log logs/access: Permission denied" job.err
	ask two
	eventually lines 2 . logs/access.1
	stops 0
}
