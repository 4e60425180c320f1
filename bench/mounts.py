# SPDX-License-Identifier: MIT
"""mounts - files that a server in user space shows, read through it for the first time."""
import os
import shutil
import subprocess
import tempfile
import time

from measure import Bar, Case, Contender, Failed, Stopwatch, finish, start

MIB = 1 << 20
NR_RANDOM = 20000
TICKS = os.sysconf("SC_CLK_TCK")
RANDOM = f"""
import os, random, sys
fd, chance = os.open(sys.argv[1], os.O_RDONLY), random.Random(1)
pages = os.fstat(fd).st_size // 4096
for _ in range({NR_RANDOM}):
    os.pread(fd, 4096, chance.randrange(pages) * 4096)
"""


def tree_cpu(pid):
    """Seconds of processor time of a process and the processes below it."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        below = file.read().split()
    return sum(map(int, fields[11:15])) / TICKS + sum(tree_cpu(child) for child in below)


def await_file(server, path):
    deadline = time.monotonic() + 30
    while not os.path.exists(path) or os.path.getsize(path) == 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{server.args[0]} shows nothing")
        time.sleep(0.02)


def mount_run(serve, reader):
    """Serve in a new folder, and read what is shown there once. serve: (folder) -> (command, path)."""
    folder = tempfile.mkdtemp()
    command, path = serve(folder)
    server = start(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) if command else None
    try:
        if server:
            await_file(server, path)
        watch, before = Stopwatch(), tree_cpu(server.pid) if server else 0
        cpu = finish(start([*reader, path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        cpu += tree_cpu(server.pid) - before if server else 0
        return watch.read(cpu, cpu)
    finally:
        if server:
            target = folder if os.path.ismount(folder) else path
            subprocess.run(["fusermount3", "-u", "-z", target], check=False, stderr=subprocess.DEVNULL)
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def contenders_of(bench, source, image):
    name = os.path.basename(source)

    def usplice(*options):
        return lambda folder: ([bench.usplice, "mount", "-q", *options, source, folder], os.path.join(folder, name))

    def nbdfuse(folder):
        path = os.path.join(folder, "file")
        open(path, "w", encoding="ascii").close()
        return ["nbdfuse", path, "[", "nbdkit", "--exit-with-parent", "file", source, "]"], path

    have = {
        "usplice": usplice("--no-passthrough"),
        "usplice direct": usplice("--direct"),
        "usplice passthrough": usplice(),
        "plain file": lambda folder: (None, source),
    }
    if shutil.which("nbdfuse") and shutil.which("nbdkit"):
        have["nbdkit + nbdfuse"] = nbdfuse
    if image and shutil.which("squashfuse"):
        have["squashfuse"] = lambda folder: (["squashfuse", "-f", image, folder], os.path.join(folder, name))
    return have


def squashed(bench, source):
    """A file system with the file as it is, or None."""
    image = source + ".squashfs"
    if shutil.which("mksquashfs") and not os.path.exists(image):
        subprocess.run(["mksquashfs", source, image, "-quiet", "-noI", "-noD", "-noF", "-noX", "-no-progress"], check=True,
                       stdout=subprocess.DEVNULL)
    return image if os.path.exists(image) else None


def mount_cases(bench):
    source = bench.source(bench.disk, bench.size)
    have = contenders_of(bench, source, squashed(bench, source))
    peers = [name for name in have if name in ("nbdkit + nbdfuse", "squashfuse")]
    bars = [Bar(["usplice", "usplice direct"], peers, 1.5)] if peers else []
    for name, reader, size, case_bars in [
            ("in order", ["sh", "-c", 'exec dd bs=1M of=/dev/null if="$0"'], bench.size,
             [*bars, Bar(["usplice passthrough"], ["plain file"], 0.9)]),
            ("at random", ["python3", "-c", RANDOM], NR_RANDOM * 4096, [Bar(["usplice direct"], peers, 1)] if peers else [])]:
        yield Case(name, [Contender(who, lambda serve=serve, reader=reader: mount_run(serve, reader), size)
                          for who, serve in have.items()], case_bars)
