#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The report never says "by reference" of bytes that were copied, and --require-zero-copy lets none of them pass.

load support

with_end() {
	"$USPLICE_SOURCE_DIR"/tests/cli/with_end.py "$@"
}

# ways: by reference, copied and unknown bytes of the route; hop N: those of one hop.
ways() {
	jq -r '[.by_reference, .copied, .unknown] | @csv' report
}

hop() {
	jq -r ".hops[$1] | [.by_reference, .copied, .unknown] | @csv" report
}

as_root() {
	[ "$(id -u)" -eq 0 ] || skip "only root may do this"
}

# A file system of a kind in ./small, in a file of its own.
disk() {
	as_root
	command -v "mkfs.$1" >/dev/null || skip "no mkfs.$1"
	truncate -s 400M disk.img
	"mkfs.$1" -q disk.img >/dev/null 2>&1 || "mkfs.$1" disk.img >/dev/null 2>&1
	mkdir small
	mount -o "loop${2:+,$2}" disk.img small 2>/dev/null || skip "no $1 here"
}

# --- The kind of a socket ----------------------------------------------------------------------------------

@test "a multipath connection is not taken for a TCP connection" {
	data a 300000
	with_end mptcp-sink true 2>/dev/null || skip "no MPTCP here"
	with_end mptcp-sink "$USPLICE" copy --report report a fd:9
	[ "$(jq -r '.hops[1].lane' report)" = kernel ]
	[ "$(hop 1 | cut -d, -f1)" = 0 ]
	run with_end mptcp-sink "$USPLICE" copy --require-zero-copy a fd:9
	[ "$status" -eq 5 ]
	[[ $output != *"socket sends the pages"* ]]
}

@test "what a peer writes to a UNIX stream is not by reference, whatever its pieces are" {
	for size in 512 3000 4096 65536; do
		with_end "unix-source:$size" "$USPLICE" copy --lane kernel --report report fd:9 out
		[ "$(jq -r '.hops[0].lane' report)" = kernel ]
		[ "$(hop 0 | cut -d, -f1)" = 0 ]
		run with_end "unix-source:$size" "$USPLICE" copy --require-zero-copy fd:9 null:
		[ "$status" -eq 5 ]
	done
}

# --- The device on the way ---------------------------------------------------------------------------------

