# SPDX-License-Identifier: MIT
"""pass_sockets NAME=ADDRESS... -- COMMAND... - become COMMAND, with sockets that listen, as systemd would.

ADDRESS is the path of a UNIX socket, or HOST:PORT.
"""
import fcntl
import os
import socket
import sys

FIRST_FD = 3
OUT_OF_THE_WAY = 100

end = sys.argv.index("--")
names, paths = zip(*(word.split("=", 1) for word in sys.argv[1:end]))
listeners = []
for path in paths:
    host, colon, port = path.rpartition(":")
    with socket.socket(socket.AF_INET if colon else socket.AF_UNIX) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, int(port)) if colon else path)
        listener.listen()
        listeners.append(fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, OUT_OF_THE_WAY))
for fd, listener in enumerate(listeners, FIRST_FD):
    os.dup2(listener, fd)
    os.close(listener)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=":".join(names))
os.execv(sys.argv[end + 1], sys.argv[end + 1:])
