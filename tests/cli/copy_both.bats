#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Both ways at once: what goes to each end, how the ways end, and what is refused.

load support

# serve WAY [SOCKET]: a server (both_peer.py). $end is where it listens, ./said what it printed. Its standard input is ./go.
serve() {
	rm -f port go said
	mkfifo go
	python3 "$BATS_TEST_DIRNAME/both_peer.py" "$1" port "${@:2}" <go >said 3>&- &
	server=$!
	exec 8>go
	eventually test -e port
	end=tcp:127.0.0.1:$(cat port)
	[ $# -lt 2 ] || end=unix:$2
}

# served TEXT [TEXT]: the server has ended, and printed one of them.
served() {
	exec 8>&-
	wait "$server"
	[ "$(cat said)" != "${2:-}" ] || return 0
	[ "$(cat said)" = "$1" ] || {
		echo "the server said $(cat said) instead of $1"
		return 1
	}
}

# both ARGUMENTS: with standard input from ./in, and standard output in ./out.
both() {
	code=0
	"$USPLICE" copy --both "$@" <in >out 2>err || code=$?
	status=$code stderr=$(cat err)
}

@test "a request goes there, its end is seen, and the answer comes back, on each lane" {
	data in 300000
	for lane in auto kernel user; do
		serve answer
		case $lane in kernel) both --lane auto - "$end" ;; *) both --lane "$lane" - "$end" ;; esac
		exits 0
		served "300000 end"
		[ "$(stat -c %s out)" -eq 300000 ]
		[ -z "$stderr" ]
	done
}

@test "both ends may talk at once" {
	data in 5000000
	for rate in 2 3; do
		serve echo
		both - "$end"
		exits 0
		served "5000000 end"
		same in out
	done
	serve echo "$PWD/socket"
	both - "$end"
	exits 0
	same in out
	served "5000000 end"
}

@test "standard input and output may be pipes, and each end is shown" {
	serve answer
	[ "$(printf 'one\ntwo\n' | "$USPLICE" copy --both - "$end" | wc -c)" -eq 8 ]
	served "8 end"
}

@test "a listener takes a client and talks to a command" {
	port=$(free_port)
	"$USPLICE" copy --both "tcp-listen:127.0.0.1:$port,timeout=100" 'exec:tr a-z A-Z' 3>&- 2>err &
	listener=$!
	[ "$(echo text | "$USPLICE" copy --both - "tcp:127.0.0.1:$port,retry=60")" = TEXT ]
	finish 0 "$listener" err
	"$USPLICE" copy --both 'exec:tr a-z A-Z' "unix-listen:$PWD/socket,timeout=100" 3>&- 2>err &
	listener=$!
	[ "$(echo text | "$USPLICE" copy --both "unix:$PWD/socket,retry=60" -)" = TEXT ]
	finish 0 "$listener" err
	"$USPLICE" copy --both 'exec:tr a-z A-Z' "unix-listen:@usplice-$$,timeout=100" 3>&- 2>err &
	listener=$!
	[ "$(echo text | "$USPLICE" copy --both - "unix:@usplice-$$,retry=60")" = TEXT ]
	finish 0 "$listener" err
}

@test "the port that the kernel chose is told" {
	"$USPLICE" copy --both tcp-listen:127.0.0.1:0,timeout=100 exec:cat --report report 3>&- 2>err &
	listener=$!
	eventually grep -q listening err
	[ "$(echo text | "$USPLICE" copy --both - "tcp:$(sed 's/.* //' err)")" = text ]
	finish 0 "$listener" err
	[ "$(jq -r '.both[0].source.address' report)" = "$(sed 's/.* //' err)" ]
}

@test "an input that cannot know that the peer has closed is given up after --grace" {
	serve close
	mkfifo in
	exec 7<>in
	both - "$end"
	exits 0
	[ "$(cat out)" = hello ]
	served "0 end"
	serve greet
	rm in
	mkfifo in
	{
		eventually grep -q hello out
		echo more
	} >in 3>&- 8>&- &
	writer=$!
	both --grace 1h - "$end"
	exits 0
	wait "$writer"
	served "5 end"
}

@test "a connection that sees the end is waited for, however long it takes" {
	serve silent
	echo text >in
	"$USPLICE" copy --both --grace 1ms - "$end" <in >out 2>err 3>&- 8>&- &
	talker=$!
	stays kill -0 "$talker"
	served "0 end"
	wait "$talker" || true
	[ -z "$(cat out)" ]
}

@test "an answer that comes before all was sent is delivered, and what was not taken is told" {
	data in 20000000
	serve early
	both - "$end" # whether writing or reading meets the reset first is a matter of luck
	[ "$status" -eq 4 ] || exits 3
	served "1 end"
	says " $end: at byte "
	[[ $stderr == *"Connection reset by peer"* || $stderr == *"Broken pipe"* ]]
}

