#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What setup-debian would do, on a machine whose package tools are stand-ins that write down how they were called.

stand_in() {
	printf '#!/bin/bash\n%s\n' "$2" >"$BATS_TEST_TMPDIR/bin/$1"
	chmod +x "$BATS_TEST_TMPDIR/bin/$1"
}

setup() {
	mkdir "$BATS_TEST_TMPDIR/bin"
	cd "$BATS_TEST_TMPDIR"
	export CALLS=$BATS_TEST_TMPDIR/calls
	: >calls
	stand_in dpkg-query '[ "${@: -1}" = "$LACKS" ] || printf installed'
	stand_in apt-get 'echo "apt-get $*" >>"$CALLS"; [ "$BREAKS" != apt-get ]'
	stand_in id 'echo "${USER_ID-0}"'
	# Only these can be found, and sudo only where a test makes one.
	for tool in bash env sleep; do ln -s "$(command -v $tool)" bin/$tool; done
}

debian() {
	PATH=$BATS_TEST_TMPDIR/bin run "$USPLICE_SOURCE_DIR/tools/setup-debian" "$@" </dev/null
	echo "$output"
	cat calls
}

@test "nothing is called where nothing is missing" {
	debian test
	[ "$status" -eq 0 ]
	[ ! -s calls ]
}

@test "what is missing is installed, and only that" {
	LACKS=bats debian test
	[ "$status" -eq 0 ]
	[ "$(tail -n 1 calls)" = "apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends bats" ]
	[ "$(head -n 1 calls)" = "apt-get -q -o DPkg::Lock::Timeout=600 update" ]
}

@test "building alone does not need what tests need" {
	LACKS=bats debian build
	[ "$status" -eq 0 ]
	[ ! -s calls ]
}

@test "an ordinary user goes by sudo, and is not asked for a password where nobody can answer" {
	stand_in sudo 'echo "sudo $1" >>"$CALLS"; shift; exec "$@"'
	USER_ID=1000 LACKS=jq debian test
	[ "$status" -eq 0 ]
	grep -qx 'sudo -n' calls
	[ "$(tail -n 1 calls)" = "apt-get -q -o DPkg::Lock::Timeout=600 install -y --no-install-recommends jq" ]
}

@test "an ordinary user without sudo is told what to install" {
	USER_ID=1000 LACKS=jq debian test
	[ "$status" -eq 1 ]
	[ "$output" = "setup-debian: not root, and there is no sudo. Please install: jq" ]
}

@test "a failure of apt-get is told" {
	BREAKS=apt-get LACKS=jq debian test
	[ "$status" -eq 1 ]
	[ "${lines[-1]}" = "setup-debian: apt-get update failed. Please install: jq" ]
}

# busy_apt TIMES: an apt-get that finds another one at work so many times, in each of its commands.
busy_apt() {
	stand_in apt-get 'echo "apt-get $*" >>"$CALLS"
		IFS= read -r -d "" done <"$CALLS.${@: -1}"
		echo x >>"$CALLS.${@: -1}"
		[ "${#done}" -lt '$((2 * $1))' ] || exit 0
		echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (apt-get)" >&2
		exit 100'
	: >calls.update
	: >calls.jq
}

@test "another apt that is at work is waited for, and said once" {
	busy_apt 2
	LACKS=jq debian test
	[ "$status" -eq 0 ]
	[ "$(grep -c ' update$' calls)" -eq 3 ]
	[ "$(grep -c ' jq$' calls)" -eq 3 ]
	[ "$(grep -c 'setup-debian: another apt is at work; waiting for it, at most 600 seconds' <<<"$output")" -eq 2 ]
	[ "$(grep -c 'E: Could not get lock' <<<"$output")" -eq 4 ]
}

@test "another apt that is at work for too long is told" {
	busy_apt 1000
	APT_PATIENCE_S=1 LACKS=jq debian test
	[ "$status" -eq 1 ]
	[ "${lines[-2]}" = "setup-debian: another apt was at work for 1 seconds" ]
	[ "${lines[-1]}" = "setup-debian: apt-get update failed. Please install: jq" ]
}

# with_locks COMMAND FILE...: while somebody else has these locks, which is until the command has complained.
with_locks() {
	python3 - "$@" <<-'PYTHON'
		import fcntl, subprocess, sys
		locks = [open(path, "w") for path in sys.argv[2:]]
		for lock in locks:
		    fcntl.lockf(lock, fcntl.LOCK_EX)
		command = subprocess.Popen(sys.argv[1:2], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
		                           text=True, close_fds=True)
		for line in command.stdout:
		    print(line, end="", flush=True)
		    for lock in locks:
		        if f"Could not get lock {lock.name}" in line:
		            fcntl.lockf(lock, fcntl.LOCK_UN)
		sys.exit(command.wait())
	PYTHON
}

# A repository with one small package, and an apt that knows no other and installs nothing, with all its files here.
small_apt() {
	local here=$BATS_TEST_TMPDIR
	mkdir -p package/DEBIAN repository state/lists/partial cache/archives/partial dpkg
	printf '%s\n' "Package: jq" "Version: 99" "Architecture: all" "Maintainer: nobody" "Description: none" >package/DEBIAN/control
	dpkg-deb --root-owner-group -b package repository/jq.deb >/dev/null
	{
		cat package/DEBIAN/control
		echo "Filename: ./jq.deb"
		echo "Size: $(stat -c %s repository/jq.deb)"
		echo "SHA256: $(sha256sum <repository/jq.deb | cut -d ' ' -f 1)"
	} >repository/Packages
	: >dpkg/status
	echo "deb [trusted=yes] file:$here/repository ./" >sources.list
	cat >apt.conf <<-END
		Dir::Etc::sourcelist "$here/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::State "$here/state";
		Dir::State::status "$here/dpkg/status";
		Dir::Cache "$here/cache";
		APT::Sandbox::User "root";
		APT::Get::Download-Only "true";
	END
	export APT_CONFIG=$here/apt.conf
}

@test "each lock that the real apt-get takes is waited for" {
	command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || skip "this is not a Debian machine"
	small_apt
	for tool in apt-get dpkg; do ln -sf "$(command -v $tool)" "bin/$tool"; done
	export USER_ID=0 LACKS=jq
	stand_in setup 'PATH=$BATS_TEST_TMPDIR/bin exec "$USPLICE_SOURCE_DIR/tools/setup-debian" test'
	for locks in state/lists/lock dpkg/lock-frontend dpkg/lock cache/archives/lock "state/lists/lock dpkg/lock-frontend"; do
		rm -f state/lists/*Packages cache/archives/*.deb
		run with_locks bin/setup $(for lock in $locks; do echo "$BATS_TEST_TMPDIR/$lock"; done)
		echo "$output"
		[ "$status" -eq 0 ]
		for lock in $locks; do
			[[ $output == *"Could not get lock $BATS_TEST_TMPDIR/$lock"* ]]
		done
	done
}

@test "another system is told what it needs, and goes on" {
	rm bin/dpkg-query
	debian build
	[ "$status" -eq 0 ]
	[[ $output == "setup-debian: this is not a Debian machine; what Debian calls gcc "*" has to be here." ]]
}
