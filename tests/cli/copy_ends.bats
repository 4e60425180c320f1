# SPDX-License-Identifier: MIT
# How a connection ends: what was sent is delivered, and what was cut short does not look whole.

load support

# peer WAY: a peer that sends a banner (banner_peer.py); $sink is where it listens, ./said what it printed. Its standard input
# is the FIFO ./go, which ends by `end_peer`.
peer() {
	rm -f port go peer.sock
	mkfifo go
	python3 "$BATS_TEST_DIRNAME/banner_peer.py" "$1" port <go >said 3>&- &
	peer=$!
	exec 8>go
	eventually test -e port
	sink=tcp:127.0.0.1:$(cat port)
	[ -z "${USE_UNIX:-}" ] || sink=unix:peer.sock
}

end_peer() {
	exec 8>&-
	wait "$peer"
}

# receive OPTIONS: a copy from $port into ./b in the background, which is $receiver.
receive() {
	port=$(free_port)
	"$USPLICE" copy --quiet "$@" "tcp-listen:127.0.0.1:$port,timeout=100" b 3>&- 2>receiver.err &
	receiver=$!
}

# received CODE: that is how the receiver ends.
received() {
	finish "$1" "$receiver" receiver.err
}

@test "a server that sends a banner and reads slowly gets every byte" {
	data a 2000000
	for lane in auto kernel user; do
		peer slow
		copy --lane "$lane" --report report a "$sink"
		exits 0
		end_peer
		[ "$(cat said)" = "2000000 end" ]
		[ "$(jq '.sinks[0].bytes' report)" -eq 2000000 ]
	done
}

@test "a server at a UNIX socket that sends a banner and reads slowly gets every byte and the end" {
	data a 2000000
	USE_UNIX=1
	export USE_UNIX
	peer slow
	copy a "$sink"
	exits 0
	end_peer
	[ "$(cat said)" = "2000000 end" ]
}

@test "one of several destinations that sends a banner and reads slowly gets every byte" {
	data a 2000000
	peer slow
	copy a b "$sink" c
	exits 0
	end_peer
	[ "$(cat said)" = "2000000 end" ]
	same a b
	same a c
}

@test "a server that answers early and closes is a destination that failed" {
	data a 2000000
	peer early
	copy --report report a "$sink"
	exits 4
	end_peer
	says "usplice: sink $sink: at byte "
	[ "$(jq '.sinks[0].bytes' report)" -lt 2000000 ]
	[ "$(jq '.sinks[0].bytes + .stranded' report)" -eq "$(jq .bytes report)" ]
}

@test "a peer that is silent and never closes is not waited for" {
	data a 30000
	peer silent
	copy --linger 1h a "$sink"
	exits 0
	[ "$(cat said)" = "30000 end" ]
	end_peer
}

@test "a peer that takes nothing more is given up after --linger, and gets no end" {
	data a 1000000
	peer deaf
	copy --linger 300ms --report report a "$sink"
	exits 4
	says "usplice: sink $sink: at byte $(jq '.sinks[0].bytes' report): Connection timed out"
	end_peer
	[[ $(cat said) == *" Connection reset by peer" ]]
	[ "$(jq '.sinks[0].bytes' report)" -lt 1000000 ]
	[ "$(sed 's/ .*//' said)" -ge "$(jq '.sinks[0].bytes' report)" ]
}

@test "a copy whose source fails does not look whole to a TCP receiver" {
	echo old >b
	receive --atomic
	python3 "$BATS_TEST_DIRNAME/reset_peer.py" 0 source "$port" 3>&- &
	eventually test -e source
	copy "tcp:127.0.0.1:$(cat source)" "tcp:127.0.0.1:$port,retry=60"
	exits 3
	received 3
	[ "$(cat b)" = old ]
}

@test "a copy that a signal stops does not look whole to a TCP receiver" {
	for signal in INT TERM KILL; do
		rm -f b in
		mkfifo in
		receive
		env --default-signal=INT,TERM "$USPLICE" copy --quiet in "tcp:127.0.0.1:$port,retry=60" 2>sender.err 3>&- &
		job=$!
		exec 7>in
		echo some >&7
		eventually has_bytes b 5
		kill "-$signal" "$job"
		wait "$job" || true
		received 3
		exec 7>&-
	done
}

