#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What is built is hardened: the files themselves say so.

setup() {
	library=$USPLICE_BUILD_DIR/src/libusplice.so
	cd "$BATS_TEST_TMPDIR"
}

# option NAME [BUILD]: what a build directory was configured with.
option() {
	meson introspect "${2-$USPLICE_BUILD_DIR}" --buildoptions | jq -r --arg name "$1" '.[] | select(.name == $name).value'
}

# knows OPTION: the compiler does, on this kind of machine.
knows() {
	echo 'int main(void) { return 0; }' | cc -Werror "$1" -c -o known.o -x c - 2>/dev/null
}

# fortify BUILD: what its files are compiled with, each option once.
fortify() {
	grep -o -e '-D_FORTIFY_SOURCE=[0-9]' "$1/compile_commands.json" | sort -u | tr '\n' ' '
}

@test "the command can be loaded anywhere" {
	readelf -hW "$USPLICE" | grep -q 'Type: *DYN'
	readelf -dW "$USPLICE" | grep -q 'FLAGS_1.*PIE'
}

@test "all addresses are resolved at the start, and cannot be written after that" {
	for file in "$USPLICE" "$library"; do
		readelf -lW "$file" | grep -q GNU_RELRO
		readelf -dW "$file" | grep -qE '\(BIND_NOW\)|FLAGS_1.*NOW|\(FLAGS\).*BIND_NOW'
	done
}

@test "no stack can be executed" {
	for file in "$USPLICE" "$library"; do
		readelf -lW "$file" | grep -qE 'GNU_STACK.* RW +0x'
	done
}

@test "functions with arrays guard their stacks" {
	for file in "$USPLICE" "$library"; do
		readelf -sW --dyn-syms "$file" | grep -q __stack_chk_fail
	done
}

@test "calls that copy memory and print are checked, where the compiler knows the size" {
	[ "$(option optimization)" != 0 ] && [ "$(option b_sanitize)" = none ] || skip "not in this build"
	[[ $(fortify "$USPLICE_BUILD_DIR") == "-D_FORTIFY_SOURCE="[23]" " ]]
	readelf -sW --dyn-syms "$USPLICE" | grep -qE '__\w+_chk\b'
}

@test "jumps lead only to where functions and labels begin" {
	knows -fcf-protection=full || skip "not on this kind of machine"
	# The linker notes it only if the system's own files have it as well: look at one of ours.
	object=$(find "$USPLICE_BUILD_DIR/src" -name 'splice_pipe.c.o' | head -n 1)
	readelf -nW "$object" | grep -q 'x86 feature: IBT, SHSTK'
}

@test "builds without optimisation and with sanitizers go without FORTIFY, and what a packager says stands" {
	quick="-Dtests=false -Dman=disabled"
	meson setup plain "$USPLICE_SOURCE_DIR" $quick -Doptimization=0 -Db_coverage=true
	[ -z "$(fortify plain)" ]
	meson setup sanitized "$USPLICE_SOURCE_DIR" $quick -Db_sanitize=address,undefined -Db_lundef=false
	[ -z "$(fortify sanitized)" ]
	meson setup packaged "$USPLICE_SOURCE_DIR" $quick -Dc_args=-D_FORTIFY_SOURCE=1
	[ "$(fortify packaged)" = "-D_FORTIFY_SOURCE=1 " ]
}
