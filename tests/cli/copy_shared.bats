#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Descriptors that others share: offset and flags are what a loop of read(2) and write(2) would leave, at every moment.

load support

# into FILE COMMAND: run a function of the test with standard output, and error, in FILE.
both_into() {
	local file=$1
	shift
	"$@" >"$file" 2>&1
}

# is_behind DATA FILE: FILE begins with all of DATA; what follows it is in $behind.
is_behind() {
	local length
	length=$(stat -c %s "$1")
	cmp -n "$length" "$1" "$2" && behind=$(tail -c +$((length + 1)) "$2")
}

# --- What the command prints --------------------------------------------------------------------------------

@test "the report is behind the data when both go into one file" {
	data a 3000000
	both_into out "$USPLICE" copy -v a -
	is_behind a out
	[[ $behind == *"pipe -> -"* ]]
	both_into out "$USPLICE" copy --json a -
	is_behind a out
	jq -e '.bytes == 3000000' <<<"$behind"
}

@test "progress and what is said at a signal wait until the data is out" {
	data a 3000000
	both_into out "$USPLICE" copy --progress --limit-rate 6M a -
	is_behind a out
	said_meanwhile() {
		"$USPLICE" copy --limit-rate 1500k a - &
		eventually is_larger out 300000
		kill -USR1 $!
		wait $!
	}
	both_into out said_meanwhile
	is_behind a out
	[[ $behind == *"KiB"* || $behind == *"MiB"* ]]
}

is_larger() {
	[ "$(stat -c %s "$1")" -gt "$2" ]
}

@test "what is said is behind the data also where standard error has its own offset" {
	data a 300000
	for options in -v --json --progress "-v --append" "-v --lane user" "-v --lane kernel"; do
		# shellcheck disable=SC2086
		"$USPLICE" copy $options a out 2>out
		is_behind a out
		[[ $behind == *300000* || $behind == *"KiB"* ]]
	done
	"$USPLICE" copy -v a - null: >out 2>out
	is_behind a out
	cat a a >twice
	"$USPLICE" copy a out
	"$USPLICE" copy -v --seek 300000 a out 2<>out
	is_behind twice out
	[[ $behind == *"KiB"* ]]
	"$USPLICE" copy --on-error continue a out /dev/full 2>out || [ $? -eq 4 ]
	is_behind a out
	[[ $behind == *"sink /dev/full: "* ]]
}

@test "an error is behind the bytes that went before it" {
	data a 100000
	fails() {
		"$USPLICE" copy a - missing/b
	}
	run fails
	both_into out fails || true
	[[ $(cat out) == *"missing/b"* ]]
}

# --- Somebody else writes, too --------------------------------------------------------------------------------

@test "what somebody else writes meanwhile is not overwritten, and overwrites nothing" {
	data a 1000000
	shared() {
		"$USPLICE" copy --limit-rate 1M a - &
		eventually is_larger out 100000
		printf MARK
		wait $!
	}
	shared >out
	[ "$(stat -c %s out)" -eq 1000004 ]
	local at
	at=$(grep -abo MARK out | head -n 1 | cut -d : -f 1)
	[ "$at" -ge 100000 ]
	{ head -c "$at" out && tail -c +$((at + 5)) out; } | cmp - a
}

# Lines of 100 bytes, so that each can be told from the others; a piece may end within a line of the other copy.
@test "two copies at once into one redirection leave the bytes of both" {
	yes "$(printf '%099d' 1)" | head -n 40000 >ones
	yes "$(printf '%099d' 2)" | head -n 40000 >twos
	both() {
		"$USPLICE" copy ones - &
		"$USPLICE" copy twos - &
		wait
	}
	both >out
	[ "$(stat -c %s out)" -eq 8000000 ]
	[ "$(tr -dc 1 <out | wc -c)" -eq 40000 ]
	[ "$(tr -dc 2 <out | wc -c)" -eq 40000 ]
}

@test "a copy that is killed leaves the offset behind what it wrote" {
	data a 3000000
	killed() {
		"$USPLICE" copy --limit-rate 1M a - &
		eventually is_larger out 200000
		kill -9 $!
		wait $! || true
		printf END
	}
	killed >out
	local length
	length=$(($(stat -c %s out) - 3))
	[ "$length" -ge 200000 ]
	cmp -n "$length" a out
	[ "$(tail -c 3 out)" = END ]
}

# --- Reading ----------------------------------------------------------------------------------------------

@test "the next command reads on where the copy ended" {
	data a 1000000
	for count in 0 10 4096 700001; do
		for lane in auto user; do
			{ "$USPLICE" copy --lane $lane --count $count - x && cat >rest; } <a
			cat x rest | cmp - a
			[ "$(stat -c %s x)" -eq $count ]
		done
	done
}

