"""Calls whose notification waits for the supervisor are not interrupted: seccomp_unotify(2)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

# The signal comes while nobody has received the notification, so that the kernel gives EINTR.
INTERRUPTED = """
import os, pathlib, shutil, signal, tempfile, threading
from sockact.kernel import seccomp
from sockact_shim import looks
looks.install("", "1 unix:2f78")
import socket

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
own = socket.socket()
path = tempfile.mktemp()
open(path, "w").close()
fds.append(seccomp.install({seccomp.Call.CALL}))
ready.set()
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # Again: one may come just before the call.
STATEMENT
signal.setitimer(signal.ITIMER_REAL, 0)  # At the end of Python it would be fatal.
assert came.is_set() and CHECK
"""


BOUND = "own.getsockname()[1]"
GONE = "not os.path.lexists(path) and shutil.rmtree.avoids_symlink_attacks"


@pytest.mark.parametrize(
    ("call", "statement", "check"),
    [
        ("BIND", 'own.bind(("127.0.0.1", 0))', BOUND),
        ("LISTEN", "own.listen(1)", BOUND),
        ("UNLINK", "os.unlink(path)", GONE),
        ("UNLINK", "os.remove(path)", GONE),
        ("UNLINK", "pathlib.Path(path).unlink()", GONE),
        ("SYMLINK", "os.symlink('x', path + '.l'); os.unlink(path + '.l'); os.unlink(path)", GONE),
    ],
)
def test_a_signal_does_not_interrupt_it(call: str, statement: str, check: str) -> None:
    paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'sockact' / 'shim')!r}]\n"
    code = INTERRUPTED.replace("Call.CALL", f"Call.{call}").replace("STATEMENT", statement)
    code = code.replace("CHECK", check)
    done = subprocess.run(
        [sys.executable, "-I", "-c", paths + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
