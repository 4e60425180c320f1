# SPDX-License-Identifier: MIT
"""exchange - clients and servers that check every byte they exchange, and a relay between them."""
import fcntl
import os
import random
import re
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

CLIENTS = 24
POOL = random.Random(1).randbytes(8 << 20)
LONGEST = 4 << 20
PIECE = 256 << 10
PATIENCE = 60  # seconds, for anything that has to come true
PSS_SLACK = 8 << 10  # KiB: what folios and pipes that are kept for reuse may add
HEAD = struct.Struct("!IIIIIBH")  # where and how long the question and the answer are; where to reset; who resets; messages
MESSAGE_LONGEST = 3000
NOBODY, CLIENT, SERVER, EARLY = range(4)  # EARLY: the server answers and closes, and never reads the question
TCP_CLOSE = 7  # of enum tcp_state


class Wrong(Exception):
    pass


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def send(connection, data):
    for at in range(0, len(data), PIECE):
        connection.sendall(data[at:at + PIECE])


def await_acknowledged(connection):
    """To close TCP with something unread is a reset, and discards what the peer has not got yet."""
    def is_waiting():
        is_closed = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_CLOSE
        return not is_closed and struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]

    while connection.family != socket.AF_UNIX and is_waiting():
        time.sleep(0.001)


def take(connection, expected):
    """Compare what comes with what should, to its end: how much it was, and whether the connection broke."""
    at = 0
    try:
        while piece := connection.recv(PIECE):
            if piece != expected[at:at + len(piece)]:
                raise Wrong(f"bytes differ behind offset {at} of {len(expected)}")
            at += len(piece)
    except ConnectionError:
        return at, True
    return at, False


def converse(connection, say, expected, may_break, may_end):
    """
    Both ways at once. True if all of it came and the connection had its end; it may break, or end early, only where it
    was reset: early where that was at a UNIX socket, whose peer sees an end.
    """
    said = []
    sender = threading.Thread(target=lambda: said.append(send_all(connection, say)))
    sender.start()
    try:
        at, broke = take(connection, expected)
    finally:
        sender.join()
    broke |= not said[0]  # a socket tells its error once, to whoever asks first
    if broke and not may_break:
        raise Wrong(f"broke at offset {at} of {len(expected)}")
    if not broke and at != len(expected) and not (may_break and may_end):
        raise Wrong(f"ended at offset {at} of {len(expected)}")
    return not broke and at == len(expected)


def hear_out(connection, say, expected):
    """An answer that comes before its question is through is whole, whatever becomes of the question."""
    sender = threading.Thread(target=send_all, args=(connection, say))
    sender.start()
    try:
        at, _ = take(connection, expected)
    finally:
        sender.join()
    if at != len(expected):
        raise Wrong(f"an early answer of {len(expected)} bytes was cut at {at}")


def send_all(connection, data):
    """And the end. False if the connection broke."""
    try:
        send(connection, data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


class Exchange:
    """Small messages to and fro, perhaps; then one question and its answer: slices of the pool."""

    def __init__(self, where, question, reply_where, reply, cut, who, nr_messages):
        self.numbers = (where, question, reply_where, reply, cut, who, nr_messages)
        self.question = memoryview(POOL)[where:where + question]
        self.reply = memoryview(POOL)[reply_where:reply_where + reply]
        self.cut, self.who = cut, who
        self.messages = [self.message_at(where, number) for number in range(nr_messages)]
        # Who resets does so among the messages, or else behind them.
        self.last_message = cut % (2 * nr_messages) if nr_messages and who != NOBODY else nr_messages

    @staticmethod
    def message_at(where, number):
        return memoryview(POOL)[where + number:where + number + 1 + number * 7919 % MESSAGE_LONGEST]

    @classmethod
    def random(cls, source, nr_early=0):
        def length():
            return min(LONGEST, int(source.choice([0, source.expovariate(1 / 300), source.expovariate(1 / 300000)])))
        question, reply = length(), length()
        who = source.choices([NOBODY, CLIENT, SERVER, EARLY], [8, 1, 1, nr_early])[0]
        half = len(POOL) - LONGEST
        return cls(source.randrange(half), question, source.randrange(half), reply,
                   source.randrange(question + reply + 1), who, source.choice([0, 0, 0, 200 if who != EARLY else 0]))


class Tally:
    """What was done, by all threads."""

    def __init__(self, has_unix):
        self.has_unix = has_unix
        self.lock = threading.Lock()
        self.whole = self.resets = self.bytes = 0
        self.wrong = []

    def add(self, whole, length):
        with self.lock:
            self.whole += whole
            self.resets += not whole
            self.bytes += length if whole else 0

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)


