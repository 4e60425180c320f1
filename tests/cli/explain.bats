#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice explain: it draws what a copy does, and changes nothing.

load support

@test "a route is drawn, with lane, way and reason of each hop" {
	data a 3000000
	mkfifo fifo
	sleep 60 <>fifo 3>&- &
	for route in "a null:" "a b" "a b c" "zero: null:" "a mem:" "mem:text b" "a fifo" "--lane user a b" "--lane kernel a null:"; do
		run "$USPLICE" explain $route
		[ "$status" -eq 0 ]
		[[ $output == *"lane, "*": "* ]]
		[[ $output == *"because: "* ]]
		[ ! -s b ] || return 1
		rm -f b
	done
	[ "$(ls)" = $'a\nfifo' ]
}

@test "a file is never made, cut or written" {
	data a 3000000
	echo mine >b
	touch -d @1000 a b
	"$USPLICE" explain a b
	"$USPLICE" explain a b,direct || [ $? -eq 4 ]
	"$USPLICE" explain a new
	[ "$(cat b)" = mine ]
	[ "$(stat -c %Y a b | sort -u)" = 1000 ]
	[ "$(ls)" = $'a\nb' ]
}

@test "what a copy refuses is refused" {
	data a 1000
	ln a hard
	ln -s a soft
	touch b
	for sinks in a hard soft "b a" "b b" "b ./b" "new new" "new ./new"; do
		status=0
		"$USPLICE" copy a $sinks 2>refused || status=$?
		[ "$status" -eq 2 ]
		run --separate-stderr "$USPLICE" explain a $sinks
		[ "$status" -eq 2 ]
		[ "$stderr" = "$(cat refused)" ]
	done
	run --separate-stderr "$USPLICE" explain - a <a
	[ "$status" -eq 2 ]
	[ "$stderr" = "usplice: sink a: is the same file as the source" ]
	run --separate-stderr "$USPLICE" explain a 127.0.0.1:9000
	[ "$status" -eq 2 ]
	says "did you mean tcp:127.0.0.1:9000?"
}

@test "an answer about standard output goes to standard output" {
	data a 100000
	"$USPLICE" explain a - | grep -q "lane, "
	"$USPLICE" explain --json a fd:1 | jq -e '.hops | length == 2'
	"$USPLICE" probe a - | grep -q "^pipe -> -: "
	"$USPLICE" probe --json - - <a | jq -e '.hops | length == 2'
}

@test "there is no sample of an empty file" {
	: >empty
	run "$USPLICE" explain empty null:
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "Nothing was moved: the source is empty, or does not tell its size. This is the plan." ]
}

@test "a route from file to file is one hop in the plan, too" {
	data a 1000
	run "$USPLICE" explain --sample 0 --json a b
	[ "$(jq -c '[.hops[] | [.from, .to, .expected]]' <<<"$output")" = '[["a","b","unknown"]]' ]
	[ ! -e b ]
}

@test "nothing is read from a stream, or sent to a peer" {
	data a 100000
	run "$USPLICE" explain - null: < <(cat a)
	[[ ${lines[0]} == "Nothing was moved: "* ]]
	exec 7< <(cat a)
	"$USPLICE" explain fd:7 null: >/dev/null
	cmp a <(cat <&7)
	port=$(free_port)
	"$USPLICE" copy "tcp-listen:127.0.0.1:$port" got 3>&- &
	run "$USPLICE" explain a "tcp:127.0.0.1:$port,retry=60"
	wait $! || true
	[[ ${lines[0]} == "Nothing was moved: "* ]]
	[[ $output == *"the socket"* ]]
	[ ! -s got ]
}

# agrees ROUTE: what it says of the bytes is what a copy of as many bytes reports.
agrees() {
	"$USPLICE" explain --json "$@" >said
	rm -f b c
	"$USPLICE" copy --count 1M --report report "$@"
	[ "$(jq -c '[.hops[] | [.from, .to, .lane, .by_reference, .copied, .unknown, .reason]]' said)" = \
		"$(jq -c '[.hops[] | [.from, .to, .lane, .by_reference, .copied, .unknown, .reason]]' report)" ] || {
		cat said report
		return 1
	}
	rm -f b c
}

@test "it agrees with the report of the real copy" {
	data a 3000000
	data small 1000
	agrees a null:
	agrees a b
	agrees a b c
	agrees --lane user a b
	agrees --lane user a b c
	agrees --lane kernel a null:
	agrees a b mem:
	agrees zero: b
	agrees zero: null: mem:
	agrees mem:text b
	agrees small b
	agrees --snapshot a b
	agrees --no-splice a null:
}

