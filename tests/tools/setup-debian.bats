#!/usr/bin/env bats
# What setup-debian would do, on a machine whose package tools are stand-ins that write down how they were called.

stand_in() {
	printf '#!/bin/bash\n%s\n' "$2" >"$BATS_TEST_TMPDIR/bin/$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

setup() {
	mkdir "$BATS_TEST_TMPDIR/bin"
	cd "$BATS_TEST_TMPDIR"
	export CALLS=$BATS_TEST_TMPDIR/calls
	: >calls
	stand_in dpkg-query '[ "${@: -1}" = "$LACKS" ] || printf installed'
	stand_in apt-get 'echo "apt-get $*" >>"$CALLS"; [ "$BREAKS" != apt-get ]'
	stand_in id 'echo "${USER_ID-0}"'
	# Only these can be found, and sudo only where a test makes one.
	for tool in bash env; do ln -s "$(command -v $tool)" bin/$tool; done
}

debian() {
	PATH=$BATS_TEST_TMPDIR/bin run "$USPLICE_SOURCE_DIR/tools/setup-debian" "$@" </dev/null
	echo "$output"
	cat calls
}

@test "nothing is called where nothing is missing" {
	debian test
	[ "$status" -eq 0 ]
	[ ! -s calls ]
}

@test "what is missing is installed, and only that" {
	LACKS=bats debian test
	[ "$status" -eq 0 ]
	[ "$(tail -n 1 calls)" = "apt-get -q install -y --no-install-recommends bats" ]
	[ "$(head -n 1 calls)" = "apt-get -q update" ]
}

@test "building alone does not need what tests need" {
	LACKS=bats debian build
	[ "$status" -eq 0 ]
	[ ! -s calls ]
}

@test "an ordinary user goes by sudo, and is not asked for a password where nobody can answer" {
	stand_in sudo 'echo "sudo $1" >>"$CALLS"; shift; exec "$@"'
	USER_ID=1000 LACKS=jq debian test
	[ "$status" -eq 0 ]
	grep -qx 'sudo -n' calls
	[ "$(tail -n 1 calls)" = "apt-get -q install -y --no-install-recommends jq" ]
}

@test "an ordinary user without sudo is told what to install" {
	USER_ID=1000 LACKS=jq debian test
	[ "$status" -eq 1 ]
	[ "$output" = "setup-debian: not root, and there is no sudo. Please install: jq" ]
}

@test "a failure of apt-get is told" {
	BREAKS=apt-get LACKS=jq debian test
	[ "$status" -eq 1 ]
	[ "${lines[-1]}" = "setup-debian: apt-get update failed. Please install: jq" ]
}

@test "another system is told what it needs, and goes on" {
	rm bin/dpkg-query
	debian build
	[ "$status" -eq 0 ]
	[[ $output == "setup-debian: this is not a Debian machine; what Debian calls gcc "*" has to be here." ]]
}
