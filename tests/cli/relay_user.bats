#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Rights: the mode and owner of UNIX sockets, the user that a relay becomes, and what it can still do then.

load relay

needs_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
}

# rights PATH: "660 root daemon"
rights() {
	stat -c '%a %U %G' "$1"
}

# keeper: the process that removes the names of $job.
keeper() {
	pgrep -P "$job"
}

is_gone() {
	[ ! -e "$1" ]
}

@test "--unix-mode is the mode of the sockets of clients and metrics, whatever the umask" {
	for mask in 000 022 077; do
		umask "$mask"
		relay --unix-mode 0666 --metrics unix:numbers unix:front 127.0.0.1:1
		[ "$(stat -c %a front numbers | sort -u)" = 666 ]
		stops 0
		relay --unix-mode 640 unix:front 127.0.0.1:1
		[ "$(stat -c %a front)" = 640 ]
		stops 0
	done
	umask 022
	relay unix:front 127.0.0.1:1
	[ "$(stat -c %a front)" = 755 ]
	stops 0
}

@test "--unix-user and --unix-group own the sockets, by name and by number" {
	needs_root
	relay --unix-user daemon --unix-group nogroup --unix-mode 0660 --metrics unix:numbers unix:front 127.0.0.1:1
	[ "$(rights front)" = "660 daemon nogroup" ]
	[ "$(rights numbers)" = "660 daemon nogroup" ]
	stops 0
	relay --unix-group 12345 unix:front 127.0.0.1:1
	[ "$(stat -c '%a %u %g' front)" = "755 0 12345" ]
	stops 0
}

# calls N: the first calls of ./trace that did something, without descriptors, in ./calls.
calls() {
	grep -v EBADF trace | sed -E 's/^[0-9]+ +//; s/ += .*//; s/\([0-9]+, /(/' | head -n "$1" >calls
}

@test "at no moment have more users a right to a socket than in the end" {
	needs_root
	tracing
	umask 000
	begin strace -f -o trace -e trace=fchmod,bind,fchownat,chmod,listen "$USPLICE" relay --unix-user daemon --unix-mode 0660 \
		unix:front 127.0.0.1:1
	eventually grep -q "listening at" job.err
	kill -TERM "$(pgrep -P "$job")"
	finish 0
	calls 5
	[ "$(sed 's/(.*//' calls | tr '\n' ' ')" = "fchmod bind fchownat chmod listen " ]
	grep -qx 'fchmod(000)' calls
	rm trace
	begin strace -f -o trace -e trace=fchmod,bind,chmod,listen "$USPLICE" relay --unix-mode 0600 unix:front 127.0.0.1:1
	eventually grep -q "listening at" job.err
	kill -TERM "$(pgrep -P "$job")"
	finish 0
	calls 3
	[ "$(sed 's/(.*//' calls | tr '\n' ' ')" = "fchmod bind listen " ]
	grep -qx 'fchmod(0600)' calls
}

@test "a socket whose owner cannot be set is refused, and none is left" {
	needs_root
	mkdir -m 777 open
	status=0
	as_nobody timeout "$patience" "$USPLICE" relay --unix-user daemon unix:open/front 127.0.0.1:1 2>said || status=$?
	[ "$status" -eq 3 ]
	[ "$(cat said)" = "usplice: relay: cannot listen at 'unix:open/front': Operation not permitted" ]
	[ -z "$(ls -A open)" ]
}

