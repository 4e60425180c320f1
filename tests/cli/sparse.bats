#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --sparse: holes stay holes, and what is there reads the same.

load support

# holey: the file a, 20 MB with four pieces of data and a hole at its end that is no whole block.
holey() {
	truncate -s 20000777 a
	for at in 0 3 100 250; do
		head -c 65536 /dev/urandom | dd of=a bs=64k seek=$at conv=notrunc status=none
	done
	[ "$(blocks a)" -lt 1000000 ] || skip "no holes on this file system"
}

# blocks FILE: the bytes that it takes.
blocks() {
	echo $(($(stat -c %b "$1") * 512))
}

is_sparse() {
	[ "$(blocks "$1")" -lt 1000000 ] || {
		echo "$1 takes $(blocks "$1") bytes"
		return 1
	}
}

@test "holes of the source are holes of all sinks, on each lane, and the ledger counts them" {
	holey
	for lane in auto kernel user; do
		copy --lane $lane --report report a b
		exits 0
		same a b
		is_sparse b
		[ "$(jq -c '[.bytes, .by_reference + .copied + .unknown, .holes]' report)" = "[20000777,262144,19738633]" ]
		copy --lane $lane --overwrite --report report a b c null:
		exits 0
		for sink in b c; do
			same a $sink
			is_sparse $sink
		done
		[ "$(jq -c '[.holes, .hops[0].holes, .hops[1].holes, .hops[3].holes]' report)" = \
			"[39477266,19738633,19738633,0]" ]
	done
	copy -v a d
	says "left as holes"
}

@test "no byte is written for a hole" {
	tracing
	holey
	for options in "--lane user" "--lane kernel" "--lane auto" "--lane user --digest crc32c"; do
		rm -f b
		# shellcheck disable=SC2086
		strace -f -e trace=writev,pwrite64,pwritev,pwritev2,splice,copy_file_range -o calls \
			"$USPLICE" copy $options a b 2>/dev/null
		same a b
		# What went into a file, or through a kernel pipe twice.
		[ "$(grep -oE '= [0-9]+$' calls | awk '{ sum += $2 } END { print sum }')" -le $((2 * 262144 + 200)) ]
	done
}

@test "never writes every byte, and always finds zeros, also in a pipe" {
	holey
	copy --sparse never --report report a b
	exits 0
	same a b
	[ "$(blocks b)" -ge 20000000 ]
	[ "$(jq .holes report)" -eq 0 ]
	for source in b -; do
		copy --sparse always --report report $source c <b
		exits 0
		same a c
		is_sparse c
		jq -e '.holes > 19000000 and .holes + .copied == .bytes' report
	done
	copy --sparse auto b d
	[ "$(blocks d)" -ge 20000000 ]
	head -c 100000 /dev/zero | "$USPLICE" copy --sparse always - e
	head -c 100000 /dev/zero | same - e
	[ "$(blocks e)" -le 4096 ]
}

@test "zeros of odd lengths and places come out the same" {
	for length in 1 4095 4096 4097 12288 100001; do
		{ head -c $length /dev/zero; printf x; head -c 9000 /dev/zero; printf y; head -c $length /dev/zero; } >odd
		for seek in 0 1 4095 4096; do
			head -c 150000 /dev/urandom >old
			{ head -c $seek old; cat odd; tail -c +$((seek + 2 * length + 9003)) old; } >want
			for options in "--sparse always" "--sparse always --lane user" ""; do
				cp old new
				# shellcheck disable=SC2086
				copy --seek $seek $options odd new
				exits 0
				same want new
			done
		done
	done
}

@test "old bytes read as zeros where the source has a hole" {
	holey
	for options in "" "--lane user" "--sparse always" "--sparse never"; do
		head -c 21000000 /dev/urandom >old
		cp old b
		# shellcheck disable=SC2086
		copy --seek 5000 $options a b
		exits 0
		{ head -c 5000 old; cat a; tail -c +20005778 old; } | same - b
	done
	[ "$(blocks b)" -ge 20000000 ]
	cp old b
	copy --seek 5000 a b
	[ "$(blocks b)" -lt 3000000 ]
}

@test "parts of a file have their parts of the holes" {
	holey
	for part in "0 1" "65536 100000" "70000 100" "1000 20000000" "19999000 5000" "196608 70000"; do
		set -- $part
		for lane in auto user; do
			copy --lane $lane --skip "$1" --count "$2" a b
			exits 0
			tail -c +$(($1 + 1)) a | head -c "$2" | same - b
			is_sparse b
		done
	done
}

@test "a file that appends gets its hole without losing what it has" {
	holey
	echo old >b
	copy --append a b
	exits 0
	{ echo old; cat a; } | same - b
	[ "$(blocks b)" -lt 4000000 ]
}

