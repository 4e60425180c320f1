#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""features.py DEVICE sg|tx on|off - what `ethtool -K` does, by its old ioctl."""
import ctypes
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
SET = {"sg": 0x19, "tx": 0x17}

device, feature, state = sys.argv[1:]
value = ctypes.create_string_buffer(struct.pack("II", SET[feature], state == "on"), 8)
request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), SIOCETHTOOL, request)
