#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The version, the numbers of the library and the list of symbols say the same everywhere; and the checker would see it if not.

setup() {
	cd "$BATS_TEST_TMPDIR"
	mkdir src debian kmod
	for file in meson.build CHANGELOG.md src/meson.build src/usplice.map debian/changelog debian/control debian/libusplice0.symbols kmod/dkms.conf; do
		cp "$USPLICE_SOURCE_DIR/$file" "$file"
	done
	version=$(sed -n "s/^  version: '\(.*\)',/\1/p" meson.build)
}

check() {
	run "$USPLICE_SOURCE_DIR/tools/check-release" "$@"
	echo "$output"
}

@test "this tree agrees with itself" {
	check
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "a version that was raised in one place only is found" {
	sed -i "s/^  version: '.*'/  version: '9.8.7'/" meson.build
	check .
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = "CHANGELOG.md begins with $version, meson.build has 9.8.7" ]
	[ "${lines[1]}" = "debian/changelog begins with $version, meson.build has 9.8.7" ]
	[ "${lines[2]}" = "kmod/dkms.conf begins with $version, meson.build has 9.8.7" ]
}

@test "a function that is new gets the version of now, and the others keep theirs" {
	sed -i 's/^\t\tusp_copy;/\t\tusp_brand_new;\n&/' src/usplice.map
	for file in meson.build CHANGELOG.md debian/changelog kmod/dkms.conf; do sed -i "s/$version/9.8.7/" $file; done
	check .
	[ "$status" -eq 1 ]
	[ "$output" = "debian/libusplice0.symbols lacks usp_brand_new@USPLICE_0: run tools/check-release --write" ]
	check --write .
	[ "$status" -eq 0 ]
	grep -qx ' usp_brand_new@USPLICE_0 9.8.7' debian/libusplice0.symbols
	grep -qxF " usp_copy@USPLICE_0 0.2.0" debian/libusplice0.symbols
}

@test "a function that went is found, and is not taken out of the list" {
	sed -i '/^\t\tusp_copy;/d' src/usplice.map
	check --write .
	[ "$status" -eq 1 ]
	[ "$output" = "debian/libusplice0.symbols has usp_copy@USPLICE_0, which src/usplice.map does not export" ]
}

@test "the number of the library is that of the map and of the package" {
	sed -i "s/soversion: '0'/soversion: '1'/" src/meson.build
	mv debian/libusplice0.symbols debian/libusplice1.symbols
	check .
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = "src/usplice.map begins with USPLICE_0, src/meson.build has the soversion 1" ]
	[ "${lines[1]}" = "debian/control has no package libusplice1" ]
}
