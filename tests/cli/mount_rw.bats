#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice mount --rw: sources that other programs write.

load mount

# The ways in which a writable file can be served.
ways=(--no-passthrough "--no-passthrough --direct" "--no-passthrough --threads=1" "")

as_nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}

@test "the programs that people have write it" {
	data new 2000003
	for options in "${ways[@]}"; do
		data source 3000001
		# shellcheck disable=SC2086
		show --rw $options source mnt
		exits 0
		[ "$(stat -c %a mnt/source)" = 644 ]
		cp new mnt/source
		same new source
		dd if=new of=mnt/source bs=4097 skip=3 seek=7 count=20 conv=notrunc status=none
		cp new expected
		dd if=new of=expected bs=4097 skip=3 seek=7 count=20 conv=notrunc status=none
		same expected source
		same expected mnt/source
		echo more >>mnt/source
		[ "$(tail -c 5 source)" = more ]
		truncate -s 100 mnt/source
		[ "$(stat -c %s source) $(stat -c %s mnt/source)" = "100 100" ]
		truncate -s 100000 mnt/source
		[ "$(tail -c 5000 source | tr -d '\0' | wc -c)" -eq 0 ]
		: >mnt/source
		[ "$(stat -c %s source)" -eq 0 ]
		"$USPLICE" copy new mnt/source
		same new source
		touch -d '2020-01-02 UTC' mnt/source
		[ "$(date -u -r source +%F)" = 2020-01-02 ]
		sync mnt/source
		umount mnt
	done
}

@test "a random writer, the source and what is read always agree" {
	for options in "${ways[@]}"; do
		data source 300000
		# shellcheck disable=SC2086
		show --rw $options source file
		exits 0
		for _ in 1 2; do
			# shellcheck disable=SC2086
			timeout 300 python3 "$BATS_TEST_DIRNAME/mount_rw.py" file source "$RANDOM" $options
		done
		umount file
	done
}

@test "two writers and a reader at a time: each byte is that of one of them" {
	data source 1000000
	show --rw --no-passthrough source file
	exits 0
	timeout 300 python3 - file <<-'PYTHON'
		import os, sys, threading
		SIZE, PIECE = 1000000, 5000
		def write(nr):
		    fd = os.open(sys.argv[1], os.O_WRONLY)
		    for pos in range(nr * PIECE, SIZE, 2 * PIECE):
		        assert os.pwrite(fd, bytes([65 + nr]) * PIECE, pos) == PIECE
		    os.fsync(fd)
		threads = [threading.Thread(target=write, args=(nr,)) for nr in range(2)]
		for thread in threads:
		    thread.start()
		fd = os.open(sys.argv[1], os.O_RDONLY)
		while any(thread.is_alive() for thread in threads):
		    assert len(os.pread(fd, SIZE, 0)) == SIZE
		for thread in threads:
		    thread.join()
		assert os.pread(fd, SIZE, 0) == (b"A" * PIECE + b"B" * PIECE) * (SIZE // PIECE // 2)
	PYTHON
	umount file
	[ "$(tr -d AB <source | wc -c)" -eq 0 ]
}

@test "holes are found, made, and what is allocated is there" {
	truncate -s 1M source
	for options in --no-passthrough ""; do
		# shellcheck disable=SC2086
		show --rw $options source file
		exits 0
		dd if=/dev/urandom of=file bs=64K seek=4 count=1 conv=notrunc status=none
		python3 - file source <<-'PYTHON'
			import os, sys
			for path in sys.argv[1:]:
			    fd = os.open(path, os.O_RDONLY)
			    print(os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 262144, os.SEEK_HOLE))
		PYTHON
		fallocate --punch-hole -o 256K -l 64K file
		[ "$(tr -d '\0' <source | wc -c)" -eq 0 ]
		[ "$(tr -d '\0' <file | wc -c)" -eq 0 ]
		fallocate -l 2M file
		[ "$(stat -c %s source)" -eq 2097152 ]
		umount file
		truncate -s 1M source
	done
}

