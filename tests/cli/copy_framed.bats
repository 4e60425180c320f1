# SPDX-License-Identifier: MIT
# Frames between two copies: a cut is noticed, the receiver answers, and the same commands go on behind a cut.

load support

# receive OPTIONS -- SINK: a copy out of frames in the background, which is $receiver. $there is the sink for its sender.
receive() {
	port=$(free_port)
	there=tcp:127.0.0.1:$port,retry=60
	# The braces: receiver.err is there before the command is.
	{ "$USPLICE" copy --framed "${@:1:$#-1}" "tcp-listen:127.0.0.1:$port,timeout=100" "${@: -1}" 3>&- & } 2>receiver.err
	receiver=$!
}

# received CODE: that is how the receiver ends.
received() {
	finish "$1" "$receiver" receiver.err
}

# receiver_says TEXT
receiver_says() {
	grep -qF -- "$1" receiver.err || {
		echo "the receiver does not say '$1': $(cat receiver.err)"
		return 1
	}
}

# stream FILE [OPTIONS]: ./stream, its bytes in frames.
stream() {
	"$USPLICE" copy -q --frame "${@:2}" "$1" - | cat >stream
}

@test "a file arrives over TCP, and both ends say so" {
	data a 3000000
	receive --atomic b
	copy --framed a "$there"
	exits 0
	received 0
	same a b
}

@test "a file arrives over a UNIX socket, on every lane that can, with every digest" {
	data a 1000000
	for options in "" "--frame-digest none" "--frame-digest none --lane kernel" "--frame-digest crc32c" "--frame-digest sha256" \
		"--frame-digest xxh128" "--lane user"; do
		rm -f s b
		"$USPLICE" copy --framed unix-listen:s,timeout=100 b 3>&- 2>receiver.err &
		receiver=$!
		# shellcheck disable=SC2086
		copy --framed $options a unix:s,retry=60
		exits 0
		received 0
		same a b
	done
}

@test "without a digest a file is sent by reference" {
	data a 1000000
	receive --report got b
	copy --framed --frame-digest none --report report a "$there"
	exits 0
	received 0
	same a b
	[ "$(jq -r .lane report)" = kernel ]
	[ "$(jq '.sinks[0].bytes' report)" -eq 1000000 ]
	[ "$(jq -r .lane got)" = kernel ]
	[ "$(jq -c '.hops | length' got)" -eq 2 ]
	[ "$(jq -c '.hops[0] | .by_reference + .copied + .unknown' got)" -eq 1000000 ]
}

@test "a receiver may ask for the lane of the kernel, and learns of the digest only when it comes" {
	data a 1000000
	stream a --frame-digest none
	copy --framed --lane kernel - b < <(cat stream)
	exits 0
	same a b
	stream a
	copy --framed --lane kernel - c < <(cat stream)
	exits 2
	says "--lane kernel"
	never test -e c
}

@test "an empty file arrives, and one byte" {
	: >a
	receive b
	copy --framed a "$there"
	exits 0
	received 0
	same a b
	printf x >a
	receive b
	copy --framed a "$there"
	exits 0
	received 0
	same a b
}

@test "a pipe carries frames, as through ssh" {
	data a 2000000
	"$USPLICE" copy -q --framed a - | "$USPLICE" copy -q --framed - b
	same a b
}

@test "a filter between two pipes says which side is framed" {
	data a 2000000
	copy --framed - - < <(cat a) > >(cat >/dev/null)
	exits 2
	says "both ends are pipes"
	cat a | "$USPLICE" copy -q --frame - - | "$USPLICE" copy -q --unframe - - | cat >b
	same a b
}

@test "a sender that is killed is noticed, and the old file stays" {
	echo old >b
	hold
	receive --atomic b
	start --framed held "$there"
	feed 2000000
	eventually is_moving
	kill -9 "$job"
	wait "$job" || true
	received 3
	receiver_says "the stream was cut"
	[ "$(cat b)" = old ]
}

# feed_until_it_ends: a little more for $job, if it still runs.
feed_until_it_ends() {
	timeout "$patience" head -c 4096 /dev/zero >&9
	! kill -0 "$job" 2>/dev/null
}

@test "a receiver that is killed is noticed" {
	hold
	receive b
	start --framed held "$there"
	feed 1000000
	eventually has_bytes b 1
	kill -9 "$receiver"
	wait "$receiver" || true
	eventually feed_until_it_ends
	finish 4
}

@test "a receiver that is killed before it answers is noticed: what was sent is not enough" {
	data a 1000
	port=$(free_port)
	python3 -c '
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    connection, _ = server.accept()
while connection.recv(65536):
    pass
connection.close()' "$port" 3>&- &
	copy --framed a "tcp:127.0.0.1:$port,retry=60"
	exits 4
	says "the receiver ended without an answer"
	wait $!
}

