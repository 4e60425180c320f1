#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: the JSON report.

load support

@test "the report has exactly the keys of the manual, in their order" {
	data a 100000
	copy --json a b c
	exits 0
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[ "$(jq -c keys_unsorted <<<"$stderr")" = '["bytes","seconds","cpu_seconds","lane","by_reference","copied","unknown","rewritten","holes","hops","source","sinks","stranded","digests","unreadable","buffer"]' ]
	[ "$(jq -c '.hops[] | keys_unsorted' <<<"$stderr" | sort -u)" = '["from","to","lane","by_reference","copied","unknown","rewritten","holes","lost","reason"]' ]
	[ "$(jq -c '.sinks[] | keys_unsorted' <<<"$stderr" | sort -u)" = '["spec","bytes","error","code","kind","cached","address"]' ]
	[ "$(jq -c '.source' <<<"$stderr")" = '{"spec":"a","code":null,"kind":null,"cached":null,"address":null}' ]
}

@test "its values have the right types" {
	data a 100000
	copy --json a b
	exits 0
	[ "$(jq -c 'map_values(type)' <<<"$stderr")" = '{"bytes":"number","seconds":"number","cpu_seconds":"number","lane":"string","by_reference":"number","copied":"number","unknown":"number","rewritten":"number","holes":"number","hops":"array","source":"object","sinks":"array","stranded":"number","digests":"object","unreadable":"array","buffer":"null"}' ]
	[ "$(jq -c '.hops[] | map_values(type)' <<<"$stderr" | sort -u)" = '{"from":"string","to":"string","lane":"string","by_reference":"number","copied":"number","unknown":"number","rewritten":"number","holes":"number","lost":"number","reason":"string"}' ]
}

@test "the hops are the source's and one for each destination" {
	data a 1000
	copy --json a b null:
	exits 0
	[ "$(jq -c '[.hops[] | [.from, .to]]' <<<"$stderr")" = '[["a","pipe"],["pipe","b"],["pipe","null:"]]' ]
}

@test "the ways add up to the bytes of the destinations" {
	data a 1000001
	for route in "a b" "a b c" "a null:" "--no-splice a b" "--no-splice a null: c" "mem:hello b" "--snapshot a null:"; do
		# shellcheck disable=SC2086
		copy --json $route
		exits 0
		jq -e '.by_reference + .copied + .unknown == ([.sinks[].bytes] | add)' <<<"$stderr"
		# From file to file there is one hop, without a pipe.
		jq -e '.hops as $h | .sinks | to_entries | all(. as $s | $h[if ($h | length) == 1 then 0 else .key + 1 end] |
			.by_reference + .copied + .unknown == $s.value.bytes)' <<<"$stderr"
		jq -e '.bytes as $bytes | .hops[0] | .by_reference + .copied + .unknown == $bytes' <<<"$stderr"
		jq -e '.stranded == 0' <<<"$stderr"
	done
}

@test "--report writes the same into a file, over what was there" {
	data a 1000
	yes | head -c 10000 >report
	copy --report report a b
	exits 0
	[ -z "$stderr" ]
	[ "$(jq .bytes report)" -eq 1000 ]
	[ "$(wc -l <report)" -eq 1 ]
}

@test "--report takes a pipe" {
	data a 1000
	copy --report /dev/stdout a b
	exits 0
	[ "$(jq .bytes <<<"$output")" -eq 1000 ]
}

@test "names are escaped, and what is not UTF-8 is replaced" {
	data a 10
	name=$'q"b\\s\tt\xc3\xa9\xffend\xe2\x82'
	copy --report report a "$name"
	exits 0
	[ "$(jq -r '.sinks[0].spec' report)" = $'q"b\\s\tt\xc3\xa9\xef\xbf\xbdend\xef\xbf\xbd\xef\xbf\xbd' ]
	grep -qF 'q\"b\\s\tt' report
	python3 -c 'import json; json.loads(open("report", "rb").read().decode("utf-8", "strict"))'
}

@test "a copy that failed to begin has a report too" {
	data a 10
	copy --report report a /nowhere/b
	exits 4
	[ "$(jq -c '[.bytes, .lane, .hops, .sinks[0].error]' report)" = '[0,null,[],"No such file or directory"]' ]
	copy --report report x b
	exits 3
	[ "$(jq .bytes report)" -eq 0 ]
}

@test "the error of a destination is in the report" {
	copy --report report mem:hello /dev/full
	exits 4
	[ "$(jq -c '.sinks' report)" = '[{"spec":"/dev/full","bytes":0,"error":"No space left on device","code":"ENOSPC","kind":"no-space","cached":null,"address":null}]' ]
}

# kinds EXPECTED ARGUMENTS: code and kind of the source and of the first sink.
kinds() {
	local expected=$1
	shift
	copy --report report "$@"
	[ "$(jq -c '[.source, .sinks[0]] | map(.code, .kind)' report)" = "$expected" ]
}

@test "each error has a code and a kind for programs" {
	data a 100000
	mkdir d
	kinds '[null,null,null,null]' a b
	kinds '["ENOENT","not-found",null,null]' missing b
	kinds '["EISDIR","invalid",null,null]' d b
	kinds '[null,null,"ENOENT","not-found"]' a /nowhere/b
	kinds '[null,null,"EISDIR","invalid"]' a d
	kinds '[null,null,"ECONNREFUSED","refused"]' a tcp:127.0.0.1:1
	kinds '["EBADMSG","damaged","ECANCELED","stopped"]' --verify crc32c:00000000 a b
	echo other >b
	kinds '[null,null,"EEXIST","exists"]' --resume a b
	kinds '[null,null,"ENOSPC","no-space"]' a /dev/full b
	[ "$(jq -c '.sinks[1] | [.error, .code, .kind]' report)" = '["another sink failed","ECANCELED","stopped"]' ]
	mkfifo f
	head -c 1 f >/dev/null 3>&- &
	kinds '[null,null,"EPIPE","disconnected"]' zero: f
	(ulimit -f 10; kinds '[null,null,"EFBIG","too-large"]' a c)
}

@test "every kind is in the manual" {
	sed -n 's/.*FAILURE(E[A-Z]*, "\([a-z-]*\)").*/\1/p' "$USPLICE_SOURCE_DIR"/src/cli/failure.c >kinds
	[ -s kinds ]
	for kind in $(sort -u kinds) other; do
		grep -q "_${kind}_" "$USPLICE_SOURCE_DIR"/man/usplice-copy.1.scd
	done
}

@test "a report that cannot be opened is an error before anything is copied" {
	data a 10
	copy --report /nowhere/report a b
	exits 1
	[ "$stderr" = "usplice: report /nowhere/report: No such file or directory" ]
	[ ! -e b ]
}

@test "a report that cannot be written is an error" {
	data a 10
	copy --report /dev/full a b
	exits 1
	[ "$stderr" = "usplice: report /dev/full: No space left on device" ]
	same a b
	run bash -c '"$USPLICE" copy --json a b 2>/dev/full'
	[ "$status" -eq 1 ]
	run bash -c '"$USPLICE" copy --json a b 2>&-'
	[ "$status" -eq 1 ]
}

@test "a failed copy stays a failed copy when its report fails too" {
	copy --report /dev/full x b
	exits 3
}
