# SPDX-License-Identifier: MIT
"""ends - what can stand at the ends of a route: the spec for usplice, and the peer that this process is."""
import errno
import functools
import os
import random
import select
import shutil
import socket
import tempfile
import threading
from pathlib import Path

PIECE = 64 << 10
DATAGRAM = 1000
PAUSE = 0.005  # seconds between two looks at something that comes by itself
HAS_LEFT = (errno.EPIPE, errno.ECONNRESET, errno.ECONNREFUSED, errno.ENOTCONN)  # the command has as much as it wanted
OLD_BYTES = bytes(range(256)) * 40  # what a sink has before


class Ended:
    """Whether the command has ended. No peer waits for longer."""

    def __init__(self):
        self.event = threading.Event()

    def is_set(self):
        return self.event.is_set()

    def until(self, come_true):
        """Repeat until it gives something, or the command has ended: then once more, and perhaps None."""
        while not (result := come_true()):
            if self.event.wait(PAUSE):
                return come_true()
        return result


class Place:
    """Where the files of one run are, and what else it needs."""

    def __init__(self, roots):
        self.roots = roots  # a folder, and another one on a tmpfs: the same for all runs
        self.folder, self.tmpfs = (Path(tempfile.mkdtemp(dir=root)) for root in roots)
        self.names = 0
        self.fds = []  # to close at the end
        self.ended = Ended()
        self.threads, self.errors = [], []

    def name(self, folder=None):
        self.names += 1
        return Path(folder or self.folder) / f"end{self.names}"

    def remove(self):
        for fd in self.fds:
            os.close(fd)
        for folder in self.folder, self.tmpfs:
            shutil.rmtree(folder)

    def start(self, work):
        def run():
            try:
                work()
            except OSError as error:
                if error.errno not in HAS_LEFT:
                    self.errors.append(f"the peer: {error}")
        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()


class End:
    """raw is the kind in the words of raw_route, or None for what raw_route does not know."""
    raw = None
    stdin = stdout = None
    fds = ()
    is_file = False  # a regular file
    is_standard = False  # standard input or output, of which there is one
    keeps_rest = False  # as a sink: it was opened before, so the command does not cut it
    has_pos = False  # it skips bytes without reading them
    has_object = True  # a descriptor of the command, which a trace shows
    kernel_lane = True  # splice serves it
    small = False  # few bytes only
    must_not_know = False  # as a source: it depends on the peer whether bytes are copied, and nothing tells
    nr_probed = 0  # bytes that the probe reads before it asks whether the page cache has them

    def __init__(self, place):
        self.place = place

    def prepare(self, data):
        """As a source: offer these bytes. Return the spec."""
        raise NotImplementedError

    def expect(self, has_old):
        """As a sink. Return the spec. has_old: it has OLD_BYTES already."""
        raise NotImplementedError

    def after_start(self):
        """The command has its standard input and output by now."""
        for fd in self.stdin, self.stdout:
            if fd is not None:
                os.close(fd)

    def names(self, trace):
        """As what a trace shows it."""
        raise NotImplementedError

    def got(self):
        """As a sink, when the command has ended: its bytes."""
        raise NotImplementedError


# --- Files ----------------------------------------------------------------------------------------------------


class File(End):
    is_file = has_pos = True
    options = ""

    is_on_tmpfs = False

    def __init__(self, place):
        super().__init__(place)
        self.root = place.roots[self.is_on_tmpfs]
        self.raw = f"{'direct' if self.options else 'file'}:{self.root}"

    def folder(self):
        return self.place.tmpfs if self.is_on_tmpfs else self.place.folder

    def prepare(self, data):
        self.path = self.place.name(self.folder())
        self.path.write_bytes(data)
        return f"{self.path}{self.options}"

    def expect(self, has_old):
        self.path = self.place.name(self.folder())
        if has_old:
            self.path.write_bytes(OLD_BYTES)
        return f"{self.path}{self.options}"

    def names(self, trace):
        """With --atomic it had no name while it was written, only a number."""
        if not self.path.exists():
            return set()
        return {str(self.path), f"{self.path.parent}/#{self.path.stat().st_ino}"}

    def got(self):
        return self.path.read_bytes() if self.path.exists() else None


class TmpfsFile(File):
    is_on_tmpfs = True


class DirectFile(File):
    kernel_lane = False

    @property
    def options(self):
        return ",direct" if has_direct(self.root) else ""


class TmpfsDirectFile(DirectFile):
    is_on_tmpfs = True


class Cached(File):
    """A file behind a page cache, as a source. It is read ahead, and in other pieces than it is asked for."""
    has_object = kernel_lane = False

    def __init__(self, place):
        super().__init__(place)
        self.raw = None

    def prepare(self, data):
        options = ",budget=256k" if len(data) % 2 else ""
        return f"cached:{super().prepare(data)}{options}"

    def names(self, trace):
        return set()


