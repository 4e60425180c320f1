#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice mount: sources as files that other programs read.

load mount

@test "a file is seen in a directory, and can be read as any other" {
	data source 3000001
	serve source mnt
	[ "$(ls mnt)" = source ]
	[ "$(stat -c '%s %a' mnt/source)" = "3000001 444" ]
	same source mnt/source
	kill -TERM "$job"
	finish 0
	never mountpoint -q mnt
}

@test "a file is seen in place of a regular file" {
	data source 100001
	show source file
	exits 0
	same source file
	umount file
	[ "$(stat -c %s file)" -eq 0 ]
}

@test "several sources are files of a directory" {
	data one 5000
	data two 70000
	show one two mem:hello mnt
	exits 0
	[ "$(ls mnt | tr '\n' ' ')" = "mem one two " ]
	same one mnt/one
	same two mnt/two
	[ "$(cat mnt/mem)" = hello ]
	never test -e mnt/three
	never touch mnt/one
	never touch mnt/three
}

@test "the programs that people have read it" {
	data source 2000003
	for options in --no-passthrough --direct --prefetch ""; do
		# shellcheck disable=SC2086
		show $options source file
		exits 0
		cat file | same source -
		cp file copy
		same source copy
		dd if=file of=copy bs=1M status=none
		same source copy
		dd if=file of=copy bs=1000 skip=3 status=none
		tail -c +3001 source | same - copy
		head -c 1000 file | same <(head -c 1000 source) -
		tail -c 1000 file | same <(tail -c 1000 source) -
		[ "$(wc -c <file)" -eq 2000003 ]
		if command -v busybox >/dev/null; then
			busybox cat file | same source -
		fi
		"$USPLICE" copy file copy
		same source copy
		umount file
	done
}

@test "mmap and sendfile to TCP read it" {
	data source 1000003
	for options in --no-passthrough --direct ""; do
		# shellcheck disable=SC2086
		show $options source file
		exits 0
		python3 - file source <<-'PYTHON'
			import mmap, os, socket, sys, threading
			with open(sys.argv[2], "rb") as plain:
			    expected = plain.read()
			fd = os.open(sys.argv[1], os.O_RDONLY)
			size = os.fstat(fd).st_size
			assert size == len(expected)
			with mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mapped:
			    assert mapped[:] == expected
			listener = socket.create_server(("127.0.0.1", 0))
			got = []
			def take():
			    peer = listener.accept()[0]
			    while piece := peer.recv(65536):
			        got.append(piece)
			thread = threading.Thread(target=take)
			thread.start()
			sender = socket.create_connection(listener.getsockname())
			off = 0
			while off < size:
			    off += os.sendfile(sender.fileno(), fd, off, size - off)
			sender.close()
			thread.join()
			assert b"".join(got) == expected
		PYTHON
		umount file
	done
}

@test "many threads read at random what is not in a small cache" {
	data source 20000000
	for options in --no-passthrough --direct; do
		show $options --budget 1M source file
		exits 0
		python3 - file source <<-'PYTHON'
			import os, random, sys, threading
			shown, plain = (os.open(name, os.O_RDONLY) for name in sys.argv[1:])
			wrong = []
			def read(seed):
			    chance = random.Random(seed)
			    for _ in range(150):
			        off, length = chance.randrange(20000000), chance.randrange(1, 300000)
			        if os.pread(shown, length, off) != os.pread(plain, length, off):
			            wrong.append((off, length))
			threads = [threading.Thread(target=read, args=(seed,)) for seed in range(8)]
			for thread in threads: thread.start()
			for thread in threads: thread.join()
			assert not wrong, wrong
		PYTHON
		umount file
	done
}

@test "what is compressed is decompressed, with a table of pieces or without" {
	needs formats zstd gzip xz lz4
	data plain 3000000
	for format in zstd gzip xz lz4; do
		"$USPLICE" copy --compress $format plain packed
		show --decompress packed file
		exits 0
		same plain file
		umount file
	done
}

@test "what is encrypted and compressed is read where it is asked for" {
	needs features age
	needs formats zstd
	command -v age-keygen >/dev/null || skip "no age-keygen"
	data plain 3000000
	age-keygen -o key.txt 2>/dev/null
	"$USPLICE" copy --encrypt "$(age-keygen -y key.txt)" plain plain.age
	"$USPLICE" copy --compress zstd --encrypt "$(age-keygen -y key.txt)" plain plain.zst.age
	show --decrypt key.txt --decompress plain.zst.age mnt
	exits 0
	same plain mnt/plain
	umount mnt
	show --decrypt key.txt plain.age mnt
	exits 0
	[ "$(status_of mnt '.sources[0].is_copy')" = false ]
	dd if=mnt/plain bs=4096 skip=300 count=3 status=none | same <(dd if=plain bs=4096 skip=300 count=3 status=none) -
	same plain mnt/plain
	umount mnt
	show --decrypt missing.txt plain.age mnt
	exits 2
	never mountpoint -q mnt
}

