#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
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

@test "every test that a mutant names is there" {
	local name
	cd "$USPLICE_SOURCE_DIR/tests"
	sed -nE 's/^[a-z0-9-]+  [^ ]+  (.*)/\1/p' mutants/mutants.txt | tr ' ' '\n' | sort -u >"$BATS_TEST_TMPDIR/names"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/names")" -ge 40 ]
	while read -r name; do
		echo "$name"
		case $name in
		cli:*) [ -f "cli/${name#cli:}.bats" ] ;;
		*) compgen -G "*/$name.c" ;;
		esac
	done <"$BATS_TEST_TMPDIR/names"
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

# small_tree STATEMENT: the runner, in a tree of one function. Its test is good if the answer is right, or what the statement makes
# of is_good; nr_runs is how often it was run, the first time without a bug.
small_tree() {
	mkdir -p tree/src tree/tests/mutants
	cp "$USPLICE_SOURCE_DIR/tests/mutants/run" tree/tests/mutants/
	echo "option('man', type: 'feature', value: 'auto')" >tree/meson_options.txt
	printf '%s\n' "project('small', 'c')" "test('answer', executable('answer', 'src/answer.c'), suite: 'unit')" >tree/meson.build
	cat >tree/src/answer.c <<-END
		#include <stdio.h>
		static int answer(void)
		{
			return 42;
		}
		int main(void)
		{
			FILE *runs = fopen("$BATS_TEST_TMPDIR/runs", "a");
			int is_good = answer() == 42, nr_runs;
			fputc('x', runs);
			nr_runs = (int)ftell(runs);
			fclose(runs);
			$1
			printf("1..1\n%s 1 - the answer\n", is_good ? "ok" : "not ok");
			return nr_runs == 0 || !is_good;
		}
	END
	printf '%s\n' "wrong-answer  src/answer.c  answer" $'\tthe answer is another one' "- return 42;" "+ return 43;" \
		>tree/tests/mutants/mutants.txt
	run python3 tree/tests/mutants/run --jobs 1
	echo "$output"
}

@test "a test that fails with the mutant and passes without it has caught it" {
	small_tree ""
	[ "$status" -eq 0 ]
	[ "${lines[1]}" = "    caught by answer: the answer" ]
	[ "${lines[-1]}" = "1 mutants: 1 caught, 0 survived" ]
	[ "$(wc -c <runs)" -eq 3 ]
}

@test "a test that fails with the mutant, and then without it as well, has caught nothing" {
	small_tree "is_good = nr_runs != 2 && nr_runs != 3;"
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = "wrong-answer: load-sensitive, without it there fails, too: answer: the answer" ]
	[ "${lines[-1]}" = "1 mutants: 0 caught, 1 survived, 1 load-sensitive failures" ]
}
