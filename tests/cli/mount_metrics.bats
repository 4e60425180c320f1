#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice mount --metrics: what a mount tells of itself, to Prometheus and to people.

load mount
load pages

# ask PATH [ARGUMENT]...: what the mount answers, into ./answer.
ask() {
	curl -sS --max-time "$patience" --unix-socket numbers "${@:2}" "http://mount$1" >answer
}

# metric NAME: one number, as it is now.
metric() {
	ask /metrics
	awk -v name="$1" '$1 == name { print $2 }' answer
}

needs_curl() {
	command -v curl >/dev/null || skip "no curl"
}

@test "files are told by the way in which they are read, as --status tells it" {
	needs_curl
	data source 300000
	for options in "--no-passthrough plain" "--no-passthrough,--rw uncached"; do
		IFS=', ' read -ra words <<<"$options"
		way=${words[-1]}
		unset 'words[-1]'
		show "${words[@]}" --metrics unix:numbers source mnt
		exits 0
		same source mnt/source
		ask /metrics
		[ "$(grep '^usplice_mount_files' answer | grep -v ' 0$')" = "usplice_mount_files{way=\"$way\"} 1" ]
		[ "$("$USPLICE" mount --status --json mnt | jq -r '.sources[].way')" = "$way" ]
		umount mnt
		eventually test ! -e numbers
	done
}

@test "requests, bytes, errors and times are told to Prometheus" {
	needs_curl
	data source 300000
	data other 1000
	show --rw --no-passthrough --metrics unix:numbers source other mnt
	exits 0
	[ "$(metric 'usplice_mount_files{way="uncached"}')" -eq 2 ]
	same source mnt/source
	[ "$(metric 'usplice_mount_read_bytes_total{way="copied"}')" -eq 300000 ]
	dd if=/dev/zero of=mnt/other bs=1000 count=3 conv=notrunc,fsync status=none
	[ "$(metric 'usplice_mount_written_bytes_total{way="copied"}')" -eq 3000 ]
	[ "$(metric 'usplice_mount_requests_total{kind="write"}')" -eq 3 ]
	[ "$(metric 'usplice_mount_requests_total{kind="fsync"}')" -eq 1 ]
	[ "$(metric 'usplice_mount_request_seconds_count{kind="write"}')" -eq 3 ]
	[ "$(metric 'usplice_mount_request_seconds_bucket{kind="write",le="+Inf"}')" -eq 3 ]
	never rm -f mnt/other
	ask /metrics
	grep -qx 'usplice_mount_errors_total{errno="1",error="Operation not permitted"} 1' answer
	exec 7<mnt/source
	[ "$(metric usplice_mount_open_files)" -eq 1 ]
	[ "$(metric 'usplice_mount_opens_total{way="copied"}')" -eq 3 ]
	exec 7<&-
	umount mnt
	eventually test ! -e numbers
}

# is_settled FILE: its next change will have another time. Before that a page cache keeps nothing of it.
is_settled() {
	[ "$(($(date +%s%N) - $(stat -c %.9Z "$1" | tr -d .)))" -gt 100000000 ]
}

@test "what is no fault is no error" {
	needs_curl
	for options in "" --rw --direct; do
		data source 3000
		# shellcheck disable=SC2086
		show $options --metrics unix:numbers source mnt
		exits 0
		ls -l mnt
		same source mnt/source
		python3 -c '
import errno, os
for call in (lambda: os.getxattr("mnt/source", "security.capability"), lambda: os.listxattr("mnt/source")):
    try:
        call()
    except OSError as error:
        assert error.errno in (errno.ENODATA, errno.ENOTSUP), error'
		[ "$(metric 'usplice_mount_requests_total{kind="getxattr"}')" -gt 0 ]
		ask /metrics
		never grep '^usplice_mount_errors_total' answer
		never test -e mnt/missing
		ask /metrics
		grep '^usplice_mount_errors_total{errno="2"' answer
		umount mnt
		eventually test ! -e numbers
	done
}

@test "page caches and passthrough are told" {
	needs_curl
	data source 300000
	eventually is_settled source
	show --no-passthrough --metrics unix:numbers cached:source,budget=2M file
	exits 0
	same source file
	[ "$(metric usplice_mount_cache_budget_bytes)" -eq 2097152 ]
	[ "$(metric usplice_mount_cache_bytes)" -gt 0 ] # what the kernel has was given up behind the reader
	[ "$(metric usplice_mount_source_read_bytes_total)" -ge 300000 ]
	[ "$(metric 'usplice_mount_files{way="cached"}')" -eq 1 ]
	umount file
	eventually test ! -e numbers
	show --metrics unix:numbers source file
	exits 0
	same source file
	if [ "$(status_of file .passthrough)" = true ] && [ "$(status_of file '.sources[0].way')" = passthrough ]; then
		[ "$(metric 'usplice_mount_opens_total{way="passthrough"}')" -ge 1 ]
	fi
	umount file
}

@test "how far a copy is, is told before it is mounted" {
	needs_curl
	mkfifo pipe
	exec 9<>pipe
	"$USPLICE" mount --metrics unix:numbers pipe mnt 2>job.err 3>&- 9>&- &
	job=$!
	eventually test -S numbers
	data plain 100000
	cat plain >&9
	copied_some() {
		[ "$(metric usplice_mount_copying_done_bytes)" -ge 65536 ]
	}
	eventually copied_some
	[ "$(metric usplice_mount_copying_files)" -eq 1 ]
	exec 9>&-
	eventually mountpoint -q mnt
	same plain mnt/pipe
	[ "$(metric usplice_mount_copying_files)" -eq 0 ]
	umount mnt
	finish 0
	[ ! -e numbers ]
}

