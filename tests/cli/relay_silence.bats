#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay beside things that do not answer: a target file that is a FIFO, a service manager that does not listen, standard
# error that nobody reads. Signals take effect, the watchdog is fed and clients are served all the same.

load relay

setup() {
	enter_directory
	serve target echo 127.0.0.1:0
	echo "${at[target]}" >targets
}

# hear: what is told to the manager goes to ./news, one message behind the other.
hear() {
	socat -u UNIX-RECV:notify OPEN:news,creat,append 3>&- &
	eventually test -S notify
	export NOTIFY_SOCKET=$PWD/notify
}

nr_heard() {
	grep -ao "$1" news | wc -l
}

heard() {
	[ "$(nr_heard "$1")" -ge "$2" ]
}

# opens FILE: a thread of $job waits in open(2) of it.
opens() {
	grep -qs "fifo_open\|wait_for_partner" "/proc/$job/task"/*/wchan || grep -qs "^\(2\|257\) " "/proc/$job/task"/*/syscall
}

# A target file that became a FIFO: the relay reads it again, and nobody writes.
reload_from_fifo() {
	rm targets
	mkfifo targets
	kill -HUP "$job"
	eventually opens targets
}

@test "a target file that keeps its reader waiting keeps nobody else: SIGUSR1, watchdog, clients, SIGTERM" {
	hear
	export WATCHDOG_USEC=100000
	relay --targets targets 127.0.0.1:0
	reload_from_fifo
	heard RELOADING=1 1
	before=$(nr_heard WATCHDOG=1)
	eventually heard WATCHDOG=1 $((before + 3))
	kill -USR1 "$job"
	eventually grep -q "relay: 0 connections, 0 of them now" job.err
	[ "$(ask hello)" = hello ]
	stops 0
}

@test "connections end as they should while a target file keeps its reader waiting" {
	relay --targets targets 127.0.0.1:0
	hold 5
	echo here >&5
	read -r -t "$patience" -u 5 word
	reload_from_fifo
	kill -TERM "$job"
	eventually grep -q "waiting for 1 connections to end" job.err
	echo "still here" >&5
	read -r -t "$patience" -u 5 word
	[ "$word" = "still here" ]
	exec 5>&-
	finish 0
}

@test "a FIFO that is written at last gives the targets, and several signals meanwhile are one more reload" {
	hear
	relay --targets targets 127.0.0.1:0
	serve other name 127.0.0.1:0 other
	reload_from_fifo
	for _ in 1 2 3 4; do
		kill -HUP "$job"
		sleep 0.05 # two of a kind that come at once are one for the kernel, too
	done
	echo "${at[other]}" >targets
	eventually grep -q "the targets were read again" job.err
	eventually heard RELOADING=1 2
	[ "$(ask "")" = other ]
	timeout "$patience" sh -c 'echo "$1" >targets' - "${at[other]}"
	eventually heard READY=1 3
	[ "$(nr_heard RELOADING=1)" -eq 2 ]
	[ "$(grep -c "the targets were read again" job.err)" -eq 2 ]
	stops 0
}

@test "a file of rules that keeps its reader waiting keeps nobody else, not the access log either" {
	echo "allow all" >rules
	relay --targets targets --access-file rules --access-log access 127.0.0.1:0
	rm rules
	mkfifo rules
	mv access access.1
	kill -HUP "$job"
	eventually opens rules
	eventually test -e access
	kill -USR1 "$job"
	eventually grep -q "relay: 0 connections, 0 of them now" job.err
	[ "$(ask hello)" = hello ]
	eventually grep -q "end=closed" access
	timeout "$patience" sh -c 'echo "deny all" >rules'
	eventually grep -q "the rules were read again" job.err
	never ask hello
	stops 0
}

# A relay whose standard error is a pipe that nobody reads, and that is full. The test holds both ends, as 6.
launch_unread() {
	mkfifo unread
	exec 6<>unread
	dd if=/dev/zero of=/dev/fd/6 oflag=nonblock bs=4096 count=1000 2>/dev/null || true
	port=$(free_port)
	here=127.0.0.1:$port
	env --default-signal=INT,QUIT,TERM,HUP,USR1 "$@" "$here" >job.out 2>&6 3>&- &
	job=$!
	eventually is_served
}

is_served() {
	[ "$(ask hello 2>/dev/null)" = hello ]
}

@test "standard error that nobody reads holds nobody up, and SIGTERM ends it" {
	hear
	export WATCHDOG_USEC=100000
	launch_unread "$USPLICE" relay --targets targets
	for _ in {1..30}; do
		kill -USR1 "$job"
		kill -HUP "$job"
	done
	before=$(nr_heard WATCHDOG=1)
	eventually heard WATCHDOG=1 $((before + 3))
	[ "$(ask hello)" = hello ]
	kill -TERM "$job"
	finish 0
	exec 6>&-
}

@test "what was said meanwhile is there when somebody reads, in its order" {
	launch_unread "$USPLICE" relay --targets targets
	echo nonsense >targets
	kill -HUP "$job"
	timeout "$patience" sed '/nonsense/q' <&6 | tr -d '\0' >read
	exec 6>&-
	grep -q "listening at" read
	tail -n 1 read | grep -q "target 'nonsense': the address needs a port"
	kill -TERM "$job"
	finish 0
}

# A manager at ./notify whose queue is full.
deaf_manager() {
	python3 -c '
import socket, time
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("notify")
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.setblocking(False)
try:
	while True:
		sender.sendto(b"full", "notify")
except BlockingIOError:
	print("full", flush=True)
time.sleep(1000)' >full 3>&- &
	eventually grep -qs full full
	export NOTIFY_SOCKET=$PWD/notify
}

@test "the thread that takes signals does not wait for a manager that does not listen" {
	tracing
	deaf_manager
	export WATCHDOG_USEC=100000
	launch strace -f -o trace -e trace=sendto "$USPLICE" relay --targets targets 127.0.0.1:0
	eventually grep -q "WATCHDOG=1.*EAGAIN" trace
	[ "$(ask hello)" = hello ]
	kill -TERM "$(pgrep -P "$job")"
	finish 0
	grep -q "STOPPING=1.*MSG_DONTWAIT.*EAGAIN" trace
	[ "$(grep "WATCHDOG=1" trace | grep -vc MSG_DONTWAIT)" -eq 0 ]
}

@test "signals that come all the time do not keep the watchdog waiting" {
	hear
	export WATCHDOG_USEC=1000000
	relay --targets targets 127.0.0.1:0
	before=$(nr_heard WATCHDOG=1)
	for _ in {1..600}; do
		kill -USR1 "$job"
		sleep 0.01
		! heard WATCHDOG=1 $((before + 2)) || break
	done
	heard WATCHDOG=1 $((before + 2))
	stops 0
}
