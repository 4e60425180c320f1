#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: digests of what is copied, what is expected of them, and what is read back.

load support

# Builds without the libraries have fewer algorithms.
eval "support_$(declare -f setup)"
setup() {
	support_setup
	"$USPLICE" copy --digest sha256,xxh3 /dev/null null: 2>/dev/null || skip "built without OpenSSL or xxHash"
}

# sha FILE: its SHA-256.
sha() {
	sha256sum <"$1" | cut -d ' ' -f 1
}

# refuses TEXT ARGUMENTS: the copy of a is refused with that text, and neither b is made nor c changed.
refuses() {
	local text=$1 before
	shift
	before=$(sha c)
	copy "$@" a b c
	exits 2
	says "$text"
	[ ! -e b ]
	[ "$(sha c)" = "$before" ]
}

# written_by PROCESS: the file that it writes, under a name that can be opened, also if it has none of its own.
written_by() {
	local fd
	for fd in "/proc/$1"/fd/*; do
		case $(readlink "$fd") in
		"$PWD/c" | "$PWD/#"*)
			[ "$(stat -Lc %s "$fd")" -eq 1000000 ] && echo "$fd"
			return
			;;
		esac
	done
	return 1
}

@test "the digests of what was copied are what sha256sum and its like say, and they can check them" {
	data a 3000001
	for from in a - ; do
		rm -f b c
		"$USPLICE" copy --digest sha256,blake2b --digest sha512 "$from" b c <a 2>said
		[ "$(wc -l <said)" -eq 3 ]
		[ "$(sed -n 's/^SHA256 ('"$from"') = //p' said)" = "$(sha a)" ]
		[ "$(sed -n 's/^BLAKE2b ('"$from"') = //p' said)" = "$(b2sum <a | cut -d ' ' -f 1)" ]
		[ "$(sed -n 's/^SHA512 ('"$from"') = //p' said)" = "$(sha512sum <a | cut -d ' ' -f 1)" ]
		same a b
		same a c
	done
	"$USPLICE" copy --digest sha256 a b 2>said
	sha256sum --check --strict said
	printf 123456789 >nine
	"$USPLICE" copy --quiet --digest crc32c nine b 2>said
	[ "$(cat said)" = "CRC32C (nine) = e3069283" ]
}

@test "the digest is that of the bytes that are copied, whatever options choose" {
	data a 1000000
	tail -c +1001 a | head -c 5000 >part
	printf '%s' x >old
	for lane in auto user; do
		copy --lane "$lane" --digest sha256 --skip 1000 --count 5000 a b
		exits 0
		says "= $(sha part)"
		same part b
		run --separate-stderr bash -c 'cat a | "$USPLICE" copy --digest sha256 --skip 1000 --count 5000 - b'
		exits 0
		says "= $(sha part)"
		same part b
	done
	copy --snapshot --digest sha256 --append a old
	exits 0
	says "= $(sha a)"
	[ "$(stat -c %s old)" -eq 1000001 ]
	copy --digest sha256 --count 0 a b
	says "= e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	copy --digest sha256 --count 2M a b
	says "= $(sha a)"
}

@test "the digest of a resumed copy is that of the whole" {
	data a 1000000
	for count in 999999 1000000; do
		head -c 300000 a >b
		head -c "$count" a >whole
		copy --resume --count "$count" --digest sha256 --verify-written --report report a b
		exits 0
		says "= $(sha whole)"
		same whole b
		[ "$(jq -c '[.hops[] | .by_reference + .copied]' report)" = "[$((count - 300000)),$((count - 300000)),$((count - 300000))]" ]
	done
	copy --resume --verify "sha256:$(sha a)" a b
	exits 0
	printf 'other bytes' | dd of=a bs=1 seek=999980 conv=notrunc status=none
	head -c 300000 a >b
	copy --resume --verify "sha256:$(sha whole)" a b
	exits 3
}

@test "another digest than the expected one fails with 3, and tells both" {
	data a 700000
	data c 10
	copy --verify "sha256:$(sha a)" a b
	exits 0
	[ -z "$stderr" ]
	copy --verify "SHA256:$(sha a)" a b
	exits 2
	copy --verify "sha256:$(sha a | tr a-f A-F)" a b
	exits 0
	copy --verify "sha256:$(sha c)" a b
	exits 3
	says "source a: at byte 700000: its sha256 is $(sha a), and not $(sha c)"
	[ "$(jq -r .sinks[0].error <<<"$(copy --json --verify "sha256:$(sha c)" a b; sed '/^usplice/d' <<<"$stderr")")" = "the source failed" ]
	copy --verify "sha256:$(sha c)" --count 10 a b
	exits 3
	copy --verify "sha256:$(head -c 10 a | sha256sum | cut -d ' ' -f 1)" --count 10 a b
	exits 0
}

@test "with --atomic a wrong digest leaves the old file, and nothing beside it" {
	data a 700000
	data c 10
	cp c old
	copy --atomic --verify "sha256:$(sha c)" a c
	exits 3
	same old c
	[ "$(ls)" = "$(printf '%s\n' a c old)" ]
	copy --atomic --verify "sha256:$(sha a)" a c
	exits 0
	same a c
}

@test "a peer sees a reset behind bytes with a wrong digest, and no end" {
	data a 100000
	port=$(free_port)
	"$USPLICE" copy --atomic "tcp-listen:127.0.0.1:$port,timeout=100" got 3>&- 2>receiver.err &
	copy --verify "sha256:$(sha /dev/null)" a "tcp:127.0.0.1:$port,retry=10"
	exits 3
	finish 3 $! receiver.err
	[ ! -e got ]
}

@test "a file of digests is read in all forms that sha256sum and its like write" {
	data a 1000
	mkdir dir
	cp a dir/a
	cp a $'n\\ew\nline'
	sum=$(sha a)
	check() {
		copy --verify-file sums "$@" b
		exits 0
		[ -z "$stderr" ]
		copy --verify-file <(sed 's/[0-9a-f]\{60\}/000000000000000000000000000000000000000000000000000000000000/' sums) "$@" b
		exits 3
	}
	sha256sum a >sums && check a
	sha256sum --binary a >sums && check a
	sha256sum --tag a >sums && check a
	sha512sum a >sums && check a
	b2sum a >b2sums && cp b2sums sums-b2 && copy --verify-file sums-b2 a b && exits 0
	b2sum --tag a >sums && check a
	sha256sum ./a >sums && check a
	sha256sum a >sums && check ./a
	sha256sum a >sums && check dir/a
	sha256sum dir/a >sums && check dir/a
	sha256sum a | sed 's/$/\r/' >sums && check a
	sha256sum $'n\\ew\nline' >sums && check $'n\\ew\nline'
	{
		printf '# a comment\n-----BEGIN PGP SIGNED MESSAGE-----\n\nMD5 (a) = d41d8cd98f00b204e9800998ecf8427e\n'
		printf '%s  a\n%s  other\n' "$sum" "$(sha /dev/null)"
	} >sums
	check a
	sha256sum <a >sums
	"$USPLICE" copy --verify-file sums - b <a
	{ sha256sum --tag a; sha512sum --tag a; sha256sum a; } >sums && check a
}

@test "without a digest of the source, or with several, nothing is opened" {
	data a 1000
	data c 10
	sum=$(sha a)
	sha256sum c >sums
	refuses "--verify-file sums: has no digest of a that is known" --verify-file sums
	printf 'd41d8cd98f00b204e9800998ecf8427e  a\n' >sums
	refuses "has no digest of a that is known" --verify-file sums
	printf '%s  a\n%s  a\n' "$sum" "$(sha c)" >sums
	refuses "what it says of a is another digest than the one that is already expected" --verify-file sums
	sha256sum a >sums
	refuses "is another digest" --verify-file sums --verify "sha256:$(sha c)"
	refuses "--verify-file none: No such file" --verify-file none
	refuses "--verify-file .: Is a directory" --verify-file .
	: >sums
	refuses "has no digest of a" --verify-file sums
	copy --verify-file sums --atomic a c
	exits 2
}

@test "digests that make no sense are refused before anything happens" {
	data a 1000
	data c 10
	refuses "--digest: 'md5' is no algorithm that is known" --digest md5
	refuses "is no algorithm that is known" --digest sha256,
	refuses "is no algorithm that is known" --digest ""
	refuses "is no algorithm that is known" --digest crc32c:00000000
	refuses "is not ALG:HEX" --verify sha256
	refuses "has no digest behind the colon" --verify sha256:
	refuses "is no digest of this algorithm" --verify sha256:00
	refuses "is no digest of this algorithm" --verify "sha256:$(sha a)0"
	refuses "is no digest of this algorithm" --verify "crc32c:0000000g"
	refuses "is another digest" --verify "crc32c:00000000" --verify "crc32c:00000001"
	refuses "excludes --lane kernel" --digest crc32c --lane kernel
	copy --require-zero-copy --digest crc32c a c
	exits 5
	says "source a: would copy"
	copy --require-zero-copy --digest crc32c mem:123456789 null:
	exits 0
	says "CRC32C (mem:123456789) = e3069283"
}

@test "the report has the digests, each hop, and nothing of them on standard error" {
	data a 100000
	copy --json --digest sha256 --verify "crc32c:$("$USPLICE" copy --digest crc32c a null: 2>&1 | sed 's/.* //')" a b
	exits 0
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[ "$(jq -r .digests.sha256 <<<"$stderr")" = "$(sha a)" ]
	[ "$(jq -c '.digests | keys_unsorted' <<<"$stderr")" = '["sha256","crc32c"]' ]
	[ "$(jq -c '[.hops[] | [.from, .to]]' <<<"$stderr")" = '[["a","digest:sha256,crc32c"],["digest:sha256,crc32c","pipe"],["pipe","b"]]' ]
	[ "$(jq -c '[.hops[1] | .by_reference, .copied]' <<<"$stderr")" = "[100000,0]" ]
	[ "$(jq .copied <<<"$stderr")" -eq 100000 ]
	copy --json a b
	[ "$(jq -c .digests <<<"$stderr")" = '{}' ]
	copy --json --digest sha256 --on-error stop a /dev/full
	exits 4
	[ "$(jq -c .digests <<<"${stderr##*$'\n'}")" = '{"sha256":null}' ] || [ "$(jq -r .digests.sha256 <<<"${stderr##*$'\n'}")" = "$(sha a)" ]
}

@test "what was written is read back, in every place that it was written to" {
	data a 1000001
	data old 100
	copy --verify-written a b c
	exits 0
	[ -z "$stderr" ]
	same a b
	copy --verify-written --atomic --verify "sha256:$(sha a)" a b
	exits 0
	copy --verify-written --append a old
	exits 0
	copy --verify-written --seek 7 a b
	exits 0
	copy --verify-written --count 0 a c
	exits 0
	"$USPLICE" copy --verify-written a - >out
	same a out
	"$USPLICE" copy --verify-written a,direct b,direct
	for sink in null: mem: tcp:127.0.0.1:1 /dev/full; do
		copy --verify-written a b2 "$sink"
		exits 2
		says "sink $sink: is no regular file and no block device, so --verify-written is not possible"
		[ ! -e b2 ]
	done
}

@test "bytes that read back otherwise fail with 4, and with --atomic the old file stays" {
	data a 1000000
	data c 10
	cp c old
	for options in "" --atomic; do
		hold
		"$USPLICE" copy --verify-written $options held c 2>err 3>&- 9>&- &
		job=$!
		feed 1000000
		fd=$(eventually written_by "$job")
		printf xyz | dd of="$fd" bs=1 seek=500000 conv=notrunc status=none
		exec 9>&-
		finish 4 "$job" err
		grep -q "sink c: at byte 1000000: what was read back is not what was written" err
		[ -z "$options" ] || same old c
		cp old c
	done
}

@test "what a block device has is read back, too" {
	data a 1000001
	truncate -s 2M disk
	block=$(losetup --find --show disk 2>/dev/null) || skip "cannot make a block device here"
	status=0
	"$USPLICE" copy --verify-written --seek 512 --digest sha256 a "$block" 2>said || status=$?
	losetup --detach "$block"
	[ "$status" -eq 0 ]
	[ "$(cat said)" = "SHA256 (a) = $(sha a)" ]
	tail -c +513 disk | head -c 1000001 | cmp - a
}

@test "standard input that others share stands behind what was delivered when a sink fails" {
	data a 3000000
	mkfifo pipe
	for digest in sha256 xxh3; do
		head -c 100000 <pipe >head &
		{ "$USPLICE" copy --digest $digest - pipe 2>err || [ $? -eq 4 ] && cat >rest; } <a
		wait
		delivered=$(sed -n 's/.*sink pipe: at byte \([0-9]*\):.*/\1/p' err)
		[ $((delivered + $(stat -c %s rest))) -eq 3000000 ]
		tail -c "$(stat -c %s rest)" a | cmp - rest
	done
}

@test "a source that turns out shorter than its size is never a success with a digest" {
	shrink() { # while it is copied slowly
		data a 3000000
		sleep 0.2
		"$USPLICE" copy --limit-rate 2M "$@" cached:a,budget=256k b 2>err &
		sleep 0.5
		truncate -s 100 a
		wait $! || return $?
	}
	echo old >b
	run shrink --atomic --verify "sha256:$(printf 'a%.0s' {1..64})"
	[ "$status" -eq 3 ]
	[ "$(cat b)" = old ]
	run shrink --digest sha256
	[ "$status" -eq 3 ] || [ "$(sed -n 's/^SHA256 (a) = //p' err)" = "$(sha256sum <b | cut -d' ' -f1)" ]
	run shrink
	[ "$status" -eq 0 ]
}
