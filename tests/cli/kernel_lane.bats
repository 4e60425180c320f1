#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy on the kernel lane: no byte enters the process, and where the kernel refuses, the bytes arrive all the same.

load support

carriers=read,write,readv,writev,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,sendto,sendmsg,sendmmsg,recvfrom,recvmsg,recvmmsg

# carried TRACE: how many bytes the calls in it moved into the process or out of it.
carried() {
	sed -n 's/.* = \([0-9]\+\)$/\1/p' "$1" | awk '{ sum += $1 } END { print sum + 0 }'
}

# traced ARGUMENTS: a copy whose report is in ./report, and the calls that carry bytes in ./trace.
traced() {
	timeout 300 strace -f -o trace -e trace=$carriers "$USPLICE" copy --report report "$@" 3>&-
}

# goes_by_reference: or the probe found that this kernel copies, and there is nothing to see.
goes_by_reference() {
	[ "$(jq .by_reference report)" -gt 0 ] ||
		skip "this kernel copies: $(jq -r '[.hops[] | select(.by_reference == 0) | .reason] | join("; ")' report)"
}

@test "a file goes to TCP and no byte of it enters the process" {
	tracing
	data a 8000001
	port=$(free_port)
	"$USPLICE" copy "tcp-listen:127.0.0.1:$port" b 3>&- &
	traced --lane kernel a "tcp:127.0.0.1:$port,retry=60"
	wait $!
	same a b
	[ "$(jq -r .lane report)" = kernel ]
	# What the loader and the probe read is far less than the file.
	[ "$(carried trace)" -lt 500000 ]
	goes_by_reference
	[ "$(jq -r '[.bytes, .by_reference, .copied, .unknown] | @csv' report)" = 8000001,8000001,0,0 ]
}

@test "the same trace sees the bytes on the user lane" {
	tracing
	data a 8000001
	traced --lane user a b
	same a b
	[ "$(carried trace)" -ge 16000002 ]
	[ "$(jq -r '[.by_reference, .copied, .unknown] | @csv' report)" = 0,8000001,0 ]
}

@test "a file goes to three pipes and no byte of it enters the process" {
	tracing
	data a 4000001
	for sink in b c d; do
		mkfifo $sink.fifo
		cat $sink.fifo >$sink 3>&- &
	done
	traced --lane kernel a b.fifo c.fifo d.fifo
	wait
	for sink in b c d; do
		same a $sink
	done
	[ "$(carried trace)" -lt 500000 ]
	goes_by_reference
	[ "$(jq -r '[.by_reference, .copied, .unknown] | @csv' report)" = 12000003,0,0 ]
}

# refuses CALL ERROR ARGUMENTS: a copy where that call always fails; the exit code is $status, standard error in ./stderr.
refuses() {
	local call=$1 error=$2
	shift 2
	status=0
	rm -f report
	timeout 300 strace -f -o trace -e trace="$call" -e inject="$call:error=$error" \
		"$USPLICE" copy --report report "$@" 2>stderr 3>&- || status=$?
}

# accounted LENGTH: every byte is in the report, and every hop has its bytes and says why.
accounted() {
	jq -e --argjson len "$1" '.by_reference + .copied + .unknown == $len and .stranded == 0
		and all(.hops[]; .by_reference + .copied + .unknown > 0 and .reason != null)' report || {
		cat report
		return 1
	}
}

@test "whichever call the kernel refuses, and however, every byte arrives and is accounted for" {
	tracing
	data a 700001
	mkfifo source
	for call in splice tee vmsplice copy_file_range; do
		for error in EPERM ENOSYS EINVAL; do
			echo "--- $call $error"
			refuses $call $error a b
			[ "$status" -eq 0 ]
			same a b
			accounted 700001
			cat a >source 3>&- &
			refuses $call $error source b c
			wait $!
			[ "$status" -eq 0 ]
			same a b
			same a c
			accounted 1400002
		done
	done
}

@test "without splice the ledger says that the bytes were copied, and in memory" {
	tracing
	data a 700001
	mkfifo source
	for error in EPERM ENOSYS EINVAL; do
		cat a >source 3>&- &
		refuses splice $error source b
		wait $!
		[ "$status" -eq 0 ]
		[ "$(jq -r '[.by_reference, .copied, .unknown] | @csv' report)" = 0,700001,0 ]
		[ "$(jq -r '[.hops[].lane] | unique | join(" ")' report)" = user ]
	done
}

@test "a forced kernel lane that the kernel refuses is refused with a reason, and nothing is taken, made or changed" {
	tracing
	data a 700001
	mkfifo source
	exec 9<>source
	echo some >&9
	for error in EPERM ENOSYS EINVAL; do
		for sink in b null:; do
			echo "--- $error $sink"
			refuses splice $error --lane kernel source $sink
			[ "$status" -eq 2 ]
			grep -q '^usplice: --lane kernel: splice(2) ' stderr
			[ ! -e b ]
			[ ! -e report ]
		done
	done
	read -r -t 5 -u 9 word
	[ "$word" = some ]
	exec 9>&-
}

@test "--lane kernel refuses what the kernel has no splice for, and takes nothing from a pipe for it" {
	data a 1000
	copy --lane kernel a /proc/self/comm
	exits 2
	says "splice(2) cannot carry the bytes of a to /proc/self/comm"
	copy --lane kernel /proc/self/mem b
	exits 2
	says "splice(2) does not serve /proc/self/mem"
	[ ! -e b ]
	echo old >b
	copy --lane kernel /proc/self/mem b
	exits 2
	[ "$(cat b)" = old ]
	[ "$(echo some | { "$USPLICE" copy --lane kernel - /proc/self/comm 2>said || cat; })" = some ]
}