# between NAME=VALUE...: in two network namespaces with a veth between them, copy a file from one to the other.
# Variables near and far say which feature is off on which end; strict adds an option.
between() {
	env "$@" unshare -n bash -e <<-'SCRIPT' 3>&-
		ip link set lo up
		unshare -n sleep 100 &
		peer=$!
		trap 'kill $peer' EXIT
		until [ "$(readlink /proc/$peer/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.01; done
		ip link add veth0 type veth peer name veth1 netns $peer
		ip address add 10.9.0.1/24 dev veth0
		ip link set veth0 up
		nsenter -t $peer -n ip address add 10.9.0.2/24 dev veth1
		nsenter -t $peer -n ip link set veth1 up
		features=$USPLICE_SOURCE_DIR/tests/cli/features.py
		[ -z "$near" ] || "$features" veth0 "$near" off
		[ -z "$far" ] || nsenter -t $peer -n "$features" veth1 "$far" off
		nsenter -t $peer -n "$USPLICE" copy tcp-listen:10.9.0.2:9000 got &
		"$USPLICE" copy $strict --report report a tcp:10.9.0.2:9000,retry=60 || code=$?
		if [ -n "$code" ]; then kill $! || true; else wait $!; fi
		exit ${code:-0}
	SCRIPT
}

@test "a device that does not gather, or hides one that may not, is not by reference" {
	as_root
	unshare -n ip link add veth0 type veth peer name veth1 2>/dev/null || skip "no veth here"
	data a 300000
	for off in near= near=sg near=tx far=sg far=tx; do
		between "$off"
		same a got
		[ "$(hop 1 | cut -d, -f1)" = 0 ]
		[[ $off != near=?* ]] || [ "$(hop 1)" = 0,300000,0 ]
		rm -f got
		run between "$off" strict=--require-zero-copy
		[ "$status" -eq 5 ] || {
			echo "$off: exit code $status; $output"
			return 1
		}
	done
}

@test "loopback in a network namespace of its own is probed there" {
	as_root
	data a 300000
	unshare -n bash -e <<-'SCRIPT' 3>&-
		ip link set lo up
		"$USPLICE" copy tcp-listen:127.0.0.1:9000 b &
		"$USPLICE" copy --report report a tcp:127.0.0.1:9000,retry=60
		wait
	SCRIPT
	same a b
	inside=$(hop 1)
	port=$(free_port)
	"$USPLICE" copy "tcp-listen:127.0.0.1:$port" b 3>&- &
	"$USPLICE" copy --report report a "tcp:127.0.0.1:$port,retry=60"
	wait
	[ "$(hop 1)" = "$inside" ]
}

@test "a socket of another network namespace is unknown" {
	as_root
	data a 300000
	unshare -n bash -e <<-SCRIPT 3>&-
		ip link set lo up
		"$USPLICE_SOURCE_DIR"/tests/cli/with_end.py tcp-sink nsenter --net=/proc/$$/ns/net \
			"$USPLICE" copy --report report a fd:9
	SCRIPT
	[ "$(jq -r '.hops[1].lane' report)" = kernel ]
	[ "$(hop 1 | cut -d, -f1)" = 0 ]
}

# --- The mount ---------------------------------------------------------------------------------------------

@test "a file on a mount of its own is probed there, also where nothing can be written" {
	disk ext4
	data small/a 3000001
	"$USPLICE" copy --lane kernel --report report small/a null:
	by_alias=$(ways)
	umount small
	mount -o loop,ro disk.img small
	"$USPLICE" copy --lane kernel --report report small/a null:
	[ "$(ways)" = "$by_alias" ] # by the other method
	[ "$(jq -r .by_reference report)" -gt 0 ] || [ "$(jq -r .copied report)" -gt 0 ]
	[[ $(jq -r '.hops[0].reason' report) == *"as probed on this file" ]]
}

@test "a user whom the kernel tells nothing of the page cache is told that it is unknown" {
	disk ext4
	data small/a 3000001
	chmod 444 small/a
	umount small
	mount -o loop,ro disk.img small
	touch report
	chmod 666 report
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$USPLICE" copy --lane kernel --report report small/a null:
	[ "$status" -eq 0 ]
	by_reference=$(jq -r .by_reference report)
	"$USPLICE" copy --lane kernel --report report small/a null:
	[ "$by_reference" -eq 0 ] || [ "$by_reference" -eq "$(jq -r .by_reference report)" ]
}

@test "DAX is a copy" {
	disk ext4 dax
	data small/a 300000
	"$USPLICE" copy --lane kernel --report report small/a null:
	[ "$(ways)" = 0,300000,0 ]
}

# --- Shared extents ------------------------------------------------------------------------------------------

# tells_extents: copies of parts, and what the disk has of them.
tells_extents() {
	data small/a 3000000
	sync small/a
	for count in 1000000 1048576 3000000; do
		rm -f small/b
		"$USPLICE" copy --count $count --report report small/a small/b
		shared=$("$USPLICE_SOURCE_DIR"/tests/cli/extents.py small/a 0 small/b 0 $count)
		[ "$(jq -r '[.bytes, .by_reference, .unknown] | @csv' report)" = "$count,$shared,0" ]
	done
	data small/b 3000000
	"$USPLICE" copy --seek 1048576 --report report small/a small/b
	shared=$("$USPLICE_SOURCE_DIR"/tests/cli/extents.py small/a 0 small/b 1048576 3000000)
	[ "$(jq -r '[.by_reference, .unknown] | @csv' report)" = "$shared,0" ]
}

# Bytes that were copied over blocks that both files have: until they are written out, the disk shows the old blocks.
tells_what_was_shared_before() {
	data small/a 3000001
	sync small/a
	for range in "1 1 2999999" "100 100 100000" "8192 8192 5000" "0 1000 5000"; do
		# shellcheck disable=SC2086
		set -- $range
		rm -f small/b
		cp --reflink=always small/a small/b
		sync small/b
		"$USPLICE" copy --skip "$1" --seek "$2" --count "$3" --report report small/a small/b
		shared=$("$USPLICE_SOURCE_DIR"/tests/cli/extents.py small/a "$1" small/b "$2" "$3")
		[ "$(jq .by_reference report)" -le "$shared" ]
	done
}

@test "what was copied over shared blocks is not by reference on xfs" {
	disk xfs
	tells_what_was_shared_before
}

@test "what was copied over shared blocks is not by reference on btrfs" {
	disk btrfs
	tells_what_was_shared_before
}

# finds_shared: the matrix of the machine agrees, and leaves nothing behind.
finds_shared() {
	"$USPLICE" probe --json --no-cost --dir small >all
	jq -e '[.cells[] | select(.half == "direct")] | length == 4 and all(.answer == "by reference")' all
	jq -e '[.cells[] | select(.base and .object == "O_DIRECT file in small")] | length == 2 and all(.answer == "by the device")' all
	jq -e '.composed | .checked >= 12 and .agreed == .checked' all
	[ -z "$(ls -A small)" ]
}

@test "the matrix finds that files on xfs share blocks" {
	disk xfs
	finds_shared
}

@test "the matrix finds that files on btrfs share blocks" {
	disk btrfs
	finds_shared
}

@test "the matrix does not know what is below an overlay" {
	disk ext4
	mkdir -p small/lower small/up small/work all
	mount -t overlay usplice-test -o "lowerdir=small/lower,upperdir=small/up,workdir=small/work" all || skip "no overlay here"
	"$USPLICE" probe --json --no-cost --dir all >found || true
	umount all
	jq -e '[.cells[] | select(.base and .object == "O_DIRECT file in all") | .answer] | length == 2 and
		all(. == "undecidable" or . == "refused")' found
}

@test "what was preallocated and never written is not copied" {
	disk xfs
	fallocate -l 1M small/a
	sync small/a
	"$USPLICE" copy --report report --require-zero-copy small/a small/b
	[ "$(ways)" = 1048576,0,0 ]
	[ "$(stat -c %b small/b)" -eq 0 ]
}

@test "files of an overlay are asked one by one" {
	as_root
	mkdir small lower
	mount -t tmpfs usplice-test small
	mkdir small/up small/work small/all
	data lower/a 300000
	mount -t overlay usplice-test -o "lowerdir=/sys/kernel:$PWD/lower,upperdir=small/up,workdir=small/work,xino=on" small/all 2>/dev/null || {
		umount small
		skip "no overlay here"
	}
	run "$USPLICE" copy --require-zero-copy small/all/notes null:
	notes=$status
	"$USPLICE" copy --report report small/all/a null:
	umount small/all
	[ "$notes" -eq 5 ]
	[ "$(jq .copied report)" -eq 0 ]
}

@test "what xfs shares is by reference, and the rest is copied" {
	disk xfs
	tells_extents
	[ "$shared" -gt 0 ]
}

@test "what btrfs shares is by reference, and the rest is copied" {
	disk btrfs
	tells_extents
	[ "$shared" -gt 0 ]
}

@test "explain knows a file of btrfs that shares no blocks (chattr +C)" {
	disk btrfs
	data small/a 3000000
	mkdir small/own
	chattr +C small/own || skip "no chattr +C here"
	touch small/own/b # has the attribute of its folder
	sync small/a
	for sink in small/own/b small/own/new small/c; do
		"$USPLICE" explain --json small/a $sink >said
		"$USPLICE" copy --count 1M --report report small/a $sink
		[ "$(jq -c '[.hops[] | [.by_reference, .copied, .unknown]]' said)" = \
			"$(jq -c '[.hops[] | [.by_reference, .copied, .unknown]]' report)" ]
	done
	# The existing file alone has it.
	touch small/own/d
	mv small/own/d small/d
	"$USPLICE" explain --json small/a small/d >said
	"$USPLICE" copy --count 1M --report report small/a small/d
	[ "$(jq -c '[.hops[] | [.by_reference, .copied, .unknown]]' said)" = \
		"$(jq -c '[.hops[] | [.by_reference, .copied, .unknown]]' report)" ]
}

@test "a file that stands beside its inode cannot be shared" {
	disk btrfs
	data small/a 100
	copy --require-zero-copy small/a small/b # it is not on the disk yet
	exits 5
	data small/a 1000
	sync small/a
	"$USPLICE" copy --report report small/a small/b
	[ "$(ways)" = 0,1000,0 ]
	rm small/b
	copy --require-zero-copy small/a small/b
	exits 5
	[ ! -e small/b ]
}

@test "ext4 and tmpfs share nothing" {
	disk ext4
	data small/a 3000000
	"$USPLICE" copy --report report small/a small/b
	[ "$(ways)" = 0,3000000,0 ]
	umount small
	mount -t tmpfs usplice-test small
	data small/a 3000000
	"$USPLICE" copy --report report small/a small/b
	[ "$(ways)" = 0,3000000,0 ]
}

# --- O_DIRECT --------------------------------------------------------------------------------------------------

@test "bytes that were read out of a kernel pipe are copied, whoever writes them" {
	data a 3000000
	mkfifo fifo
	for size in 1000 5000 70000; do
		dd if=a of=fifo obs=$size status=none 3>&- &
		"$USPLICE" copy --report report fifo b,direct null:
		wait
		same a b
		[ "$(jq -r '.hops[0].lane' report)" = kernel ]
		[ "$(hop 1)" = 0,3000000,0 ]
		rm b
	done
}

@test "an inherited O_DIRECT file has one answer before and after" {
	data a 409600
	with_end "direct-source:a" "$USPLICE" copy --report report fd:9 null: 2>/dev/null || skip "no O_DIRECT here"
	[ "$(hop 0)" = 0,0,409600 ]
	reason=$(jq -r '.hops[0].reason' report)
	run with_end "direct-source:a" "$USPLICE" copy --require-zero-copy fd:9 null:
	[ "$status" -eq 5 ]
	[[ $output == *"O_DIRECT"* ]]
	[[ $reason == *"O_DIRECT"* ]]
}

# --- What is not asked is not found out ------------------------------------------------------------------------

@test "a copy without a report makes no experiment" {
	tracing
	data a 100000
	strace -f -o trace -e trace=memfd_create,tee,vmsplice,socketpair "$USPLICE" copy a b 3>&-
	never grep -q -E 'memfd_create|tee|vmsplice|socketpair' trace
	cat a | strace -f -o trace -e trace=memfd_create,tee,vmsplice,socketpair "$USPLICE" copy - c 3>&-
	never grep -q -E 'memfd_create|tee|vmsplice|socketpair' trace
	same a c
}
