#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --drop-cache: what was copied does not stay in the page cache.

load support

# cached FILE: the bytes of it that are in the page cache, as mincore(2) tells.
cached() {
	python3 - "$1" <<-'PYTHON'
	import ctypes, mmap, os, sys

	libc = ctypes.CDLL(None, use_errno=True)
	libc.mmap.restype = ctypes.c_void_p
	libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
	libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
	fd = os.open(sys.argv[1], os.O_RDONLY)
	size = os.fstat(fd).st_size
	pages = ctypes.create_string_buffer((size + mmap.PAGESIZE - 1) // mmap.PAGESIZE)
	base = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
	if libc.mincore(base, size, pages):
	    sys.exit(os.strerror(ctypes.get_errno()))
	print(sum(page & 1 for page in pages.raw[:len(pages)]) * mmap.PAGESIZE)
	PYTHON
}

# on_disk: a directory whose file system lets pages go: the control of all tests here.
on_disk() {
	data control 1000000
	sync control
	dd if=control iflag=nocache count=0 status=none
	[ "$(cached control)" -eq 0 ] || skip "this file system keeps what it has in memory"
}

@test "neither the source nor a sink is in the page cache afterwards, on each lane" {
	on_disk
	data a 45000777
	for options in "--lane auto" "--lane kernel" "--lane user" "--sparse never" "--atomic" "--limit-rate 900M" "--digest crc32c --verify-written"; do
		cat a >null.copy
		[ "$(cached a)" -gt 40000000 ]
		# shellcheck disable=SC2086
		copy --drop-cache --overwrite $options --report report a b
		exits 0
		same a <(cat b)
		"$USPLICE" copy -q --drop-cache --overwrite $options a b
		[ "$(cached a)" -eq 0 ]
		[ "$(cached b)" -eq 0 ]
		[ "$(jq -c '[.bytes, .source.cached, .sinks[0].cached]' report)" = "[45000777,0,0]" ]
	done
}

@test "without it the pages stay, and the report says nothing of them" {
	on_disk
	data a 9000000
	copy --report report a b
	exits 0
	[ "$(cached b)" -gt 8000000 ]
	[ "$(jq -c '[.source.cached, .sinks[0].cached]' report)" = "[null,null]" ]
}

@test "a fan-out drops each file, and goes on with what has no page cache" {
	on_disk
	data a 33000001
	for options in "" "--timeout 600"; do
		# shellcheck disable=SC2086
		"$USPLICE" copy --drop-cache --overwrite $options --report report a b c - | cat >d
		[ "$(cached a)" -eq 0 ]
		[ "$(cached b)" -eq 0 ]
		[ "$(cached c)" -eq 0 ]
		same a b
		same a c
		same a d
		[ "$(jq -c '[.sinks[].cached]' report)" = "[0,0,null]" ]
	done
}

@test "a part of a file leaves, and what the copy did not touch stays" {
	on_disk
	data a 60000000
	data part 16777216
	cat a >null.copy
	copy --drop-cache --skip 8388608 --count 16777216 --seek 20971520 a part
	exits 0
	[ "$(cached a)" -ge 30000000 ] # all but the middle, and what was read ahead of its end
	[ "$(cached a)" -le 43300000 ]
	[ "$(stat -c %s part)" -eq 37748736 ]
	same <(tail -c +20971521 part) <(tail -c +8388609 a | head -c 16777216)
}

@test "--append and an inherited descriptor begin where they stand" {
	on_disk
	data a 20000000
	data b 12000000
	cp b was
	copy --drop-cache --append a b
	exits 0
	same <(tail -c 20000000 b) a
	"$USPLICE" copy --drop-cache - - <a >c
	[ "$(cached c)" -eq 0 ]
	same a c
	{
		echo before
		"$USPLICE" copy --drop-cache - -
	} <a >>d
	[ "$(cached d)" -le 4096 ] # the page that has the line, too
	same <(tail -n +2 d) a
}

@test "what is decompressed and what is compressed leaves" {
	on_disk
	head -c 30000000 /dev/urandom | base64 -w 0 >a
	"$USPLICE" copy --compress zstd a a.zst
	copy --drop-cache --decompress a.zst b
	exits 0
	[ "$(cached a.zst)" -eq 0 ]
	[ "$(cached b)" -eq 0 ]
	same a b
	copy --drop-cache --compress zstd a c.zst
	exits 0
	[ "$(cached a)" -eq 0 ]
	[ "$(cached c.zst)" -eq 0 ]
	same a <(zstd -dc c.zst)
}

@test "a block device leaves the page cache, too" {
	data a 20971520
	truncate -s 20M image
	device=$(losetup --find --show image 2>/dev/null) || skip "cannot make a loop device here"
	copy --drop-cache --report report a "$device"
	"$USPLICE" copy -q --drop-cache --report back "$device" b
	losetup --detach "$device"
	exits 0
	same a b
	[ "$(jq '.sinks[0].cached' report)" -eq 0 ]
	[ "$(jq '.source.cached' back)" -eq 0 ]
}

@test "pages that somebody else holds stay, and that is said" {
	on_disk
	data a 16000000
	exec {held}<a
	# A mapping that is locked, as a program's own memory.
	coproc holder { python3 -c '
import mmap, sys, os
held = mmap.mmap(os.open("a", os.O_RDONLY), 1 << 20, mmap.MAP_SHARED, mmap.PROT_READ)
sum(held[i] for i in range(0, len(held), 4096))
print("held", flush=True)
sys.stdin.read()'; }
	read -r -u "${holder[0]}"
	copy --drop-cache --report report a null:
	exits 0
	[ "$(jq '.source.cached' report)" -ge 1048576 ]
	[ "$(jq '.source.cached' report)" -lt 16000000 ]
	says "of it are still in the page cache"
	copy -q --drop-cache a null:
	exits 0
	[ -z "$stderr" ]
	exec {holder[1]}>&-
	wait "$holder_PID"
}

@test "a file system of memory keeps all of it, which is said and is no failure" {
	[ -d /dev/shm ] && [ "$(stat -f -c %T /dev/shm)" = tmpfs ] || skip "needs a tmpfs"
	shm=$(mktemp -p /dev/shm)
	data a 3000000
	copy --drop-cache --overwrite --report report a "$shm"
	rm -f "$shm"
	exits 0
	says "sink $shm: 2.9 MiB of it are still in the page cache"
	[ "$(jq '.sinks[0].cached' report)" -ge 3000000 ]
}

@test "what has no page cache at all is refused, and so are several sources" {
	data a 10
	copy --drop-cache null: null:
	exits 2
	says "usplice: option --drop-cache: neither the source nor a sink is a file or a block device"
	run --separate-stderr "$USPLICE" cat --drop-cache a a
	exits 2
	says "usplice: cat: --drop-cache takes one source"
}