@test "an output that nobody reads ends both ways" {
	serve echo
	{
		"$USPLICE" copy --both - "$end" </dev/zero 2>err 3>&- || echo $? >code
	} | head -c 10 >/dev/null
	[ "$(cat code)" -eq 4 ]
	grep -q '^usplice: sink -: at byte .*: Broken pipe$' err
	exec 8>&-
	wait "$server"
	"$USPLICE" copy --quiet --both - 'exec:cat 2>/dev/null' </dev/zero 2>err 3>&- | head -c 10 >/dev/null || true
	[ ! -s err ]
}

@test "a command that fails is told once, as the end that it is" {
	echo text >in
	both - 'exec:cat; exit 3'
	exits 3
	[ "$(cat out)" = text ]
	[ "$stderr" = "usplice: source exec:cat; exit 3: at byte 5: its command exited with status 3" ]
	both 'exec:cat; kill -9 $$' -
	exits 3
	[ "$stderr" = "usplice: source exec:cat; kill -9 \$\$: at byte 5: its command was killed by signal 9 (Killed)" ]
	# It exits when its input is there, and does not read it.
	both - "exec:python3 -c 'import select; select.select([0], [], []); print(\"unread\")'"
	exits 0
	[ "$(cat out)" = unread ]
	data in 20000000
	both - 'exec:head -c 10; exit 0'
	exits 4
	says "its command exited with status 0 before it had read everything"
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
}

@test "two commands talk to each other" {
	copy --both 'exec:echo question; read answer; echo "$answer" >got' 'exec:read question; echo "answer to $question"'
	exits 0
	[ "$(cat got)" = "answer to question" ]
}

@test "a socket that was inherited is half-closed, too" {
	serve answer
	exec 7<>"/dev/tcp/127.0.0.1/$(cat port)"
	echo text >in
	both - fd:7
	exits 0
	exec 7>&-
	served "5 end"
	[ "$(cat out)" = aaaaa ]
}

@test "a terminal is an end, raw or not, and its hang-up is the end" {
	cat >talk.py <<'PY'
import os, pty, subprocess, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
job = subprocess.Popen([os.environ["USPLICE"], "copy", "--both", sys.argv[1] % os.ttyname(slave), "exec:cat"])
os.write(master, b"text\n")
said = b""
while len(said) < 5:
    said += os.read(master, 100)
print(said.decode().strip())
os.close(slave)
os.close(master)
sys.exit(job.wait())
PY
	[ "$(timeout "$patience" python3 talk.py %s 3>&-)" = text ]
	cat >hang.py <<'PY'
import os, pty, subprocess, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
job = subprocess.Popen([os.environ["USPLICE"], "copy", *sys.argv[1:]], pass_fds=[master], env={**os.environ}, stdin=subprocess.DEVNULL)
os.write(slave, b"text\n")
os.close(slave)
sys.exit(job.wait())
PY
	sed -i 's/\*sys.argv\[1:\]\]/*[a.replace("MASTER", str(master)) for a in sys.argv[1:]]]/' hang.py
	timeout "$patience" python3 hang.py fd:MASTER b 3>&-
	[ "$(cat b)" = text ]
}

@test "the report has both ways, and -v says how the bytes went" {
	data in 300000
	serve answer
	both --report report -v - "$end"
	exits 0
	served "300000 end"
	[ "$(jq -c '[.bytes, (.both | length), .both[0].bytes, .both[1].bytes]' report)" = '[600000,2,300000,300000]' ]
	[ "$(jq -c '[.both[] | .source.spec, .sinks[0].spec, .sinks[0].bytes, .sinks[0].code]' report)" = \
		"[\"-\",\"$end\",300000,null,\"$end\",\"-\",300000,null]" ]
	jq -e '.both | all(.hops | length == 2)' report
	says "- -> pipe"
	says "$end -> pipe"
	serve answer
	both --json - "$end"
	served "300000 end"
	jq -e .both err
}

@test "a way that fails is in the report" {
	data in 1000
	both --report report - 'exec:cat >/dev/null; exit 3'
	exits 3
	[ "$(jq -c '[.both[1].source.code, .both[1].source.kind, .both[0].source.code]' report)" = '["EBADR","command",null]' ]
}

@test "the progress shows what each end got" {
	data in 300000
	serve answer
	both --progress --format 'got %l' - "$end"
	exits 0
	served "300000 end"
	says "got $end +293.0KiB, standard output +293.0KiB" || says "got $end +293.0 KiB, standard output +293.0 KiB"
}