@test "after a kill the next command reads nothing that was written, and loses no more than a loop would" {
	data a 5000000
	killed() {
		"$USPLICE" copy --limit-rate 1M - x <&0 & # or bash would give it /dev/null
		eventually is_larger x 200000
		kill -9 $!
		wait $! || true
		cat >rest
	}
	killed <a
	local written rest
	written=$(stat -c %s x)
	rest=$(stat -c %s rest)
	cmp -n "$written" a x
	tail -c "$rest" a | cmp - rest
	[ $((written + rest)) -le 5000000 ]              # nothing twice
	[ $((written + rest)) -ge $((5000000 - 1048576)) ] # what was read and not yet written
}

@test "a skip of standard input moves the offset for all" {
	data a 100000
	{ "$USPLICE" copy --skip 1000 --count 2000 - x && cat >rest; } <a
	tail -c +1001 a | head -c 2000 | cmp - x
	tail -c +3001 a | cmp - rest
}

@test "two readers at once with --no-splice share a redirection without a byte twice" {
	data a 30000000
	{
		"$USPLICE" copy --no-splice - one &
		"$USPLICE" copy --no-splice - two null: &
		wait
	} <a
	[ $(($(stat -c %s one) + $(stat -c %s two))) -eq 30000000 ]
}

# --- Places -------------------------------------------------------------------------------------------------

@test "what comes next is behind what --seek, --resume and --append wrote to a redirection" {
	data a 5000
	place() {
		"$USPLICE" copy "$@" && printf END
	}
	printf 0123456789 >out
	place --seek 4 a - 1<>out
	{ printf 0123 && cat a && printf END; } | cmp - out
	head -c 2000 a >out
	place --resume a - 1<>out
	{ cat a && printf END; } | cmp - out
	printf 0123456789 >out
	place --append a - 1<>out
	{ printf 0123456789 && cat a && printf END; } | cmp - out
	place --append a - >>out
	{ printf 0123456789 && cat a && printf END && cat a && printf END; } | cmp - out
}

@test "a copy that is refused leaves the shared offset where it was" {
	data a 5000
	refused() {
		"$USPLICE" copy --seek 100 --require-zero-copy a - || [ $? -eq 5 ]
		printf END
	}
	refused >out 2>/dev/null
	[ "$(cat out)" = END ]
	refused() {
		"$USPLICE" copy --skip 100 --require-zero-copy - b || [ $? -eq 5 ]
		cat >rest
	}
	refused <a
	same rest a
}

@test "--atomic onto a redirection is refused" {
	data a 10
	run --separate-stderr bash -c '"$USPLICE" copy --atomic a - >out'
	exits 2
	says "only a regular file"
}

# --- Flags ------------------------------------------------------------------------------------------------

# Standard input and output are one socket that blocks, as inetd and systemd hand it over.
@test "an inherited socket that blocks is never set nonblocking" {
	data a 300000
	python3 - "$USPLICE" <<-'PYTHON'
		import fcntl, os, socket, subprocess, sys, threading
		ours, theirs = socket.socketpair()
		stop = threading.Event()
		def watch(seen=[]):
		    while not stop.is_set():
		        assert not fcntl.fcntl(theirs, fcntl.F_GETFL) & os.O_NONBLOCK
		watcher = threading.Thread(target=watch)
		watcher.start()
		bytes_in = open("a", "rb").read()
		sink = subprocess.Popen([sys.argv[1], "copy", "-", "b"], stdin=theirs)
		ours.sendall(bytes_in)
		ours.shutdown(socket.SHUT_WR)
		assert sink.wait() == 0 and open("b", "rb").read() == bytes_in
		source = subprocess.Popen([sys.argv[1], "copy", "a", "-"], stdout=theirs)
		got = b""
		while len(got) < len(bytes_in):
		    got += ours.recv(1 << 16)
		assert got == bytes_in and source.wait() == 0
		stop.set()
		watcher.join()
	PYTHON
	tracing
	strace -f -e trace=fcntl -o calls "$USPLICE" copy a - | cat >/dev/null
	never grep F_SETFL calls
}

# --- What it costs, and whom ----------------------------------------------------------------------------------

# calls ARGUMENTS: the system calls of a copy, by name, how often, without those of the loader.
calls() {
	strace -f -c -o counts "$USPLICE" copy "$@"
	awk '$NF ~ /^(lseek|pread64|pwrite64|preadv|pwritev|read|readv|write|writev|splice|copy_file_range|fcntl|ioctl)$/ {
		print $NF, $4 }' counts | sort
}

@test "a path that is opened by the command keeps its system calls: the kernel copies, and nothing seeks to and fro" {
	tracing
	data a 3000000
	calls a b >of_paths
	grep -q '^copy_file_range\|^splice' of_paths
	never grep '^writev\|^pwrite' of_paths
	[ "$(awk '$1 == "lseek" { print $2 }' of_paths)" -le 2 ] # where each begins
	same a b
}
