#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --atomic: a file that takes the old one's place as a whole, what it keeps of that, and what is left if it cannot.

load support

mode() {
	stat -c %a "$1"
}

# what_protects FILE: owner, group, permissions and ACL, all attributes but those of which nothing may be kept.
what_protects() {
	stat -c '%u:%g %a' "$1"
	getfacl -cnE "$1"
	getfattr -d -m - -e hex "$1" | grep -E '^(user|security)' | sort
}

# keeping: the file system here has ACLs and attributes, or one is mounted that has. For some tests that takes root.
keeping() {
	command -v setfacl >/dev/null && command -v setfattr >/dev/null || skip "no setfacl or setfattr"
	has_attributes && return
	small_disk 8M
	cd small || return
	has_attributes || skip "no file system with ACLs and user.* attributes here"
}

# has_attributes: the mode shows the mask of an ACL where the kernel knows it. A file system may also store what it does not know.
has_attributes() {
	(umask 077 && : >probe)
	setfacl -m u:65534:r probe 2>/dev/null && setfattr -n user.probe -v 1 probe 2>/dev/null && [ "$(mode probe)" = 640 ] || return
	rm probe
}

# without_names: the file system here has files without names.
without_names() {
	python3 -c 'import os; os.open(".", os.O_TMPFILE | os.O_RDWR)' 2>/dev/null || skip "every file has a name here"
}

as_root() {
	[ "$(id -u)" -eq 0 ] || skip "not root"
}

# with_names ARGUMENTS: the copy where no file can be without a name.
with_names() {
	run --separate-stderr "$DENY_CALLS" O_TMPFILE "$USPLICE" copy "$@"
	[ "$status" -ne 77 ] || skip "no seccomp here"
}

# inject FAULT... -- ARGUMENTS: the copy, where calls fail as strace is told. One must have failed.
inject() {
	local faults=()
	while [ "$1" != -- ]; do
		faults+=(-e "inject=$1")
		shift
	done
	shift
	run --separate-stderr strace -f -o "$command_dir/trace" "${faults[@]}" "$USPLICE" copy "$@"
	grep -q INJECTED "$command_dir/trace"
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
	eventually is_moving
	kill -TERM "$job"
	finish 143
	[ "$(cat b)" = old ]
	[ "$(ls -A)" = $'b\njob.err\njob.out' ]
}

@test "--atomic syncs the file before it has a name, and the directory behind the rename" {
	without_names
	tracing
	data a 1000
	strace -f -o trace -e trace=fsync,linkat,rename,renameat,renameat2 "$USPLICE" copy --atomic a b
	[ "$(grep -oE '(fsync|linkat|rename)\(' trace | tr -d '\n')" = "fsync(linkat(rename(fsync(" ]
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

# --- Without a name until it is whole ------------------------------------------------------------------------

@test "--atomic writes into a file without a name, so that SIGKILL leaves nothing" {
	without_names
	echo old >b
	start --atomic --limit-rate 100k zero: b c
	eventually is_moving
	[ "$(ls -A)" = $'b\njob.err\njob.out' ]
	kill -KILL "$job"
	finish 137
	[ "$(ls -A)" = $'b\njob.err\njob.out' ]
	[ "$(cat b)" = old ]
}

@test "--atomic works where no file can be without a name" {
	data a 300000
	echo old >b
	chmod 640 b
	with_names --atomic a b c
	exits 0
	same a b
	same a c
	[ "$(mode b):$(mode c)" = 640:644 ]
	[ "$(ls -A)" = $'a\nb\nc' ]
	with_names --atomic /proc/self/mem b
	exits 3
	same a b
	[ "$(ls -A)" = $'a\nb\nc' ]
}

@test "--atomic works without /proc" {
	as_root
	never grep -qa -e libasan.so -e libtsan.so "$USPLICE" || skip "a sanitizer needs /proc"
	data a 300000
	echo old >b
	unshare -m true 2>/dev/null || skip "no mount namespaces here"
	# shellcheck disable=SC2016
	run --separate-stderr unshare -m sh -c 'mount -t tmpfs none /proc && exec "$@"' sh "$USPLICE" copy --atomic a b c
	exits 0
	same a b
	same a c
	[ "$(ls -A)" = $'a\nb\nc' ]
}

@test "a name that is taken already is another file's, and the next one is tried" {
	without_names
	tracing
	data a 1000
	inject linkat:error=EEXIST:when=1..3 -- --atomic a b
	exits 0
	same a b
	[ "$(grep linkat trace | grep -oE 'usplice-[0-9a-f]+' | sort -u | wc -l)" -eq 4 ]
	rm trace
	inject linkat:error=EEXIST -- --atomic a b
	exits 4
	says "usplice: sink b: at byte 1000: File exists"
	rm trace
	[ "$(ls -A)" = $'a\nb' ]
}

@test "--atomic leaves the old file and no other one when the last steps fail" {
	without_names
	tracing
	data a 1000
	echo old >b
	for fault in linkat:error=EPERM rename:error=EBUSY fsync:error=EIO:when=1; do
		inject $fault -- --atomic a b
		exits 4
		rm trace
		[ "$(cat b)" = old ]
		[ "$(ls -A)" = $'a\nb' ]
	done
}

@test "a second signal removes the name right before the rename, too" {
	tracing
	data a 1000
	echo old >b
	env --default-signal=INT,TERM strace -f -o trace -e inject=rename:delay_enter=60s "$USPLICE" copy --atomic a b 3>&- &
	eventually has_bytes '.b.usplice-*' 1000
	job=$(pgrep -P $!)
	kill -INT "$job"
	kill -TERM "$job"
	eventually is_gone '.b.usplice-*'
	[ "$(cat b)" = old ]
	kill -KILL "$job" $!
}

# is_gone FILE: FILE may be a pattern.
is_gone() {
	# shellcheck disable=SC2086
	! stat $1 >/dev/null 2>&1
}

@test "a new file gets the ACL that its directory gives, whether --atomic or not" {
	keeping
	data a 1000
	chmod 664 a
	setfacl -d -m u:65534:rwx,g::rx,o::r .
	umask 027
	copy a plain
	copy --atomic a unnamed
	with_names --atomic a named
	what_protects plain >plain.txt
	grep -q '^user:65534:rwx' plain.txt
	grep -q '^mask::rw-' plain.txt
	[ "$(what_protects unnamed)" = "$(cat plain.txt)" ]
	[ "$(what_protects named)" = "$(cat plain.txt)" ]
}