@test "a signal stops both ways, and SIGUSR1 tells how far they are" {
	serve silent
	mkfifo in
	exec 7<>in
	echo text >&7
	env --default-signal=INT,TERM,USR1 "$USPLICE" copy --both - "$end" <in >out 2>job.err 3>&- 8>&- &
	job=$!
	eventually takes_signals "$job"
	eventually is_moving
	kill -INT "$job"
	finish 130
	grep -q "stopped by signal 2" job.err
	grep -q "sink $end: got 5 bytes" job.err
	served "0 end"
}

@test "a signal ends an exchange with a command, and the command" {
	mkfifo in
	exec 7<>in
	env --default-signal=INT,TERM,USR1 "$USPLICE" copy --both - 'exec:echo $$; exec sleep 1000' <in >out 2>job.err 3>&- 8>&- &
	job=$!
	eventually test -s out
	kill -TERM "$job"
	finish 143
	never kill -0 "$(cat out)" 2>/dev/null
}

@test "time-outs count for both ways together" {
	serve silent
	mkfifo in
	exec 7<>in
	both --idle-timeout 100ms - "$end"
	exits 3
	says "usplice: source -: at byte 0: nothing moved for 0.1 s"
	served "0 end" "0 reset"
	serve silent
	both --timeout 100ms - "$end"
	exits 3
	says "the copy was not done after 0.1 s"
}

@test "a rate limits each way" {
	data in 3000
	serve answer
	both --limit-rate 10M - "$end"
	exits 0
	served "3000 end"
}

@test "--require-zero-copy refuses a way that copies, before a byte moves" {
	echo text >in
	serve answer
	both --require-zero-copy --lane user - "$end"
	exits 5
	served "0 end" "0 reset"
	[ ! -s out ]
}

@test "what does not go both ways is refused, before anything is opened" {
	echo text >in
	touch file
	mkfifo fifo
	for other in null: zero: mem:x udp:127.0.0.1:9 udp-listen:127.0.0.1:9 cached:file file /dev/null fifo fd:7; do
		both - "$other" 7<file
		exits 2
		says "sink $other: does not go both ways"
		both "$other" 'exec:touch ran' 7<file
		exits 2
		says "source $other: does not go both ways"
	done
	both - -
	exits 2
	says "is given twice"
	both - tcp:
	exits 2
	both 'exec:touch ran' missing
	exits 4
	both - 127.0.0.1:9
	exits 2
	says "did you mean tcp:127.0.0.1:9?"
	run --separate-stderr bash -c '"$USPLICE" copy --both - "exec:touch ran" </dev/null >&-'
	exits 2
	says "source -: standard output is closed"
	[ ! -e ran ]
}

@test "options that make no sense are refused" {
	for options in "--count 3" "--skip 3" "--seek 3" --append --atomic --resume --sync --no-clobber --overwrite "--size 3" \
		"--sparse always" "--preserve mode" --decompress "--compress zstd" "--digest crc32c" "--verify-written" \
		"--verify-blocks x" "--write-blocks x" "--on-read-error zero" --snapshot "--on-slow detach" "--on-error continue" \
		--drop-cache --stop-at-size --framed --frame --unframe "--frame-digest crc32c" "--buffer 1M" "--buffer-file x,size=1M"; do
		# shellcheck disable=SC2086
		copy --both $options - exec:cat
		exits 2
		says "usplice: copy: --both "
	done
	copy --both - exec:cat exec:cat
	exits 2
	says "--both takes two endpoints"
	copy --grace 1s a b
	exits 2
	says "--grace is for --both"
	run --separate-stderr "$USPLICE" cat --both a
	exits 2
	says "unknown option --both"
}

@test "it does what nc and socat do" {
	command -v socat >/dev/null || skip "no socat"
	port=$(free_port)
	socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" 'SYSTEM:tr a-z A-Z' 3>&- 8>&- &
	server=$!
	[ "$(echo text | "$USPLICE" copy --both - "tcp:127.0.0.1:$port,retry=60")" = TEXT ]
	wait "$server"
	"$USPLICE" copy --both "tcp-listen:127.0.0.1:$port,timeout=100" 'exec:tr a-z A-Z' 3>&- 8>&- &
	server=$!
	[ "$(echo text | socat -t "$patience" - "TCP:127.0.0.1:$port,retry=600,interval=0.1")" = TEXT ]
	wait "$server"
	command -v nc >/dev/null || skip "no nc"
	nc -l 127.0.0.1 "$port" <<<answer >got 3>&- 8>&- &
	server=$!
	{
		echo text
		eventually grep -q answer out # some versions of nc end when their peer does
	} | "$USPLICE" copy --both - "tcp:127.0.0.1:$port,retry=60" >out
	wait "$server"
	[ "$(cat out) $(cat got)" = "answer text" ]
}
