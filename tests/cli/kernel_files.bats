#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Files that call themselves regular and are a function of the kernel's, or of a server's: /proc, /sys, cgroups, tracefs, FUSE.

load support

# root: may write to the kernel's own files.
root() {
	[ "$(id -u)" -eq 0 ] || skip "only root may do that"
}

# victim: a process of the test's own, whose files in /proc may be written to; $victim is its id.
victim() {
	sleep "$patience" 3>&- &
	victim=$!
}

# arrives_in FILE: what is in ./a arrives there, whoever opened it and on every lane; ./was is put back in between.
arrives_in() {
	local options
	for options in "" "--lane user" --append "--seek 0" "--limit-rate 1M"; do
		cat was >"$1"
		# shellcheck disable=SC2086
		copy $options a "$1"
		exits 0
		[ -z "$stderr" ]
		cmp a "$1"
	done
	cat was >"$1"
	run --separate-stderr sh -c '"$USPLICE" copy a - >"$1"' sh "$1"
	exits 0
	cmp a "$1"
	cat was >"$1"
	copy a null: "$1"
	exits 0
	cmp a "$1"
	cat was >"$1"
	"$USPLICE" copy - "$1" < <(cat a)
	cmp a "$1"
}

@test "a file of /proc that has positions for its readers only is written to" {
	root
	victim
	cat "/proc/$victim/timerslack_ns" >was
	[ -s was ] || skip "no timer slack here"
	echo 70000 >a
	arrives_in "/proc/$victim/timerslack_ns"
}

@test "the name of the command itself can be written, whoever runs it" {
	printf hello >a
	for options in "" "--lane user" "--seek 3" "--sync"; do
		# shellcheck disable=SC2086
		as_nobody "$USPLICE" copy --json $options a /proc/self/comm 2>report
		[ "$(jq -c '[.sinks[0].bytes, .sinks[0].error]' report)" = '[5,null]' ]
	done
	run --separate-stderr sh -c 'exec "$USPLICE" copy a - >/proc/self/comm'
	exits 0
}

@test "a file of /proc that may be written at an offset is written to" {
	victim
	cat "/proc/$victim/oom_score_adj" >was
	echo 700 >a
	root # to lower it again
	arrives_in "/proc/$victim/oom_score_adj"
}

@test "a file of /proc/sys is written to" {
	root
	unshare --uts true || skip "no namespaces here"
	echo usplice.test >a
	run unshare --uts sh -e -c 'for options in "" "--lane user" "--append" "--seek 0"; do
		echo was >/proc/sys/kernel/hostname
		"$USPLICE" copy $options a /proc/sys/kernel/hostname
		[ "$(cat /proc/sys/kernel/hostname)" = usplice.test ]
		echo was >/proc/sys/kernel/hostname
		"$USPLICE" copy $options a - >/proc/sys/kernel/hostname
		[ "$(cat /proc/sys/kernel/hostname)" = usplice.test ]
	done'
	[ "$status" -eq 0 ]
}

@test "a file of /sys is written to" {
	root
	local file=/sys/kernel/mm/transparent_hugepage/enabled
	[ -w $file ] || skip "cannot write to /sys here"
	sed 's/.*\[\(.*\)\].*/\1/' $file >a # what it is already
	for options in "" "--lane user" --append "--seek 0"; do
		# shellcheck disable=SC2086
		copy $options a $file
		exits 0
	done
	"$USPLICE" copy a - >$file
	grep -q "\[$(cat a)\]" $file
}

@test "a process is put into a cgroup" {
	root
	local group
	group=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/usplice-test-$$
	mkdir "$group" || skip "no cgroup2 here"
	victim
	echo "$victim" >a
	copy a "$group/cgroup.procs"
	code=$status
	members=$(cat "$group/cgroup.procs")
	copy "$group/cgroup.procs" b
	kill "$victim"
	eventually rmdir "$group"
	[ "$code" -eq 0 ]
	[ "$members" = "$victim" ]
	[ "$(cat b)" = "$victim" ]
}

@test "files of tracefs are written to and read" {
	root
	run unshare --mount sh -e -c 'mount -t tracefs usplice-test /sys/kernel/tracing || exit 77
		own=/sys/kernel/tracing/instances/usplice-test-$$
		mkdir $own || exit 77
		trap "rmdir $own" EXIT
		ls $own/events/sched/sched_switch >/dev/null || exit 77
		echo sched:sched_switch >a
		"$USPLICE" copy a $own/set_event # without positions for writing
		[ "$(cat $own/set_event)" = sched:sched_switch ]
		"$USPLICE" copy $own/set_event b
		cmp a b
		: >$own/set_event
		echo usplice was here >mark
		"$USPLICE" copy mark $own/trace_marker # without any
		"$USPLICE" copy $own/trace c
		grep "usplice was here" c
		"$USPLICE" copy --lane user $own/trace d
		grep "usplice was here" d'
	echo "$output"
	[ "$status" -ne 77 ] || skip "no tracefs here"
	[ "$status" -eq 0 ]
}

@test "what cannot be written is told as the kernel says it" {
	victim
	printf abc >a
	copy a "/proc/$victim/oom_score_adj"
	exits 4
	says "sink /proc/$victim/oom_score_adj: at byte 0: Invalid argument"
	printf 'a%.0s' {1..100} >a
	copy a /proc/self/uid_map
	exits 4
	says "sink /proc/self/uid_map: at byte 0: "
	never says "Illegal seek"
}

# --- Regular files without positions ---------------------------------------------------------------------------------

@test "a regular file without positions is copied whole, also where its size is too small" {
	mkdir real
	data real/a 102500
	for faults in nonseekable "direct nonseekable" "direct nonseekable size=0" "direct nonseekable size=1000" \
		"direct nonseekable size=-1000" "direct nonseekable growing" "nonseekable growing"; do
		echo "--- $faults"
		# shellcheck disable=SC2086
		faulty_disk $faults
		for options in "" "--lane user" "--limit-rate 10M"; do
			# shellcheck disable=SC2086
			copy $options faulty/a b
			exits 0
			same real/a b
			# shellcheck disable=SC2086
			"$USPLICE" copy $options - b <faulty/a
			same real/a b
		done
		copy faulty/a b c
		exits 0
		same real/a b
		same real/a c
		copy --skip 1000 --count 50000 faulty/a b
		exits 0
		tail -c +1001 real/a | head -c 50000 | cmp - b
	done
}

@test "a regular file without positions is written whole, and what needs positions is refused" {
	data a 102500
	faulty_disk nonseekable
	for options in "" "--lane user" "--lane kernel" --atomic --sync; do
		rm -f real/b
		# shellcheck disable=SC2086
		copy $options a faulty/b
		exits 0
		same a real/b
		# shellcheck disable=SC2086
		copy $options a faulty/b
		exits 0
		same a real/b
	done
	"$USPLICE" copy a - >>faulty/b
	cat a a | cmp - real/b
	copy --seek 10 a faulty/b
	exits 2
	says "sink faulty/b: has no positions, so --seek is not possible"
	cat a a | cmp - real/b
	copy --lane kernel faulty/b c
	exits 2
	says "--lane kernel: splice(2) cannot carry the bytes of faulty/b to c"
}
