"""Signals around a fork: sigprocmask(2), signal(7)."""

from __future__ import annotations

import contextlib
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Fork in here, and leave it in the parent only.

    A child has the handlers and the wakeup fd of its parent: a signal for the child would be told
    to the parent's loop as if it were the parent's.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def restore_defaults() -> None:
    """For the child, before it executes another program: no handler, nothing ignored or blocked.

    What was blocked until now takes effect here.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) is not signal.SIG_DFL:
            with contextlib.suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
