#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Plain files whose pages are spliced to the kernel.

load mount

# spliced: bytes of the first source that went by splice(2).
spliced() {
	status_of mnt '.sources[0].spliced'
}

# needs_splice: skip where the file system of this directory is none whose pages are spliced.
needs_splice() {
	case $(stat -f -c %T .) in
	ext2/ext3 | xfs | btrfs | f2fs | tmpfs) ;;
	*) skip "the pages of this file system are not spliced" ;;
	esac
}

@test "pages that the kernel has of a plain file are spliced, whatever the end of the file" {
	needs_splice
	for bytes in 3000001 1048576 65536 65535 4097; do
		data source $bytes
		for options in "" --direct "--threads 1"; do
			# shellcheck disable=SC2086
			show --no-passthrough $options source mnt
			exits 0
			dd if=mnt/source bs=512k status=none | same source -
			[ "$(status_of mnt '.sources[0].copied')" -ge $bytes ]
			if [ $bytes -ge 1048576 ]; then
				[ "$(spliced)" -ge 65536 ]
				"$USPLICE" mount --status mnt | grep "^source: .*copied twice by each reply, or once if it is spliced.* of them spliced"
			elif [ $bytes -lt 65536 ]; then
				[ "$(spliced)" -eq 0 ]
			fi
			umount mnt
		done
	done
}

@test "reads of any length at any offset are the bytes of the file, also side by side" {
	needs_splice
	data source 3000001
	show --no-passthrough --direct source mnt
	exits 0
	python3 -c '
import os, random, threading
plain = open("source", "rb").read()
def read(seed):
    chance = random.Random(seed)
    fd = os.open("mnt/source", os.O_RDONLY)
    for _ in range(150):
        off = chance.choice([chance.randrange(len(plain) + 10), chance.randrange(700) * 4096])
        length = chance.choice([chance.randrange(1, 1 << 20), 1 << 20, 65536, 65537])
        got = os.pread(fd, length, off)
        if got != plain[off:off + length]:
            wrong.append((off, length, len(got)))
    os.close(fd)
wrong = []
threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong[:3]'
	[ "$(spliced)" -gt 0 ]
	[ "$(status_of mnt '.sources[0].errors')" -eq 0 ]
	umount mnt
}

@test "a file that becomes shorter and longer below readers gives the bytes that it has, and no error of the server" {
	needs_splice
	data whole 2000000
	cp whole source
	show --no-passthrough --direct source mnt
	exits 0
	python3 -c '
import os, threading
whole = open("whole", "rb").read()
def change():
    with open("source", "r+b") as source:
        for turn in range(200):
            source.truncate(100001 if turn % 2 else 70000)
            source.seek(0)
            source.write(whole)
            source.flush()
    is_done.set()
is_done = threading.Event()
changer = threading.Thread(target=change)
changer.start()
fd = os.open("mnt/source", os.O_RDONLY)
while not is_done.is_set():
    try:
        got = os.pread(fd, 262144, 65536)
    except OSError:
        continue
    # What was cut of a page is zeros until it is written again, which may be just now.
    want = whole[65536:65536 + len(got)]
    assert got == want or all(one in (0, other) for one, other in zip(got, want)), len(got)
changer.join()'
	eventually same source mnt/source
	umount mnt
}
