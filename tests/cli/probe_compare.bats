#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# usplice probe --compare: what differs between two runs, and files that are no runs.

load support

# Two runs with every kind of difference. The control character of an object is one that a terminal obeys.
write_runs() {
	"$USPLICE" probe --compare /dev/null /dev/null 2>&1 | grep -q "without jansson" && skip "built without jansson"
	cat >before.json <<-'END'
		{"usplice":"0.1.0","system":{"kernel":"6.1.0","machine":"x86_64","cpus":2},"time":"2026-11-01T00:00:00Z","root":true,
		"memcpy":{"gib_per_s":10,"cpu_s_per_gib":0.1},"controls":{"copies":true,"aliases":true},"objects":[],
		"cells":[
		{"half":"into a pipe","object":"file","peer":null,"call":"splice","flag":"none","rights":"own","state":"clean","bytes":4096,"answer":"by reference","errno":null,"reason":"own pages","base":true,"cost":{"cpu_s_per_gib":0.02,"gib_per_s":40}},
		{"half":"into a pipe","object":"file","peer":null,"call":"splice","flag":"none","rights":"own","state":"dirty","bytes":4096,"answer":"by reference","errno":null,"reason":"own pages","base":false,"cost":null},
		{"half":"into a pipe","object":"gone\u001b[31m","peer":null,"call":"tee","flag":"none","rights":null,"state":null,"bytes":512,"answer":"copied","errno":null,"reason":"x","base":true,"cost":null},
		{"half":"out of a pipe","object":"pty","peer":null,"call":"splice","flag":"MOVE","rights":null,"state":null,"bytes":4096,"answer":"refused","errno":"EINVAL","reason":"r","base":true,"cost":null},
		{"half":"direct","object":"file","peer":"file (FICLONE)","call":"FICLONE","flag":"none","rights":"own","state":"clean","bytes":1048576,"answer":"undecidable","errno":null,"reason":"u","base":true,"cost":{"cpu_s_per_gib":0.3,"gib_per_s":4}}],
		"composed":{"checked":1,"agreed":1,"differing":[]}}
	END
	cat >after.json <<-'END'
		{"usplice":"0.2.0","system":{"kernel":"6.18.0","machine":"aarch64","cpus":4},"time":"2026-11-02T00:00:00Z","root":false,
		"memcpy":{"gib_per_s":5,"cpu_s_per_gib":0.2},"controls":{"copies":true,"aliases":true},"objects":[],"more":1,
		"cells":[
		{"half":"direct","object":"file","peer":"file (FICLONE)","call":"FICLONE","flag":"none","rights":"own","state":"clean","bytes":1048576,"answer":"undecidable","errno":null,"reason":"u","base":true,"cost":{"cpu_s_per_gib":0.26,"gib_per_s":4}},
		{"half":"out of a pipe","object":"pty","peer":null,"call":"splice","flag":"MOVE","rights":null,"state":null,"bytes":4096,"answer":"refused","errno":"EPERM","reason":"now forbidden","base":true,"cost":null},
		{"half":"into a pipe","object":"file","peer":null,"call":"splice","flag":"none","rights":"own","state":"clean","bytes":4096,"answer":"by reference","errno":null,"reason":"own pages","base":true,"cost":{"cpu_s_per_gib":0.05,"gib_per_s":20}},
		{"half":"into a pipe","object":"file","peer":null,"call":"splice","flag":"none","rights":"own","state":"dirty","bytes":4096,"answer":"copied","errno":null,"reason":"not written back","base":false,"cost":null},
		{"half":"out of a pipe","object":"new","peer":null,"call":"splice","flag":"none","rights":null,"state":null,"bytes":4096,"answer":"by the device","errno":null,"reason":"n","base":true,"cost":null}],
		"composed":{"checked":1,"agreed":1,"differing":[]}}
	END
}

compare() {
	run --separate-stderr "$USPLICE" probe --compare "$@"
}

# prints LINE: the output has this whole line.
prints() {
	grep -qxF -- "$1" <<<"$output" || {
		echo "no line '$1' in: $output"
		return 1
	}
}

