# SPDX-License-Identifier: MIT
"""relay - the relays that are compared, how a load is sent through one, and the cases."""
import contextlib
import dataclasses
import glob
import json
import os
import re
import resource
import shutil
import signal
import socket
import string
import subprocess
import threading
import time

from measure import FOREIGN, GIB, TICKS, Bar, Case, Contender, Failed, Metric, busy_ticks, start
from network import Loopback
from processes import await_listening, await_still, cpu_seconds, memory, slab_bytes

PEERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
SOCKET_PROXYD = "/lib/systemd/systemd-socket-proxyd"
CONNECTIONS_MIN = 2000  # that every relay is configured for
SPARE_DESCRIPTORS = 100
OWN_LANE = "own"
MESSAGE_BYTES = 64
MESSAGE_SIZES = (64, 1024, 4096, 16383, 16384, 16385, 20000, 32768, "mix")
SHORT_BYTES = 1024
PARALLEL = 64
IDLE_ROUNDS = 3
REST_SECONDS = 3  # what idle connections need is what stays, and not what their last message needed


def nr_descriptors():
    """As many as we may have, from now on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


# --- The relays ----------------------------------------------------------------------------------

@dataclasses.dataclass
class Place:
    """Where one relay stands during one run."""

    folder: str
    port: int
    target: int
    connections: int
    listener: socket.socket = None

    def configure(self, name, **more):
        """A configuration of the tree with its blanks filled in."""
        modules = next(iter(glob.glob("/usr/lib*/nginx/modules")), "modules")
        with open(os.path.join(PEERS, name), encoding="utf-8") as template:
            text = string.Template(template.read()).substitute(
                vars(self), descriptors=nr_descriptors(), nginx_modules=modules, **more)
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


@dataclasses.dataclass
class Relay:
    name: str
    kinds: str       # of the cases that it takes part in
    program: str     # None if it is not there
    command: object  # Place -> arguments
    descriptors: int = 2  # that a connection takes of one process
    connections_max: int = 1 << 20
    is_given_listener: bool = False
    is_peer: bool = True  # what the bars are held against

    def can_hold(self, connections):
        return (connections <= self.connections_max and
                connections * self.descriptors + SPARE_DESCRIPTORS <= nr_descriptors())


def usplice_relays(bench):
    is_there = subprocess.run([bench.usplice, "relay", "--help"], check=False, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0
    for workers in (1, 2):
        few = " idle trickle" if workers == 1 else ""
        yield Relay(f"usplice {workers}", "bulk messages connections" + few,
                    bench.usplice if is_there else None, lambda place, workers=workers: [
                        "relay", "--workers", workers, "--backlog", 4096, "--connections-max", place.connections,
                        f"127.0.0.1:{place.port}", f"127.0.0.1:{place.target}"])
    # What the access log costs: at most 3 % of the row above it.
    yield Relay("usplice log 1", "messages connections", bench.usplice if is_there else None, lambda place: [
        "relay", "--backlog", 4096, "--connections-max", place.connections, "--access-log",
        os.path.join(place.folder, "access.log"), f"127.0.0.1:{place.port}", f"127.0.0.1:{place.target}"])


def usplice_lanes(bench):
    """One lane each: what the relay itself could have had."""
    for name, option in (("without ring", ["--no-io-uring"]), ("lane user", ["--lane", "user"]),
                         ("lane kernel", ["--lane", "kernel"])):
        yield Relay(f"{OWN_LANE} {name}", "messages", bench.usplice, lambda place, option=option: [
            "relay", *option, "--backlog", 4096, f"127.0.0.1:{place.port}", f"127.0.0.1:{place.target}"], is_peer=False)


def haproxy_relays():
    for threads in (1, 2):
        few = " idle trickle" if threads == 1 else ""
        yield Relay(f"haproxy {threads}", "messages connections" + few, shutil.which("haproxy"),
                    lambda place, threads=threads: ["-q", "-f", place.configure("haproxy.cfg", threads=threads)])
        yield Relay(f"haproxy splice {threads}", "bulk messages" + few.replace(" idle", ""), shutil.which("haproxy"),
                    lambda place, threads=threads: ["-q", "-f", place.configure("haproxy-splice.cfg", threads=threads)])


def haproxy_batch_relays():
    """No peers, because HAProxy has no such setting: what it gains by being started so, see bench/NOTES.md."""
    for threads in (1, 2):
        yield Relay(f"haproxy batch {threads}", "bulk", shutil.which("haproxy") and shutil.which("chrt"),
                    lambda place, threads=threads: ["-b", "0", "haproxy", "-q", "-f", place.configure(
                        "haproxy-splice.cfg", threads=threads)], is_peer=False)


def nginx_relays():
    has_streams = glob.glob("/usr/lib*/nginx/modules/ngx_stream_module.so")
    program = shutil.which("nginx") if has_streams else None
    for buffer, workers, kinds in (("16k", 1, "messages connections idle"), ("16k", 2, "messages connections"),
                                   ("64k", 1, "bulk messages trickle"), ("64k", 2, "bulk messages"),
                                   ("256k", 1, "bulk"), ("256k", 2, "bulk")):
        yield Relay(f"nginx {buffer} {workers}", kinds, program, lambda place, buffer=buffer, workers=workers: [
            "-e", "stderr", "-c", place.configure("nginx.conf", buffer=buffer, threads=workers)])


def other_relays():
    everything = "bulk messages connections idle trickle"
    yield Relay("socat", everything, shutil.which("socat"), lambda place: [
        "-b", 131072, f"TCP-LISTEN:{place.port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=4096",
        f"TCP:127.0.0.1:{place.target},nodelay"], descriptors=0, connections_max=2000)
    # It goes through all connections for each event, and takes minutes for 10,000.
    yield Relay("rinetd", everything, shutil.which("rinetd"), lambda place: [
        "-f", "-c", place.configure("rinetd.conf")], connections_max=2000)
    # It takes its listening socket as descriptor 3 from whoever starts it; here a shell has it as standard input.
    yield Relay("socket-proxyd", everything, "/bin/sh" if os.path.exists(SOCKET_PROXYD) else None, lambda place: [
        "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null', "sh", SOCKET_PROXYD,
        f"--connections-max={place.connections}", f"127.0.0.1:{place.target}"], descriptors=6, is_given_listener=True)


def sockmap_relay(bench):
    """No peer, because it is no relay that one could use; see bench/NOTES.md."""
    yield Relay("sockmap", "bulk messages", bench.peer("sockmap_relay") if os.geteuid() == 0 else None,
                lambda place: [place.port, place.target], is_peer=False)


def all_relays(bench):
    return [*usplice_relays(bench), *usplice_lanes(bench), *haproxy_relays(), *haproxy_batch_relays(), *nginx_relays(), *other_relays(),
            *sockmap_relay(bench)]


# --- One run -------------------------------------------------------------------------------------

@dataclasses.dataclass
class RelayRun:
    seconds: float
    foreign: float
    cpu: float     # seconds of the relay
    counts: dict   # what the load counted
    memory: dict = dataclasses.field(default_factory=dict)  # bytes by stage


class Load:
    """relay_load, spoken to stage by stage."""

    def __init__(self, bench, arguments):
        self.process = start([bench.peer("relay_load"), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def stage(self):
        word, _, rest = self.process.stdout.readline().decode().strip().partition(" ")
        if not word:
            raise Failed(self.process.stderr.read().decode().strip() or "the load has ended")
        return word, rest

    def go_on(self, port=""):
        self.process.stdin.write(f"{port}\n".encode())
        self.process.stdin.flush()


class Standing:
    """A relay that stands between the clients and the sink; None stands for nothing in between."""

    def __init__(self, bench, relay, target, connections):
        self.relay, self.process, self.port = relay, None, target
        if relay:
            self.begin(bench, target, connections)

    def begin(self, bench, target, connections):
        folder = os.path.join(bench.tmpfs, "relay")
        os.makedirs(folder, exist_ok=True)
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, \
                open(os.path.join(folder, "said"), "w+", encoding="utf-8", errors="replace") as said:
            self.port = listener.getsockname()[1]
            place = Place(folder, self.port, target, max(connections + SPARE_DESCRIPTORS // 2, CONNECTIONS_MIN))
            if not self.relay.is_given_listener:
                listener.close()
            self.process = start([self.relay.program, *self.relay.command(place)], stdout=said, stderr=said,
                                 stdin=listener if self.relay.is_given_listener else subprocess.DEVNULL,
                                 start_new_session=True)
            if not await_listening(self.process, self.port):
                self.end()
                said.seek(0)
                raise Failed(f"does not listen: {said.read().strip()[-300:]}")
        await_still(self.process.pid)

    def end(self):
        """It leads a process group of its own, which its children share."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def look(self, has_memory):
        if has_memory:
            time.sleep(REST_SECONDS)
        look = {"ticks": busy_ticks(), "cpu": cpu_seconds(self.process.pid) if self.process else 0.0}
        if has_memory:
            look["memory"] = {**memory(self.process.pid), "slab": slab_bytes()}
        return look