@test "Prometheus finds nothing wrong with its format and its names" {
	needs_curl
	command -v promtool >/dev/null || skip "needs promtool"
	data source 1000
	show --metrics unix:numbers source mnt
	exits 0
	cat mnt/source >/dev/null
	ask /metrics
	promtool check metrics <answer
	umount mnt
}

@test "each family has its help and its type, and no name is told twice" {
	needs_curl
	data source 1000
	show --rw --metrics unix:numbers source mnt
	exits 0
	cat mnt/source >/dev/null
	ask /metrics
	python3 - answer <<-'PYTHON'
		import re, sys
		helped, typed, seen = set(), {}, set()
		for line in open(sys.argv[1]):
		    if line.startswith("# HELP "):
		        helped.add(line.split()[2])
		    elif line.startswith("# TYPE "):
		        typed[line.split()[2]] = line.split()[3]
		    else:
		        series, value = line.rsplit(" ", 1)
		        assert series not in seen, series
		        seen.add(series)
		        name = series.split("{")[0]
		        family = re.sub("_(bucket|sum|count)$", "", name)
		        family = family if typed.get(family) == "histogram" else name
		        assert family in helped and family in typed, line
		        assert typed[family] != "counter" or name.endswith("_total"), line
		        float(value)
		assert helped == set(typed) and len(seen) > 30
	PYTHON
	umount mnt
}

@test "usplice-mount(1) explains every metric, and no other" {
	needs_curl
	data source 1000
	show --metrics unix:numbers source mnt
	exits 0
	ask /metrics
	umount mnt
	sed -n 's/^# TYPE usplice_mount_\([a-z_]*\) .*/\1/p' answer | sort >told
	sed -n '/^# METRICS/,/^# EXIT CODE/p' "$USPLICE_SOURCE_DIR/man/usplice-mount.1.scd" | grep '^_' | tr ',' '\n' |
		sed 's/^ *_//; s/_ *$//' | sort >explained
	diff told explained
}

@test "the page and its status are served, under the names that are given" {
	needs_curl
	data source 1000
	serve --metrics 127.0.0.1:0 --metrics-host numbers.example source mnt
	local at
	at=$(sed -n 's/^usplice: mount: metrics at //p' job.err)
	curl -sS "http://$at/" | grep -q '<h1>usplice mount</h1>'
	curl -sS "http://$at/status.json" | jq -e '.status.files == 1 and .status.sources[0].name == "source"'
	curl -sS -H 'Host: numbers.example' "http://$at/metrics" | grep -q '^usplice_mount_files'
	curl -sS -H 'Host: elsewhere.example' "http://$at/metrics" | grep -q '^Misdirected'
	kill -TERM "$job"
	finish 0
}

# A mount of a file that was read once, with its page at $port.
show_page() {
	port=$(free_port)
	data source 1000
	show --no-passthrough --metrics "127.0.0.1:$port" source mnt
	exits 0
	same source mnt/source
}

@test "the page shows the files, in a browser" {
	show_page
	browse shows_the_files
	umount mnt
}

@test "the page fits every window, and its text can be read on light and on dark" {
	show_page
	browse fits_every_window
	umount mnt
}

@test "the page says when the mount does not answer any more, and when it does again" {
	show_page
	watch_the_end
	umount mnt
	eventually test -e here.lost
	show --metrics "127.0.0.1:$port" source mnt
	exits 0
	finish 0
	umount mnt
}

@test "who asks for metrics and takes nothing holds no reader back" {
	needs_curl
	data source 3000000
	show --no-passthrough --metrics unix:numbers source mnt
	exits 0
	python3 - <<-'PYTHON' &
		import socket, time
		sockets = [socket.socket(socket.AF_UNIX) for _ in range(40)]
		for one in sockets:
		    one.connect("numbers")
		open("connected", "w").close()
		time.sleep(1000)
	PYTHON
	local asker=$!
	eventually test -e connected
	for _ in 1 2 3; do
		same source mnt/source
	done
	kill "$asker"
	umount mnt
}

@test "an address that cannot be had is told before it is mounted" {
	data source 1000
	for address in unix:none/numbers http://127.0.0.1:1 127.0.0.1 udp:127.0.0.1:1 unix:; do
		show --metrics "$address" source mnt
		exits "$([ "$address" = unix:none/numbers ] && echo 1 || echo 2)"
		says "usplice: mount: cannot serve metrics at $address"
		never mountpoint -q mnt
	done
	show --metrics 127.0.0.1 source mnt
	says "the address needs a port: HOST:PORT"
	show --metrics-host name source mnt
	exits 2
	says "--metrics-host needs --metrics"
	show --metrics unix:numbers --metrics-host a/b source mnt
	exits 2
	says "this is no name of a host"
	never mountpoint -q mnt
}

@test "nothing listens without the option" {
	data source 1000
	serve source mnt
	[ -z "$(find /proc/"$job"/fd -lname 'socket:*')" ]
	kill -TERM "$job"
	finish 0
}
