#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice probe: what it prints, that it is what reports say, and that it touches nothing.

load support

# way OBJECT SIDE: one answer out of the file all.
way() {
	jq -r --arg object "$1" --arg side "$2" '.objects[] | select(.object == $object) | .[$side].way' all
}

@test "a file that appends is written, whatever its mount does with pages" {
	data a 100000
	run "$USPLICE" probe a a,append
	[[ ${lines[1]} == "pipe -> a,append: copied: splice(2) refuses a file that appends, and a write copies" ]]
}

@test "a directory that can have no file is an error, and the rest is told" {
	mkdir here
	run --separate-stderr "$USPLICE" probe --no-cost --json --dir here --dir /nonexistent
	[ "$status" -eq 1 ]
	[ "$stderr" = "usplice: no file can be made in /nonexistent: No such file or directory" ]
	jq -e '[.cells[].object] | index("file in here")' <<<"$output"
	(ulimit -n 8 && "$USPLICE" probe --no-cost --dir here >all 2>&1) && return 1
	"$USPLICE" probe --no-cost --dir here >all
}

@test "each object has an answer and a reason for each side" {
	"$USPLICE" probe --json --no-cost --dir . >all
	jq -e '.objects | length >= 6' all
	jq -e '[.objects[] | .into_pipe, .out_of_pipe | select(. != null)] |
		all((.way == "by reference" or .way == "copied" or .way == "unknown") and (.reason | length > 5))' all
	[ "$(way "file in ." out_of_pipe)" != "" ]
	[ "$(way /proc/self/status out_of_pipe)" = null ]
	[ "$(way /dev/null out_of_pipe)" = "by reference" ]
}

# cell HALF OBJECT: the answer of a base cell out of the file all.
cell() {
	jq -r --arg half "$1" --arg object "$2" \
		'.cells[] | select(.base and .half == $half and .object == $object) | .answer' all
}

@test "the JSON of a run is complete" {
	"$USPLICE" probe --json --dir . >all
	jq -e '.system | (.kernel | length > 0) and (.machine | length > 0) and .cpus > 0' all
	jq -e '.usplice and (.time | fromdateiso8601 > 0) and (.root | type == "boolean")' all
	jq -e '.memcpy | .cpu_s_per_gib > 0 and .gib_per_s > 0' all
	jq -e '.cells | length > 100' all
	jq -e '[.cells[] | .half] | unique == ["direct", "into a pipe", "out of a pipe"]' all
	jq -e '[.cells[] | .flag] | unique == ["GIFT", "MORE", "MOVE", "none"]' all
	jq -e '[.cells[] | .rights | select(.)] | unique == ["foreign", "own", "read-only"]' all
	jq -e '[.cells[] | .state | select(.)] | unique == ["clean", "dirty", "mapped"]' all
	jq -e '[.cells[] | .bytes] | unique | contains([512, 4096, 16384, 1048576, 2097152])' all
	jq -e '.cells | all((.reason | length > 8) and (.answer | IN("by reference", "copied", "refused", "by the device", "undecidable")))' all
	jq -e '.cells | all((.half == "direct") == (.peer != null))' all
	jq -e '.cells | group_by([.half, .object, .peer]) | all([.[] | select(.base)] | length == 1)' all
	jq -e '.cells | group_by([.half, .object, .peer, .flag, .rights, .state, .bytes]) | all(length == 1)' all
	jq -e '[.cells[] | select(.cost)] | length > 10 and all(.base and .cost.cpu_s_per_gib >= 0 and .cost.gib_per_s > 0)' all
}

@test "what is refused has the name of its error, and nothing else that was decided has one" {
	"$USPLICE" probe --json --no-cost --dir . >all
	jq -e '[.cells[] | select(.answer == "refused")] | length > 0 and all(.errno | test("^E[A-Z]+$"))' all
	jq -e '[.cells[] | select(.answer | IN("by reference", "copied", "by the device"))] | all(.errno == null)' all
}

@test "both controls hold, and what is known of every kernel is what the cells say" {
	"$USPLICE" probe --json --no-cost --dir . >all
	jq -e '.controls == {"copies": true, "aliases": true}' all
	[ "$(cell "into a pipe" "memory, by write")" = copied ]
	[ "$(cell "out of a pipe" "memory, by read")" = copied ]
	[ "$(cell "into a pipe" "pipe, by tee")" = "by reference" ]
	[ "$(cell "into a pipe" "pipe")" = "by reference" ]
	[ "$(cell "out of a pipe" /dev/null)" = "by reference" ]
	[ "$(cell "out of a pipe" "file in .")" = copied ]
	[[ $(cell "into a pipe" /proc/self/status) == @(refused|undecidable) ]]
	[[ $(cell "into a pipe" /dev/zero) == @(refused|undecidable) ]]
}

