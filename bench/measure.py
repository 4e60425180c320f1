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
    run: object  # () -> Run, or another class that has its seconds and foreign
    bytes: int = 0
    runs: list = dataclasses.field(default_factory=list)
    failure: str = ""  # why it left the case

    def values(self, metric):
        return [metric.of(self, run) for run in self.runs]

    def median(self, metric):
        return statistics.median(self.values(metric))


@dataclasses.dataclass(frozen=True)
class Metric:
    """One column of a table."""

    name: str
    of: object  # (contender, run) -> number
    digits: int = 3
    is_more_better: bool = False
    has_range: bool = False
    has_plot: bool = True


RATE = Metric("GiB/s", lambda contender, run: contender.bytes / GIB / run.seconds, 2, is_more_better=True,
              has_range=True)
CPU = Metric("CPU s/GiB", lambda contender, run: run.cpu / (contender.bytes / GIB))
CPU_ALL = Metric("all", lambda contender, run: run.cpu_all / (contender.bytes / GIB), has_plot=False)
FOREIGN = Metric("foreign", lambda contender, run: run.foreign, 2, has_plot=False)


@dataclasses.dataclass
class Bar:
    """The best of `ours` should reach `ratio` times the best of `peers`, or the worst; without peers, `ratio` itself."""

    ours: list
    peers: list
    ratio: float
    metric: Metric = RATE
    is_with_worst: bool = False


@dataclasses.dataclass
class Case:
    name: str
    contenders: list
    bars: list
    note: str = ""
    metrics: list = dataclasses.field(default_factory=lambda: [RATE, CPU, CPU_ALL, FOREIGN])
    rounds_max: int = 0  # 0 means as many as there are


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


def run_contender(contender):
    """A contender that fails once leaves the case, and the report says why."""
    try:
        contender.runs.append(measure(contender))
    except Failed as failure:
        contender.failure = str(failure)


def run_case(case, rounds):
    """All contenders once a round, each round beginning with the next one."""
    rounds = min(rounds, case.rounds_max or rounds)
    for number in range(rounds):
        for index in range(len(case.contenders)):
            contender = case.contenders[(index + number) % len(case.contenders)]
            if sys.stderr.isatty():
                print(f"\r{case.name}: round {number + 1} of {rounds}, {contender.name}\033[K", end="", file=sys.stderr)
            if not contender.failure:
                run_contender(contender)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def best(case, names, metric, is_worst=False):
    """The best, or the worst, of the contenders of these names that have come through, or None."""
    able = [contender for contender in case.contenders if contender.name in names and is_measured(contender)]
    choose = max if metric.is_more_better != is_worst else min
    return choose(able, key=lambda contender: contender.median(metric), default=None)


def is_measured(contender):
    return bool(contender.runs) and not contender.failure


def is_reached(bar, value):
    return value >= bar.ratio if bar.metric.is_more_better else value <= bar.ratio


def over(mine, theirs):
    return mine / theirs if theirs else math.inf


def verdict(case, bar):
    """The ratio of the medians, and the range of the ratios round by round. None if somebody is missing."""
    ours, peer = best(case, bar.ours, bar.metric), best(case, bar.peers, bar.metric, bar.is_with_worst)
    if not ours or (bar.peers and not peer):
        return None
    ratio = over(ours.median(bar.metric), peer.median(bar.metric) if peer else 1)
    theirs = peer.values(bar.metric) if peer else [1] * len(ours.runs)
    paired = [over(mine, other) for mine, other in zip(ours.values(bar.metric), theirs)]
    return {
        "metric": bar.metric.name,
        "ours": ours.name,
        "peer": peer.name if peer else "",
        "ratio": ratio,
        "ratio_min": min(paired),
        "ratio_max": max(paired),
        "bar": bar.ratio,
        "passed": is_reached(bar, ratio),
    }


def verdicts(case):
    return [found for found in (verdict(case, bar) for bar in case.bars) if found]


def sentence(found):
    """A verdict as a line."""
    than = f" x {found['peer']}" if found["peer"] else ""
    return (f"{'PASS' if found['passed'] else 'below'}: {found['metric']} of {found['ours']} is {found['ratio']:.2f}{than}"
            f" ({found['ratio_min']:.2f} - {found['ratio_max']:.2f}), the bar is {found['bar']:.2f}")


def spread(metric, values):
    return f"{min(values):.{metric.digits}f} - {max(values):.{metric.digits}f}"


def table(case):
    """Rows of text, the first of them the heads: a name, then each metric's median, and its range where it has one."""
    heads = [[metric.name, *(["min - max"] if metric.has_range else [])] for metric in case.metrics]
    rows = [["", *(head for pair in heads for head in pair)]]
    for contender in filter(is_measured, case.contenders):
        row = [contender.name]
        for metric in case.metrics:
            values = contender.values(metric)
            row.append(f"{statistics.median(values):.{metric.digits}f}")
            row += [spread(metric, values)] if metric.has_range else []
        rows.append(row)
    return rows


def report(case):
    print(f"\n{case.name}{': ' if case.note else ''}{case.note}")
    rows = table(case)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:])]
        print(f"  {row[0]:{widths[0]}}  {'  '.join(cells)}")
    for contender in case.contenders:
        if contender.failure:
            print(f"  {contender.name} failed: {contender.failure}")
    for found in verdicts(case):
        print(f"  {sentence(found)}")
    sys.stdout.flush()


def as_json(case):
    return {
        "name": case.name,
        "note": case.note,
        "contenders": [{
            "name": contender.name,
            "bytes": contender.bytes,
            "failure": contender.failure,
            "medians": {metric.name: contender.median(metric) for metric in case.metrics if is_measured(contender)},
            "runs": [dataclasses.asdict(run) for run in contender.runs],
        } for contender in case.contenders],
        "bars": verdicts(case),
    }
