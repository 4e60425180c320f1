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
	[ "$stderr" = "usplice: unknown command 'cpoy': did you mean copy? (usplice help lists them)" ]
	run --separate-stderr "$USPLICE" cpy a b
	says "did you mean copy?"
	run --separate-stderr "$USPLICE" frobnicate
	exits 2
	[ "$stderr" = "usplice: unknown command 'frobnicate' (usplice help lists them)" ]
}

@test "help lists every command on standard output" {
	for form in help --help -h; do
		run --separate-stderr "$USPLICE" "$form"
		exits 0
		[ -z "$stderr" ]
		for command in copy cat relay probe explain list help version; do
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
	for form in version --version -V "copy --version" "copy -V" "relay --version"; do
		# shellcheck disable=SC2086
		run "$USPLICE" $form
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

@test "cat has the options of copy but for --both, and --to, and is explained by itself" {
	options() {
		"$USPLICE" "$1" --help | grep -oE -- '^ +(-[a-z], )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort
	}
	options copy >of_copy
	options cat >of_cat
	{ grep -vxE -- '--both|--grace' of_copy; echo --to; } | sort | diff - of_cat
	[[ $("$USPLICE" cat --help) == "usage: usplice cat [OPTIONS] SOURCE..."* ]]
	grep -qx -- '\*--to\* _SINK_' "$USPLICE_SOURCE_DIR"/man/usplice-cat.1.scd
}

# In each shell: complete WORD... prints what the last word may become, in one line.
completes_as_it_should() {
	touch some_file
	[ "$(complete usplice co)" = copy ]
	[[ "$(complete usplice '')" == *copy*explain*probe*relay* ]]
	[ "$(complete usplice help re)" = relay ]
	[ "$(complete usplice copy --requ)" = --require-zero-copy ]
	[ "$(complete usplice relay --con)" = "--connect-timeout --connections-max --connections-per-address" ]
	[ "$(complete usplice copy --lane k)" = kernel ]
	[ "$(complete usplice copy --lane '')" = "auto kernel user" ]
	[ "$(complete usplice copy --on-error c)" = continue ]
	[ "$(complete usplice relay --balance l)" = leastconn ]
	[ "$(complete usplice copy --report some)" = some_file ]
	[ -z "$(complete usplice relay --idle-timeout some)" ]
	[ -z "$(complete usplice relay -w some)" ]
	[ "$(complete usplice copy some)" = some_file ]
	[ "$(complete usplice copy --sync some)" = some_file ]
	[ "$(complete usplice copy some_file tcp)" = "tcp-listen: tcp:" ]
	[ "$(complete usplice copy some_file unix-)" = unix-listen: ]
	[ "$(complete usplice copy --digest crc)" = crc32c ]
	[ "$(complete usplice copy --verify crc)" = crc32c: ]
	[ "$(complete usplice copy --write-blocks some)" = some_file ]
	[ "$(complete usplice copy --write-blocks crc)" = crc32c: ]
	[ "$(complete usplice list form)" = formats ]
}

@test "bash completes commands, options, their values and endpoints" {
	complete() {
		bash -s "$@" <<-'END'
			source "$USPLICE_BUILD_DIR/completions/usplice.bash"
			usplice() { "$USPLICE" "$@"; }
			COMP_WORDS=("$@")
			COMP_CWORD=$(($# - 1))
			_usplice
			printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort | paste -sd ' '
		END
	}
	completes_as_it_should
	# bash takes words apart at = and :
	[ "$(complete usplice copy --lane =)" = "auto kernel user" ]
	[ "$(complete usplice copy --lane = u)" = user ]
	[ "$(complete usplice copy --report = some)" = some_file ]
	[ "$(complete usplice copy cached : some)" = some_file ]
	[ -z "$(complete usplice copy fd : some)" ]
}

@test "zsh completes commands, options, their values and endpoints" {
	command -v zsh >/dev/null || skip "zsh is not here"
	complete() {
		zsh -f -s "$@" <<-'END' | LC_ALL=C sort | paste -sd ' '
			usplice() { $USPLICE "$@" }
			begins() { [[ $1 == ${(b)PREFIX}* ]] && print -r -- $1 }
			compadd() { for word in "${@[${@[(i)--]}+1,-1]}"; do begins $word; done }
			compset() { PREFIX=${PREFIX#${~2}} }
			_files() { for name in *(N); do begins $name; done }
			words=("$@") CURRENT=$# PREFIX=$words[$#]
			source $USPLICE_BUILD_DIR/completions/_usplice
		END
	}
	completes_as_it_should
	[ "$(complete usplice copy --lane=)" = "auto kernel user" ]
	[ "$(complete usplice copy --lane=u)" = user ]
	[ "$(complete usplice copy --report=some)" = some_file ]
	[ "$(complete usplice copy cached:some)" = some_file ]
}

@test "fish completes commands, options, their values and endpoints" {
	command -v fish >/dev/null || skip "fish is not here"
	mkdir bin
	ln -s "$USPLICE" bin/usplice
	complete() {
		local line
		printf -v line '%q ' "${@:1:$#-1}"
		HOME=$PWD PATH=$PWD/bin:$PATH fish --no-config -c 'source $USPLICE_BUILD_DIR/completions/usplice.fish; complete -C $argv[1]' \
			-- "$line${*: -1}" | cut -f 1 | LC_ALL=C sort | paste -sd ' '
	}
	completes_as_it_should
	[ "$(complete usplice copy --lane=)" = "--lane=auto --lane=kernel --lane=user" ]
	[ "$(complete usplice copy --lane=u)" = --lane=user ]
	[ "$(complete usplice copy --report=some)" = --report=some_file ]
	[ "$(complete usplice copy cached:some)" = cached:some_file ]
}

@test "the completions know only options that there are" {
	for option in $(grep -o '^--[a-z-]*' "$USPLICE_SOURCE_DIR"/completions/values); do
		{ "$USPLICE" copy --help; "$USPLICE" relay --help; } | grep -q -- " $option "
	done
}
