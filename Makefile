# SPDX-License-Identifier: MIT
# The thin front: Meson does the work, this file knows the few commands that people type.

PREFIX ?= /usr/local
ARGS ?=
export PREFIX DESTDIR # commands take these from the environment: there may be spaces in them

RELEASE := build
TESTED := build-test
ASAN := build-asan
TSAN := build-tsan
FUZZ := build-fuzz
COVERAGE := build-coverage
DEB := build-deb
MUSL := build-musl
HTML := build-html
WEVERYTHING := build-everything
FUZZ_SECONDS ?= 30
SOAK_BYTES ?= 1G
SOAK_SECONDS ?= 600
# Of clang's -Weverything, with the reasons in CONTRIBUTING.md.
NOT_EVERYTHING := atomic-implicit-seq-cst bad-function-cast cast-align cast-qual comma conditional-uninitialized \
	disabled-macro-expansion flexible-array-extensions format-nonliteral overlength-strings padded sign-conversion switch-enum \
	unknown-warning-option unsafe-buffer-usage used-but-marked-unused
C_FILES = $(shell find src include tests bench examples fuzz kmod -name '*.[ch]')

.PHONY: all demo test bench install uninstall deb docs musl everything check-style format asan tsan soak fuzz mutants coverage test-kernels test-checked-kernel clean help

all: $(RELEASE)/build.ninja
	meson compile -C $(RELEASE)

help:
	@echo 'make            build the command and the library, optimised, in $(RELEASE)/'
	@echo 'make demo       install what is missing, build, and show the main job on real data'
	@echo 'make test       install what is missing, build, and run every test; ARGS="--suite unit" picks some'
	@echo 'make bench      measure, against the tools that it replaces and the raw system calls; ARGS="--help"'
	@echo 'make install    into PREFIX=$(PREFIX), below DESTDIR if that is set'
	@echo 'make uninstall  remove that again, with the same PREFIX and DESTDIR'
	@echo 'make deb        Debian packages in $(DEB)/; ARGS=--twice compares the bits of two builds'
	@echo 'make docs       the manual pages and documents as HTML in $(HTML)/'
	@echo 'make musl       the library and the command with musl, and a try of them'
	@echo 'make everything what clang -Weverything says beyond the warnings that CONTRIBUTING.md calls off'
	@echo 'make asan       all tests under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make tsan       the threaded tests under ThreadSanitizer'
	@echo 'make soak       $(SOAK_BYTES) through every pair of endpoints and every fan-out, with its SHA-256,'
	@echo '                reports of routes against strace, and random walks against the kernel for SOAK_SECONDS=$(SOAK_SECONDS),'
	@echo '                as long the formats of compression and age against their programs, on the files of this machine,'
	@echo '                and as long a relay with connections that come, go and break, and one whose surroundings change'
	@echo 'make fuzz       look for inputs that break something, FUZZ_SECONDS=$(FUZZ_SECONDS) for each target'
	@echo 'make mutants    put one bug after the other into the library: does a test catch it? ARGS="--help"'
	@echo 'make coverage   the lines and branches of src/ that the tests reach, and those that they do not'
	@echo 'make test-kernels  boot other kernels in an emulator and compare the library with these; ARGS="--help"'
	@echo 'make test-checked-kernel  the driver of kmod/ in a kernel with KASAN, lockdep and kmemleak, which is built first'
	@echo 'make check-style  the rules of the tree and the format of the sources'
	@echo 'make format     bring the sources into the form that check-style wants'
	@echo 'make clean      remove all build directories'

demo:
	tools/setup-debian build
	$(MAKE) all
	tools/demo $(RELEASE)/src/cli/usplice

test:
	tools/setup-debian test
	$(MAKE) $(TESTED)/build.ninja
	tools/run-tests $(TESTED) $(ARGS)

bench: all
	meson configure $(RELEASE) -Dbench=true
	meson compile -C $(RELEASE)
	bench/run --build $(RELEASE) $(ARGS)

install: all
	meson configure $(RELEASE) -Dprefix="$$PREFIX"
	meson install -C $(RELEASE) $${DESTDIR:+--destdir "$$(realpath -m -- "$$DESTDIR")"}

uninstall: all
	meson configure $(RELEASE) -Dprefix="$$PREFIX"
	tools/uninstall $(RELEASE) $${DESTDIR:+"$$(realpath -m -- "$$DESTDIR")"}

deb:
	tools/setup-debian deb
	tools/make-deb $(ARGS) $(DEB)
	tools/try-deb $(DEB)

docs:
	tools/setup-debian docs
	tools/make-docs $(HTML)

musl:
	tools/setup-debian musl
	tools/build-musl $(MUSL)

# What is off, and why, is in CONTRIBUTING.md.
everything: $(WEVERYTHING)/build.ninja
	meson configure $(WEVERYTHING) -Dc_args="$(NOT_EVERYTHING:%=-Wno-%)"
	meson compile -C $(WEVERYTHING)

