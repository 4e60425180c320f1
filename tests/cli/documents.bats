#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The programs of examples/ do what the documents say, and the documents show these programs and no others.

examples=$USPLICE_BUILD_DIR/examples
source_dir=$USPLICE_SOURCE_DIR

setup() {
	cd "$BATS_TEST_TMPDIR"
	mkdir bin
	ln -s "$USPLICE" bin/usplice
	PATH=$PWD/bin:$PATH
}

# shown_in FILE FENCE: every block of code in FILE that begins with the line FENCE stands, word for word, in an example.
shown_in() {
	python3 - "$1" "$2" "$source_dir"/examples/*.c <<-'PYTHON'
	import sys

	fence, examples = sys.argv[2], [open(name).read() for name in sys.argv[3:]]
	lines, blocks = open(sys.argv[1]).read().split("\n"), []
	block = None
	for line in lines:
	    if block is None and line == fence:
	        block = []
	    elif block is not None and line == "```":
	        blocks.append("\n".join(block))
	        block = None
	    elif block is not None:
	        block.append(line)
	missing = [block for block in blocks if not any(block in example for example in examples)]
	for block in missing:
	    print("in no example:", block, sep="\n")
	print(len(blocks), "blocks")
	sys.exit(bool(missing or not blocks))
	PYTHON
}

@test "numbers counts the lines of its own source" {
	run "$examples"/numbers 1000000
	[ "$status" -eq 0 ]
	[ "$output" = "1000000 lines, 6888896 bytes looked at in place" ]
}

@test "numbers shares its bytes with a second sink" {
	"$examples"/numbers 300000 numbers.txt
	seq 300000 | cmp - numbers.txt
}

@test "numbers counts the lines of an endpoint that it does not know" {
	seq 12345 >numbers.txt
	[ "$("$examples"/numbers numbers.txt)" = "12345 lines, 62964 bytes looked at in place" ]
}

@test "numbers says what is wrong" {
	run "$examples"/numbers missing.txt
	[ "$status" -eq 1 ]
	[ "$output" = "numbers LAST|SPEC [SINK]: No such file or directory" ]
}

@test "checked verifies each block once, on first touch, and lets no damaged byte through" {
	run "$examples"/checked
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "2048 bytes moved; 1 blocks verified, 6144 bytes left" ]
	[ "${lines[1]}" = "2048 bytes moved; 2 blocks verified, 4096 bytes left" ]
	[ "${lines[2]}" = "nothing moved: Bad message; 2 blocks verified, 4096 bytes left" ]
}

@test "gift tells when its buffer is free, after both sinks have it" {
	run "$examples"/gift first.txt null:
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "first.txt: 0 by reference, 29 copied" ]
	[ "${lines[1]}" = "null:: 29 by reference, 0 copied" ]
	[ "${lines[2]}" = "text: nobody refers to it any more" ]
	[ "$(cat first.txt)" = "one buffer, two destinations" ]
}

@test "own_loop carries both ways, and each way until its own end" {
	"$examples"/own_loop unix-listen:a.sock unix-listen:b.sock >report.txt &
	seq 300000 >to_b.txt
	seq 5 >to_a.txt
	socat -t 60 STDIO UNIX-CONNECT:a.sock,retry=6000,interval=0.01 <to_b.txt >at_a.txt &
	socat -t 60 STDIO UNIX-CONNECT:b.sock,retry=6000,interval=0.01 <to_a.txt >at_b.txt
	wait
	cmp to_b.txt at_b.txt
	cmp to_a.txt at_a.txt
	[ "$(cat report.txt)" = $'unix-listen:a.sock: 1988895 bytes\nunix-listen:b.sock: 10 bytes' ]
}

@test "examples/slice shows a part of a file, and refuses what has no positions" {
	seq 1 1000 >numbers.txt
	run "$examples"/slice numbers.txt 10 20
	[ "$status" -eq 0 ]
	"$examples"/slice numbers.txt 10 20 2>size.txt | cmp - <(tail -c +11 numbers.txt | head -c 20)
	[ "$(cat size.txt)" = "20 bytes" ]
	{ head -c 5 >/dev/null; "$examples"/slice - 10 20 2>/dev/null; } <numbers.txt | cmp - <(tail -c +11 numbers.txt | head -c 20)
	run "$examples"/slice - 10 20 < <(cat numbers.txt)
	[ "$status" -eq 1 ]
	[ "$output" = "slice: Illegal seek" ]
}

@test "examples/credit sends what its peer grants" {
	[ "$("$examples"/credit | tr -d '\n')" = "only what was granted is sent" ]
	"$examples"/credit | awk 'length > 7 { exit 1 }'
}

@test "examples/later waits for bytes that come later, and moves them by reference" {
	run "$examples"/later later.txt
	[ "$status" -eq 0 ]
	[ "$output" = "1048576 bytes; some were waited for: yes" ]
	for letter in a b c d e f g h i j k l m n o p; do
		head -c 65536 /dev/zero | tr '\0' "$letter"
	done | cmp - later.txt
}

@test "examples/packet lends fragments of packets, and fills a packet again when both are released" {
	for i in {0..999}; do
		echo "packet $i"
		printf "%1400s" | tr ' ' "$(printf "\\$(printf %o $((97 + i % 26)))")"
	done >expected
	for sink in packets.txt packets.txt,direct; do
		run "$examples"/packet $sink
		[ "$status" -eq 0 ] || [[ $output == *"direct I/O"* ]]
		[ "$output" = "1000 packets sent, 1000 done" ]
		cmp expected packets.txt
	done
	"$examples"/packet fd:5 5>&1 >/dev/null | { sleep 0.2; cmp - expected; }
}

@test "examples/keep keeps pages, and copies what others refer to" {
	head -c 3000000 /dev/urandom >data
	"$examples"/keep data 2>said | cmp - data
	[ "$(cat said)" = "3000000 bytes kept, 0 copied" ]
	[ "$("$examples"/keep mem:hello 2>said)" = hello ]
	[ "$(cat said)" = "0 bytes kept, 5 copied" ]
	run "$examples"/keep missing
	[ "$status" -eq 1 ]
	[ "$output" = "keep SPEC: No such file or directory" ]
}

@test "examples/upper changes letters in place, or in a copy where others refer to them" {
	seq 1 200000 | tr 0-9 a-j >data
	"$examples"/upper data 2>said | cmp - <(tr a-z A-Z <data)
	[ "$(cat said)" = "1288895 bytes changed in place, 0 in a copy" ]
	[ "$("$examples"/upper mem:hello 2>said)" = HELLO ]
	[ "$(cat said)" = "0 bytes changed in place, 5 in a copy" ]
	[ "$({ printf some; sleep 0.1; printf where; } | "$examples"/upper - 2>/dev/null)" = SOMEWHERE ]
}

@test "examples/masked works its bytes out once, for each of its copies" {
	seq 100000 >numbers.txt
	# Until its time stamp has passed, the file may change again without another one, and nothing of it is kept.
	until python3 -c 'import os, sys, time; sys.exit(time.time() - os.stat("numbers.txt").st_ctime < 0.1)'; do :; done
	run "$examples"/masked numbers.txt first.txt second.txt null:
	[ "$status" -eq 0 ]
	[ "$output" = "588895 bytes read for 3 copies" ]
	tr '0123456789\n' '1032547698\013' <numbers.txt | cmp - first.txt
	cmp first.txt second.txt
	"$examples"/masked first.txt again.txt
	cmp numbers.txt again.txt
	run "$examples"/masked missing.txt first.txt
	[ "$status" -eq 1 ]
	[ "$output" = "masked: No such file or directory" ]
}

@test "a source over a page cache, a sink that takes pages and a transform have less than 60 lines each" {
	for name in masked keep upper; do
		[ "$(wc -l <"$source_dir/examples/$name.c")" -lt 60 ]
	done
}

@test "the code in docs/writing-an-endpoint.md is that of the examples" {
	shown_in "$source_dir"/docs/writing-an-endpoint.md '```c'
}

@test "the program in usplice(3) is examples/gift.c" {
	awk '/^# EXAMPLE/ { wanted = 1 } wanted && /^```$/ { inside = !inside; if (!inside) exit; next } inside' \
		"$source_dir"/man/usplice.3.scd | sed 's/\\\\/\\/g' | diff - "$source_dir"/examples/gift.c
}

# runs_blocks DOCUMENT: its shell blocks, in order, on a port that is free.
# Blocks that mount are left out where FUSE cannot be used.
runs_blocks() {
	local without="usplice mount"
	usplice list --names features | grep -qx mount && without=
	head -c 3000001 /dev/urandom >big.img
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	awk -v without="$without" '
		$0 == "```sh" { inside = 1; block = ""; next }
		/^```$/ { if (inside && !(without && index(block, without))) printf "%s", block; inside = 0 }
		inside { block = block $0 "\n" }' "$source_dir/$1" |
		sed "s/:9000/:$port/" | sed -f "$BATS_TEST_DIRNAME/patiently.sed" >all.sh
	[ "$(grep -c usplice all.sh)" -ge "$2" ]
	timeout 600 bash -eux -o pipefail all.sh
}

@test "every shell block of docs/is-it-zero-copy.md runs without an error" {
	runs_blocks docs/is-it-zero-copy.md 5
}

@test "every shell block of docs/how-splice-works.md runs without an error" {
	runs_blocks docs/how-splice-works.md 1
}

@test "every shell block of docs/framed.md runs without an error" {
	runs_blocks docs/framed.md 8
	[ "$(tail -n 1 report.json | jq .bytes)" -eq 3000001 ]
}

@test "every shell block of docs/relay.md runs without an error" {
	awk '$0 == "```sh" { inside = 1; next } /^```$/ { inside = 0 } inside' "$source_dir"/docs/relay.md |
		sed -f "$BATS_TEST_DIRNAME/patiently.sed" >all.sh
	[ "$(grep -c usplice all.sh)" -ge 5 ]
	timeout 600 bash -eux -o pipefail all.sh >out 3>&-
	grep -qx hello out
	cmp image first.img
	cmp image second.img
	grep -qx 'usplice_relay_delivered_bytes_total{direction="to_client"} 6' out
}

@test "docs/relay.md explains every metric, and no other" {
	port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
	"$USPLICE" relay --quiet --metrics "127.0.0.1:$port" unix:front unix:nobody 3>&- &
	curl -sSf --retry 1000 --retry-connrefused --retry-delay 0 --retry-max-time 60 "http://127.0.0.1:$port/metrics" |
		sed -n 's/^# TYPE usplice_relay_\([a-z_]*\) .*/\1/p' | grep -v '^build_info$' | sort >told
	sed -n '/^## What the metrics mean/,/^## Limits/s/^| \(`.*`\) |.*/\1/p' "$source_dir"/docs/relay.md |
		grep -oE '`[a-z_]+' | tr -d '`' | sort >explained
	[ -s told ]
	diff told explained
	kill $!
	wait $!
}

