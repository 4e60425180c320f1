#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice copy: what cannot be done as it was asked for is refused, and then everything is as it was.

load support

# everything: the names, kinds, contents and times of all that is here, the directory itself included.
everything() {
	find . -printf '%p %y %i %l %s %T@ %C@\n' | sort
	find . -type f -exec sha256sum {} + | sort
}

# refuses CODE ARGUMENTS: it ends with that code, without waiting for anybody, and changes nothing at all.
refuses() {
	local code=$1 before
	shift
	before=$(everything)
	run --separate-stderr timeout 10 "$USPLICE" copy "$@"
	echo "--- copy $*: exit code $status, standard error: $stderr"
	[ "$status" -eq "$code" ]
	[ -z "$output" ]
	[ -n "$stderr" ]
	[ "$(everything)" = "$before" ]
}

# takes_back CODE ARGUMENTS: the same, but what was made meanwhile has been removed, which the directory's time tells.
takes_back() {
	everything() {
		find . -mindepth 1 -printf '%p %y %i %l %s %T@ %C@\n' | sort
		find . -type f -exec sha256sum {} + | sort
	}
	refuses "$@"
}

@test "a report that is also the source is refused, by whatever name, and the source stays" {
	data a 1000
	ln a hard
	ln -s a soft
	for name in a ./a hard soft; do
		refuses 2 --report "$name" a b
		says "usplice: source a: is also the file of the report"
		refuses 2 --json --report "$name" --append soft b
	done
	for spec in - fd:0 /dev/stdin /dev/fd/0; do
		refuses 2 --report hard "$spec" b <a
		refuses 2 --report /dev/stdin "$spec" b <a
	done
}

@test "a report that is also a destination is refused, and the destination stays" {
	data a 1000
	data b 10
	ln b hard
	ln -s b soft
	for name in b ./b hard soft; do
		refuses 2 --report "$name" a b
		says "usplice: sink b: is also the file of the report"
		refuses 2 --report "$name" --atomic a b
		refuses 2 --report "$name" --append a c b
	done
	refuses 2 --report b a fd:7 7>>b
	refuses 2 --report soft a fd:7 7>>b
	refuses 2 --report /dev/fd/7 a b 7>>soft
	takes_back 2 --report new a new
	takes_back 2 --report ./new --atomic a new
}

@test "a report is not written over what the copy was to use, also when the copy fails before" {
	data b 10
	refuses 2 --report b nothing b
	refuses 2 --report b nothing fd:7 7>>b
	refuses 2 --report b b nowhere/c
	chmod 222 b # it can be written and not read
	chmod 777 .
	cp "$USPLICE" command
	run --separate-stderr as_nobody ./command copy --report b b c
	exits 2
	says "usplice: source b: Permission denied"
	says "usplice: source b: is also the file of the report"
	[ "$(stat -c %s b)" -eq 10 ]
}

@test "a refused copy makes neither its report nor a destination" {
	data a 1000
	ln -s a same
	for arguments in "a b same" "a b weird:x" "a b null:x" "a b tcp:nowhere" "a b tcp:h:1,timeout=x" "a b udp:h:1,datagram=0" \
		"--seek 5 a b null:" "--on-slow detach a b" "--resume null: b" "weird:x b" "a b a,direct=1"; do
		# shellcheck disable=SC2086
		refuses 2 --report report $arguments
		# shellcheck disable=SC2086
		refuses 2 --json --report report $arguments
		[[ $stderr != *'{'* ]]
	done
	takes_back 2 --report report a b b
	takes_back 2 --report report --lane kernel mem:hello b
	takes_back 5 --report report --require-zero-copy --lane user a b
	takes_back 5 --json --report report --require-zero-copy --lane user a b
	[[ $stderr != *'{'* ]]
	echo old >report
	echo old >b
	refuses 5 --report report --require-zero-copy --lane user a b
}

@test "a copy that is refused connects with nobody, and waits for nobody" {
	data a 1000
	"$USPLICE" copy unix-listen:here got 3>&- & # takes the first client, and only that
	eventually test -S here
	mkfifo f
	for peer in unix:here f; do
		refuses 2 --seek 5 a "$peer"
		refuses 2 a "$peer" a
		refuses 2 --report a a "$peer"
		refuses 2 --resume a "$peer"
		refuses 2 --report f a b f
	done 3<>f
	refuses 2 f b f
	refuses 2 unix-listen:there b null:x
	"$USPLICE" copy a unix:here
	wait $!
	same a got
}

@test "an existing file is not touched by a copy whose next destination fails" {
	data a 1000
	data b 10
	refuses 4 a b nowhere/c
	refuses 3 nothing b
}

# end_peer PROCESS: so that the next one can have its port.
end_peer() {
	kill -9 "$1"
	wait "$1" || true
}

