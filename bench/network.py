# SPDX-License-Identifier: MIT
"""network - a loopback of our own, where every socket of every contender has the same congestion control."""
import ctypes
import os
import subprocess

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def set_up(congestion):
    """Ports enough for short connections, and the congestion control as a property of the route: it holds for those that
    ask for none, and needs no change to what the machine allows."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", "w", encoding="ascii") as ports:
        ports.write("10000 65535")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for prefix in ("127.0.0.0/8", "127.0.0.1"):
        subprocess.run(["ip", "route", "replace", "local", prefix, "dev", "lo", "table", "local", "proto", "kernel",
                        "scope", "host", "src", "127.0.0.1", "congctl", congestion], check=True)


class Loopback:
    """A network namespace while it is entered; where that is not allowed, the machine's own loopback."""

    is_refused = False

    def __init__(self, congestion):
        self.congestion = congestion
        self.outside = None

    def __enter__(self):
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            check(LIBC.unshare(CLONE_NEWNET), "unshare")
        except OSError as error:
            os.close(outside)
            self.refuse(error)
            return self
        self.outside = outside
        set_up(self.congestion)
        return self

    @classmethod
    def refuse(cls, error):
        if not cls.is_refused:
            print(f"the machine's own loopback is used: {error}")
        cls.is_refused = True

    def __exit__(self, *_):
        if self.outside is not None:
            check(LIBC.setns(self.outside, CLONE_NEWNET), "setns")
            os.close(self.outside)
