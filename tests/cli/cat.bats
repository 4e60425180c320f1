#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice cat: several sources, one behind the other.

load support

# cat_ ARGUMENTS: run the command with standard error in $stderr.
cat_() {
	run --separate-stderr "$USPLICE" cat "$@"
}

# three: the files a, b and c, an empty one, and all that they have in all.
three() {
	data a 300001
	data b 70
	: >empty
	data c 1000003
	cat a b empty c >all
}

@test "the bytes of all sources come out, as from cat(1)" {
	three
	"$USPLICE" cat a b empty c | same - all
	"$USPLICE" cat a b empty c >out
	same out all
	"$USPLICE" cat empty empty a empty b c empty >out
	same out all
	"$USPLICE" cat a | same - a
	"$USPLICE" cat empty empty >out
	[ ! -s out ]
}

@test "--to writes to one sink or several, and all lanes give the same" {
	three
	for lane in auto kernel user; do
		cat_ --lane $lane --to one a b empty c
		exits 0
		same one all
		cat_ --overwrite --lane $lane --to one --to two --to null: a b empty c
		exits 0
		same one all
		same two all
	done
}

@test "from file to file the kernel copies, also behind an empty file" {
	tracing
	three
	strace -f -e trace=copy_file_range,read,write,writev,splice -o calls "$USPLICE" cat --to out empty a empty b c
	same out all
	[ "$(grep -c '^[0-9 ]*copy_file_range(.*= [1-9]' calls)" -ge 3 ] || skip "no copy_file_range here"
	never grep -qE 'splice\(|writev' calls
}

@test "any endpoint is a source: pipes, standard input, memory, a FIFO whose writer comes late" {
	three
	mkfifo one two
	{ cat a >one; cat c >two; } 3>&- &
	cat b | "$USPLICE" cat --to out one - mem:hello - two zero: --count 1300079
	{ cat a b; printf hello; cat c; } | head -c 1300079 | same - out
}

@test "a TCP peer is a source, and one that breaks is no end" {
	port=$(free_port)
	three
	"$USPLICE" copy -q a "tcp:127.0.0.1:$port,retry=20" 3>&- &
	cat_ --to out b "tcp-listen:$port" c
	exits 0
	cat b a c | same - out
	python3 "$BATS_TEST_DIRNAME/reset_peer.py" 2>/dev/null || true
}

@test "the same source twice, and descriptors" {
	three
	cat_ --to out a a
	exits 0
	cat a a | same - out
	"$USPLICE" cat --to out fd:5 b fd:5 5<a
	cat a b | same - out
	"$USPLICE" cat --to out - b - <a
	cat a b | same - out
	cat_ --to out a fd:77 b
	exits 3
	says "source fd:77: this descriptor is not open"
}

