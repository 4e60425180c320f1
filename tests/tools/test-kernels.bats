#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
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

# matrix ANSWER CONTROL: what usplice probe says of a pipe as a source, and whether its controls hold.
matrix() {
	program matrix '{"controls":{"copies":true,"aliases":'$2'},"composed":{"agreed":0,"differing":[]},"cells":[
		{"half":"into a pipe","object":"pipe","peer":null,"flag":"none","base":true,"answer":"'"$1"'"}]}'
}

program_path() {
	case $1 in
	print_probe | token_cells) echo "build/tests/oracle/$1" ;;
	usplice) echo build/src/cli/usplice ;;
	*) echo "build/tests/$1" ;;
	esac
}

# A stand-in for the emulator: it shows ./console, or with a monitor it has the tokens that ./cells says in its memory.
emulator() {
	cat >bin/qemu-system-x86_64 <<-'PYTHON'
	#!/usr/bin/env python3
	import json, os, socket, sys, threading

	if "-qmp" not in sys.argv:
	    print(open("console.ring" if "panic_on_warn=1" in sys.argv[-1] else "console").read(), end="")
	    sys.exit()
	server = socket.socket(socket.AF_UNIX)
	server.bind(sys.argv[sys.argv.index("-qmp") + 1].split(":")[1].split(",")[0])
	server.listen()
	token, nr = bytes(range(16)), 0

	def monitor():
	    lines = (connection := server.accept()[0]).makefile("rw")
	    print("{}", file=lines, flush=True)
	    for line in lines:
	        command = json.loads(line)
	        if command["execute"] == "pmemsave":
	            open(command["arguments"]["filename"], "wb").write(b"." + token * nr + b".")
	        print('{"return": {}}', file=lines, flush=True)

	threading.Thread(target=monitor, daemon=True).start()
	print("@begin", flush=True)
	for line in open("cells"):
	    name, what, before, after, *copied = line.rstrip("\n").split("\t")
	    print(f"@cell {name}\t{what}", flush=True)
	    for nr in (int(before), int(after)):
	        print(f"@count {token.hex()}", flush=True)
	        sys.stdin.readline()
	    for number in copied:
	        print(f"@copied {number}", flush=True)
	print("Kernel panic" if os.path.exists("panics") else "@cells done", flush=True)
	PYTHON
	chmod +x bin/qemu-system-x86_64
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
	stand_in dpkg-deb '[ "$1" = -f ] && echo linux-image-9-cloud || tar -C package -c .'
	stand_in apt-cache 'exit 100'
	emulator
	program token_cells ''
	printf '%s\t%s\t%d\t%d\n' "control as a copy" write 1 2 "control as a reference" tee 1 1 "pipe as a source" page 2 3 >cells
	names=(print_probe test_probe test_oracle test_walks test_grid test_endpoints test_pairs test_uring test_relay_messages test_shared test_open_flags matrix)
	for name in "${names[@]}"; do program "$name" $'1..1\nok 1 - fits'; done
	program print_probe $'pipe\tsource\tcopied\tbecause'
	matrix copied true
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
	[ "$last" = "13 passed, 0 failed" ]
	grep -qx '| pipe as a source: page | copied | - |' <<<"$output"
	grep -qx "| | 9.9 | $(uname -r) (here) |" <<<"$output"
	grep -qx '| pipe as a source | copied | copied |' <<<"$output"
	grep -qx '| pipe, into a pipe | copied | copied |' <<<"$output"
	grep -qx '| scenarios that agree | 12 | 12 |' <<<"$output"
	grep -qx '| of them differ as documented | 2 | 2 |' <<<"$output"
}

@test "a failed case is named with its kernel, and what was said about it is shown" {
	console | sed '/agrees/s/^ok 1 - agrees/3 != 4\nnot ok 1 - agrees/' >console
	kernels
	[ "$status" -eq 1 ]
	[ "$last" = "10 passed, 3 failed" ]
	grep -qx 'FAILED  9.9: test_oracle: agrees' <<<"$output"
	grep -qx '3 != 4' <<<"$output"
}

