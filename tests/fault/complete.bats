#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The fault tests know of every call that can fail.

# What sys.h declares, but for the functions that return nothing or yes and no, the clock of a thread and getpid.
fallible() {
	grep -oE '^[a-z][a-z0-9_ ]*[ *]usp_sys_[a-z_]+\(' "$USPLICE_SOURCE_DIR/src/base/sys.h" | grep -vE '^(void|bool) usp_' |
		grep -oE 'usp_sys_[a-z_]+' | grep -vE '^usp_sys_(thread_cpu_ns|pid|fd_limit|nr_processors|user|group)$' | sort
}

@test "every system call that can fail is wrapped, and no other" {
	fallible >declared
	grep -oE 'usp_sys_[a-z_]+' "$USPLICE_SOURCE_DIR/tests/fault/wrap.args" | sort >wrapped
	[ "$(wc -l <declared)" -gt 40 ]
	diff declared wrapped
}

setup() {
	cd "$BATS_TEST_TMPDIR"
}
