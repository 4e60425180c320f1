#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice, where what fails last fails: close, fsync, pages that are written back late. It is told, and the exit code says so.

load support

errors=(EDQUOT ENOSPC EIO)

text_of() {
	case $1 in
	EDQUOT) echo "Disk quota exceeded" ;;
	ENOSPC) echo "No space left on device" ;;
	EIO) echo "Input/output error" ;;
	esac
}

# failed CODE SINK TEXT: the last copy failed in that sink, behind all its bytes; ./report says the same.
failed() {
	exits "$1"
	says "usplice: sink $2: at byte 150000: $3"
	[ "$(jq -r --arg sink "$2" '.sinks[] | select(.spec == $sink) | [.bytes, .error] | @csv' report)" = "150000,\"$3\"" ]
}

@test "an error of close is the sink's, on each lane and however it is opened" {
	data a 150000
	for error in "${errors[@]}"; do
		faulty_disk flush="$error"
		for option in --lane=auto --lane=user --lane=kernel --append --resume --seek=0; do
			rm -f real/b
			copy "$option" --report report a faulty/b
			failed 4 faulty/b "$(text_of "$error")"
			same a real/b
		done
	done
}

@test "an error of close is told for standard output and for a descriptor that is inherited" {
	data a 150000
	for error in "${errors[@]}"; do
		faulty_disk flush="$error"
		run --separate-stderr sh -c '"$USPLICE" copy --report report a - >faulty/b'
		failed 4 - "$(text_of "$error")"
		run --separate-stderr sh -c '"$USPLICE" copy --report report a fd:5 5>faulty/b'
		failed 4 fd:5 "$(text_of "$error")"
		run --separate-stderr sh -c '"$USPLICE" copy --report report - fd:1 <a >faulty/b'
		failed 4 fd:1 "$(text_of "$error")"
	done
}

# leaves_the_old_file FAULT: with --atomic, where that fails at the end, and the exit code and the report say so.
leaves_the_old_file() {
	for error in "${errors[@]}"; do
		faulty_disk "$1=$error"
		echo old >real/b
		copy --atomic --report report a faulty/b
		failed 4 faulty/b "$(text_of "$error")"
		[ "$(cat real/b)" = old ]
		[ "$(ls -A real)" = b ]
	done
}

@test "with --atomic an error of close leaves the old file and no other one" {
	data a 150000
	leaves_the_old_file flush
}

@test "with --atomic an error of fsync leaves the old file and no other one" {
	data a 150000
	leaves_the_old_file fsync
	for error in "${errors[@]}"; do
		faulty_disk fsync="$error"
		copy --sync --report report a faulty/c
		failed 4 faulty/c "$(text_of "$error")"
		rm real/c
	done
}

@test "an error of the folder's fsync is told when the new file is in its place" {
	data a 150000
	faulty_disk syncdir=EIO
	copy --atomic --report report a faulty/b
	failed 4 faulty/b "Input/output error"
	same a real/b
}

@test "pages that cannot be written back are an error" {
	data a 150000
	for error in ENOSPC EIO; do
		faulty_disk writeback write=100000:$error
		for option in --lane=auto --lane=user --sync; do
			copy $option --report report a faulty/b
			failed 4 faulty/b "$(text_of $error)"
		done
		echo old >real/b
		copy --atomic --report report a faulty/b
		failed 4 faulty/b "$(text_of $error)"
		[ "$(cat real/b)" = old ]
	done
}

@test "one destination that fails at its close does not harm the others" {
	data a 150000
	faulty_disk flush=EDQUOT
	for option in --on-error=stop --on-error=continue --atomic; do
		rm -f b c
		copy $option --report report a b faulty/b c
		failed 4 faulty/b "Disk quota exceeded"
		same a b
		same a c
		[ "$(jq -r '[.sinks[] | select(.error == null) | .spec] | join(" ")' report)" = "b c" ]
	done
}

@test "a destination that nothing was written to is closed, too" {
	: >a
	faulty_disk flush=EDQUOT
	copy a faulty/b
	exits 4
	says "usplice: sink faulty/b: at byte 0: Disk quota exceeded"
}

@test "an error of close behind a signal is told" {
	faulty_disk flush=EDQUOT
	start --limit-rate 100k zero: faulty/b
	eventually has_bytes real/b 1
	kill -INT "$job"
	finish 130
	grep -q '^usplice: sink faulty/b: at byte [0-9]*: Disk quota exceeded$' job.err
}

@test "an interrupted close is an error, and is not made again" {
	data a 150000
	faulty_disk flush=EINTR
	copy --report report a faulty/b
	failed 4 faulty/b "Interrupted system call"
}

@test "an old file that cannot be cut is an error of the sink" {
	data a 150000
	faulty_disk truncate=EIO
	for option in --lane=auto --lane=kernel; do
		data real/b 200000
		copy $option a faulty/b
		exits 4
		says "usplice: sink faulty/b: "
		says "Input/output error"
	done
}

@test "a report that is lost at its close is an error" {
	data a 150000
	for error in "${errors[@]}"; do
		faulty_disk flush="$error"
		copy --report faulty/r a b
		exits 1
		says "usplice: report faulty/r: $(text_of "$error")"
		same a b
		run sh -c '"$USPLICE" copy --json a b 2>faulty/err'
		[ "$status" -eq 1 ]
		same a b
		[ "$(head -n 1 real/err | jq .bytes)" -eq 150000 ]
	done
}

@test "what is printed and lost at the close of standard output is an error" {
	faulty_disk flush=ENOSPC
	for arguments in --version version help "help copy" "help version" "copy --help" "relay --help"; do
		run --separate-stderr sh -c '"$USPLICE" '"$arguments"' >faulty/out'
		exits 1
		says "usplice: standard output: No space left on device"
		[ -s real/out ]
	done
}

@test "nothing is told where nothing fails" {
	data a 150000
	faulty_disk
	for option in --lane=auto --lane=user --lane=kernel --append --resume --atomic --sync; do
		rm -f real/b
		copy "$option" --report report a faulty/b
		exits 0
		[ -z "$stderr" ]
		same a real/b
		[ "$(jq -r '.sinks[0].error' report)" = null ]
	done
}
