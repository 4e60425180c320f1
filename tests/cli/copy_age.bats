#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: --decrypt and --encrypt, against the programs age and age-keygen.

load support

# Builds without OpenSSL can do neither.
eval "support_$(declare -f setup)"
setup() {
	support_setup
	for tool in age age-keygen; do
		command -v "$tool" >/dev/null || skip "$tool is not here"
	done
	for key in key other; do
		age-keygen -o "$key" 2>/dev/null
	done
	recipient=$(age-keygen -y key)
	"$USPLICE" copy --encrypt "$recipient" /dev/null null: 2>/dev/null || skip "built without OpenSSL"
}

@test "what age encrypted is decrypted, from a file and a stream, into several sinks" {
	for length in 0 1 65535 65536 65537 3000001; do
		data a "$length"
		age -r "$(age-keygen -y other)" -r "$recipient" -o a.age a
		"$USPLICE" copy --decrypt key a.age b c
		cmp a b
		cmp a c
		"$USPLICE" copy --decrypt key - - <a.age | cmp - a
	done
}

@test "what is encrypted is decrypted by age, for each recipient" {
	for length in 0 1 65536 3000001; do
		data a "$length"
		"$USPLICE" copy --encrypt "$recipient" --encrypt "$(age-keygen -y other)" a a.age
		for key in key other; do
			age -d -i "$key" a.age | cmp - a
		done
	done
}

@test "a passphrase encrypts and decrypts, from a descriptor too" {
	data a 100000
	echo "correct horse" >words
	"$USPLICE" copy --encrypt-passphrase words a a.age
	"$USPLICE" copy --decrypt-passphrase /dev/fd/5 a.age b 5<words
	cmp a b
	copy --decrypt-passphrase key a.age c
	exits 3
	says "none of the keys opens this file of age"
}

@test "compressed bytes are decrypted first, and compressed bytes are encrypted last" {
	command -v zstd >/dev/null || skip "zstd is not here"
	"$USPLICE" copy --compress zstd /dev/null null: 2>/dev/null || skip "built without zstd"
	data a 3000001
	zstd -qc a | age -r "$recipient" >a.zst.age
	"$USPLICE" copy --decrypt key --decompress --verify "sha256:$(sha256sum <a | cut -d' ' -f1)" a.zst.age b
	cmp a b
	"$USPLICE" copy --compress zstd --encrypt "$recipient" a c
	age -d -i key c | zstd -qdc | cmp - a
}

@test "what is wrong behind the decryption is said with its place there" {
	command -v zstd >/dev/null || skip "zstd is not here"
	"$USPLICE" copy --compress zstd /dev/null null: 2>/dev/null || skip "built without zstd"
	data a 300000
	zstd -qc a | head -c -1 >cut
	age -r "$recipient" -o cut.age cut
	copy --decrypt key --decompress cut.age b
	exits 3
	says "source cut.age: at byte $(stat -c %s cut) of what comes out of decrypt:age: the input is cut off (zstd)"
	age -r "$recipient" -o a.age a
	copy --decrypt key --decompress a.age b
	exits 3
	says "source a.age: at byte 0 of what comes out of decrypt:age: this is no format that is known"
	head -c -1 a.age >cut.age
	copy --decrypt key --compress zstd cut.age b
	exits 3
	says "source cut.age: at byte "
	says ": the last chunk of age was changed"
}

@test "--skip and --count choose of the decrypted bytes, and the report counts only these" {
	data a 1000000
	age -r "$recipient" -o a.age a
	copy --json --decrypt key --skip 300000 --count 200000 a.age b
	exits 0
	cmp b <(tail -c +300001 a | head -c 200000)
	[ "$(jq '.hops[1].rewritten' <<<"$stderr")" -eq 200000 ]
	"$USPLICE" copy --encrypt "$recipient" --skip 300000 --count 200000 a c
	age -d -i key c | cmp - b
}

@test "a chunk that was changed stops the copy before its bytes, and one that is missing before the end" {
	data a 200000
	age -r "$recipient" -o a.age a
	size=$(stat -c %s a.age)
	cp a.age changed
	printf '\377\377\377\377\377\377\377\377\377' | dd of=changed bs=1 seek=$((size - 100000)) conv=notrunc status=none
	copy --decrypt key changed b
	exits 3
	says "a chunk of age was changed"
	[ "$(stat -c %s b)" -eq 65536 ]
	cmp -n 65536 a b
	head -c -1 a.age >cut
	echo old >c
	copy --atomic --decrypt key cut c
	exits 3
	says "is cut off"
	[ "$(cat c)" = old ]
	{ cat a.age && echo; } >longer
	copy --atomic --decrypt key longer c
	exits 3
	[ "$(cat c)" = old ]
	copy --decrypt key a c
	exits 3
	says "this is no header of age"
	copy --decrypt other a.age c
	exits 3
	says "none of the keys opens this file of age"
}

@test "keys that are none are refused, and nothing is made" {
	data a 1000
	refuse() {
		copy "$@" a b
		exits 2
		[ ! -e b ]
	}
	refuse --encrypt age1x
	says "no recipient of age"
	refuse --encrypt passphrase
	says "no recipient of age"
	refuse --encrypt "$recipient,$recipient"
	says "repeat the option"
	refuse --decrypt none
	says "--decrypt none: No such file"
	refuse --decrypt a
	says "--decrypt a: "
	refuse --decrypt /dev/null
	says "--decrypt /dev/null: there is no identity of age"
	says "there is no identity of age"
	refuse --decrypt-passphrase /dev/null
	says "the passphrase is empty"
	refuse --decrypt key --decrypt-passphrase key
	says "exclude each other"
	refuse --encrypt "$recipient" --encrypt-passphrase key
	says "exclude each other"
	refuse --decrypt key --lane kernel
	says "exclude --lane kernel"
	refuse --decrypt key --resume
	says "--resume compares bytes"
}
