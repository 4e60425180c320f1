# SPDX-License-Identifier: MIT
"""cases - what is compared with what. Each function makes the cases of one kind."""
import os
import shlex
import shutil
import subprocess

from codec import codec_cases
from files import file_run, remove, settle, timed
from measure import CPU, Bar, Case, Contender, Run, Stopwatch, finish, start
from mounts import mount_cases
from relay import RELAY_CASES

MIB = 1 << 20
NR_SINKS = 4


class Bench:
    """Where the programs and the files are."""

    def __init__(self, usplice, peers, tmpfs, disk, size, congestion, seconds=2.0):
        self.usplice = usplice
        self.peers = peers
        self.tmpfs = tmpfs
        self.disk = disk
        self.size = size
        self.congestion = congestion
        self.seconds = seconds

    def peer(self, name):
        return os.path.join(self.peers, name)

    def source(self, folder, size):
        """A file of bytes that do not repeat soon, in the page cache."""
        path = os.path.join(folder, f"source-{size}")
        if not os.path.exists(path):
            piece = os.urandom(16 * MIB)
            with open(path, "wb") as file:
                for off in range(0, size, len(piece)):
                    file.write(piece[:size - off])
            os.sync()
        with open(path, "rb") as file:
            while file.read(16 * MIB):
                pass
        return path

    def packed(self, folder, size):
        """Frames of zstd that tell their lengths, 1 MiB each, of bytes of which half can be compressed."""
        path = os.path.join(folder, f"packed-{size}")
        if not os.path.exists(path):
            frame = subprocess.run(["zstd", "-q", "-c", f"--stream-size={MIB}"], check=True, stdout=subprocess.PIPE,
                                   input=os.urandom(MIB // 4).hex().encode() + os.urandom(MIB // 2)).stdout
            with open(path, "wb") as file:
                for _ in range(0, size, MIB):
                    file.write(frame)
        return path


# --- File to TCP ---------------------------------------------------------------------------------

def tcp_run(bench, how, mode, command):
    receiver = start([bench.peer("tcp_peer"), "receive", how, bench.congestion], stdout=subprocess.PIPE)
    port, congestion = receiver.stdout.readline().decode().split()
    if congestion != bench.congestion:
        raise RuntimeError(f"the receiver has {congestion}")
    connect = [bench.peer("tcp_peer"), "connect", port, bench.congestion, mode]
    with receiver.stdout:
        return timed(lambda: [start(connect + command), receiver], 0)


def tcp_cases(bench):
    size = 2 * bench.size
    source = bench.source(bench.tmpfs, size)
    for how in ("discard", "read"):
        copy = [bench.usplice, "copy", "-q", source, "fd:3"]
        commands = {
            "usplice": ("nonblocking", copy),
            "usplice, blocking": ("blocking", copy),
            "sendfile 1G": ("blocking", [bench.peer("tcp_peer"), "sendfile", source, str(1 << 30)]),
            "sendfile 1M": ("blocking", [bench.peer("tcp_peer"), "sendfile", source, str(MIB)]),
        }
        contenders = [Contender(name, lambda how=how, mode=mode, command=command: tcp_run(bench, how, mode, command), size)
                      for name, (mode, command) in commands.items()]
        yield Case(f"file to TCP, receiver {how}s", contenders, [Bar(["usplice"], ["sendfile 1G", "sendfile 1M"], 0.95)],
                   f"{bench.congestion} on both ends")


# --- File to file --------------------------------------------------------------------------------

def file_case(bench, folder, name, is_fresh):
    source, sink = bench.source(folder, bench.size), os.path.join(folder, "sink")
    commands = {
        "usplice": [bench.usplice, "copy", "-q", source, sink],
        "cp": ["cp", source, sink],
        "copy_file_range": [bench.peer("copy_range_peer"), source, sink],
    }
    contenders = [Contender(what, lambda command=command: file_run(command, [sink], is_fresh), bench.size)
                  for what, command in commands.items()]
    shutil.copy(source, sink)
    yield Case(f"file to file, {name}, {'fresh' if is_fresh else 'overwritten'}", contenders,
               [Bar(["usplice"], ["cp", "copy_file_range"], 0.95)])
    remove([sink])


def file_cases(bench):
    for folder, name in ((bench.tmpfs, "tmpfs"), (bench.disk, "disk")):
        for is_fresh in (True, False):
            yield from file_case(bench, folder, name, is_fresh)


# --- Holes, and several sources ------------------------------------------------------------------

NR_EXTENTS = 1000
NR_SMALL = 10000


def holey_source(folder, size):
    """A file of holes with NR_EXTENTS pieces of 8 KiB."""
    path = os.path.join(folder, f"holey-{size}")
    if not os.path.exists(path):
        with open(path, "wb") as file:
            file.truncate(size)
            for index in range(NR_EXTENTS):
                file.seek(size // NR_EXTENTS // 4096 * 4096 * index)
                file.write(os.urandom(8192))
        os.sync()
    return path


def sparse_cases(bench):
    source, sink = holey_source(bench.disk, bench.size), os.path.join(bench.disk, "sink")
    sinks = [sink, sink + "-2"]
    commands = {
        "usplice": [bench.usplice, "copy", "-q", source, sink],
        "usplice, user lane": [bench.usplice, "copy", "-q", "--lane", "user", source, sink],
        "usplice, two sinks": [bench.usplice, "copy", "-q", source, *sinks],
        "cp": ["cp", "--sparse=auto", source, sink],
    }
    contenders = [Contender(what, lambda command=command: file_run(command, sinks, True), bench.size)
                  for what, command in commands.items()]
    yield Case(f"a file with {NR_EXTENTS} pieces of data, disk", contenders, [Bar(["usplice"], ["cp"], 1.0)])
    remove(sinks)


def join_case(bench, name, sources, bars):
    sink = os.path.join(bench.disk, "sink")
    commands = {
        "usplice cat": [bench.usplice, "cat", "-q", "--to", sink, *sources],
        "usplice cat >": ["sh", "-c", 'sink=$1; shift; exec "$@" > "$sink"', "sh", sink, bench.usplice, "cat", "-q", *sources],
        "cat >": ["sh", "-c", 'sink=$1; shift; exec "$@" > "$sink"', "sh", sink, "cat", *sources],
    }
    contenders = [Contender(what, lambda command=command: file_run(command, [sink], True),
                            sum(os.path.getsize(source) for source in sources)) for what, command in commands.items()]
    yield Case(f"join {name}, disk", contenders, bars)
    remove([sink])


def join_cases(bench):
    large = bench.source(bench.disk, bench.size // 2)
    folder = os.path.join(bench.disk, "small")
    os.makedirs(folder, exist_ok=True)
    small = [os.path.join(folder, str(index)) for index in range(NR_SMALL)]
    for path in small:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{path}\n")
    yield from join_case(bench, "two large files", [large, large], [Bar(["usplice cat"], ["cat >"], 0.95)])
    yield from join_case(bench, f"{NR_SMALL} small files", small, [])


# --- In the middle of a pipeline -----------------------------------------------------------------

def pipeline(commands):
    """Start commands joined by pipes of the default size."""
    processes, before = [], subprocess.DEVNULL
    for index, command in enumerate(commands):
        is_last = index + 1 == len(commands)
        process = start(command, stdin=before, stdout=subprocess.DEVNULL if is_last else subprocess.PIPE)
        if before is not subprocess.DEVNULL:
            before.close()
        before = process.stdout
        processes.append(process)
    return processes


def pipeline_case(bench, producer, consumer, size, bars):
    relays = {
        "usplice": [bench.usplice, "copy", "-q", "-", "-"],
        "pv": ["pv", "-q"],
        "mbuffer": ["mbuffer", "-q"],
        "cat": ["cat"],
    }
    ends = [bench.peer("pipe_peer"), producer, str(size)], [bench.peer("pipe_peer"), consumer]
    contenders = [Contender(name, lambda relay=relay: timed(lambda: pipeline([ends[0], relay, ends[1]]), 1), size)
                  for name, relay in relays.items() if shutil.which(relay[0])]
    have = [contender.name for contender in contenders]
    return Case(f"{producer} | X | {consumer}", contenders, [bar for bar in bars if bar.peers[0] in have])


def pipeline_cases(bench):
    yield pipeline_case(bench, "vmsplice", "splice", 4 * bench.size,
                        [Bar(["usplice"], ["pv"], 5), Bar(["usplice"], ["mbuffer"], 3)])
    yield pipeline_case(bench, "write", "read", 2 * bench.size, [Bar(["usplice"], ["pv"], 1), Bar(["usplice"], ["mbuffer"], 1)])


# --- A buffer between two ends that are not steady -------------------------------------------------

BURST = 64 * MIB
BUFFER = 256 * MIB
LONG_PAUSE = 100  # ms, longer than a burst takes


REDIRECTED = ["/bin/sh", "-c", 'source=$1 sink=$2; shift 2; eval "exec \\"\\$@\\" $source $sink"', "sh"]


def buffer_commands(bench, source="-", sink="-", mbuffer_ends=()):
    """Name -> command: copies through a buffer, and mbuffer, if it is here, with redirections."""
    commands = {
        "usplice": [bench.usplice, "copy", "-q", "--buffer", str(BUFFER), source, sink],
        "usplice user": [bench.usplice, "copy", "-q", "--lane", "user", "--buffer", str(BUFFER), source, sink],
    }
    if shutil.which("mbuffer"):
        commands["mbuffer"] = [*(REDIRECTED if mbuffer_ends else []), *mbuffer_ends, "mbuffer", "-q", "-m", str(BUFFER)]
    return commands


def have_bars(contenders, bars):
    """The bars whose peers are here."""
    have = [contender.name for contender in contenders]
    return [bar for bar in bars if set(bar.peers) <= set(have)]


def burst_case(bench, pause):
    """
    *source* and *sink* are each end alone, with another end that never pauses. No buffer can be faster than the slower
    one of them. *no buffer* joins both, so that each waits for the pauses of the other.
    """
    size = 4 * bench.size
    source = [bench.peer("burst_peer"), "source", str(size), str(BURST), str(pause)]
    sink = [bench.peer("burst_peer"), "sink", str(BURST), str(pause)]
    commands = {name: [source, command, sink] for name, command in buffer_commands(bench).items()}
    commands["no buffer"] = [source, sink]
    commands["source"] = [source, [bench.peer("pipe_peer"), "read"]]
    commands["sink"] = [[bench.peer("pipe_peer"), "write", str(size)], sink]
    contenders = [Contender(name, lambda programs=programs: timed(lambda: pipeline(programs), min(1, len(programs) - 2)), size)
                  for name, programs in commands.items()]
    bars = [Bar(["usplice"], ["mbuffer"], 0.5, CPU)]
    if pause < LONG_PAUSE:  # what the buffer costs
        bars += [Bar(["usplice"], ["mbuffer"], 1.2)]
    else:  # what it is for
        bars += [Bar(["usplice"], ["mbuffer"], 0.95), Bar(["usplice"], ["no buffer"], 1.2),
                 Bar(["usplice"], ["source", "sink"], 0.8, is_with_worst=True)]
    return Case(f"bursts of 64 MiB, pauses of {pause} ms", contenders, have_bars(contenders, bars))


def steady_cases(bench):
    """Ends that never pause: what the buffer itself costs."""
    source, sink = bench.source(bench.tmpfs, bench.size), os.path.join(bench.tmpfs, "sink")
    commands = buffer_commands(bench, source, sink, [f"<{shlex.quote(source)}", f">{shlex.quote(sink)}"])
    contenders = [Contender(name, lambda command=command: file_run(command, [sink], True), bench.size)
                  for name, command in commands.items()]
    yield Case("a buffer from file to file, tmpfs", contenders,
               have_bars(contenders, [Bar(["usplice"], ["mbuffer"], 1.0), Bar(["usplice"], ["mbuffer"], 1.0, CPU)]))
    remove([sink])
    bars = [Bar(["usplice"], ["mbuffer"], 1.2), Bar(["usplice"], ["mbuffer"], 0.5, CPU)]
    size = 2 * bench.size
    producer, consumer = [bench.peer("pipe_peer"), "write", str(size)], [bench.peer("pipe_peer"), "read"]
    contenders = [Contender(name, lambda command=command: timed(lambda: pipeline([producer, command, consumer]), 1), size)
                  for name, command in buffer_commands(bench).items()]
    yield Case("a buffer from pipe to pipe", contenders, have_bars(contenders, bars))
    commands = buffer_commands(bench, source, "fd:3", [f"<{shlex.quote(source)}", ">&3"])
    contenders = [Contender(name, lambda command=command, mode="blocking" if name == "mbuffer" else "nonblocking":
                            tcp_run(bench, "read", mode, command), bench.size)
                  for name, command in commands.items()]
    yield Case("a buffer from file to TCP", contenders, have_bars(contenders, [Bar(["usplice"], ["mbuffer"], 1.0)]),
               f"{bench.congestion} on both ends")


def buffer_cases(bench):
    for pause in (1, LONG_PAUSE):
        yield burst_case(bench, pause)
    yield from steady_cases(bench)


# --- One to many ---------------------------------------------------------------------------------

def fan_out_commands(bench, source):
    """Name -> (sinks -> command, keyword arguments of its start)."""
    commands = {}
    for lane in ("auto", "kernel", "user"):
        commands[f"usplice {lane}"] = lambda sinks, lane=lane: (
            [bench.usplice, "copy", "-q", "--lane", lane, source, *sinks], {})
    commands["tee"] = lambda sinks: (["tee", *sinks[1:]], {"stdin": open(source, "rb"), "stdout": open(sinks[0], "wb")})
    return commands


def fan_out_start(make, sinks, **more):
    command, files = make(sinks)
    process = start(command, **files, **more)
    for file in files.values():
        file.close()
    return process


def fan_out_case(bench, name, folder, sinks, size, bar):
    source = bench.source(folder, size)
    is_regular = not sinks[0].startswith("/dev/null")

    def run(make):
        settle(sinks if is_regular else [], True)
        return timed(lambda: [fan_out_start(make, sinks)], 0)

    contenders = [Contender(what, lambda make=make: run(make), size)
                  for what, make in fan_out_commands(bench, source).items()]
    yield Case(f"one to {NR_SINKS}, {name}", contenders, [Bar(["usplice auto"], ["tee"], bar)])
    if is_regular:
        remove(sinks)


def fan_out_to_pipes(make):
    """Four pipes with a cat behind each, opened by name as process substitution does."""
    pipes = [os.pipe() for _ in range(NR_SINKS)]
    names = [f"/dev/fd/{writer}" for _, writer in pipes]
    process = fan_out_start(make, names, pass_fds=[writer for _, writer in pipes])
    cats = [start(["cat"], stdin=reader, stdout=subprocess.DEVNULL) for reader, _ in pipes]
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)
    return [process, *cats]


def fan_out_pipes_case(bench):
    size = bench.size // 2
    source = bench.source(bench.tmpfs, size)
    contenders = [Contender(what, lambda make=make: timed(lambda: fan_out_to_pipes(make), 0), size)
                  for what, make in fan_out_commands(bench, source).items()]
    return Case(f"one to {NR_SINKS}, pipes with cat", contenders, [Bar(["usplice auto"], ["tee"], 1.5)])


def fan_out_cases(bench):
    for folder, name, size in ((bench.tmpfs, "tmpfs", bench.size // 2), (bench.disk, "disk", bench.size // 4)):
        sinks = [os.path.join(folder, f"sink-{index}") for index in range(NR_SINKS)]
        yield from fan_out_case(bench, f"fresh files on {name}", folder, sinks, size, 1.3)
    yield fan_out_pipes_case(bench)
    yield from fan_out_case(bench, "/dev/null", bench.tmpfs, ["/dev/null"] * NR_SINKS, bench.size, 2)


# --- A digest on the way -------------------------------------------------------------------------

def digest_commands(bench, source, sinks):
    names = " ".join(sinks)
    return {
        "usplice --digest": [bench.usplice, "copy", "-q", "--digest", "sha256", source, *sinks],
        "tee | sha256sum": ["bash", "-c", f"tee {names} < {source} | sha256sum"],
        "tee | openssl dgst": ["bash", "-c", f"tee {names} < {source} | openssl dgst -sha256"],
        "copy alone": [bench.usplice, "copy", "-q", source, *sinks],
        "digest alone": [bench.usplice, "copy", "-q", "--digest", "sha256", source, "null:"],
        "usplice --digest crc32c": [bench.usplice, "copy", "-q", "--digest", "crc32c", source, *sinks],
    }


def digest_cases(bench):
    for folder, name, size in ((bench.tmpfs, "tmpfs", bench.size // 2), (bench.disk, "disk", bench.size // 4)):
        source, sinks = bench.source(folder, size), [os.path.join(folder, f"sink-{index}") for index in range(NR_SINKS)]
        contenders = [Contender(what, lambda command=command, sinks=sinks: file_run(
                          command, sinks, True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), size)
                      for what, command in digest_commands(bench, source, sinks).items()]
        yield Case(f"one to {NR_SINKS} with SHA-256, fresh files on {name}", contenders,
                   [Bar(["usplice --digest"], ["tee | sha256sum"], 3),
                    Bar(["usplice --digest"], ["copy alone", "digest alone"], 1 / 1.1, is_with_worst=True)])
        remove(sinks)


# --- Inside one process --------------------------------------------------------------------------

def own_time_run(command):
    """A program that prints its seconds and its seconds of CPU."""
    watch, process = Stopwatch(), start(command, stdout=subprocess.PIPE)
    with process.stdout:
        said = process.stdout.read()
    cpu_all = finish(process)
    seconds, cpu = said.split()[:2]
    return Run(float(seconds), float(cpu), cpu_all, watch.read(0, cpu_all).foreign)


def threads_cases(bench):
    factors = {"usplice": 128, "kernel": 2, "vmsplice-64k": 16, "vmsplice-1m": 16, "usplice-touch": 8, "kernel-touch": 2}
    contenders = [Contender(way, lambda way=way, size=bench.size * factor: own_time_run(
                      [bench.peer("pipe_threads"), way, str(size)]), bench.size * factor)
                  for way, factor in factors.items()]
    yield Case("a pipe between two threads", contenders,
               [Bar(["usplice"], ["kernel"], 20), Bar(["usplice"], ["vmsplice-64k"], 2.5), Bar(["usplice"], ["vmsplice-1m"], 2)])


# --- The page cache ----------------------------------------------------------------------------------

def cache_case(bench, name, path, factors, bars, metrics=None):
    contenders = [Contender(what, lambda what=what, size=int(bench.size * factor): own_time_run(
                      [bench.peer("cache_peer"), what, path, str(size)]), bench.size * factor)
                  for what, factor in factors.items()]
    return Case(name, contenders, bars, **({"metrics": metrics} if metrics else {}))


def cache_cases(bench):
    memory, disk = bench.source(bench.tmpfs, bench.size), bench.source(bench.disk, bench.size)
    for piece, factor in (("4k", 8), ("64k", 16), ("1m", 64)):
        yield cache_case(bench, f"warm, {piece} at a time", memory, {f"cached-{piece}": factor, f"pread-{piece}": 2},
                         [Bar([f"cached-{piece}"], [f"pread-{piece}"], 5)] if piece != "4k" else [])
    yield cache_case(bench, "cold, in order, O_DIRECT", disk, {"direct-cached": 4, "direct-64m": 4, "direct-pread": 4, "direct-uring": 4},
                     [Bar(["direct-cached"], ["direct-64m"], 0.95)])
    yield cache_case(bench, "4 KiB out of order, O_DIRECT", disk, {"random-pread": 1 / 8, "random-uring": 1 / 8}, [])
    yield cache_case(bench, "readers of one cold source", disk, {"readers-1": 1, "readers-8": 1},
                     [Bar(["readers-8"], ["readers-1"], 1.2, CPU)])
    if shutil.which("zstd"):
        packed = bench.packed(bench.tmpfs, bench.size)
        yield cache_case(bench, "readers of one cold compressed source", packed, {"unpackers-1": 1, "unpackers-8": 1},
                         [Bar(["unpackers-8"], ["unpackers-1"], 1.2, CPU)])


CASES = {
    "cache": cache_cases,
    "tcp": tcp_cases,
    "files": file_cases,
    "sparse": sparse_cases,
    "join": join_cases,
    "pipeline": pipeline_cases,
    "buffer": buffer_cases,
    "fan-out": fan_out_cases,
    "digest": digest_cases,
    "codec": codec_cases,
    "mount": mount_cases,
    "threads": threads_cases,
    **RELAY_CASES,
}
