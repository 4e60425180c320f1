#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: a path is opened once, with the flags that are needed, and nothing is reached by way of /proc.

load support

# without_proc COMMAND...: run it where there is no /proc.
without_proc() {
	unshare --mount sh -c 'mount -t tmpfs usplice-test /proc && [ ! -e /proc/self ] && exec "$@"' - "$USPLICE" version \
		>/dev/null 2>&1 || skip "cannot hide /proc here, or the command does not start without it"
	run --separate-stderr unshare --mount sh -c 'mount -t tmpfs usplice-test /proc && exec "$@"' - "$@"
}

# attributed ATTRIBUTE FILE: that file has it until the end of the test.
attributed() {
	chattr "+$1" "$2" 2>/dev/null || skip "this file system has no attributes, or we may not set them"
	marked=$2
}

teardown() {
	if [ -n "$marked" ]; then
		chattr -ai "$marked"
	fi
	remove_all
}

@test "--append needs no /proc" {
	data a 70000
	data old 1000
	cp old b
	without_proc "$USPLICE" copy --append a b c
	exits 0
	cat old a | same - b
	same a c
	without_proc "$USPLICE" copy a b,append
	exits 0
	cat old a a | same - b
}

@test "--resume needs no /proc" {
	data a 700000
	for spec in b b,direct; do
		head -c 300001 a >b
		without_proc "$USPLICE" copy --resume --json a "$spec"
		[ "$spec" != b,direct ] || [ "$status" -ne 2 ] || continue # no direct I/O here
		exits 0
		[ "$(jq .bytes <<<"$stderr")" -eq 399999 ]
		same a b
	done
	without_proc "$USPLICE" copy --resume --skip 1001 a,direct c
	[ "$status" -eq 2 ] || tail -c +1002 a | same - c
}

@test "--resume reads a redirection that is open for reading, and opens nothing again" {
	data a 300000
	head -c 1000 a >out
	without_proc bash -c '"$1" copy --resume a - 1<>out && printf END >>out' - "$USPLICE"
	exits 0
	{ cat a && printf END; } | same - out
}

@test "--resume goes on in a redirection of another user that is open for reading" {
	data a 300000
	chmod 644 a
	head -c 1000 a >out
	chmod 600 out
	cp "$USPLICE" command
	run --separate-stderr as_nobody ./command copy --resume a fd:3 3<>out
	exits 0
	same a out
}

@test "what a refused copy made is removed without /proc" {
	without_proc "$USPLICE" copy --lane kernel --report report mem:hello b
	exits 2
	[ -z "$(ls -A)" ]
	data a 10
	without_proc "$USPLICE" copy --on-error continue a b nowhere/c
	exits 4
	[ ! -e b ]
}

@test "--append opens its destination once" {
	command -v strace >/dev/null || skip "no strace"
	data a 10
	echo old >b
	strace -f -o trace -e trace=open,openat,openat2 "$USPLICE" copy --append a b || skip "cannot trace here"
	[ "$(grep -c '"b"' trace)" -eq 1 ]
	grep '"b"' trace | grep -q O_APPEND
	never grep -q '/proc/self/fd' trace
}

@test "a file that may only be appended to takes --append and --resume, and nothing else" {
	data a 300000
	head -c 1000 a >b
	attributed a b
	copy a b
	exits 4
	[ "$stderr" = "usplice: sink b: Operation not permitted" ]
	copy --seek 5 a b
	exits 4
	copy --resume --count 200000 a b
	exits 0
	head -c 200000 a | same - b
	copy --resume --json a b
	exits 0
	[ "$(jq .bytes <<<"$stderr")" -eq 100000 ]
	same a b
	copy --append a b
	exits 0
	cat a a | same - b
	copy a b,append
	exits 0
	cat a a a | same - b
	copy --resume a b
	exits 4
	says "sink b: has more than the 300000 bytes that would be there"
}

@test "a file that may not be changed is refused to all of them" {
	data a 1000
	head -c 10 a >b
	attributed i b
	for option in "" --append --resume "--seek 5"; do
		# shellcheck disable=SC2086
		copy $option a b
		exits 4
		says "usplice: sink b: Operation not permitted"
	done
	head -c 10 a | same - b
}

@test "a file that may be written and not read takes --append, and not --resume" {
	data a 1000
	chmod 644 a
	echo old >b
	chmod 222 b
	cp "$USPLICE" command
	run --separate-stderr as_nobody ./command copy --append a b
	exits 0
	{ echo old && cat a; } | same - b
	run --separate-stderr as_nobody ./command copy --resume a b
	exits 4
	[ "$stderr" = "usplice: sink b: Permission denied" ]
}

@test "a symbolic link that leads nowhere is not written through" {
	data a 10
	ln -s nowhere link
	ln -s link second
	for option in "" --append --resume "--seek 5" --sync "--lane user"; do
		for name in link second; do
			# shellcheck disable=SC2086
			copy $option a "$name"
			exits 4
			says "usplice: sink $name: No such file or directory (it is a symbolic link that leads nowhere)"
			[ ! -e nowhere ]
		done
	done
	copy a b link
	exits 4
	[ ! -e b ]
	copy link b
	exits 3
	says "it is a symbolic link that leads nowhere"
	copy --report link a b
	exits 1
	[ "$stderr" = "usplice: report link: it is a symbolic link that leads nowhere" ]
	[ ! -e b ]
	[ ! -e nowhere ]
	echo old >nowhere
	copy a second
	exits 0
	same a nowhere
	[ -L second ]
}

@test "a FIFO is waited for no longer than its time-out" {
	mkfifo pipe
	data a 1000
	copy pipe,timeout=0.05 b
	exits 3
	says "usplice: source pipe,timeout=0.05: Connection timed out (nobody wrote into it in time)"
	[ ! -e b ]
	copy a pipe,timeout=0.05
	exits 4
	says "usplice: sink pipe,timeout=0.05: Connection timed out (nobody opened it for reading in time)"
	copy a pipe,timeout=soon
	exits 2
	says "timeout takes a time"
	copy a,timeout=1 b
	exits 2
	says "this type of file does not have that option"
}

@test "a FIFO with a time-out gives what comes in time, and nothing to a writer that brings nothing" {
	mkfifo pipe
	data a 3000000
	cat a >pipe &
	copy pipe,timeout=60 b
	exits 0
	same a b
	cat pipe >c &
	copy a pipe,timeout=60
	exits 0
	wait
	same a c
	: >pipe &
	copy --overwrite pipe,timeout=60 b
	exits 0
	[ ! -s b ]
}
