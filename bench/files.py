# SPDX-License-Identifier: MIT
"""files - run programs whose sinks are files, and take their time."""
import os

from measure import Stopwatch, finish, start


def timed(start_all, contender_index):
    """Run the programs that start_all gives and wait for all of them."""
    watch = Stopwatch()
    cpu = [finish(process) for process in start_all()]
    return watch.read(cpu[contender_index], sum(cpu))


def remove(paths):
    for path in paths:
        if os.path.exists(path):
            os.unlink(path)


def settle(paths, is_fresh):
    """The sinks as they should be, and nothing left to write back."""
    if is_fresh:
        remove(paths)
    os.sync()


def file_run(command, sinks, is_fresh, **kwargs):
    settle(sinks, is_fresh)
    return timed(lambda: [start(command, **kwargs)], 0)
