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
	grep -q '^Every result is right\.$' <<<"$output"
	[ "$(grep -c 'same SHA-256' <<<"$output")" -eq 8 ]
	for way in "8.0 MB went inside the kernel: 8.0 MB" "went through memory of usplice: 24 MB copied"; do
		grep -q "$way" <<<"$output"
	done
	[ "$(grep -c 'MB/s$' <<<"$output")" -ge 8 ]
	never_long
}

# never_long: people read it: no JSON, and no line that a terminal would break more than once.
never_long() {
	[ "$(grep -c '[{}]' <<<"$output")" -eq 0 ]
	[ "$(awk 'length > 160' <<<"$output")" = "" ]
}

@test "what it ends with works as it stands" {
	demo "$USPLICE" 8
	sed '1,/^What to try next$/d; s/^  //' <<<"$output" | sed '/make install/d' >next.sh
	[ "$(grep -c usplice next.sh)" -ge 3 ]
	head -c 100000 /dev/urandom >SOURCE
	env -i HOME="$HOME" PATH=/usr/bin:/bin timeout 600 bash -eu next.sh >/dev/null 2>said || { cat said; false; }
	cmp SOURCE first.img
	cmp SOURCE second.img
}

@test "the demo sees a result that differs" {
	printf '#!/bin/sh\n"$USPLICE" "$@" && for file in first copy; do [ ! -e $file ] || echo >>$file; done\n' >liar
	chmod +x liar
	demo ./liar 8
	[ "$status" -eq 1 ]
	[ "$(grep -c DIFFERS <<<"$output")" -gt 3 ]
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
