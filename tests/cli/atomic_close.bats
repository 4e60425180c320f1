#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --atomic, where the close of a file without a name (O_TMPFILE) fails: network file systems tell there what did not fit.
# A FUSE file system of libfuse 3.14 has no such files, so strace makes that one call fail.

load support

# nth_close: which close(2) of a copy is that of the new file, the last one of a file that was made without a name.
# On the user lane, because the experiments of the probe close other files, and how many depends on the page cache.
nth_close() {
	strace -y -e trace=close -o closes "$USPLICE" copy --lane user --atomic --report counted a b
	rm counted
	awk '/^close\(/ { nr++ } /^close\([0-9]+<[^>]*\/#[0-9]+>\(deleted\)\)/ { nth = nr } END { print nth }' closes
}

@test "an error of the close of a file that had no name leaves the old file and no other one" {
	tracing
	data a 150000
	echo old >b
	nth=$(nth_close)
	[ -n "$nth" ] || skip "this file system has no files without names"
	for error in "EDQUOT:Disk quota exceeded" "ENOSPC:No space left on device" "EIO:Input/output error"; do
		echo old >b
		mkdir -p there && mv b there/b && cp a there/a
		run --separate-stderr sh -c 'cd there && exec strace -e trace=close -e inject=close:error="$1":when="$2" -o ../trace \
			"$USPLICE" copy --lane user --atomic --report ../report a b' sh "${error%%:*}" "$nth"
		grep -q INJECTED trace
		exits 4
		says "usplice: sink b: at byte 150000: ${error#*:}"
		[ "$(jq -r '.sinks[0].error' report)" = "${error#*:}" ]
		[ "$(cat there/b)" = old ]
		[ "$(ls -A there | tr '\n' ' ')" = "a b " ]
		rm -r there report
	done
}
