#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice relay --metrics: for which hosts it answers, and whom it lets in when all places are taken.

load relay

# told STATUS URL OPTIONS: what curl gets.
told() {
	local code
	code=$(curl -s --max-time "$patience" -o answer -w '%{http_code}' "${@:2}")
	[ "$code" = "$1" ] || {
		echo "status $code instead of $1 for ${*:2}"
		return 1
	}
}

@test "a request for another host gets 421 and is told the remedy" {
	serve target echo 127.0.0.1:0
	relay --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	for path in / /metrics /status.json; do
		told 200 "http://$metrics$path"
		told 200 "http://localhost:${metrics##*:}$path"
		told 200 --http1.0 -H Host: "http://$metrics$path"
		told 421 --resolve "evil.example:${metrics##*:}:127.0.0.1" "http://evil.example:${metrics##*:}$path"
		grep -q -e --metrics-host answer
		never grep -q usplice_relay answer
	done
	stops 0
}

@test "--metrics-host names a host, as often as there are some" {
	serve target echo 127.0.0.1:0
	relay --metrics 127.0.0.1:0 --metrics-host Relay.Example --metrics-host other.example 127.0.0.1:0 "${at[target]}"
	told 200 -H 'Host: relay.example' "http://$metrics/metrics"
	told 200 -H 'Host: OTHER.example.:80' "http://$metrics/metrics"
	told 200 --proxy "http://$metrics" http://relay.example/metrics
	told 421 -H 'Host: example' "http://$metrics/metrics"
	told 421 --proxy "http://$metrics" http://evil.example/metrics
	stops 0
}

@test "metrics are for every host at a UNIX socket, and for numbers of IPv6" {
	serve target echo 127.0.0.1:0
	relay --metrics unix:numbers 127.0.0.1:0 "${at[target]}"
	told 200 --unix-socket numbers http://anything.example/metrics
	stops 0
	relay --metrics '[::1]:0' 127.0.0.1:0 "${at[target]}"
	told 200 "http://$metrics/metrics"
	told 421 -H 'Host: evil.example' "http://$metrics/metrics"
	stops 0
}

@test "a name that is none, or that nothing answers under, is a mistake of the command line" {
	for name in "" relay:9187 http://relay 'a b' '*'; do
		usage --metrics 127.0.0.1:0 --metrics-host "$name" 127.0.0.1:0 127.0.0.1:1
		exits 2
		says "usplice: relay: cannot serve metrics as '$name': this is no name of a host; it has no port and no scheme"
		[ "${#stderr_lines[@]}" -eq 1 ]
	done
	usage --metrics-host relay 127.0.0.1:0 127.0.0.1:1
	exits 2
	says "usplice: relay: --metrics-host needs --metrics"
	hosts=()
	for i in {1..65}; do
		hosts+=(--metrics-host "host$i")
	done
	usage --metrics 127.0.0.1:0 "${hosts[@]}" 127.0.0.1:0 127.0.0.1:1
	exits 2
	says "is one too many: at most 64 may be given"
}

@test "forty connections that say nothing keep nobody from the metrics" {
	serve target echo 127.0.0.1:0
	relay --metrics 127.0.0.1:0 127.0.0.1:0 "${at[target]}"
	for i in {20..59}; do
		eval "exec $i<>/dev/tcp/${metrics%:*}/${metrics##*:}"
	done
	told 200 "http://$metrics/metrics"
	for i in {20..59}; do
		eval "exec $i>&-"
	done
	stops 0
}
