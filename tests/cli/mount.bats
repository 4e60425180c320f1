#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice mount: sources as files that other programs read.

load support

setup() {
	: "${USPLICE:?names the command to test}"
	command_dir=$(mktemp -d)
	faulty=
	chmod 755 "$command_dir"
	cd "$command_dir" || return
	umask 022
	can_mount
	mkdir mnt
	touch file
}

# show ARGUMENTS: mount in the background, with standard error in $stderr.
show() {
	run --separate-stderr timeout "$patience" "$USPLICE" mount --background "$@"
}

# serve ARGUMENTS: mount in the foreground; $job is its process id. The last argument is the mountpoint.
serve() {
	local point=${*: -1}
	env --default-signal=INT,QUIT,TERM,HUP,USR1 "$USPLICE" mount "$@" >job.out 2>job.err 3>&- &
	job=$!
	eventually mountpoint -q "$point" || {
		cat job.err
		return 1
	}
}

# status_of POINT FILTER: a part of the status.
status_of() {
	"$USPLICE" mount --status --json "$1" | jq -r "$2"
}

@test "a file is seen in a directory, and can be read as any other" {
	data source 3000001
	serve source mnt
	[ "$(ls mnt)" = source ]
	[ "$(stat -c '%s %a' mnt/source)" = "3000001 444" ]
	same source mnt/source
	kill -TERM "$job"
	finish 0
	never mountpoint -q mnt
}

@test "a file is seen in place of a regular file" {
	data source 100001
	show source file
	exits 0
	same source file
	umount file
	[ "$(stat -c %s file)" -eq 0 ]
}
