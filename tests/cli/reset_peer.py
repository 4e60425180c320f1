# SPDX-License-Identifier: MIT
"""reset_peer BYTES PORT_FILE [PORT] - accept one connection, read BYTES of it, then reset it, but not before there is
a connection to PORT on this machine.

The port is written to PORT_FILE when it can be connected to.
"""
import os
import socket
import struct
import sys
import time

length, port_file = int(sys.argv[1]), sys.argv[2]


def is_connected(port):
    """Whether the kernel's list has a connection that is established, at this end."""
    with open("/proc/net/tcp") as connections:
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "01" for line in connections)


with socket.create_server(("127.0.0.1", 0)) as server:
    with open(port_file + ".new", "w") as out:
        print(server.getsockname()[1], file=out)
    os.rename(port_file + ".new", port_file)
    connection, _ = server.accept()
while length > 0:
    length -= len(connection.recv(min(length, 65536)))
while len(sys.argv) > 3 and not is_connected(int(sys.argv[3])):
    time.sleep(0.01)
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
connection.close()
