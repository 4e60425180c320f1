# SPDX-License-Identifier: MIT
"""banner_peer WAY PORT_FILE - accept one connection, send a banner at once, and then do as WAY says.

slow      read everything, a little at a time, answer, and close
early     read 100000 bytes, answer that it is too much, and close with the rest unread
silent    no banner: read everything, and close only when standard input ends
deaf      read nothing until standard input ends, then everything, and close
mute      the same without a banner
What was read and how that ended is printed. The port is written to PORT_FILE when it can be connected to; with USE_UNIX in the
environment it listens at the UNIX socket peer.sock, with ADDRESS at that one.
"""
import os
import socket
import sys
import time

way, port_file = sys.argv[1:]
if os.environ.get("USE_UNIX"):
    server = socket.socket(socket.AF_UNIX)
    server.bind("peer.sock")
    server.listen(1)
else:
    server = socket.create_server((os.environ.get("ADDRESS", "127.0.0.1"), 0))
with open(port_file + ".new", "w") as out:
    print(server.getsockname()[1] if server.family != socket.AF_UNIX else 0, file=out)
os.rename(port_file + ".new", port_file)
connection, _ = server.accept()
server.close()


def take(pause=0.0):
    length = 0
    try:
        while data := connection.recv(20000):
            length += len(data)
            time.sleep(pause)
        print(length, "end", flush=True)
    except OSError as error:
        print(length, error.strerror, flush=True)


if way not in ("silent", "mute"):
    connection.sendall(b"220 hello\r\n")
if way == "early":
    left = 100000
    while left:
        left -= len(connection.recv(min(left, 20000)))
    connection.sendall(b"HTTP/1.1 413 Too Large\r\n\r\n")
elif way == "slow":
    take(0.005)
    connection.sendall(b"226 done\r\n")
elif way == "silent":
    take()
    sys.stdin.read()
else:
    sys.stdin.read()
    take()
connection.close()
