"""bind() and listen() while their notification waits for the supervisor: seccomp_unotify(2)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests import ROOT

# The signal comes while nobody has received the notification, so that the kernel gives EINTR.
INTERRUPTED = """
import signal, threading
from sockact.kernel import seccomp
from sockact_shim import looks
looks.install("", "1")
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
fds.append(seccomp.install({seccomp.Call.CALL}))
ready.set()
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # Again: one may come just before the call.
own.ARGUMENTS
signal.setitimer(signal.ITIMER_REAL, 0)  # At the end of Python it would be fatal.
assert came.is_set() and own.getsockname()[1]
"""


@pytest.mark.parametrize(
    ("call", "arguments"), [("BIND", 'bind(("127.0.0.1", 0))'), ("LISTEN", "listen(1)")]
)
def test_a_signal_does_not_interrupt_it(call: str, arguments: str) -> None:
    paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'sockact' / 'shim')!r}]\n"
    code = INTERRUPTED.replace("Call.CALL", f"Call.{call}").replace("ARGUMENTS", arguments)
    done = subprocess.run(
        [sys.executable, "-I", "-c", paths + code],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
