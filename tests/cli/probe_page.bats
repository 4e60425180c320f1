#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice probe --html: the page in a real browser, and how it comes into its file.

load support

sample=$BATS_TEST_DIRNAME/probe_sample.json

# page JSON FILE: the page that shows this JSON.
page() {
	FOUND=$1 "$USPLICE_FOUND" probe --html "$2"
}

# browse CHECK JSON: with the page that shows it.
browse() {
	page "$2" page.html
	look "$1" "$2"
}

# look CHECK JSON: with ./page.html.
look() {
	local code=0
	python3 -B "$USPLICE_SOURCE_DIR/tests/cli/browse_probe.py" "$1" page.html "$2" || code=$?
	[ "$code" -ne 77 ] || skip "needs Chromium"
	return "$code"
}

# data_of PAGE: the JSON that stands in it.
data_of() {
	python3 -c '
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
print(re.search(r"<script type=\"application/json\" id=\"data\">(.*?)</script>", text, re.S)[1])' "$1"
}

@test "the page has a cell for each source and sink, a list of halves, and a bar for each cost" {
	browse shows_the_matrix "$sample"
}

@test "the page of this machine shows what was found on it" {
	"$USPLICE" probe --html page.html --dir .
	data_of page.html >found.json
	jq -e '[.cells[] | select(.object == "file in .")] | length > 1' found.json
	look shows_the_matrix found.json
}

@test "a click shows both halves of a cell, with their reasons" {
	browse shows_both_halves "$sample"
}

@test "the matrix can be read by the keyboard" {
	browse obeys_the_keyboard "$sample"
}

@test "the page says what changes an answer" {
	browse tells_the_changes "$sample"
}

@test "the page fits every window, and its text can be read on light and on dark" {
	browse fits_every_window "$sample"
}

@test "the page warns of failed controls, and of routes that do not compose" {
	jq '.controls = {copies: false, aliases: false} | .memcpy = null | .cells[].cost = null |
		.composed.differing = [{source: "here", sink: "there", expected: "copied", found: "by reference"}]' "$sample" >bad.json
	browse warns bad.json
}

@test "names in the page are text, whatever they say" {
	jq --arg bad '</script><b>x</b><img src=x onerror="taken=1"><!--<script>taken=1</script>'"'"'"\`${taken=1}&lt;' \
		'.cells[].object |= $bad + . | .cells[].reason |= . + $bad | .cells[].peer |= (if . then . + $bad else . end) |
		.system.kernel += $bad | .usplice += $bad | .composed.differing = [{source: $bad, sink: $bad, expected: $bad, found: $bad}]' \
		"$sample" >bad.json
	browse is_not_taken_over bad.json
}

@test "the JSON in the page is what was found" {
	page "$sample" page.html
	jq -S . "$sample" >want
	data_of page.html | jq -S . | same - want
	page "$sample" - >same.html
	same page.html same.html
	"$USPLICE" probe --html own.html
	"$USPLICE" probe --json | jq -S 'keys' >want
	data_of own.html | jq -S 'keys' | same - want
}

@test "an old page stays until the new one is whole" {
	small_disk 40k
	echo old >small/page.html
	run --separate-stderr page "$sample" small/page.html
	exits 1
	says "page small/page.html: No space left on device"
	[ "$(cat small/page.html)" = old ]
	[ "$(ls -A small)" = page.html ]
}

@test "where no page can be written it says so, and leaves nothing" {
	run --separate-stderr "$USPLICE" probe --html missing/page.html
	exits 1
	says "page missing/page.html: No such file or directory"
	run --separate-stderr "$USPLICE" probe --html .
	exits 1
	says "page .: Is a directory"
	run --separate-stderr sh -c '"$1" probe --html - >/dev/full' sh "$USPLICE"
	exits 1
	says "standard output: No space left on device"
	[ -z "$(ls -A)" ]
}

@test "options that do not go with a page are refused" {
	run --separate-stderr "$USPLICE" probe --html page.html --json
	exits 2
	says "--json and --html are two ways"
	run --separate-stderr "$USPLICE" probe --html page.html null:
	exits 2
	says "--html is for the machine"
	[ -z "$(ls -A)" ]
}