@test "--user leaves nothing of the rights of the superuser" {
	needs_root
	launch setpriv --groups 4,24 "$USPLICE" relay --user nobody --workers 2 127.0.0.1:0 127.0.0.1:1
	for thread in "/proc/$job/task"/*/status; do
		grep -qP '^Uid:\t65534\t65534\t65534\t65534$' "$thread"
		grep -qP "^Gid:(\t$(id -g nobody)){4}$" "$thread"
		grep -qP '^Groups:\s*$' "$thread"
		grep -qP '^CapPrm:\t0+$' "$thread"
		grep -qP '^CapEff:\t0+$' "$thread"
	done
	never keeper # it has no names to remove
	stops 0
	relay --user 12345 --group daemon 127.0.0.1:0 127.0.0.1:1
	grep -qP '^Uid:(\t12345){4}$' "/proc/$job/status"
	grep -qP "^Gid:(\t$(id -g daemon)){4}$" "/proc/$job/status"
	stops 0
}

@test "a mark and a low source port still work after the change, and nothing else is kept" {
	needs_root
	serve target whence 127.0.0.1:0
	local from=127.7.$((RANDOM % 250)).$((RANDOM % 250 + 1)):77 # not what a run before has left in TIME_WAIT
	relay --user nobody --mark 5 --source "$from" 127.0.0.1:0 "${at[target]}"
	grep -qP '^CapEff:\t0000000000001400$' "/proc/$job/status" # CAP_NET_BIND_SERVICE and CAP_NET_ADMIN
	[ "$(ask "")" = "$from" ]
	stops 0
	relay --user nobody --source 127.0.0.7:7777 127.0.0.1:0 "${at[target]}"
	grep -qP '^CapEff:\t0+$' "/proc/$job/status"
	stops 0
}

@test "after the change the names of its sockets still go: at a drain, at the end, and when it is killed" {
	needs_root
	serve target echo 127.0.0.1:0
	mkdir -m 755 run
	relay --user nobody --metrics unix:run/numbers unix:run/front "${at[target]}"
	python3 -uc 'import socket, time
s = socket.socket(socket.AF_UNIX)
s.connect("run/front")
s.send(b"x")
print(s.recv(1))
time.sleep(1000)' >client.log 3>&- &
	client=$!
	eventually test -s client.log
	kill -TERM "$job" # to all processes of a service
	kill -TERM "$(keeper)"
	eventually is_gone run/front
	eventually is_gone run/numbers
	kill -0 "$job"
	kill -KILL "$client"
	finish 0
	relay --user nobody --metrics unix:run/numbers unix:run/front "${at[target]}"
	stops 0
	[ -z "$(ls -A run)" ] # at once
	relay --user nobody --metrics unix:run/numbers unix:run/front "${at[target]}"
	kill -KILL "$job"
	eventually is_gone run/front
	eventually is_gone run/numbers
	[ -z "$(ls -A run)" ]
}

@test "the keeper of names leaves a successor's socket alone, and holds no port" {
	needs_root
	serve target echo 127.0.0.1:0
	mkdir -m 755 run
	relay --user nobody unix:run/front "${at[target]}"
	old=$job
	rm run/front
	relay --user nobody --metrics 127.0.0.1:0 unix:run/front "${at[target]}"
	kill -TERM "$old"
	code=0
	wait "$old" || code=$?
	[ "$code" -eq 0 ]
	[ "$(ask hello unix:run/front)" = hello ]
	port=${metrics##*:}
	kill -STOP "$(keeper)"
	kept=$(keeper)
	kill -KILL "$job"
	eventually python3 -c 'import socket, sys; socket.socket().bind(("127.0.0.1", int(sys.argv[1])))' "$port"
	kill -CONT "$kept"
	eventually is_gone run/front
}

@test "a relay that stays root says so, and one that becomes another user does not" {
	needs_root
	relay 127.0.0.1:0 127.0.0.1:1
	grep -q " usplice: relay: runs as root, and stays so; --user gives that up$" job.err
	stops 0
	relay --user root 127.0.0.1:0 127.0.0.1:1
	grep -q "runs as root" job.err
	stops 0
	relay --user nobody 127.0.0.1:0 127.0.0.1:1
	never grep -q "runs as root" job.err
	stops 0
}

@test "targets that the new user can read are read again, and of others it is said at the start" {
	needs_root
	serve target echo unix:target
	chmod 777 target
	echo unix:target >targets
	chmod 644 targets
	relay --user nobody --targets targets 127.0.0.1:0
	[ "$(ask hello)" = hello ]
	kill -HUP "$job"
	eventually grep -q "the targets were read again" job.err
	stops 0
	chmod 600 targets
	relay --user nobody --targets targets 127.0.0.1:0
	grep -q " usplice: relay: targets: Permission denied: SIGHUP cannot read it again as user nobody$" job.err
	[ "$(ask hello)" = hello ]
	stops 0
}

@test "what cannot be is refused before anything is made" {
	while read -r code text arguments; do
		# shellcheck disable=SC2086
		usage $arguments
		exits "$code"
		says "usplice: relay: ${text//_/ }"
		[ ! -e front ]
	done <<-END
		2 --user:_'nonesuch'_is_no_user_here --user nonesuch unix:front 127.0.0.1:1
		2 --group:_'nonesuch'_is_no_group_here --group nonesuch unix:front 127.0.0.1:1
		2 --user:_a_number_without_an_entry_has_no_group_of_its_own --user 54321 unix:front 127.0.0.1:1
		2 --user:_'4294967295'_is_no_user_here --user 4294967295 unix:front 127.0.0.1:1
		2 --unix-mode:_'0'_is_no_mode_between_1_and_0777 --unix-mode 0 unix:front 127.0.0.1:1
		2 --unix-mode:_'1777'_is_no_mode_between_1_and_0777 --unix-mode 1777 unix:front 127.0.0.1:1
		2 --unix-mode:_'u=rw'_is_no_mode_between_1_and_0777 --unix-mode u=rw unix:front 127.0.0.1:1
		2 --unix-mode:_no_UNIX_socket_is_made_here --unix-mode 0600 127.0.0.1:0 127.0.0.1:1
		2 --unix-mode:_no_UNIX_socket_is_made_here --unix-mode 0600 systemd 127.0.0.1:1
		2 --unix-user:_no_UNIX_socket_is_made_here --unix-user root 127.0.0.1:0 127.0.0.1:1
		2 --unix-group:_no_UNIX_socket_is_made_here --unix-group root 127.0.0.1:0 127.0.0.1:1
	END
	needs_root
	status=0
	as_nobody timeout "$patience" "$USPLICE" relay --user daemon 127.0.0.1:0 127.0.0.1:1 2>said || status=$?
	[ "$status" -eq 1 ]
	[ "$(cat said)" = "usplice: relay: cannot become 'daemon': Operation not permitted" ]
	launch setpriv --reuid 65534 --regid "$(id -g nobody)" --clear-groups "$USPLICE" relay --user nobody 127.0.0.1:0 127.0.0.1:1
	stops 0
}
