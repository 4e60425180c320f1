#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy when the kernel says no: system calls that fail one after the other, a sandbox without splice, no memory for pipes.

load support

# inject WHAT ARGUMENTS: run the copy with a fault. $status, $injected (how many fired); report and stderr are files.
inject() {
	local what=$1
	shift
	rm -f report trace
	status=0
	timeout 300 strace -f -o trace -e trace="${what%%:*}" -e inject="$what" \
		"$USPLICE" copy --report report "$@" 2>stderr || status=$?
	injected=$(grep -c INJECTED trace || true)
}

# tells_the_truth WHAT FILE...: each is the beginning of a, as long as the report says, and complete if the exit code is 0.
tells_the_truth() {
	local what=$1 file len
	shift
	[ "$status" -eq 0 ] || [ "$status" -eq 3 ] || [ "$status" -eq 4 ] || [ "$status" -eq 1 ] || {
		echo "$what: exit code $status: $(cat stderr)"
		return 1
	}
	[ "$status" -ne 0 ] || [ "$(jq .stranded report)" -eq 0 ] || return 1
	for file; do
		len=$(jq --arg spec "$file" '.sinks[] | select(.spec == $spec) | .bytes' report)
		[ "$(stat -c %s "$file")" -eq "$len" ] && cmp -n "$len" a "$file" || {
			echo "$what: $file has $(stat -c %s "$file") bytes, not $len of a: $(cat report)"
			return 1
		}
		[ "$status" -ne 0 ] || [ "$len" -eq "$(stat -c %s a)" ] || return 1
		[ "$status" -eq 0 ] || [ -s stderr ] || return 1
	done
}

# The file itself is asked, too: here the kernel says that its page left the page cache while a pipe had it.
@test "a file that behaves otherwise than a scratch file on its mount is unknown" {
	tracing
	head -c 1M /dev/urandom >a
	sync a
	strace -f -o trace -e trace=preadv2 "$USPLICE" copy --report report a null:
	[ "$(grep -c preadv2 trace)" -ge 6 ] || skip "no page of a file can be dropped here"
	[ "$(jq '.hops[0].by_reference' report)" -eq 1048576 ]
	differs=0
	for look in {3..9}; do
		gone=preadv2:error=EAGAIN:when=$look
		strace -f -o trace -e trace=preadv2 -e inject="$gone" "$USPLICE" copy --report report a null:
		[ "$(jq -r '.hops[0].reason' report)" = "this file behaves otherwise than a scratch file on its mount" ] || continue
		[ "$(jq '.hops[0].unknown' report)" -eq 1048576 ]
		differs=$((differs + 1))
	done
	[ "$differs" -ge 1 ]
}

# each_call CALLS ERRORS FILE... -- ARGUMENTS: let the first, second ... call fail, until none is left.
each_call() {
	local calls=$1 errors=$2 files=() error n
	shift 2
	while [ "$1" != -- ]; do
		files+=("$1")
		shift
	done
	shift
	for error in $errors; do
		for ((n = 1; n < 100; n++)); do
			rm -f "${files[@]}"
			if [ -p source ]; then cat a >source 3>&- & fi
			inject "$calls:error=$error:when=$n" "$@"
			wait
			tells_the_truth "$calls $error at $n" "${files[@]}"
			[ "$injected" -gt 0 ] || break
			case $error in
			EINTR | EAGAIN) [ "$status" -eq 0 ] ;;
			esac
		done
		[ "$n" -gt 1 ] || {
			echo "$calls was never called"
			return 1
		}
	done
}

@test "every splice of a pipe can fail" {
	tracing
	data a 150000
	mkfifo source
	each_call splice "EIO EAGAIN" b -- --lane auto source b
}

@test "every copy_file_range can fail" {
	tracing
	data a 150000
	each_call copy_file_range "EIO EXDEV" b -- a b
}

@test "every tee of a fan-out can fail" {
	tracing
	data a 150000
	each_call tee "ENOMEM EINTR" b c -- a b c
}

@test "every read and write can fail" {
	tracing
	data a 150000
	each_call preadv ENOMEM b -- --lane user a b
	each_call pwritev "EIO EINTR" b -- --lane user a b
}

@test "interrupted calls and calls that would block change nothing" {
	tracing
	data a 400000
	mkfifo source
	for error in EINTR EAGAIN; do
		for how in auto:splice,tee user:readv,pwritev auto:ppoll; do
			for ((at = 0; at < 400000; at += 100000)); do
				tail -c +$((at + 1)) a | head -c 100000
				sleep 0.1 # so that the copy has to wait
			done >source 3>&- &
			inject "${how#*:}:error=$error:when=1..9+2" --lane "${how%:*}" source b c
			wait $! || true
			[ "$status" -eq 0 ] || {
				echo "$how $error: $(cat stderr)"
				return 1
			}
			[ "$injected" -gt 0 ]
			same a b
			same a c
		done
	done
}

@test "slow calls change nothing" {
	tracing
	data a 400000
	mkfifo source
	for lane in auto user; do
		cat a >source 3>&- &
		inject "splice,tee,readv,pwritev:delay_enter=3000:when=1..20" --lane $lane source b c
		wait $!
		[ "$status" -eq 0 ]
		same a b
		same a c
	done
}

# sandboxed ERROR ARGUMENTS: the copy where splice, tee and vmsplice are denied.
sandboxed() {
	local error=$1
	shift
	run --separate-stderr "$DENY_CALLS" "$error" "$USPLICE" copy "$@"
	[ "$status" -ne 77 ] || skip "no seccomp here"
}

@test "where splice is denied the bytes go through memory, and the report says so" {
	data a 3000001
	for error in EPERM ENOSYS; do
		sandboxed $error --report report - b < <(cat a 3>&-)
		exits 0
		same a b
		[ "$(jq -r '[.lane, .hops[].lane] | unique | .[]' report)" = user ]
		[ "$(jq -r '[.by_reference, .copied, .unknown] | @csv' report)" = 0,3000001,0 ]
	done
}

@test "where tee is denied every destination of a fan-out gets every byte" {
	data a 3000001
	for error in EPERM ENOSYS; do
		sandboxed $error --json a b c d
		exits 0
		for file in b c d; do
			same a $file
		done
		[ "$(jq -r '[.copied, .stranded] | @csv' <<<"$stderr")" = 9000003,0 ]
	done
}

@test "where splice is denied a forced kernel lane is refused" {
	data a 100000
	for error in EPERM ENOSYS; do
		sandboxed $error --lane kernel --report report a null:
		exits 2
		says "--lane kernel: splice(2) does not serve a"
		[ ! -e report ]
		sandboxed $error --require-zero-copy a null:
		exits 5
	done
}

# past_the_budget ARGUMENTS: the copy of an ordinary user whose pipes may have two pages.
past_the_budget() {
	run --separate-stderr as_nobody env PATH=/usr/bin:/bin python3 "$BATS_TEST_DIRNAME/hold_pipes.py" "$USPLICE" copy "$@"
	[ "$status" -ne 77 ] || skip "there is no budget of pipe memory here"
}

@test "an ordinary user whose pipes may not grow gets every byte" {
	data a 3000001
	mkdir out
	chmod 777 out
	for lane in auto kernel user; do
		past_the_budget --lane $lane --json a out/b
		exits 0
		same a out/b
		past_the_budget --json a out/b out/c out/d
		exits 0
		for file in out/b out/c out/d; do
			same a $file
		done
		rm -f out/*
	done
	mkfifo -m 666 out/fifo
	cat out/fifo >e 3>&- &
	past_the_budget --lane kernel a out/fifo
	exits 0
	wait $!
	same a e
}