@test "every function of the public headers has its prototype in a manual page, under a name that man finds" {
	python3 - "$source_dir" <<-'PYTHON'
	import re, sys
	from pathlib import Path

	top = Path(sys.argv[1])
	words = lambda text: " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.S).split())
	header = "".join((top / "include" / name).read_text() for name in ["usplice.h", "usplice/endpoint.h", "usplice/framed.h", "usplice/mapping.h", "usplice/mount.h", "usplice/probe.h", "usplice/pump.h", "usplice/relay.h", "usplice/spec.h", "usplice/trace.h", "usplice/transform.h"])
	prototypes = [words(found) for found in re.findall(r"^USP_EXPORT ([^;]*\(.*?\));", header, re.M | re.S)]
	pages = {path.name: words(path.read_text()) for path in (top / "man").glob("*.3.scd")}
	also = dict(re.findall(r"'(\w+)': \[(.*?)\]", (top / "man/meson.build").read_text(), re.S))
	wrong = 0
	for prototype in prototypes:
	    name = re.search(r"(usp_\w+)\(", prototype).group(1)
	    home = [page for page, text in pages.items() if prototype + ";" in text]
	    page = home[0].split(".")[0] if home else None
	    if not home or (page != name and f"'{name}'" not in also.get(page, "")):
	        print(f"{name}: in {home or 'no page'}")
	        wrong += 1
	print(len(prototypes), "functions")
	sys.exit(bool(wrong) or len(prototypes) < 60)
	PYTHON
}

