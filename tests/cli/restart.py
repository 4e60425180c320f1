# SPDX-License-Identifier: MIT
"""restart [overlap] TIMES COMMAND... - restart COMMAND, as a service manager would that keeps its socket, while clients come.

COMMAND listens at the socket that it is passed, and leads to an echo. Without a word it is ended by SIGTERM, waited for, and
started again; with "overlap" the next one is started, and listens, before that. Clients come one after the other all the time.
Prints how many of them were served, and the longest that one waited for its answer, in milliseconds.
"""
import os
import signal
import socket
import subprocess
import sys
import threading
import time

PATIENCE_S = 60
LISTENER_FD = 3

overlaps = sys.argv[1] == "overlap"
times, command = int(sys.argv[1 + overlaps]), sys.argv[2 + overlaps:]
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
address = listener.getsockname()
if listener.fileno() != LISTENER_FD:
    os.dup2(listener.fileno(), LISTENER_FD)
number = 0


def start():
    """An instance that listens: its process. LISTEN_PID has to be that of COMMAND, which a shell knows."""
    global number
    number += 1
    path = f"said.{number}"
    with open(path, "wb") as said:
        process = subprocess.Popen(["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "-"] + command, stderr=said,
                                   pass_fds=[LISTENER_FD])
    deadline = time.monotonic() + PATIENCE_S
    while "listening at" not in open(path).read():
        if time.monotonic() > deadline or process.poll() is not None:
            sys.exit(f"it does not listen: {open(path).read()}")
        time.sleep(0.001)
    return process


class Clients(threading.Thread):
    def __init__(self):
        super().__init__()
        self.is_over, self.served, self.longest, self.error = False, 0, 0.0, None

    def run(self):
        while not self.is_over:
            begun = time.monotonic()
            try:
                with socket.create_connection(address, PATIENCE_S) as client:
                    client.sendall(b"hello")
                    if client.recv(5, socket.MSG_WAITALL) != b"hello":
                        raise OSError("no answer")
            except OSError as error:
                self.error = error
                return
            self.longest = max(self.longest, time.monotonic() - begun)
            self.served += 1


instance = start()
clients = Clients()
clients.start()
for _ in range(times):
    seen = clients.served
    while clients.served == seen and not clients.error:
        time.sleep(0.001)
    next_one = start() if overlaps else None
    instance.send_signal(signal.SIGTERM)
    if instance.wait(PATIENCE_S) != 0:
        sys.exit("it failed at its end")
    instance = next_one or start()
clients.is_over = True
clients.join()
instance.send_signal(signal.SIGTERM)
instance.wait(PATIENCE_S)
if clients.error:
    sys.exit(f"after {clients.served} clients: {clients.error}")
print(f"{clients.served} served, {clients.longest * 1000:.0f} ms")
