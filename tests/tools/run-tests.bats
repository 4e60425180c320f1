#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The counting of test cases, with a stand-in for meson that leaves a log of ours.

setup() {
	cd "$BATS_TEST_TMPDIR"
	mkdir -p bin build/meson-logs
	cat >bin/meson <<-'END'
		#!/bin/sh
		[ "$1" = test ] || exit ${COMPILE_STATUS-0}
		[ -n "$NO_LOG" ] || cp log build/meson-logs/testlog.json
		exit ${MESON_STATUS-0}
	END
	chmod +x bin/meson
	: >log
}

# program RESULT OUTPUT: one program in the log.
program() {
	jq -cn --arg result "$1" --arg output "$2" '{name: "prog", result: $result, stdout: $output}' >>log
}

totals() {
	PATH=$PWD/bin:$PATH run "$USPLICE_SOURCE_DIR/tools/run-tests" build
	echo "$output"
	last=${lines[-1]}
}

@test "cases are counted, not programs" {
	program OK $'1..2\nok 1 - a\nok 2 - b'
	program OK $'1..1\nok 1 - c'
	totals
	[ "$status" -eq 0 ]
	[ "$last" = "3 passed, 0 failed" ]
}

@test "what a program says of how much it tried is shown, and no other comment" {
	program OK $'1..1\n# 12 scenarios agree\n# seed 5\nok 1 - a\n# 3 != 5'
	totals
	[ "${lines[-2]}" = "prog: 12 scenarios agree" ]
	[ "$(grep -c '^prog: ' <<<"$output")" -eq 1 ]
}

@test "several groups in one program add up" {
	program OK $'1..1\nok 1 - a\n1..2\nok 1 - b\nok 2 - c'
	totals
	[ "$last" = "3 passed, 0 failed" ]
}

@test "skipped cases and programs are counted apart, in cmocka's form and in the standard's" {
	program OK $'1..3\nok 1 - a\nnot ok 2 # SKIP b\nok 3 c # skip no root'
	program SKIP ''
	totals
	[ "$status" -eq 0 ]
	[ "$last" = "1 passed, 0 failed, 3 skipped" ]
}

@test "why cases were skipped is shown, once for each reason" {
	program OK $'1..4\nok 1 a # skip no root\nok 2 b # skip no root\nok 3 c\nnot ok 4 # SKIP d'
	program SKIP ''
	totals
	[ "$status" -eq 0 ]
	[ "${lines[-4]}" = "SKIPPED 2 of prog: no root" ]
	[ "${lines[-3]}" = "SKIPPED 1 of prog: d" ]
	[ "${lines[-2]}" = "SKIPPED 1 of prog: all of it" ]
}

@test "a failed case fails the run and is named" {
	program FAIL $'1..2\nok 1 - a\nnot ok 2 - pipes_leak\n# 0x1 != 0x2'
	MESON_STATUS=1 totals
	[ "$status" -eq 1 ]
	[ "${lines[-3]}" = "FAILED  prog: pipes_leak" ]
	[ "${lines[-2]}" = "        # 0x1 != 0x2" ]
	[ "$last" = "1 passed, 1 failed" ]
}

@test "a program that stops before its plan is fulfilled is one failure" {
	program OK $'1..3\nok 1 - a'
	totals
	[ "$status" -eq 1 ]
	[ "$last" = "1 passed, 1 failed" ]
}

@test "a program that ends badly after good cases is one failure" {
	program FAIL $'1..1\nok 1 - a'
	MESON_STATUS=1 totals
	[ "$status" -eq 1 ]
	[ "$last" = "1 passed, 1 failed" ]
}

@test "a program without TAP is one case" {
	program OK 'hello'
	program TIMEOUT ''
	MESON_STATUS=1 totals
	[ "$status" -eq 1 ]
	[ "$last" = "1 passed, 1 failed" ]
}

@test "a failure of meson that no program explains is one failure" {
	program OK $'1..1\nok 1 - a'
	MESON_STATUS=1 totals
	[ "$status" -eq 1 ]
	[ "$last" = "1 passed, 1 failed" ]
}

@test "a run of nothing is no success" {
	totals
	[ "$status" -eq 1 ]
	[ "$last" = "0 passed, 0 failed" ]
}

@test "a build that fails is no success, and no test is run" {
	program OK $'1..1\nok 1 - a'
	COMPILE_STATUS=1 totals
	[ "$status" -eq 1 ]
	[ "$last" = "run-tests: the build failed, so nothing was run" ]
}

@test "a runner that leaves no log is no success" {
	NO_LOG=1 totals
	[ "$status" -eq 1 ]
	[ "$last" = "run-tests: nothing was run" ]
}