@test "holes are told as a copy leaves them" {
	data part 4096
	truncate -s 3M part
	for options in "" "--sparse always" "--sparse never" "--lane user"; do
		# shellcheck disable=SC2086
		agrees $options part b
		[ "$(jq '[.hops[] | .holes] | max' said)" = "$(jq '[.hops[] | .holes] | max' report)" ]
	done
	run --separate-stderr "$USPLICE" explain part b
	[[ $output == *" left as holes"* ]]
}

@test "a buffer is a stage of the plan, and agrees with the report of the real copy" {
	data a 3000000
	agrees --buffer 64M a b
	agrees --buffer 64M --lane user a b
	agrees --buffer 64M --lane user a null:
	agrees --buffer 64M --digest crc32c a b
	agrees --buffer 64k,start=50%,low=10% a null:
	agrees --buffer 64M --buffer-file .,size=10M a b
	agrees --buffer 64M zero: b
	run --separate-stderr "$USPLICE" explain --json --buffer 64M --digest crc32c a b
	[ "$(jq -c '[.hops[] | .from]' <<<"$output")" = '["a","buffer","digest:crc32c","pipe"]' ]
	[ "$(ls)" = $'a\nreport\nsaid' ]
}

# plans ROUTE: the ways that it expects before a byte moves are those that the real copy of ./source into ./sink reports.
plans() {
	"$USPLICE" explain --json --sample 0 "$@" >said
	"$USPLICE" copy -q --report report "$@"
	wait
	[ "$(jq -c '[.hops[] | [.from, .to, .lane, .expected]]' said)" = "$(jq -c '[.hops[] | [.from, .to, .lane,
		if .copied > 0 then "copied" elif .rewritten > 0 then "rewritten" elif .unknown > 0 then "unknown" else "by reference" end]]' report)" ] || {
		cat said report
		return 1
	}
}

@test "frames over a pipe are planned as they are written" {
	data a 1000000
	mkfifo sink
	for options in "--frame" "--framed" "--frame --frame-digest none" "--framed --frame-digest crc32c" "--frame --lane user" \
		"--frame --frame-digest none --lane kernel" "--frame --buffer 64M"; do
		cat sink >got &
		# shellcheck disable=SC2086
		plans $options a sink
		"$USPLICE" copy -q --unframe - b < <(cat got)
		same a b
	done
}

@test "a buffer between pipes is planned as it is carried" {
	data a 1000000
	mkfifo source sink
	for options in "--buffer 64M" "--buffer 64M --lane user" "--buffer 64M --digest crc32c"; do
		cat a >source &
		cat sink >got &
		# shellcheck disable=SC2086
		plans $options source sink
		same a got
	done
}

@test "what explain cannot tell is refused in plain words" {
	data a 1000
	mkfifo fifo
	for option in --both --atomic --append --resume --write-blocks=x --on-read-error=zero --progress; do
		run --separate-stderr "$USPLICE" explain "$option" a b
		exits 2
		says "explain: ${option%=*} is an option of usplice copy, and not of explain"
	done
	run --separate-stderr "$USPLICE" explain -d 1 a b
	exits 2
	says "-d is an option of usplice copy"
	run --separate-stderr "$USPLICE" explain --bufer 1M a b
	exits 2
	says "did you mean --buffer?"
	for options in --unframe --framed; do
		run --separate-stderr "$USPLICE" explain $options fifo b
		exits 2
		says "source fifo: comes in frames"
	done
	# What a copy refuses is refused in the same words.
	for options in "--frame" "--framed" "--frame-digest none" "--framed --frame" "--lane kernel --buffer 1M" "--buffer-file .,size=1M" \
		"--lane kernel --digest crc32c" "--snapshot --lane kernel" "--no-splice --lane kernel" "--sparse always --lane kernel"; do
		# shellcheck disable=SC2086
		"$USPLICE" copy $options a b 2>refused && return 1
		# shellcheck disable=SC2086
		run --separate-stderr "$USPLICE" explain $options a b
		exits 2
		[ "${stderr#usplice: explain: }" = "$(sed 's/^usplice: copy: //' refused)" ] || [ "$stderr" = "$(cat refused)" ]
		[ ! -e b ]
	done
	"$USPLICE" copy --buffer 1M --buffer-file missing/x,size=1M a null: 2>refused && return 1
	run --separate-stderr "$USPLICE" explain --buffer 1M --buffer-file missing/x,size=1M a null:
	exits 1
	[ "$stderr" = "$(cat refused)" ]
}

