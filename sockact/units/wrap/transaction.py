"""Steps that are undone if one of them fails or the command is interrupted.

A signal becomes a KeyboardInterrupt here, which ends any wait.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from sockact.core.errors import OperatorError
from sockact.kernel import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack
    from types import FrameType
    from typing import TypeVar

    T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ServiceError(OperatorError):
    """The service failed; `lines` are its last ones in the journal."""

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.lines = lines


class NotStarted(ServiceError):
    """The service did not start."""


class OnlyOne(ServiceError):
    """It did not start because it was running already, and its program allows no second one."""


class NotRestored(ServiceError):
    """Not everything was undone."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end `carry_out`, which undoes its steps.

    Raises OperatorError after such a signal.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # As nohup(1) sets it.
                signal.signal(number, _interrupt)
        yield
    except KeyboardInterrupt as error:
        raise OperatorError(str(error)) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def continue_in_child(name: str) -> None:
    """Continue in a child process, so that the steps are undone even if this process is killed.

    The kernel then sends SIGTERM to the child (PR_SET_PDEATHSIG). This process passes signals on
    and exits as the child does. Raises OperatorError if the child is killed. To be called before
    there are threads.
    """
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if not child:
        libc.die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # The parent has ended before any step.
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise OperatorError(
            f"killed by {signal.Signals(-code).name} before it was done; undo what is left with "
            f"`sockact unwrap {name}`"
        )
    sys.exit(code)


def carry_out(steps: Callable[[ExitStack], T]) -> T:
    """Call `steps` and return its result. If it raises, call what it has put on the stack, the last
    first, without interruption. Raises NotRestored if that fails, too.

    Once `steps` has returned, signals are ignored: nothing is undone any more.
    """
    undo = contextlib.ExitStack()
    try:
        try:
            return steps(undo)
        finally:
            # The first call raises for a signal that has already arrived; its handler ignores all
            # others from then on.
            _ignore_interrupts()
    except BaseException as error:
        _undo(undo, error)
        raise


def _undo(undo: ExitStack, error: BaseException) -> None:
    try:
        undo.close()
    except NotRestored as another:
        raise NotRestored(f"{error}; {another}", another.lines) from error
    except (OSError, OperatorError) as another:
        raise NotRestored(f"{error}; not everything was undone: {another}") from error


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _ignore_interrupts()
    raise KeyboardInterrupt(f"interrupted by {signal.Signals(number).name}")


def _ignore_interrupts() -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)
