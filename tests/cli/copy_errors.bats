#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: bad input gets a clear error, the right exit code, and no damaged data.

load support

@test "an unknown option" {
	copy --fsat a b
	exits 2
	says "usplice: copy: unknown option --fsat"
	copy -x a b
	exits 2
	says "usplice: copy: unknown option -x"
	[[ $stderr != *"did you mean"* ]]
	copy --cuont=5 a b
	exits 2
	[ "$stderr" = "usplice: copy: unknown option --cuont=5: did you mean --count? (usplice copy --help lists them)" ]
	for word in --rate=5 --rate-limit=5; do
		copy $word a b
		exits 2
		says "unknown option $word: did you mean --limit-rate?"
	done
	for word in --frobnicate --rat-e --; do
		copy "$word-" a b
		exits 2
		[[ $stderr != *"did you mean"* ]]
	done
	copy --frobnicate a b
	exits 2
	[ "$stderr" = "usplice: copy: unknown option --frobnicate (usplice copy --help lists them)" ]
}

@test "an option without its argument, and one with an argument too many" {
	copy a b --count
	exits 2
	says "usplice: copy: --count needs an argument"
	copy --sync=yes a b
	exits 2
	says "usplice: copy: --sync=yes takes no argument"
}

@test "too few operands" {
	data a 10
	for operands in "" a; do
		# shellcheck disable=SC2086
		copy $operands
		exits 2
		says "needs a source and at least one sink"
	done
}

@test "sizes that are negative, too large or no sizes" {
	data a 10
	echo old >b
	for option in --skip --count --seek --limit-rate; do
		for size in -1 -5k 9223372036854775808 99999999999999999999999 9000000T "" k 1x 1kk 1.5 0.1k 1,5k " 1" "1 " 0x10 1Mbits; do
			copy "$option" "$size" a b
			exits 2
			says "usplice: copy: $option: '$size' "
		done
	done
	[ "$(cat b)" = old ]
	copy --count -5 a b
	says "is negative"
	copy --count 9000000T a b
	says "is too large"
	copy --limit-rate 0 a b
	exits 2
}

@test "words that an option does not know" {
	data a 10
	for option in --lane=fast --on-slow=wait --on-slow=detach: --on-slow=detach:x --on-slow=detach:-1 --on-slow=detach:0 \
		--on-error=ignore; do
		copy "$option" a b
		exits 2
		says "usplice: copy: ${option%%=*}: '${option#*=}' "
	done
	[ ! -e b ]
}

@test "options that exclude each other" {
	data a 10
	for options in "--append --seek 1" "--append --resume" "--append --atomic" "--resume --seek 1" "--atomic --resume" \
		"--atomic --seek 0" "--no-splice --lane kernel" "--snapshot --require-zero-copy" "--snapshot --lane kernel" \
		"-q --progress" "-q -v"; do
		# shellcheck disable=SC2086
		copy $options a b
		exits 2
		says "exclude"
	done
	copy --resume a b c
	exits 2
	[ ! -e b ]
}

@test "a missing source" {
	echo old >b
	copy x b
	exits 3
	[ "$stderr" = "usplice: source x: No such file or directory" ]
	[ "$(cat b)" = old ]
}

@test "a host and a port are no file to be made" {
	data a 10
	for name in 127.0.0.1:9000 [::1]:80 localhost:9000 example.org:80 127.0.0.1:9000,retry=5; do
		copy a b "$name"
		exits 2
		[ "$stderr" = "usplice: sink $name: there is no such file: did you mean tcp:$name? (for a file, write ./$name)" ]
		[ "$(ls)" = a ]
		copy "$name" b
		exits 2
		says "usplice: source $name: there is no such file: did you mean tcp:$name?"
		[ "$(ls)" = a ]
	done
}

@test "a file may have a name like a host and a port" {
	data a 10
	copy a ./127.0.0.1:9000
	exits 0
	copy 127.0.0.1:9000 b
	exits 0
	cmp a b
	data a 20
	copy a 127.0.0.1:9000
	exits 0
	cmp a 127.0.0.1:9000
	for name in 12:30 127.0.0.1:90000 127.0.0.1:80:90 a.b:c; do
		copy a "$name"
		exits 0
		cmp a "./$name"
	done
}

@test "a directory as source" {
	mkdir d
	copy d b
	exits 3
	[ "$stderr" = "usplice: source d: Is a directory (to copy all that is in it: tar -c d | usplice copy - b)" ]
	[ ! -e b ]
	copy ./-d\ "e" b
	exits 3
	[ "$stderr" = "usplice: source ./-d e: No such file or directory" ]
	mkdir -- "-d e"
	copy "./-d e" b c
	exits 3
	[ "$stderr" = "usplice: source ./-d e: Is a directory (to copy all that is in it: tar -c DIRECTORY | usplice copy - b)" ]
	: >d/in_it
	bash -c "${PATH:+PATH=$(dirname "$USPLICE"):$PATH} && $(copy d b.tar; sed 's/.*: \(tar .*\))$/\1/' <<<"$stderr")"
	[ "$(tar -tf b.tar)" = $'d/\nd/in_it' ]
}