@test "what changes in the source is seen, and a program that appends does not write over it" {
	printf 'one\n' >source
	for options in "${ways[@]}"; do
		# shellcheck disable=SC2086
		show --rw $options source file
		exits 0
		cat file >before
		exec 7>>file
		printf 'two\n' >>source
		printf 'three\n' >&7
		exec 7>&-
		[ "$(tail -n 2 source | tr '\n' ' ')" = "two three " ]
		eventually cmp -s source file
		umount file
	done
}

@test "programs that append through the mount and past it end, and no byte is lost" {
	for options in "" --threads=1 --direct; do
		: >source
		# shellcheck disable=SC2086
		show --rw --no-passthrough $options source file
		exits 0
		timeout 300 python3 - file file source <<-'PYTHON'
			import os, sys
			LINES, LEN = 3000, 37
			children = []
			for nr, path in enumerate(sys.argv[1:]):
			    child = os.fork()
			    if child == 0:
			        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
			        for _ in range(LINES):
			            assert os.write(fd, bytes([97 + nr]) * LEN) == LEN
			        os.close(fd)
			        os._exit(0)
			    children.append(child)
			assert all(os.waitpid(child, 0)[1] == 0 for child in children)
			for letter in b"abc":
			    with open("source", "rb") as file:
			        assert file.read().count(letter) == LINES * LEN
		PYTHON
		eventually cmp -s source file
		umount file
	done
}

@test "a directory: what can be written is, and nothing else changes" {
	mkdir folder
	data folder/one 1000
	data folder/two 1000
	chmod 444 folder/two
	mkfifo folder/fifo
	show --rw folder mnt
	exits 0
	cat folder/one folder/one >twice
	cp twice mnt/one
	same twice folder/one
	never touch mnt/three
	never rm -f mnt/one
	never mv mnt/one mnt/three
	never mkdir mnt/three
	never ln mnt/one mnt/three
	never ln -s one mnt/three
	run --separate-stderr chmod 600 mnt/one
	says "Operation not permitted"
	chmod "$(stat -c %a mnt/one)" mnt/one
	run --separate-stderr rm -f mnt/one
	says "Operation not permitted"
	umount mnt
}

@test "what cannot be written is refused before it is mounted" {
	needs formats zstd
	data source 1000
	"$USPLICE" copy --compress zstd source source.zst
	for options in "--decompress source.zst" "--prefetch source" "--verify crc32c:00000000 source" "--decrypt key source"; do
		# shellcheck disable=SC2086
		show --rw $options mnt
		exits 2
		says "--rw"
	done
	mkfifo pipe
	for source in pipe cached:source tcp:127.0.0.1:1 "source,direct" "source,append"; do
		show --rw "$source" mnt
		[ "$status" -ne 0 ]
		says "source $source"
	done
	show --rw pipe mnt
	exits 3
	says "only a file, a block device or memory can be written at an offset"
	never mountpoint -q mnt
	show --rw /proc/self/comm mnt
	exits 3
	says "it has more bytes than its size says"
	[ ! -e missing ]
	show --rw missing mnt
	exits 3
	says "No such file"
	[ ! -e missing ]
}

@test "without --rw nothing can be written" {
	data source 1000
	cp source plain
	show source mnt
	exits 0
	run --separate-stderr dd if=/dev/zero of=mnt/source conv=notrunc status=none
	says "Read-only file system"
	umount mnt
	same plain source
}

@test "memory is a file that grows" {
	show --rw mem: mnt
	exits 0
	data plain 300000
	cp plain mnt/mem
	same plain mnt/mem
	dd if=plain of=mnt/mem bs=1000 seek=500 conv=notrunc status=none
	[ "$(stat -c %s mnt/mem)" -eq 800000 ]
	run --separate-stderr truncate -s 10 mnt/mem
	says "Operation not permitted"
	umount mnt
}