class Redirected(File):
    """A file as standard input or output."""
    is_standard = True

    def prepare(self, data):
        self.stdin = os.open(super().prepare(data), os.O_RDONLY)
        return "-"

    def expect(self, has_old):
        self.stdout = os.open(super().expect(has_old), os.O_WRONLY | os.O_CREAT, 0o666)
        return "-"


class RedirectedSink(Redirected):
    kernel_lane = False
    keeps_rest = True


class Memfd(End):
    """An inherited file, whose offset other processes may share."""
    raw = "memfd"
    is_file = has_pos = True

    def make(self):
        self.place.names += 1
        self.label = f"truth-{self.place.names}"
        self.fd = os.memfd_create(self.label)
        self.fds = (self.fd,)
        self.place.fds.append(self.fd)
        return f"fd:{self.fd}"

    def prepare(self, data):
        spec = self.make()
        os.write(self.fd, data)
        os.lseek(self.fd, 0, os.SEEK_SET)
        return spec

    def expect(self, has_old):
        spec = self.make()
        if has_old:
            os.pwrite(self.fd, OLD_BYTES, 0)
        return spec

    def names(self, trace):
        return {f"/memfd:{self.label}"}

    def got(self):
        return os.pread(self.fd, os.fstat(self.fd).st_size, 0)


class MemfdSink(Memfd):
    kernel_lane = False
    keeps_rest = True


class Proc(End):
    """A text that the kernel makes at each read."""
    nr_probed = 2

    def prepare(self, data):
        return "/proc/version"

    def names(self, trace):
        return {"/proc/version"}


class Zeros(End):
    kernel_lane = False
    has_pos = True
    raw = "zero"

    def prepare(self, data):
        return "/dev/zero"

    def names(self, trace):
        return {"/dev/zero"}


class ZeroMemory(Zeros):
    has_object = False
    raw = None

    def prepare(self, data):
        return "zero:"

    def names(self, trace):
        return set()


class Text(End):
    has_object = kernel_lane = False
    small = True

    def prepare(self, data):
        return "mem:" + data.decode()

    def names(self, trace):
        return set()


class Null(End):
    """Drops what it gets, with or without a call."""
    raw = "null"
    has_object = False

    def expect(self, has_old):
        return "null:"

    def names(self, trace):
        return {"/dev/null"}

    def got(self):
        return None


class DevNull(Null):
    def expect(self, has_old):
        return "/dev/null"


class Memory(End):
    has_object = kernel_lane = False

    def expect(self, has_old):
        return "mem:"

    def names(self, trace):
        return set()

    def got(self):
        return None


@functools.cache
def has_direct(folder):
    path = Path(folder) / "direct"
    path.touch()
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return False
    finally:
        path.unlink()
    return True


# --- Streams --------------------------------------------------------------------------------------------------


class Stream(End):
    """feed and collect are what the peer does with a descriptor."""

    def feed(self, fd, data):
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view[:PIECE]):]

    def collect(self, fd):
        pieces, ended = [], self.place.ended
        os.set_blocking(fd, False)
        while True:
            was_ended = ended.is_set()
            select.select([fd], [], [], PAUSE)
            try:
                piece = os.read(fd, PIECE)
            except BlockingIOError:
                piece = None
            except ConnectionError:
                break
            if piece:
                pieces.append(piece)
            elif was_ended:
                break
            elif piece == b"":
                if not self.may_begin_again():
                    break
                ended.event.wait(PAUSE)
        os.close(fd)
        self.pieces = pieces

    def may_begin_again(self):
        """The end of a FIFO is seen also before it was opened."""
        return False

    pieces = ()

    def got(self):
        return b"".join(self.pieces)


class Pipe(Stream):
    """A pipe as standard input or output."""
    raw = "pipe"
    is_standard = True

    def prepare(self, data):
        self.stdin, wr = os.pipe()
        self.inode = os.fstat(wr).st_ino

        def work():
            try:
                self.feed(wr, data)
            finally:
                os.close(wr)
        self.place.start(work)
        return "-"

    def expect(self, has_old):
        rd, self.stdout = os.pipe()
        self.inode = os.fstat(rd).st_ino
        self.place.start(lambda: self.collect(rd))
        return "-"

    def names(self, trace):
        return {f"pipe:[{self.inode}]"}


class SplicedPipe(Pipe):
    """Its bytes were spliced into it, from a file."""

    def feed(self, fd, data):
        page = os.memfd_create("truth-feed")
        os.pwrite(page, data, 0)
        at = 0
        while at < len(data):
            at += os.splice(page, fd, len(data) - at, offset_src=at)
        os.close(page)


class Fifo(Stream):
    @property
    def raw(self):
        return f"fifo:{self.place.roots[0]}"

    def make(self):
        self.path = self.place.name()
        os.mkfifo(self.path)
        return str(self.path)

    def open_writer(self):
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None

    def prepare(self, data):
        def work():
            fd = self.place.ended.until(self.open_writer)
            if fd is not None:
                os.set_blocking(fd, True)
                try:
                    self.feed(fd, data)
                finally:
                    os.close(fd)
        spec = self.make()
        self.place.start(work)
        return spec

    def expect(self, has_old):
        spec = self.make()
        fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.place.start(lambda: self.collect(fd))
        return spec

    def may_begin_again(self):
        return True

    def names(self, trace):
        return {str(self.path)}


