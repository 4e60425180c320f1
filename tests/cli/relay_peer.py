# SPDX-License-Identifier: MIT
"""relay_peer ROLE ADDRESS [ARGUMENT] - what a relay has on its two sides: servers and clients that do one thing each.

ADDRESS is HOST:PORT, [HOST]:PORT or unix:PATH. A server writes "at ADDRESS" when it can be connected to, and then
"open N" and what became of each connection, in the order of their numbers. A client ends with 0 if the connection had its
end, with 1 if it was reset or refused.
"""
import contextlib
import hashlib
import os
import select
import socket
import struct
import sys
import threading
import time

PIECE = 1 << 16


def parse(text):
    if text.startswith("unix:"):
        return socket.AF_UNIX, text[len("unix:"):]
    host, _, port = text.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    return family, (host.strip("[]") or "127.0.0.1", int(port))


def text_of(address):
    if isinstance(address, (str, bytes)):
        return "unix:" + (address if isinstance(address, str) else "")
    return f"[{address[0]}]:{address[1]}" if ":" in address[0] else f"{address[0]}:{address[1]}"


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def pieces(connection):
    while piece := connection.recv(PIECE):
        yield piece


# --- Servers: what they do with one connection; the result is what became of it --------------------------------


def echo(connection, _argument):
    length = 0
    for piece in pieces(connection):
        connection.sendall(piece)
        length += len(piece)
    return f"end {length}"


def name(connection, argument):
    connection.sendall(argument.encode() + b"\n")
    return echo(connection, argument)


def digest(connection, _argument):
    """Answers only after the end of the question: this is what a relay that drops half-close loses."""
    sum_of_all = hashlib.sha256()
    for piece in pieces(connection):
        sum_of_all.update(piece)
    connection.sendall(sum_of_all.hexdigest().encode() + b"\n")
    return "end"


def first(connection, argument):
    """Ends its own direction at once, and takes what comes after that."""
    connection.sendall(argument.encode() + b"\n")
    connection.shutdown(socket.SHUT_WR)
    return "got " + b"".join(pieces(connection)).decode()


def whence(connection, _argument):
    connection.sendall(text_of(connection.getpeername()).encode() + b"\n")
    return echo(connection, _argument)


def cut(connection, argument):
    left = int(argument)
    while left:
        left -= len(connection.recv(min(left, PIECE)))
    reset(connection)
    return "reset it"


def send(connection, argument):
    with open(argument, "rb") as file:
        connection.sendfile(file)
    connection.shutdown(socket.SHUT_WR)
    return f"end {sum(map(len, pieces(connection)))}"


def deaf(connection, _argument):
    """Reads nothing, and waits for the connection to break."""
    poll = select.poll()
    poll.register(connection, 0)
    poll.poll()
    return "broken"


def early(connection, argument):
    """Answers that many bytes to the first one, and closes with the rest unread."""
    connection.recv(1)
    connection.sendall(bytes(int(argument)))
    return "answered"


def park(_connection, _argument):
    """Not a thread for each: all of them stay as they are."""


def serve_one(serve, number, connection, argument):
    with connection:
        try:
            became = serve(connection, argument)
        except ConnectionError:
            became = "reset"
    say(became, f"({number})")


def server(serve, address, argument):
    family, where = parse(address)
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(1024)
        say("at", text_of(listener.getsockname()))
        number = 0
        parked = []
        while True:
            connection, _ = listener.accept()
            number += 1
            if serve is park:
                parked.append(connection)
                continue
            say("open", number)
            threading.Thread(target=serve_one, args=(serve, number, connection, argument), daemon=True).start()


# --- Clients ---------------------------------------------------------------------------------------------------


def connect(address, source=None):
    family, where = parse(address)
    connection = socket.socket(family)
    if source:
        connection.bind((source, 0))
    connection.connect(where)
    return connection


def ask(address, argument):
    """Send all of standard input, then the end, and meanwhile write what comes until its end. ARGUMENT: from where."""
    connection = connect(address, argument)
    pending, has_more = b"", True
    while True:
        readable, writable, _ = select.select([connection] + [0] * (has_more and not pending), [connection] * bool(pending), [])
        if writable:
            pending = pending[connection.send(pending, socket.MSG_DONTWAIT):]
        if 0 in readable:
            pending = os.read(0, PIECE)
            has_more = bool(pending)
            if not has_more:
                with contextlib.suppress(OSError):  # that it broke is told when we read
                    connection.shutdown(socket.SHUT_WR)
        if connection in readable:
            piece = connection.recv(PIECE)
            if not piece:
                break
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


def late(address, argument):
    """Read to the end first; only then speak."""
    connection = connect(address)
    sys.stdout.buffer.write(b"".join(pieces(connection)))
    connection.sendall(argument.encode())


def leave(address, argument):
    """Say something, wait for the first byte of an answer, and reset."""
    connection = connect(address)
    connection.sendall(argument.encode())
    connection.recv(1)
    reset(connection)


def push(address, argument):
    """Send that many bytes, whatever comes meanwhile, and then say how many came."""
    connection = connect(address)
    length = 0
    with contextlib.suppress(ConnectionError):
        connection.sendall(bytes(int(argument)))
    with contextlib.suppress(ConnectionError):
        for piece in pieces(connection):
            length += len(piece)
    say(length)


def urgent(address, argument):
    """That many bytes, a letter out of band, as many bytes, the end; and what comes back."""
    connection = connect(address)
    connection.sendall(bytes(int(argument)))
    connection.send(b"!", socket.MSG_OOB)
    connection.sendall(bytes(int(argument)))
    connection.shutdown(socket.SHUT_WR)
    sys.stdout.buffer.write(b"".join(pieces(connection)))


def crowd(address, argument):
    """That many connections at a time, each of which says its number and hears it again."""
    connections = [connect(address) for _ in range(int(argument))]
    for number, connection in enumerate(connections):
        connection.sendall(b"%d\n" % number)
    for number, connection in enumerate(connections):
        expected = b"%d\n" % number
        heard = b""
        while len(heard) < len(expected):
            piece = connection.recv(PIECE)
            if not piece:
                sys.exit(f"connection {number} ended early")
            heard += piece
        if heard != expected:
            sys.exit(f"connection {number} heard {heard}")
    say("all heard")
    sys.stdin.read()


def keep(address, argument):
    """That many connections at a time, each of which says a word and no more, until standard input ends."""
    connections = []
    for number in range(int(argument)):
        if number % 250 == 249:
            time.sleep(0.2)  # that many are busy at a time, and then idle: what each costs then is not the peak of all
        connections.append(connect(address))
        connections[-1].sendall(b"word\n")
    say("all are there")
    sys.stdin.read()
    for connection in connections:
        connection.close()


SERVERS = [echo, name, digest, first, whence, cut, send, deaf, early, park]
CLIENTS = [ask, late, leave, push, urgent, crowd, keep]


def main():
    role, address, argument = (sys.argv[1:] + [None])[:3]
    roles = {function.__name__: function for function in SERVERS + CLIENTS}
    if roles[role] in SERVERS:
        server(roles[role], address, argument)
        return
    try:
        roles[role](address, argument)
    except ConnectionError as error:
        sys.stdout.flush()
        sys.exit(f"{role}: {error.strerror}")


main()