@test "a full file system gives its error to write(2), and what fits is there" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser mounts"
	mkdir small
	mount -t tmpfs -o size=1M tmpfs small || skip "no tmpfs here"
	data plain 3000000
	for options in "${ways[@]}"; do
		: >small/source
		# shellcheck disable=SC2086
		show --rw $options "$PWD/small/source" file
		exits 0
		run --separate-stderr dd if=plain of=file bs=1M conv=notrunc status=none
		[ "$status" -ne 0 ]
		says "No space left on device"
		[ "$(stat -c %s small/source)" -eq 1048576 ]
		head -c 1048576 plain | same - file
		umount file
	done
	eventually umount small # the command may close it just now
}

# room PATH: the free blocks and all blocks of the file system, as statfs(2) tells them.
room() {
	stat -f -c '%a %b %S' "$1"
}

@test "the room that is told is that of the file system below a file, and the least one of all" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser mounts"
	small_disk 1M
	data small/source 100000
	data there 1000
	show --rw --no-passthrough "$PWD/small/source" there mnt
	exits 0
	[ "$(room mnt/source)" = "$(room small)" ]
	[ "$(room mnt)" = "$(room small)" ]
	[ "$(stat -f -c '%b %S' mnt/there)" = "$(stat -f -c '%b %S' .)" ]
	dd if=/dev/zero of=mnt/source bs=1000 seek=100 count=500 conv=notrunc status=none
	[ "$(room mnt/source)" = "$(room small)" ]
	umount mnt
	show --rw mem: mnt
	exits 0
	[ "$(stat -f -c %a mnt/mem)" -gt 0 ]
	umount mnt
	eventually umount small # the command may close it just now
}

@test "the errors of write, fsync, close and truncate are those of the source" {
	data plain 400000
	for fault in "direct write=100000:EDQUOT" fsync=EIO fsync=ENOSPC flush=EDQUOT truncate=EFBIG; do
		# shellcheck disable=SC2086
		faulty_disk $fault
		cp plain real/source
		serve --rw --no-passthrough "$PWD/faulty/source" file
		run python3 - file <<-'PYTHON'
			import errno, os, sys
			fd = os.open(sys.argv[1], os.O_RDWR)
			def tell(what, act, *args):
			    try:
			        print(what, act(*args))
			    except OSError as error:
			        print(what, errno.errorcode[error.errno])
			tell("first", os.pwrite, fd, b"x" * 200000, 0)
			tell("second", os.pwrite, fd, b"x" * 100000, 100000)
			tell("sync", os.fsync, fd)
			tell("truncate", os.ftruncate, fd, 10)
			tell("close", os.close, fd)
		PYTHON
		echo "$fault: $output"
		case $fault in
		*write=*) [[ $output == *"first 100000"*"second EDQUOT"*"sync None"* ]] ;;
		fsync=*) [[ $output == *"first 200000"*"sync ${fault#*=}"*"truncate None"* ]] ;;
		flush=*) [[ $output == *"sync None"*"close EDQUOT"* ]] ;;
		truncate=*) [[ $output == *"truncate EFBIG"* ]] ;;
		esac
		kill -TERM "$job"
		case $fault in
		fsync=*)
			finish 1
			grep -q "what was written did not reach the disk" job.err
			;;
		*) finish 0 ;;
		esac
	done
}

@test "a slow disk holds back those who write it, and nobody else" {
	faulty_disk slow=20
	data real/slow 1000
	data plain 1000000
	cp plain other
	serve --rw --no-passthrough --threads 2 "$PWD/faulty/slow" other mnt
	for _ in 1 2 3 4; do
		dd if=plain of=mnt/slow bs=64K conv=notrunc status=none 3>&- &
		writers+=($!)
	done
	for _ in {1..20}; do
		cp plain mnt/other
		same plain mnt/other
	done
	for writer in "${writers[@]}"; do
		wait "$writer"
	done
	same real/slow plain
	kill -TERM "$job"
	finish 0
}

@test "after SIGKILL nothing is lost that write has taken" {
	data plain 3000000
	for options in --no-passthrough ""; do
		: >source
		# shellcheck disable=SC2086
		serve --rw $options source mnt
		exec 7<>mnt/source
		cat plain >&7
		kill -KILL "$job"
		run -0 cmp plain source
		run ! dd if=plain of=mnt/source conv=notrunc status=none
		exec 7>&- || true
		umount mnt
	done
}

