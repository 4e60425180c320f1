#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What comes from outside commands no terminal: in messages, and in JSON.

load support

# harmless: standard input is UTF-8 without a control character but the ends of lines, and without what turns the order of letters.
harmless() {
	python3 -c '
import sys, unicodedata
text = sys.stdin.buffer.read().decode("utf-8", "strict")
marks = {"\u061c", "\u200e", "\u200f"}
turns = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
bad = [hex(ord(c)) for c in text if c != "\n" and (unicodedata.category(c) in ("Cc", "Zl", "Zp") or c in marks or
       unicodedata.bidirectional(c) in turns)]
sys.exit(f"control characters: {bad}" if bad else 0)'
}

# odd KIND: a name with every byte, or every control character of Unicode, or what only looks like UTF-8.
odd() {
	python3 -c '
import sys
names = {
    "bytes": bytes(b for b in range(1, 256)),
    "controls": "".join(chr(c) for c in [*range(1, 0x20), *range(0x7f, 0xa0)]).encode(),
    "directions": ("photo_\u202egpj.exe \u202a\u202b\u202c\u202d \u2066\u2067\u2068\u2069 \u061c\u200e\u200f " +
                   "\u2028usplice: all is well\u2029 \u206a\u206f").encode(),
    "pieces": b"\xc2 \xc2\x9b \xe2\x82 \xc0\x9b \xe0\x80\x9b \xf0\x80\x80\x9b \xed\xa0\x80 \xf4\x90\x80\x80 \xff\x9b\x90\x9d",
    "letters": ("gr\u00fc\u00df dich \u03b1\u2192\U0001f600 \u00a0 \u05e9\u05dc\u05d5\u05dd \u0645\u06cc\u200c" +
                "\u062e\u0648\u0627\u0647\u0645").encode(),
}
sys.stdout.buffer.write(names[sys.argv[1]])' "$1"
}

@test "a name with any byte or character commands no terminal in a message" {
	for kind in bytes controls directions pieces letters; do
		name=$(odd $kind && echo x)
		name=${name%x}
		for arguments in source sink report option usage; do
			case $arguments in
			source) "$USPLICE" copy "$name" b 2>said || true ;;
			sink) "$USPLICE" copy mem:x "nowhere/$name" 2>said || true ;;
			report) "$USPLICE" copy --report "nowhere/$name" mem:x b 2>said || true ;;
			option) "$USPLICE" copy "--$name" --lane "$name" mem:x b 2>said || true ;;
			usage) "$USPLICE" "$name" 2>said || true ;;
			esac
			echo "--- $kind in $arguments"
			[ -s said ]
			harmless <said
			[ "$(wc -l <said)" -eq 1 ]
		done
		timeout 10 "$USPLICE" relay "$name" "$name" 2>said || true
		[ -s said ]
		harmless <said
	done
}

@test "what a message does not show is a question mark for each character, or byte that is no UTF-8" {
	"$USPLICE" copy $'a\xffb\x9b\xc2c\u009bd\e' b 2>said || true
	[ "$(cat said)" = "usplice: source a?b??c?d?: No such file or directory" ]
	"$USPLICE" copy $'\u202egpj.exe\u2028' b 2>said || true
	[ "$(cat said)" = "usplice: source ?gpj.exe?: No such file or directory" ]
}

@test "letters of other scripts stay what they are" {
	name=$(odd letters)
	"$USPLICE" copy "$name" b 2>said || true
	[ "$(cat said)" = "usplice: source $name: No such file or directory" ]
	"$USPLICE" copy --json mem:hello mem: 2>said
	"$USPLICE" copy --report report "mem:$name" null:
	grep -qF "mem:$name" report
}

@test "a name with any byte or character commands no terminal in JSON, and means the same" {
	for kind in bytes controls directions pieces letters; do
		name=$(odd $kind && echo x)
		name=${name%x}
		"$USPLICE" copy -q --report report mem:x "nowhere/$name" 2>/dev/null || true
		"$USPLICE" copy --json mem:x "nowhere/$name" 2>&1 | tail -n 1 >said
		echo "--- $kind"
		harmless <said
		[ "$(wc -l <said)" -eq 1 ]
		harmless <report
		never grep -q '[[:cntrl:]]' report
		python3 - "$kind" "nowhere/$name" <<-'END'
			import json, os, sys
			told = {json.load(open(name, "rb"))["sinks"][0]["spec"] for name in ("said", "report")}
			meant = os.fsencode(sys.argv[2]).decode("utf-8", "replace")
			sys.exit(told != {meant} and (sys.argv[1] in ("controls", "directions", "letters") or len(told) != 1))
		END
	done
}
