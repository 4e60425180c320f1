# SPDX-License-Identifier: MIT
"""name_server.py - a name server at 127.0.0.1 that knows every name, but does not always say so.

"never..." gets no answer, "late..." one after SIGUSR1, and every other name at once: what ./zone says in a line "NAME ADDRESS...",
or 127.0.0.1, and no address of IPv6. A line says that it is there, and one for each question what the question was.
"""
import contextlib
import signal
import socket
import struct

A = 1
HEADER_LEN = 12
RESPONSE = 0x8580  # an answer with authority, recursion was wanted and is there, no error
NAME_OF_THE_QUESTION = 0xC000 | HEADER_LEN

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
kept = []  # questions about late names, each with the address of the client that asks


def question_of(query):
    """The name, the type, and the bytes of the only question of a query."""
    labels, at = [], HEADER_LEN
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind, _ = struct.unpack_from("!HH", query, at + 1)
    return ".".join(labels), kind, query[HEADER_LEN:at + 5]


def addresses_of(name):
    with contextlib.suppress(FileNotFoundError), open("zone", encoding="ascii") as zone:
        for line in zone:
            if line.split()[:1] == [name]:
                return line.split()[1:]
    return ["127.0.0.1"]


def answer(query, client):
    name, kind, question = question_of(query)
    addresses = [socket.inet_aton(text) for text in addresses_of(name)] if kind == A else []
    header = query[:2] + struct.pack("!HHHHH", RESPONSE, 1, len(addresses), 0, 0)
    records = [struct.pack("!HHHIH", NAME_OF_THE_QUESTION, A, 1, 60, len(address)) + address for address in addresses]
    server.sendto(header + question + b"".join(records), client)


def answer_kept(*_):
    while kept:
        answer(*kept.pop())


signal.signal(signal.SIGUSR1, answer_kept)
server.bind(("127.0.0.1", 53))
print("at 127.0.0.1", flush=True)
while True:
    query, client = server.recvfrom(4096)
    name, kind, _ = question_of(query)
    if name.startswith("late"):
        kept.append((query, client))
    elif not name.startswith("never"):
        answer(query, client)
    print(f"{name} {kind}", flush=True)