@test "holes stay with --atomic, digests, reading back, several sources, and --resume" {
	holey
	copy --atomic a b
	is_sparse b
	same a b
	copy --digest sha256 --verify-written a c
	exits 0
	[ "$stderr" = "SHA256 (a) = $(sha256sum a | cut -d ' ' -f 1)" ]
	same a c
	is_sparse c
	"$USPLICE" cat --to d --report report a b a
	cat a b a | same - d
	[ "$(blocks d)" -lt 2000000 ]
	[ "$(jq -c '[.holes, .sources[1].bytes]' report)" = "[59215899,20000777]" ]
	head -c 300000 a >e
	copy --resume a e
	same a e
	is_sparse e
}

@test "behind a stage that rewrites, always finds the zeros" {
	holey
	copy --compress gzip a a.gz
	exits 0
	gzip -dc a.gz | same - a
	copy --decompress --sparse always a.gz b
	exits 0
	same a b
	is_sparse b
}

@test "sinks that know no holes get zeros, and say so" {
	holey
	"$USPLICE" copy --report report a - | same - a
	[ "$(jq .holes report)" -eq 0 ]
	"$USPLICE" copy a - >b
	same a b
	"$USPLICE" copy - b <a
	same a b
}

@test "a source without bytes behind its last hole, and one that is a hole only" {
	truncate -s 5000000 hole
	for lane in auto kernel user; do
		copy --lane $lane --report report hole b
		exits 0
		same hole b
		[ "$(blocks b)" -eq 0 ]
		[ "$(jq -c '[.bytes, .holes, .sinks[0].bytes]' report)" = "[5000000,5000000,5000000]" ]
	done
	copy --report report hole b c
	[ "$(jq .holes report)" -eq 10000000 ]
}

@test "files whose sizes and blocks are not true are data" {
	for file in /proc/version /proc/self/status /sys/kernel/mm/transparent_hugepage/enabled; do
		[ -e $file ] || continue
		rm -f b
		copy --sparse auto $file b
		exits 0
		[ -s b ]
	done
	cat /proc/version | same - <("$USPLICE" copy /proc/version -)
}

@test "a file system that takes data for holes is not believed" {
	[ -n "$FAULTY_FS" ] || skip "built without libfuse3"
	mkdir real
	data real/a 3000000
	{ cat real/a; head -c 2500000 /dev/zero; cat real/a; } >real/b
	faulty_disk hollow
	[ "$(stat -c %b faulty/a)" -eq 0 ]
	for lane in auto user; do
		copy --lane $lane faulty/a a
		exits 0
		same real/a a
		copy --lane $lane --report report faulty/b b
		exits 0
		same real/b b
	done
	jq -e '.holes > 0' report
}

@test "a sink that cannot punch gets the zeros written" {
	[ -n "$FAULTY_FS" ] || skip "built without libfuse3"
	holey
	faulty_disk
	head -c 20000777 /dev/urandom >real/b
	for lane in auto user; do
		head -c 20000777 /dev/urandom >real/b
		copy --lane $lane --seek 0 --report report a faulty/b
		exits 0
		same a real/b
		[ "$(jq .holes report)" -eq 0 ]
	done
	faulty_disk truncate=EIO
	copy a faulty/new
	exits 4
	says "sink faulty/new: at byte"
}

@test "a block device is told to forget what is a hole" {
	[ "$(id -u)" -eq 0 ] || skip "needs the superuser"
	holey
	head -c 21m /dev/urandom >disk
	device=$(losetup -f --show disk 2>/dev/null) || skip "no loop devices here"
	for options in "" "--lane user" "--sparse always" "--seek 512"; do
		# shellcheck disable=SC2086
		copy $options --report report a "$device" || true
		[ "$status" -eq 0 ] || break
		skip=0
		[ "$options" != "--seek 512" ] || skip=512
		cmp -n 20000777 a <(tail -c +$((skip + 1)) "$device") || status=1
		jq -e '.holes > 19000000' report || status=1
	done
	losetup -d "$device"
	[ "$status" -eq 0 ]
}

@test "a hole behind the end of a block device is no success" {
	[ "$(id -u)" -eq 0 ] || skip "needs the superuser"
	printf begin >a
	truncate -s 30M a
	head -c 20M /dev/urandom >disk
	device=$(losetup -f --show disk 2>/dev/null) || skip "no loop devices here"
	for options in "" "--lane user" "--sparse always" "--sparse never"; do
		# shellcheck disable=SC2086
		copy $options --on-error continue --report report a "$device" # else it is refused before a byte moves
		[ "$status" -eq 4 ] && [ "$(jq '.sinks[0].bytes' report)" -eq 20971520 ] || break
		[[ $stderr == *"at byte 20971520: No space left on device"* ]] || break
		options=done
	done
	losetup -d "$device"
	[ "$options" = done ]
}

@test "--sparse always excludes --lane kernel, and another word is refused" {
	copy --sparse always --lane kernel mem:x b
	exits 2
	says "--sparse always looks at the bytes in this process"
	copy --sparse some mem:x b
	exits 2
	says "is none of auto, always and never"
	[ ! -e b ]
}
