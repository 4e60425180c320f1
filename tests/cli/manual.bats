#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The manual: its pages are well formed, and its examples work.

load support

pages=(usplice.1 usplice-copy.1 usplice-cat.1 usplice-list.1 usplice-mount.1 usplice-relay.1 usplice-endpoints.7 usp_relay.3 usp_mapping.3 usp_mount.3)

# examples PAGE: the commands of its section EXAMPLES, on ports that are free.
examples() {
	sed -n '/^# EXAMPLES/,/^# SEE ALSO/s/^\$ //p' "$USPLICE_SOURCE_DIR/man/$1.scd" | sed 's/\\\\/\\/g' |
		sed "s/\b9000\b/$front_port/g; s/\b9001\b/$back_port/g" |
		sed 's/^sleep 1$/wait_for_back/; s/^server=\$!$/&; wait_for_back/' |
		sed -f "$BATS_TEST_DIRNAME/patiently.sed" |
		if [ -e /dev/usplice ]; then cat; else sed '/ring:/d'; fi # needs the driver of kmod/
}

# back_listens: a socket is bound to $back_port and connected to nobody. In the manual a second is long enough, or the time to type
# the next command; here we look.
back_listens() {
	grep -Eqi ":$(printf %04X "$back_port") 0+:0000 " /proc/net/{tcp,udp}{,6}
}

run_examples() {
	front_port=$(free_port)
	back_port=$(free_port)
	mkdir bin folder
	ln -s "$USPLICE" bin/usplice
	data image.iso 300000
	data disk.img 100000
	echo text >notes.txt
	cp notes.txt folder
	cp notes.txt access.log
	cp notes.txt all.log
	cp notes.txt new.conf
	examples "$1" >script
	[ -s script ]
	export back_port patience
	export -f back_listens eventually
	PATH=$PWD/bin:$PATH bash -euo pipefail -c 'wait_for_back() { eventually back_listens; }; . ./script' 3>&-
}

@test "the examples of usplice(1)" {
	run_examples usplice.1
	same image.iso copy.iso
}

@test "the examples of usplice-copy(1)" {
	run_examples usplice-copy.1
	for file in copy first second third received partial; do
		same image.iso "$file.iso"
	done
	same new.conf service.conf
	zcat archive.tar.gz | same - archive.tar
	[ "$(tar -t -f archive.tar)" = $'folder/\nfolder/notes.txt' ]
	[ "$(cat all.log)" = $'text\ntext' ]
	tail -c +65537 image.iso | head -c 4096 | same - block.bin
	[ "$(stat -c %s disk.img)" -eq 100000 ]
	tail -c +8193 disk.img | head -c 4096 | same - block.bin
}

@test "the examples of usplice-list(1)" {
	command -v jq >/dev/null || skip "jq is not here"
	[ -n "$("$USPLICE" list --names formats)" ] || skip "built without formats"
	run_examples usplice-list.1
	"$USPLICE" copy --decompress image.packed - | same image.iso -
}

@test "the examples of usplice-mount(1)" {
	can_mount
	"$USPLICE" list --names formats | grep -qx zstd || skip "built without zstd"
	run_examples usplice-mount.1 >out
	grep -q '^image.iso: .*; 300000 bytes' out
}

@test "the examples of usplice-cat(1)" {
	run_examples usplice-cat.1
	same image.iso whole.iso
	[ "$(cat both.log)" = $'text\ntext' ]
	same first.img second.img
	{ cat notes.txt; tar -c folder; } | same - first.img
}

# The servers of the examples go on until the test ends; the relays end by themselves.
@test "the examples of usplice-relay(1)" {
	run_examples usplice-relay.1 >out
	[ "$(grep -cx hello out)" -eq 3 ]
	grep -qx 'usplice_relay_delivered_bytes_total{direction="to_client"} 6' out
	never test -e front
}

@test "the examples of usplice-endpoints(7)" {
	run_examples usplice-endpoints.7
	same image.iso copy.iso
	same image.iso weird:name
	same image.iso 'a,direct'
	[ "$(stat -c %s zeros.bin)" -eq 1048576 ]
	[ "$(cat notes.txt)" = $'text\nanother line' ]
	for file in first second third; do
		same image.iso "$file.iso"
	done
	for file in copy.txt received.txt datagrams.txt; do
		same notes.txt "$file"
	done
}

@test "scdoc accepts every page" {
	command -v scdoc >/dev/null || skip "no scdoc"
	for page in "${pages[@]}"; do
		scdoc <"$USPLICE_SOURCE_DIR/man/$page.scd" >page
		[ -s page ]
	done
}
