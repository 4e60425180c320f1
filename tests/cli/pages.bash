# SPDX-License-Identifier: MIT
# The page at http://127.0.0.1:$port/ of a program that runs, in a real browser.

# browse CHECK: of browse.py.
browse() {
	local code=0
	python3 -B "$USPLICE_SOURCE_DIR/tests/cli/browse.py" "$1" "http://127.0.0.1:$port/" "${@:2}" 8>&- || code=$?
	[ "$code" -ne 77 ] || skip "needs Chromium"
	return "$code"
}

# watch_the_end: the page is open, and $job waits until the program ends, which ./here.lost tells, and answers again.
watch_the_end() {
	browse starts
	touch here
	python3 -B "$USPLICE_SOURCE_DIR/tests/cli/browse.py" notices_the_end "http://127.0.0.1:$port/" here 2>job.err 8>&- &
	job=$!
	eventually test ! -e here
}