def cut_short(exchange, connection, first):
    """Reset a connection within what this side sends: the first bytes of the exchange are the other side's."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 1, 0))
    mine = exchange.question if not first else exchange.reply
    try:
        send(connection, mine[:max(0, exchange.cut - first)])
    except OSError:
        pass
    reset(connection)


def take_message(connection, expected):
    """Compare as much as is expected. False if it ended before."""
    at = 0
    while at < len(expected):
        piece = connection.recv(len(expected) - at)
        if not piece:
            return False
        if piece != expected[at:at + len(piece)]:
            raise Wrong(f"bytes differ behind offset {at} of a message of {len(expected)}")
        at += len(piece)
    return True


def chat(exchange, connection, may_end, is_client):
    """
    Messages to and fro. False if the connection has broken, or was broken here: the one who resets does so when it is its turn
    to send.
    """
    breaks = exchange.who == (CLIENT if is_client else SERVER)
    for number, message in enumerate(exchange.messages):
        try:
            if not is_client and not take_message(connection, message):
                raise ConnectionError("ended")
            if breaks and number == exchange.last_message:
                reset(connection)
                return False
            connection.sendall(message)
            if is_client and not take_message(connection, message):
                raise ConnectionError("ended")
        except ConnectionError as error:
            if exchange.who == NOBODY or breaks or (str(error) == "ended" and not may_end):
                raise Wrong(f"message {number}: {error}") from None
            return False
    return True


def ask(exchange, connection, tally):
    connection.sendall(HEAD.pack(*exchange.numbers))
    if not chat(exchange, connection, tally.has_unix, True):
        tally.add(False, 0)
        return
    if exchange.who == CLIENT:
        cut_short(exchange, connection, 0)
        tally.add(False, 0)
        return
    if exchange.who == EARLY:
        hear_out(connection, exchange.question, exchange.reply)
        tally.add(True, len(exchange.reply))
        return
    whole = converse(connection, exchange.question, exchange.reply, exchange.who == SERVER, tally.has_unix)
    tally.add(whole, len(exchange.question) + len(exchange.reply) + 2 * sum(map(len, exchange.messages)))


def answer(connection, tally):
    head = b""
    while len(head) < HEAD.size:
        piece = connection.recv(HEAD.size - len(head))
        if not piece:
            return
        head += piece
    exchange = Exchange(*HEAD.unpack(head))
    try:
        if not chat(exchange, connection, tally.has_unix, False):
            return
        if exchange.who == SERVER:
            cut_short(exchange, connection, len(exchange.question))
            return
        if exchange.who == EARLY:
            send(connection, exchange.reply)
            await_acknowledged(connection)
            return
        converse(connection, exchange.reply, exchange.question, exchange.who == CLIENT, tally.has_unix)
    except Wrong as error:
        tally.complain(f"the server of {exchange.numbers} saw: {error}")


class Server:
    def __init__(self, family, where, tally):
        self.tally = tally
        self.listener = socket.socket(family)
        self.listener.bind(where)
        self.listener.listen(4096)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve_one, args=(connection,), daemon=True).start()

    def serve_one(self, connection):
        with connection:
            try:
                connection.settimeout(PATIENCE)
                answer(connection, self.tally)
            except TimeoutError:
                self.tally.complain("the server waited in vain")
            except ConnectionError:
                pass


class Relay:
    """arguments: options, where it listens, and targets; passed: a listening socket that it gets as a service manager's."""

    def __init__(self, command, arguments, numbers, passed=None):
        self.numbers = numbers
        arguments = [command, "relay", "--metrics", f"unix:{numbers}", *arguments]
        if passed:
            arguments = ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 </dev/null', "sh", *arguments]
        self.process = subprocess.Popen(arguments, stdin=passed, stderr=subprocess.PIPE, text=True)
        self.said = []
        self.is_there = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        if not self.is_there.wait(PATIENCE):
            raise Wrong(f"the relay does not listen: {''.join(self.said)}")

    def read(self):
        for line in self.process.stderr:
            self.said.append(line)
            if "listening at " in line:
                self.address = line.split("listening at ")[1].strip()
                self.is_there.set()

    def metrics(self):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.numbers))
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            text = b"".join(iter(lambda: connection.recv(PIECE), b"")).decode()
        return {name: int(value) for name, value in re.findall(r"^usplice_relay_(\S+) (\d+)$", text, re.M)}

    def footprint(self):
        """Descriptors besides those of kernel pipes that are kept and of who asks for metrics; and KiB of memory."""
        root = Path("/proc") / str(self.process.pid)
        idle = self.metrics()['kernel_pipes{state="idle"}']
        fds = []
        for _ in range(20):
            time.sleep(0.01)
            fds.append(len(os.listdir(root / "fd")))
        pss = re.search(r"^Pss:\s+(\d+)", (root / "smaps_rollup").read_text(), re.M)
        # A sanitizer keeps what is freed, and looks for leaks itself.
        is_sanitized = re.search(r"lib[at]san", (root / "maps").read_text())
        return min(fds) - 2 * idle, 0 if is_sanitized else int(pss.group(1))

    def settle(self):
        """Wait until nothing is under way; what is still there then is what leaked."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            metrics = self.metrics()
            if metrics["connections"] == 0 and metrics['kernel_pipes{state="in_use"}'] == 0:
                break
            time.sleep(0.05)
        return metrics

    def stop(self):
        """Let it drain: its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def connect(address):
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address[len("unix:"):])
    else:
        host, port = address.rsplit(":", 1)
        connection = socket.create_connection((host, int(port)))
    connection.settimeout(PATIENCE)
    return connection


def churn(address, source, until, tally, nr_early):
    while time.monotonic() < until and not tally.wrong:
        exchange = Exchange.random(source, nr_early)
        try:
            with connect(address) as connection:
                ask(exchange, connection, tally)
        except (Wrong, OSError) as error:
            if not (isinstance(error, ConnectionError) and exchange.who != NOBODY):
                tally.complain(f"the client of {exchange.numbers} saw: {error}")


def crowd(address, seed, seconds, tally, nr_early=0):
    until = time.monotonic() + seconds
    threads = [threading.Thread(target=churn, args=(address, random.Random(seed * 1000 + i), until, tally, nr_early))
               for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
