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

# as UID:GID[:GROUP,...] COMMAND: as that user.
as() {
	local uid gid groups rights=(--clear-groups)
	IFS=: read -r uid gid groups <<<"$1"
	[ -z "$groups" ] || rights=(--groups "$groups")
	shift
	mkdir -p -m 777 counts
	GCOV_PREFIX=counts setpriv --reuid "$uid" --regid "$gid" "${rights[@]}" "$@"
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
	for sink in - f /dev/null tcp:127.0.0.1:1 b,direct file:b,append weird:x fd:x file:; do
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
	echo old >b
	copy --atomic --on-error=stop --report report big b small/c
	exits 4
	[ "$(cat b)" = old ]
	[ "$(jq -r '.sinks[0].error' report)" = "another sink failed" ]
	[ ! -e small/c ]
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

# --- What the old file is kept by -----------------------------------------------------------------------------

@test "--atomic keeps owner, group and permissions, but no set-id bit" {
	as_root
	data a 1000
	for pair in 6755:755 2640:640 4711:711 1604:1604 0:0; do
		echo old >b
		chown 1234:2345 b
		chmod "${pair%%:*}" b
		copy --atomic a b
		exits 0
		[ "$(stat -c '%u:%g %a' b)" = "1234:2345 ${pair##*:}" ]
	done
}

@test "--atomic keeps the ACL" {
	keeping
	data a 1000
	for acl in u:1000:rwx,g:2000:r u:1000:-,g::- g:2000:rw,m::r,o::r u:1000:r,m::-; do
		for copy in copy with_names; do
			rm -f b
			echo old >b
			chmod 1640 b
			setfacl -m "$acl" b
			before=$(what_protects b)
			$copy --atomic a b
			exits 0
			same a b
			[ "$(what_protects b)" = "$before" ]
		done
	done
}

@test "--atomic keeps user.* attributes" {
	keeping
	data a 1000
	echo old >b
	setfattr -n user.empty b
	setfattr -n user.binary -v 0x00ff000a b
	setfattr -n user.long -v "$(printf '%3000s' x)" b
	for mode in 644 444 000; do
		[ "$mode" -ne 0 ] || [ "$(id -u)" -eq 0 ] || continue
		chmod "$mode" b
		before=$(what_protects b)
		copy --atomic a b
		exits 0
		same a b
		[ "$(what_protects b)" = "$before" ]
	done
}

@test "--atomic keeps security labels, and nothing that vouches for the old bytes" {
	as_root
	keeping
	data a 1000
	echo old >b
	setfattr -n security.selinux -v system_u:object_r:etc_t:s0 b
	setfattr -n security.SMACK64 -v Label b
	setfattr -n security.apparmor -v profile b
	before=$(what_protects b)
	setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 b
	setfattr -n security.ima -v 0x0401 b
	setfattr -n security.evm -v 0x02 b
	setfattr -n security.SMACK64EXEC -v Other b
	setfattr -n trusted.mine -v 1 b
	copy --atomic a b
	exits 0
	same a b
	[ "$(what_protects b)" = "$before" ]
	[ "$(getfattr -d -m - b | grep -c =)" -eq 3 ]
}

@test "an old file without an ACL gets none from its directory" {
	keeping
	data a 1000
	echo old >b
	chmod 660 b
	setfacl -d -m u:65534:rwx,g:1000:rwx .
	before=$(what_protects b)
	for copy in copy with_names; do
		$copy --atomic a b
		exits 0
		[ "$(what_protects b)" = "$before" ]
	done
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

# --- As somebody who may not keep it all -------------------------------------------------------------------------

# replaced_by USER OWNER MODE ACL: by that user a file of that owner, in a directory where this user may; stat and ACL of the result.
replaced_by() {
	rm -rf d
	mkdir -m 777 d
	echo old >d/b
	chown "$2" d/b
	chmod "$3" d/b
	[ -z "$4" ] || setfacl -m "$4" d/b
	run --separate-stderr as "$1" "$USPLICE" copy --atomic a d/b
	exits 0
	same a d/b
	[ "$(ls -A d)" = b ]
	stat -c '%u:%g %a' d/b
	[ -z "$4" ] || getfacl -cnE d/b | grep -v '^$'
}

@test "whoever is a member of the group keeps it, and becomes the owner" {
	as_root
	data a 1000
	for mode in 640 604 664 6770 0; do
		[ "$(replaced_by 65534:65534:2345 1234:2345 "$mode" "")" = "65534:2345 $((mode % 1000))" ]
	done
}

@test "where the group cannot be kept, the new one and all others get what both had" {
	as_root
	data a 1000
	for pair in 640:600 644:644 604:600 664:644 660:600 775:755 646:644 621:600 1777:1777; do
		[ "$(replaced_by 65534:65534 1234:2345 "${pair%%:*}" "")" = "65534:65534 ${pair##*:}" ]
	done
}

@test "where the group cannot be kept, its rights and those of others in an ACL shrink to what all groups and others had" {
	as_root
	keeping
	data a 1000
	chmod 777 .
	[ "$(replaced_by 65534:65534 1234:2345 664 u:1000:rw)" = $'65534:65534 664\nuser::rw-\nuser:1000:rw-\ngroup::r--\nmask::rw-\nother::r--' ]
	[ "$(replaced_by 65534:65534 1234:2345 664 g:3000:-)" = $'65534:65534 660\nuser::rw-\ngroup::---\ngroup:3000:---\nmask::rw-\nother::---' ]
	[ "$(replaced_by 65534:65534 1234:2345 644 u:1000:rw,m::rw)" = $'65534:65534 664\nuser::rw-\nuser:1000:rw-\ngroup::r--\nmask::rw-\nother::r--' ]
	[ "$(replaced_by 65534:65534 1234:2345 604 u:1000:r)" = $'65534:65534 640\nuser::rw-\nuser:1000:r--\ngroup::---\nmask::r--\nother::---' ]
	[ "$(replaced_by 65534:65534:2345 1234:2345 604 u:1000:r)" = $'65534:2345 644\nuser::rw-\nuser:1000:r--\ngroup::---\nmask::r--\nother::r--' ]
	[ "$(replaced_by 65534:65534 1234:2345 664 u:1000:r,m::-)" = $'65534:65534 600\nuser::rw-\nuser:1000:r--\ngroup::---\nmask::---\nother::---' ]
}

@test "a label that no security module enforces is not missed" {
	as_root
	keeping
	data a 1000
	mkdir -m 777 d
	echo old >d/b
	setfattr -n security.selinux -v system_u:object_r:etc_t:s0 d/b
	run --separate-stderr as 65534:65534 "$USPLICE" copy --atomic a d/b
	exits 0
	same a d/b
}

# watch UID:GID MODE ACL USPLICE...: the copy by that user over a file of another. The directory would give its new files to all.
# At every system call: can members of old and new groups, users and groups of the ACLs, or strangers do more than before?
watch() {
	local who=$1 mode=$2 acl=$3
	shift 3
	rm -rf d
	mkdir -m 777 d
	echo old >d/b
	chown 1234:2345 d/b
	chmod "$mode" d/b
	[ -z "$acl" ] || setfacl -m "$acl" d/b
	setfacl -d -m u:1000:rwx,g:3000:rwx,m::rwx d
	run --separate-stderr "$WATCH_ACCESS" d/b 'd/.b.usplice-*' \
		"1234:1 1000:1 1001:2345 1002:3000 1003:65534 1004:0 1005:65534:2345 1006:3000:2345 1007:65534:3000 1008:1008" \
		setpriv --reuid "${who%%:*}" --regid "${who#*:}" --clear-groups "$@" copy --atomic a d/b
	[ "$status" -ne 77 ] || skip "cannot trace here"
	exits 0 || {
		echo "$output"
		return 1
	}
	same a d/b
}

@test "at no moment may anybody do more than before" {
	as_root
	keeping
	searches_no_leaks
	export GCOV_PREFIX=$PWD/counts
	mkdir -m 777 counts
	data a 1000
	chmod 755 . a
	for who in 0:0 65534:65534 65534:2345; do
		for old in 0: 640: 604: 664:u:1000:rw,m::rw 660:u:1000:-,g:3000:-,m::r 604:u:1000:r,m::- 664:g:3000:-; do
			watch "$who" "${old%%:*}" "${old#*:}" "$DENY_CALLS" O_TMPFILE "$USPLICE"
			never grep -qx '.* looks, 0 at .*' <<<"$output"
			watch "$who" "${old%%:*}" "${old#*:}" "$USPLICE"
		done
	done
}

# --- What cannot be kept -------------------------------------------------------------------------------------

@test "what cannot be kept is refused before a byte moves" {
	tracing
	keeping
	data a 1000
	echo old >b
	setfattr -n user.mine -v 1 b
	setfacl -m u:65534:r b
	before=$(what_protects b)
	for fault in fsetxattr:error=ENOSPC:when=1 fsetxattr:error=EDQUOT:when=2 fsetxattr:error=EOPNOTSUPP:when=2 \
		fsetxattr:error=EPERM:when=2 lgetxattr:error=EIO:when=1 lgetxattr:error=EACCES:when=1 lgetxattr:error=EIO:when=2 \
		llistxattr:error=E2BIG fchmod:error=EPERM; do
		for sinks in b "c b"; do
			# shellcheck disable=SC2086
			inject $fault -- --atomic a $sinks
			exits 4
			says "of the old file cannot be kept)"
			[ "$(cat b)" = old ]
			[ "$(what_protects b)" = "$before" ]
			[ ! -e c ]
			is_gone '.*usplice*'
		done
	done
	setfacl -b b
	inject fremovexattr:error=EIO -- --atomic a b
	exits 4
	says "usplice: sink b: Input/output error (the permissions of the old file cannot be kept)"
	[ "$(cat b)" = old ]
}

@test "an ACL that names somebody who does not exist in this user namespace is refused" {
	keeping
	data a 1000
	echo old >b
	setfacl -m u:1000:r b
	unshare -Ur true 2>/dev/null || skip "no user namespaces here"
	run --separate-stderr unshare -Ur "$USPLICE" copy --atomic a b
	exits 4
	says "usplice: sink b: Operation not permitted (the permissions of the old file cannot be kept)"
	[ "$(cat b)" = old ]
	setfacl -b b
	run --separate-stderr unshare -Ur "$USPLICE" copy --atomic a b
	exits 0
	same a b
}

@test "where no file has attributes or ACLs the permissions are kept" {
	tracing
	data a 1000
	echo old >b
	chmod 640 b
	inject llistxattr:error=EOPNOTSUPP lgetxattr:error=EOPNOTSUPP fremovexattr:error=EOPNOTSUPP -- --atomic a b
	exits 0
	same a b
	[ "$(mode b)" = 640 ]
}

@test "an NFSv4 ACL is kept in place of the mode, or refused" {
	as_root
	tracing
	mkdir small
	mount -t ramfs none small 2>/dev/null || skip "cannot mount here"
	cd small # no ACLs here, as on NFSv4; strace makes one
	data a 1000
	echo old >b
	chmod 664 b
	inject lgetxattr:retval=80:when=2 fsetxattr:retval=0 -- --atomic a b
	exits 0
	same a b
	grep -E 'lgetxattr|fsetxattr|fchmod' "$command_dir/trace" | sed 's/^[0-9]* *//' >calls
	grep -q '^lgetxattr.*"system.nfs4_acl"' calls
	# A call of another thread may stand in the middle of a call: then strace says it in two lines.
	grep -q '^fsetxattr.*system.nfs4_acl.* 80, 0' calls
	[[ $(tail -n 1 calls) == *fsetxattr* ]]
	[ "$(mode b)" = 0 ] # the real one has the ACL's
	echo old >b
	inject lgetxattr:retval=80:when=2 fsetxattr:error=EOPNOTSUPP -- --atomic a b
	exits 4
	says "(the permissions of the old file cannot be kept)"
	inject lgetxattr:retval=80:when=2 fsetxattr:retval=0 fchown:error=EPERM -- --atomic a b
	exits 0
	echo old >b
	chown 0:2345 b
	inject lgetxattr:retval=80:when=2 fsetxattr:retval=0 fchown:error=EPERM -- --atomic a b
	exits 4
	[ "$(cat b)" = old ]
}

@test "a label that a security module gave the new file, and the old one's may not be set, is refused" {
	as_root
	keeping
	tracing
	data a 1000
	echo old >b
	setfattr -n security.selinux -v old_label b
	inject fgetxattr:retval=9 fsetxattr:error=EPERM -- --atomic a b
	exits 4
	says "Operation not permitted (the security label or the user.* attributes of the old file cannot be kept)"
	[ "$(cat b)" = old ]
	inject fgetxattr:error=ENODATA fsetxattr:error=ENOSPC -- --atomic a b
	exits 4
	[ "$(cat b)" = old ]
}

@test "an attribute that may not be read is refused" {
	as_root
	keeping
	data a 1000
	chmod 755 .
	mkdir -m 777 d
	echo old >d/b
	setfattr -n user.mine -v 1 d/b
	chmod 600 d/b
	run --separate-stderr as 65534:65534 "$USPLICE" copy --atomic a d/b
	exits 4
	says "Permission denied (the security label or the user.* attributes of the old file cannot be kept)"
	[ "$(cat d/b)" = old ]
}

@test "--atomic does not write through a symbolic link that leads nowhere" {
	data a 10
	mkdir d
	ln -s d/new link
	ln -s link second
	ln -s loop loop
	ln -s nodir/new far
	for link in link second far ./link file:link; do
		copy --atomic a "$link"
		exits 4
		says "usplice: sink $link: No such file or directory (the symbolic link leads nowhere)"
	done
	copy --atomic a loop
	exits 4
	copy --atomic a link/
	exits 4
	[ "$(ls -A d)" = "" ]
	[ "$(ls -A)" = $'a\nd\nfar\nlink\nloop\nsecond' ]
}

@test "--atomic to a name that can only be a directory's is refused before a byte moves" {
	data a 10
	copy --atomic a b/
	exits 4
	says "usplice: sink b/: Is a directory (to put it there, write b/a)"
	[ "$(ls -A)" = a ]
}
