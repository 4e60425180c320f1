#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: --decompress and --compress, against the programs of the formats.

load support

# Builds without the libraries have fewer formats.
eval "support_$(declare -f setup)"
setup() {
	support_setup
	for tool in zstd gzip pigz lz4 xz; do
		command -v "$tool" >/dev/null || skip "$tool is not here"
	done
	for format in zstd gzip lz4 xz; do
		"$USPLICE" copy --compress "$format" /dev/null null: 2>/dev/null || skip "built without $format"
	done
}

# pack TOOL <FILE, unpack TOOL <FILE: what the program of the format makes of it.
pack() {
	case $1 in
	xz) xz -0 -T0 -c ;;
	zstd) zstd -q -c ;;
	*) "$1" -c ;;
	esac
}

unpack() {
	case $1 in
	zstd) zstd -q -dc ;;
	*) "$1" -dc ;;
	esac
}

# two_sided LENGTH: a file a, of which one half can be compressed.
two_sided() {
	data a $(($1 / 2))
	head -c $(($1 - $1 / 2)) /dev/zero >>a
}

@test "what the programs compressed is decompressed, from a file and a stream, into several sinks" {
	two_sided 3000001
	for tool in zstd gzip pigz lz4 xz; do
		pack "$tool" <a >packed
		"$USPLICE" copy --decompress packed b c
		same a b
		same a c
		"$USPLICE" copy --decompress - - <packed | cmp - a
	done
}

@test "what is compressed is decompressed by the programs, also of nothing" {
	two_sided 3000001
	: >empty
	for spec in zstd zstd:1 zstd:19 gzip:1 gzip:9 lz4 lz4:9 xz:0 xz:2; do
		for file in a empty; do
			"$USPLICE" copy --compress "$spec" "$file" packed
			unpack "${spec%:*}" <packed | cmp - "$file"
			"$USPLICE" copy --decompress packed b
			same "$file" b
		done
	done
}

@test "several threads decompress frames and blocks, and compress for the programs" {
	two_sided 20000001
	split -b 3000000 a part.
	for part in part.*; do
		zstd -q -c "$part"
		zstd -q -c <"$part" # its header has no length
	done >frames
	for part in part.*; do
		cat "$part" "$part"
	done >twice
	"$USPLICE" copy --decompress frames b
	same twice b
	cat frames | "$USPLICE" copy --decompress - - | cmp - twice
	for options in "-B4 -BX" "-B7 --content-size" "-B5 -BD" "-B6 --no-frame-crc"; do
		# shellcheck disable=SC2086 # some words
		lz4 -q -f $options a packed
		"$USPLICE" copy --decompress packed b
		same a b
	done
	xz -0 -T0 --block-size=2MiB -c a >packed
	"$USPLICE" copy --decompress packed b
	same a b
	for spec in gzip:1 lz4:1 lz4:3; do
		cat a | "$USPLICE" copy --compress "$spec" - packed
		unpack "${spec%:*}" <packed | cmp - a
	done
	"$USPLICE" copy --compress gzip:6 a packed
	pigz -dc packed | cmp - a
}

@test "streams one behind the other are one" {
	data a 100000
	data b 7
	cat a b a >all
	for tool in zstd gzip lz4 xz; do
		for part in a b a; do
			pack "$tool" <"$part"
		done >packed
		"$USPLICE" copy --decompress packed c
		same all c
	done
}

@test "old frames of lz4, as for images of the kernel, are decompressed too" {
	two_sided 20000001
	lz4 -l -c a >old 2>/dev/null
	pack lz4 <a >new
	"$USPLICE" copy --decompress old b
	same a b
	for order in "old new" "new old" "old old"; do
		# shellcheck disable=SC2086 # two files
		cat $order >both
		"$USPLICE" copy --decompress both - | cmp - <(cat a a)
		lz4 -dc both 2>/dev/null | cmp - <(cat a a)
	done
	head -c -1 old >cut
	copy --decompress --atomic cut c
	exits 3
	says "at byte $(stat -c %s cut): the input is cut off (lz4)"
	[ ! -e c ]
}

@test "a file is recompressed, and --skip and --count choose of the plain bytes" {
	two_sided 3000001
	pack gzip <a >packed
	"$USPLICE" copy --decompress --compress zstd packed b
	unpack zstd <b | cmp - a
	"$USPLICE" copy --decompress --skip 1000000 --count 1234567 packed b
	tail -c +1000001 a | head -c 1234567 | cmp - b
	"$USPLICE" copy --compress lz4 --skip 1000000 --count 1234567 a b
	unpack lz4 <b | cmp - <(tail -c +1000001 a | head -c 1234567)
	"$USPLICE" copy --decompress --compress xz:0 --skip 1000000 --count 1234567 - - <packed | unpack xz |
		cmp - <(tail -c +1000001 a | head -c 1234567)
}

@test "digests are those of what is written" {
	"$USPLICE" copy --digest sha256 /dev/null null: 2>/dev/null || skip "built without OpenSSL"
	two_sided 1000001
	pack zstd <a >packed
	"$USPLICE" copy --decompress --verify "sha256:$(sha256sum <a | cut -d ' ' -f 1)" packed b
	same a b
	"$USPLICE" copy --compress gzip --digest sha256 --verify-written a b 2>said
	grep -qF "$(sha256sum <b | cut -d ' ' -f 1)" said
	copy --decompress --verify "sha256:$(sha256sum <packed | cut -d ' ' -f 1)" packed b
	exits 3
}