# headers: apt has headers for ./kernel.deb, with which the driver is built; its programs are to be tried in a guest.
headers() {
	stand_in dpkg-deb 'case $1 in
	-f) echo linux-image-9-cloud ;;
	-x) mkdir -p "$3/usr/src/linux-headers-9-cloud"; echo include /usr/src/common >"$3/usr/src/linux-headers-9-cloud/Makefile" ;;
	*) tar -C package -c . ;;
	esac'
	stand_in apt-cache 'echo "Depends: linux-headers-9-common (= 9), linux-kbuild-9 (>= 9), gcc"'
	stand_in apt-get 'case $* in
	*--print-uris) echo "uri ${3}.deb size hash" ;;
	*) touch "$3.deb"; echo "$3" >>'"$PWD"'/fetched ;;
	esac'
	stand_in make '[ -z "$BREAKS" ] || { echo "lend.c: wrong"; exit 2; }; echo module >"$2/usplice.ko"'
	for name in test_ring test_ring_mapped test_ring_take test_ring_endpoint test_ring_figures test_vsock mount_ways test_ring_module; do
		program $name $'1..1\nok 1 - fits'
		printf '@begin %s\n1..1\nok 1 - fits\n@end %s 0\n' $name $name
	done >console.ring
	echo "@done" >>console.ring
	sed -i 's/^@end test_ring_figures/# figure a ring as fast as write: 2.00 x\n&/' console.ring
}

@test "the driver is built with the headers of apt, which are fetched once, and tried in a guest of its own" {
	console >console
	headers
	kernels
	[ "$status" -eq 0 ]
	[ "$last" = "21 passed, 0 failed" ]
	grep -qx '| the driver | tested | - |' <<<"$output"
	grep -qx '| a ring as fast as write | 2.00 x | - |' <<<"$output"
	[ "$(cat fetched)" = "$(printf '%s\n' linux-headers-9-cloud linux-headers-9-common linux-kbuild-9)" ]
	grep -qx "include $PWD/build/kernels/linux-headers-9-cloud/usr/src/common" \
		build/kernels/linux-headers-9-cloud/usr/src/linux-headers-9-cloud/Makefile
	kernels
	[ "$status" -eq 0 ]
	[ "$(wc -l <fetched)" -eq 3 ]
}

@test "a driver that does not build, or whose guest panics, is a failure" {
	console >console
	headers
	BREAKS=yes kernels
	[ "$status" -eq 1 ]
	[[ $output == *"lend.c: wrong"* ]]
	grep -q 'FAILED  9.9: usplice.ko cannot be built' <<<"$output"
	sed -i '/@begin test_ring_take/,$d' console.ring
	kernels
	[ "$status" -eq 1 ]
	grep -qx 'FAILED  9.9: the guest of the driver ended without having run everything' <<<"$output"
}

@test "a kernel whose headers apt does not have is tried without the driver" {
	console >console
	headers
	stand_in apt-cache 'exit 100'
	kernels
	[ "$status" -eq 0 ]
	[ "$last" = "13 passed, 0 failed" ]
	grep -qx '| the driver | not tested: apt has no headers for kernel.deb | - |' <<<"$output"
}

# source: apt has the source of kernels; make builds the newest one, which takes over all settings but $REFUSES.
source_package() {
	headers
	mkdir -p tree/usr/src linux-source-9.12
	echo source >linux-source-9.12/Makefile
	tar -cJf tree/usr/src/linux-source-9.12.tar.xz linux-source-9.12
	stand_in dpkg-deb 'tar -C tree -c .'
	stand_in apt-cache 'printf "%s - source\n" linux-source-9.2 linux-source-9.12 linux-source-8'
	stand_in make 'case $* in
	*tinyconfig) for word; do case $word in
		O=*) folder=${word#O=} ;;
		KCONFIG_ALLCONFIG=*) config=${word#*=} ;;
		esac; done
		mkdir -p "$folder" && grep -vx "${REFUSES-none}" "$config" >"$folder/.config" ;;
	*bzImage*) [ -z "$BREAKS" ] || { echo "sched.c: wrong"; exit 2; }
		mkdir -p build/kernels/checked/build/arch/x86/boot && echo made >>made &&
			echo kernel >build/kernels/checked/build/arch/x86/boot/bzImage ;;
	*) echo module >"$2/usplice.ko" ;;
	esac'
	program kernel_checks $'1..1\nok 1 - fits'
	sed -i '1i @release 9.12' console.ring
	sed -i '/^@begin test_ring_figures/,/^@end test_ring_figures/d; /^@done/d' console.ring
	printf '@begin kernel_checks\n1..1\nok 1 - fits\n@end kernel_checks 0\n@done\n' >>console.ring
}

# checked: the run with a kernel that looks for faults.
checked() {
	PATH=$PWD/bin:$PATH run "$USPLICE_SOURCE_DIR/tools/test-kernels" --checked build "$@"
	echo "$output"
	last=${lines[-1]}
}

