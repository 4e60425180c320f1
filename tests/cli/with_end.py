#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""with_end.py KIND COMMAND... - run a command with descriptor 9 open, and a peer at its other end.

mptcp-sink, tcp-sink        a connection over loopback, whose peer reads everything
unix-source:SIZE            a UNIX stream, whose peer writes 200000 bytes in pieces of SIZE, and ends
direct-source:PATH          a file opened with O_DIRECT
Exits with the code of the command.
"""
import os
import socket
import subprocess
import sys

MPTCP = 262
END = 9


def connection(protocol):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    near = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    near.connect(listener.getsockname())
    far, _ = listener.accept()
    return near, far


def read_all(peer):
    while peer.recv(65536):
        pass


def write_pieces(peer, size):
    left = 200000
    try:
        while left:
            left -= peer.send(bytes(min(size, left)))
    except BrokenPipeError:
        pass


def open_end(kind):
    """Return the descriptor for the command, and what the peer does, which is a process of its own."""
    name, _, argument = kind.partition(":")
    if name in ("mptcp-sink", "tcp-sink"):
        near, far = connection(MPTCP if name == "mptcp-sink" else 0)
        near.setblocking(False)  # a socket that blocks is not spliced
        return near.detach(), far, lambda: read_all(far)
    if name == "unix-source":
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        near.setblocking(False)
        return near.detach(), far, lambda: write_pieces(far, int(argument))
    if name == "direct-source":
        return os.open(argument, os.O_RDONLY | os.O_DIRECT), None, lambda: None
    sys.exit(f"with_end: no such kind: {kind}")


def main():
    end, far, peer = open_end(sys.argv[1])
    child = os.fork()
    if child == 0:
        os.close(end)
        peer()
        os._exit(0)
    if far:
        far.close()
    os.dup2(end, END)
    os.close(end)
    code = subprocess.run(sys.argv[2:], pass_fds=[END], check=False).returncode
    os.close(END)
    os.waitpid(child, 0)
    sys.exit(code)


main()
