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

# stand_in: a systemd-socket-activate, for machines that have none: listen, wait for a client, hand the socket over.
stand_in() {
	cat >bin/systemd-socket-activate <<-'PYTHON'
	#!/usr/bin/env python3
	import os, select, socket, sys

	host, port = sys.argv[1].removeprefix("--listen=").split(":")
	door = socket.create_server((host, int(port)))
	select.select([door], [], [])
	if door.fileno() != 3:
	    os.dup2(door.fileno(), 3)
	os.set_inheritable(3, True)
	os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
	os.execvp(sys.argv[2], sys.argv[2:])
	PYTHON
	chmod +x bin/systemd-socket-activate
}

@test "what the README shows of a run is what a run says" {
	head -c 20M /dev/urandom >big.img
	blocks text | grep -v '^%%$' >shown
	grep -q '^\$ usplice copy -v big.img first.img tcp:127.0.0.1:9000$' shown
	"$USPLICE" copy tcp-listen:127.0.0.1:0 null: 2>said &
	until grep -q 'listening at' said; do sleep 0.1; done
	port=$(sed 's/.*://' said)
	"$USPLICE" copy -v big.img first.img "tcp:127.0.0.1:$port" 2>really
	wait
	# The numbers are those of another machine, and so may be the reasons.
	for text in shown really; do
		sed -E '/^\$/d; s/:[0-9]+,/:9000,/; s/(MiB [a-z ]+): .*/\1/; s/[0-9]+(\.[0-9]+)?/N/g; s/[KMG]iB/B/g' $text >$text.masked
	done
	diff shown.masked really.masked
}

@test "every shell block of the README runs without an error" {
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	[ -x "$(command -v systemd-socket-activate)" ] || stand_in
	# A server is there when its socket is. In the README a second is long enough.
	blocks sh | sed "s/:9000/:$port/; s/^sleep 1\$/until [ -S service ]; do sleep 0.1; done/" |
		sed -f "$BATS_TEST_DIRNAME/patiently.sed" >all
	[ "$(grep -c %% all)" -ge 10 ]
	csplit -s -z -f block- -b %02d.sh --suppress-matched all /%%/ '{*}'
	for block in block-*.sh; do
		if grep -q 'usplice mount' "$block" && ! "$USPLICE" list --names features | grep -qx mount; then
			continue # FUSE cannot be used here
		fi
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
