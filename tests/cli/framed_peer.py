# SPDX-License-Identifier: MIT
"""framed_peer FILE PORT END - connect to PORT on this machine, send the bytes of FILE, and end the connection.

END is fin, rst, or answer: shut down, and print in hexadecimal digits what comes back.
"""
import socket
import struct
import sys
import time

with open(sys.argv[1], "rb") as file:
    data = file.read()
deadline = time.monotonic() + 60
while True:
    try:
        connection = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
        break
    except ConnectionRefusedError:
        if time.monotonic() > deadline:
            raise
        time.sleep(0.02)
try:
    connection.sendall(data)
    if sys.argv[3] == "rst":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        connection.shutdown(socket.SHUT_WR)
    came = b""
    while sys.argv[3] == "answer" and (piece := connection.recv(65536)):
        came += piece
    print(came.hex())
except ConnectionError:
    pass  # the receiver has seen enough
connection.close()
