#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --atomic: a file that takes the old one's place as a whole, what it keeps of that, and what is left if it cannot.

load support

mode() {
	stat -c %a "$1"
}

@test "--atomic puts a whole file in place" {
	data a 300000
	echo old >b
	chmod 640 b
	inode=$(stat -c %i b)
	copy --atomic a b
	exits 0
	same a b
	[ "$(mode b)" = 640 ]
	[ "$(stat -c %i b)" != "$inode" ]
	[ "$(ls -A)" = $'a\nb' ]
}

@test "--atomic follows a symbolic link" {
	data a 1000
	mkdir sub
	echo old >sub/b
	ln -s sub/b link
	copy --atomic a link
	exits 0
	[ -L link ]
	same a sub/b
	[ "$(ls -A sub)" = b ]
}

@test "--atomic takes any name that file: can write" {
	data a 1000
	for sink in file:weird:name 'x,y' 'file:p\,append' file://slashes; do
		copy --atomic a "$sink"
		exits 0
	done
	same a weird:name
	same a x,y
	same a p,append
	same a slashes
}

@test "--atomic leaves the old file and no other one when the source fails" {
	echo old >b
	copy --atomic /proc/self/mem b
	exits 3
	[ "$(cat b)" = old ]
	[ "$(ls -A)" = b ]
}

@test "--atomic leaves the old file and no other one when the disk is full" {
	small_disk 256k
	data a 1000000
	echo old >small/b
	copy --atomic a small/b
	exits 4
	says "No space left on device"
	[ "$(cat small/b)" = old ]
	[ "$(ls -A small)" = b ]
}

@test "--atomic leaves the old file and no other one when a signal comes" {
	echo old >b
	start --atomic --limit-rate 100k zero: b
	eventually has_bytes '.b.usplice-*' 1
	kill -TERM "$job"
	finish 143
	[ "$(cat b)" = old ]
	[ "$(ls -A)" = $'b\njob.err\njob.out' ]
}

@test "--atomic syncs before and after the rename" {
	command -v strace >/dev/null || skip "no strace"
	data a 1000
	strace -f -o trace -e trace=fsync,rename,renameat,renameat2 "$USPLICE" copy --atomic a b || skip "cannot trace here"
	[ "$(grep -oE '(fsync|rename)' trace | tr '\n' ' ')" = "fsync rename fsync " ]
}

@test "--atomic needs a regular file" {
	data a 10
	mkfifo f
	for sink in - f /dev/null tcp:127.0.0.1:1 b,direct file:b,append; do
		copy --atomic a "$sink"
		exits 2
	done
	mkdir d
	copy --atomic a d
	exits 4
	says "Is a directory"
	ln -s nowhere link
	copy --atomic a link
	exits 4
	says "leads nowhere"
	[ "$(ls -A)" = $'a\nd\nf\nlink' ]
}

@test "with --on-error continue --atomic puts the whole ones in place" {
	data a 300000
	echo old >b
	copy --atomic --on-error continue a b /nowhere/c
	exits 4
	[ "$(cat b)" = old ]
	small_disk 256k
	data big 1000000
	echo old >small/c
	copy --atomic --on-error continue big b small/c
	exits 4
	same big b
	[ "$(cat small/c)" = old ]
}

@test "--atomic puts nothing in place when another destination stops the run" {
	small_disk 256k
	data big 3000000
	for option in --on-error=stop --on-slow=detach; do
		echo old >b
		copy --atomic "$option" --report report big b small/c
		exits 4
		[ "$(cat b)" = old ]
		[ "$(jq -r '.sinks[0].error' report)" = "another destination failed" ]
		[ ! -e small/c ]
	done
}
