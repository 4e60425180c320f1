#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --preserve: what sinks get of the source besides the bytes.

load support

needs_root() {
	[ "$(id -u)" -eq 0 ] || skip "needs the superuser"
}

# source_file: the file a with a mode, times, an attribute and an ACL of its own.
source_file() {
	data a 100000
	chmod 0751 a
	setfattr -n user.colour -v blue a 2>/dev/null || skip "no extended attributes here"
	setfattr -n user.binary -v 0x000102ff a
	setfacl -m u:65533:r a 2>/dev/null || skip "no ACLs here"
	touch -d '2001-02-03 04:05:06.789012345' a
}

# shown FILE: its mode, owner, time, attributes and ACL.
shown() {
	stat -c '%a %u %g %y' "$1"
	getfattr -d -m 'user\.' -e hex --absolute-names "$1" | grep -v '^#'
	getfacl -n -p "$1" | grep -v '^# file'
}

@test "-a gives all attributes to all sinks, and --atomic puts them in place with them" {
	needs_root
	source_file
	chown 1234:5678 a
	chmod 4751 a
	setfattr -n user.colour -v blue a
	touch -d '2001-02-03 04:05:06.789012345' a
	for options in "" "--atomic" "--atomic --sync --verify-written" "--lane user"; do
		rm -f b c
		echo old >c
		# shellcheck disable=SC2086
		copy --overwrite -a $options a b c
		exits 0
		for sink in b c; do
			same a $sink
			diff <(shown a) <(shown $sink)
		done
	done
}

@test "each word gives its own attribute only" {
	needs_root
	source_file
	chown 1234:5678 a
	touch -d '2001-02-03 04:05:06' a
	copy --preserve mode a b
	exits 0
	[ "$(stat -c '%a %u' b)" = "$(stat -c %a a) 0" ]
	[ "$(stat -c %Y b)" -ne "$(stat -c %Y a)" ]
	copy --preserve times a c
	[ "$(stat -c %y c)" = "$(stat -c %y a)" ]
	[ "$(stat -c %x c)" != "$(stat -c %y c)" ]
	[ -z "$(getfattr -d c)" ]
	copy --preserve owner a d
	[ "$(stat -c '%u %g' d)" = "1234 5678" ]
	copy --preserve xattr a e
	[ "$(getfattr --only-values -n user.colour e)" = blue ]
	[ -z "$(getfacl -c -s e)" ]
	copy --preserve acl,mode a f
	[ "$(getfacl -n -c f)" = "$(getfacl -n -c a)" ]
	copy a g
	[ "$(stat -c %Y g)" -ne "$(stat -c %Y a)" ]
}

@test "an ACL of the sink goes where the source has none" {
	source_file
	setfacl -b a
	data b 10
	setfacl -m u:65533:rwx b
	copy --preserve acl,mode a b
	exits 0
	[ -z "$(getfacl -c -s b)" ]
	[ "$(stat -c %a b)" = "$(stat -c %a a)" ]
}

@test "set-id bits need their owner" {
	needs_root
	data a 1000
	chown 1234 a
	chmod 6755 a
	copy --preserve mode a b
	exits 0
	[ "$(stat -c %a b)" = 755 ]
	copy --preserve mode,owner a c
	[ "$(stat -c '%a %u' c)" = "6755 1234" ]
}

@test "an ordinary user is told once that the owner is lost, and gets all else" {
	needs_root
	source_file
	chmod o+r a
	setfattr -n user.colour -v green a
	touch -d '2001-02-03 04:05:06' a
	mkdir theirs
	chmod 777 theirs
	for options in "" "--atomic"; do
		# shellcheck disable=SC2086
		as_nobody "$USPLICE" copy -a --overwrite $options a theirs/b theirs/c 2>said && code=0 || code=$?
		[ "$code" -eq 4 ]
		[ "$(cat said)" = "usplice: the owner of a cannot be preserved: only the superuser may give files away" ]
		for sink in theirs/b theirs/c; do
			same a $sink
			[ "$(stat -c '%a %u %Y' $sink)" = "$(stat -c %a a) 65534 $(stat -c %Y a)" ]
			[ "$(getfattr --only-values -n user.colour $sink)" = green ]
		done
	done
	as_nobody "$USPLICE" copy --preserve mode,times a theirs/d
}

@test "an attribute that cannot be given is told for each sink, and --atomic keeps the old file" {
	[ -n "$FAULTY_FS" ] || skip "built without libfuse3"
	source_file
	faulty_disk xattr=EIO
	copy --preserve xattr,mode,times a faulty/b c
	exits 4
	says "usplice: sink faulty/b: its extended attributes cannot be preserved: Input/output error"
	never says "sink c"
	same a real/b
	[ "$(stat -c '%a %Y' real/b)" = "$(stat -c '%a %Y' a)" ]
	[ "$(getfattr --only-values -n user.colour c)" = blue ]
	copy --preserve xattr --report report --atomic a faulty/new
	exits 4
	[ ! -e real/new ]
	jq -e '.sinks[0].error != null' report
}

@test "attributes are given when all bytes are there, and not to a copy that failed" {
	source_file
	touch -d '2001-02-03 04:05:06' a
	copy -q --preserve times --verify sha256:"$(printf '%064d' 0)" a b
	exits 3
	[ "$(stat -c %Y b)" -ne "$(stat -c %Y a)" ]
	copy --preserve times,mode --count 1000 a c
	exits 0
	[ "$(stat -c %Y c)" -eq "$(stat -c %Y a)" ]
}

@test "sinks that are no files of ours are passed by" {
	source_file
	"$USPLICE" copy --preserve mode,times a - >b
	same a b
	[ "$(stat -c %Y b)" -ne "$(stat -c %Y a)" ]
	copy --preserve mode a null:
	exits 0
}

@test "what has nothing to preserve is refused, and so is what is no whole file" {
	data a 1000
	mkfifo fifo
	for source in mem:x fifo - zero:; do
		copy -a "$source" b </dev/null
		exits 2
		says "is not a regular file, so it has nothing to preserve"
		[ ! -e b ]
	done
	for option in --append "--seek 5"; do
		# shellcheck disable=SC2086
		copy -a $option a b
		exits 2
		says "are for whole files"
	done
	run --separate-stderr "$USPLICE" cat -a --to b a a
	exits 2
	says "take one source"
	copy --preserve mode,colour a b
	exits 2
	says "--preserve: 'mode,colour' has a word that is none of mode, owner, times, xattr, acl and all"
	[ ! -e b ]
}
