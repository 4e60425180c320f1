# SPDX-License-Identifier: MIT
"""measure - run programs, take their time, and say how the contenders of a case compare."""
import dataclasses
import math
import os
import statistics
import subprocess
import sys
import time

GIB = float(1 << 30)
TICKS = os.sysconf("SC_CLK_TCK")
FOREIGN_MAX = 0.3  # CPUs that others used during a run; beyond that the run is made again
ATTEMPTS = 3
QUIET_LOOK_SECONDS = 0.05


@dataclasses.dataclass
class Run:
    """One timed run: seconds from the first start to the last exit."""

    seconds: float
    cpu: float      # of the contender itself
    cpu_all: float  # of the programs around it too
    foreign: float  # CPUs used by nothing that was started here


@dataclasses.dataclass
class Contender:
    name: str
    run: object  # () -> Run
    bytes: int
    runs: list = dataclasses.field(default_factory=list)

    def rates(self):
        return [self.bytes / GIB / run.seconds for run in self.runs]

    def cpu(self, attribute="cpu"):
        return statistics.median(getattr(run, attribute) for run in self.runs) / (self.bytes / GIB)


@dataclasses.dataclass
class Bar:
    """Contender `ours` should reach `ratio` times the best of `peers`."""

    ours: str
    peers: list
    ratio: float


@dataclasses.dataclass
class Case:
    name: str
    contenders: list
    bars: list
    note: str = ""


class Failed(Exception):
    """A program that was measured did not end well."""


def start(argv, **kwargs):
    return subprocess.Popen([str(arg) for arg in argv], **kwargs)


def finish(process):
    """Wait for a program: its CPU seconds, with those of the children that it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise Failed(f"{process.args[0]}: exit code {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def busy_ticks():
    with open("/proc/stat", encoding="ascii") as stat:
        fields = [int(field) for field in stat.readline().split()[1:]]
    return sum(fields) - fields[3] - fields[4]


class Stopwatch:
    """Time, and what others used of the machine meanwhile."""

    def __init__(self):
        self.began, self.ticks = time.monotonic(), busy_ticks()

    def read(self, cpu, cpu_all):
        seconds = time.monotonic() - self.began
        return Run(seconds, cpu, cpu_all, ((busy_ticks() - self.ticks) / TICKS - cpu_all) / seconds)


class Patience:
    """Seconds that all runs together may still wait for others to leave the machine alone, or be made again for it."""

    left = 60.0

    @classmethod
    def await_quiet(cls):
        foreign = math.inf
        while foreign > FOREIGN_MAX and cls.left > 0:
            watch = Stopwatch()
            time.sleep(QUIET_LOOK_SECONDS)
            foreign = watch.read(0, 0).foreign
            cls.left -= QUIET_LOOK_SECONDS if foreign > FOREIGN_MAX else 0


def measure(contender):
    """The least disturbed of a few attempts."""
    runs = []
    while not runs or (runs[-1].foreign > FOREIGN_MAX and len(runs) < ATTEMPTS and Patience.left > 0):
        if runs:
            Patience.left -= runs[-1].seconds
        Patience.await_quiet()
        runs.append(contender.run())
    return min(runs, key=lambda run: run.foreign)


def run_case(case, rounds):
    """All contenders once a round, each round beginning with the next one."""
    for number in range(rounds):
        for index in range(len(case.contenders)):
            contender = case.contenders[(index + number) % len(case.contenders)]
            contender.runs.append(measure(contender))
            if sys.stderr.isatty():
                print(f"\r{case.name}: round {number + 1} of {rounds}, {contender.name}\033[K", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def find(case, name):
    return next(contender for contender in case.contenders if contender.name == name)


def verdict(case, bar):
    """The ratio of the medians, and the range of the ratios round by round."""
    ours = find(case, bar.ours)
    best = max((find(case, name) for name in bar.peers), key=lambda peer: statistics.median(peer.rates()))
    ratio = statistics.median(ours.rates()) / statistics.median(best.rates())
    paired = [mine / theirs for mine, theirs in zip(ours.rates(), best.rates())]
    return {
        "ours": bar.ours,
        "peer": best.name,
        "ratio": ratio,
        "ratio_min": min(paired),
        "ratio_max": max(paired),
        "bar": bar.ratio,
        "passed": ratio >= bar.ratio,
    }


def report(case):
    width = max(len(contender.name) for contender in case.contenders)
    print(f"\n{case.name}{': ' if case.note else ''}{case.note}")
    print(f"  {'':{width}}  {'GiB/s':>7}  {'min - max':>17}  {'CPU s/GiB':>9}  {'all':>6}  {'foreign':>7}")
    for contender in case.contenders:
        rates = contender.rates()
        spread = f"{min(rates):.2f} - {max(rates):.2f}"
        foreign = statistics.median(run.foreign for run in contender.runs)
        print(f"  {contender.name:{width}}  {statistics.median(rates):7.2f}  {spread:>17}  {contender.cpu():9.3f}"
              f"  {contender.cpu('cpu_all'):6.3f}  {foreign:7.2f}")
    for bar in case.bars:
        found = verdict(case, bar)
        word = "PASS" if found["passed"] else "below"
        print(f"  {word}: {found['ours']} is {found['ratio']:.2f} x {found['peer']}"
              f" ({found['ratio_min']:.2f} - {found['ratio_max']:.2f}), the bar is {found['bar']:.2f}")
    sys.stdout.flush()


def as_json(case):
    return {
        "name": case.name,
        "note": case.note,
        "contenders": [{
            "name": contender.name,
            "bytes": contender.bytes,
            "runs": [dataclasses.asdict(run) for run in contender.runs],
        } for contender in case.contenders],
        "bars": [verdict(case, bar) for bar in case.bars],
    }