@test "a directory as destination: the error says what to write" {
	data a 10
	mkdir d
	copy ./a d
	exits 4
	[ "$stderr" = "usplice: sink d: Is a directory (to put it there, write d/a)" ]
	copy a d/
	exits 4
	says "write d/a"
}

@test "a destination in a directory that is not there" {
	data a 10
	copy a nowhere/b
	exits 4
	[ "$stderr" = "usplice: sink nowhere/b: No such file or directory" ]
}

@test "an unreadable source" {
	data a 10
	chmod 0 a
	cp "$USPLICE" command
	run --separate-stderr as_nobody ./command copy a -
	exits 3
	[ "$stderr" = "usplice: source a: Permission denied" ]
}

@test "an unwritable destination" {
	data a 10
	chmod 644 a
	echo old >b
	chmod 444 b
	cp "$USPLICE" command
	run --separate-stderr as_nobody ./command copy a b
	exits 4
	[ "$stderr" = "usplice: sink b: Permission denied" ]
	[ "$(cat b)" = old ]
}

@test "a source that fails while it is read: the error names the offset" {
	copy /proc/self/mem b
	exits 3
	[ "$stderr" = "usplice: source /proc/self/mem: at byte 0: Input/output error" ]
	copy --skip 5 /proc/self/mem b
	exits 3
	[ "$stderr" = "usplice: source /proc/self/mem: at byte 5: Input/output error" ]
}

@test "an unresolvable host" {
	data a 10
	copy a tcp:nohost.invalid:9
	exits 4
	says "usplice: sink tcp:nohost.invalid:9: "
	says "resolve"
	copy tcp:nohost.invalid:9 b
	exits 3
	[ ! -e b ]
}

@test "a refused connection" {
	data a 10
	port=$(free_port)
	copy a "tcp:127.0.0.1:$port"
	exits 4
	says "usplice: sink tcp:127.0.0.1:$port: Connection refused"
	copy "tcp:127.0.0.1:$port" b
	exits 3
	says "usplice: source tcp:127.0.0.1:$port: Connection refused"
}