@test "SIGTERM waits for what is open, and all of it is written" {
	data plain 1000000
	cp plain source
	serve --rw --no-passthrough source mnt
	exec 7<>mnt/source
	kill -TERM "$job"
	eventually grep -q 'waiting for 1 open files to be closed' job.err
	printf 'late' >&7
	exec 7>&-
	finish 0
	[ "$(head -c 4 source)" = late ]
}

@test "no byte goes into a file that has lost its name, and the end tells of those that were there" {
	mkdir folder
	for options in --no-passthrough "--no-passthrough --direct" ""; do
		data folder/one 100000
		data folder/two 1000
		# shellcheck disable=SC2086
		serve --rw $options folder mnt
		printf first | dd of=mnt/one conv=notrunc,fsync status=none
		printf first | dd of=mnt/two conv=notrunc,fsync status=none
		exec 7<>mnt/one
		data next 2000
		mv next folder/one
		eventually never dd if=/dev/null of=mnt/one conv=notrunc status=none
		run -1 --separate-stderr dd if=/dev/zero of=mnt/one count=1 conv=notrunc status=none
		says "Stale file handle"
		run -1 --separate-stderr truncate -s 10 mnt/one
		printf old >&7 # what is open goes on
		exec 7>&-
		printf second | dd of=mnt/one conv=notrunc,fsync status=none
		[ "$(head -c 6 folder/one) $(stat -c %s folder/one)" = "second 2000" ]
		[ "$(status_of mnt '.sources[] | select(.name == "one").lost')" = true ]
		umount mnt
		finish 1
		grep -q "source folder/one: its name leads to another file now, or to none: what was written to the one before" job.err
		never grep folder/two job.err
	done
}

@test "what was written to a file that was removed is told at the end" {
	for point in file mnt; do
		data source 1000
		serve --rw source "$point"
		shown=$point
		[ -f "$point" ] || shown=$point/source
		printf x | dd of="$shown" conv=notrunc,fsync status=none
		rm source
		umount "$point"
		finish 1
		grep -q "source source: its name leads to another file now, or to none" job.err
	done
}

@test "a file that was only read may lose its name" {
	data source 1000
	serve --rw source mnt
	same source mnt/source
	rm source
	umount mnt
	finish 0
	[ ! -s job.err ]
}

@test "a directory to write may have more files than descriptors, and what was written is there" {
	mkdir many
	for i in {1..600}; do
		echo "file $i" >"many/f$i"
	done
	for options in --no-passthrough ""; do
		# shellcheck disable=SC2086
		run --separate-stderr timeout "$patience" bash -c 'ulimit -n 256; exec "$@"' - "$USPLICE" mount --background --rw $options many mnt
		exits 0
		[ "$(stat -c %s mnt/f* | wc -l)" -eq 600 ]
		for i in {1..600}; do
			echo "new $i" >"mnt/f$i"
		done
		cat mnt/f{600..1} | same - <(cat many/f{600..1})
		[ "$(cat mnt/f300)" = "new 300" ]
		echo longer >>many/f1
		eventually same many/f1 mnt/f1
		truncate -s 3 mnt/f{1..600}
		[ "$(stat -c %s many/f* | sort -u)" -eq 3 ]
		umount mnt
	done
}

@test "what cannot be synced stays open, and its error is told" {
	faulty_disk fsync=EIO
	for i in {1..200}; do
		echo "file $i" >"real/f$i"
	done
	run --separate-stderr timeout "$patience" bash -c 'ulimit -n 256; exec "$@"' - "$USPLICE" mount --background --rw --no-passthrough "$PWD/faulty" mnt
	exits 0
	echo x >mnt/f1
	stat mnt/f{2..200} >/dev/null
	[ "$(status_of mnt '.sources[] | select(.name == "f1") | [.way, .sync_error] | join(" ")')" = "uncached 5" ]
	umount mnt
}

@test "an error to the disk after the last close is told at the end" {
	faulty_disk fsync=EIO
	data real/source 1000
	serve --rw --no-passthrough "$PWD/faulty/source" file
	printf x >file || true
	kill -TERM "$job"
	finish 1
	grep -q "source $PWD/faulty/source: what was written did not reach the disk: Input/output error" job.err
}

