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
		eventually as_nobody cat mnt/later
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
