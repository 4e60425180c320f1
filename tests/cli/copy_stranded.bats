#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A copy that ends early leaves in a shared source what no destination got: the next command reads on there.

load support

# reads_on SINK...: ./a goes to the sinks of a copy that fails, and the rest of it into ./rest.
reads_on() {
	{ "$USPLICE" copy "$@" 2>said || code=$? && cat >rest; } <a
	[ "$code" -ne 0 ]
}

@test "a full disk strands nothing of standard input" {
	data a 5000000
	small_disk 300k
	for options in "" "--lane user" "--no-splice" "--limit-rate 100M" --snapshot; do
		# shellcheck disable=SC2086
		reads_on $options - small/b
		[ "$code" -eq 4 ]
		grep -q "No space left" said
		[ -s small/b ]
		cat small/b rest | cmp - a
		rm small/b
	done
	reads_on --skip 1000 - small/b
	tail -c +1001 a | cmp - <(cat small/b rest)
	rm small/b
	{ "$USPLICE" copy fd:5 small/b || code=$? && cat <&5 >rest; } 5<a
	cat small/b rest | cmp - a
}

@test "what some destination got is read, and the rest is not" {
	data a 5000000
	small_disk 300k
	reads_on --on-error continue - small/b /dev/full
	cat small/b rest | cmp - a
	rm small/b
	reads_on - small/b null:
	cmp -n "$(stat -c %s small/b)" small/b a
	tail -c "$(stat -c %s rest)" a | cmp - rest
	reads_on --on-error continue - b /dev/full
	same a b
	[ ! -s rest ]
}

@test "a device that takes nothing leaves standard input as it was" {
	data a 5000000
	for options in "" "--lane user"; do
		# shellcheck disable=SC2086
		reads_on $options - /dev/full
		same a rest
	done
}

@test "a reader that goes leaves the rest to the next command" {
	data a 5000000
	mkfifo f
	head -c 100000 f >b 3>&- &
	reads_on - f
	wait $!
	same <(tail -c "$(stat -c %s rest)" a) rest
	[ "$(stat -c %s rest)" -ge $((5000000 - 100000 - 1048576)) ] # what was in the FIFO has been delivered
}

@test "a copy that is interrupted leaves the rest to the next command" {
	data a 5000000
	interrupted() {
		env --default-signal=INT "$USPLICE" copy --limit-rate 2M - x <&0 2>said 3>&- &
		eventually has_bytes x 200000
		kill -INT $!
		code=0
		wait $! || code=$?
		cat >rest
	}
	interrupted <a
	[ "$code" -eq 130 ]
	cat x rest | cmp - a
}
