#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: --skip of what is decompressed or decrypted, where the source has a table to seek by.

load support

# Builds without the libraries have fewer formats.
eval "support_$(declare -f setup)"
setup() {
	support_setup
	for tool in zstd gzip xz; do
		command -v "$tool" >/dev/null || skip "$tool is not here"
		"$USPLICE" copy --compress "$tool" /dev/null null: 2>/dev/null || skip "built without $tool"
	done
}

# compressible LENGTH: a file a, of which one half can be compressed.
compressible() {
	data a $(($1 / 2))
	head -c $(($1 - $1 / 2)) /dev/zero >>a
}

# pack FORMAT: a.packed of a, in pieces of some 64 KiB with a table.
pack() {
	local pieces=$USPLICE_SOURCE_DIR/tests/cli/pieces.py
	case $1 in
	bgzf) "$pieces" bgzf 65280 <a >a.packed ;;
	xz) xz -0 --block-size=65536 -c a >a.packed ;;
	zstd | frames)
		split -b 65536 -a 4 a part.
		zstd -q part.*[a-z]
		if [ "$1" = zstd ]; then
			"$pieces" zstd 65536 part.*.zst <a >a.packed
		else
			cat part.*.zst >a.packed
		fi
		rm part.*
		;;
	esac
}

# read_of_source: the bytes that the last run with --report report took from the source.
read_of_source() {
	jq '.hops[0] | .copied + .by_reference + .unknown' report
}

@test "pieces that are said to be empty, and an end that is said too soon, lose nothing" {
	python3 - <<-'END'
		import struct
		def frame(size, data):
		    return struct.pack("<IBI", 0xFD2FB528, 0xA0, size) + struct.pack("<I", len(data) << 3 | 1)[:3] + data
		def table(entries):
		    body = b"".join(struct.pack("<II", *entry) for entry in entries) + struct.pack("<IBI", len(entries), 0, 0x8F92EAB1)
		    return struct.pack("<II", 0x184D2A5E, len(body)) + body
		pieces = [bytes([ord("a") + i]) * 100000 for i in range(5)]
		frames = [frame(len(piece), piece) for piece in pieces]
		plain = b"".join(pieces)
		open("plain", "wb").write(plain)
		sizes = [len(piece) for piece in pieces]
		for name, wrong in {"first": {0: 0}, "middle": {2: 0}, "two": {1: 0, 2: 0}, "last": {4: 0}, "all": dict.fromkeys(range(5), 0),
		                    "short": {4: 99995}, "none": {}}.items():
		    entries = [(len(frames[i]), wrong.get(i, sizes[i])) for i in range(5)]
		    open(f"table.{name}", "wb").write(b"".join(frames) + table(entries))
		frames[2] = frame(0, pieces[2])
		open("lie", "wb").write(b"".join(frames))
		frames[2] = frame(0, b"")
		open("empty", "wb").write(b"".join(frames))
	END
	for name in first middle two last all short none; do
		for skip in 1 250000 499996; do
			"$USPLICE" copy -q --decompress --skip $skip table.$name - | cmp - <(tail -c +$((skip + 1)) plain)
		done
	done
	echo old >kept
	copy -q --decompress --skip 1 --atomic lie kept
	exits 3
	[ "$(cat kept)" = old ]
	"$USPLICE" copy -v --decompress --skip 150000 empty out 2>said # a frame that is really empty is none
	grep -q ", by its frames" said
	{ tail -c +150001 plain | head -c 50000; tail -c +300001 plain; } | same - out
}

@test "--skip decompresses only what is needed" {
	compressible 4000001
	for format in zstd:table frames:frames bgzf:blocks xz:index; do
		pack "${format%:*}"
		copy -v --report report --decompress --skip 1000000 --count 1000 a.packed b
		exits 0
		cmp b <(tail -c +1000001 a | head -c 1000)
		says ", by its ${format#*:}"
		[ "$(read_of_source)" -lt 300000 ]
		[ "$(jq '.hops[1].rewritten' report)" -lt 300000 ]
		"$USPLICE" copy --decompress --skip 3999000 a.packed - | cmp - <(tail -c +3999001 a)
		"$USPLICE" copy --decompress --skip 5000000 a.packed c
		[ ! -s c ]
		"$USPLICE" copy --decompress --skip 1 --digest crc32c a.packed - | cmp - <(tail -c +2 a)
	done
}

@test "without a table or positions the bytes before are thrown away" {
	compressible 4000001
	for tool in zstd gzip xz; do
		"$tool" -c <a >a.packed
		copy -v --decompress --skip 1000000 --count 1000 a.packed b
		exits 0
		cmp b <(tail -c +1000001 a | head -c 1000)
		[ "$tool" = xz ] || never says ", by its " # xz has an index, of one block here
	done
	pack zstd
	for source in - fd:0 /dev/stdin; do
		"$USPLICE" copy --decompress --skip 1000000 --count 1000 "$source" - <a.packed | cmp - b
	done
	# shellcheck disable=SC2002
	cat a.packed | "$USPLICE" copy --decompress --skip 1000000 --count 1000 - - | cmp - b
}

@test "a piece that is damaged gives nothing, and all before it is good" {
	compressible 1000000
	for format in zstd frames bgzf xz; do
		pack "$format"
		printf X | dd of=a.packed bs=1 seek=300000 conv=notrunc status=none
		copy --decompress --skip 1000 a.packed b
		exits 3
		says "source a.packed: at byte "
		[ "$(stat -c %s b)" -gt 200000 ]
		cmp -n "$(stat -c %s b)" b <(tail -c +1001 a)
		copy --decompress --skip 900000 a.packed b # behind it
		exits 0
		cmp b <(tail -c +900001 a)
	done
}

@test "a table that makes no sense is not used" {
	compressible 1000000
	pack zstd
	size=$(stat -c %s a.packed)
	printf '\xff' | dd of=a.packed bs=1 seek=$((size - 30)) conv=notrunc status=none
	copy -v --decompress --skip 1000 a.packed b
	exits 0
	cmp b <(tail -c +1001 a)
	never says ", by its "
}

@test "--skip decrypts only what is needed, also below what is decompressed" {
	for tool in age age-keygen; do
		command -v "$tool" >/dev/null || skip "$tool is not here"
	done
	age-keygen -o key 2>/dev/null
	age-keygen -o other 2>/dev/null
	recipient=$(age-keygen -y key)
	"$USPLICE" copy --encrypt "$recipient" /dev/null null: 2>/dev/null || skip "built without OpenSSL"
	compressible 4000001
	pack zstd
	age -r "$recipient" -o a.packed.age a.packed
	age -r "$recipient" -o a.age a
	copy -v --report report --decrypt key --skip 1000000 --count 1000 a.age b
	exits 0
	cmp b <(tail -c +1000001 a | head -c 1000)
	says "decrypted, by its chunks"
	[ "$(read_of_source)" -lt 400000 ]
	copy -v --report report --decrypt key --decompress --skip 1000000 --count 1000 a.packed.age c
	exits 0
	cmp c b
	says ", by its table"
	says "decrypted, by its chunks"
	[ "$(read_of_source)" -lt 700000 ]
	copy --decrypt other --skip 1 a.age d
	exits 3
	says "source a.age: none of the keys opens this file of age"
	head -c 1000000 a.age >a.cut
	copy --decrypt key --skip 1 a.cut d
	exits 3
	says "source a.cut: the last chunk of age was changed, is cut off, or is not the last one"
}