@test "every option is honoured by every kind of destination, or refused" {
	data a 300000
	block=$(block_device 1M)
	port=$(free_port)
	"$USPLICE" copy udp-listen:127.0.0.1:"$port" null: 2>/dev/null 3>&- &
	# y: honoured. n: refused.       append seek resume atomic sync on-slow
	while read -r kind answers; do
		for option in --append "--seek 4096" --resume --atomic --sync "--on-slow detach:5"; do
			answer=${answers%% *}
			answers=${answers#* }
			rm -rf there
			mkdir there
			sink=$kind peer=
			case $kind in
			new) sink=there/new ;;
			old)
				head -c 20000 a >there/old
				sink=there/old
				;;
			block) sink=$block ;;
			fifo)
				sink=there/fifo
				mkfifo there/fifo
				cat there/fifo >there/got 3>&- &
				peer=$!
				;;
			unix)
				sink=unix:there/socket,retry=5
				"$USPLICE" copy unix-listen:there/socket there/got 2>/dev/null 3>&- &
				peer=$!
				;;
			tcp)
				sink=tcp:127.0.0.1:$port,retry=5
				"$USPLICE" copy "tcp-listen:127.0.0.1:$port" there/got 2>/dev/null 3>&- &
				peer=$!
				;;
			udp) sink=udp:127.0.0.1:$port ;;
			esac
			echo "--- $option $kind: $answer"
			# shellcheck disable=SC2086
			copy $option a "$sink"
			if [ "$answer" = y ]; then
				exits 0
				[ -z "$peer" ] || wait "$peer"
				honours "$option" "$kind"
			else
				exits 2
				[ -n "$stderr" ]
				[ -z "$peer" ] || end_peer "$peer"
				[ "$kind" != old ] || head -c 20000 a | same - there/old
				[ "$kind" != new ] || [ ! -e there/new ]
			fi
		done
	done <<-END
		new        y y y y y n
		old        y y y y y n
		block      n y n n y n
		/dev/null  y y n n y y
		fifo       y n n n y y
		unix       y n n n y y
		tcp        y n n n y y
		udp        y n n n y y
		null:      y n n n y n
		zero:      y y n n y n
		mem:       y y n n y n
	END
}

# honours OPTION KIND: what it left is what the option means.
honours() {
	case $1:$2 in
	--append:old) { head -c 20000 a && cat a; } | same - there/old ;;
	--seek*:old) { head -c 4096 a && cat a; } | same - there/old ;;
	--seek*:new) tail -c +4097 there/new | same - a ;;
	--seek*:block) tail -c +4097 "$block" | head -c 300000 | same - a ;;
	*:new | *:old) same a "there/$2" ;;
	*:fifo | *:unix | *:tcp) same a there/got ;;
	esac
}

# block_device LENGTH: the path of a block device of zeros.
block_device() {
	truncate -s "$1" disk
	losetup --find --show disk 2>/dev/null || skip "cannot make a block device here"
}

teardown() {
	if [ -n "$block" ]; then
		losetup --detach "$block"
	fi
	remove_all
}

@test "a block device that was inherited is not appended to" {
	data a 1000
	block=$(block_device 64k)
	before=$(everything)
	for spec in - fd:1; do
		status=0
		"$USPLICE" copy --append a $spec >"$block" 2>said || status=$?
		[ "$status" -eq 2 ]
		grep -q "nothing can be appended" said
		cmp -n 65536 "$block" /dev/zero
	done
}

@test "an option of a spec is honoured by what it is written to, or refused" {
	data a 10
	mkfifo f
	block=$(block_device 64k)
	for spec in a,append a,direct=1 a,append=1 f,direct f,append /dev/null,append /dev/null,direct "$block,append" null:,direct \
		zero:,append mem:x,max=1 fd:0,append unix:x,nodelay unix-listen:x,retry=1 tcp-listen:1,retry=1 tcp:h:1,nodelay=1 \
		udp:127.0.0.1:1,eof udp:127.0.0.1:1,datagram=5 udp-listen:1,eof tcp:h:1,retry tcp:h:1,timeout=; do
		refuses 2 "$spec" b
	done
	for spec in f,direct f,append /dev/null,append /dev/null,direct "$block,append" null:,append mem:,append mem:,max= fd:0,append \
		udp:127.0.0.1:1,eof=1 udp:127.0.0.1:1,datagram= udp-listen:1; do
		refuses 2 a "$spec"
	done
	refuses 2 --seek 5 a a,append
	says "is the same file"
	data b 5
	refuses 2 --seek 5 a fd:7 7>>b
	says "appends, so --seek is not possible"
	refuses 2 --seek 5 a b,append
	says "appends, so --seek is not possible"
	refuses 2 --atomic a b,append
	copy --sync a b,append
	exits 0
	[ "$(stat -c %s b)" -eq 15 ]
}

@test "a file that direct I/O cannot make is not left behind" {
	mkdir small
	mount -t ramfs usplice-test small 2>/dev/null || skip "cannot mount here"
	data a 10
	copy a small/b,direct
	exits 2
	says "this file system has no direct I/O"
	[ ! -e small/b ]
}

@test "a digest that cannot be had, or cannot be compared, is refused" {
	data a 10
	data b 10
	sha256sum b >sums
	for options in "--digest md5" "--verify sha256" "--verify sha256:00" "--verify-file sums" "--verify-file none" \
		"--lane kernel --digest sha256" "--lane kernel --verify-written" "--verify crc32c:00000000 --verify crc32c:00000001"; do
		refuses 2 $options a b
		refuses 2 $options --report report a b c
	done
	for sink in null: mem: - /dev/full tcp:127.0.0.1:1; do
		refuses 2 --verify-written a c "$sink"
		says "is no regular file and no block device"
	done
	refuses 5 --require-zero-copy --digest sha256 a b
}
