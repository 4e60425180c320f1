#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: descriptors that are named by number, and that are needed more than once.

load support

# closes_nothing_twice: no close of what was traced failed.
closes_nothing_twice() {
	never grep -E 'close\(.*EBADF' calls
}

# echo_through SOURCE SINK: a socket that is descriptor 0, 1 and 3 of a copy; what is sent there comes back.
echo_through() {
	strace -f -e trace=close,dup2,dup3 -o calls python3 - "$USPLICE" "$@" <<-'END'
		import fcntl, os, socket, sys
		pair = socket.socketpair()
		ours, theirs = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 100) for end in pair) # out of the way
		for end in pair:
		    end.close()
		ours = socket.socket(fileno=ours)
		copy = os.fork()
		if copy == 0:
		    for fd in (0, 1, 3):
		        os.dup2(theirs, fd)
		    os.execv(sys.argv[1], [sys.argv[1], "copy", *sys.argv[2:]])
		os.close(theirs)
		ours.sendall(b"hello")
		ours.shutdown(socket.SHUT_WR)
		assert ours.recv(100) == b"hello" and ours.recv(1) == b""
		assert os.waitpid(copy, 0)[1] == 0
	END
}

@test "a socket that is source and destination by one number is closed once" {
	tracing
	for specs in "fd:3 fd:3" "- fd:0" "fd:1 -" "fd:0 fd:0" "- -" "fd:3 -" "fd:3 fd:3 null:"; do
		echo "--- $specs"
		# shellcheck disable=SC2086
		echo_through $specs
		closes_nothing_twice
	done
}

@test "one number for two destinations is refused, and nothing is closed twice" {
	tracing
	data a 10
	for specs in "fd:3 fd:3" "- fd:1" "fd:1 -" "fd:3 fd://3" "fd:3 fd:003" "fd:2 fd:2"; do
		echo "--- $specs"
		# shellcheck disable=SC2086
		run --separate-stderr strace -f -e trace=close,dup2,dup3 -o calls "$USPLICE" copy a $specs 3>/dev/null
		exits 2
		says "is given twice"
		closes_nothing_twice
	done
}

@test "what is said is not lost where standard error is a destination" {
	data a 1000
	"$USPLICE" copy --json a fd:2 2>out
	cmp -n 1000 a out
	tail -c +1001 out | jq -e '.sinks[0].bytes == 1000'
	"$USPLICE" copy -v a fd:2 2>out
	cmp -n 1000 a out
	tail -c +1001 out | grep -q "pipe -> fd:2"
	"$USPLICE" copy a fd:2 /dev/full 2>out || [ $? -eq 4 ]
	tail -c +1001 out | grep -q "sink /dev/full: "
	"$USPLICE" copy --on-error continue a /dev/full fd:2 2> >(cat >out) || [ $? -eq 4 ]
	eventually grep -aq "sink /dev/full: " out
	cmp -n 1000 a out
}

@test "what is said is not lost where standard error is the source" {
	data a 1000
	"$USPLICE" copy --json fd:2 b 2<>a
	cmp -n 1000 a b
	tail -c +1001 a | jq -e '.bytes == 1000'
}

@test "a number that is not open when the command begins is not one of its own" {
	data a 10
	for fd in {3..9}; do
		for specs in "a fd:$fd" "a b fd:$fd" "fd:$fd b"; do
			# shellcheck disable=SC2086
			run --separate-stderr bash -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; exec "$@"' - "$USPLICE" copy $specs
			[ "$status" -eq 3 ] || [ "$status" -eq 4 ]
			says "fd:$fd: this descriptor is not open"
			never says "for that direction"
		done
	done
}