@test "specs that cannot be read" {
	data a 10
	for spec in "" weird:x tcp:nowhere tcp:[::1:5 fd:x fd: mem:x,max=1 null:x; do
		copy a "$spec"
		exits 2
		says "usplice: sink $spec: "
	done
}

@test "a full disk: the error names the offset" {
	small_disk 256k
	data a 1000000
	for lane in auto kernel user; do
		copy --lane "$lane" a small/b
		exits 4
		[[ $stderr =~ ^"usplice: sink small/b: at byte "[0-9]+": No space left on device"$ ]]
		rm small/b
	done
}

@test "a full device" {
	data a 100000
	for lane in auto user; do
		copy --lane "$lane" a /dev/full
		exits 4
		[ "$stderr" = "usplice: sink /dev/full: at byte 0: No space left on device" ]
	done
}

@test "the offset counts from where the destination began" {
	small_disk 64k
	data a 1000000
	copy --seek 32k a small/b
	exits 4
	[[ $stderr =~ "at byte "([0-9]+)": No space" ]]
	[ "${BASH_REMATCH[1]}" -gt 32768 ]
	[ "${BASH_REMATCH[1]}" -eq "$(stat -c %s small/b)" ]
}

@test "standard output is closed" {
	data a 10
	run --separate-stderr bash -c '"$USPLICE" copy a - >&-'
	exits 4
	[ "$stderr" = "usplice: sink -: standard output is closed" ]
}

@test "standard input is closed" {
	run --separate-stderr bash -c '"$USPLICE" copy - b <&-'
	exits 3
	[ "$stderr" = "usplice: source -: standard input is closed" ]
	[ ! -e b ]
}

@test "with standard descriptors closed no file takes their place" {
	data a 1000
	bash -c '"$USPLICE" copy a b >&- <&- 2>&-'
	same a b
	# An error message must not land in the destination.
	run bash -c '"$USPLICE" copy a b /nowhere/x 2>&-'
	[ "$status" -eq 4 ]
	same a b
}

# with_stdin KIND COMMAND...: run it with a socket, a listening socket, an eventfd or an O_PATH descriptor as standard input.
with_stdin() {
	run --separate-stderr timeout 10 python3 -c '
import os, socket, subprocess, sys
ours, theirs = socket.socketpair()
listener = socket.create_server(("127.0.0.1", 0))
kinds = {"socket": theirs.fileno(), "listener": listener.fileno(), "event": os.eventfd(0) if hasattr(os, "eventfd") else -1,
         "path": os.open("a", os.O_PATH)}
if kinds[sys.argv[1]] < 0:
    sys.exit(77)
ours.sendall(b"some")
ours.shutdown(socket.SHUT_WR)
sys.exit(subprocess.run(sys.argv[2:], stdin=kinds[sys.argv[1]]).returncode)' "$@"
}

@test "standard input that is a socket: the advice is right" {
	data a 10
	for name in /dev/stdin /dev/fd/0 /proc/self/fd/0; do
		with_stdin socket "$USPLICE" copy "$name" b
		exits 3
		says "source $name: it is a socket that is open already; write - or fd:N in place of the path"
		with_stdin socket "$USPLICE" copy a "$name"
		exits 4
		says "write - or fd:N in place of the path"
	done
	for spec in - fd:0; do
		with_stdin socket "$USPLICE" copy "$spec" b
		exits 0
		[ "$(cat b)" = some ]
	done
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("here")'
	for spec in here file:here; do
		copy "$spec" b
		exits 3
		says "it is a socket; to connect to it, write unix: and its path"
	done
}

@test "a standard descriptor that is open for the other direction is not called closed" {
	data a 10
	run --separate-stderr bash -c '"$USPLICE" copy - b 0>written'
	exits 3
	[ "$stderr" = "usplice: source -: standard input is not open for reading" ]
	run --separate-stderr bash -c '"$USPLICE" copy a - 1<a'
	exits 4
	[ "$stderr" = "usplice: sink -: standard output is not open for writing" ]
	with_stdin path "$USPLICE" copy - b
	exits 3
	[ "$stderr" = "usplice: source -: standard input is not open for reading" ]
	copy fd:7 b
	exits 3
	[ "$stderr" = "usplice: source fd:7: this descriptor is not open" ]
	copy fd:7 b 7>written
	exits 3
	[ "$stderr" = "usplice: source fd:7: this descriptor is not open for that direction" ]
}

@test "a descriptor that no bytes flow through" {
	data a 10
	for name in - fd:0; do
		with_stdin listener "$USPLICE" copy "$name" b
		exits 2
		says "source $name: no bytes flow through it"
	done
	with_stdin event "$USPLICE" copy /dev/stdin b
	[ "$status" -ne 77 ] || return 0
	exits 2
	says "source /dev/stdin: no bytes flow through it"
}

@test "a directory is advised about only where a name in it helps" {
	data a 10
	mkdir d
	run --separate-stderr bash -c '"$USPLICE" copy a - 1<d'
	exits 4
	[ "$stderr" = "usplice: sink -: Is a directory" ]
	run --separate-stderr bash -c '"$USPLICE" copy - b <d'
	exits 3
	[ "$stderr" = "usplice: source -: Is a directory" ]
	copy a fd:7 7<d
	exits 4
	[ "$stderr" = "usplice: sink fd:7: Is a directory" ]
	for source in mem:x fd:7 -; do
		copy "$source" d 7<a <a
		exits 4
		[ "$stderr" = "usplice: sink d: Is a directory (to put it there, write d/NAME)" ]
	done
	copy a,direct d,direct
	exits 4
	[ "$stderr" = "usplice: sink d,direct: Is a directory (to put it there, write d/a)" ]
	copy file:a file:d
	exits 4
	says "write d/a)"
}

@test "a reader that has gone: the exit code tells, and -q keeps quiet" {
	mkfifo f
	for option in "" -q; do
		: >said
		# shellcheck disable=SC2086
		run bash -c "set -o pipefail; { \"\$USPLICE\" copy $option zero: - 2>said; echo \$? >code; } | head -c 10 | wc -c"
		[ "$output" -eq 10 ]
		[ "$(cat code)" -eq 4 ]
		if [ "$option" = -q ]; then
			[ ! -s said ]
		else
			grep -qE '^usplice: sink -: at byte [0-9]+: Broken pipe$' said
		fi
	done
}

@test "--seek on what has no positions" {
	data a 10
	run --separate-stderr bash -c '"$USPLICE" copy --seek 5 a - | cat; exit ${PIPESTATUS[0]}'
	exits 2
	says "usplice: sink -: has no positions, so --seek is not possible"
}

@test "--resume refuses a destination that differs, and names the place" {
	data a 500000
	head -c 300000 a >b
	printf 'xyz' | dd of=b bs=1 seek=270000 conv=notrunc status=none
	cp b before
	copy --resume a b
	exits 4
	[[ $stderr =~ ^"usplice: sink b: at byte 27000"[012]": differs from the source" ]]
	same b before
}

@test "--resume refuses a destination that is longer" {
	data a 1000
	cp a b
	echo more >>b
	cp b before
	copy --resume a b
	exits 4
	says "usplice: sink b: has more than the 1000 bytes that would be there"
	same b before
}

@test "--resume refuses what is no regular file" {
	data a 1000
	cat a | {
		copy --resume - b
		exits 2
	}
	copy --resume a null:
	exits 2
	says "not a regular file"
}

@test "--lane kernel refuses what the kernel cannot carry, and nothing is changed" {
	echo old >b
	copy --lane kernel mem:hello b
	exits 2
	says "--lane kernel"
	[ "$(cat b)" = old ]
	copy --lane kernel mem:hello c
	exits 2
	[ ! -e c ]
}

@test "control characters in a name do not reach the terminal" {
	copy $'x\033[31m\ny' b
	exits 3
	[ "$stderr" = "usplice: source x?[31m?y: No such file or directory" ]
}