@test "a stream that is cut anywhere is refused, with how much of it came" {
	data a 200000
	stream a
	whole=$(stat -c %s stream)
	for length in 0 1 27 28 39 40 100000 $((whole - 1)); do
		echo old >b
		copy --framed --atomic - b < <(head -c "$length" stream)
		exits 3
		[ "$(cat b)" = old ]
	done
	says "the stream was cut: 200000 of 200000 bytes came, and no end mark"
	copy --framed --skip 200001 - b < <(head -c $((whole - 1)) stream)
	exits 3
	says "the stream was cut: 200000 of 200000 bytes came, and no end mark"
	copy --framed --atomic - b < <(cat stream)
	exits 0
	same a b
}

@test "a connection that is reset is refused" {
	data a 200000
	stream a
	head -c 100000 stream >part
	echo old >b
	receive --atomic b
	python3 "$BATS_TEST_DIRNAME/framed_peer.py" part "$port" rst
	received 3
	receiver_says "the stream was cut"
	[ "$(cat b)" = old ]
}

@test "what is not framed is refused before an old file is touched" {
	data a 200000
	echo old >b
	copy --framed - b < <(cat a)
	exits 3
	says "not framed: the sender needs --framed, too"
	[ "$(cat b)" = old ]
	copy --framed - b < <(printf short)
	exits 3
	says "not framed"
	[ "$(cat b)" = old ]
}

@test "another version, and flags that nobody knows, are refused" {
	data a 1000
	stream a
	printf '\x02' | dd of=stream bs=1 seek=8 conv=notrunc status=none
	copy --framed - b < <(cat stream)
	exits 3
	says "another version than 1"
}

@test "bytes behind the end mark are refused" {
	data a 1000
	stream a
	copy --framed --atomic - b < <(cat stream a)
	exits 3
	says "there are bytes behind the end mark"
	never test -e b
}

@test "a byte that was changed on its way is found by the digest" {
	data a 200000
	stream a
	python3 -c '
with open("stream", "r+b") as file:
    file.seek(100000)
    byte = file.read(1)[0]
    file.seek(100000)
    file.write(bytes([byte ^ 4]))'
	copy --framed --atomic - b < <(cat stream)
	exits 3
	says "and that of the sender is"
	never test -e b
}

@test "a sender whose source fails tells why" {
	faulty_disk direct read=1048576:EIO
	data real/a 2000000
	echo old >b
	receive --atomic b
	copy --framed faulty/a "$there"
	exits 3
	received 3
	receiver_says "the sender gave up: its source failed: Input/output error"
	[ "$(cat b)" = old ]
}

@test "a sender that is stopped by a signal tells so" {
	hold
	receive b
	start --framed held "$there"
	feed 1000000
	eventually has_bytes b 1000000 # all of it: no frame is half sent
	kill -INT "$job"
	finish 130
	received 3
	receiver_says "the sender gave up: it was stopped by a signal"
}

@test "a receiver that has no room tells why" {
	small_disk 1M
	data a 8000000
	receive small/b
	copy --framed a "$there"
	exits 4
	says "the receiver failed: small/b: No space left on device"
	received 4
}

@test "a receiver that fails behind the last byte tells so, too" {
	data a 1000
	receive --verify "sha256:$(printf '%064d' 0)" b
	copy --framed a "$there"
	exits 4
	says "the receiver failed: its sha256 is $(sha256sum <a | cut -d ' ' -f 1), and not 0000"
	received 3
}

# tells_both WHY SOURCE [OPTIONS]: a sender whose source fails says why, here and to the receiver.
tells_both() {
	receive --atomic b
	copy --framed "${@:3}" "$2" "$there"
	exits 3
	says "$1"
	received 3
	receiver_says "the sender gave up: its source failed: $1"
	never test -e b
}

@test "what is told here of a source that fails is told to the receiver, too" {
	data a 300000
	tells_both "its command exited with status 9" "exec:cat a; exit 9"
	tells_both "its sha256 is " a --verify "sha256:$(printf '%064d' 0)"
	tells_both "nothing moved for 0.2 s" "exec:cat a; sleep 1000" --idle-timeout 0.2
	"$USPLICE" copy -q --write-blocks list a null:
	data a 300000
	receive --atomic b
	copy --framed --verify-blocks list a "$there"
	exits 3
	received 3
	receiver_says "its source failed: it is not what list says"
	"$USPLICE" copy -q --compress gzip a whole.gz 2>whole.err || skip "built without gzip: $(cat whole.err)"
	head -c 1000 whole.gz >cut.gz
	tells_both "the input is cut off" cut.gz --decompress
}

