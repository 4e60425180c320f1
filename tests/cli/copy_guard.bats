#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy does not overwrite several old files without a word.

load support

# on_terminal ANSWER ARGUMENTS: run the command on a terminal of its own, where somebody types ANSWER. The screen is in ./screen.
on_terminal() {
	local answer=$1
	shift
	timeout "$patience" python3 "$BATS_TEST_DIRNAME/answer.py" "$answer" "$USPLICE" "$@" >screen
}

# old NAMES: files that have some bytes, and are as they were when they still have them.
old() {
	for name in "$@"; do
		echo "the old $name" >"$name"
	done
}

is_old() {
	for name in "$@"; do
		[ "$(cat "$name")" = "the old $name" ]
	done
}

@test "without a terminal several old files are overwritten, and it is said" {
	data a 1000
	old b c
	copy a b c
	exits 0
	[ "$stderr" = "usplice: only a is read; b and c will be overwritten (--no-clobber refuses, --overwrite is silent)" ]
	same a b
	same a c
	old b c d e f
	copy a b new c d e f
	exits 0
	says "only a is read; b, c, d and 2 more will be overwritten"
	for name in b c d e f new; do
		same a "$name"
	done
}

@test "it is said of --atomic, too" {
	data a 1000
	old b c
	copy --atomic a b c
	exits 0
	says "b and c will be overwritten"
	same a b
}

@test "one old file, empty files, and files that keep their bytes are nothing to say" {
	data a 1000
	old b
	: >empty
	: >empty2
	copy a b empty empty2 new null:
	exits 0
	[ -z "$stderr" ]
	old c d
	copy --append a c d
	[ -z "$stderr" ]
	copy --seek 5 a c d
	[ -z "$stderr" ]
	copy a c,append d,append
	[ -z "$stderr" ]
}

@test "--overwrite and -q say nothing, and --json gives the report alone" {
	data a 1000
	old b c
	for option in --overwrite -q; do
		copy "$option" a b c
		exits 0
		[ -z "$stderr" ]
		same a b
	done
	copy --json a b c
	exits 0
	echo "$stderr" | jq -e .bytes
	same a c
}

@test "nothing is said among the data" {
	data a 1000
	old b c
	"$USPLICE" copy a b c - >d 2>&1
	same a d
	same a b
}

@test "--no-clobber refuses one old file, also an empty one, and changes nothing" {
	data a 1000
	old b
	: >empty
	ln -s b link
	for sink in b empty link ./b; do
		copy --no-clobber a "$sink" new
		exits 2
		says "usplice: sink $sink: exists, and --no-clobber keeps it"
		copy --no-clobber --atomic a new "$sink"
		exits 2
		is_old b
		[ ! -s empty ]
		[ ! -e new ]
	done
	copy --no-clobber a new null: -
	exits 0
	same a new
}

@test "--no-clobber makes new files with and without --atomic" {
	data a 1000
	copy --no-clobber a b c
	exits 0
	same a b
	copy --no-clobber --atomic a d e
	exits 0
	same a e
	[ "$(ls -A | wc -l)" -eq 5 ]
}

@test "--no-clobber keeps a file that is made in the last moment" {
	tracing
	data a 1000
	# The kernel decides: the file is made, and not opened.
	strace -f -e trace=openat,open -o calls "$USPLICE" copy --no-clobber a new
	grep -qE '"new", .*O_CREAT\|O_EXCL' calls
	hold
	"$USPLICE" copy --no-clobber --atomic held late 2>said 3>&- 9>&- &
	job=$!
	feed 100000
	old late
	exec 9>&-
	finish 4 "$job" said
	grep -q "sink late: at byte 100000: File exists" said
	is_old late
	[ "$(ls -A | grep -c usplice-)" -eq 0 ]
}

@test "a link that leads nowhere is no place for a new file" {
	data a 1000
	ln -s nowhere link
	copy --no-clobber a link
	exits 4
	[ ! -e nowhere ]
}

@test "--no-clobber excludes what is for old files" {
	data a 1000
	for option in --append --resume "--seek 1"; do
		# shellcheck disable=SC2086
		copy --no-clobber $option a b
		exits 2
		says "--no-clobber is for new files"
	done
	copy --no-clobber --overwrite a b
	exits 2
	says "exclude each other"
}

@test "on a terminal the command asks, and only yes overwrites" {
	data a 1000
	old b c
	for answer in n "" no x; do
		run on_terminal "$answer" copy a b c new
		[ "$status" -eq 2 ]
		grep -qF "usplice: overwrite b and c? [y/N] " screen
		grep -qF "copy: nothing was written" screen
		is_old b c
		[ ! -e new ]
	done
	on_terminal y copy a b c new
	same a b
	same a c
	same a new
}

@test "on a terminal --overwrite and one old file are no question" {
	data a 1000
	old b c
	on_terminal n copy --overwrite a b c
	never grep -q "y/N" screen
	same a c
	old b
	on_terminal n copy a b
	same a b
}

@test "a signal ends the question, and nothing is changed" {
	data a 1000
	old b c
	run on_terminal interrupt copy a b c
	[ "$status" -eq 130 ]
	is_old b c
}

@test "names in the question command no terminal" {
	data a 1000
	echo x >$'b\e[2J'
	echo x >c
	run on_terminal n copy a $'b\e[2J' c
	grep -qF 'overwrite b?[2J and c? [y/N]' screen
}
