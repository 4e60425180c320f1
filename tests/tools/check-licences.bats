#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Every file has a licence and a copyright; and the checker would see it if not.

setup() {
	cd "$BATS_TEST_TMPDIR"
	mkdir -p tree/.reuse tree/LICENSES
	cp "$USPLICE_SOURCE_DIR/.reuse/dep5" tree/.reuse
	cp "$USPLICE_SOURCE_DIR/LICENSES/MIT.txt" tree/LICENSES
	tag="SPDX-License-""Identifier"
	echo "/* $tag: MIT */" >tree/one.c
}

check() {
	run "$USPLICE_SOURCE_DIR/tools/check-licences" "$@"
	echo "$output"
}

@test "this tree has them all" {
	check
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "REUSE thinks so, too" {
	command -v reuse >/dev/null || skip "no reuse"
	[ -e "$USPLICE_SOURCE_DIR/.git" ] || skip "not a git tree: it would read what was built"
	cd "$USPLICE_SOURCE_DIR"
	reuse lint
}

@test "a source or a script without a licence is found" {
	echo "int one;" >tree/two.c
	printf '#!/bin/sh\n' >tree/script
	echo "text" >tree/text.md
	check tree
	[ "$status" -eq 1 ]
	[ "$output" = $'script: no SPDX line in its first 6 lines\ntwo.c: no SPDX line in its first 6 lines' ]
}

@test "a file that is not covered is found" {
	sed -i 's/^Files: .*/Files: *.c/' tree/.reuse/dep5
	echo "text" >tree/text.md
	check tree
	[ "$status" -eq 1 ]
	[[ $output == *"text.md: no copyright, here or in .reuse/dep5"* ]]
	[[ $output == *"text.md: no licence, here or in .reuse/dep5"* ]]
}

@test "a licence without its text is found, and a text without a licence" {
	echo "/* $tag: BSD-2-Clause */" >tree/two.c
	touch tree/LICENSES/ISC.txt
	check tree
	[ "$status" -eq 1 ]
	[ "$output" = $'LICENSES/BSD-2-Clause.txt is missing\nLICENSES/ISC.txt belongs to no file' ]
}

@test "where there is a choice of licences, the texts of all must be there" {
	echo "/* $tag: MIT OR ISC */" >tree/two.c
	check tree
	[ "$status" -eq 1 ]
	[ "$output" = "LICENSES/ISC.txt is missing" ]
	touch tree/LICENSES/ISC.txt
	check tree
	[ "$status" -eq 0 ]
}
