#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""fanout.py HEADING SOURCE SINK... - write a heading and a source to several sinks, from Python by cffi.

HEADING is a gift: memory of Python that all sinks take by reference, and a function of Python that is called when none of
them needs it any more. SOURCE is read once; its digests are computed once. The declarations are those of the installed
headers, so they cannot differ from the library. $USPLICE_INCLUDE and $LIBUSPLICE name others than the installed ones.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import cffi

DIGESTS = ["sha256", "crc32c"]
ABSENT = ["errno", "netdb", "stdbool", "stddef", "stdint", "sys/socket", "sys/stat", "sys/types", "sys/uio"]
FLAG = re.compile(r"^#define (USP_[A-Z_]+) (0x[0-9a-f]+)u", re.M)


def declarations(*headers):
    """What the headers declare, as cffi takes it: without the headers of the system, which cffi knows, and attributes."""
    include = Path(os.environ.get("USPLICE_INCLUDE") or subprocess.check_output(
        ["pkg-config", "--variable=includedir", "usplice"], text=True).strip())
    with tempfile.TemporaryDirectory() as empty:
        for name in ABSENT:
            Path(empty, name).parent.mkdir(exist_ok=True)
            Path(empty, name + ".h").touch()
        code = "".join(f"#include <{header}>\n" for header in headers)
        declared = subprocess.run(["cpp", "-P", "-nostdinc", "-U__GNUC__", "-I", empty, "-I", include, "-"], input=code,
                                  check=True, stdout=subprocess.PIPE, text=True).stdout
    flags = [f"#define {name} {value}" for header in headers for name, value in FLAG.findall((include / header).read_text())]
    return "\n".join(["struct iovec { void *iov_base; size_t iov_len; };", *flags, declared])


ffi = cffi.FFI()
ffi.cdef(declarations("usplice.h", "usplice/transform.h"))
usplice = ffi.dlopen(os.environ.get("LIBUSPLICE", "libusplice.so.0"))


def check(result, what):
    """The result, or an exception for a negative errno."""
    if result < 0:
        raise OSError(-result, os.strerror(-result), what)
    return result


def sized(name, **members):
    """A struct that begins with its size: parameters with these members, or an empty result."""
    it = ffi.new(f"struct {name} *")
    it.size = ffi.sizeof(it[0])
    for member, value in members.items():
        setattr(it, member, value)
    return it


def text(string):
    return ffi.string(string).decode()


def made(function, *arguments, what, last=()):
    """What a function makes and returns by a pointer, as usp_open does. One reference is ours."""
    it = ffi.new(ffi.typeof(function).args[len(arguments)])
    check(function(*arguments, it, *last), what)
    return it[0]


def opened(spec, mode):
    return made(usplice.usp_open, spec.encode(), sized("usp_open_params", mode=mode), what=spec, last=[ffi.NULL])


@ffi.callback("void(void *)")
def heading_is_free(handle):
    """No sink, pipe or kernel refers to the memory any more: it may change, or go."""
    print(f"heading: {len(ffi.from_handle(handle))} bytes are free again")


def give(heading, sinks):
    """Put the heading into a pipe for each sink, by reference, and from there into the sink."""
    handle = ffi.new_handle(heading)  # it and the memory have to stay until the call of heading_is_free
    gift = made(usplice.usp_gift_new, ffi.from_buffer(heading), len(heading), heading_is_free, handle, what="gift")
    for sink in sinks:
        ends = ffi.new("struct usp_file *[2]")
        check(usplice.usp_pipe_open(ffi.NULL, ends), "pipe")
        check(usplice.usp_gift_splice(gift, 0, len(heading), ends[1], 0), "gift")
        while (left := check(usplice.usp_pipe_bytes(ends[0]), "pipe")) > 0:
            check(usplice.usp_splice(ends[0], ffi.NULL, sink, ffi.NULL, left, 0), text(usplice.usp_file_spec(sink)))
        usplice.usp_file_put(ends[0])
        usplice.usp_file_put(ends[1])
    for sink in sinks:
        check(usplice.usp_file_sync(sink), text(usplice.usp_file_spec(sink)))  # a socket may still send from it
    usplice.usp_gift_put(gift)  # ours; the call comes with the last reference
    return handle


def run(pump):
    """Run it, and say what failed."""
    result = usplice.usp_pump_run(pump)
    if result < 0:
        failure = sized("usp_pump_error")
        usplice.usp_pump_error(pump, failure)
        check(result, text(failure.spec) if failure.spec else "pump")


def fan_out(source, sinks):
    """Move all of the source to every sink, and print its digests. The stage takes over our reference to the source."""
    stage = made(usplice.usp_transform_open, f"digest:{','.join(DIGESTS)}".encode(), source, ffi.NULL, what="digest",
                 last=[ffi.NULL])
    pump = made(usplice.usp_pump_new, stage, ffi.NULL, what="pump")
    for sink in sinks:
        check(usplice.usp_pump_add_sink(pump, sink), "pump")
    run(pump)
    for index in range(len(DIGESTS)):
        digest = sized("usp_digest_result")
        check(usplice.usp_digest_result(stage, index, digest), "digest")
        print(f"{text(digest.algorithm)}: {text(digest.hex)}")
    usplice.usp_pump_free(pump)
    usplice.usp_file_put(stage)


def report(sink):
    """Close a sink, for some disks tell only here that they are full, and say how its bytes went."""
    spec = text(usplice.usp_file_spec(sink))
    check(usplice.usp_file_close(sink), spec)
    hop = sized("usp_hop")
    usplice.usp_file_hop(sink, usplice.USP_WRITE, hop)
    print(f"{spec}: {hop.bytes[usplice.USP_BY_REFERENCE]} by reference, {hop.bytes[usplice.USP_COPIED]} copied, "
          f"{hop.bytes[usplice.USP_UNKNOWN]} unknown")
    usplice.usp_file_put(sink)


def main():
    if len(sys.argv) < 4:
        sys.exit("usage: fanout.py HEADING SOURCE SINK...")
    heading = bytearray(sys.argv[1].encode() + b"\n")
    source = opened(sys.argv[2], usplice.USP_READ)
    sinks = [opened(spec, usplice.USP_WRITE) for spec in sys.argv[3:]]
    kept = give(heading, sinks)
    fan_out(source, sinks)
    for sink in sinks:
        report(sink)
    del kept


try:
    main()
except OSError as error:
    sys.exit(f"fanout.py: {error.filename}: {error.strerror}")
