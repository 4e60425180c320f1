#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy over UDP: what was lost, as far as that can be known.

load support

# flood PORT: 20000 datagrams of 1400 bytes, then empty ones, which end the copy, until the file "done" is there.
flood() {
	python3 - "$1" <<-'PYTHON'
	import os, socket, sys, time

	peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	peer.connect(("127.0.0.1", int(sys.argv[1])))
	for i in range(20000):
	    peer.send(i.to_bytes(4, "big") * 350)
	open("sent", "w").close()
	while not os.path.exists("done"):
	    try:
	        peer.send(b"")
	    except ConnectionRefusedError:
	        pass
	    time.sleep(0.01)
	PYTHON
}

# port_of FILE: the port that was told there.
port_of() {
	sed -n 's/.*listening at .*:\([0-9]*\)$/\1/p' "$1"
}

@test "udp-listen:0 tells its port, also with -q" {
	for options in "" "-q"; do
		rm -f said
		# shellcheck disable=SC2086
		"$USPLICE" copy $options --report report udp-listen:127.0.0.1:0 b 2>said &
		eventually grep -q 'usplice: source udp-listen:127.0.0.1:0: listening at 127.0.0.1:[1-9]' said
		data a 4000
		copy --overwrite a "udp:127.0.0.1:$(port_of said),eof"
		exits 0
		wait $!
		same a b
		[ "$(jq -r .source.address report)" = "127.0.0.1:$(port_of said)" ]
		[ "$(jq .hops[0].lost report)" -eq 0 ]
		[ "$(wc -l <said)" -eq 1 ] # that nothing was lost is not claimed
	done
}

@test "datagrams that found no room are counted" {
	mkfifo slow
	"$USPLICE" copy -q --report report udp-listen:127.0.0.1:0 - 2>said >slow &
	copy_pid=$!
	exec {reader}<slow # nobody reads from it before all is sent
	eventually grep -q 'listening at' said
	flood "$(port_of said)" &
	eventually [ -e sent ]
	cat <&$reader >b
	wait $copy_pid
	: >done
	wait
	received=$(($(stat -c %s b) / 1400)) lost=$(jq .hops[0].lost report)
	echo "received $received, lost $lost"
	[ "$(stat -c %s b)" -eq $((received * 1400)) ]
	[ "$received" -lt 20000 ]
	[ $((received + lost)) -ge 20000 ]
	grep -q "usplice: source udp-listen:127.0.0.1:0: $lost datagrams were lost here, because this socket had no room; the network may have lost more" said
}

@test "a sender hears that nobody takes its datagrams, and fails" {
	port=$(python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	run --separate-stderr timeout 60 "$USPLICE" copy zero: "udp:127.0.0.1:$port"
	exits 4
	says "nobody takes datagrams there, so at least one was lost"
}
