# SPDX-License-Identifier: MIT
"""unload.py LIBRARY NAME - load the library, have a signal end a look-up of NAME, unload the library, and live on until standard
input ends.
"""
import _ctypes
import ctypes
import signal
import sys

library = ctypes.CDLL(sys.argv[1])
relay, failed, why = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_char_p()
names = (ctypes.c_char_p * 1)(f"{sys.argv[2]}:9".encode())

assert library.usp_relay_new(None, ctypes.byref(relay)) == 0
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)  # again and again: the first may come before the call waits
result = library.usp_relay_set_targets(relay, names, 1, ctypes.byref(failed), ctypes.byref(why))
signal.setitimer(signal.ITIMER_REAL, 0)
library.usp_relay_free(relay)
_ctypes.dlclose(library._handle)
print(f"ended with {result}", flush=True)
sys.stdin.read()
print("alive", flush=True)
