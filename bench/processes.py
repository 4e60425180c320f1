# SPDX-License-Identifier: MIT
"""processes - look at a running program from outside: its processor time, its memory, whether it listens."""
import os
import time

KIB = 1024
TICKS = os.sysconf("SC_CLK_TCK")
CPU_CLOCK = 2  # the low bits of the clock of a process: scheduled time, of the whole process
WAIT_SECONDS = 10
LOOK_SECONDS = 0.02


def stat_fields(pid):
    """/proc/PID/stat from the state on, which is field 0 here."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
        return stat.read().rpartition(")")[2].split()


def family(pid):
    """A process and all that came from it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents[int(name)] = int(stat_fields(name)[1])
            except (FileNotFoundError, ProcessLookupError):
                pass  # it has ended meanwhile
    members = [pid]
    for member in members:
        members += [child for child, parent in parents.items() if parent == member]
    return members


def cpu_seconds(pid):
    """Of a family, to the nanosecond for who lives, and in ticks for the children that have been waited for."""
    seconds = 0.0
    for member in family(pid):
        try:
            seconds += time.clock_gettime((~member << 3) | CPU_CLOCK)
            seconds += sum(int(ticks) for ticks in stat_fields(member)[13:15]) / TICKS
        except OSError:
            pass
    return seconds


def memory(pid):
    """Bytes of a family: what is its own alone, and its share of all."""
    sums = {"Private_Dirty": 0, "Pss": 0}
    for member in family(pid):
        try:
            with open(f"/proc/{member}/smaps_rollup", encoding="ascii") as rollup:
                for line in rollup:
                    name, _, rest = line.partition(":")
                    if name in sums:
                        sums[name] += int(rest.split()[0]) * KIB
        except (FileNotFoundError, ProcessLookupError):
            pass
    return sums


def slab_bytes():
    """What the kernel has in small objects, for the whole machine: sockets, files, pipes."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        return next(int(line.split()[1]) * KIB for line in meminfo if line.startswith("Slab:"))


def is_listening(port):
    with open("/proc/thread-self/net/tcp", encoding="ascii") as sockets:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A" for line in list(sockets)[1:])


def await_listening(process, port):
    """Wait without connecting, which would be the first connection. False if it ended or did not come."""
    limit = time.monotonic() + WAIT_SECONDS
    while not is_listening(port):
        if process.poll() is not None or time.monotonic() > limit:
            return False
        time.sleep(LOOK_SECONDS)
    return True


def await_still(pid):
    """Wait until a family has stopped working, so that its memory is what it needs and not what it is about to need."""
    limit, before = time.monotonic() + WAIT_SECONDS, -1.0
    while (now := cpu_seconds(pid)) - before > LOOK_SECONDS / 100 and time.monotonic() < limit:
        before = now
        time.sleep(LOOK_SECONDS)