@test "man finds a function by its own name" {
	command -v scdoc >/dev/null || skip "no scdoc"
	DESTDIR=$PWD/root meson install -C "$USPLICE_BUILD_DIR" --no-rebuild --quiet
	page=$(find root -name usp_tee.3)
	[ "$(readlink "$page")" = usp_splice.3 ]
	grep -q "ssize_t usp_tee" "$page"
}

@test "the map of the tree names each file of the command, and no other" {
	sed -n '/^ \*       main\.c/,/^ \*$/p' "$source_dir/src/cli/main.c" | grep -o '[a-z_]*\.c\b' | sort >mapped
	(cd "$source_dir/src/cli" && ls -- *.c) | grep -v '_none\.c$' >there
	diff mapped there
}

@test "the places that CONTRIBUTING.md and ARCHITECTURE.md name are in the sources" {
	grep -oh '`[a-z]*_[a-z_]*`' "$source_dir/CONTRIBUTING.md" "$source_dir/ARCHITECTURE.md" | tr -d '`' | sort -u |
		while read -r name; do
			grep -rqw -e "$name" "$source_dir"/{src,include,kmod,tests,tools} || [ -e "$source_dir/src/event/$name.c" ] || {
				echo "nothing is called $name"
				touch missing
			}
		done
	[ ! -e missing ]
}

