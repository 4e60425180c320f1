#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pieces FORMAT PIECE [FILE...] - compress standard input in pieces of PIECE bytes, with a table to seek by, to standard
output. zstd: the frames of FILE..., one for each piece, and the table of the seekable format; bgzf: blocks of gzip."""
import struct
import sys
import zlib


def bgzf_block(part):
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = packer.compress(part) + packer.flush()
    head = b"\x1f\x8b\x08\x04" + bytes(5) + b"\xff\x06\x00BC\x02\x00" + struct.pack("<H", 18 + len(packed) + 8 - 1)
    return head + packed + struct.pack("<II", zlib.crc32(part), len(part))


def parts(piece):
    while part := sys.stdin.buffer.read(piece):
        yield part


form, piece, frames = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
out = sys.stdout.buffer
if form == "bgzf":
    for part in parts(piece):
        out.write(bgzf_block(part))
    out.write(bgzf_block(b""))
else:
    entries = b""
    for name, part in zip(frames, parts(piece), strict=True):
        with open(name, "rb") as file:
            frame = file.read()
        out.write(frame)
        entries += struct.pack("<II", len(frame), len(part))
    out.write(struct.pack("<II", 0x184D2A5E, len(entries) + 9) + entries + struct.pack("<IBI", len(frames), 0, 0x8F92EAB1))
