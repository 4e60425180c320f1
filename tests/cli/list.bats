#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice list: what is here, and why not the rest.

load support

kinds=(endpoints transforms formats digests lanes features)

@test "every kind is listed, in lines of at most 80 characters" {
	run --separate-stderr "$USPLICE" list
	exits 0
	[ -z "$stderr" ]
	[[ ${lines[0]} == "usplice "*" on Linux "* ]]
	[ "$(grep -E '^[a-z]+$' <<<"$output")" = "$(printf '%s\n' "${kinds[@]}")" ]
	[ "$(awk '{ print length }' <<<"$output" | sort -n | tail -n 1)" -le 80 ]
	[[ $output == *"  tcp:HOST:PORT           a TCP connection"* ]]
	[[ $output == *"a source only"* ]]
	never grep -q ' $' <<<"$output"
}

@test "JSON has what the lines have" {
	"$USPLICE" list --json >said
	[ "$(jq -c 'keys_unsorted' said)" = '["version","kernel","machine","endpoints","transforms","formats","digests","lanes","features"]' ]
	[ "$(jq -r .version said)" = "$("$USPLICE" version | cut -d ' ' -f 2)" ]
	[ "$(jq -r .kernel said)" = "$(uname -r)" ]
	[ "$(jq -c '.endpoints[] | select(.name == "udp-listen") | [.form, .source, .sink, .options]' said)" = \
		'["udp-listen:[HOST:]PORT",true,false,["timeout"]]' ]
	[ "$(jq -c '[.lanes[] | [.name, .missing]]' said)" = '[["user",null],["kernel",null]]' ]
	jq -e 'all(.[] | arrays | .[]; has("name") and has("form") and .summary and has("library") and has("version") and has("missing"))' said
	# What has a library that can be loaded, and tells its version, has one.
	jq -e 'all(.formats[]; .missing or (.library and .version))' said
}

@test "kinds and names choose" {
	[ "$("$USPLICE" list --names lanes)" = $'user\nkernel' ]
	"$USPLICE" list --names digests | grep -qx crc32c
	[ "$("$USPLICE" list --json lanes features | jq -c 'keys - ["version","kernel","machine"]')" = '["features","lanes"]' ]
	[ "$("$USPLICE" list lanes | grep -cE '^[a-z]+$')" -eq 1 ]
	run --separate-stderr "$USPLICE" list colours
	exits 2
	says "'colours' is none of endpoints"
	run --separate-stderr "$USPLICE" list --json --names
	exits 2
	says "exclude each other"
}

@test "every endpoint, transform and option that is listed is in the manual" {
	for form in $("$USPLICE" list --json | jq -r '.endpoints[] | select(.name) | .name'); do
		grep -q "\*$form:\*"  "$USPLICE_SOURCE_DIR/man/usplice-endpoints.7.scd" || {
			echo "$form is not there"
			return 1
		}
	done
	for option in $("$USPLICE" list --json | jq -r '.endpoints[].options[]' | sort -u); do
		grep -qE "^\s*\*$option[=*]" "$USPLICE_SOURCE_DIR/man/usplice-endpoints.7.scd"
	done
	for name in $("$USPLICE" list --json | jq -r '.transforms[].name'); do
		grep -q "^##.*\b$name\b" "$USPLICE_SOURCE_DIR/man/usp_transform.3.scd"
	done
}

# A library that is there and is none: an empty file cannot be loaded.
@test "a library that cannot be loaded is said to be missing, and so it is" {
	[ "$("$USPLICE" list --json formats | jq '[.formats[] | select(.missing | not)] | length')" -gt 0 ] || skip "built without formats"
	mkdir libraries
	for library in libzstd.so.1 libz.so.1 liblz4.so.1 liblzma.so.5 libcrypto.so.3 libcrypto.so.1.1 libisal.so.2; do
		: >"libraries/$library"
	done
	export LD_LIBRARY_PATH=$PWD/libraries
	"$USPLICE" list --json >said || skip "the command itself needs one of them"
	[ "$(jq '[.formats[] | select(.missing | not)] | length' said)" -eq 0 ]
	jq -e 'all(.formats[], .digests[], .features[] | .missing; . == null or startswith("needs "))' said
	[ -z "$("$USPLICE" list --names formats)" ]
	"$USPLICE" list --names digests | grep -qx crc32c
	[ -z "$("$USPLICE" list --names digests | grep -x sha256)" ]
	"$USPLICE" list | tr '\n' ' ' | tr -s ' ' | grep -q 'fast_crc32c crc32c by instructions of the processor; MISSING: needs libisal.so.2, which'
	data a 10
	copy --digest sha256 a b
	exits 2
	says "--digest: 'sha256' needs "
}

@test "what the kernel does not let this process do is said to be missing" {
	for error in EPERM ENOSYS; do
		run --separate-stderr "$DENY_CALLS" "$error" "$USPLICE" list --json lanes
		exits 0
		[ "$(jq -r '.lanes[] | select(.name == "kernel") | .missing' <<<"$output")" = "needs splice(2), which this process may not call" ]
	done
}

@test "help and a full device" {
	run --separate-stderr "$USPLICE" list --help
	exits 0
	[[ $output == "usage: usplice list "* ]]
	run --separate-stderr sh -c '"$1" list >/dev/full' sh "$USPLICE"
	exits 1
}

@test "what a ring needs is told where its driver is not loaded" {
	[ ! -e /dev/usplice ] || skip "the driver is loaded"
	[ "$("$USPLICE" list --json endpoints | jq -r '.endpoints[] | select(.name == "ring") | .missing')" = \
		"needs the driver of usplice, which is not loaded (there is no /dev/usplice)" ]
	run --separate-stderr "$USPLICE" copy /dev/null ring:
	[ "$status" -ne 0 ]
	says "needs the driver of usplice"
	run --separate-stderr "$USPLICE" copy /dev/null ring:/dev/null,drop
	[ "$status" -ne 0 ]
	says "that is not the device of usplice's driver"
	run --separate-stderr "$USPLICE" copy /dev/null ring:,slots=0
	exits 2
	says "slots= takes a number of pages"
	run --separate-stderr "$USPLICE" copy /dev/null ring:,late=0
	exits 2
	says "late= takes a time"
	run --separate-stderr "$USPLICE" copy ring:,drop null:
	exits 2
	says "drop is for a sink"
}