@test "the calls that it counts are those that strace sees" {
	tracing
	data a 3000000
	for route in "a null:" "--lane user a null:" "--lane user a b" "a b c"; do
		strace -f -o trace -e trace=splice,tee,preadv,pwritev,readv,writev,copy_file_range \
			"$USPLICE" explain --json --trace $route >said 3>&-
		# The experiments are made before; they splice and tee, but never read or write in pieces.
		for call in readv writev copy_file_range; do
			counted=$(jq "[.system_calls[] | select(.name == \"$call\") | .calls] | add // 0" said)
			seen=$(grep -cE "^[0-9]+ +p?$call\(" trace || true)
			[ "$counted" -le "$seen" ]
			[ "$counted" -gt 0 ] || [ "$seen" -le 2 ]
		done
		counted=$(jq '[.system_calls[] | select(.name == "splice") | .calls] | add // 0' said)
		[ "$counted" -le "$(grep -cE '^[0-9]+ +splice\(' trace || true)" ]
		[[ $route == *user* ]] || [ "$counted" -gt 0 ]
	done
}

@test "JSON and graphs are well formed" {
	data 'a "quoted" \name' 1000
	"$USPLICE" explain --json --trace 'a "quoted" \name' null: | jq -e '.hops | length == 2'
	"$USPLICE" explain --json mem:x b,append 2>/dev/null | jq -e '.system_calls == null' || true
	"$USPLICE" explain --dot 'a "quoted" \name' b >graph
	grep -qx 'digraph route {' graph
	grep -q 'color=' graph
	! command -v dot >/dev/null || dot -Tsvg graph >/dev/null
}

@test "lines are plain where the locale is" {
	data a 1000
	LC_ALL=C run "$USPLICE" explain a null:
	[[ $output != *$'\xe2\x94\x82'* ]]
	LC_ALL=C.UTF-8 run "$USPLICE" explain a null:
	[[ $output == *$'\xe2\x94\x82'* ]]
}

@test "what is wrong is said, with its exit code" {
	data a 10
	run "$USPLICE" explain missing null:
	[ "$status" -eq 3 ]
	run "$USPLICE" explain a missing/b
	[ "$status" -eq 4 ]
	ln -s nowhere link
	run "$USPLICE" explain a link
	[ "$status" -eq 4 ]
	run "$USPLICE" explain tcp:no-port null:
	[ "$status" -eq 2 ]
	run "$USPLICE" explain a tcp:no-port
	[ "$status" -eq 2 ]
	run "$USPLICE" explain a
	[ "$status" -eq 2 ]
	run "$USPLICE" explain --json --dot a null:
	[ "$status" -eq 2 ]
	run "$USPLICE" explain --lane kernel mem:x null:
	[ "$status" -eq 2 ]
	run "$USPLICE" explain --help
	[ "$status" -eq 0 ]
	run sh -c '"$1" explain "$2" null: >/dev/full' sh "$USPLICE" a
	[ "$status" -eq 1 ]
}

@test "a digest is a stage of its own, with two hops" {
	data a 100000
	run --separate-stderr "$USPLICE" explain --json --digest crc32c,xxh64 a b
	exits 0
	[ "$(jq -c '[.hops[] | [.from, .to, .expected, .by_reference + .copied]]' <<<"$output")" = \
		'[["a","digest:crc32c,xxh64","copied",100000],["digest:crc32c,xxh64","pipe","by reference",100000],["pipe","b","copied",100000]]' ]
	run --separate-stderr "$USPLICE" explain --digest crc32c a b
	exits 0
	[[ $output == *"user lane, passed on: "*" by reference"* ]]
	[[ $output == *"because: hashed, and passed on as it is"* ]]
	run --separate-stderr "$USPLICE" explain --lane kernel --digest crc32c a b
	exits 2
	run --separate-stderr "$USPLICE" explain --digest md5 a b
	exits 2
	says "is no algorithm that is known"
}

