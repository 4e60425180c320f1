# SPDX-License-Identifier: MIT
# The thin front: Meson does the work, this file knows the few commands that people type.

PREFIX ?= /usr/local
ARGS ?=

RELEASE := build
TESTED := build-test
ASAN := build-asan
TSAN := build-tsan
C_FILES = $(shell find src include tests bench examples -name '*.[ch]')

.PHONY: all demo test bench install check-style format asan tsan clean help

all: $(RELEASE)/build.ninja
	meson compile -C $(RELEASE)

help:
	@echo 'make            build the command and the library, optimised, in $(RELEASE)/'
	@echo 'make demo       install what is missing, build, and show the main job on real data'
	@echo 'make test       install what is missing, build, and run every test; ARGS="--suite unit" picks some'
	@echo 'make bench      measure, against the tools that it replaces and the raw system calls; ARGS="--help"'
	@echo 'make install    into PREFIX=$(PREFIX), below DESTDIR if that is set'
	@echo 'make asan       all tests under AddressSanitizer and UndefinedBehaviorSanitizer'
	@echo 'make tsan       the threaded tests under ThreadSanitizer'
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
	meson configure $(RELEASE) -Dprefix=$(PREFIX)
	meson install -C $(RELEASE) $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

asan: $(ASAN)/build.ninja
	tools/run-tests $(ASAN) $(ARGS)

# The shadow memory of ThreadSanitizer needs addresses that a strong randomisation takes: run without it where we may.
tsan: $(TSAN)/build.ninja
	$(shell setarch --addr-no-randomize true 2>/dev/null && echo setarch --addr-no-randomize) tools/run-tests $(TSAN) --suite threads $(ARGS)

check-style:
	tools/check-layers
	tools/check-symbols src/usplice.map include/usplice.h include/usplice/endpoint.h
	clang-format --dry-run -Werror $(C_FILES)

format:
	clang-format -i $(C_FILES)

$(RELEASE)/build.ninja:
	meson setup $(RELEASE) --buildtype=release -Dtests=false -Dprefix=$(PREFIX)

$(TESTED)/build.ninja:
	meson setup $(TESTED)

$(ASAN)/build.ninja:
	meson setup $(ASAN) -Db_sanitize=address,undefined -Db_lundef=false

$(TSAN)/build.ninja:
	meson setup $(TSAN) -Db_sanitize=thread -Db_lundef=false

clean:
	rm -rf $(RELEASE) $(TESTED) $(ASAN) $(TSAN) build-gcc build-clang