def check_congestion(bench, counts):
    """A client of short connections has no time to look."""
    found = set(counts["congestion"].split())
    if found != {bench.congestion}:
        raise Failed(f"the sockets have {' and '.join(found)}, not {bench.congestion}: be root, or say --congestion")


def relay_run(bench, relay, arguments, connections):
    has_memory = arguments[0] == "idle"
    with Loopback(bench.congestion), Load(bench, arguments) as load:
        _, target = load.stage()
        with Standing(bench, relay, int(target), connections) as standing:
            looks = {"start": standing.look(has_memory)}
            word, answer = "", standing.port
            while word != "end":
                load.go_on(answer)
                word, rest = load.stage()
                looks[word], answer = standing.look(has_memory), ""
    counts = json.loads(rest)
    check_congestion(bench, counts)
    before, after = looks.get("begin", looks["start"]), looks["end"]
    cpu = after["cpu"] - before["cpu"]
    foreign = ((after["ticks"] - before["ticks"]) / TICKS - cpu - counts["cpu"]) / counts["seconds"]
    return RelayRun(counts["seconds"], foreign, cpu, counts,
                    {word: look["memory"] for word, look in looks.items() if has_memory})


# --- Requests beside downloads ---------------------------------------------------------------------

NR_DOWNLOADS = 2
NR_REQUESTERS = 32