@test "a copy that does not begin tells the receiver why" {
	data a 1000
	receive --atomic b
	copy --framed --require-zero-copy a "$there"
	exits 5
	received 3
	receiver_says "the sender gave up: the copy did not begin"
}

@test "a chain of hosts: each one checks, and the first one hears of the last one" {
	data a 2000000
	receive b
	last=$receiver
	port2=$(free_port)
	"$USPLICE" copy --framed "tcp-listen:127.0.0.1:$port2,timeout=100" "$there" c 3>&- 2>middle.err &
	middle=$!
	copy --framed a "tcp:127.0.0.1:$port2,retry=60"
	exits 0
	finish 0 "$middle" middle.err
	finish 0 "$last" receiver.err
	same a b
	same a c
}

@test "one source, two receivers and a file: the file has no frames" {
	data a 1000000
	receive b
	first=$receiver there1=$there
	mv receiver.err first.err
	receive c
	copy --framed a "$there1" "$there" d
	exits 0
	finish 0 "$first" first.err
	received 0
	same a b
	same a c
	same a d
}

@test "a sender that waits for an answer is told that there is no way back" {
	data a 1000
	rm -f s
	"$USPLICE" copy --quiet unix-listen:s,timeout=100 - 3>&- 2>middle.err | "$USPLICE" copy --framed - b 3>&- 2>receiver.err &
	receiver=$!
	copy --framed a unix:s,retry=60
	exits 4
	received 3
	receiver_says "there is no way back"
}

# mute_peer: a peer that reads nothing before `end_peer`, and then writes into ./said how much came; $there is where it listens.
mute_peer() {
	rm -f port go
	mkfifo go
	python3 "$BATS_TEST_DIRNAME/banner_peer.py" mute port <go >said 3>&- &
	peer=$!
	exec 8>go
	eventually test -e port
	there=tcp:127.0.0.1:$(cat port)
}

end_peer() {
	exec 8>&-
	wait "$peer"
}

# was_cut NAME: the connection was reset, and what the report of that name counts had come.
was_cut() {
	local bytes
	bytes=$(jq '.sinks[0].bytes' "$1")
	[[ $(cat said) == *" Connection reset by peer" ]]
	[ "$bytes" -lt 1000000 ]
	[ "$(sed 's/ .*//' said)" -ge "$bytes" ]
	[ "$(jq '.sinks[0].bytes + .stranded' "$1")" -eq "$(jq .bytes "$1")" ]
}

@test "a receiver that takes nothing more is given up after --linger, and its bytes do not count" {
	data a 1000000
	for options in "" "--frame-digest none" "--lane user"; do
		mute_peer
		# shellcheck disable=SC2086
		copy --framed $options --linger 300ms --timeout 60 --report report a "$there"
		exits 4
		says "usplice: sink $there: at byte $(jq '.sinks[0].bytes' report): Connection timed out"
		end_peer
		was_cut report
	done
}

# has_sent LENGTH: $job says that so many bytes have left it.
has_sent() {
	kill -USR1 "$job" && grep -q "^usplice: $1 bytes" job.err
}

# was_stopped: by the signal, which is what the report of ./report tells too.
was_stopped() {
	finish 143
	never grep -q "timed out" job.err
	[ "$(jq -r '.sinks[0].code' report)" = ECANCELED ]
}

@test "a signal is what is told of a sender whose receiver takes nothing" {
	data a 1000000
	mute_peer
	start --framed --report report a "$there"
	eventually has_sent 1000000
	kill -TERM "$job"
	was_stopped
	end_peer
	was_cut report
}

@test "a signal is told also where a frame is half sent" {
	data a 60000000
	mute_peer
	start --framed --report report a "$there"
	eventually is_moving
	kill -TERM "$job"
	was_stopped
	end_peer
	[ "$(sed 's/ .*//' said)" -ge "$(jq '.sinks[0].bytes' report)" ]
}

@test "a signal is told also where the reason for the receiver is not taken" {
	mute_peer
	hold
	start --framed --report report held "$there"
	feed 500000
	eventually has_sent 500000
	kill -TERM "$job"
	was_stopped
	end_peer
}

# --- Going on behind a cut ---

@test "the same two commands go on where a killed sender has left off" {
	data a 8000000
	receive --resume b
	start --framed --resume --limit-rate 2M a "$there"
	eventually has_bytes b 300000
	kill -9 "$job"
	wait "$job" || true
	received 3
	receiver_says "the stream was cut"
	has_bytes b 300000
	receive --resume b
	copy --framed --resume --report report a "$there"
	exits 0
	received 0
	same a b
	[ "$(jq '.bytes' report)" -lt 8000000 ]
}

@test "the same two commands go on where a killed receiver has left off" {
	data a 8000000
	receive --resume b
	start --framed --resume --limit-rate 2M a "$there"
	eventually has_bytes b 300000
	kill -9 "$receiver"
	wait "$receiver" || true
	finish 4
	receive --resume b
	copy --framed --resume a "$there"
	exits 0
	received 0
	same a b
}

