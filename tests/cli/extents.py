#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""extents.py A OFF_A B OFF_B LEN - how many bytes of two ranges are in the same blocks, after both are on the disk."""
import fcntl
import os
import struct
import sys

FS_IOC_FIEMAP = 0xC020660B
FIEMAP_FLAG_SYNC = 1
HEADER, EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL")
INLINE = 0x200


def blocks(path, off, length, step=512):
    """Return the place on the disk of each piece of step bytes."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    buffer = bytearray(HEADER.pack(off, length, FIEMAP_FLAG_SYNC, 0, 4000, 0) + bytes(EXTENT.size * 4000))
    fcntl.ioctl(fd, FS_IOC_FIEMAP, buffer)
    os.close(fd)
    places = {}
    for i in range(HEADER.unpack_from(buffer)[3]):
        logical, physical, size, _, _, flags, *_ = EXTENT.unpack_from(buffer, HEADER.size + i * EXTENT.size)
        for at in range(max(logical, off), min(logical + size, off + length), step):
            places[at - off] = None if flags & INLINE else physical + at - logical
    return places


def main():
    a, off_a, b, off_b, length = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    of_a, of_b = blocks(a, off_a, length), blocks(b, off_b, length)
    shared = sum(min(512, length - at) for at in of_a if of_a[at] is not None and of_a[at] == of_b.get(at))
    print(shared)


main()
