#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The command itself: finding commands, help, version, completion.

load support

@test "without arguments it shows the usage and exits with 2" {
	run --separate-stderr "$USPLICE"
	exits 2
	says "usage: usplice COMMAND"
	[ -z "$output" ]
}

@test "an unknown command is named" {
	run --separate-stderr "$USPLICE" cpoy a b
	exits 2
	says "usplice: unknown command 'cpoy'"
}

@test "help lists every command on standard output" {
	for form in help --help -h; do
		run --separate-stderr "$USPLICE" "$form"
		exits 0
		[ -z "$stderr" ]
		for command in copy cat relay help version; do
			[[ $output == *"  $command "* ]]
		done
	done
}

@test "help copy and copy --help are the same" {
	run "$USPLICE" help copy
	[ "$status" -eq 0 ]
	from_help=$output
	run "$USPLICE" copy --help
	[ "$status" -eq 0 ]
	[ "$output" = "$from_help" ]
}

@test "help for an unknown command is an error" {
	run --separate-stderr "$USPLICE" help cpoy
	exits 2
	says "unknown command 'cpoy'"
}

@test "the version has three numbers" {
	for form in version --version; do
		run "$USPLICE" "$form"
		[ "$status" -eq 0 ]
		[[ $output =~ ^usplice\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
	done
}

@test "help into a full device fails" {
	run --separate-stderr bash -c '"$USPLICE" help > /dev/full'
	exits 1
	says "standard output: No space left on device"
}

@test "help with standard output closed fails" {
	run --separate-stderr bash -c '"$USPLICE" version >&-'
	exits 1
	says "standard output: Bad file descriptor"
}

@test "every option of copy is in the manual, and every option in the manual exists" {
	"$USPLICE" copy --help | grep -oE -- '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort >in_help
	sed -n '/^# OPTIONS/,/^# THE REPORT/p' "$USPLICE_SOURCE_DIR/man/usplice-copy.1.scd" |
		grep -E '^\*-' | grep -oE -- '--[a-z0-9-]+' | sort >in_manual
	[ -s in_help ]
	diff in_help in_manual
}

@test "cat has the options of copy and --to, and is explained by itself" {
	options() {
		"$USPLICE" "$1" --help | grep -oE -- '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort
	}
	options copy >of_copy
	options cat >of_cat
	{ cat of_copy; echo --to; } | sort | diff - of_cat
	[[ $("$USPLICE" cat --help) == "usage: usplice cat [OPTIONS] SOURCE..."* ]]
	grep -qx -- '\*--to\* _SINK_' "$USPLICE_SOURCE_DIR"/man/usplice-cat.1.scd
}

@test "bash completes commands, options and their values" {
	cat >completing.bash <<-'END'
		source "$USPLICE_SOURCE_DIR/completions/usplice.bash"
		complete_words() {
			COMP_WORDS=("$@")
			COMP_CWORD=$(($# - 1))
			COMPREPLY=()
			_usplice
			echo "${COMPREPLY[*]}"
		}
		complete_words "$USPLICE" co
		complete_words "$USPLICE" copy --requ
		complete_words "$USPLICE" copy --lane k
		complete_words "$USPLICE" copy --on-error c
		touch some_file
		complete_words "$USPLICE" copy some
		complete_words "$USPLICE" re
		complete_words "$USPLICE" relay --con
		complete_words "$USPLICE" relay --balance l
		complete_words "$USPLICE" relay --idle-timeout some
	END
	run bash completing.bash
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = copy ]
	[ "${lines[1]}" = --require-zero-copy ]
	[ "${lines[2]}" = kernel ]
	[ "${lines[3]}" = continue ]
	[ "${lines[4]}" = some_file ]
	[ "${lines[5]}" = relay ]
	[ "${lines[6]}" = "--connections-max --connect-timeout --connections-per-address" ]
	[ "${lines[7]}" = leastconn ]
	[ -z "${lines[8]}" ]
}
