#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# tools/demo on a small file: it shows every kind of run, finds a wrong result, and leaves nothing behind.

setup() {
	export USPLICE_DEMO_DIR=$BATS_TEST_TMPDIR/demo
	mkdir "$USPLICE_DEMO_DIR"
	cd "$BATS_TEST_TMPDIR"
}

demo() {
	run timeout 600 "$USPLICE_SOURCE_DIR/tools/demo" "$@"
	echo "$output"
	[ -z "$(ls "$USPLICE_DEMO_DIR")" ]
}

@test "the demo runs and every result is right" {
	demo "$USPLICE" 8
	[ "$status" -eq 0 ]
	[ "${lines[-1]}" = "every result is right" ]
	[ "$(grep -c 'same SHA-256' <<<"$output")" -eq 5 ]
}

@test "the demo sees a result that differs" {
	printf '#!/bin/sh\n"$USPLICE" "$@" && for file in first copy; do [ ! -e $file ] || echo >>$file; done\n' >liar
	chmod +x liar
	demo ./liar 8
	[ "$status" -eq 1 ]
	[ "$(grep -c DIFFERS <<<"$output")" -eq 3 ]
}

@test "the demo fails when the command fails" {
	demo /bin/false 8
	[ "$status" -eq 1 ]
}

@test "the demo says how much room it needs" {
	demo "$USPLICE" 900000000
	[ "$status" -eq 1 ]
	[[ $output == *"MB free and 3600000000 MB are needed; name another directory in USPLICE_DEMO_DIR" ]]
}