class Web:
    """A server of a small file and a large one."""

    def __init__(self, bench):
        self.folder = os.path.join(bench.tmpfs, "relay")
        files = os.path.join(self.folder, "web")
        os.makedirs(files, exist_ok=True)
        with open(os.path.join(files, "small"), "wb") as small:
            small.write(b"x" * MESSAGE_BYTES)
        with open(os.path.join(files, "large"), "wb") as large:
            large.truncate(1 << 40)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        path = Place(self.folder, self.port, 0, 0).configure("nginx-web.conf")
        self.process = start(["nginx", "-e", "stderr", "-c", path], start_new_session=True)
        if not await_listening(self.process, self.port):
            raise Failed("nginx does not listen")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Download:
    """The large file through the relay, in a thread of its own; what has come is dropped."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.count = 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        place = bytearray(1 << 20)
        with contextlib.suppress(OSError):
            while taken := self.socket.recv_into(place, len(place), socket.MSG_TRUNC):
                self.count += taken

    def end(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.socket.close()


WRK_UNITS = {"us": 1, "ms": 1000, "s": 1000000}


def wrk(port, seconds):
    """Requests that were answered, and the percentiles of their latency in us."""
    text = subprocess.run(["wrk", "-t", "1", "-c", str(NR_REQUESTERS), "-d", f"{max(round(seconds), 1)}s", "--latency",
                           f"http://127.0.0.1:{port}/small"], check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        raise Failed("nginx does not give the file")
    done = re.search(r"(\d+) requests in ([0-9.]+)s", text)
    spread = {f"p{name}": float(value) * WRK_UNITS[unit]
              for name, value, unit in re.findall(r"^ +(\d+)% +([0-9.]+)(us|ms|s)$", text, re.MULTILINE)}
    return {"done": int(done[1]), "seconds": float(done[2]), **spread}


def beside_run(bench, relay):
    """Small requests while two downloads take all that they can get."""
    connections = NR_REQUESTERS + NR_DOWNLOADS
    with Loopback(bench.congestion), Web(bench) as web, Standing(bench, relay, web.port, connections) as standing:
        downloads = [Download(standing.port) for _ in range(NR_DOWNLOADS)]
        try:
            before, count_before = standing.look(False), sum(download.count for download in downloads)
            counts = wrk(standing.port, bench.seconds)
            after, count_after = standing.look(False), sum(download.count for download in downloads)
        finally:
            for download in downloads:
                download.end()
    counts["bytes"] = count_after - count_before
    if not counts["bytes"]:
        raise Failed("the downloads stand still")
    return RelayRun(counts["seconds"], 0.0, after["cpu"] - before["cpu"], counts)


# --- The cases -----------------------------------------------------------------------------------

def count(name):
    return lambda contender, run: run.counts[name]


def per_second(name, title):
    return Metric(title, lambda contender, run: run.counts[name] / run.seconds, 0, is_more_better=True, has_range=True)


def cpu_per(title):
    return Metric(title, lambda contender, run: run.cpu * 1e6 / max(run.counts["done"], 1), 1)


def memory_growth(title, what, stage, **more):
    """Bytes for each connection since before the first."""
    return Metric(title, lambda contender, run:
                  (run.memory[stage][what] - run.memory["start"][what]) / run.counts["done"], 0, **more)


BULK = [
    Metric("GiB/s", lambda contender, run: run.counts["bytes"] / GIB / run.seconds, 2, is_more_better=True,
           has_range=True),
    Metric("CPU s/GiB", lambda contender, run: run.cpu / (run.counts["bytes"] / GIB), has_range=True),
    Metric("all", lambda contender, run: (run.cpu + run.counts["cpu"]) / (run.counts["bytes"] / GIB), has_plot=False),
    FOREIGN,
]
PERCENTILES = {name: Metric(f"{name} us", count(name), 0, has_range=name == "p99", has_plot=name in ("p50", "p99"))
               for name in ("p50", "p90", "p99", "p99.9")}
MESSAGES = [per_second("done", "req/s"), *PERCENTILES.values(), cpu_per("CPU us/req"), FOREIGN]
BESIDE = [per_second("done", "req/s"), PERCENTILES["p50"], PERCENTILES["p99"], *BULK[:1]]
CONNECTIONS = [per_second("done", "conn/s"), PERCENTILES["p50"], PERCENTILES["p99"], cpu_per("CPU us/conn"),
               Metric("failed", count("failed"), 0, has_plot=False), FOREIGN]
IDLE = [
    memory_growth("own B, idle", "Private_Dirty", "idle", has_range=True),
    memory_growth("own B, used", "Private_Dirty", "used", has_range=True),
    memory_growth("PSS B, idle", "Pss", "idle", has_plot=False),
    memory_growth("PSS B, used", "Pss", "used", has_plot=False),
    memory_growth("slab B, used", "slab", "used", has_plot=False),
]
TRICKLE = [Metric("CPU %", lambda contender, run: 100 * run.cpu / run.seconds, 2, has_range=True), FOREIGN]


def relay_case(bench, kind, name, arguments, connections, metrics, bars, has_direct=True, **more):
    """bars: (metric, ratio, whether that is a value and not a ratio to the best peer)."""
    relays = [relay for relay in all_relays(bench) if kind in relay.kinds.split() and relay.program]
    contenders = [Contender("direct", lambda: relay_run(bench, None, arguments, connections))] if has_direct else []
    contenders += [Contender(relay.name, lambda relay=relay: relay_run(bench, relay, arguments, connections))
                   for relay in relays if relay.can_hold(connections)]
    ours = [relay.name for relay in relays if relay.name.startswith("usplice")]
    peers = [relay.name for relay in relays if relay.name not in ours and relay.is_peer]
    return Case(f"relay, {name}", contenders,
                [Bar(ours, [] if is_absolute else peers, ratio, metric) for metric, ratio, is_absolute in bars],
                f"{bench.congestion}; {absence(bench, kind, connections)}", metrics, **more)


def absence(bench, kind, connections):
    """Who is not in a table, and why, so that its absence is not taken for a result."""
    relays = [relay for relay in all_relays(bench) if kind in relay.kinds.split()]
    missing = sorted({relay.name.split()[0] for relay in relays if not relay.program})
    small = sorted({relay.name for relay in relays if relay.program and not relay.can_hold(connections)})
    parts = ([f"not here: {', '.join(missing)}"] if missing else []) + \
            ([f"too many for: {', '.join(small)}"] if small else [])
    return "; ".join(parts) or "all relays are here"


def relay_bulk_cases(bench):
    source = bench.source(bench.tmpfs, bench.size // 2)
    for how in ("real", "light"):
        for connections in (1, 16, 256):
            yield relay_case(bench, "bulk", f"bulk, {how}, {connections} connection{'s' if connections > 1 else ''}",
                             [how, connections, bench.seconds, source], connections, BULK,
                             [(BULK[0], 1.1, False), (BULK[1], 0.9, False)])


def relay_message_cases(bench):
    for message in MESSAGE_SIZES:
        what = f"messages of {message} bytes" if message != "mix" else "a mix of messages, 64 to 32768 bytes"
        case = relay_case(bench, "messages", f"{what}, {PARALLEL} connections",
                          ["messages", message, PARALLEL, bench.seconds], PARALLEL, MESSAGES,
                          [(MESSAGES[0], 1.1, False), (PERCENTILES["p99"], 1.2, False)])
        lanes = [contender.name for contender in case.contenders if contender.name.startswith(OWN_LANE)]
        case.bars.append(Bar(["usplice 1"], lanes, 0.95, MESSAGES[0]))
        yield case


def relay_beside_cases(bench):
    missing = [program for program in ("nginx", "wrk") if not shutil.which(program)]
    if missing:
        print(f"\nrelay, requests beside downloads: not here: {', '.join(missing)}", flush=True)
        return
    relays = [relay for relay in all_relays(bench)
              if "messages" in relay.kinds.split() and relay.program and relay.name.startswith(("usplice", "haproxy", "nginx"))]
    ours = [relay.name for relay in relays if relay.name.startswith("usplice")]
    peers = [relay.name for relay in relays if relay.name.startswith("haproxy")]
    yield Case(f"relay, {NR_REQUESTERS} connections with small requests beside {NR_DOWNLOADS} downloads",
               [Contender(relay.name, lambda relay=relay: beside_run(bench, relay)) for relay in relays],
               [Bar(ours, peers, 1.5, BESIDE[0])],
               f"{bench.congestion}; wrk to nginx", BESIDE)


def relay_connection_cases(bench):
    yield relay_case(bench, "connections", f"short connections, {SHORT_BYTES} bytes each way, {PARALLEL} at a time",
                     ["connections", SHORT_BYTES, PARALLEL, bench.seconds], PARALLEL, CONNECTIONS,
                     [(CONNECTIONS[0], 1.1, False)])


def relay_idle_cases(bench):
    for connections in (2000, min(10000, nr_descriptors() // 2 - SPARE_DESCRIPTORS)):
        yield relay_case(bench, "idle", f"memory of {connections} idle connections",
                         ["idle", MESSAGE_BYTES, connections], connections, IDLE,
                         [(IDLE[0], 0.5, False), (IDLE[1], 0.5, False)], has_direct=False, rounds_max=IDLE_ROUNDS)


def relay_trickle_cases(bench):
    yield relay_case(bench, "trickle", "a trickle into a stalled reader", ["trickle", 2.5 * bench.seconds], 1, TRICKLE,
                     [(TRICKLE[0], 1.0, True)], has_direct=False, rounds_max=IDLE_ROUNDS)


RELAY_CASES = {
    "relay-bulk": relay_bulk_cases,
    "relay-messages": relay_message_cases,
    "relay-beside": relay_beside_cases,
    "relay-connections": relay_connection_cases,
    "relay-idle": relay_idle_cases,
    "relay-trickle": relay_trickle_cases,
}