@test "a disk that hangs at the end is waited for until --sync-timeout" {
	faulty_disk hang=one
	touch real/hangs
	data real/one 1000
	data real/two 1000
	serve --rw --no-passthrough --sync-timeout 500ms "$PWD/faulty/one" "$PWD/faulty/two" mnt
	printf x | tee mnt/one >mnt/two
	kill -TERM "$job"
	finish 1
	grep -q "source $PWD/faulty/one: what was written may not be on the disk" job.err
	never mountpoint -q mnt
	[ "$(head -c 1 real/one)$(head -c 1 real/two)" = xx ]
}

@test "a further signal ends the wait for a disk that hangs, which holds back no other file" {
	faulty_disk hang=one
	touch real/hangs
	data real/one 1000
	data real/two 1000
	serve --rw --no-passthrough "$PWD/faulty/one" "$PWD/faulty/two" mnt
	printf x | tee mnt/one >mnt/two
	umount mnt
	eventually [ -e real/two.synced ]
	kill -TERM "$job"
	stays kill -0 "$job" || { cat job.err; false; }
	kill -TERM "$job"
	finish 1
	grep -q "source $PWD/faulty/one: what was written may not be on the disk" job.err
}

@test "a disk that answers in time is waited for" {
	faulty_disk hang=one
	touch real/hangs
	data real/one 1000
	serve --rw --no-passthrough "$PWD/faulty/one" mnt
	printf x >mnt/one
	umount mnt
	rm real/hangs
	finish 0
	[ ! -s job.err ]
}

@test "a program whose fsync hangs gets an answer at the end" {
	data plain 1000
	for threads in 1 2 8; do
		faulty_disk hang=one
		touch real/hangs
		data real/one 1000
		serve --rw --no-passthrough --threads "$threads" --drain-timeout 1ms --sync-timeout 2s "$PWD/faulty/one" plain mnt
		rm -f began
		python3 - mnt/one began <<-'PYTHON' >answer 3>&- &
			import errno, os, sys
			fd = os.open(sys.argv[1], os.O_RDWR)
			os.pwrite(fd, b"x", 0)
			open(sys.argv[2], "w").close()
			try:
			    os.fsync(fd)
			    print("synced")
			except OSError as error:
			    print(errno.errorcode[error.errno])
		PYTHON
		program=$!
		eventually [ -e began ]
		same plain mnt/plain
		kill -TERM "$job"
		wait "$program"
		grep -Ex "ENOTCONN|ECONNABORTED" answer || { cat answer job.err; false; }
		finish 1
		grep -q "source $PWD/faulty/one: what was written may not be on the disk" job.err
		never mountpoint -q mnt
	done
}

@test "with --sync each write is on the disk, or gives the error" {
	for options in --no-passthrough "--no-passthrough --direct"; do
		faulty_disk fsync=EIO
		data real/source 1000
		# shellcheck disable=SC2086
		serve --rw --sync $options "$PWD/faulty/source" file
		run dd if=/dev/zero of=file bs=100 count=1 conv=notrunc status=none
		[[ $output == *"Input/output error"* ]]
		umount file
		finish 1
	done
}

@test "an error to the disk that a program was told of is in the exit code, too" {
	faulty_disk fsync_once=ENOSPC
	data real/source 1000
	serve --rw --no-passthrough "$PWD/faulty/source" file
	run dd if=/dev/zero of=file count=1 conv=notrunc,fsync status=none
	[[ $output == *"No space left"* ]]
	umount file
	finish 1
	grep -q "source $PWD/faulty/source: what was written did not reach the disk: No space left on device" job.err
}

