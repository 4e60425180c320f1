#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Who may read and write what a mount shows: links, access lists, and rights that are taken away.

load mount

# guarded: a file that the permissions of its directory keep from nobody, and a directory of nobody's own.
guarded() {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser becomes somebody else"
	mkdir -m 700 guarded
	echo secret >guarded/file
	chmod 666 guarded/file
	mkdir theirs
	chown 65534:65534 theirs
	run as_nobody cat guarded/file
	[ "$status" -ne 0 ]
}

# reads PATH, refuses PATH: whether nobody can read it.
reads() {
	as_nobody cat "$1" >/dev/null 2>&1
}
refuses() {
	! reads "$1"
}

@test "with --allow-other no link leads others past the permissions of directories" {
	guarded
	mkdir -m 700 theirs/sub
	echo below >theirs/sub/file
	chmod 666 theirs/sub/file
	echo own >theirs/own
	as_nobody ln -s "$PWD/guarded/file" theirs/at
	as_nobody ln -s ../guarded/file theirs/up
	as_nobody ln -s sub/file theirs/down
	as_nobody ln -s /proc/self/fd/0 theirs/magic
	as_nobody ln -s own theirs/beside
	as_nobody ln -s ./beside theirs/twice
	for name in later early; do
		echo good >theirs/$name
	done
	for options in "" --rw "--rw --no-passthrough"; do
		# shellcheck disable=SC2086
		show --allow-other $options theirs mnt
		exits 0
		says "files such as"
		[ "$(ls mnt)" = "$(printf '%s\n' beside early later own twice)" ]
		[ "$(as_nobody cat mnt/own mnt/beside mnt/twice)" = "$(printf 'own\nown\nown')" ]
		as_nobody cat mnt/early
		as_nobody ln -sf "$PWD/guarded/file" theirs/later
		run -1 --separate-stderr as_nobody cat mnt/later
		says "Too many levels of symbolic links"
		never as_nobody dd if=/dev/zero of=mnt/later count=1 conv=notrunc status=none
		"$USPLICE" mount --status mnt | grep '^later: ' | grep 'only to a name of the same directory'
		rm theirs/later
		echo good >theirs/later
		eventually reads mnt/later
		umount mnt
	done
	[ "$(cat guarded/file)" = secret ]
	show theirs mnt
	exits 0
	grep -qx secret mnt/at
}

@test "with --allow-other a file that was closed is not opened again through a link" {
	guarded
	for ((i = 1; i <= 500; i++)); do
		echo "file $i" >"theirs/f$i"
	done
	run --separate-stderr timeout "$patience" bash -c 'ulimit -n 256; exec "$@"' - \
		"$USPLICE" mount --background --no-passthrough --allow-other theirs mnt
	exits 0
	cat mnt/f1 mnt/f{2..500} >/dev/null
	[ "$(status_of mnt '.sources[] | select(.name == "f1").way')" = closed ]
	as_nobody ln -sf "$PWD/guarded/file" theirs/f1
	run -1 --separate-stderr cat mnt/f1
	says "Too many levels of symbolic links"
}

@test "a link that is named is followed, also with --allow-other" {
	mkdir real
	echo seen >real/file
	ln -s real/file link
	ln -s real folder
	show --allow-other link mnt
	exits 0
	[ "$(cat mnt/link)" = seen ]
	umount mnt
	show --allow-other folder mnt
	exits 0
	[ "$(cat mnt/file)" = seen ]
}

@test "with --allow-other an access list leaves others and the group no right" {
	guarded
	command -v setfacl >/dev/null || skip "no setfacl"
	cd theirs
	for name in denied named grouped later plain; do
		echo secret >"$name"
	done
	chmod 666 denied later plain
	chmod 600 named
	chgrp 65534 grouped
	chmod 600 grouped
	setfacl -m u:65534:--- denied || skip "no access lists here"
	setfacl -m u:12345:rw named grouped
	[ "$(stat -c %a grouped)" = 660 ]
	cd ..
	for options in "" --direct --prefetch --rw "--rw --no-passthrough"; do
		# shellcheck disable=SC2086
		show --allow-other $options theirs mnt
		exits 0
		for name in denied named grouped; do
			run as_nobody cat "mnt/$name"
			[ "$status" -ne 0 ]
			never as_nobody dd if=/dev/zero of="mnt/$name" count=1 conv=notrunc status=none
			grep -qx secret "mnt/$name"
			[[ $(stat -c %a "mnt/$name") == [46]00 ]]
		done
		as_nobody cat mnt/plain
		if [[ $options != --prefetch ]]; then
			as_nobody cat mnt/later
			setfacl -m u:65534:--- theirs/later
			eventually refuses mnt/later
			setfacl -b theirs/later
			chmod 666 theirs/later
			eventually reads mnt/later
		fi
		umount mnt
	done
	[ "$(sort -u theirs/*)" = secret ]
}

@test "rights that are taken away while it is mounted are followed" {
	guarded
	for name in one two three; do
		echo seen >"theirs/$name"
		chown 65534:65534 "theirs/$name"
	done
	for options in "" --rw "--rw --no-passthrough"; do
		# shellcheck disable=SC2086
		show --allow-other $options theirs mnt
		exits 0
		as_nobody cat mnt/one mnt/two
		chmod 600 theirs/one
		eventually refuses mnt/one
		chmod 644 theirs/one
		eventually reads mnt/one
		chgrp 0 theirs/two
		chmod 640 theirs/two
		eventually refuses mnt/two
		[ "$(stat -c '%a %g' mnt/two)" = "$([[ $options ]] && echo 640 || echo 440) 0" ]
		chgrp 65534 theirs/two
		chmod 644 theirs/two
		umount mnt
	done
}

@test "rights that the user of a mount loses are followed" {
	guarded
	unshare -m true 2>/dev/null || skip "no namespaces here"
	searches_no_leaks
	for name in one two; do
		echo seen >"theirs/$name"
		chown 65534:65534 "theirs/$name"
	done
	chown 65534:65534 mnt
	mknod -m 666 fuse c 10 229
	cat >check <<-'BASH'
		mount --bind fuse /dev/fuse
		as="setpriv --reuid 65534 --regid 65534 --clear-groups"
		until_so() {
			for ((i = 0; i < 600; i++)); do
				"$@" && return
				sleep 0.1
			done
			return 1
		}
		reads() { $as cat "$1" >/dev/null 2>&1; }
		refuses() { ! reads "$1"; }
		unwritable() { ! $as dd if=/dev/zero of="$1" count=1 conv=notrunc status=none 2>/dev/null; }
		for options in "" --rw; do
			$as "$USPLICE" mount --background $options theirs mnt
			$as cat mnt/one mnt/two
			chmod 000 theirs/one
			until_so refuses mnt/one
			chmod 600 theirs/one
			until_so reads mnt/one
			chmod 600 theirs/two
			chown 0 theirs/two
			until_so refuses mnt/two
			chmod 644 theirs/two
			until_so reads mnt/two
			unwritable mnt/two
			chown 65534 theirs/two
			$as fusermount3 -u mnt
		done
	BASH
	unshare -m bash -eu check
}