@test "links between the documents lead to files" {
	cd "$source_dir"
	for document in *.md docs/*.md; do
		for target in $(grep -o '](\([^):#]*\))' "$document" | sed 's/^](//; s/)$//'); do
			[ -e "$(dirname "$document")/$target" ] || echo "$document: $target"
		done
	done >"$BATS_TEST_TMPDIR"/broken
	diff /dev/null "$BATS_TEST_TMPDIR"/broken
}

# named_tests DOCUMENT: each row of a table ends with a test: a file of tests/cli or tests/unit, and a case in it.
named_tests() {
	python3 - "$source_dir" "$1" <<-'PYTHON'
	import re, sys
	from pathlib import Path

	top, nr, wrong = Path(sys.argv[1]), 0, []
	for row in (top / sys.argv[2]).read_text().splitlines():
	    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
	    if len(cells) != 5 or set(cells[0]) <= {"-"} or cells[0] == "expectation":
	        continue
	    nr += 1
	    match = re.fullmatch(r"`(\w+)`: (.+)", cells[4])
	    if not match and cells[4] == "" and cells[3].startswith("no"):
	        continue  # what is not there has no test
	    file, case = match.groups() if match else ("", "")
	    is_unit = file.startswith("test_")
	    path = top / "tests" / ("unit" if is_unit else "cli") / (file + (".c" if is_unit else ".bats"))
	    if not path.exists() or (f"CASE({case})" if is_unit else f'@test "{case}"') not in path.read_text():
	        wrong.append(row)
	print(nr, "rows")
	for row in wrong:
	    print("no such test:", row)
	sys.exit(bool(wrong) or nr < 30)
	PYTHON
}

@test "each expectation is answered, and the test that shows it exists" {
	named_tests docs/expectations.md
}
