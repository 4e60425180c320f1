# SPDX-License-Identifier: MIT
"""both_peer.py WAY PORT [SOCKET] - a server that talks to one client, and prints how many bytes it got and how that ended.

PORT is the file that its port is written to. With SOCKET it listens at that path. The ways:

  answer   read to the end, then send as many bytes as came, and close
  greet    send a text, half-close, and read to the end
  close    send a text and close
  early    read one byte, send a text, and close with the rest unread
  echo     send back what comes, until the end
  silent   read to the end of standard input, and close
"""
import os
import socket
import sys

way, port, *path = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
listener.bind(path[0] if path else ("127.0.0.1", 0))
listener.listen(1)
with open(port + ".new", "w") as file:
    file.write("0" if path else str(listener.getsockname()[1]))
os.rename(port + ".new", port)
client, _ = listener.accept()
got = 0
how = "end"


def read_all(sends_back=False):
    global got, how
    try:
        while piece := client.recv(1 << 16):
            got += len(piece)
            if sends_back:
                client.sendall(piece)
    except ConnectionError:
        how = "reset"


if way == "answer":
    read_all()
    if how == "end":
        client.sendall(b"a" * got)
elif way == "greet":
    client.sendall(b"hello\n")
    client.shutdown(socket.SHUT_WR)
    read_all()
elif way == "close":
    client.sendall(b"hello\n")
elif way == "early":
    got = len(client.recv(1))
    client.sendall(b"no\n")
elif way == "echo":
    read_all(sends_back=True)
elif way == "silent":
    sys.stdin.read()
client.close()
print(got, how, flush=True)
