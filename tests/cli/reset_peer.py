# SPDX-License-Identifier: MIT
"""reset_peer BYTES PORT_FILE - accept one connection, read BYTES of it, then reset it.

The port is written to PORT_FILE when it can be connected to.
"""
import os
import socket
import struct
import sys

length, port_file = int(sys.argv[1]), sys.argv[2]
with socket.create_server(("127.0.0.1", 0)) as server:
    with open(port_file + ".new", "w") as out:
        print(server.getsockname()[1], file=out)
    os.rename(port_file + ".new", port_file)
    connection, _ = server.accept()
while length > 0:
    length -= len(connection.recv(min(length, 65536)))
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
connection.close()
