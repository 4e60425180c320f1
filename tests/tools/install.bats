#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What `make install` leaves is complete: a program builds against it and runs.

# install_below ROOT: sets prefix and library.
install_below() {
	root=$1
	meson install -C "$USPLICE_BUILD_DIR" --no-rebuild --quiet --destdir "$root"
	prefix=$root$(meson introspect "$USPLICE_BUILD_DIR" --buildoptions | jq -r '.[] | select(.name == "prefix").value')
	library=$(find "$root" -name libusplice.so)
}

# One installation for all tests that only look at it.
setup_file() {
	install_below "$BATS_FILE_TMPDIR/root"
	export root prefix library
}

# Ours from below the root; what it needs itself from the system.
use_installed() {
	PKG_CONFIG_LIBDIR=${library%/*}/pkgconfig:$(pkg-config --variable pc_path pkg-config)
	export PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR=$root
}

needs_plain_build() {
	! nm -D "$library" | grep -qE '__(asan|tsan|ubsan)_' || skip "a sanitized library needs a sanitized program"
}

@test "the command, the headers and both libraries are installed" {
	[ -x "$prefix/bin/usplice" ]
	[ -f "$prefix/include/usplice.h" ]
	[ -f "$prefix/include/usplice/endpoint.h" ]
	[ -f "$prefix/include/usplice/mount.h" ]
	[ -f "$prefix/include/usplice/relay.h" ]
	[ -f "$prefix/include/usplice/spec.h" ]
	[ -f "$prefix/include/usplice/trace.h" ]
	[ -f "$prefix/include/usplice/transform.h" ]
	[ -f "${library%.so}.a" ]
	[ -f "$prefix/share/bash-completion/completions/usplice" ]
	[ -f "$prefix/share/zsh/site-functions/_usplice" ]
	[ -f "$prefix/share/fish/vendor_completions.d/usplice.fish" ]
	[ "$(readlink "$library")" = libusplice.so.0 ]
}

@test "a program builds with the flags of pkg-config and runs with the shared library" {
	needs_plain_build
	use_installed
	cd "$BATS_TEST_TMPDIR"
	cc -o send "$USPLICE_SOURCE_DIR"/examples/send.c $(pkg-config --cflags --libs usplice)
	objdump -p send | grep -q 'NEEDED *libusplice.so.0'
	echo hello >greeting
	LD_LIBRARY_PATH=${library%/*} ./send greeting copy
	cmp greeting copy
}

@test "a program builds with the static library" {
	needs_plain_build
	use_installed
	cd "$BATS_TEST_TMPDIR"
	cc -o send "$USPLICE_SOURCE_DIR"/examples/send.c $(pkg-config --cflags usplice) "${library%.so}.a" -pthread \
		$(pkg-config --static --libs-only-l usplice | sed s/-lusplice//)
	echo hello >greeting
	./send greeting copy
	cmp greeting copy
}

@test "pkg-config --static has all that a program without shared libraries needs" {
	needs_plain_build
	use_installed
	cd "$BATS_TEST_TMPDIR"
	cc -static -o send "$USPLICE_SOURCE_DIR"/examples/send.c $(pkg-config --static --cflags --libs usplice) 2>warnings || {
		grep -q 'cannot find -l' warnings && skip "no static $(grep -o 'cannot find -l[a-z0-9]*' warnings | head -n 1)"
		cat warnings
		return 1
	}
	[ -z "$(readelf -d send 2>/dev/null | grep NEEDED)" ]
	echo hello >greeting
	./send greeting copy
	cmp greeting copy
}

# OpenSSL, zstd and their kin are loaded when they are asked for.
@test "a program needs no library of a transform to be built" {
	needs_plain_build
	use_installed
	mkdir "$BATS_TEST_TMPDIR/pc"
	cp "${library%/*}/pkgconfig/usplice.pc" "$BATS_TEST_TMPDIR/pc"
	printf 'Name: liburing\nDescription: stand-in\nVersion: 9\n' >"$BATS_TEST_TMPDIR/pc/liburing.pc"
	printf 'Name: fuse3\nDescription: stand-in\nVersion: 9\n' >"$BATS_TEST_TMPDIR/pc/fuse3.pc"
	PKG_CONFIG_LIBDIR=$BATS_TEST_TMPDIR/pc pkg-config --cflags --libs usplice
}

@test "the documents are installed, and their links lead to files" {
	cd "$prefix/share/doc/usplice"
	[ -f README.md ] && [ -f LICENSE ] && [ -f docs/writing-an-endpoint.md ] && [ -f examples/send.c ]
	for document in *.md docs/*.md bench/*.md; do
		for target in $(grep -o '](\([^):#]*\))' "$document" | sed 's/^](//; s/)$//'); do
			[ -e "$(dirname "$document")/$target" ] || echo "$document: $target"
		done
	done >"$BATS_TEST_TMPDIR"/broken
	diff /dev/null "$BATS_TEST_TMPDIR"/broken
}

@test "the command links the shared library where that is wanted, and else is one file" {
	unset LD_LIBRARY_PATH # meson names the library of the build that is tested, which may be a sanitized one
	[ -z "$(ldd "$prefix/bin/usplice" | grep libusplice)" ]
	meson setup "$BATS_TEST_TMPDIR/shared" "$USPLICE_SOURCE_DIR" -Dtests=false -Dman=disabled -Doptimization=0 -Dcommand_links=shared
	meson compile -C "$BATS_TEST_TMPDIR/shared" usplice:executable
	ldd "$BATS_TEST_TMPDIR/shared/src/cli/usplice" | grep -q 'libusplice.so.0 => /'
	[ "$("$BATS_TEST_TMPDIR/shared/src/cli/usplice" copy mem:hello -)" = hello ]
}

@test "what was installed can be removed, and nothing else is" {
	install_below "$BATS_TEST_TMPDIR/root"
	touch "$prefix/bin/another" "$prefix/share/doc/usplice/of-the-user"
	rm "$prefix/bin/usplice"
	run "$USPLICE_SOURCE_DIR/tools/uninstall" "$USPLICE_BUILD_DIR" "$root"
	[ "$status" -eq 0 ]
	[[ $output == *" files removed" ]]
	[ "$(find "$root" ! -type d | sort)" = "$(printf '%s\n' "$prefix/bin/another" "$prefix/share/doc/usplice/of-the-user")" ]
	[ -z "$(find "$root" -name '*usplice*' ! -path "$prefix/share/doc/usplice")" ]
	[ -d "$prefix/lib" ]
}

@test "the public headers compile alone and without GNU extensions" {
	for header in usplice.h usplice/endpoint.h usplice/framed.h usplice/mapping.h usplice/mount.h usplice/probe.h usplice/pump.h usplice/relay.h usplice/spec.h usplice/trace.h usplice/transform.h; do
		echo "#include <$header>" | cc -std=c11 -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" -fsyntax-only -x c -
	done
}

@test "the public headers compile as C++11 and C++20" {
	for header in usplice.h usplice/endpoint.h usplice/framed.h usplice/mapping.h usplice/mount.h usplice/probe.h usplice/pump.h usplice/relay.h usplice/spec.h usplice/trace.h usplice/transform.h; do
		for compiler in g++ $(command -v clang++); do
			for standard in c++11 c++20; do
				echo "#include <$header>" | $compiler -std=$standard -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" \
					-fsyntax-only -x c++ -
			done
		done
	done
}

# cffi takes declarations as they are, without headers of the system and without attributes.
@test "the public headers can be read by cffi" {
	cd "$BATS_TEST_TMPDIR"
	mkdir -p none/sys
	touch none/{errno,stdbool,stddef,stdint,netdb}.h none/sys/{types,uio,socket,stat}.h
	for header in usplice.h usplice/endpoint.h usplice/framed.h usplice/mapping.h usplice/mount.h usplice/probe.h usplice/pump.h usplice/relay.h usplice/spec.h usplice/trace.h usplice/transform.h; do
		echo "#include <$header>" | cpp -P -nostdinc -U__GNUC__ -Inone -I"$prefix/include" - >declarations
		/usr/bin/python3 -c '
import cffi
ffi = cffi.FFI()
ffi.cdef("struct iovec { void *iov_base; size_t iov_len; }; struct sockaddr;")
ffi.cdef(open("declarations").read())
ffi.typeof("struct usp_pump_params")
'
	done
}

# A small make of everything: the tree is a copy, without what was built in it. Names do not depend on the optimisation.
@test "the tree, the prefix, DESTDIR and TMPDIR may have spaces in their names" {
	cd "$BATS_TEST_TMPDIR"
	mkdir "my tree" "my tmp"
	tar -C "$USPLICE_SOURCE_DIR" --exclude='./build*' --exclude=./.git -cf - . | tar -C "my tree" -xf -
	cd "my tree"
	export TMPDIR="$BATS_TEST_TMPDIR/my tmp" CFLAGS=-O0
	make install PREFIX="$BATS_TEST_TMPDIR/my prefix"
	echo hello >greeting
	"$BATS_TEST_TMPDIR/my prefix/bin/usplice" copy greeting "a copy"
	cmp greeting "a copy"
	make install PREFIX="/my usr" DESTDIR="my root"
	"my root/my usr/bin/usplice" copy greeting "another copy"
	cmp greeting "another copy"
	service=$(find "my root" -name 'usplice-relay@.service')
	grep -qx 'ExecStart="/my usr/bin/usplice" relay .*' "$service"
	make uninstall PREFIX="/my usr" DESTDIR="my root"
	[ -z "$(find "my root" ! -type d)" ]
	tools/check-layers
	make clean
	[ ! -e build ]
}
