#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The symbol map, the public headers and the shared library say the same; and the checker would see it if not.

symbols() {
	run "$USPLICE_SOURCE_DIR/tools/check-symbols" "$@"
	echo "$output"
}

setup() {
	cd "$BATS_TEST_TMPDIR"
	cat >some.h <<-'END'
		#define USP_EXPORT __attribute__((visibility("default")))
		/* USP_EXPORT int usp_in_a_comment(void); */
		USP_EXPORT int usp_one(int (*done)(void *arg),
				       void *arg);
		USP_EXPORT extern const struct usp_ops usp_two;
		int usp_internal(void);
	END
	"$USPLICE_SOURCE_DIR/tools/check-symbols" --print some.h >some.map
}

@test "the map lists what the headers declare, and the library exports just that" {
	symbols "$USPLICE_SOURCE_DIR"/src/usplice.map "$USPLICE_SOURCE_DIR"/include/usplice.h \
		"$USPLICE_SOURCE_DIR"/include/usplice/{endpoint,framed,mapping,mount,probe,pump,relay,spec,trace,transform}.h "$USPLICE_BUILD_DIR"/src/libusplice.so
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "a printed map is right" {
	symbols some.map some.h
	[ "$status" -eq 0 ]
	[ "$(grep -c usp_ some.map)" -eq 2 ]
}

@test "a declaration that the map forgot is found" {
	sed -i /usp_two/d some.map
	symbols some.map some.h
	[ "$status" -eq 1 ]
	[ "$output" = "some.map lacks usp_two" ]
}

@test "a name that no header declares is found" {
	sed -i 's/usp_one;/usp_one;usp_internal;/' some.map
	symbols some.map some.h
	[ "$status" -eq 1 ]
	[ "$output" = "some.map has usp_internal, which no public header declares" ]
}

@test "a library that lacks a declared symbol or shows another one is found" {
	echo 'int usp_one(void) { return 1; } int usp_internal(void) { return 2; }' >some.c
	cc -shared -fPIC -o libsome.so some.c
	symbols some.map some.h libsome.so
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = "libsome.so lacks usp_two" ]
	[ "${lines[1]}" = "libsome.so has usp_internal, which no public header declares" ]
}

@test "two flags that are one bit are found" {
	printf '%s\n' '#define USP_SOME_A 0x10u' '#define USP_SOME_B \' '	0x10u /* the same */' '#define USP_OTHER_C 0x10' >>some.h
	symbols some.map some.h
	[ "$status" -eq 1 ]
	[ "$output" = "some.h: USP_SOME_B is the same bit as USP_SOME_A" ]
}

@test "every exported name has a manual page" {
	listed=$(<"$USPLICE_SOURCE_DIR"/man/meson.build)
	names=$(grep -o '\busp_[a-z0-9_]*' "$USPLICE_SOURCE_DIR"/src/usplice.map)
	[ -n "$names" ]
	for name in $names; do
		[[ $listed == *"'$name'"* || $listed == *"'$name.3'"* ]] || echo "$name has no manual page"
	done >missing
	diff /dev/null missing
}

@test "a second node, for what a later version adds, is read as well" {
	sed -i /usp_two/d some.map
	printf 'USPLICE_0_3 {\n\tglobal:\n\t\tusp_two;\n} USPLICE_0;\n' >>some.map
	symbols some.map some.h
	[ "$status" -eq 0 ]
}