# --- Sockets --------------------------------------------------------------------------------------------------


class Socket(Stream):
    """The command connects to this process. Sub-classes have the family, and the way the bytes enter."""
    family = socket.AF_INET
    raw = "tcp"
    is_spliced = False  # the peer's bytes are pages of a file

    def make(self):
        self.listener = socket.socket(self.family)
        self.listener.bind(("127.0.0.1", 0) if self.family == socket.AF_INET else str(self.place.name()))
        self.listener.listen(1)
        return self.name_address(self.listener.getsockname())

    def name_address(self, address):
        self.address = str(address[1]) if self.family == socket.AF_INET else address
        return f"127.0.0.1:{self.address}" if self.family == socket.AF_INET else address

    def spec(self, where):
        return ("tcp:" if self.family == socket.AF_INET else "unix:") + where

    def accept(self):
        ready = self.place.ended.until(lambda: select.select([self.listener], [], [], 0)[0])
        connection = self.listener.accept()[0] if ready else None
        self.listener.close()
        return connection

    def send_all(self, connection, data):
        if self.is_spliced:
            page = os.memfd_create("truth-feed")
            os.pwrite(page, data, 0)
            with open(page, "rb") as file:
                connection.sendfile(file)
        else:
            self.feed(connection.fileno(), data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(PIECE):
            pass

    def prepare(self, data):
        where = self.make()

        def work():
            connection = self.accept()
            if connection:
                with connection:
                    self.send_all(connection, data)
        self.place.start(work)
        return self.spec(where)

    def expect(self, has_old):
        where = self.make()

        def work():
            connection = self.accept()
            if connection:
                self.collect(connection.detach())
        self.place.start(work)
        return self.spec(where)

    def names(self, trace):
        return trace.sockets_of(self.address)


class SplicedSocket(Socket):
    is_spliced = True


class Listening(Socket):
    """The command listens, and this process connects."""

    def make(self):
        if self.family == socket.AF_UNIX:
            return self.name_address(str(self.place.name()))
        return self.name_address(("127.0.0.1", free_port(socket.SOCK_STREAM)))

    def spec(self, where):
        return ("tcp-listen:" if self.family == socket.AF_INET else "unix-listen:") + where

    def connect(self):
        connection = socket.socket(self.family)
        try:
            connection.connect(("127.0.0.1", int(self.address)) if self.family == socket.AF_INET else self.address)
        except OSError:
            connection.close()
            return None
        return connection

    def accept(self):
        return self.place.ended.until(self.connect)


class UnixSocket(Socket):
    family = socket.AF_UNIX
    raw = "unix"
    must_not_know = True


class SplicedUnixSocket(UnixSocket):
    is_spliced = True


class UnixListening(Listening):
    family = socket.AF_UNIX
    raw = "unix"
    must_not_know = True


class Datagrams(Stream):
    kernel_lane = False
    raw = "udp"
    small = True

    def prepare(self, data):
        port = free_port(socket.SOCK_DGRAM)
        self.address = str(port)

        def work():
            if not self.place.ended.until(lambda: is_bound(port)):
                return
            with socket.socket(type=socket.SOCK_DGRAM) as sender:
                sender.connect(("127.0.0.1", port))
                for at in range(0, len(data), DATAGRAM):
                    sender.send(data[at:at + DATAGRAM])
                sender.send(b"")
        self.place.start(work)
        return f"udp-listen:127.0.0.1:{port}"

    def expect(self, has_old):
        receiver = socket.socket(type=socket.SOCK_DGRAM)
        receiver.bind(("127.0.0.1", 0))
        self.address = str(receiver.getsockname()[1])
        self.place.start(lambda: self.collect(receiver.detach()))
        return f"udp:127.0.0.1:{self.address},datagram={DATAGRAM},eof"

    def names(self, trace):
        return trace.sockets_of(self.address)


def is_bound(port):
    with open("/proc/net/udp") as table:
        return any(line.split()[1].endswith(f":{port:04X}") for line in table.readlines()[1:])


def free_port(kind):
    """A port that nothing uses now, and that the kernel will not choose for another program."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(1024, first) if first > 2048 else 0
        with socket.socket(type=kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return probe.getsockname()[1]


SOURCES = [TmpfsFile, File, Cached, Redirected, Memfd, DirectFile, TmpfsDirectFile, Fifo, Pipe, SplicedPipe, Socket,
           SplicedSocket, Listening, UnixSocket, SplicedUnixSocket, UnixListening, Zeros, ZeroMemory, Text, Datagrams, Proc]
SINKS = [TmpfsFile, File, RedirectedSink, DirectFile, TmpfsDirectFile, MemfdSink, DevNull, Null, Memory, Pipe, Fifo,
         Socket, Listening, UnixSocket, UnixListening, Datagrams]
