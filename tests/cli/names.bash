# SPDX-License-Identifier: MIT
# A name server of the test's own that answers at once, late or never (name_server.py). It has a network and a view of /etc of its
# own, which go when it ends.

# start_name_server: in namespaces, which need the superuser or a kernel that lets users have their own. What ran in $inside "$@" sees
# the names, and ./asked has a line for each question.
start_name_server() {
	own=(--net --mount)
	[ "$(id -u)" -eq 0 ] || own+=(--map-root-user)
	unshare "${own[@]}" true 2>/dev/null || skip "cannot make namespaces here"
	echo "hosts: dns" >nsswitch.conf
	printf '%s\n' "nameserver 127.0.0.1" "options timeout:30 attempts:5" >resolv.conf
	# shellcheck disable=SC2016
	unshare "${own[@]}" sh -ec '
		ip link set lo up
		mount --bind resolv.conf "$(readlink -f /etc/resolv.conf)"
		mount --bind nsswitch.conf /etc/nsswitch.conf
		exec python3 "$0"' "$BATS_TEST_DIRNAME/name_server.py" >asked 2>server.err 3>&- &
	names=$!
	eventually grep -qs "^at " asked || {
		cat server.err
		return 1
	}
	# shellcheck disable=SC2016
	inside=(nsenter --target "$names" --net --mount sh -c 'cd "$0" && exec "$@"' "$PWD")
	[ "$(id -u)" -eq 0 ] || inside=("${inside[@]:0:3}" --user --preserve-credentials "${inside[@]:3}")
}

# Each test has a folder of its own, with the name server.
setup() {
	enter_directory
	start_name_server
}

# asked NAME: has somebody asked for the name?
asked() {
	grep -q "^$1 " asked
}