@test "a list of checksums of blocks is a stage of its own, below a digest" {
	data a 100000
	"$USPLICE" copy --quiet --write-blocks crc32c:list a null:
	run --separate-stderr "$USPLICE" explain --json --verify-blocks list a b
	exits 0
	[ "$(jq -c '[.hops[] | [.from, .to, .by_reference + .copied]]' <<<"$output")" = \
		'[["a","blocks:crc32c",100000],["blocks:crc32c","pipe",100000],["pipe","b",100000]]' ]
	run --separate-stderr "$USPLICE" explain --json --verify-blocks list --digest crc32c a b
	exits 0
	[ "$(jq -c '[.hops[] | .from]' <<<"$output")" = '["a","blocks:crc32c","digest:crc32c","pipe"]' ]
	run --separate-stderr "$USPLICE" explain --verify-blocks a a b
	exits 2
	says "first line"
	run --separate-stderr "$USPLICE" explain --verify-blocks nowhere a b
	exits 2
}

@test "stages that rewrite are hops, which agree with those of a copy" {
	for tool in age age-keygen zstd; do
		command -v "$tool" >/dev/null || skip "$tool is not here"
	done
	data a 100000
	age-keygen -o key 2>/dev/null
	"$USPLICE" copy --encrypt "$(age-keygen -y key)" /dev/null null: 2>/dev/null || skip "built without OpenSSL"
	"$USPLICE" copy --compress zstd --compress gzip /dev/null null: 2>/dev/null || skip "built without zstd or zlib"
	zstd -qc a | age -r "$(age-keygen -y key)" >a.zst.age
	echo words >words
	options=(--decrypt key --decompress --compress gzip:1 --encrypt-passphrase words --digest crc32c)
	run --separate-stderr "$USPLICE" explain --json "${options[@]}" a.zst.age b
	exits 0
	[ ! -e b ]
	"$USPLICE" copy --quiet --report report "${options[@]}" a.zst.age c 2>/dev/null
	[ "$(jq -c '[.hops[] | [.from, .to, .lane, .by_reference, .copied, .rewritten, .reason]]' <<<"$output")" = \
		"$(jq -c '[.hops[] | [.from, .to, .lane, .by_reference, .copied, .rewritten, .reason]]' report | sed 's/,"c",/,"b",/')" ]
	[ "$(jq -c '[.hops[] | [.from, .expected]]' <<<"$output")" = '[["a.zst.age","copied"],["decrypt:age","rewritten"],["decompress","rewritten"],["gzip:1","rewritten"],["encrypt:age","rewritten"],["digest:crc32c","by reference"],["pipe","copied"]]' ]
}

@test "the plan of stages that rewrite says so before a byte moves" {
	"$USPLICE" copy --compress zstd /dev/null null: 2>/dev/null || skip "built without zstd"
	data a 100000
	run --separate-stderr "$USPLICE" explain --sample 0 --compress zstd a b
	exits 0
	[[ $output == *"user lane, made by the stage: rewritten"*"because: a stage makes other bytes of those that it gets"* ]]
	run --separate-stderr "$USPLICE" explain --json --decompress --compress zstd - b <a
	exits 0
	[ "$(jq -c '[.hops[] | .expected]' <<<"$output")" = '["copied","rewritten","rewritten","copied"]' ]
	run --separate-stderr "$USPLICE" explain --decompress a b
	exits 1
	says "the sample ended: decompress: at byte 0 of its input: this is no format that is known"
}

# A gigabyte of holes would be a few KiB: the sample is what goes in.
@test "a stage that compresses gets the sample, and no more" {
	"$USPLICE" copy --compress zstd /dev/null null: 2>/dev/null || skip "built without zstd"
	truncate -s 1G holes
	run --separate-stderr "$USPLICE" explain --json --compress zstd holes null:
	exits 0
	[ "$(jq '.hops[0].holes' <<<"$output")" -eq 1048576 ]
	run --separate-stderr "$USPLICE" explain --json --sparse never --compress zstd holes null:
	[ "$(jq '.hops[0].copied + .hops[0].by_reference' <<<"$output")" -eq 1048576 ]
	[ "$(jq '.hops[1].rewritten' <<<"$output")" -lt 10000 ]
}

@test "keys that are none, or too many, are refused" {
	data a 10
	for options in "--decrypt a --decrypt-passphrase a" "--encrypt age1x" "--decrypt missing" "--encrypt-passphrase /dev/null" "--decrypt a"; do
		# shellcheck disable=SC2086 # several words
		run --separate-stderr "$USPLICE" explain $options a b
		exits 2
		[ ! -e b ]
	done
	says "source a: "
}