@test "a stream is copied first, into memory or into the spool" {
	data plain 5000000
	cat plain | "$USPLICE" mount --background - file
	same plain file
	umount file
	mkdir spool
	cat plain | "$USPLICE" mount --background --budget 1M --spool spool - file
	same plain file
	[ "$(status_of file .memory_of_copies)" -eq 0 ]
	[ -z "$(ls spool)" ]
	umount file
	run --separate-stderr bash -c 'cat plain | "$USPLICE" mount --background --budget 1M - file'
	exits 3
	says "its copy does not fit into the budget"
	never mountpoint -q file
	"$USPLICE" mount --background - file </dev/null
	[ "$(stat -c %s file)" -eq 0 ]
	[ -z "$(cat file)" ]
}

@test "in the background too, files of digests and the spool are where the command line says" {
	needs digests sha256
	needs formats gzip
	mkdir folder spool
	data folder/one 1000
	data folder/two 1000
	data folder/none 1000
	sha256sum folder/one folder/two >SUMS
	show --verify-file SUMS folder mnt
	exits 0
	same folder/one mnt/one
	same folder/two mnt/two
	never cat mnt/none
	"$USPLICE" mount --status mnt | grep 'none: .*(the file of digests has none for it)'
	umount mnt
	show --verify-file <(sha256sum folder/*) folder mnt # a pipe, which can be read once
	exits 0
	same folder/one mnt/one
	same folder/two mnt/two
	umount mnt
	cp SUMS mnt
	show --verify-file mnt/SUMS folder mnt # which the mount hides
	exits 0
	same folder/one mnt/one
	umount mnt
	data plain 3000000
	show --verify-file SUMS plain mnt
	exits 3
	says "source plain: the file of digests has none for it"
	"$USPLICE" copy --compress gzip plain folder/plain.gz
	show --budget 1M --spool spool --decompress folder mnt
	exits 0
	same plain mnt/plain
	umount mnt
	mkdir mnt/spool
	show --budget 1M --spool mnt/spool --decompress folder mnt
	exits 0
	same plain mnt/plain
	umount mnt
	mkdir blocks
	cp plain blocks/plain
	"$USPLICE" copy --write-blocks plain.blocks plain copy
	show --verify-blocks plain.blocks blocks mnt
	exits 0
	same plain mnt/plain
}

@test "what the options name and is not there is said at once" {
	mkdir folder
	data folder/one 1000
	for option in --verify-file --verify-blocks --spool; do
		for source in folder folder/one; do
			show $option missing $source mnt
			exits 2
			[ "$stderr" = "usplice: $option missing: No such file or directory" ]
		done
	done
	never mountpoint -q mnt
}

@test "small copies take no more of the budget than their pages" {
	needs formats gzip
	mkdir packed
	for i in {1..20}; do
		data "packed/$i" $((i * 300))
		"$USPLICE" copy --compress gzip "packed/$i" "packed/$i.gz"
		rm "packed/$i"
	done
	data plain 900000
	"$USPLICE" copy --compress gzip plain packed/plain.gz
	show --budget 1M --decompress packed mnt
	exits 0
	cat mnt/* >/dev/null
	same plain mnt/plain
	[ "$(status_of mnt '[.sources[].bytes] | length')" -eq 21 ]
	# Each has one page or two, and the large one 220.
	[ "$(status_of mnt .memory_of_copies)" -eq $((4096 * (13 + 7 * 2 + 220))) ]
}

@test "what fails its digest is never mounted" {
	needs digests sha256
	data source 300000
	local right wrong
	right=$(sha256sum <source | cut -d ' ' -f 1)
	wrong=$(sha256sum </dev/null | cut -d ' ' -f 1)
	show --verify "sha256:$right" source file
	exits 0
	same source file
	umount file
	show --verify "sha256:$wrong" source file
	exits 3
	says "source source: it has another digest than the one that is expected"
	never mountpoint -q file
	sha256sum source >SUMS
	show --verify-file SUMS source mnt
	exits 0
	same source mnt/source
	umount mnt
	"$USPLICE" copy --write-blocks blocks source copy
	show --verify-blocks blocks source file
	exits 0
	same source file
	umount file
	printf x | dd of=source bs=1 seek=100000 conv=notrunc status=none
	show --verify-blocks blocks source file
	exits 3
	show --verify-file SUMS source mnt
	exits 3
	never mountpoint -q mnt
}

@test "damaged gzip is never mounted, and in a directory it cannot be opened" {
	needs formats gzip
	mkdir folder
	data folder/good 1000
	"$USPLICE" copy --compress gzip folder/good folder/packed.gz
	"$USPLICE" copy --compress gzip folder/good folder/bad.gz
	printf xxxx | dd of=folder/bad.gz bs=1 seek=500 conv=notrunc status=none
	show --decompress folder/bad.gz file
	exits 3
	never mountpoint -q file
	show --decompress folder mnt
	exits 0
	[ "$(ls mnt | tr '\n' ' ')" = "bad good packed " ]
	same folder/good mnt/packed
	same folder/good mnt/good
	run cat mnt/bad
	[ "$status" -ne 0 ]
	[[ $output == *"Bad message"* ]]
	[ "$(status_of mnt '.sources[] | select(.name == "bad").way')" = failed ]
	run cat mnt/bad
	[ "$status" -ne 0 ]
}

# The first block of 64 KiB is good, and the second one is not.
@test "a damaged piece gives EBADMSG for its own bytes, and the others can be read" {
	needs features age
	command -v age-keygen >/dev/null || skip "no age-keygen"
	data plain 400000
	age-keygen -o key.txt 2>/dev/null
	"$USPLICE" copy --encrypt "$(age-keygen -y key.txt)" plain plain.age
	printf xxxx | dd of=plain.age bs=1 seek=100000 conv=notrunc status=none
	for options in --no-passthrough --direct; do
		show $options --decrypt key.txt plain.age file
		exits 0
		head -c 65536 file | same <(head -c 65536 plain) -
		tail -c +131073 file | same <(tail -c +131073 plain) -
		run --separate-stderr bash -c 'cat file >got'
		[ "$status" -ne 0 ]
		says "Bad message"
		[ "$(stat -c %s got)" -eq 65536 ]
		[ "$(status_of file '.sources[0].errors > 0')" = true ]
		umount file
	done
}

@test "a source that changes is read anew" {
	data source 100000
	show --no-passthrough source file
	exits 0
	same source file
	data source 150000
	eventually same source file
	data source 50000
	eventually same source file
}

@test "a source that gives nothing holds nobody else back" {
	mkdir folder
	data folder/plain 300000
	mkfifo folder/slow
	serve folder mnt
	cat mnt/slow >slow.out 3>&- &
	local reader=$!
	eventually test "$(status_of mnt .waiting)" -ge 0
	same folder/plain mnt/plain
	ls -l mnt/plain
	timeout "$patience" dd of=folder/slow status=none <<<"late news"
	wait "$reader"
	[ "$(cat slow.out)" = "late news" ]
	kill -TERM "$job"
	finish 0
}

is_waiting() {
	[ "$(status_of "$1" .waiting)" -gt 0 ]
}

@test "a program that waits for a source can be killed" {
	mkdir folder
	mkfifo folder/slow
	serve folder mnt
	cat mnt/slow 3>&- &
	local reader=$!
	eventually is_waiting mnt
	kill -TERM "$reader"
	finish 143 "$reader"
	kill -TERM "$job"
	finish 0
}

@test "what waits for a slow disk holds nobody else back" {
	faulty_disk slow=20
	data real/slow 3000000
	data plain 300000
	serve --no-passthrough "$PWD/faulty/slow" plain mnt
	cat mnt/slow >slow.out 3>&- &
	local reader=$!
	for _ in {1..20}; do
		same plain mnt/plain
	done
	wait "$reader"
	same real/slow slow.out
	kill -TERM "$job"
	finish 0
}

@test "a disk that fails gives its error where it is" {
	faulty_disk bad=200000+1
	data real/source 400000
	show --no-passthrough "$PWD/faulty/source" file
	exits 0
	run --separate-stderr bash -c 'cat file >got'
	[ "$status" -ne 0 ]
	says "Input/output error"
	head -c "$(stat -c %s got)" real/source | same - got
	tail -c +300001 file | same <(tail -c +300001 real/source) -
	umount file
}

@test "SIGTERM unmounts, and waits for what is open" {
	data source 100000
	serve --no-passthrough source mnt
	exec 7<mnt/source
	kill -TERM "$job"
	eventually grep -q 'waiting for 1 open files to be closed' job.err
	never mountpoint -q mnt
	cat <&7 | same source -
	kill -0 "$job"
	exec 7<&-
	finish 0
}

@test "a second signal ends it, and --drain-timeout does" {
	data source 3000000
	serve --no-passthrough source mnt
	exec 7<mnt/source
	kill -TERM "$job"
	eventually grep -q 'waiting for 1 open files' job.err
	kill -TERM "$job"
	finish 0
	run cat <&7
	[ "$status" -ne 0 ]
	exec 7<&-
	serve --no-passthrough --drain-timeout 100ms source mnt
	exec 7<mnt/source
	kill -TERM "$job"
	finish 0
	exec 7<&-
}

ends_by_itself() {
	! kill -USR1 "$job" 2>/dev/null
}

@test "SIGUSR1 does not prolong --drain-timeout" {
	data source 1000
	serve --no-passthrough --drain-timeout 2s source mnt
	exec 7<mnt/source
	kill -TERM "$job"
	eventually ends_by_itself
	finish 0
	exec 7<&-
}

@test "after SIGKILL reads fail and it can be unmounted" {
	data source 3000000
	serve --no-passthrough source mnt
	exec 7<mnt/source
	kill -KILL "$job"
	finish 137
	run cat <&7
	[ "$status" -ne 0 ]
	[[ $output == *"not connected"* ]]
	exec 7<&-
	run ls mnt
	[ "$status" -ne 0 ]
	umount mnt
	ls mnt
}

@test "a signal while sources are copied ends it" {
	hold
	"$USPLICE" mount held file 2>job.err 3>&- 9>&- &
	job=$!
	eventually takes_signals "$job"
	kill -TERM "$job"
	finish 143
	grep -q 'stopped by signal 15' job.err
	never mountpoint -q file
}

# begin_in_background ARGUMENTS: $job is the command that waits for its child, $child, which takes signals.
begin_in_background() {
	env --default-signal=INT,QUIT,TERM,HUP,USR1 "$USPLICE" mount --background "$@" 2>job.err 3>&- 9>&- &
	job=$!
	eventually has_child
	child=$(pgrep -P "$job")
	eventually takes_signals "$child"
}

has_child() {
	pgrep -P "$job" >/dev/null
}

has_ended() {
	! kill -0 "$1" 2>/dev/null
}

@test "nothing is left of a command in the background that ends before it is mounted" {
	local signo
	hold
	for signo in 2 9; do
		begin_in_background held file
		kill "-$signo" "$job"
		finish $((128 + signo))
		eventually has_ended "$child"
		never mountpoint -q file
	done
}

@test "what is mounted after its command has gone is unmounted at once" {
	hold
	env --default-signal=USR1 --ignore-signal=TERM "$USPLICE" mount --background held file 2>job.err 3>&- 9>&- &
	job=$!
	eventually has_child
	child=$(pgrep -P "$job")
	eventually takes_signals "$child"
	kill -KILL "$job"
	finish 137
	kill -0 "$child"
	exec 9>&-
	eventually has_ended "$child"
	never mountpoint -q file
}

@test "a signal to the child in the background is told by the command" {
	local signo
	hold
	for signo in 15 1 9; do
		begin_in_background held file
		kill "-$signo" "$child"
		finish $((128 + signo))
		never mountpoint -q file
	done
}

@test "what a command that was killed has left is unmounted by the next one, and nothing else is" {
	data source 100000
	for point in file mnt; do
		serve --no-passthrough source "$point"
		stat "$point" >/dev/null # which the kernel knows from then on
		kill -KILL "$job"
		wait "$job" || true
		show --no-passthrough source "$point"
		exits 0
		says "$point was mounted by a command that was killed: unmounted it"
		shown=$point
		[ -f "$point" ] || shown=$point/source
		same source "$shown"
		umount "$point"
		never mountpoint -q "$point"
	done
	mkdir folder # which is the source, too
	cp source folder/one
	serve folder folder
	kill -KILL "$job"
	wait "$job" || true
	show folder folder
	exits 0
	same source folder/one
	show --no-passthrough source folder # on top of one that is served
	exits 0
	[ "$(ls folder)" = source ]
	umount folder
	same source folder/one
	umount folder
}

@test "another file system whose server has ended is left as it is" {
	faulty_disk
	kill -KILL "$faulty"
	data source 1000
	run --separate-stderr "$USPLICE" mount --background source faulty
	exits 1
	says "another file system is mounted there whose server has ended"
	mountpoint faulty || grep -q "$PWD/faulty" /proc/self/mounts
}

@test "a directory may have more files than the soft limit of descriptors" {
	mkdir many
	for i in {1..150}; do
		echo "$i" >"many/$i"
	done
	(
		ulimit -Sn 64
		"$USPLICE" mount --background many mnt 3>&-
	)
	cat mnt/* | same <(cat many/*) -
}

@test "two mounts of one source, and a mount of what a mount shows" {
	data source 1000000
	mkdir other
	show --no-passthrough source mnt
	exits 0
	show --no-passthrough mnt/source other
	exits 0
	same source other/source
	show source file
	exits 0
	same source file
	umount other
	eventually umount mnt # the server of the other one closes its source a moment later
	umount file
}

@test "a file system in a source can be mounted" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser mounts disks"
	truncate -s 8M disk
	mkfs.ext4 -q disk
	mkdir inside
	for options in "" --no-passthrough; do
		# shellcheck disable=SC2086
		show $options disk file
		exits 0
		mount -o loop,ro file inside 2>/dev/null || {
			umount file
			skip "no loop devices here"
		}
		[ -d inside/lost+found ]
		umount inside
		eventually umount file
	done
}

@test "qemu-img reads it" {
	command -v qemu-img >/dev/null || skip "no qemu-img"
	data source 1048576
	show source file
	exits 0
	qemu-img convert -f raw -O qcow2 file copy.qcow2
	qemu-img convert -f qcow2 -O raw copy.qcow2 copy
	same source copy
}

@test "an ordinary user mounts in a namespace of the user's own" {
	data source 300000
	[ -e /dev/fuse ]
	unshare -Urm true 2>/dev/null || skip "no user namespaces here"
	searches_no_leaks
	unshare -Urm bash -euc '
		"$USPLICE" mount --background source mnt
		cmp source mnt/source
		"$USPLICE" mount --status mnt
		umount mnt' >out
	grep -q "kernel's cache of its file" out
	grep -q "no passthrough" out
}

# fusermount3 opens /dev/fuse as the user. Where only the superuser may, a node of the test's own stands in its place.
@test "an ordinary user mounts by fusermount3" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser becomes somebody else"
	command -v fusermount3 >/dev/null || skip "no fusermount3"
	unshare -m true 2>/dev/null || skip "no namespaces here"
	data source 300000
	mkdir -m 777 theirs
	searches_no_leaks
	mknod -m 666 fuse c 10 229
	unshare -m bash -euc '
		mount --bind fuse /dev/fuse
		as="setpriv --reuid 65534 --regid 65534 --clear-groups"
		$as chmod 700 theirs 2>/dev/null || chown 65534:65534 theirs
		$as "$USPLICE" mount --background source theirs
		$as cmp source theirs/source
		! cat theirs/source 2>/dev/null
		$as fusermount3 -u theirs' 2>err || {
		cat err
		return 1
	}
}

@test "mount(8) mounts it by its type, with options of fstab" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser mounts"
	needs formats zstd
	data plain 200000
	"$USPLICE" copy --compress zstd plain packed.zst
	ln -s "$USPLICE" mount.fuse.usplice
	run --separate-stderr ./mount.fuse.usplice packed.zst mnt -o rw,nofail,decompress,budget=2M,allow_other,x-systemd.automount
	exits 0
	same plain mnt/packed
	grep -q "$PWD/mnt fuse.usplice .*allow_other" /proc/mounts
	umount mnt
	run --separate-stderr ./mount.fuse.usplice packed.zst mnt -o \
		decompress,lazytime,strictatime,nostrictatime,silent,loud,dirsync,nosymfollow,nomand,iversion,user=nobody
	exits 0
	same plain mnt/packed
	umount mnt
	run --separate-stderr ./mount.fuse.usplice packed.zst mnt -o remount,ro
	exits 2
	says "it cannot be remounted with other options: unmount it first"
	never mountpoint -q mnt
	run --separate-stderr ./mount.fuse.usplice packed.zst mnt -o decompression
	exits 2
	says "did you mean --decompress?"
}

@test "options of mount(8) that the kernel has reach it, and unknown ones are refused" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser mounts"
	data source 100000
	ln -s "$USPLICE" mount.fuse.usplice
	flags() { # of the mount, without what all have
		awk -v point="$PWD/mnt" '$2 == point { print $4 }' /proc/mounts | tr , '\n' | grep -xE "noexec|nosuid|nodev|sync|noatime" | sort | tr '\n' ' '
	}
	run --separate-stderr ./mount.fuse.usplice source mnt -o noexec,sync,noatime,nofail
	exits 0
	[ "$(flags)" = "noatime nodev noexec nosuid sync " ]
	never python3 -c 'import mmap; mmap.mmap(open("mnt/source", "rb").fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)'
	umount mnt
	run --separate-stderr ./mount.fuse.usplice source mnt -o noexec,sync,exec,noatime,atime,async
	exits 0
	[ "$(flags)" = "nodev nosuid " ]
	umount mnt
	show --noexec source mnt
	exits 0
	[ "$(flags)" = "nodev noexec nosuid " ]
	umount mnt
	run --separate-stderr ./mount.fuse.usplice source mnt -o noexce
	exits 2
	says "noexce"
	never mountpoint -q mnt
}

# Without the directory as it was before, the command would wait for itself, and nothing could end it but fusectl.
@test "a directory is shown in its own place, above it, and by two mounts in a circle" {
	mkdir -p self above/below one two
	data self/file 1000
	cp self/file plain
	cp self/file above/below/other
	cp self/file one/file
	show self self
	exits 0
	timeout -s KILL "$patience" cmp self/file plain
	show above/below above
	exits 0
	timeout -s KILL "$patience" cmp above/other plain
	show one two
	exits 0
	show two one
	exits 0
	timeout -s KILL "$patience" cmp one/file plain
	umount self above one
	eventually umount two # the server of the other one closes its directory a moment later
	same self/file plain
}

@test "a link in a directory to what the mount hides is refused" {
	mkdir links
	data mnt/inside 1000
	ln -s ../mnt/inside links/link
	show links mnt
	exits 2
	says "links/link: it is a link to a file below the mountpoint, which would hide it"
	never mountpoint -q mnt
}

@test "what cannot be mounted is refused" {
	data source 1000
	data other 1000
	show source missing
	exits 1
	says "mount missing: No such file or directory"
	show missing mnt
	exits 3
	says "source missing: No such file or directory"
	show source other file
	exits 2
	says "it is a regular file, which can show one source"
	mkdir folder
	data folder/source 1000
	show source folder/source mnt
	exits 2
	says "would both be shown as 'source'"
	mkdir -p empty/folder
	show empty mnt
	exits 3
	says "source empty: the directory has no files to show"
	show mnt
	exits 2
	says "a source and a mountpoint are needed"
	show --budget 1k source mnt
	exits 2
	show --direct --prefetch source mnt
	exits 2
	show --json source mnt
	exits 2
	show --verify sha256:12 source mnt
	exits 2
	show source /dev/null
	exits 1
	says "neither a directory nor a regular file"
	run --separate-stderr "$USPLICE" mount --status mnt
	exits 1
	says "no usplice is mounted there"
	for options in --rw "--threads 3" --sync-timeout=5m -q "--js --prefetch"; do
		# shellcheck disable=SC2086
		run --separate-stderr "$USPLICE" mount --status $options mnt
		exits 2
		says "--status takes no other option than --json"
	done
	run --separate-stderr "$USPLICE" mount --sta --js -- mnt
	exits 1
	never mountpoint -q mnt
}

@test "the status tells how each file is read" {
	data source 100000
	show --no-passthrough source mnt
	exits 0
	cat mnt/source >/dev/null
	[ "$(status_of mnt '.sources[0] | "\(.name) \(.way) \(.bytes) \(.copied)"')" = "source plain 100000 100000" ]
	"$USPLICE" mount --status mnt | grep -q "^source: read from the kernel's cache of its file"
	[ "$(status_of mnt .open)" -eq 0 ]
	umount mnt
	show --no-passthrough cached:source mnt
	exits 0
	same source mnt/cached
	[ "$(status_of mnt '.sources[0] | "\(.way) \(.bytes) \(.copied)"')" = "cached 100000 100000" ]
	"$USPLICE" mount --status mnt | grep -q '^cached: read by a page cache of this process'
	umount mnt
	show --prefetch --no-passthrough source mnt
	[ "$(status_of mnt '.sources[0] | "\(.way) \(.is_copy)"')" = "copied true" ]
	same source mnt/source
}

# many NUMBER: a directory of files, each of which says which one it is.
many() {
	local i
	mkdir many
	for ((i = 1; i <= $1; i++)); do
		echo "file $i" >"many/f$i"
	done
}

# show_few ARGUMENTS: the same as show, with 256 descriptors.
show_few() {
	run --separate-stderr timeout "$patience" bash -c 'ulimit -n 256; exec "$@"' - "$USPLICE" mount --background "$@"
}

@test "a directory of more files than descriptors can be read, whatever way they are read" {
	many 3000
	for options in --no-passthrough --direct ""; do
		# shellcheck disable=SC2086
		show_few $options many mnt
		exits 0
		cat mnt/f{1..3000} | same - <(cat many/f{1..3000})
		cat mnt/f{3000..1} | same - <(cat many/f{3000..1})
		[ "$(stat -c %s mnt/f* | sort | uniq -c | wc -l)" -eq 4 ]
		[ "$("$USPLICE" mount --status mnt | grep -c 'failed')" -eq 0 ]
		umount mnt
	done
}

@test "copies of more files than descriptors are there" {
	many 600
	show_few --prefetch many mnt
	exits 0
	cat mnt/f{1..600} | same - <(cat many/f{1..600})
	[ "$(status_of mnt '[.sources[] | select(.is_copy)] | length >= 200')" = true ]
	cat mnt/f{600..1} | same - <(cat many/f{600..1})
}

@test "files that are open stay open, and those that nobody uses make room" {
	many 1000
	show_few --no-passthrough many mnt
	exits 0
	python3 - <<-'PYTHON'
		held = {i: open(f"mnt/f{i}") for i in range(1, 101)}
		for i in range(101, 1001):
		    with open(f"mnt/f{i}") as file:
		        assert file.read() == f"file {i}\n", i
		for i, file in held.items():
		    assert file.read() == f"file {i}\n", i
	PYTHON
}

@test "a program that opens more files than there are descriptors gets EMFILE, and the others go on" {
	many 400
	show_few --no-passthrough many mnt
	exits 0
	python3 - <<-'PYTHON'
		import errno
		held = []
		for i in range(1, 401):
		    try:
		        held.append(open(f"mnt/f{i}"))
		    except OSError as error:
		        assert error.errno == errno.EMFILE, error
		        break
		assert 100 < len(held) < 256, len(held)
		for i, file in enumerate(held, 1):
		    assert file.read() == f"file {i}\n", i
	PYTHON
	eventually same mnt/f400 many/f400
}

@test "a file that was closed follows its changes, and is not taken for another one" {
	many 500
	show_few --no-passthrough many mnt
	exits 0
	cat mnt/f1 mnt/f2 mnt/f3 | same - <(cat many/f1 many/f2 many/f3)
	cat mnt/f{4..500} >/dev/null
	[ "$(status_of mnt '[.sources[] | select(.name == "f1" or .name == "f2" or .name == "f3").way] | join(" ")')" = "closed closed closed" ]
	echo "longer than it was" >>many/f1
	eventually same many/f1 mnt/f1
	echo other >other
	mv other many/f2
	eventually same many/f2 mnt/f2
	rm many/f3
	run -1 --separate-stderr cat mnt/f3
	says "No such file or directory"
	same many/f4 mnt/f4
}

@test "a name leads to the file that has it now, and what is open goes on with the old one" {
	mkdir folder
	for options in --no-passthrough --direct ""; do
		data folder/one 100000
		cp folder/one old
		# shellcheck disable=SC2086
		show $options folder mnt
		exits 0
		same old mnt/one
		number=$(stat -c %i mnt/one)
		data new 200000
		cp new next
		mv next folder/one
		eventually same new mnt/one
		[ "$(stat -c %i mnt/one)" -ne "$number" ]
		exec 7<mnt/one
		data next 1000
		mv next folder/one
		eventually never cat mnt/one
		run -1 --separate-stderr cat mnt/one
		says "Stale file handle"
		"$USPLICE" mount --status mnt | grep 'one: .*; its name leads to another file now'
		[ "$(status_of mnt '.sources[0].place_error')" -ne 0 ]
		[ "$(stat -L -c %s /proc/self/fd/7)" -eq 200000 ]
		same new - <&7
		exec 7<&-
		eventually same folder/one mnt/one
		rm folder/one
		eventually never test -e mnt/one
		run -1 --separate-stderr cat mnt/one
		says "No such file or directory"
		data other 3000
		ln -s ../other folder/one
		eventually same other mnt/one
		rm folder/one
		umount mnt
	done
}

@test "a file that has no folder here is stale when another one takes its place" {
	for point in file mnt; do
		data source 100000
		cp source old
		serve --no-passthrough source "$point"
		shown=$point
		[ -f "$point" ] || shown=$point/source
		exec 7<"$shown"
		data next 1000
		mv next source
		eventually never cat "$shown"
		run -1 --separate-stderr cat "$shown"
		says "Stale file handle"
		same old - <&7
		exec 7<&-
		rm source
		eventually never cat "$shown"
		run -1 --separate-stderr cat "$shown"
		says "No such file or directory"
		umount "$point"
		finish 0
	done
}

@test "a descriptor and a file that is mounted on itself have no name to look at" {
	data source 100000
	cp source old
	"$USPLICE" mount --background /dev/stdin mnt <source
	rm source
	same old mnt/stdin
	umount mnt
	cp old source
	show --no-passthrough source source
	exits 0
	same old source
	umount source
}

@test "what takes the place of a file before it is looked at gives an error, and never a wait" {
	many 5
	show --no-passthrough many mnt
	exits 0
	rm many/f{1,3,4}
	ln -s "$PWD/mnt/f2" many/f1
	ln -s f3 many/f3
	mkdir many/f4
	for name in f1 f3; do
		run -1 --separate-stderr timeout "$patience" cat "mnt/$name"
		says "Too many levels of symbolic links"
	done
	run -1 --separate-stderr timeout "$patience" cat mnt/f4
	says "Is a directory"
	[ "$(status_of mnt '[.sources[] | select(.way == "failed")] | length')" -eq 3 ]
	"$USPLICE" mount --status mnt | grep -q '^f1: it could not be opened.*Too many levels of symbolic links'
	same many/f5 mnt/f5
	umount mnt
}

@test "a plain file that is not in the kernel's cache is read, too, and one that was cut ends where it was cut" {
	data source 5000003
	sync source
	python3 -c 'import os; os.posix_fadvise(os.open("source", os.O_RDONLY), 0, 0, os.POSIX_FADV_DONTNEED)'
	show --no-passthrough source mnt
	exits 0
	same source mnt/source
	truncate -s 1000001 source
	eventually same source mnt/source
	[ "$(stat -c %s mnt/source)" -eq 1000001 ]
}

@test "the kernel reads further ahead where the rights are there for that" {
	[ -w /sys/class/bdi ] && [ "$(id -u)" -eq 0 ] || skip "not root, or no /sys"
	data source 100
	show --no-passthrough source mnt
	exits 0
	same source mnt/source
	[ "$(cat "/sys/class/bdi/$(stat -c %Hd:%Ld mnt/source)/read_ahead_kb")" -gt 128 ]
}

@test "the status of more files than it has room for is marked, and whole" {
	mkdir many
	for i in {1000..2100}; do
		printf -v name '%0100d' "$i"
		: >"many/$name"
	done
	show many mnt
	exits 0
	[ "$(status_of mnt '"\(.truncated) \(.files) \(.sources | length > 200)"')" = "true 1101 true" ]
	[ "$(status_of mnt '.sources[-1].way')" = closed ]
	"$USPLICE" mount --status mnt >text
	[ "$(tr -d '\0' <text | wc -c)" -eq "$(wc -c <text)" ]
	left=$(sed -n 's/^and \([0-9]*\) files more$/\1/p' text)
	[ "$(wc -l <text)" -eq $((1101 - left + 2)) ]
	tail -n 1 text | grep -q '^0 open, 0 requests wait'
	umount mnt
	show file mnt
	exits 0
	[ "$(status_of mnt '"\(.truncated) \(.files)"')" = "false 1" ]
}

@test "the status tells why a file failed" {
	needs formats gzip
	small_disk 1M
	mkdir folder
	data plain 3000000
	"$USPLICE" copy --compress gzip plain folder/plain.gz
	show --budget 1M --spool small --decompress folder mnt
	exits 0
	run cat mnt/plain
	[[ $output == *"No space left on device"* ]]
	"$USPLICE" mount --status mnt | grep -q '^plain: it could not be opened; .* (No space left on device)$'
	[ "$(status_of mnt '.sources[0].why')" = "No space left on device" ]
	umount mnt
	eventually umount small
}

@test "the service manager is told when it is mounted" {
	data source 1000
	python3 - "$PWD/notify" >news 3>&- <<-'PYTHON' &
		import socket, sys
		manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		manager.bind(sys.argv[1])
		while True:
		    print(manager.recv(4096).decode(), flush=True)
	PYTHON
	eventually test -S notify
	NOTIFY_SOCKET=$PWD/notify serve source mnt
	eventually grep -qx READY=1 news
	kill -TERM "$job"
	eventually grep -qx STOPPING=1 news
	finish 0
}
