# SPDX-License-Identifier: MIT
"""mount_rw.py MOUNTED PLAIN SEED [OPTIONS OF THE MOUNT] - write at random, and compare all along with a model of the bytes.

MOUNTED is PLAIN through a mount. Both are written, so that each has to show what went into the other.
"""
import mmap
import os
import random
import sys

MOST = 1 << 20


def model_write(model, pos, data):
    if len(model) < pos:
        model.extend(bytes(pos - len(model)))
    model[pos:pos + len(data)] = data


def model_cut(model, size):
    del model[size:]
    model.extend(bytes(size - len(model)))


def write_mapped(fd, model, pos, data):
    with mmap.mmap(fd, len(model)) as mapped:
        mapped[pos:pos + len(data)] = data
        mapped.flush()


def main(path, plain_path, seed, can_map):
    chance = random.Random(seed)
    print("seed", seed)
    fd, plain = os.open(path, os.O_RDWR), os.open(plain_path, os.O_RDWR)
    appending = os.open(path, os.O_WRONLY | os.O_APPEND)
    with open(plain_path, "rb") as file:
        model = bytearray(file.read())
    for step in range(400):
        what, pos = chance.randrange(10), chance.randrange(MOST)
        data = chance.randbytes(chance.choice([1, 100, 4096, 4097, 65536, 200000]))
        if what < 4:
            assert os.pwrite(fd, data, pos) == len(data)
            model_write(model, pos, data)
        elif what == 4:
            os.ftruncate(fd, pos)
            model_cut(model, pos)
        elif what == 5:
            assert os.write(appending, data) == len(data)
            model_write(model, len(model), data)
        elif what == 6 and can_map and len(model) > len(data):
            pos %= len(model) - len(data)
            write_mapped(fd, model, pos, data)
            model_write(model, pos, data)
        elif what == 7 and len(model) > 1:
            os.posix_fallocate(fd, 0, len(model) // 2 + 1)
        elif what == 8:
            os.fsync(fd)
        got = os.pread(fd, len(data), pos)
        assert got == model[pos:pos + len(data)], (step, what, pos)
        there = os.pread(plain, len(data), pos)
        assert there == model[pos:pos + len(data)], (step, what, pos)
    assert os.fstat(fd).st_size == len(model)
    for one in (fd, plain):
        assert os.pread(one, len(model) + 1, 0) == model


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), "--direct" not in sys.argv[4:])