@test "who may not write the source may not write it here, and set-user-ID goes" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser becomes somebody else"
	grep -qs '^user_allow_other' /etc/fuse.conf || [ "$(id -u)" -eq 0 ]
	data one 1000
	data two 1000
	chmod 644 one
	chmod 4777 two
	for options in --no-passthrough ""; do
		chmod 4777 two
		# shellcheck disable=SC2086
		show --rw --allow-other $options one two mnt
		exits 0
		run as_nobody dd if=/dev/zero of=mnt/one count=1 conv=notrunc status=none
		[ "$status" -ne 0 ]
		as_nobody dd if=/dev/zero of=mnt/two bs=100 count=1 conv=notrunc status=none
		[ "$(stat -c %a two)" = 777 ]
		umount mnt
	done
}

@test "an access list gives a group no rights here that it does not have" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser becomes somebody else"
	command -v setfacl >/dev/null || skip "no setfacl"
	data one 1000
	chgrp 65534 one
	chmod 640 one
	setfacl -m u:12345:rw one || skip "no access lists here"
	[ "$(stat -c %a one)" = 660 ]
	show --rw --allow-other one mnt
	exits 0
	run as_nobody dd if=/dev/zero of=mnt/one count=1 conv=notrunc status=none
	[ "$status" -ne 0 ]
	umount mnt
}

@test "an ordinary user writes what the user may write" {
	data source 300000
	unshare -Urm true 2>/dev/null || skip "no user namespaces here"
	searches_no_leaks
	data plain 400000
	unshare -Urm bash -euc '
		"$USPLICE" mount --rw --background source mnt
		cp plain mnt/source
		cmp plain mnt/source
		umount mnt'
	same plain source
}

@test "a file system in a source can be written" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser mounts disks"
	command -v mkfs.ext4 >/dev/null || skip "no mkfs.ext4"
	truncate -s 16M disk
	mkdir inside
	data plain 3000000
	for options in "" --no-passthrough; do
		# shellcheck disable=SC2086
		show --rw $options disk file
		exits 0
		mkfs.ext4 -q -F file
		mount -o loop file inside 2>/dev/null || {
			umount file
			skip "no loop devices here"
		}
		cp plain inside/copy
		umount inside
		eventually umount file
		e2fsck -f -n disk
		mount -o loop,ro disk inside
		same plain inside/copy
		umount inside
	done
}

@test "the option of fstab is writable, because mount(8) says rw for all" {
	data source 1000
	data plain 1000
	ln -s "$USPLICE" mount.fuse.usplice
	run --separate-stderr ./mount.fuse.usplice source mnt -o rw,nofail
	exits 0
	never cp plain mnt/source
	umount mnt
	run --separate-stderr ./mount.fuse.usplice source mnt -o writable,ro
	exits 2
	says "ro and writable exclude each other"
	run --separate-stderr ./mount.fuse.usplice source mnt -o rw,writable
	exits 0
	cp plain mnt/source
	same plain source
	umount mnt
}

@test "locks are those of the mount, and not of the source" {
	data source 1000
	show --rw source mnt
	exits 0
	exec 7<>mnt/source
	flock -xn 7
	run flock -xn mnt/source true
	[ "$status" -ne 0 ]
	flock -xn source true
	exec 7>&-
	eventually flock -xn mnt/source true
	umount mnt
}

@test "the status counts what was written" {
	data source 100000
	show --rw --no-passthrough source mnt
	exits 0
	dd if=/dev/zero of=mnt/source bs=1000 count=4 conv=notrunc status=none
	[ "$(status_of mnt '.sources[0] | [.way, .writable, .writes, .written, .sync_error] | join(" ")')" = \
		"uncached true 4 4000 0" ]
	"$USPLICE" mount --status mnt | grep -q '; 4 writes of 4000 bytes'
	umount mnt
}

@test "the status tells the size that a file has now, also before a program asks for it" {
	for options in --no-passthrough ""; do
		data source 1000
		# shellcheck disable=SC2086
		show --rw $options source mnt
		exits 0
		exec 7>>mnt/source
		echo more >&7
		[ "$(status_of mnt '.sources[0].bytes')" -eq 1005 ]
		echo more >>source
		"$USPLICE" mount --status mnt | grep -q '^source: .*; 1010 bytes;'
		exec 7>&-
		[ "$(stat -c %s mnt/source)" -ge 1005 ]
		eventually same source mnt/source
		umount mnt
	done
}
