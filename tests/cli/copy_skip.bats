#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --skip of what has no positions: nothing is taken from it by a copy that is refused.

load support

# leaves_all CODE ARGUMENTS: a copy from a stream is refused, and whoever reads it next gets all of it.
leaves_all() {
	local code=$1 status=0
	shift
	cat a | { "$USPLICE" copy "$@" 2>said || echo $? >status && cat >rest; }
	[ "$(cat status)" -eq "$code" ]
	same a rest
	rm status rest
}

@test "a copy that is refused has skipped nothing" {
	data a 100000
	echo old >old
	for lane in "5 --require-zero-copy" "2 --lane kernel --append"; do
		for source in - fd:0 /dev/stdin; do
			for sinks in new old "null: new"; do
				echo "--- $lane $source $sinks"
				# shellcheck disable=SC2086
				leaves_all $lane --skip 1000 --report report $source $sinks
				[ ! -e new ]
				[ ! -e report ]
				[ "$(cat old)" = old ]
			done
		done
	done
	grep -q "splice(2) cannot carry\|\(would\|may\) copy: " said
	leaves_all 5 --skip 1000 --require-zero-copy --lane user - new
}

@test "what the kernel lane carries is skipped there" {
	data a 100000
	for options in "--lane kernel" --require-zero-copy; do
		mkfifo f
		cat f >b 3>&- &
		# shellcheck disable=SC2086
		cat a | { "$USPLICE" copy --skip 1000 --count 50000 $options --report report - f 2>said || echo $? >status; cat >rest; }
		if [ -e status ]; then
			skip "this kernel copies: $(cat said)"
		fi
		wait $!
		rm f
		tail -c +1001 a | head -c 50000 | cmp - b
		tail -c +51001 a | cmp - rest
		[ "$(jq .bytes report)" -eq 50000 ]
	done
}

@test "a new destination of a skip that fails is not left behind" {
	start --skip 1G - new </dev/null
	finish 0
	mkfifo f
	exec 9<>f
	rm -f new
	start --skip 1G --json f new
	kill -INT "$job"
	finish 130
	[ ! -e new ]
	grep -q "stopped by signal 2" job.err
	tail -n 1 job.err | jq -e '.bytes == 0'
}

# seen CALLS ARGUMENTS: which of these calls a copy makes of standard input, once each.
seen() {
	local calls=$1
	shift
	strace -f -qq -o trace -e "trace=$calls" "$USPLICE" copy "$@" 3>&-
	grep -oE "($(tr , '|' <<<"$calls"))\(" trace | sort -u || true
}

@test "what is skipped is spliced only if the rest may be, and is not probed without a report" {
	tracing
	data a 100000
	for options in "--lane user" --no-splice --snapshot; do
		# shellcheck disable=SC2086
		[ -z "$(cat a | seen splice,tee,memfd_create --skip 1000 $options - b)" ]
		tail -c +1001 a | cmp - b
	done
	[ "$(cat a | seen splice,tee,memfd_create --skip 1000 - b)" = "splice(" ]
	tail -c +1001 a | cmp - b
	cat a | seen memfd_create --skip 1000 --report report - b | grep -qx "memfd_create("
}