@test "each kind of difference is said once, and the exit code is 1" {
	write_runs
	compare before.json after.json
	exits 1
	prints "before: before.json: Linux 6.1.0, x86_64, 2026-11-01T00:00:00Z, root"
	prints "after: after.json: Linux 6.18.0, aarch64, 2026-11-02T00:00:00Z, an ordinary user"
	prints "  file -> pipe (splice, own, dirty, 4.0 KiB): by reference -> copied"
	prints "  pipe -> pty (splice, MOVE, 4.0 KiB): refused (EINVAL) -> refused (EPERM)"
	prints "  gone?[31m -> pipe (tee, 512 B): copied"
	prints "  pipe -> new (splice, 4.0 KiB): by the device"
	prints "  file -> file (FICLONE) (FICLONE, own, clean, 1.0 MiB): 3 -> 1.3"
	prints "Different answers: cells in both 4, answers that differ 2, only before 1, only after 1, costs that differ 1"
	[ "$(grep -c '^  ' <<<"$output")" -eq 5 ]
	[ "$(grep -c $'\033' <<<"$output")" -eq 0 ]
	compare -v before.json after.json
	exits 1
	prints "    before: own pages"
	prints "    after: not written back"
}

@test "the same answers exit with 0, whatever they cost and in whatever order they stand" {
	write_runs
	compare before.json before.json
	exits 0
	[[ ${lines[-1]} == "The same answers: cells in both 5, answers that differ 0, only before 0, only after 0, costs that differ 0" ]]
	jq '.cells |= reverse | .cells[].reason = "other words" | .memcpy.cpu_s_per_gib = 7' before.json >slow.json
	compare before.json slow.json
	exits 0
	[[ ${lines[-1]} == *"costs that differ 2" ]]
	jq '.memcpy = null' before.json >free.json
	compare slow.json free.json
	exits 0
	[[ ${lines[-1]} == *"costs that differ 0" ]]
}

@test "the comparison as JSON has all of it" {
	write_runs
	compare --json before.json after.json
	exits 1
	jq -e '.same == false and .cells_in_both == 4 and .before.kernel == "6.1.0" and .after.machine == "aarch64" and
		.before.root and (.after.root | not) and .after.controls and
		([.changed[] | [.object, .state, .before.answer, .after.answer, .after.errno]] |
			. == [["file", "dirty", "by reference", "copied", null], ["pty", null, "refused", "refused", "EPERM"]]) and
		([.only_before[].object] == ["gone\u001b[31m"]) and ([.only_after[] | .object, .answer, .bytes] == ["new", "by the device", 4096]) and
		([.costs[] | .peer, .before, .after] == ["file (FICLONE)", 3, 1.3])' <<<"$output"
	compare --json before.json before.json
	exits 0
	jq -e '.same and .changed == [] and .only_before == [] and .only_after == [] and .costs == []' <<<"$output"
}

@test "a run of this machine is the same as itself, and one of them may be standard input" {
	write_runs
	compare - before.json <before.json
	exits 0
	compare before.json - <after.json
	exits 1
	compare - - <before.json
	exits 2
	says "only one of two files can be standard input"
}

@test "a control that failed is said" {
	write_runs
	jq '.controls.aliases = false' before.json >bad.json
	compare before.json bad.json
	prints "after: a control failed, so no answer of this run counts"
	compare --json before.json bad.json
	jq -e '.before.controls and (.after.controls | not)' <<<"$output"
}

@test "the same cell twice is compared with the same cell twice" {
	write_runs
	jq '.cells += [.cells[0] | .answer = "copied"]' before.json >twice.json
	compare twice.json twice.json
	exits 0
	compare before.json twice.json
	exits 1
	prints "  file -> pipe (splice, own, clean, 4.0 KiB): copied"
	[[ ${lines[-1]} == *"cells in both 5, answers that differ 0, only before 0, only after 1,"* ]]
	jq '.cells |= [.[-1]] + .[:-1]' twice.json >turned.json
	compare twice.json turned.json
	exits 1
	[[ ${lines[-1]} == *"cells in both 6, answers that differ 2, only before 0, only after 0,"* ]]
}

@test "a file that is cut anywhere is refused, with its name and a line" {
	write_runs
	jq -c '.cells |= .[:1]' before.json | tr -d '\n' >whole.json
	compare whole.json whole.json
	exits 0
	for ((len = 0; len < $(stat -c %s whole.json); len++)); do
		head -c "$len" whole.json >cut.json
		compare whole.json cut.json
		exits 2
		says "cut.json:1: this is no JSON: "
		[ -z "$output" ]
	done
}

