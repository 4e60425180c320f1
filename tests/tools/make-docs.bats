#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The documents become HTML that is whole: no link leads nowhere, and nothing is loaded from elsewhere.

setup() {
	for tool in cmark-gfm mandoc scdoc; do command -v $tool >/dev/null || skip "no $tool"; done
	cd "$BATS_TEST_TMPDIR"
	mkdir tree
	tar -C "$USPLICE_SOURCE_DIR" --exclude=./bench/peers -cf - README.md CHANGELOG.md ARCHITECTURE.md CONTRIBUTING.md bench docs examples man tools |
		tar -C tree -xf -
}

@test "every document, manual page and example has a page, and all links lead somewhere" {
	run tree/tools/make-docs "a place"
	[ "$status" -eq 0 ]
	[[ $output == *" pages; begin with a place/index.html" ]]
	for page in README docs/relay bench/README man/usplice-copy.1 man/usp_splice.3 examples/send.c examples/fanout.py; do
		[ -s "a place/$page.html" ]
		grep -q "href=\"$page.html\"" "a place/index.html"
	done
	grep -q 'href="usp_pump.3.html"' "a place/man/usp_splice.3.html" || grep -q 'href="usp_open.3.html"' "a place/man/usp_splice.3.html"
}

@test "nothing is loaded from elsewhere" {
	tree/tools/make-docs site
	run grep -rhoE '(src|<link[^>]* href)="[^"]*"' site
	[ "$(grep -vE 'href="(\.\.?/)*(\./)?style.css"' <<<"$output")" = "" ]
}

@test "a link that leads nowhere is found" {
	printf '\n[a page](docs/none.md) and [a place](docs/relay.md#none)\n' >>tree/README.md
	run tree/tools/make-docs site
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = "README.html: docs/none.html leads to no page" ]
	[ "${lines[1]}" = "README.html: docs/relay.html#none leads to no such place" ]
}