asan: $(ASAN)/build.ninja
	tools/run-tests $(ASAN) $(ARGS)

# The suites that send bytes through whole routes, with SOAK_BYTES through each, for minutes; routes whose reports must be
# true; then walks for as long as you like.
soak:
	tools/setup-debian test
	$(MAKE) $(TESTED)/build.ninja
	USP_TEST_BYTES=$(SOAK_BYTES) tools/run-tests $(TESTED) --suite conformance --timeout-multiplier 20 $(ARGS)
	for seed in 2 3 4 5; do tests/truth/routes --seed $$seed $(TESTED)/src/cli/usplice $(TESTED)/tests/truth/raw_route || exit; done
	SOAK_SECONDS=$(SOAK_SECONDS) $(TESTED)/tests/test_walks
	tests/soak/formats $(TESTED)/src/cli/usplice $(SOAK_SECONDS)
	tests/soak/relay $(TESTED)/src/cli/usplice $(SOAK_SECONDS)
	tests/soak/relay_trouble $(TESTED)/src/cli/usplice $(SOAK_SECONDS)
	USP_FAULT_ALL=1 USP_FAULT_BYTES=1000003 tools/run-tests $(TESTED) --suite fault --timeout-multiplier 20 $(ARGS)

# The shadow memory of ThreadSanitizer needs addresses that a strong randomisation takes: run without it where we may.
tsan: $(TSAN)/build.ninja
	$(shell setarch --addr-no-randomize true 2>/dev/null && echo setarch --addr-no-randomize) tools/run-tests $(TSAN) --suite threads $(ARGS)

# What is found new is kept in the build directory; what breaks something, too, and then it belongs into fuzz/corpus.
fuzz:
	tools/setup-debian fuzz
	$(MAKE) $(FUZZ)/build.ninja
	meson compile -C $(FUZZ)
	set -e; for target in metrics pipe spec option proxy seekable framed; do \
		mkdir -p $(FUZZ)/corpus/$$target; \
		$(FUZZ)/fuzz/fuzz_$$target -max_total_time=$(FUZZ_SECONDS) -max_len=1024 -print_final_stats=1 \
			-artifact_prefix=$(FUZZ)/corpus/$$target- $(FUZZ)/corpus/$$target fuzz/corpus/$$target; \
	done

mutants:
	tools/setup-debian test
	tests/mutants/run $(ARGS)

# The suite "tools" does not test the library. What was reached is shown also if a test fails.
coverage:
	tools/setup-debian coverage
	$(MAKE) $(COVERAGE)/build.ninja
	find $(COVERAGE) -name '*.gcda' -delete
	tools/run-tests $(COVERAGE) --no-suite tools --timeout-multiplier 3 $(ARGS); tested=$$?; tools/coverage $(COVERAGE) && exit $$tested

test-kernels:
	tools/setup-debian kernels
	$(MAKE) $(TESTED)/build.ninja
	tools/test-kernels $(TESTED) $(ARGS)

# Its programs have sanitizers, too.
test-checked-kernel:
	tools/setup-debian checked-kernel
	$(MAKE) $(ASAN)/build.ninja
	tools/test-kernels --checked $(ASAN) $(ARGS)

check-style:
	tools/check-layers
	tools/check-release
	tools/check-licences
	tools/check-symbols src/usplice.map include/usplice.h include/usplice/endpoint.h include/usplice/framed.h include/usplice/mapping.h include/usplice/mount.h include/usplice/probe.h include/usplice/pump.h include/usplice/relay.h include/usplice/spec.h include/usplice/trace.h include/usplice/transform.h
	clang-format --dry-run -Werror $(C_FILES)

format:
	clang-format -i $(C_FILES)

$(RELEASE)/build.ninja:
	meson setup $(RELEASE) --buildtype=release -Dtests=false -Dprefix="$$PREFIX"

$(TESTED)/build.ninja:
	meson setup $(TESTED)

$(ASAN)/build.ninja:
	meson setup $(ASAN) -Dinvariants=true -Db_sanitize=address,undefined -Db_lundef=false

$(TSAN)/build.ninja:
	meson setup $(TSAN) -Db_sanitize=thread -Db_lundef=false

$(FUZZ)/build.ninja:
	CC=clang meson setup $(FUZZ) -Dfuzz=true -Dtests=false -Dman=disabled -Db_lundef=false \
		-Db_sanitize=address,undefined -Dc_args=-fsanitize=fuzzer-no-link

$(WEVERYTHING)/build.ninja:
	CC=clang meson setup $(WEVERYTHING) -Dtests=false -Dman=disabled -Dwarning_level=everything -Dwerror=true

$(COVERAGE)/build.ninja:
	meson setup $(COVERAGE) -Db_coverage=true -Doptimization=0

clean:
	rm -rf $(RELEASE) $(TESTED) $(ASAN) $(TSAN) $(FUZZ) $(COVERAGE) $(DEB) $(MUSL) $(HTML) $(WEVERYTHING) build-gcc build-clang
