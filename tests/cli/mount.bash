# SPDX-License-Identifier: MIT
# What the tests of mounts share, besides support.bash.

load support

setup() {
	enter_directory
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

# needs KIND NAME...: skip where the command has no such parts.
needs() {
	local kind=$1 name
	shift
	for name; do
		"$USPLICE" list --names "$kind" | grep -qx "$name" || skip "built without $name"
	done
}
