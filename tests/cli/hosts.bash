# SPDX-License-Identifier: MIT
# Hosts with cables between them: network namespaces, which the test makes and removes.

# The names of this test's hosts begin with this.
net=usp$$

# networking: hosts can be made here.
networking() {
	[ "$(id -u)" -eq 0 ] || skip "only root makes network namespaces"
	command -v ip >/dev/null || skip "no ip"
	ip netns add "${net}try" 2>/dev/null || skip "cannot make network namespaces here"
	ip -n "${net}try" link add type veth || {
		ip netns del "${net}try"
		skip "cannot make cables here"
	}
	ip netns del "${net}try"
}

hosts=()

teardown() {
	local host
	# Also what runs in there ends, before its directory goes.
	for host in "${hosts[@]}"; do
		ip netns pids "$net$host" | xargs -r kill -9
		ip netns del "$net$host"
	done
	cd / && rm -rf "$command_dir"
}

host() {
	ip netns add "$net$1"
	hosts+=("$1")
	ip -n "$net$1" link set lo up
}

# cable A B NETWORK: A is NETWORK.1 and B is NETWORK.2 on it; its ends are called after the other host.
cable() {
	ip -n "$net$1" link add "to_$2" type veth peer name "to_$1" netns "$net$2"
	ip -n "$net$1" address add "$3.1/24" dev "to_$2"
	ip -n "$net$2" address add "$3.2/24" dev "to_$1"
	ip -n "$net$1" link set "to_$2" up
	ip -n "$net$2" link set "to_$1" up
}

# on HOST COMMAND...
on() {
	local host=$1
	shift
	ip netns exec "$net$host" "$@"
}
