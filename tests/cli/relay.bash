# SPDX-License-Identifier: MIT
# What the tests of the relay share, besides support.bash: a relay, and the servers and clients around it.

load support

peer() {
	timeout 100 python3 "$BATS_TEST_DIRNAME/relay_peer.py" "$@"
}

# serve NAME ROLE ADDRESS [ARGUMENT]: a server of relay_peer.py, which writes to NAME.log; its address is $at[NAME], its
# process id $server[NAME].
declare -gA at server
serve() {
	local name=$1
	shift
	rm -f "$name.log" # of a server of that name before
	python3 "$BATS_TEST_DIRNAME/relay_peer.py" "$@" >"$name.log" 2>"$name.err" 3>&- &
	server[$name]=$!
	eventually grep -qs '^at ' "$name.log"
	at[$name]=$(sed -n 's/^at //p' "$name.log")
}

# logs NAME LINE: eventually that server has written this line.
logs() {
	eventually grep -qx "$2" "$1.log" || {
		cat "$1.log"
		return 1
	}
}

# launch COMMAND...: a relay in the background, by whatever starts it. Its process id is $job, what it says is in job.err,
# where it listens is $here, and where it serves metrics, if it does, $metrics. It has begun when that has been said; with --quiet
# use begin.
launch() {
	begin "$@"
	eventually grep -qs 'usplice: relay: listening at ' job.err || {
		cat job.err
		return 1
	}
	here=$(sed -n 's/^.*usplice: relay: listening at //p' job.err | head -n 1)
	metrics=$(sed -n 's/^.*usplice: relay: metrics at //p' job.err)
}

begin() {
	rm -f job.out job.err # of a relay before, which has said what is waited for
	env --default-signal=INT,QUIT,TERM,HUP,USR1 "$@" >job.out 2>job.err 3>&- &
	job=$!
}

# relay ARGUMENTS: launch "usplice relay".
relay() {
	launch "$USPLICE" relay "$@"
}

# usage ARGUMENTS: a relay that is not to begin, with standard error in $stderr.
usage() {
	run --separate-stderr timeout "$patience" "$USPLICE" relay "$@"
}

# metric NAME: one number of the metrics.
metric() {
	curl -sSf --max-time "$patience" "http://$metrics/metrics" | sed -n "s/^usplice_relay_$1 //p"
}

# shows NAME VALUE: the metric has it now.
shows() {
	[ "$(metric "$1")" = "$2" ]
}

# ask TEXT [ADDRESS [SOURCE]]: say TEXT and the end to the relay; what comes back goes to standard output.
ask() {
	printf %s "$1" | peer ask "${2:-$here}" ${3:+"$3"}
}

# hold FD: a connection to the relay that stays open; it is descriptor FD of the test.
hold() {
	eval "exec $1<>/dev/tcp/${here%:*}/${here##*:}"
}

# stops_at_once: a second SIGTERM ends it although there are connections.
stops_at_once() {
	kill -TERM "$job"
	eventually grep -q "connections to end (a second signal closes them)" job.err
	stops 0
}

# stops CODE: SIGTERM ends it with that exit code.
stops() {
	kill -TERM "$job"
	finish "$1"
}
