#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy --on-read-error: what can be read of a failing disk is copied, and nothing else is lost.

load support

# expected ZERO|SKIP OFF LEN...: what a copy of real/a has to be.
expected() {
	python3 - "$@" <<-'END'
		import sys
		how, *numbers = sys.argv[1:]
		ranges = list(zip(map(int, numbers[0::2]), map(int, numbers[1::2])))
		data = bytearray(open("real/a", "rb").read())
		for off, length in reversed(ranges):
		    end = min(off + length, len(data))
		    data[off:end] = b"\0" * (end - off) if how == "zero" else b""
		open("expected", "wb").write(data)
	END
}

@test "a disk with bad places: the rest is copied, the places are told, and the exit code says so" {
	mkdir real
	data real/a 3000001
	for mode in direct ""; do
		# shellcheck disable=SC2086
		faulty_disk $mode bad=0+4096 bad=1048576+8192 bad=2000000+1 bad=2998272+2000
		third="1998848 4096"
		[ -z "$mode" ] || third="2000000 2944" # up to a byte a disk gives only here, and the step ends where steps end
		read -r off len <<<"$third"
		for how in zero skip; do
			# shellcheck disable=SC2086
			expected $how 0 4096 1048576 8192 $third 2998272 1729
			copy --on-read-error $how --report report faulty/a b c
			exits 3
			says "at byte 0: 4096 bytes cannot be read"
			says "at byte 1048576: 8192 bytes cannot be read"
			says "at byte $off: $len bytes cannot be read"
			says "$((14017 + len)) bytes in 4 places could not be read"
			same expected b
			same expected c
			[ "$(jq -c .unreadable report)" = '[{"offset":0,"bytes":4096},{"offset":1048576,"bytes":8192},{"offset":'$off',"bytes":'$len'},{"offset":2998272,"bytes":1729}]' ]
			[ "$(jq '.sinks[0].error' report)" = null ]
			[ $how = skip ] || [ "$(jq '[.hops[].rewritten] | max' report)" -eq $((14017 + len)) ]
		done
	done
}

@test "small steps lose less" {
	mkdir real
	data real/a 100000
	faulty_disk direct bad=50000+10
	expected zero 50000 176
	copy --on-read-error zero:512 faulty/a b
	exits 3
	says "at byte 50000: 176 bytes cannot be read"
	same expected b
}

@test "a disk without bad places is copied as always" {
	data a 3000000
	for how in zero skip stop; do
		copy --on-read-error $how -v a b
		exits 0
		same a b
	done
	copy --on-read-error zero --skip 1000 --count 5000 a b
	exits 0
	tail -c +1001 a | head -c 5000 | same - b
}

@test "--skip, --count, digests and --atomic go together with it" {
	mkdir real
	data real/a 300000
	faulty_disk direct bad=8192+4096
	expected zero 8192 4096
	echo old >b
	copy --on-read-error zero --skip 4096 --count 20000 --atomic --digest sha256 faulty/a b
	exits 3
	tail -c +4097 expected | head -c 20000 | same - b # what could be read was asked for
	says "$(sha256sum b | cut -d ' ' -f 1)"
	copy --on-read-error zero --skip 100000 faulty/a b
	exits 0
	tail -c +100001 expected | same - b
}

@test "a disk that stops to answer at all is zeros to its end, and a signal still stops the copy" {
	mkdir real
	data real/a 200000
	faulty_disk direct bad=65536+99999999
	expected zero 65536 99999999
	copy --on-read-error zero faulty/a b
	exits 3
	same expected b
	copy --on-read-error skip faulty/a b
	exits 3
	head -c 65536 real/a | same - b
	truncate -s 1G real/a
	faulty_disk direct slow=1 bad=65536+9999999999
	start --on-read-error skip faulty/a c
	eventually [ -s c ]
	kill -INT "$job"
	finish 130
}

@test "a file keeps its attributes" {
	mkdir real
	data real/a 300000
	chmod 640 real/a
	faulty_disk direct bad=8192+4096
	copy --on-read-error zero --preserve mode faulty/a b
	exits 3
	[ "$(stat -c %a b)" = 640 ]
	copy --on-read-error zero -a real/a c
	exits 0
	[ "$(stat -c '%a %Y' c)" = "$(stat -c '%a %Y' real/a)" ]
}

@test "without it a bad place ends the copy there" {
	mkdir real
	data real/a 300000
	faulty_disk direct bad=131072+4096
	for how in "" "--on-read-error stop"; do
		# shellcheck disable=SC2086
		copy $how faulty/a b
		exits 3
		says "at byte 131072: Input/output error"
		[ "$(stat -c %s b)" -eq 131072 ]
	done
}

@test "what cannot be rescued is refused" {
	data a 1000
	for bad in "" zeros zero:100 zero:513 skip:2M skip: zero:x; do
		copy --on-read-error "$bad" a b
		exits 2
		says "is none of stop, skip[:SIZE] and zero[:SIZE]"
	done
	mkfifo f
	cat a >f 3>&- &
	copy --on-read-error zero f b
	exits 2
	says "of a file or device that the command opens itself"
	wait $! || true
	copy --on-read-error zero - b <a
	exits 2
	copy --on-read-error zero --lane kernel a b
	exits 2
	copy --on-read-error skip --require-zero-copy a b
	exits 2
	run "$USPLICE" cat --on-read-error skip --to b a a
	[ "$status" -eq 2 ]
	[[ $output == *"--on-read-error takes one source"* ]]
	copy --on-read-error skip --verify-blocks a a b
	exits 2
	[ ! -e b ]
}
