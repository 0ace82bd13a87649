"""A call whose notification waits for the supervisor while a signal comes: seccomp_unotify(2)."""

from __future__ import annotations

import subprocess
import sys

from tests import ROOT

# The signal comes while nobody has received the notification, so that the kernel gives EINTR.
_PROGRAM = """
import os, pathlib, shutil, signal, sys, tempfile, threading
sys.path[:0] = PATHS
from sockact.kernel import seccomp
SETUP

came, ready, fds = threading.Event(), threading.Event(), []

def supervise():
    ready.wait()
    came.wait()
    while True:  # A later signal may take a notification back.
        if notification := seccomp.receive(fds[0]):
            seccomp.proceed(fds[0], notification)

# The thread gets neither the signal nor the filter.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
threading.Thread(target=supervise, daemon=True).start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
signal.signal(signal.SIGALRM, lambda *_: came.set())
fds.append(seccomp.install({seccomp.Call.CALL}))
ready.set()
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # Again: one may come just before the call.
STATEMENT
signal.setitimer(signal.ITIMER_REAL, 0)  # At the end of Python it would be fatal.
assert came.is_set() and CHECK
"""


def check(call: str, setup: str, statement: str, fact: str) -> None:
    """Make the statement, which calls `call`, in a process of its own; then `fact` must be true."""
    words = {
        "PATHS": repr([str(ROOT), str(ROOT / "sockact" / "shim")]),
        "SETUP": setup,
        "Call.CALL": f"Call.{call}",
        "STATEMENT": statement,
        "CHECK": fact,
    }
    code = _PROGRAM
    for word, text in words.items():
        code = code.replace(word, text)
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=20
    )
    assert (done.returncode, done.stderr) == (0, "")
