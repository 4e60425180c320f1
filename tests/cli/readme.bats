#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What the README shows is true: its shell blocks run, and its program is the one in examples/.

readme=$USPLICE_SOURCE_DIR/README.md

# blocks LANGUAGE: the fenced blocks of that language, each ended by a line "%%".
blocks() {
	awk -v fence="\`\`\`$1" '$0 == fence { inside = 1; next } inside && /^```$/ { inside = 0; print "%%"; next } inside' "$readme"
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	mkdir bin
	ln -s "$USPLICE" bin/usplice
	PATH=$PWD/bin:$PATH
	head -c 3000001 /dev/urandom >big.img
}

@test "every shell block of the README runs without an error" {
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	# A server is there when its socket is. In the README a second is long enough.
	blocks sh | sed "s/:9000/:$port/; s/^sleep 1\$/until [ -S service ]; do sleep 0.1; done/" |
		sed -f "$BATS_TEST_DIRNAME/patiently.sed" >all
	[ "$(grep -c %% all)" -ge 7 ]
	csplit -s -z -f block- -b %02d.sh --suppress-matched all /%%/ '{*}'
	for block in block-*.sh; do
		echo "--- $block"
		cat "$block"
		timeout 600 bash -eu -o pipefail "$block"
	done
	for copy in copy received first second third relayed; do
		cmp big.img $copy.img
	done
	jq -e '.bytes == 3000001' report.json
}

@test "the program in the README is examples/send.c" {
	diff <(blocks c | grep -v '^%%$') "$USPLICE_SOURCE_DIR"/examples/send.c
}

@test "the program in the README sends a file and accounts for every byte" {
	send=$USPLICE_BUILD_DIR/examples/send
	run "$send" big.img copy.img
	echo "$output"
	[ "$status" -eq 0 ]
	cmp big.img copy.img
	[[ $output =~ ^([0-9]+)\ by\ reference,\ ([0-9]+)\ copied,\ ([0-9]+)\ unknown$ ]]
	[ $((BASH_REMATCH[1] + BASH_REMATCH[2] + BASH_REMATCH[3])) -eq 3000001 ]
}

@test "the program in the README says what is wrong" {
	run "$USPLICE_BUILD_DIR"/examples/send missing.img copy.img
	[ "$status" -eq 1 ]
	[ "$output" = "send SOURCE SINK: No such file or directory" ]
}
