# SPDX-License-Identifier: MIT
# answer.py ANSWER COMMAND...: run a command on a terminal of its own, and type ANSWER when it has asked a question, or the
# key that interrupts. What it shows goes to standard output. The exit code is the command's.
import os
import pty
import sys

answer, command = sys.argv[1], sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown = b""
has_answered = False
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    shown += piece
    if b"[y/N] " in shown and not has_answered:
        has_answered = True
        os.write(terminal, b"\x03" if answer == "interrupt" else answer.encode() + b"\n")
_, result = os.waitpid(child, 0)
sys.stdout.buffer.write(shown.replace(b"\r\n", b"\n"))
sys.exit(os.waitstatus_to_exitcode(result))
