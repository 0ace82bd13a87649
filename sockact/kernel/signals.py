"""Signals around a fork: sigprocmask(2), signal(7), Linux 2.2."""

from __future__ import annotations

import contextlib
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def blocked() -> Iterator[None]:
    """Block all signals for a fork inside of this context, which only the parent may leave.

    A child has the handlers and the wakeup fd of its parent, so a signal to the child would reach
    the parent's loop.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def restore_defaults() -> None:
    """Reset all signals in a child before it executes a program: no handler, none ignored or
    blocked.

    Signals that were blocked take effect here.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if signal.getsignal(number) is not signal.SIG_DFL:
            with contextlib.suppress(OSError):
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
