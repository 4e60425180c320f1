#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The checker against small trees: a good one, and one bad one for each rule.

setup() {
	mkdir -p "$BATS_TEST_TMPDIR"/src/{base,mm,splice,endpoints,transforms,pump,cli} "$BATS_TEST_TMPDIR"/include/usplice
	cd "$BATS_TEST_TMPDIR"
}

# source FILE LINES...: a C file of these lines.
source_file() {
	local file=src/$1
	shift
	printf '%s\n' "$@" >"$file"
}

check() {
	run "$USPLICE_SOURCE_DIR/tools/check-layers" "$BATS_TEST_TMPDIR"
}

# complains LINE: exit code 1 and exactly this one violation.
complains() {
	check
	echo "$output"
	[ "$status" -eq 1 ]
	[ "$output" = "$1" ]
}

@test "this tree keeps its own rules" {
	run "$USPLICE_SOURCE_DIR/tools/check-layers"
	echo "$output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "a tree that keeps the rules gives no output" {
	source_file base/sys.c '#include "sys.h"' 'int usp_sys_close(int fd)' '{' '	return close(fd) ? -errno : 0;' '}'
	source_file splice/pipe.c '#include <errno.h>' '#include "mm/folio.h"' '#include "splice/buf.h"' '#include <usplice/endpoint.h>' \
		'/* errno, printf() and read() in a comment */' 'static const char *usp_word = "stderr: write(2)";' \
		'static int usp_try(struct usp_file *file)' '{' '	return file->ops->read(file) + usp_sys_read(3);' '}'
	source_file endpoints/zero.c '#include "endpoints/endpoints.h"' '#include "endpoints.h"' '#include "zero.h"' \
		'#include "endpoints/spec.h"'
	source_file cli/main.c '#include <usplice.h>' '#include "option.h"' 'int main(void)' '{' '	return printf("%d", errno);' '}'
	check
	echo "$output"
	[ "$status" -eq 0 ]
	[ -z "$output" ]
}

@test "an include that goes up is found" {
	source_file mm/folio.c '#include "splice/pipe.h"'
	complains 'src/mm/folio.c:1: include of "splice/pipe.h" goes up from floor 2 to 3'
}

@test "an include of the sibling folder is found" {
	source_file transforms/zstd.c '' '#include "lanes/kpipe.h"'
	complains 'src/transforms/zstd.c:2: include of "lanes/kpipe.h", which is a sibling on floor 4'
}

@test "an endpoint that includes another one is found" {
	source_file endpoints/zero.c '#include "null.h"'
	complains 'src/endpoints/zero.c:1: include of "null.h", but files in endpoints/ do not know each other'
}

@test "a transform that includes another one is found" {
	source_file transforms/gzip.c '#include "transforms/zstd.h"'
	complains 'src/transforms/gzip.c:1: include of "transforms/zstd.h", but files in transforms/ do not know each other'
}

@test "a transform may have parts of its own, and no part of another" {
	source_file transforms/gzip.c '#include "transforms/gzip_frame.h"'
	source_file transforms/gzip_frame.h
	source_file transforms/gz.c '#include "transforms/gzip_frame.h"'
	complains 'src/transforms/gz.c:1: include of "transforms/gzip_frame.h", but files in transforms/ do not know each other'
	[ "${#lines[@]}" -eq 1 ]
}

@test "a folder without a floor is found" {
	mkdir src/utils
	source_file utils/misc.c ''
	complains "src/utils/misc.c:1: folder 'utils' is on no floor"
}

@test "an include from a folder without a floor is found" {
	source_file pump/pump.c '#include "utils/misc.h"'
	complains 'src/pump/pump.c:1: include of "utils/misc.h", which is on no floor'
}

@test "a command that looks behind the public header is found" {
	source_file cli/main.c '#include "splice/pipe.h"'
	complains 'src/cli/main.c:1: the command includes "splice/pipe.h", it may only use <usplice.h>'
	source_file cli/main.c '#include <usplice/endpoint.h>'
	complains 'src/cli/main.c:1: the command includes <usplice/endpoint.h>, it may only use <usplice.h>'
}