@test "whole routes do as their halves say" {
	"$USPLICE" probe --json --no-cost --dir . >all
	jq -e '.composed | .checked >= 12 and .agreed == .checked and .differing == []' all
}

@test "the matrix contradicts no answer of the ledger" {
	"$USPLICE" probe --json --no-cost --dir . >all
	jq -r '.objects[] | [.object, .into_pipe.way, .out_of_pipe.way] | @tsv' all >ledger
	[ "$(wc -l <ledger)" -ge 6 ]
	while IFS=$'\t' read -r object into out; do
		case "$into/$(cell "into a pipe" "$object")" in
		"by reference/copied" | "copied/by reference") false ;;
		esac
		case "$out/$(cell "out of a pipe" "$object")" in
		"by reference/copied" | "copied/by reference") false ;;
		esac
	done <ledger
	run "$USPLICE" probe --no-cost --dir .
	never grep -q "reports of usplice say" <<<"$output"
}

@test "--no-cost measures nothing" {
	"$USPLICE" probe --json --no-cost --dir . >all
	jq -e '.memcpy == null and (.cells | all(.cost == null))' all
	run "$USPLICE" probe --no-cost --dir .
	[[ $output != *memcpy* ]]
	run "$USPLICE" probe --dir .
	[[ $output == *"times that of memcpy"* ]]
}

@test "files of another owner and of a memory file system say why they are undecidable" {
	"$USPLICE" probe --json --no-cost --dir /dev/shm >all
	jq -e '[.cells[] | select(.object == "file in memory (memfd)" and .state == "clean")] | length > 0 and
		all(.answer == "undecidable" and (.reason | test("never clean")))' all
	[ "$(id -u)" -eq 0 ] || jq -e '[.cells[] | select(.rights == "foreign" and .state == "mapped")] | length > 0 and
		all(.answer == "undecidable" and .errno == "EPERM")' all
}

@test "no file, port or process is left behind" {
	tracing
	mkdir dir
	strace -f -qq -o calls -e trace=clone,fork,vfork,clone3,rename,linkat,symlink,mkdir "$USPLICE" probe --no-cost --dir dir >/dev/null
	[ -z "$(ls -A dir)" ]
	never grep -v -e '+++' -e '---' calls
	if unshare --net true 2>/dev/null; then
		unshare --net sh -c 'ip link set lo up && "$1" probe --no-cost --dir dir >/dev/null && cat /proc/net/tcp' \
			sh "$USPLICE" >sockets
		[ "$(wc -l <sockets)" -eq 1 ]
	fi
}

# decided FILE: a line for each cell that is decided.
decided() {
	jq -r '.cells[] | select(.answer | IN("by reference", "copied", "by the device")) |
		[.half, .object, .peer, .call, .flag, .rights, .state, .bytes, .answer] | @tsv' "$1" | sort
}

@test "calls that fail now and then leave cells undecided, and change no answer" {
	tracing
	strace -qq -o calls -e trace=tee -e inject=tee:error=ENOMEM true 2>/dev/null || skip "no strace that injects"
	"$USPLICE" probe --json --no-cost --dir . >all
	decided all >right
	calls="splice tee vmsplice pwritev preadv memfd_create pipe2 socket ppoll"
	# A sanitizer reads libraries and /proc before the command begins.
	grep -qa -e libasan.so -e libtsan.so "$USPLICE" || calls+=" read"
	for call in $calls; do
		strace -qq -o calls -e trace=$call -e inject=$call:error=ENOMEM:when=5+31 \
			"$USPLICE" probe --json --no-cost --dir . >some || [ $? -eq 1 ] # a control may have failed
		jq -e '.composed.differing == []' some
		decided some >left
		grep -q INJECTED calls
		diff /dev/null <(comm -13 right left)
		[ "$(wc -l <left)" -lt "$(wc -l <right)" ]
	done
}

@test "the table, the routes and the reasons are for people" {
	run "$USPLICE" probe
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == *"into a pipe"*"out of a pipe"* ]]
	[[ $output != *$'\033'* ]]
	[[ $output == *$'\nRoutes from source to sink'* ]]
	[[ $output == *"Controls: a write was copied, a page of the run went by reference."* ]]
	[ "$(awk '{ print length }' <<<"$output" | sort -n | tail -1)" -le 100 ]
	run "$USPLICE" probe -v --no-cost
	[[ $output == *"    into a pipe: "* ]]
	[[ $output == *"    into a pipe: vmsplice, GIFT, 4.0 KiB: "* ]]
}

