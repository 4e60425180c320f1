# SPDX-License-Identifier: MIT
# What the tests of the command share. Each test runs in a directory of its own, which every user may enter.

bats_require_minimum_version 1.5.0

setup() {
	enter_directory
}

# enter_directory: a directory of the test's own, in which it runs. For the setup of those that do more.
enter_directory() {
	: "${USPLICE:?names the command to test}"
	command_dir=$(mktemp -d)
	faulty= # the process of a faulty disk
	chmod 755 "$command_dir"
	cd "$command_dir" || return
	umask 022
}

teardown() {
	remove_all
}

# remove_all: end what still runs, and remove the test's directory.
remove_all() {
	local job
	for job in $(jobs -p); do
		kill -9 "$job" 2>/dev/null || true
	done
	cd / || return
	if mountpoint -q "$command_dir/small"; then
		umount "$command_dir/small"
	fi
	end_mounts
	end_faulty_disk
	rm -rf "$command_dir"
}

# can_mount: FUSE can be used here, and the command can.
can_mount() {
	"$USPLICE" list --names features | grep -qx mount || skip "cannot mount here"
}

# end_mounts: take what the command has mounted below the test's directory out of the tree.
end_mounts() {
	local device point type rest
	while read -r device point type rest; do
		if [[ $type == fuse.usplice && $point == "$command_dir"/* ]]; then
			umount -l "$point" 2>/dev/null || fusermount3 -q -u -z "$point" || true
		fi
	done </proc/mounts
}

# data NAME LENGTH: a file of random bytes.
data() {
	head -c "$2" /dev/urandom >"$1"
}

# copy ARGUMENTS: run the command with standard error in $stderr.
copy() {
	run --separate-stderr "$USPLICE" copy "$@"
}

# exits CODE and says TEXT: about the last run.
exits() {
	[ "$status" -eq "$1" ] || {
		echo "exit code $status instead of $1; standard error: $stderr"
		return 1
	}
}

says() {
	[[ $stderr == *"$1"* ]] || {
		echo "standard error without '$1': $stderr"
		return 1
	}
}

# never COMMAND: it must fail. (A plain ! would not end the test.)
never() {
	if "$@"; then
		echo "came true: $*"
		return 1
	fi
}

# same A B: the same bytes.
same() {
	cmp "$1" "$2"
}

# How long, in seconds, a test waits for what has to come. Nothing else depends on it: what never comes takes as long.
patience=60

# eventually COMMAND: until it succeeds.
eventually() {
	local deadline=$((SECONDS + patience))
	until "$@"; do
		if ((SECONDS >= deadline)); then
			echo "never came true: $*"
			return 1
		fi
		sleep 0.02
	done
}

# hold: ./held, a FIFO from which a copy gets what feed gives it, and so is under way for as long as the test wants.
hold() {
	[ -p held ] || mkfifo held
	exec 9<>held
}

# feed LENGTH: so many bytes, when they have been taken.
feed() {
	timeout "$patience" head -c "$1" /dev/zero >&9
}

# stays COMMAND: it succeeds for a second.
stays() {
	for _ in {1..20}; do
		sleep 0.05
		"$@"
	done
}

# be_busy: the command is another one, whose threads are busy as long as ./busy is there, whatever the machine gives them.
be_busy() {
	USPLICE=${USPLICE_BUSY:?names the command that busy.c makes}
	touch busy
}

# policies: how all threads of $job are scheduled, each kind once: 0 is SCHED_OTHER, 3 SCHED_BATCH, 5 SCHED_IDLE.
policies() {
	sed 's/.*) //' "/proc/$job/task/"*/stat | cut -d ' ' -f 39 | sort -u | tr '\n' ' '
}

# is_scheduled POLICIES: so and not otherwise.
is_scheduled() {
	[ "$(policies)" = "$1 " ]
}

# has_bytes FILE LENGTH: at least; FILE may be a pattern.
has_bytes() {
	# shellcheck disable=SC2086
	[ "$(stat -c %s $1 2>/dev/null || echo 0)" -ge "$2" ]
}

# start ARGUMENTS: the command in the background with the signals of a terminal's; $job is its process id. Returns when
# it takes signals.
start() {
	rm -f job.out job.err # of a command before
	env --default-signal=INT,QUIT,TERM,HUP,USR1 "$USPLICE" copy "$@" >job.out 2>job.err 3>&- &
	job=$!
	eventually takes_signals "$job"
}

# SIGUSR1, the tenth signal, is blocked as soon as there is somebody to take it. While a process forks all are, also
# SIGSEGV, the eleventh.
takes_signals() {
	local mask
	mask=$(sed -n 's/^SigBlk:\t//p' "/proc/$1/status" 2>/dev/null) || return 0
	(((0x${mask:-0} >> 9 & 3) == 1))
}

# is_moving: $job has moved bytes.
is_moving() {
	kill -USR1 "$job" && grep -qE '^usplice: [1-9][0-9]* bytes' job.err
}

# finish CODE [PROCESS ERRORS]: wait for $job, whose standard error is in job.err, or for another process.
finish() {
	local code=0
	wait "${2:-$job}" || code=$?
	[ "$code" -eq "$1" ] || {
		echo "exit code $code instead of $1; standard error: $(cat "${3:-job.err}")"
		return 1
	}
}

# searches_no_leaks: a sanitizer would need ptrace and /proc itself for that.
searches_no_leaks() {
	export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
}

# tracing [COMMAND...]: strace can be used, where COMMAND runs what follows it.
tracing() {
	command -v strace >/dev/null || skip "no strace"
	"$@" strace -o /dev/null true 2>/dev/null || skip "cannot trace here"
	searches_no_leaks
}

# free_port: a port that nobody uses now, at any address, and that the kernel will not choose for somebody else.
free_port() {
	python3 -c '
import random, socket
with open("/proc/sys/net/ipv4/ip_local_port_range") as range_:
    first = int(range_.read().split()[0])
while True:
    port = random.randrange(1024, first) if first > 2048 else 0
    with socket.socket() as s:
        try:
            s.bind(("", port))
        except OSError:
            continue
        print(s.getsockname()[1])
        break'
}

# as_nobody COMMAND: without the rights of the superuser. In a build for coverage it has a place of its own for its counts.
as_nobody() {
	if [ "$(id -u)" -ne 0 ]; then
		"$@"
	else
		mkdir -p -m 777 counts
		GCOV_PREFIX=counts setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
	fi
}

# small_disk LENGTH: a file system of that size in ./small.
small_disk() {
	mkdir small
	mount -t tmpfs -o "size=$1" usplice-test small 2>/dev/null || skip "cannot mount here"
}

# faulty_disk [FAULT]...: a file system in ./faulty that shows what is in ./real, with these faults (tests/fuse/faulty_fs.c).
faulty_disk() {
	[ -n "$FAULTY_FS" ] || skip "built without libfuse3"
	end_faulty_disk
	mkdir -p real faulty
	chmod 777 real
	: >faulty.out
	"$FAULTY_FS" real faulty "$@" >faulty.out 2>faulty.err 3>&- &
	faulty=$!
	disown # it is nothing that a test waits for
	eventually faulty_disk_is_there && [ -s faulty.out ] || skip "cannot use FUSE here: $(cat faulty.err)"
}

# It says so when it is. One that cannot serve has ended.
faulty_disk_is_there() {
	[ -s faulty.out ] || ! kill -0 "$faulty" 2>/dev/null
}

# end_faulty_disk: where there is one. A server that was killed leaves it mounted.
end_faulty_disk() {
	if [ -n "$faulty" ]; then
		fusermount3 -q -u -z "$command_dir/faulty" || true
		kill -9 "$faulty" 2>/dev/null || true # it would serve what is still open
		faulty=
	fi
}
