#!/usr/bin/env bats
# The list of bugs that the tests must catch stays applicable; catching them takes minutes and is `make mutants`.

setup() {
	cd "$BATS_TEST_TMPDIR"
}

mutants() {
	run python3 "$USPLICE_SOURCE_DIR/tests/mutants/run" "$@"
	echo "$output"
}

@test "every mutant of the list can still be applied" {
	mutants --check
	[ "$status" -eq 0 ]
	[[ $output =~ ^[0-9]+" mutants can be applied"$ ]]
	[ "${output%% *}" -ge 60 ]
}

@test "a mutant whose lines are gone is named" {
	mkdir -p tree/tests
	cp -r "$USPLICE_SOURCE_DIR/src" tree/
	cp -r "$USPLICE_SOURCE_DIR/tests/mutants" tree/tests/
	echo "/* nothing */" >tree/src/splice/buf.c
	run python3 tree/tests/mutants/run --check
	echo "$output"
	[ "$status" -eq 2 ]
	[[ $output == *"a-shared-page-is-stolen: the lines to replace do not occur exactly once in src/splice/buf.c"* ]]
	[[ $output != *"tee-consumes"* ]]
}

@test "an unknown mutant is an error" {
	mutants --only no-such-bug
	[ "$status" -eq 1 ]
	[ "$output" = "run: no such mutant: no-such-bug" ]
}
