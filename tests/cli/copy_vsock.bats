#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# vsock: over its loopback where the kernel has that (CID 1, vsock_loopback), and over a library that stands in for it.

load support

# has_loopback: one connection to this machine comes through.
has_loopback() {
	python3 - <<-'PYTHON'
	import socket, sys

	try:
	    door = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
	    door.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
	    door.listen(1)
	    peer = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
	    peer.connect((1, door.getsockname()[1]))
	except OSError as error:
	    sys.exit(str(error))
	PYTHON
}

# stands_in: the rest of the test uses the library.
stands_in() {
	ldd "$USPLICE" | grep -q libasan && skip "nothing can be loaded before the sanitizer's library"
	ldd "$USPLICE" | grep -q libtsan && skip "nothing can be loaded before the sanitizer's library"
	export VSOCK_SHIM=$$-$BATS_TEST_NUMBER
	vsock() { LD_PRELOAD=$USPLICE_VSOCK_SHIM "$USPLICE" copy "$@"; }
}

# carries: a file to a listener whose port the kernel chose, and another one back.
carries() {
	data a 3000001
	vsock --report report vsock-listen:0 b 2>said &
	eventually grep -q 'listening at vsock:any:' said
	port=$(sed -n 's/.*listening at vsock:any://p' said)
	vsock a "vsock:1:$port"
	wait $!
	same a b
	[ "$(jq -r .source.address report)" = "vsock:any:$port" ]
	vsock a "vsock-listen:$port" 2>/dev/null &
	vsock "vsock:local:$port,retry=60" c
	wait $!
	same a c
}

@test "a file goes there and back over the loopback" {
	has_loopback || skip "vsock has no loopback here (vsock_loopback)"
	vsock() { "$USPLICE" copy "$@"; }
	carries
}

@test "a file goes there and back where a library stands in for vsock" {
	stands_in
	carries
}

@test "with frames a cut is noticed, and both ends know that they are sockets" {
	stands_in
	data a 3000001
	vsock --framed vsock-listen:0 b 2>said &
	eventually grep -q 'listening at' said
	port=$(sed -n 's/.*listening at vsock:any://p' said)
	"$USPLICE" copy -q --frame a - | head -c 1000000 >cut
	vsock -q cut "vsock:1:$port"
	wait $! || code=$?
	[ "$code" -eq 3 ]
	vsock --framed vsock-listen:0 c 2>said &
	eventually grep -q 'listening at' said
	port=$(sed -n 's/.*listening at vsock:any://p' said)
	vsock -q --framed a "vsock:1:$port"
	wait $!
	same a c
}

@test "what cannot be reached is told in words" {
	stands_in
	data a 10
	run --separate-stderr vsock a vsock:1:7
	exits 4
	says "usplice: sink vsock:1:7: Connection refused (nobody listens there)"
	run --separate-stderr vsock vsock:77:7 b
	exits 3
	says "usplice: source vsock:77:7: No such device (there is no virtual machine or host of that CID, or no driver for it)"
	[ ! -e b ]
	vsock vsock-listen:4711 b &
	eventually vsock -q a vsock:1:4711
	wait $!
	run --separate-stderr vsock vsock-listen:4711,timeout=0.1 b
	exits 3
	says "nobody came or answered in time"
}

@test "addresses that are none are refused, and nothing is asked" {
	while read -r spec why; do
		copy null: "$spec"
		exits 2
		says "usplice: sink $spec: $why"
	done <<-'ROWS'
		vsock:7 the address needs a CID and a port: CID:PORT
		vsock:host the address needs a CID and a port: CID:PORT
		vsock:guest:7 the CID is a number, or any, hypervisor, local or host
		vsock:4294967296:7 the CID is a number, or any, hypervisor, local or host
		vsock:any:7 nobody can be reached at any CID
		vsock:2:0 nobody can be reached at port 0
		vsock:2: the port is a number up to 4294967294
		vsock:2:4294967295 the port is a number up to 4294967294
		vsock-listen:2:ssh the port is a number up to 4294967294
	ROWS
}

@test "a kernel without vsock is named" {
	"$DENY_CALLS" AF_VSOCK true || skip "filters of system calls are not possible here"
	data a 10
	for spec in vsock:2:7 vsock-listen:7; do
		run --separate-stderr "$DENY_CALLS" AF_VSOCK "$USPLICE" copy a $spec
		exits 4
		says "usplice: sink $spec: Address family not supported by protocol (this kernel has no vsock)"
	done
}