@test "a missing source is found before anything is made" {
	three
	echo old >out
	mkdir folder
	for bad in missing folder; do
		cat_ --to out --to new a b "$bad" c
		exits 3
		says "usplice: source $bad: "
		[ "$(cat out)" = old ]
		[ ! -e new ]
	done
	# Also one behind those that stay open.
	mkdir many
	for i in {1..300}; do
		echo "$i" >"many/$i"
	done
	cat_ --to new many/* missing
	exits 3
	says "usplice: source missing: No such file or directory"
	[ ! -e new ]
	if [ "$(id -u)" -eq 0 ]; then
		chmod 0 many/300
		as_nobody "$USPLICE" cat many/{1..300} >out 2>said || [ $? -eq 3 ]
		grep -q "source many/300: Permission denied" said
	fi
}

@test "two thousand files need few descriptors" {
	mkdir many
	for i in {1000..2999}; do
		echo "$i" >"many/$i"
	done
	cat many/* >all
	(ulimit -n 300 && "$USPLICE" cat --to out many/*)
	same out all
	"$USPLICE" cat many/* | same - all
	"$USPLICE" cat --report report --to out --to two many/*
	same two all
	[ "$(jq '.sources | length' report)" -eq 2000 ]
	jq -e '[.sources[].bytes] | all(. == 5)' report
}

@test "few descriptors are enough" {
	mkdir many
	for i in {1..40}; do
		echo "$i" >many/"$i"
	done
	cat many/* >expected
	for limit in 12 20 64; do
		(ulimit -n $limit && exec "$USPLICE" cat -q --to "out.$limit" many/*)
		same expected "out.$limit"
		(ulimit -n $limit && exec "$USPLICE" cat many/*) | same expected -
	done
}

@test "a file that was replaced before its turn is an error that names it" {
	mkdir many
	for i in {100..499}; do
		echo "$i" >"many/$i"
	done
	mkfifo held
	"$USPLICE" cat --atomic --to out held many/* 2>said 3>&- &
	job=$!
	exec 9>held
	echo other >replacement
	mv replacement many/499
	exec 9>&-
	finish 3 "$job" said
	grep -q "source many/499: at byte 0: it is another file now than when the copy began" said
	[ ! -e out ]
}

@test "an error names the source, and where in it" {
	three
	cat_ --decompress --to out a b
	exits 3
	gzip -c c >c.gz
	gzip -c a | head -c 1000 >cut.gz
	cat_ --decompress --atomic --to out c.gz cut.gz
	exits 3
	says "usplice: source cut.gz: at byte "
	cat_ --decompress --to out c.gz c.gz
	exits 0
	cat c c | same - out
	[ -n "$FAULTY_FS" ] || skip "built without libfuse3"
	mkdir real
	cp c real/c
	faulty_disk read=524288:EIO
	cat_ --lane user --to out a faulty/c b
	exits 3
	says "usplice: source faulty/c: at byte "
	never says "source a"
	cat_ --lane user --atomic --to new a faulty/c b
	exits 3
	[ ! -e new ]
}

@test "--skip, --count and --seek are about all bytes" {
	three
	for skip in 0 5 300001 300050 300071 400000 2000000; do
		for lane in auto user; do
			cat_ --lane $lane --skip $skip --count 200000 --to out a b empty c
			exits 0
			tail -c +$((skip + 1)) all | head -c 200000 | same - out
		done
	done
	echo 0123456789 >seeked
	cat_ --seek 3 --to seeked mem:ab mem:c
	[ "$(cat seeked)" = 012abc6789 ]
	cat_ --append --to seeked mem:x mem:y
	[ "$(tail -c 3 seeked)" = $'\nxy' ]
}

@test "digests, what is read back, and blocks are about all bytes" {
	three
	cat_ --digest sha256 --verify-written --to out a b c
	exits 0
	[ "$stderr" = "SHA256 (-) = $(sha256sum <all | cut -d ' ' -f 1)" ]
	cat_ --verify "sha256:$(sha256sum <all | cut -d ' ' -f 1)" --to out a b empty c
	exits 0
	cat_ --write-blocks crc32c:list --to out a b c
	exits 0
	copy --verify-blocks list all null:
	exits 0
	cat_ --verify-blocks list --to out a b c
	exits 0
	same out all
}

@test "the account covers all sources, and the report names them" {
	three
	cat_ --report report --lane user --to out a b empty c
	exits 0
	[ "$(jq -c '[.bytes, .copied, .sinks[0].bytes]' report)" = "[1300074,1300074,1300074]" ]
	[ "$(jq -c '.sources' report)" = \
		'[{"spec":"a","bytes":300001},{"spec":"b","bytes":70},{"spec":"empty","bytes":0},{"spec":"c","bytes":1000003}]' ]
	[ "$(jq -r '.hops[0].from' report)" = "a and 3 more" ]
	cat_ --report report --to out a b c
	jq -e '.by_reference + .copied + .unknown == .bytes' report
	copy --report report a out
	jq -e 'has("sources") | not' report
}

@test "what takes one source refuses several, and changes nothing" {
	three
	echo old >out
	for options in "--resume" "--verify-file list" "--require-zero-copy"; do
		# shellcheck disable=SC2086
		cat_ $options --to out a b
		exits 2
		says "takes one source"
		[ "$(cat out)" = old ]
	done
	cat_ --to b a b
	exits 2
	says "sink b: is the same file as the source"
	same b <(tail -c +300002 all | head -c 70)
	cat_ --report a --to out b a
	exits 2
	says "source a: is also the file of the report"
	cat_
	exits 2
	says "cat: needs at least one source"
}

@test "a sink that fails late, and one of several that fails, leave what is told true" {
	three
	"$USPLICE" cat --report report --on-error continue --to out --to /dev/full a b c 2>said || code=$?
	[ "$code" -eq 4 ]
	same out <(cat a b c)
	jq -e '.sinks[0].error == null and .sinks[1].error != null' report
	cat_ --to /dev/full a b c
	exits 4
}

@test "a signal ends the wait for a FIFO in the middle" {
	three
	mkfifo never_written
	env --default-signal=INT,TERM "$USPLICE" cat --atomic --to out a never_written b 2>said 3>&- &
	job=$!
	eventually takes_signals "$job"
	eventually waits_for_fifo
	kill "$job"
	finish 143 "$job" said
	grep -q "stopped by signal 15" said
	[ ! -e out ]
}

waits_for_fifo() {
	grep -q fifo "/proc/$job/wchan" 2>/dev/null || grep -q wait_for_partner "/proc/$job/wchan" 2>/dev/null ||
		[ "$(cut -d ' ' -f 1 "/proc/$job/syscall" 2>/dev/null)" = 257 ]
}
