# SPDX-License-Identifier: MIT
"""mounts - files that a server in user space shows, read through it for the first time."""
import dataclasses
import os
import shutil
import subprocess
import tempfile
import time

from measure import CPU, CPU_ALL, FOREIGN, RATE, Bar, Case, Contender, Failed, Metric, Run, Stopwatch, finish, start

NR_RANDOM = 20000
DECODED_SHARE = 4   # of the size: to decode costs more than to read
ARCHIVE_SHARE = 32  # of the size
TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class TimesRun(Run):
    """A run with the times of its calls, in microseconds."""

    p50: float = 0
    p99: float = 0


P50 = Metric("p50 us", lambda contender, run: run.p50, 1, has_range=True)
P99 = Metric("p99 us", lambda contender, run: run.p99, 1)


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
        process = start([*reader, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        cpu = finish(process)
        cpu += tree_cpu(server.pid) - before if server else 0
        run = watch.read(cpu, cpu)
        with process.stdout:
            times = [int(word) / 1000 for word in process.stdout.read().split()]
        return TimesRun(run.seconds, run.cpu, run.cpu_all, run.foreign, *times)
    finally:
        if server:
            target = folder if os.path.ismount(folder) else path
            subprocess.run(["fusermount3", "-u", "-z", target], check=False, stderr=subprocess.DEVNULL)
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


# --- Who serves ----------------------------------------------------------------------------------

def usplice(bench, source, *options):
    name = os.path.basename(source).removesuffix(".zst")
    return lambda folder: ([bench.usplice, "mount", "-q", *options, source, folder], os.path.join(folder, name))


def nbdfuse(source):
    def serve(folder):
        path = os.path.join(folder, "file")
        open(path, "w", encoding="ascii").close()
        return ["nbdfuse", path, "[", "nbdkit", "--exit-with-parent", "file", source, "]"], path
    return serve


def shown_by(program, image, name, *options):
    """A server of all files of an image."""
    return lambda folder: ([program, *options, "-f", image, folder], os.path.join(folder, name))


def squashed(source, *options):
    """A file system with the file, made once."""
    image = source + "".join(options) + ".squashfs"
    if not os.path.exists(image):
        subprocess.run(["mksquashfs", source, image, "-quiet", "-no-progress", *options], check=True, stdout=subprocess.DEVNULL)
    return image


def archived(source, *options):
    """A tar file with the file, made once."""
    path = source + ".tar" + "".join(options)
    if not os.path.exists(path):
        subprocess.run(["tar", *options, "-C", os.path.dirname(source), "-cf", path, os.path.basename(source)], check=True)
    return path


def installed(makers):
    """Those of name: (programs, maker) whose programs are here, by name, and a sentence about the others."""
    have = {name: make() for name, (programs, make) in makers.items() if all(map(shutil.which, programs))}
    missing = [name for name in makers if name not in have]
    return have, f"not installed: {', '.join(missing)}" if missing else ""


# --- Cases ---------------------------------------------------------------------------------------

def case_of(name, reader, size, have, **rest):
    return Case(name, [Contender(who, lambda serve=serve: mount_run(serve, reader), size) for who, serve in have.items()],
                **rest)


def order_bars(peers):
    return [Bar(["usplice"], list(peers), 1.5), Bar(["usplice"], list(peers), 1, CPU)] if peers else []


IN_ORDER = ["sh", "-c", 'exec dd bs=1M of=/dev/null status=none if="$0"']


def squash(source, *options):
    return ["squashfuse", "mksquashfs"], lambda: shown_by("squashfuse", squashed(source, *options), os.path.basename(source))


def archive(program, source, *options):
    more = ["-o", "readonly"] if program == "archivemount" else []
    return [program], lambda: shown_by(program, archived(source, *options), os.path.basename(source), *more)


def plain_cases(bench):
    source = bench.source(bench.disk, bench.size)
    ours = {
        "usplice": usplice(bench, source, "--no-passthrough"),
        "usplice direct": usplice(bench, source, "--direct"),
        "usplice passthrough": usplice(bench, source),
        "plain file": lambda folder: (None, source),
    }
    peers, note = installed({
        "nbdkit + nbdfuse": (["nbdkit", "nbdfuse"], lambda: nbdfuse(source)),
        "squashfuse": squash(source, "-noI", "-noD", "-noF", "-noX"),
    })
    yield case_of("in order", IN_ORDER, bench.size, {**ours, **peers}, note=note,
                  bars=[*order_bars(peers), Bar(["usplice passthrough"], ["plain file"], 0.9)])
    yield case_of("4 KiB at random", [bench.peer("read_times"), str(NR_RANDOM)], NR_RANDOM * 4096, {**ours, **peers},
                  note=note, metrics=[P50, P99, RATE, CPU, CPU_ALL, FOREIGN],
                  bars=[Bar(["usplice"], list(peers), 1, P50)] if peers else [])


def unpacked(packed):
    """What is in frames of zstd, as a file."""
    plain = packed + "-plain"
    if not os.path.exists(plain):
        subprocess.run(["zstd", "-q", "-d", "-o", plain, packed], check=True)
        os.link(packed, packed + ".zst")
    return plain


def decoded_case(bench):
    size = bench.size // DECODED_SHARE
    packed = bench.packed(bench.disk, size)
    plain = unpacked(packed)
    zstd = ["-comp", "zstd", "-Xcompression-level", "3"]
    peers, note = installed({"squashfuse": squash(plain, *zstd), "squashfuse, 1 MiB": squash(plain, *zstd, "-b", "1M")})
    return case_of("zstd, in order", IN_ORDER, size,
                   {"usplice": usplice(bench, packed + ".zst", "--decompress", "--no-passthrough"), **peers}, note=note,
                   bars=order_bars(peers))


def archive_case(bench):
    """Archives are slow, and so have a short file."""
    size = bench.size // ARCHIVE_SHARE
    packed = bench.packed(bench.disk, size)
    plain = unpacked(packed)
    peers, note = installed({
        "archivemount": archive("archivemount", plain),
        "archivemount zstd": archive("archivemount", plain, "--zstd"),
        "fuse-archive": archive("fuse-archive", plain),
        "fuse-archive zstd": archive("fuse-archive", plain, "--zstd"),
    })
    ours = {
        "usplice": usplice(bench, plain, "--no-passthrough"),
        "usplice zstd": usplice(bench, packed + ".zst", "--decompress", "--no-passthrough"),
    }
    bars = [Bar([mine], [who for who in peers if who.endswith("zstd") == mine.endswith("zstd")], 1.5) for mine in ours]
    return case_of("beside archives, in order", IN_ORDER, size, {**ours, **peers}, note=note, bars=bars if peers else [])


def mount_cases(bench):
    yield from plain_cases(bench)
    yield decoded_case(bench)
    yield archive_case(bench)
