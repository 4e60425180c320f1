#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy to many destinations: all is well, one is slow, one is dead, one resets.

load support

# reset_peer BYTES: $port is reset after so many.
reset_peer() {
	python3 "$BATS_TEST_DIRNAME/reset_peer.py" "$1" port 3>&- &
	eventually test -e port
	port=$(cat port)
}

# sink_of REPORT SPEC FIELD
sink_of() {
	jq -r --arg spec "$2" ".sinks[] | select(.spec == \$spec) | .$3" "$1"
}

@test "every destination gets every byte" {
	data a 3000001
	for lane in auto user kernel; do
		rm -f ?.out
		copy --lane "$lane" --json a {1,2,3,4,5,6,7,8}.out
		exits 0
		for file in {1,2,3,4,5,6,7,8}.out; do
			same a "$file"
		done
		[ "$(jq '[.sinks[].bytes] | add' <<<"$stderr")" -eq 24000008 ]
	done
}

@test "a pipe is read once and goes to files and on" {
	data a 3000001
	cat a | "$USPLICE" copy - b - c | same - a
	same a b
	same a c
}

@test "a slow destination holds the others back, and loses nothing" {
	data a 3000000
	mkfifo f
	python3 -c '
import sys
with open("f", "rb", buffering=0) as source, open("slow", "wb") as to:
    while chunk := source.read(10000):
        to.write(chunk)' 3>&- &
	copy --on-slow block a b f c
	exits 0
	wait $!
	same a b
	same a c
	same a slow
}

# detaching ARGUMENTS: a copy that detaches who takes nothing, after as long as makes nobody look slow but ./f.
detaching() {
	for slow in 0.2 2 20; do
		copy --on-slow detach:$slow --report report "$@"
		[ "$(jq '[.sinks[] | select(.spec != "f") | .error] | all(. == null)' report)" = false ] || break
	done
}

@test "a destination that takes nothing is detached, and the others get all" {
	data a 9000000
	mkfifo f
	exec 9<>f
	detaching a b f c
	exits 4
	[[ $stderr =~ ^"usplice: sink f: at byte "[0-9]+": took nothing for $slow s and was detached"$ ]]
	same a b
	same a c
	[ "$(sink_of report b bytes)" -eq 9000000 ]
	[ "$(sink_of report b error)" = null ]
	[ "$(sink_of report f bytes)" -lt 9000000 ]
	[[ $(sink_of report f error) == *detached* ]]
	[ "$(jq .stranded report)" -gt 0 ]
	exec 9>&-
}

@test "what a detached destination got is the beginning of the source" {
	data a 9000000
	mkfifo f
	exec 9<>f
	detaching a null: f
	exits 4
	got=$(sink_of report f bytes)
	head -c "$got" <&9 >part
	head -c "$got" a | same - part
	exec 9>&-
}

@test "detach alone waits for a second" {
	data a 9000000
	mkfifo f
	exec 9<>f
	copy --on-slow detach --report report a null: f
	exits 4
	says "took nothing for 1 s"
	[ "$(jq '.seconds >= 1' report)" = true ]
	exec 9>&-
}

@test "a dead destination stops the run, with --on-error continue only itself" {
	data a 9000000
	mkfifo f
	for option in stop continue; do
		rm -f b
		head -c 1000 f >/dev/null 3>&- &
		copy --on-error "$option" --report report a f b
		exits 4
		[[ $stderr =~ "usplice: sink f: at byte "[0-9]+": Broken pipe" ]]
		[ "$(sink_of report f error)" = "Broken pipe" ]
		if [ "$option" = continue ]; then
			same a b
			[ "$(sink_of report b error)" = null ]
		else
			head -c "$(sink_of report b bytes)" a | same - b
		fi
		[ "$(stat -c %s b)" -eq "$(sink_of report b bytes)" ]
	done
}

@test "a destination that resets is named with its offset, and the others get all" {
	data a 20000000
	reset_peer 100000
	copy --on-error continue --report report a "tcp:127.0.0.1:$port" b
	exits 4
	[[ $stderr =~ ^"usplice: sink tcp:127.0.0.1:$port: at byte "([0-9]+)": "("Connection reset by peer"|"Broken pipe")$ ]]
	[ "${BASH_REMATCH[1]}" -eq "$(sink_of report "tcp:127.0.0.1:$port" bytes)" ]
	same a b
}

@test "a single destination that resets ends the run" {
	data a 20000000
	reset_peer 100000
	copy --json a "tcp:127.0.0.1:$port"
	exits 4
	says "usplice: sink tcp:127.0.0.1:$port: at byte "
}

@test "a full disk does not keep the others from the rest" {
	small_disk 256k
	data a 3000000
	copy --on-error continue --report report a small/x b
	exits 4
	says "No space left on device"
	same a b
	head -c "$(sink_of report small/x bytes)" a | same - small/x
}

@test "all destinations failed" {
	data a 3000000
	copy --on-error continue --report report a /dev/full fd:9 9>/dev/full
	exits 4
	[ "$(jq '[.sinks[].error] | unique | length' report)" -eq 1 ]
	[ "$(grep -c 'No space left' <<<"$stderr")" -eq 2 ]
}

@test "a source that fails in the middle leaves all destinations with the same bytes" {
	reset_peer_source
	copy --report report "tcp:127.0.0.1:$port" b c
	exits 3
	[[ $stderr =~ "usplice: source tcp:127.0.0.1:$port: at byte "[0-9]+": Connection reset by peer" ]]
	same b c
	[ "$(stat -c %s b)" -eq "$(jq .bytes report)" ]
	[ "$(sink_of report b error)" = "the source failed" ]
}

# A source that gives some bytes, and resets when they have been taken.
reset_peer_source() {
	python3 -c '
import os, socket, struct
server = socket.create_server(("127.0.0.1", 0))
with open("port.new", "w") as out:
    print(server.getsockname()[1], file=out)
os.rename("port.new", "port")
peer, _ = server.accept()
peer.sendall(b"x" * 100000)
while not os.path.exists("c") or os.path.getsize("b") < 100000 or os.path.getsize("c") < 100000:
    pass
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()' 3>&- &
	eventually test -e port
	port=$(cat port)
}
