#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Routes that a seed makes: the report agrees with strace, with the bytes that arrive, and with a plain C program.

load support

# routes ARGUMENTS: what tests/truth/routes says of the command.
routes() {
	[ -w /dev/shm ] || skip "no tmpfs at /dev/shm"
	tracing
	run "$USPLICE_SOURCE_DIR"/tests/truth/routes "$@" "$USPLICE" "${RAW_ROUTE:?names the plain program}"
}

@test "the report of every pair of ends is true" {
	routes --seed 1
	echo "$output"
	[ "$status" -eq 0 ]
	[[ ${lines[-1]} =~ ^336\ routes\ of\ seed\ 1,\ 0\ disagree ]]
	# Each way was seen, so that no rule held only because there was nothing to compare.
	[[ ${lines[-1]} =~ by\ reference\ [1-9][0-9]+,\ copied\ [1-9][0-9]+,\ unknown\ [1-9] ]]
	[[ ${lines[-1]} =~ allowed\ by\ --require-zero-copy\ [1-9][0-9]+$ ]]
	echo "# ${lines[-1]}" >&3
}

# liar FILTER: from now on the command is one that tells the truth, and the filter of jq changes it.
liar() {
	cat >liar <<-END
		#!/bin/bash
		exec 2> >(jq -R -c 'fromjson? | $1' >&2)
		"$true_usplice" "\$@"
		code=\$?
		exec 2>&-
		wait \$!
		exit \$code
	END
	chmod +x liar
	USPLICE=$PWD/liar
}

@test "a report that lies is found out" {
	true_usplice=$USPLICE
	liar .
	routes --seed 1 --count 16
	echo "$output"
	[ "$status" -eq 0 ]
	for lie in '.hops[0] |= (.by_reference += .copied | .copied = 0)' \
		'.hops[-1] |= (.by_reference += .copied | .copied = 0)' \
		'.by_reference += .copied | .copied = 0' \
		'.by_reference += .unknown | .unknown = 0' \
		'.copied += .by_reference | .by_reference = 0' \
		'.hops |= map(.copied += .by_reference | .by_reference = 0) | .copied += .by_reference | .by_reference = 0' \
		'.hops[0].copied += 1' 'del(.hops[0])' '.sinks[0].bytes += 1' '.bytes += 1' '.stranded = 1' '.lane = "mixed"'; do
		liar "$lie"
		routes --seed 1 --count 16
		echo "$lie: ${lines[-1]}"
		[ "$status" -eq 1 ]
		[[ $output == *"route "*" of seed 1: $USPLICE copy --json "* ]]
		[[ $output == *"repeat it: "*"/tests/truth/routes --seed 1 --only "* ]]
		[[ ${lines[-1]} =~ ^16\ routes\ of\ seed\ 1,\ [1-9][0-9]*\ disagree ]]
	done
}

@test "a command that loses bytes is found out" {
	printf '#!/bin/sh\nexec "%s" "$@" --count 1000\n' "$USPLICE" >short
	chmod +x short
	USPLICE=$PWD/short
	routes --seed 1 --count 16
	[ "$status" -eq 1 ]
	[[ $output == *"sink 0 has wrong bytes"* ]]
}
