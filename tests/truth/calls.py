# SPDX-License-Identifier: MIT
"""calls - add up what strace saw: how many bytes left and entered each object, and by which kind of call."""
import re
from collections import Counter, defaultdict

READS = ["read", "readv", "pread64", "preadv", "preadv2", "recvfrom", "recvmsg"]
WRITES = ["write", "writev", "pwrite64", "pwritev", "pwritev2", "sendto", "sendmsg"]
MOVES = ["splice", "tee", "vmsplice", "copy_file_range", "sendfile"]
NAMES = ["connect", "bind", "accept", "accept4"]
UNSEEN = ["io_uring_enter", "process_vm_readv", "sendmmsg", "recvmmsg"]  # whose bytes are not counted: there must be none
STRACE = ["strace", "-f", "-qq", "-y", "-s", "0", "-e", "signal=none",
          "-e", "trace=ioctl,?fadvise64," + ",".join(f"?{name}" for name in READS + WRITES + MOVES + NAMES + UNSEEN)]

CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?")
FD = re.compile(r"\b\d+<([^>]*)>")
CLONED = re.compile(r"FICLONERANGE, \{src_fd=\d+<([^>]*)>.*src_length=(\d+)")


def calls(path):
    """Each call that ended: its name, arguments, result, and the name of the descriptor that it made."""
    begun = {}
    for line in path.read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        rest = rest.lstrip()
        if rest.endswith(" <unfinished ...>"):
            begun[thread] = rest.removesuffix(" <unfinished ...>")
            continue
        if rest.startswith("<... "):
            rest = begun.pop(thread) + rest.partition(" resumed>")[2]
        if found := CALL.match(rest):
            yield found[1], found[2], int(found[3]), found[4]


def asks_the_cache(name, arguments):
    """Whether a call only asks what the page cache has, or makes it drop pages."""
    return name == "preadv2" and "RWF_NOWAIT" in arguments or name == "fadvise64" and "DONTNEED" in arguments


def moves(path):
    """The calls that move bytes for the route. An experiment on the source itself asks the page cache after each of its calls."""
    ended = list(calls(path))
    for call, following in zip(ended, ended[1:] + [("", "", 0, None)]):
        is_tried = (call[0] in ("preadv", "splice") and asks_the_cache(*following[:2]) and
                    FD.findall(call[1])[:1] == FD.findall(following[1])[:1])
        if not is_tried and not asks_the_cache(*call[:2]):
            yield call


class Trace:
    """
    taken and given are counts for each name of an object, by how the bytes went: "splice" (splice, vmsplice),
    "range" (copy_file_range, sendfile, FICLONERANGE), "memory" (read, write and their like) or "zerocopy"
    (MSG_ZEROCOPY).
    """

    def __init__(self, path):
        self.taken, self.given = defaultdict(Counter), defaultdict(Counter)
        self.sockets = defaultdict(set)  # the names of the sockets of an address
        self.followed = []  # (from, to) of all that splice and tee moved
        self.unseen = set()
        for name, arguments, result, made in moves(path):
            self.note_name(name, arguments, made)
            if name in UNSEEN:
                self.unseen.add(name)
            elif result > 0 or "FICLONERANGE" in arguments and result == 0:
                self.note(name, arguments, FD.findall(arguments), result)

    def note_name(self, name, arguments, made):
        if name not in NAMES:
            return
        fd = FD.match(arguments)[1]
        for address in re.findall(r'sin_port=htons\((\d+)\)|sun_path="([^"]*)"', arguments):
            self.sockets["".join(address)].add(fd)
        if made:
            for names in self.sockets.values():
                if fd in names:
                    names.add(made)

    def note(self, name, arguments, fds, result):
        if name in READS and not re.search("MSG_PEEK|MSG_ERRQUEUE", arguments):
            self.taken[fds[0]]["memory"] += result
        elif name in WRITES:
            self.given[fds[0]]["zerocopy" if "MSG_ZEROCOPY" in arguments else "memory"] += result
        elif name == "vmsplice":
            self.given[fds[0]]["splice"] += result
        elif name in ("splice", "tee"):
            self.followed.append((fds[0], fds[1]))
        if name == "splice":
            self.move(fds[0], fds[1], "splice", result)
        elif name == "copy_file_range":
            self.move(fds[0], fds[1], "range", result)
        elif name == "sendfile":
            self.move(fds[1], fds[0], "range", result)
        elif name == "ioctl" and (cloned := CLONED.search(arguments)):
            self.move(cloned[1], fds[0], "range", int(cloned[2]))

    def move(self, source, sink, how, length):
        self.taken[source][how] += length
        self.given[sink][how] += length

    def objects(self):
        """The names of all objects whose bytes moved."""
        return {name for counts in (self.taken, self.given) for name in counts if counts[name]}

    def sockets_of(self, address):
        return self.sockets[address]

    def taken_from(self, names):
        return sum((self.taken[name] for name in names), Counter())

    def given_to(self, names):
        return sum((self.given[name] for name in names), Counter())

    def read_on_the_way(self, names):
        """The bytes that were read out of the kernel pipes that the objects of these names filled."""
        pipes = set()
        for source, sink in self.followed:
            if sink.startswith("pipe:") and (source in names or source in pipes):
                pipes.add(sink)
        return self.taken_from(pipes - names)["memory"]