@test "input that is cut off, damaged or no format fails with its place, and --atomic keeps the old file" {
	two_sided 1000001
	for tool in zstd gzip lz4 xz; do
		pack "$tool" <a >packed
		size=$(stat -c %s packed)
		echo old >b
		head -c $((size - 1)) packed >cut
		copy --decompress --atomic cut b
		exits 3
		says "source cut: at byte $((size - 1)): the input is cut off ($tool)"
		[ "$(cat b)" = old ]
		{ cat packed && echo behind; } >longer
		copy --decompress --atomic longer b
		exits 3
		says "($tool)"
		[ "$(cat b)" = old ]
		printf '\x55' | dd of=packed bs=1 seek=$((size / 2)) conv=notrunc status=none
		printf '\xaa' | dd of=packed bs=1 seek=$((size / 2 + 1)) conv=notrunc status=none
		copy --decompress --atomic packed b
		exits 3
		says "is damaged"
		[ "$(cat b)" = old ]
	done
	echo plain >a
	copy --decompress a b
	exits 3
	says "source a: at byte 0: this is no format that is known"
	printf '(\265/x' >a # the beginning of a zstd frame
	copy --decompress a b
	exits 3
	says "source a: at byte 0: this is no format that is known"
	: >a
	copy --decompress a b
	exits 3
	says "source a: at byte 0: the input has no bytes"
}

@test "a source that cannot be read fails with its own place, whatever was made of it" {
	two_sided 3000001
	mkdir real
	for tool in zstd gzip lz4 xz; do
		pack "$tool" <a >real/packed
		faulty_disk direct read=1048576:EIO
		copy --decompress faulty/packed b
		exits 3
		says "source faulty/packed: at byte 1048576: Input/output error"
		cmp -n "$(stat -c %s b)" a b
	done
	faulty_disk direct read=1048576:EIO
	for spec in zstd gzip lz4 xz:0; do
		copy --compress "$spec" --skip 1000 faulty/packed b
		exits 3
		says "source faulty/packed: at byte 1048576: Input/output error"
	done
}

@test "a block that is another one is said to be so, also below a decompression" {
	two_sided 1000001
	pack gzip <a >packed
	"$USPLICE" copy --quiet --write-blocks crc32c:list packed null:
	"$USPLICE" copy --verify-blocks list --decompress packed b
	same a b
	printf x | dd of=packed bs=1 seek=70000 conv=notrunc status=none
	copy --verify-blocks list --decompress --atomic packed c
	exits 3
	says "source packed: a block is not what list says"
	[ ! -e c ]
}

@test "where there can be no thread, xz and zstd work without" {
	[ "$(id -u)" -eq 0 ] || skip "needs the superuser"
	searches_no_leaks
	chmod 777 .
	data a 300000
	head -c 3000000 /dev/zero >>a
	xz -0 --block-size=200000 -T2 -k a
	for arguments in "--decompress a.xz" "--compress xz:0 a" "--compress zstd a"; do
		# shellcheck disable=SC2086
		setpriv --reuid 65534 --clear-groups bash -c 'ulimit -u 1 && exec "$0" copy -q "$@"' "$USPLICE" $arguments out
		"$USPLICE" copy -q --decompress out - 2>/dev/null | cmp - a || same a out
		rm -f out
	done
}

@test "only frames without data are nothing, and a level that is missing is told" {
	printf '\x50\x2a\x4d\x18\x05\x00\x00\x00hello' >nothing
	copy --decompress nothing b
	exits 0
	[ ! -s b ]
	copy --compress zstd: nothing b
	exits 2
	says "has no level behind the colon"
}

@test "options that do not go together are refused, and nothing is written" {
	data a 10
	for option in --resume "--lane kernel" --require-zero-copy; do
		# shellcheck disable=SC2086 # two words
		copy --decompress $option a b
		exits 2
		# shellcheck disable=SC2086
		copy --compress zstd $option a b
		exits 2
	done
	for spec in zstd:99 gzip:0 zip digest:sha256 "zstd:" decompress; do
		copy --compress "$spec" a b
		[ "$spec" = zstd: ] || exits 2
		rm -f b
	done
	[ ! -e b ]
	copy --compress zstd:99 a b
	says "copy: --compress: 'zstd:99' has a level that is none: zstd has 1 to 22"
	copy --compress zip a b
	says "copy: --compress: 'zip' is none of zstd, gzip, lz4 and xz"
}

@test "the account says that the bytes are new ones, and what was read for them" {
	two_sided 1000001
	pack zstd <a >packed
	"$USPLICE" copy --decompress --report report packed b
	[ "$(jq -r '.hops[1].from' report)" = decompress ]
	[ "$(jq '.hops[1].rewritten' report)" -eq 1000001 ]
	[ "$(jq -r '.hops[1].reason' report)" = "decompressed (zstd)" ]
	[ "$(jq '.hops[0].copied + .hops[0].by_reference' report)" -eq "$(stat -c %s packed)" ]
	"$USPLICE" explain --decompress --compress gzip:1 packed b | grep -F 'compressed (gzip)'
}

@test "what a sender has sent so far is passed on before it sends more" {
	data a 1000
	pack zstd <a >packed
	mkfifo in out
	"$USPLICE" copy --decompress in out &
	exec 4>in 5<out
	cat packed >&4
	head -c 1000 <&5 | cmp - a
	cat packed >&4
	head -c 1000 <&5 | cmp - a
	exec 4>&-
	wait $!
}
