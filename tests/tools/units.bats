#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The units of systemd that `make install` leaves: they name the installed command, and systemd understands them.

setup() {
	root=$BATS_TEST_TMPDIR/root
	meson install -C "$USPLICE_BUILD_DIR" --no-rebuild --quiet --destdir "$root"
	service=$(find "$root" -name 'usplice-relay@.service')
	socket=$(find "$root" -name 'usplice-relay@.socket')
	mounter=$(find "$root" -name 'usplice-mount@.service')
}

needs_systemd() {
	systemd-analyze security --offline=yes --help >/dev/null 2>&1 || skip "needs systemd-analyze of version 250"
}

command_of() {
	sed -n 's/^ExecStart="\([^"]*\)".*/\1/p' "$1"
}

# The same units, but starting the command that was built, where systemd-analyze finds them.
use_built_command() {
	mkdir "$BATS_TEST_TMPDIR/units"
	export SYSTEMD_UNIT_PATH=$BATS_TEST_TMPDIR/units:
	cp "$socket" "$service" "$mounter" "$BATS_TEST_TMPDIR/units"
	sed -i "s|^ExecStart=\"[^\"]*\"|ExecStart=\"$USPLICE\"|" "$BATS_TEST_TMPDIR/units/usplice-mount@.service"
	sed -i "s|^ExecStart=\"[^\"]*\"|ExecStart=\"$USPLICE\"|" "$BATS_TEST_TMPDIR/units/usplice-relay@.service"
}

# names_of SET: the system calls in a set of systemd's, of which some contain others; or the one that is named.
names_of() {
	[[ $1 == @* ]] || {
		echo "$1"
		return
	}
	systemd-analyze --no-pager syscall-filter "$1" | sed '1d; s/^ *//; /^#/d; /^$/d' | while read -r name; do
		names_of "$name"
	done
}

# The calls that SystemCallFilter= of the service lets through: lists to add, and with ~ lists to take away, in their order.
calls_allowed() {
	local lines sets set
	: >sum
	mapfile -t lines < <(sed -n 's/^SystemCallFilter=//p' "$service")
	for sets in "${lines[@]}"; do
		for set in ${sets#\~}; do names_of "$set"; done >these
		if [[ $sets == ~* ]]; then grep -vxFf these sum >next; else cat sum these >next; fi
		mv next sum
	done
	sort -u sum
}

@test "the service starts the command that is installed" {
	[ -x "$root$(command_of "$service")" ]
	[ "$(dirname "$service")" = "$(dirname "$socket")" ]
}

@test "systemd takes a port, a path, and a name with an address beside it" {
	needs_systemd
	use_built_command
	mkdir "$BATS_TEST_TMPDIR/units/usplice-relay@db.socket.d"
	printf '[Socket]\nListenStream=5432\n' >"$BATS_TEST_TMPDIR/units/usplice-relay@db.socket.d/address.conf"
	for instance in 5432 /run/db.sock; do
		for type in socket service; do
			unit=$(systemd-escape --template="usplice-relay@.$type" "$instance")
			run systemd-analyze verify --man=no --recursive-errors=no "$unit"
			echo "$output"
			[ "$status" -eq 0 ]
			[[ $output != *usplice-relay* ]]
		done
	done
	systemd-analyze verify --man=no usplice-relay@db.socket # warns that "db" is no address
}

@test "systemd understands the service that mounts, and nothing warns" {
	needs_systemd
	use_built_command
	for instance in disk 'a-b'; do
		run systemd-analyze verify --man=no --recursive-errors=no "usplice-mount@$instance.service"
		echo "$output"
		[ "$status" -eq 0 ]
		[[ $output != *usplice-mount* ]]
	done
}

# What the service manager would do: the settings of the instance, the command, its capabilities, and the end.
@test "the service mounts, with no more capabilities than its unit leaves it" {
	[ "$(id -u)" -eq 0 ] || skip "only the superuser mounts"
	command -v setpriv >/dev/null || skip "no setpriv"
	"$USPLICE" list --names features | grep -qx mount || skip "cannot mount here"
	use_built_command
	cd "$BATS_TEST_TMPDIR"
	mkdir mnt
	head -c 300000 /dev/urandom >source
	printf 'SOURCE=%s\nMOUNTPOINT=%s\nOPTIONS=--rw --allow-other\n' "$PWD/source" "$PWD/mnt" >disk.conf
	local unit=units/usplice-mount@.service command caps
	command=$(sed -n 's/^ExecStart=//p' "$unit")
	caps=$(sed -n 's/^CapabilityBoundingSet=//p' "$unit" | sed 's/CAP_/+/g; s/ /,/g' | tr '[:upper:]' '[:lower:]')
	grep -qx 'NoNewPrivileges=yes' "$unit"
	chmod 4755 source
	chown 1:1 source
	chmod 4755 source
	(
		eval "$(sed 's/=\(.*\)/="\1"/' disk.conf)"
		eval "exec setpriv --bounding-set=-all,$caps --no-new-privs $command" 3>&-
	) &
	local job=$!
	for _ in {1..600}; do
		mountpoint -q mnt && break
		sleep 0.1
	done
	cmp source mnt/source
	printf 'written' | dd of=mnt/source conv=notrunc status=none
	[ "$(head -c 7 source)" = written ]
	[ "$(stat -c %a source)" = 755 ]
	kill -TERM "$job"
	wait "$job"
	! mountpoint -q mnt
}

@test "systemd refuses the service without its command" {
	needs_systemd
	use_built_command
	sed -i "s|^ExecStart=\"[^\"]*\"|ExecStart=\"$BATS_TEST_TMPDIR/nothing\"|" "$BATS_TEST_TMPDIR/units/usplice-relay@.service"
	run systemd-analyze verify --man=no --recursive-errors=no usplice-relay@5432.service
	[ "$status" -ne 0 ]
	[[ $output == *nothing* ]]
}

@test "the service is shut in: an exposure of at most 2 of 10" {
	needs_systemd
	use_built_command
	systemd-analyze security --no-pager --offline=yes --threshold=20 usplice-relay@5432.service
}

@test "the filter of the service leaves the calls that move bytes, and none that change the system" {
	needs_systemd
	cd "$BATS_TEST_TMPDIR"
	calls_allowed >allowed
	for call in splice tee vmsplice sendmsg recvmsg readv writev pipe2 fcntl ioctl accept4 connect bind listen setsockopt \
		epoll_wait epoll_ctl eventfd2 ppoll mmap madvise memfd_create clone3 futex rt_sigtimedwait \
		io_uring_setup io_uring_enter io_uring_register sched_getscheduler sched_setscheduler; do
		grep -qx "$call" allowed || { echo "$call is not allowed"; false; }
	done
	for call in mount ptrace bpf init_module setuid chroot reboot sched_setaffinity setpriority; do
		! grep -qx "$call" allowed || { echo "$call is allowed"; false; }
	done
}

@test "a packager says where the units go, or that they are left out" {
	cd "$BATS_TEST_TMPDIR"
	meson setup absolute "$USPLICE_SOURCE_DIR" -Dtests=false -Dman=disabled -Dsystemdsystemunitdir=/elsewhere
	meson introspect absolute --installed | grep -q '"/elsewhere/usplice-relay@.service"'
	meson setup without "$USPLICE_SOURCE_DIR" -Dtests=false -Dman=disabled -Dsystemdsystemunitdir=
	! meson introspect without --installed | grep -q usplice-relay
}
