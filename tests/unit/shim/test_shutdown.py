"""shutdown() while its notification waits for the supervisor: seccomp_unotify(2)."""

from __future__ import annotations

import subprocess
import sys

from tests import ROOT

# The signal comes while nobody has received the notification, so that the kernel gives EINTR.
INTERRUPTED = """
import signal, socket, threading
from sockact.kernel import seccomp
from sockact_shim import shutdown

came, ready, fds = threading.Event(), threading.Event(), []

def supervise():
    ready.wait()
    came.wait()
    while (notification := seccomp.receive(fds[0])) is None:
        pass  # The one that the signal has taken back.
    seccomp.proceed(fds[0], notification)

# The thread gets neither the signal nor the filter.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
thread = threading.Thread(target=supervise)
thread.start()
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
signal.signal(signal.SIGALRM, lambda *_: came.set())
one, other = socket.socketpair()
shutdown.spare([0])
fds.append(seccomp.install({seccomp.Call.SHUTDOWN}))
ready.set()
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)  # Again: one may come just before the call.
one.shutdown(socket.SHUT_RDWR)
signal.setitimer(signal.ITIMER_REAL, 0)  # At the end of Python it would be fatal.
assert came.is_set() and other.recv(1) == b""
thread.join()
"""


def test_a_signal_does_not_interrupt_it() -> None:
    paths = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'sockact' / 'shim')!r}]\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", paths + INTERRUPTED],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert (done.returncode, done.stderr) == (0, "")
