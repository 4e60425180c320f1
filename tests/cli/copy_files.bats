#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: what becomes of files - permissions, links, the same file twice. --atomic: copy_atomic.bats.

load support

mode() {
	stat -c %a "$1"
}

@test "a new file gets the permissions of the source below the umask" {
	data a 10
	for pair in 640:640 777:755 400:400 000:0; do
		chmod "${pair%%:*}" a
		rm -f b
		[ "$(id -u)" -eq 0 ] || [ "${pair%%:*}" != 000 ] || continue
		copy a b
		exits 0
		[ "$(mode b)" = "${pair##*:}" ]
	done
}

@test "the permissions of a new file do not depend on --atomic" {
	data a 10
	chmod 755 a
	(umask 027 && "$USPLICE" copy a b && "$USPLICE" copy --atomic a c)
	[ "$(mode b)" = 750 ]
	[ "$(mode c)" = 750 ]
	cat a | "$USPLICE" copy --atomic - d
	[ "$(mode d)" = 644 ]
}

@test "an old file is written in place: it keeps inode, permissions and links" {
	data a 1000
	data b 5000
	chmod 600 b
	ln b other
	inode=$(stat -c %i b)
	copy a b
	exits 0
	same a other
	[ "$(stat -c %i b)" = "$inode" ]
	[ "$(mode b)" = 600 ]
}

@test "a symbolic link is followed" {
	data a 1000
	echo old >b
	ln -s b link
	copy a link
	exits 0
	[ -L link ]
	same a b
}

@test "source and sink the same file is refused, whatever its names" {
	data a 1000
	cp a before
	ln a hard
	ln -s a soft
	for sink in a ./a hard soft file:a; do
		for option in "" --append "--seek 5" --resume --atomic "--skip 10"; do
			# shellcheck disable=SC2086
			copy $option a "$sink"
			exits 2
			says "usplice: sink $sink: is the same file as the source"
			same a before
		done
	done
}

@test "source and sink the same file is refused through redirections" {
	data a 1000
	cp a before
	run --separate-stderr bash -c '"$USPLICE" copy a - >>a'
	exits 2
	run --separate-stderr bash -c '"$USPLICE" copy - a <a'
	exits 2
	run --separate-stderr bash -c '"$USPLICE" copy - - <a 1<>a'
	exits 2
	run --separate-stderr bash -c '"$USPLICE" copy fd:7 fd:8 7<a 8<>a'
	exits 2
	says "is the same file as the source"
	same a before
}

@test "a loop device is the file behind it, and so are two of them" {
	data a 1048576
	cp a before
	device=$(losetup --find --show a 2>/dev/null) || skip "cannot make a loop device here"
	second=$(losetup --find --show a) || { losetup --detach "$device"; skip "cannot make a second loop device here"; }
	for ends in "$device a" "a $device" "$device $second"; do
		# shellcheck disable=SC2086
		run --separate-stderr timeout 20 "$USPLICE" copy $ends
		[ "$status" -eq 2 ] || break
		[[ $stderr == *"is the same file as the source" ]] || break
		cmp a before || break
		ends=
	done
	run --separate-stderr timeout 20 "$USPLICE" copy before a "$device"
	losetup --detach "$device" "$second"
	[ -z "$ends" ]
	exits 2
	says "is given twice"
	same a before
}

@test "source and sink the same FIFO is refused" {
	mkfifo f
	exec 9<>f
	copy fd:9 f
	exits 2
	says "is the same file as the source"
	exec 9>&-
}

@test "a descriptor that is given twice is refused, whatever it is" {
	data a 1000
	run --separate-stderr sh -c '"$1" copy a - - >/dev/null' - "$USPLICE"
	exits 2
	says "usplice: sink -: is given twice"
	run --separate-stderr sh -c '"$1" copy a fd:3 fd:3 3>/dev/null' - "$USPLICE"
	exits 2
	run --separate-stderr python3 - "$USPLICE" <<-'END'
		import socket, subprocess, sys
		one, two = socket.socketpair()
		fds = [one.fileno(), one.dup().detach()]
		for second in fds:
		    specs = ["fd:%d" % fd for fd in (fds[0], second)]
		    assert subprocess.run([sys.argv[1], "copy", "a", *specs], pass_fds=fds).returncode == 2
		two.setblocking(False)
		try:
		    assert not two.recv(1)
		except BlockingIOError:
		    pass
	END
	exits 0
}

@test "a destination that is given twice is refused, and nothing is changed" {
	data a 1000
	echo old >b
	copy a b ./b
	exits 2
	says "usplice: sink ./b: is given twice"
	[ "$(cat b)" = old ]
	copy a c c
	exits 2
	[ ! -e c ]
	copy --atomic a c ./c
	exits 2
	[ ! -e c ]
}

@test "a report over the source or a destination is refused" {
	data a 1000
	cp a before
	copy --report a a b
	exits 2
	copy --report a a null:
	exits 2
	says "is also the file of the report"
}

@test "a file that was made is removed when the copy does not begin" {
	data a 10
	copy a b /nowhere/c
	exits 4
	[ ! -e b ]
}

@test "an old file keeps its bytes when the copy does not begin" {
	data a 10
	echo old >b
	copy a b /nowhere/c
	exits 4
	[ "$(cat b)" = old ]
}

@test "a longer old file is cut where the new one ends" {
	data a 1000
	for option in --lane=auto --lane=user --lane=kernel; do
		data b 5000
		copy "$option" a b
		exits 0
		same a b
	done
}

@test "bytes in /proc, whose files say that they are empty, arrive" {
	copy /proc/self/status b
	exits 0
	grep -q '^Name:.*usplice' b
}