@test "a terminal has colours, unless NO_COLOR says no" {
	command -v script >/dev/null || skip "no script(1)"
	TERM=xterm script -qec "$USPLICE probe --no-cost" /dev/null >typescript 3>&-
	grep -q $'\033\[3' typescript
	NO_COLOR=1 TERM=xterm script -qec "$USPLICE probe --no-cost" /dev/null >typescript 3>&-
	never grep -q $'\033\[3' typescript
}

@test "what it says of two ends is what the report of a copy says" {
	data a 3000000
	: >b
	"$USPLICE" probe --json a b >both
	[ "$(jq -r '[.hops[] | .from, .to] | @csv' both)" = '"a","pipe","pipe","b"' ]
	port=$(free_port)
	"$USPLICE" copy "tcp-listen:127.0.0.1:$port" c 3>&- &
	"$USPLICE" copy --report report a "tcp:127.0.0.1:$port,retry=60"
	wait
	[ "$(jq -r '.hops[0].reason' report)" = "$(jq -r '.hops[0].answer.reason' both)" ]
}

@test "no file is made, cut or read" {
	data a 100000
	cp a old
	touch -d @1000 a
	"$USPLICE" probe a a
	same a old
	[ "$(stat -c %Y a)" = 1000 ]
	run "$USPLICE" probe a new
	[ "$status" -eq 4 ]
	[ ! -e new ]
	exec 7<a
	dd bs=10 count=1 status=none <&7 >/dev/null
	"$USPLICE" probe fd:7 null: >/dev/null
	cmp <(cat <&7) <(tail -c +11 a)
	exec 7<&-
	[ "$(ls)" = $'a\nold' ]
}

@test "names do not reach the terminal as commands" {
	data $'e\033[31mx\nfake' 100
	"$USPLICE" probe $'e\033[31mx\nfake' null: >out
	never grep -q $'\033' out
	[ "$(wc -l <out)" -eq 2 ]
	"$USPLICE" explain $'e\033[31mx\nfake' null: >out
	never grep -q $'\033' out
	mkdir $'d\033[1m'
	"$USPLICE" probe --no-cost --dir $'d\033[1m' >out
	never grep -q $'\033' out
}

@test "who waits at a FIFO is not woken, and a listener is not asked" {
	mkfifo fifo
	cat fifo >got 3>&- &
	"$USPLICE" probe null: fifo
	"$USPLICE" probe fifo null:
	"$USPLICE" explain null: fifo
	echo text >fifo
	wait $!
	[ "$(cat got)" = text ]
	run "$USPLICE" probe unix-listen:sock
	[ "$status" -eq 3 ]
	[ ! -e sock ]
}

@test "what the kernel makes is not used up" {
	[ "$(id -u)" -eq 0 ] || skip "not root"
	run timeout 20 "$USPLICE" explain /proc/kmsg null:
	[ "$status" -eq 0 ]
	[[ ${lines[0]} == "Nothing was moved: "* ]]
}

@test "a directory where no file can be made is named" {
	run "$USPLICE" probe --no-cost --dir missing
	[[ $output == *"no file can be made in missing: No such file or directory"* ]]
}

@test "what is wrong is said, with its exit code" {
	run "$USPLICE" probe missing
	[ "$status" -eq 3 ]
	[[ $output == *"source missing: No such file or directory"* ]]
	run "$USPLICE" probe tcp:no-port
	[ "$status" -eq 2 ]
	run "$USPLICE" probe null: zero:,count=1
	[ "$status" -eq 2 ]
	run "$USPLICE" probe a b c
	[ "$status" -eq 2 ]
	run "$USPLICE" probe --dir /tmp a
	[ "$status" -eq 2 ]
	run "$USPLICE" probe --no-cost a
	[ "$status" -eq 2 ]
	run "$USPLICE" probe --nonsense
	[ "$status" -eq 2 ]
	run "$USPLICE" probe --help
	[ "$status" -eq 0 ]
	[[ $output == *"usage: usplice probe"* ]]
	run sh -c '"$1" probe >/dev/full' sh "$USPLICE"
	[ "$status" -eq 1 ]
}

@test "an ordinary user has answers, too" {
	[ "$(id -u)" -eq 0 ] || skip "not root"
	chmod 777 .
	setpriv --reuid 65534 --regid 65534 --clear-groups "$USPLICE" probe --json --no-cost --dir . >all
	[ "$(way "file in ." into_pipe)" = "$("$USPLICE" probe --json --no-cost --dir . | jq -r '.objects[0].into_pipe.way')" ]
	jq -e '.root == false and .controls == {"copies": true, "aliases": true}' all
	jq -e '.composed | .checked >= 12 and .agreed == .checked' all
	jq -e '[.cells[] | select(.rights == "foreign" and .state == "mapped")] | length > 0 and
		all(.answer == "undecidable" and .errno == "EPERM")' all
}