@test "errno outside the door is found" {
	source_file splice/pipe.c 'int usp_f(void)' '{' '	return -errno;' '}'
	complains 'src/splice/pipe.c:3: errno outside base/sys.c'
	source_file splice/pipe.c ''
	source_file base/alloc.c 'int usp_f(void)' '{' '	return -errno;' '}'
	complains 'src/base/alloc.c:3: errno outside base/sys.c'
}

@test "a system call outside the door is found" {
	source_file pump/pump.c 'int usp_f(int fd)' '{' '	return close(fd);' '}'
	complains 'src/pump/pump.c:3: system call close() outside base/sys.c'
}

@test "a look-up of a name that nothing ends is found, in the command, too" {
	source_file base/lookup.c 'int usp_f(void)' '{' '	return getaddrinfo(0, 0, 0, 0);' '}'
	source_file pump/pump.c 'int usp_f(void)' '{' '	return getaddrinfo(0, 0, 0, 0);' '}'
	complains 'src/pump/pump.c:3: getaddrinfo() outside base/lookup.c: nothing ends it there'
	source_file pump/pump.c ''
	source_file cli/main.c 'int f(void)' '{' '	return gethostbyname("a") != 0;' '}'
	complains 'src/cli/main.c:3: gethostbyname() outside base/lookup.c: nothing ends it there'
}

@test "a library that prints is found" {
	source_file pump/pump.c 'void usp_f(void)' '{' '	puts("hello");' '}'
	complains 'src/pump/pump.c:3: puts: only the command prints'
	source_file pump/pump.c 'void usp_f(void)' '{' '	usp_show(stderr);' '}'
	complains 'src/pump/pump.c:3: stderr: only the command prints'
}

@test "a library that exits is found" {
	source_file pump/pump.c 'void usp_f(void)' '{' '	exit(1);' '}'
	complains 'src/pump/pump.c:3: exit(): only the command exits'
}

@test "files that call each other in a circle are found, and those that call through a table are not" {
	source_file pump/a.c 'int usp_a(int x)' '{' '	return usp_b(x);' '}'
	source_file pump/b.c 'int usp_b(int x)' '{' '	return usp_c(x);' '}'
	source_file splice/c.c 'int usp_c(int x)' '{' '	return x->usp_a(x) + ops.usp_a(x);' '}'
	check
	[ "$status" -eq 0 ]
	source_file pump/b.c 'int usp_b(int x)' '{' '	return usp_a(x); /* usp_c() */' '}'
	complains 'src/pump/a.c:1: it and these call each other in a circle: pump/b.c'
}

@test "the inside of a folder is for its own files" {
	source_file pump/a.c '#include "pump/inside.h"'
	check
	[ "$status" -eq 0 ]
	mkdir src/relay
	source_file relay/a.c '#include "pump/inside.h"'
	complains 'src/relay/a.c:1: include of "pump/inside.h", which is the inside of pump/'
}

@test "a function of 80 lines passes and one of 81 is found" {
	body() { yes '	usp_step();' | head -n "$1"; }
	source_file pump/pump.c 'int usp_f(void)' '{' "$(body 78)" '}'
	check
	[ "$status" -eq 0 ]
	source_file pump/pump.c 'static int usp_f(int first,' '		 int second)' '{' "$(body 79)" '}'
	complains 'src/pump/pump.c:3: function usp_f of 81 lines, at most 80'
}

@test "a file of 800 lines passes and one of 801 is found, headers too" {
	yes '' | head -n 800 >include/usplice/endpoint.h
	check
	[ "$status" -eq 0 ]
	yes '' | head -n 801 >include/usplice/endpoint.h
	complains 'include/usplice/endpoint.h:801: file of 801 lines, at most 800'
}