@test "a destination that fails stops the run, and the receiver of another one is told" {
	receive
	copy zero: "tcp:127.0.0.1:$port,retry=60" /dev/full
	exits 4
	received 3
}

@test "a destination that got everything is not reset because another one failed" {
	data a 3000000
	receive
	copy --on-error continue a "tcp:127.0.0.1:$port,retry=60" /dev/full
	exits 4
	received 0
	same a b
}

@test "a slow destination that was detached is told that it lacks something" {
	data a 8000000
	peer deaf
	copy --on-slow detach:0.3 a b "$sink"
	exits 4
	same a b
	end_peer
	[[ $(cat said) == *" Connection reset by peer" ]]
}

@test "a copy that does not even begin does not look like an empty one to a TCP receiver" {
	data a 1000
	echo old >b
	receive --atomic
	copy a "tcp:127.0.0.1:$port,retry=60" tcp:127.0.0.1:1 # where nobody listens
	exits 4
	received 3
	[ "$(cat b)" = old ]
}

@test "an inherited socket is neither shut down nor reset nor read" {
	data a 1000
	python3 - "$USPLICE" <<'PYTHON'
import socket, subprocess, sys
ours, theirs = socket.socketpair()
theirs.sendall(b"banner")
for _ in range(2):
    subprocess.run([sys.argv[1], "copy", "a", "-"], stdout=ours, check=True)
subprocess.run([sys.argv[1], "copy", "missing", "-"], stdout=ours, stderr=subprocess.DEVNULL)
assert ours.recv(100) == b"banner"
ours.close()
with theirs.makefile("rb") as stream:
    assert stream.read() == 2 * open("a", "rb").read()
PYTHON
}

@test "--idle-timeout and --timeout end a copy, and say who was waited for" {
	data a 3000000
	mkfifo source sink
	exec 7<>source 8<>sink
	printf some >&7
	copy --idle-timeout 200ms --report report source b
	exits 3
	[ "$stderr" = "usplice: source source: at byte 4: nothing moved for 0.2 s" ]
	[ "$(jq -c '.source | [.code, .kind]' report)" = '["ETIMEDOUT","timed-out"]' ]
	[ "$(cat b)" = some ]
	for sinks in sink "c sink"; do
		# shellcheck disable=SC2086
		copy --timeout 200ms a $sinks
		exits 4
		says "usplice: sink sink: at byte "
		says ": the copy was not done after 0.2 s"
	done
	printf more >&7
	copy --atomic --timeout 200ms source b
	exits 3
	[ "$(cat b)" = some ]
	copy --idle-timeout 60 --timeout 60 a c d
	exits 0
	cmp a c
	cmp a d
	copy --on-slow detach --timeout 1 a c
	exits 2
	says "--on-slow detach excludes --idle-timeout and --timeout"
}

@test "--timeout ends a copy that never waits, on each route" {
	truncate -s 30G endless
	data b 5000000
	for route in "--sparse never endless c" "--sparse never --lane user endless c" "zero: c" "zero: c d" "--limit-rate 1M b c" \
		"--limit-rate 1M --atomic b c" "--limit-rate 1M b c d"; do
		rm -f c d
		# shellcheck disable=SC2086
		copy --quiet --timeout 300ms $route
		[ "$status" -eq 3 ] || [ "$status" -eq 4 ]
		says "the copy was not done after 0.3 s"
		[[ $route != *atomic* ]] || [ ! -e c ]
		rm -f c d
	done
}

@test "a listener at port 0 says its port, and takes only clients from where it should" {
	data a 1000
	"$USPLICE" copy --json "tcp-listen:127.0.0.1:0,from=127.0.0.0/8,timeout=100" b 2>said 3>&- &
	receiver=$!
	eventually grep -q listening said
	[[ "$(cat said)" =~ ^"usplice: source tcp-listen:127.0.0.1:0,from=127.0.0.0/8,timeout=100: listening at 127.0.0.1:"([0-9]+)$ ]]
	port=${BASH_REMATCH[1]}
	copy a "tcp:127.0.0.1:$port"
	exits 0
	wait "$receiver"
	same a b
	[ "$(tail -n 1 said | jq -r .source.address)" = "127.0.0.1:$port" ]
	copy "tcp-listen:127.0.0.1:0,from=300.0.0.0/8" b
	exits 2
	says "this is no address, nor a block of them"
}