@test "nothing is sent again of a file that is there already, or of one that is new" {
	data a 500000
	cp a b
	receive --resume b
	copy --framed --resume --report report a "$there"
	exits 0
	received 0
	same a b
	[ "$(jq '.bytes' report)" -eq 0 ]
	rm b
	receive --resume b
	copy --framed --resume a "$there"
	exits 0
	received 0
	same a b
}

@test "what is not the beginning of the source is not continued, and stays" {
	data a 500000
	head -c 1000 a | tr '\000-\377' '\001-\377\000' >b
	cp b old
	receive --resume b
	copy --framed --resume a "$there"
	exits 4
	says "what the receiver has differs from the source, so it cannot be continued"
	received 3
	receiver_says "differs from the source"
	same b old
	cat a a >b
	receive --resume b
	copy --framed --resume a "$there"
	exits 4
	says "the receiver has more than the 500000 bytes that would be there"
	received 3
}

@test "a part of a file is continued, with its digest" {
	data a 500000
	tail -c +1001 a | head -c 400000 >wanted
	head -c 100000 wanted >b
	receive --resume b
	copy --framed --resume --skip 1000 --count 400000 --digest sha256 a "$there"
	exits 0
	received 0
	same wanted b
	says "$(sha256sum wanted | cut -d ' ' -f 1)"
}

@test "checksums of blocks are those of what is in the frames, and a cut is noticed beside them" {
	data a 3000000
	stream a
	for options in "" --atomic "--digest crc32c" "--buffer 1M"; do
		rm -f b.blocks b
		# shellcheck disable=SC2086
		copy --framed $options --write-blocks b.blocks - b < <(cat stream)
		exits 0
		same a b
		# shellcheck disable=SC2086
		copy --framed $options --verify-blocks b.blocks --overwrite - b < <(cat stream)
		exits 0
		same a b
		head -c 1000000 stream >cut
		# shellcheck disable=SC2086
		copy --framed $options --write-blocks c.blocks - c < <(cat cut)
		exits 3
		says "the stream was cut"
		rm -f c c.blocks
	done
}

@test "what would leave the end mark out is refused" {
	data a 1000
	stream a
	for options in "--count 500" "--stop-at-size --size 500"; do
		# shellcheck disable=SC2086
		copy --framed $options - b < <(cat stream)
		exits 2
		says "source -: comes in frames, up to its end mark"
		[ ! -s b ]
		rm -f b
	done
}

@test "both ends must want to resume, or the receiver begins anew" {
	data a 500000
	head -c 1000 a >b
	receive --resume b
	copy --framed a "$there"
	exits 4
	received 3
	receiver_says "the sender does not resume: it needs --resume, too"
	[ "$(stat -c %s b)" -eq 1000 ]
	says "the receiver failed: the sender does not resume: it needs --resume, too"
	receive b
	copy --framed --resume a "$there"
	exits 0
	received 0
	same a b
}

# --- The options ---

@test "options that contradict each other are refused" {
	data a 1000
	copy --framed --frame a -
	exits 2
	copy --framed a b
	exits 2
	says "neither end is a socket or a pipe"
	copy --frame a b
	exits 2
	says "no sink is a socket or a pipe"
	copy --unframe a b
	exits 2
	says "the source is no socket and no pipe"
	copy --frame-digest none a b
	exits 2
	copy --framed --frame-digest md5 a -
	exits 2
	copy --framed --frame-digest sha256 - b < <(cat a)
	exits 2
	says "no sink is framed"
	copy --framed --frame-digest sha256 tcp-listen:127.0.0.1:1 b
	exits 2
	says "no sink is framed"
	copy --framed --resume --frame-digest none a tcp:127.0.0.1:1
	exits 2
	copy --frame --resume a tcp:127.0.0.1:1
	exits 2
	copy --framed --lane kernel a tcp:127.0.0.1:1
	exits 2
	never test -e b
}

@test "a limit of time also ends the wait for an answer that does not come" {
	data a 1000
	port=$(free_port)
	mkfifo go
	python3 -c '
import socket, sys
with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
    connection, _ = server.accept()
while connection.recv(65536):
    pass
sys.stdin.read()' "$port" 3>&- <go &
	exec 8>go
	copy --framed --timeout 0.3 a "tcp:127.0.0.1:$port,retry=60"
	exec 8>&-
	exits 4
	says "the copy was not done after 0.3 s"
}

@test "a limit of time also ends the wait for a header that does not come" {
	mkfifo silent
	exec 7<>silent
	copy --framed --idle-timeout 0.1 silent b
	exits 3
	says "timed out"
}
