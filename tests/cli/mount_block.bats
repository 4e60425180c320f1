#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice mount --rw: block devices that other programs write.

load mount

device=

teardown() {
	cd / || return
	end_mounts
	if [ -n "$device" ]; then
		losetup --detach "$device"
	fi
	remove_all
}

# attach FILE: $device is a block device whose blocks are those of a file.
attach() {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser makes block devices"
	device=$(losetup --find --show "$1" 2>/dev/null) || skip "cannot make a block device here"
}

detach() {
	losetup --detach "$device"
	device=
}

# A size that is no multiple of a page.
odd=$(((1 << 20) + 3 * 512))
ways=(--no-passthrough "--no-passthrough --direct" "--no-passthrough --threads=1" "--no-passthrough --allow-other" "")

@test "a device is a file of its size, and what is written is on it" {
	data image "$odd"
	data plain "$odd"
	for options in "${ways[@]}"; do
		attach image
		# shellcheck disable=SC2086
		show --rw $options "$device" file
		exits 0
		[ "$(stat -c '%F %s' file)" = "regular file $odd" ]
		same file image
		dd if=plain of=file bs=100000 conv=notrunc,fsync status=none
		same file plain
		same image plain
		dd if=/dev/zero of=file bs=1 seek=$((odd - 7)) count=7 conv=notrunc,fsync status=none
		[ "$(tail -c 7 image | tr -d '\0' | wc -c)" -eq 0 ]
		umount file
		detach
		data image "$odd"
	done
}

@test "a random writer of a device agrees with a model" {
	data image "$odd"
	attach image
	for options in "${ways[@]}"; do
		# shellcheck disable=SC2086
		show --rw $options "$device" file
		exits 0
		timeout 300 python3 - file "$device" "$RANDOM" <<-'PYTHON'
			import os, random, sys
			path, device, seed = sys.argv[1:]
			chance = random.Random(int(seed))
			print("seed", seed)
			fd, below = os.open(path, os.O_RDWR), os.open(device, os.O_RDONLY)
			model = bytearray(os.pread(fd, 1 << 22, 0))
			for step in range(300):
			    data = chance.randbytes(chance.choice([1, 511, 4096, 70000]))
			    pos = chance.randrange(len(model))
			    data = data[:len(model) - pos]
			    assert os.pwrite(fd, data, pos) == len(data)
			    model[pos:pos + len(data)] = data
			    if step % 50 == 0:
			        os.fsync(fd)
			    pos = chance.randrange(len(model))
			    assert os.pread(fd, 5000, pos) == model[pos:pos + 5000], step
			    assert os.pread(below, 5000, pos) == model[pos:pos + 5000], step
			assert os.pread(fd, 1 << 22, 0) == model
		PYTHON
		umount file
		eventually cmp -s image "$device" # in the background it syncs after that
	done
}

@test "behind its end a device has no space, and what fits is written" {
	data image "$odd"
	data plain 100000
	attach image
	for options in "${ways[@]}"; do
		# shellcheck disable=SC2086
		show --rw $options "$device" file
		exits 0
		python3 - file plain "$odd" <<-'PYTHON'
			import errno, os, sys
			fd, end = os.open(sys.argv[1], os.O_RDWR), int(sys.argv[3])
			with open(sys.argv[2], "rb") as file:
			    plain = file.read()
			def fails(what, *errors):
			    try:
			        what()
			    except OSError as error:
			        assert error.errno in errors, error
			    else:
			        assert False, what
			done = os.pwrite(fd, plain, end - 5000)
			assert done == 5000, done
			fails(lambda: os.pwrite(fd, plain, end), errno.ENOSPC)
			fails(lambda: os.pwrite(fd, b"x", end + 100000), errno.ENOSPC)
			assert os.pread(fd, 100, end) == b""
			assert os.pread(fd, 9000, end - 5000) == plain[:5000]
			assert os.fstat(fd).st_size == end
			fails(lambda: os.ftruncate(fd, end - 1), errno.EPERM)
			fails(lambda: os.ftruncate(fd, end + 1), errno.EPERM)
			os.ftruncate(fd, end)
			os.fsync(fd)
		PYTHON
		[ "$(stat -f -c %a file)" -eq 0 ]
		umount file
		tail -c 5000 image | same - <(head -c 5000 plain)
	done
}

@test "programs with O_DIRECT read what was written, through the mount and from the device" {
	data image 1048576
	data plain 1048576
	attach image
	for options in "${ways[@]}"; do
		# shellcheck disable=SC2086
		show --rw $options "$device" file
		exits 0
		dd if=plain of=file bs=64K conv=notrunc,fsync status=none
		dd if=file iflag=direct bs=64K status=none | same plain -
		dd if="$device" iflag=direct bs=64K status=none | same plain -
		data plain 1048576
		dd if=plain of=file oflag=direct bs=64K conv=notrunc,fsync status=none
		same plain file
		dd if="$device" iflag=direct bs=64K status=none | same plain -
		umount file
	done
}

@test "blocks of a device are given back, and read as zeros" {
	data image 1048576
	attach image
	fallocate --punch-hole -o 512K -l 64K "$device" 2>/dev/null || skip "this device takes no blocks back"
	for options in "${ways[@]}"; do
		data plain 1048576
		cp plain expected
		dd if=/dev/zero of=expected bs=64K seek=4 count=2 conv=notrunc status=none
		# shellcheck disable=SC2086
		show --rw $options "$device" file
		exits 0
		dd if=plain of=file bs=1M conv=notrunc status=none
		cmp file plain
		fallocate --punch-hole -o 256K -l 64K file
		fallocate --zero-range --keep-size -o 320K -l 64K file
		same expected file
		never fallocate --punch-hole -o 100 -l 1000 file
		never fallocate -l 2M file
		[ "$(stat -c %s file)" -eq 1048576 ]
		umount file
		same expected "$device"
	done
}

@test "an error of a device at fsync is told there, and at the end" {
	faulty_disk fsync=EIO
	data real/image 1048576
	attach faulty/image
	for options in "--no-passthrough" ""; do
		# shellcheck disable=SC2086
		serve --rw $options "$device" file
		run dd if=/dev/zero of=file count=8 conv=notrunc,fsync status=none
		[ "$status" -ne 0 ]
		[[ $output == *"Input/output error"* ]]
		umount file
		finish 1
		grep -q "source $device: what was written did not reach the disk: Input/output error" job.err
	done
}

@test "a device that can only be read gives its own error, and stays as it is" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser makes block devices"
	data image 1048576
	cp image expected
	device=$(losetup --find --show --read-only image 2>/dev/null) || skip "cannot make a block device here"
	for options in "${ways[@]}"; do
		# shellcheck disable=SC2086
		show --rw $options "$device" file
		[ "$status" -eq 0 ] || continue # kernels differ: it may be refused before it is mounted
		never dd if=/dev/zero of=file count=8 conv=notrunc,fsync status=none
		umount file
	done
	show "$device" file
	exits 0
	same expected file
	umount file
}