# refuses TEXT FILTER: the run, changed by the filter of jq.
refuses() {
	jq "$2" before.json >bad.json
	compare before.json bad.json
	exits 2
	says "$1"
	[ -z "$output" ]
}

@test "what is no run of this program is refused" {
	write_runs
	echo '{"objects":[]}' >bad.json
	compare bad.json before.json
	exits 2
	says "bad.json:1: this JSON is not of usplice probe --json about a machine"
	for text in '[]' '[1]' '{}' '{"usplice":1}'; do
		echo "$text" >bad.json
		compare before.json bad.json
		exits 2
		says "bad.json:1: this JSON is not of"
	done
	sed '3s/"cells"/cells/' before.json >bad.json
	compare before.json bad.json
	exits 2
	says "bad.json:3: this is no JSON"
	sed '1s/"usplice"/"root":1,"usplice"/' before.json >bad.json # one key twice
	compare before.json bad.json
	exits 2
	says "bad.json:1: this is no JSON: duplicate object key"
	compare missing.json before.json
	exits 2
	says "missing.json: No such file or directory"
	compare before.json .
	exits 2
	says ".: Is a directory"
	compare before.json /dev/zero
	exits 2
	says "/dev/zero: File too large"
	compare bad.json missing.json
	exits 2
	says "bad.json:1: this is no JSON"
	says "missing.json: No such file or directory"
}

@test "a value that is not known is named, with its line" {
	write_runs
	sed '7s/"refused"/"moved"/' before.json >bad.json
	compare before.json bad.json
	exits 2
	says "bad.json:7: cell 4: 'answer' is missing, or is nothing that this version knows"
	sed '8s/"half":"direct"/"half":"sideways"/' before.json >bad.json
	compare bad.json before.json
	exits 2
	says "bad.json:8: cell 5: 'half' is missing"
	sed '6s/"object":"gone[^"]*"/"object":"},[{\\"","object ":2/' before.json >bad.json
	compare before.json bad.json
	exits 1
	sed -i '7s/4096/-4096/' bad.json
	compare before.json bad.json
	exits 2
	says "bad.json:7: cell 4: 'bytes'"
	for key in half object peer call flag rights state bytes answer errno reason cost; do
		refuses "cell 2: '$key' is missing" "del(.cells[1].$key)"
		refuses "cell 2: '$key' is missing" ".cells[1].$key = []"
	done
	for key in system time root memcpy controls cells; do
		refuses "bad.json:1: '$key' is missing" "del(.$key)"
		refuses "bad.json:1: '$key' is missing" ".$key = \"x\" | if .time == \"x\" then .time = 1 else . end"
	done
	refuses "'cells' is missing" '.cells = []'
	refuses "cell 1: 'half' is missing" '.cells[0] = 7'
}

@test "numbers that are too large, or are none, are refused" {
	write_runs
	refuses "cell 1: 'cost'" '.cells[0].cost.cpu_s_per_gib = -1'
	refuses "cell 1: 'cost'" '.cells[0].cost.cpu_s_per_gib = "0.1"'
	refuses "cell 1: 'cost'" '.cells[0].cost.cpu_s_per_gib = 1e300 | .memcpy.cpu_s_per_gib = 1e-300'
	refuses "cell 1: 'bytes'" '.cells[0].bytes = 4096.5'
	sed '4s/4096/99999999999999999999999/' before.json >bad.json
	compare before.json bad.json
	exits 2
	says "bad.json:4: this is no JSON: too big integer"
	sed '4s/0\.02/1e999/' before.json >bad.json
	compare before.json bad.json
	exits 2
	says "bad.json:4: this is no JSON: real number overflow"
	sed '4s/4096/9223372036854775807/; 4s/0\.02/1e300/' before.json >large.json
	compare large.json large.json
	exits 0
}

@test "it takes two files, and no options of the machine" {
	compare
	exits 2
	says "--compare takes two files"
	compare a
	exits 2
	says "--compare takes two files"
	compare a b c
	exits 2
	for option in --dir=/tmp --html=page --no-cost; do
		compare "$option" a b
		exits 2
		says "it takes no --dir, --html or --no-cost"
	done
	[ ! -e page ]
}

@test "a full standard output is trouble, and no difference" {
	write_runs
	run --separate-stderr sh -c '"$1" probe --compare before.json before.json >/dev/full' sh "$USPLICE"
	exits 2
	says "standard output: No space left on device"
}
