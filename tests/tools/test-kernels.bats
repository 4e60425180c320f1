#!/usr/bin/env bats
# What test-kernels makes of a guest's console, with stand-ins for the emulator, the programs and the tools around them.

stand_in() {
	printf '#!/bin/bash\n%s\n' "$2" >"bin/$1"
	chmod +x "bin/$1"
}

# program NAME OUTPUT: what a program prints, here and in the guest.
program() {
	printf '%s\n' "$2" >"said/$1"
	printf '#!/bin/bash\ncat "%s/said/%s"\n' "$PWD" "$1" >"$(program_path "$1")"
	chmod +x "$(program_path "$1")"
}

program_path() {
	case $1 in
	print_probe) echo build/tests/oracle/print_probe ;;
	usplice) echo build/src/cli/usplice ;;
	*) echo "build/tests/$1" ;;
	esac
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	mkdir -p bin said build/tests/oracle build/src/cli package
	touch kernel.deb
	echo driver >package/loop.ko
	echo kernel >package/vmlinuz-9
	stand_in meson 'exit ${COMPILE_STATUS-0}'
	for name in busybox ip tc; do stand_in $name ''; done
	program usplice ''
	stand_in ldd ''
	stand_in dpkg-deb 'tar -C package -c .'
	stand_in qemu-system-x86_64 'cat console'
	names=(print_probe test_probe test_oracle test_walks test_grid test_endpoints test_pairs test_uring test_relay_messages test_shared test_open_flags)
	for name in "${names[@]}"; do program "$name" $'1..1\nok 1 - fits'; done
	program print_probe $'pipe\tsource\tcopied\tbecause'
	program test_oracle $'1..1\nok 1 - agrees\n# 12 scenarios agree, 3 more differ as documented'
	program test_walks $'1..1\nok 1 - agrees\n# 5 walks from seed 1 on, 900 steps'
	program test_grid $'1..1\nok 1 - agrees\n# 7 of the 21 scenarios of the grid, of which 2 differ as documented'
}

# The console of a guest that runs everything; as on a serial line, lines end with a carriage return.
console() {
	echo "[    1.0] Linux"
	echo "@release 9.9"
	for name in "${names[@]}"; do
		printf '@begin %s\n%s\n@end %s %d\n' "$name" "$(cat "said/$name")" "$name" "${STATUS-0}"
	done
	echo "@done"
}

kernels() {
	PATH=$PWD/bin:$PATH run "$USPLICE_SOURCE_DIR/tools/test-kernels" "$@" build ./kernel.deb
	echo "$output"
	last=${lines[-1]}
}

@test "cases of the guest are counted, and both kernels stand in the table" {
	console | sed 's/$/\r/' >console
	kernels
	[ "$status" -eq 0 ]
	[ "$last" = "10 passed, 0 failed" ]
	grep -qx "| | 9.9 | $(uname -r) (here) |" <<<"$output"
	grep -qx '| pipe as a source | copied | copied |' <<<"$output"
	grep -qx '| scenarios that agree | 12 | 12 |' <<<"$output"
	grep -qx '| of them differ as documented | 2 | 2 |' <<<"$output"
}

@test "a failed case is named with its kernel, and what was said about it is shown" {
	console | sed '/agrees/s/^ok 1 - agrees/3 != 4\nnot ok 1 - agrees/' >console
	kernels
	[ "$status" -eq 1 ]
	[ "$last" = "7 passed, 3 failed" ]
	grep -qx 'FAILED  9.9: test_oracle: agrees' <<<"$output"
	grep -qx '3 != 4' <<<"$output"
}

@test "a guest that panics is one failure more, and the end of its console is shown" {
	console | sed '/@end test_walks/,$d' >console
	echo 'Kernel panic - not syncing' >>console
	kernels
	[ "$status" -eq 1 ]
	[ "$last" = "2 passed, 1 failed" ]
	grep -qx 'Kernel panic - not syncing' <<<"$output"
	grep -qx 'FAILED  9.9: the guest ended .* without having run everything' <<<"$output"
}

@test "a guest that does not boot is a failure" {
	: >console
	kernels
	[ "$status" -eq 1 ]
	[ "$last" = "0 passed, 1 failed" ]
}

@test "a guest that hangs is ended" {
	stand_in qemu-system-x86_64 'exec tail -f /dev/null'
	kernels --timeout 1
	[ "$status" -eq 1 ]
	grep -q 'the guest was ended after 1 s' <<<"$output"
}

@test "a program that ends badly after good cases is a failure, and one that cannot run too" {
	STATUS=137 console >console
	kernels
	[ "$status" -eq 1 ]
	grep -q 'test_pairs: timeout' <<<"$output"
	STATUS=77 console >console
	kernels
	[ "$status" -eq 1 ]
	grep -qx 'FAILED  9.9: test_pairs: cannot run here' <<<"$output"
}

@test "a program that no longer says how much it tried is a failure" {
	program test_grid $'1..1\nok 1 - agrees'
	console >console
	kernels
	[ "$status" -eq 1 ]
	grep -qx 'FAILED  9.9: test_grid: does not say how much it tried' <<<"$output"
}

@test "a failure of this machine's kernel fails the run" {
	console >console
	program test_pairs $'1..1\nnot ok 1 - fits'
	kernels
	[ "$status" -eq 1 ]
	[ "$last" = "10 passed, 1 failed" ]
}

@test "a missing emulator is told with its package" {
	rm bin/qemu-system-x86_64
	ln -s "$(python3 -c 'import sys; print(sys.executable)')" bin/python3
	PATH=$PWD/bin run "$USPLICE_SOURCE_DIR/tools/test-kernels" build ./kernel.deb
	[ "$status" -eq 1 ]
	[[ $output == *"Debian's package qemu-system-x86 has it"* ]]
}

@test "a build that fails runs nothing" {
	COMPILE_STATUS=1 kernels
	[ "$status" -eq 1 ]
	[ "$last" = "test-kernels: the build failed, so nothing was run" ]
}

@test "an unknown option is a wrong use, and help is none" {
	kernels --no-such-option
	[ "$status" -eq 2 ]
	kernels --help
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "usage: test-kernels "* ]]
}
