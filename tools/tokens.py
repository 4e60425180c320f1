# SPDX-License-Identifier: MIT
"""tokens - two opinions on tests/oracle/token_cells.c, for tools/test-kernels: its tokens in the memory of a guest, and the
bytes that functions of the guest's kernel copied (kprobes)."""
import json
import mmap
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

MEMORY_MIB = 256
COPIED_LEAST = 256  # bytes: the smallest piece of a cell has 512

# What the matrix of usplice probe calls the objects of the cells, by the cell and by what it moves.
OBJECTS = {
    ("file on tmpfs", "page"): "file in /tmp",
    ("file on a disk", "page"): "file in /var/tmp",
    ("memory", "vmsplice"): "memory, by vmsplice",
    ("memory", "vmsplice, GIFT"): "memory, by vmsplice",
    ("pipe", "page"): "pipe",
    ("pipe", "spliced page"): "pipe",
    ("TCP socket", "page"): "TCP over loopback",
    ("TCP socket", "spliced page"): "TCP over loopback",
    ("TCP socket", "piece of 4096, at 3996"): "TCP, written pieces",
    ("MPTCP socket", "page"): "MPTCP over loopback",
    ("MPTCP socket", "spliced page"): "MPTCP over loopback",
    ("UNIX socket", "page"): "UNIX stream",
    ("UNIX socket", "spliced page"): "UNIX stream",
    ("UNIX socket", "piece of 3000, at 2900"): "UNIX stream, written pieces",
}
CONTROLS = {"control as a copy": "copied", "control as a reference": "by reference"}

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc && mount -t sysfs sysfs /sys && mount -t tracefs tracefs /sys/kernel/tracing ; mount -t devtmpfs devtmpfs /dev && mkdir -p /tmp /var/tmp &&
	mount -t tmpfs tmpfs /tmp && ip link set lo up && insmod /drivers/loop.ko && truncate -s 32M /disk &&
	mke2fs -F /disk >/dev/null && mount -o loop -t ext4 /disk /var/tmp && dmesg -n 1 && stty -echo && echo "@begin" &&
	/programs/token_cells
poweroff -f
"""


class Qmp:
    """The monitor of the emulator."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("r")
        self.lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command, **arguments):
        self.socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer:
                return
            if "error" in answer:
                raise OSError(answer["error"]["desc"])


def count_in_memory(qmp, dump, token):
    """How often the token is in the memory of the stopped guest."""
    qmp.ask("stop")
    qmp.ask("pmemsave", val=0, size=MEMORY_MIB << 20, filename=str(dump))
    qmp.ask("cont")
    with open(dump, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        found, at = 0, memory.find(token)
        while at >= 0:
            found, at = found + 1, memory.find(token, at + 1)
    return found


def run_cells(emulator, image, initramfs, seconds):
    """Boot the guest, and answer its questions. For each cell [name, what, counts before and after, bytes that were copied],
    and the lines of its console."""
    with tempfile.TemporaryDirectory() as folder:
        monitor, dump = Path(folder, "monitor"), Path(folder, "dump")
        command = [emulator, "-accel", "tcg", "-m", str(MEMORY_MIB), "-smp", "1", "-nodefaults", "-no-reboot", "-display",
                   "none", "-serial", "stdio", "-qmp", f"unix:{monitor},server=on,wait=off", "-kernel", image, "-initrd",
                   initramfs, "-append", "console=ttyS0 panic=-1 oops=panic"]
        cells, console, qmp = [], [], None
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", bufsize=1) as guest:
            alarm = threading.Timer(seconds, guest.kill)
            alarm.start()
            try:
                for line in guest.stdout:
                    line = line.rstrip("\r\n")
                    console.append(line)
                    if line == "@begin":
                        qmp = Qmp(monitor)
                    elif line.startswith("@cell "):
                        cells.append([*line[6:].split("\t"), [], None])
                    elif line.startswith("@copied "):
                        cells[-1][3] = int(line[8:])
                    elif line.startswith("@count "):
                        cells[-1][2].append(count_in_memory(qmp, dump, bytes.fromhex(line[7:])))
                        guest.stdin.write("\n")
                        guest.stdin.flush()
            finally:
                alarm.cancel()
                guest.kill()
        return cells, console


def has_kprobes(cells):
    """Whether the sums of bytes can be believed: both controls are as they must be."""
    return all(copied is not None and (copied >= COPIED_LEAST) == (CONTROLS[name] == "copied")
               for name, _, _, copied in cells if name in CONTROLS)


def matrix_row(cell):
    """The name of a cell of the matrix in the table."""
    return f"{cell['object']}, {cell['half']}" if cell["half"] != "direct" else cell["peer"]


def matrix_answer(matrix, name, what):
    """What the matrix says of a cell of ours, if it has one."""
    kind, _, side = name.rpartition(" as a ")
    half = "into a pipe" if side == "source" else "out of a pipe"
    flag = "GIFT" if what.endswith("GIFT") else "none"
    for cell in matrix["cells"]:
        if (cell["object"], cell["half"]) == (OBJECTS.get((kind, what)), half) and (cell["base"] or cell["flag"] == flag == "GIFT"):
            return cell["answer"]
    return None


def judge(cells, findings, matrix):
    """What the counts say beside what the probe found: rows for the table, and sentences about what is wrong."""
    seen = sum(1 for *_, copied in cells if has_kprobes(cells) and copied >= COPIED_LEAST)
    rows, wrong = {"copied by kprobes, too": str(seen) if has_kprobes(cells) else "no kprobes"}, []
    for name, what, counts, copied in cells:
        if len(counts) != 2:
            rows[f"{name}: {what}"] = "refused"
            continue
        way = "copied" if counts[1] > counts[0] else "by reference"
        rows[f"{name}: {what}"] = way
        for expected in dict.fromkeys((CONTROLS.get(name, findings.get(name)), matrix_answer(matrix, name, what))):
            if expected in ("copied", "by reference") and expected != way:
                wrong.append(f"{name} ({what}): {way} by its tokens, {counts[0]} before and {counts[1]} after, not {expected}")
        if has_kprobes(cells) and copied >= COPIED_LEAST and way != "copied":
            wrong.append(f"{name} ({what}): {way} by its tokens, but kprobes saw {copied} bytes copied")
    return rows, wrong
