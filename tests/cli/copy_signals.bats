#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: signals.

load support

@test "SIGINT, SIGTERM and SIGHUP stop it, and it says what every destination got" {
	for pair in INT:130 TERM:143 HUP:129; do
		rm -f b c report
		start --limit-rate 1M --report report zero: b c
		eventually has_bytes b 1
		eventually has_bytes c 1
		kill "-${pair%%:*}" "$job"
		finish "${pair##*:}"
		grep -qE "^usplice: stopped by signal $((${pair##*:} - 128)) " job.err
		for sink in b c; do
			got=$(stat -c %s $sink)
			[ "$got" -gt 0 ]
			grep -qx "usplice: sink $sink: got $got bytes" job.err
			[ "$(jq --arg spec $sink '.sinks[] | select(.spec == $spec) | .bytes' report)" -eq "$got" ]
		done
		jq -e '[.sinks[].error] | all(. == "stopped by a signal")' report
	done
}

@test "SIGINT stops it while the source gives nothing" {
	mkfifo f
	exec 9<>f
	start f b
	eventually test -e b
	kill -INT "$job"
	finish 130
	exec 9>&-
}

@test "SIGINT stops it while a destination takes nothing" {
	mkfifo f
	exec 9<>f
	start zero: f
	eventually is_full f
	kill -INT "$job"
	finish 130
	got=$(sed -n 's/^usplice: sink f: got \([0-9]*\) bytes$/\1/p' job.err)
	[ "$(head -c "$got" <&9 | wc -c)" -eq "$got" ]
	exec 9>&-
}

# is_full FIFO: it takes no byte more.
is_full() {
	! dd if=/dev/zero of="$1" bs=1 count=1 oflag=nonblock status=none 2>/dev/null
}

@test "SIGINT stops it while it waits for a connection, a FIFO's other side, and a retry" {
	mkfifo f
	for spec in "tcp-listen:127.0.0.1:0" f "unix:nobody.sock,retry=100"; do
		start "$spec" b
		eventually asks "$job" "opening $spec"
		kill -INT "$job"
		finish 130
		grep -q "^usplice: stopped by signal 2 (Interrupt) before anything was copied$" job.err
		[ ! -e b ]
	done
}

# asks PROCESS TEXT: does SIGUSR1 make it say that?
asks() {
	kill -USR1 "$1"
	grep -qF "usplice: $2" job.err
}

@test "SIGINT stops it while --skip drops a stream" {
	mkfifo f
	exec 9<>f
	start --skip 1G f b
	echo some >&9
	eventually asks "$job" "5 bytes"
	kill -INT "$job"
	finish 130
	exec 9>&-
}

@test "SIGUSR1 shows a status line and does not disturb" {
	hold
	start --count 400k held b
	feed 100k
	eventually asks "$job" "102400 bytes (100.0 KiB), "
	feed 300k
	finish 0
	head -c 400k /dev/zero | same - b
	grep -qE '^usplice: 102400 bytes \(100.0 KiB\), [0-9.]+ [KM]?i?B/s, [0-9:]+, 25%  ETA [-0-9:]+$' job.err
}

@test "a signal that is ignored by whoever starts it stays ignored" {
	hold
	(
		trap '' INT
		"$USPLICE" copy --count 300k held b 3>&- &
		echo $! >pid
		wait $!
	) &
	feed 150k
	eventually has_bytes b 153600
	kill -INT "$(cat pid)"
	feed 150k
	wait $!
	head -c 300k /dev/zero | same - b
}

@test "two signals at once leave no file beside" {
	echo old >b
	start --atomic --limit-rate 100k zero: b
	eventually is_moving
	kill -STOP "$job"
	kill -INT "$job"
	kill -TERM "$job"
	kill -CONT "$job"
	code=0
	wait "$job" || code=$?
	[ "$code" -eq 130 ] || [ "$code" -eq 143 ]
	[ "$(cat b)" = old ]
	[ "$(ls -A)" = $'b\njob.err\njob.out' ]
}

@test "whatever would end it without a word stops it, and leaves no file beside" {
	for pair in QUIT:131 ALRM:142 VTALRM:154 PROF:155 XCPU:152; do
		echo old >b
		start --atomic --limit-rate 1M --report report zero: b
		eventually is_moving
		kill "-${pair%%:*}" "$job"
		finish "${pair##*:}"
		grep -qE "^usplice: stopped by signal $((${pair##*:} - 128)) " job.err
		jq -e '.sinks[0].error == "stopped by a signal"' report
		[ "$(cat b)" = old ]
		[ "$(ls -A)" = $'b\njob.err\njob.out\nreport' ]
	done
}

@test "the limit of a file's size is an error of the destination that names the place, on every lane" {
	data a 300000
	for arguments in "a b" "--lane user a b" "--lane kernel a b" "--lane kernel - b" "--append a b" "a b c"; do
		rm -f b c
		# shellcheck disable=SC2086
		run --separate-stderr bash -c 'cat a 2>/dev/null | (ulimit -f 64; exec "$USPLICE" copy "$@")' - $arguments
		echo "--- $arguments: $stderr"
		exits 4
		[[ $stderr =~ "usplice: sink "[bc]": at byte "([0-9]+)": File too large" ]]
		[ "${BASH_REMATCH[1]}" -le 65536 ]
		[ "$(stat -c %s b)" -le 65536 ]
		[ ! -s b ] || head -c "$(stat -c %s b)" a | same - b
	done
}

@test "the limit of a file's size leaves no file beside the destination" {
	data a 300000
	echo old >b
	run --separate-stderr bash -c 'ulimit -f 64; exec "$USPLICE" copy --atomic a b'
	exits 4
	[ "$(cat b)" = old ]
	[ "$(ls -A)" = $'a\nb' ]
}

@test "a report beyond the limit of a file's size is an error, and what is no file has no limit" {
	data a 3000
	run bash -c 'set -o pipefail; (ulimit -f 0; exec "$USPLICE" copy --report report a /dev/null) 2>&1 | cat'
	[ "$status" -eq 1 ]
	[ "$output" = "usplice: report report: File too large" ]
	cat a | bash -c 'ulimit -f 0; exec "$USPLICE" copy - -' | same - a
}

@test "a broken pipe at standard error costs no byte and no file beside" {
	data a 300000
	mkfifo broken
	exec 9<>broken 8>broken 9>&-
	"$USPLICE" copy -v --atomic a b 2>&8
	same a b
	status=0
	"$USPLICE" copy --json --atomic a c 2>&8 || status=$?
	[ "$status" -eq 1 ]
	same a c
	status=0
	"$USPLICE" copy nothing c 2>&8 || status=$?
	[ "$status" -eq 3 ]
	exec 8>&-
	[ "$(ls -A)" = $'a\nb\nbroken\nc' ]
}
