#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy where descriptors and threads are short: it goes on with less, or fails with the old destinations as they were.

load support

# with_limit LIMIT ARGUMENTS: as copy, below a limit of ulimit, such as "-n 8", with the three standard descriptors only.
with_limit() {
	local limit=$1
	shift
	# shellcheck disable=SC2016
	run --separate-stderr bash -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit $1; shift; exec "$@"' - "$limit" "$USPLICE" copy "$@"
}

# copied_or_untouched FILE...: the last run copied a to each, or told why not, and all have what they had before.
copied_or_untouched() {
	local file
	if [ "$status" -eq 0 ]; then
		for file; do same a "$file"; done
		return
	fi
	says "Too many open files"
	for file; do [ "$(cat "$file")" = old ]; done
}

@test "however few descriptors there are, a file is copied, or the old destination is untouched" {
	data a 3000001
	for lane in auto user; do
		for ((n = 4; n < 12; n++)); do
			echo old >b
			with_limit "-n $n" --lane $lane a b
			copied_or_untouched b
		done
		exits 0
		echo old >b
		with_limit "-n 5" --lane $lane a b
		exits 0 # standard input, output and error, and the two files
	done
}

@test "with few descriptors a stream is copied in memory, and the report says so" {
	data a 3000001
	for ((n = 4; n < 12; n++)); do
		echo old >b
		with_limit "-n $n" --json - b < <(cat a)
		copied_or_untouched b
	done
	exits 0
	echo old >b
	with_limit "-n 5" --json - b < <(cat a)
	exits 0
	same a b
	jq -e '.copied == 3000001' <<<"$stderr"
}

@test "with few descriptors a fan-out reaches every destination, or leaves the old ones alone" {
	data a 3000001
	for ((n = 4; n < 20; n++)); do
		for file in b c d; do echo old >$file; done
		with_limit "-n $n" - b c d < <(cat a)
		copied_or_untouched b c d
	done
	exits 0
	with_limit "-n 7" - b c d < <(cat a)
	exits 0
}

@test "a kernel lane that was asked for needs a kernel pipe, and the old destination is untouched without" {
	data a 3000001
	echo old >b
	with_limit "-n 6" --lane kernel - b < <(cat a)
	[ "$status" -ne 0 ]
	says "Too many open files"
	[ "$(cat b)" = old ]
}

# without_threads ARGUMENTS: as copy, for a user who may not have one more process or thread.
without_threads() {
	mkdir -p -m 777 out
	# shellcheck disable=SC2016
	searches_no_leaks # which takes a thread
	run --separate-stderr as_nobody bash -c 'ulimit -u 1; exec "$@"' - "$USPLICE" copy "$@"
}

@test "a user who may have no more threads copies to one destination and to many" {
	[ "$(id -u)" -eq 0 ] || skip "only root can be another user, whose limit of processes this is"
	data a 3000001
	chmod 644 a
	for lane in auto user; do
		without_threads --lane $lane a out/b
		exits 0
		[ -z "$stderr" ]
		same a out/b
		without_threads --lane $lane a out/b out/c out/d
		exits 0
		for file in b c d; do same a out/$file; done
		without_threads --lane $lane - out/b out/c null: < <(cat a)
		exits 0
		for file in b c; do same a out/$file; done
		rm -f out/*
	done
}

@test "where there is no thread for it, no progress is shown, and that is said" {
	[ "$(id -u)" -eq 0 ] || skip "only root can be another user, whose limit of processes this is"
	data a 3001
	chmod 644 a
	without_threads --progress a out/b
	exits 0
	says "no progress is shown, because no thread can be had"
	same a out/b
}

@test "a buffer needs a thread, and where there is none that is said, and nothing is changed" {
	[ "$(id -u)" -eq 0 ] || skip "only root can be another user, whose limit of processes this is"
	without_threads -q --buffer 1M mem:hello out/b
	exits 1
	says "usplice: --buffer 1M: there is no thread for the buffer: the user may have no more"
	[ ! -e out/b ]
}

# start_without_threads ARGUMENTS: the same in the background, with the signals of a terminal's.
start_without_threads() {
	mkdir -p -m 777 out counts
	# shellcheck disable=SC2016
	searches_no_leaks
	GCOV_PREFIX=counts env --default-signal=INT,TERM,HUP,USR1 setpriv --reuid 65534 --regid 65534 --clear-groups \
		bash -c 'ulimit -u 1; exec "$@"' - "$USPLICE" copy "$@" 2>job.err 3>&- &
	job=$!
}

@test "without a thread that takes the signals they stop it all the same" {
	[ "$(id -u)" -eq 0 ] || skip "only root can be another user, whose limit of processes this is"
	for pair in INT:130 TERM:143 HUP:129; do
		rm -f out/b
		start_without_threads --limit-rate 1M zero: out/b
		eventually has_bytes out/b 1
		kill -USR1 "$job" # which does no harm
		kill "-${pair%%:*}" "$job"
		finish "${pair##*:}"
		grep -qE "^usplice: stopped by signal $((${pair##*:} - 128)) " job.err
		got=$(stat -c %s out/b)
		grep -qx "usplice: sink out/b: got $got bytes" job.err
	done
}

@test "without a thread that takes the signals they end a wait for the other side of a FIFO" {
	[ "$(id -u)" -eq 0 ] || skip "only root can be another user, whose limit of processes this is"
	mkfifo f
	chmod 644 f
	start_without_threads f out/b
	eventually is_opening "$job"
	kill -TERM "$job"
	finish 143
	grep -q "before anything was copied" job.err
	never test -e out/b
}

# is_opening JOB: it sleeps, and has nothing to do before the FIFO is open.
is_opening() {
	grep -q "(usplice) S" "/proc/$1/stat"
}