@test "a kernel that looks for faults is built once, from the newest source, and only the driver is tried in it" {
	source_package
	for round in first again; do
		checked
		[ "$status" -eq 0 ]
		[ "$last" = "8 passed, 0 failed" ]
		grep -qx '| | 9.12 |' <<<"$output"
		grep -qx '| the driver | tested |' <<<"$output"
	done
	[ "$(cat fetched)" = linux-source-9.12 ]
	[ "$(cat build/kernels/checked/source/Makefile)" = source ]
	[ "$(cat made)" = made ]
}

@test "a kernel that does not build, or does not look for all faults, is a failure, and is not taken the next time" {
	source_package
	BREAKS=yes checked
	[ "$status" -eq 1 ]
	[[ $output == *"sched.c: wrong"* ]]
	grep -q 'FAILED  checked: the kernel or usplice.ko cannot be built' <<<"$output"
	REFUSES=CONFIG_KASAN=y checked
	[ "$status" -eq 1 ]
	grep -q 'checked.config: the kernel does not take over CONFIG_KASAN=y' <<<"$output"
	[ ! -e made ]
	checked
	[ "$status" -eq 0 ]
}

@test "what a checker found is a failure" {
	source_package
	sed -i '/^@begin kernel_checks/,/^@end/s/^ok 1.*/BUG: KASAN\nnot ok 1 - no_memory_is_lost/' console.ring
	checked
	[ "$status" -eq 1 ]
	grep -qx 'FAILED  9.12: kernel_checks: no_memory_is_lost' <<<"$output"
	grep -qx 'BUG: KASAN' <<<"$output"
}

@test "the checked kernel is the only one of its run" {
	checked ./kernel.deb
	[ "$status" -eq 2 ]
	checked --netem
	[ "$status" -eq 2 ]
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
	[ "$last" = "13 passed, 1 failed" ]
}

@test "tokens that say another thing than the probe are a failure" {
	console >console
	sed -i 's/^pipe.*/pipe as a source\tpage\t2\t2/' cells
	kernels
	[ "$status" -eq 1 ]
	[ "$last" = "12 passed, 1 failed" ]
	grep -q 'FAILED  9.9: pipe as a source (page): by reference by its tokens, 2 before and 2 after, not copied' <<<"$output"
}

@test "a control that is wrong is a failure, also where the probe says nothing" {
	console >console
	sed -i 's/^control as a copy.*/control as a copy\twrite\t1\t1/' cells
	kernels
	[ "$status" -eq 1 ]
	grep -q 'FAILED  9.9: control as a copy (write): by reference' <<<"$output"
}

@test "a matrix that the tokens contradict, whose control fails, or that is cut is a failure" {
	matrix "by reference" true
	sed -i '/^pipe as a source/s/page/spliced page/' cells
	console >console
	kernels
	[ "$status" -eq 1 ]
	grep -q 'FAILED  9.9: pipe as a source (spliced page): copied by its tokens, 2 before and 3 after, not by reference' <<<"$output"
	matrix copied false
	console >console
	kernels
	[ "$status" -eq 1 ]
	grep -qx 'FAILED  9.9: matrix: a control does not hold' <<<"$output"
	matrix copied true
	console | sed '/"half"/d' >console
	kernels
	[ "$status" -eq 1 ]
	grep -q 'FAILED  9.9: matrix: Expecting' <<<"$output"
}

# probed WRITE TEE PAGE: how many bytes kprobes saw copied in the three cells; the tokens say that the page was not.
probed() {
	printf '%s\t%s\t%d\t%d\t%d\n' "control as a copy" write 1 2 $1 "control as a reference" tee 1 1 $2 \
		"memory as a source" page 2 2 $3 >cells
}

@test "kprobes that saw bytes copied where the tokens did not are a failure, if their controls are right" {
	console >console
	probed 4096 0 4096
	kernels
	[ "$status" -eq 1 ]
	grep -qx 'FAILED  9.9: memory as a source (page): by reference by its tokens, but kprobes saw 4096 bytes copied' <<<"$output"
	for sums in "4096 0 0" "0 0 4096" "4096 4096 4096"; do
		probed $sums
		kernels
		[ "$status" -eq 0 ]
	done
}

@test "a guest that ends before all tokens are counted is a failure" {
	console >console
	touch panics
	kernels
	[ "$status" -eq 1 ]
	grep -qx 'FAILED  9.9: the guest ended before all tokens were counted' <<<"$output"
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
