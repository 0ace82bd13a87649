"""Steps that are taken back when one of them fails, or when somebody interrupts.

For the command line only: a signal is a KeyboardInterrupt here, which ends whatever waits.
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


class Quoting(OperatorError):
    """`lines` are the service's last ones in the journal."""

    def __init__(self, message: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.lines = lines


class NotStarted(Quoting):
    """The service did not start."""


class NotRestored(Quoting):
    """Not all was taken back."""


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Within it, whoever ends us makes `carry_out` take back what is half done.

    Raises OperatorError for them.
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:  # As nohup(1) has it.
                signal.signal(number, _interrupt)
        yield
    except KeyboardInterrupt as error:
        raise OperatorError(str(error)) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_a_child(name: str) -> None:
    """Go on in a child process: should this one be killed, even by SIGKILL, the child is told
    (PR_SET_PDEATHSIG), as if it was interrupted. This one passes signals on, and ends as the child
    does. Raises OperatorError when the child is killed. To be called before there are threads.
    """
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if not child:
        libc.die_with_parent(signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)  # It has ended meanwhile, and nothing was begun.
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _frame: os.kill(child, number))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        raise OperatorError(
            f"killed by {signal.Signals(-code).name} half-way: `sockact unwrap {name}` takes back "
            f"what is left"
        )
    sys.exit(code)


def carry_out(steps: Callable[[ExitStack], T]) -> T:
    """What `steps` returns. When it raises anything, what it has put on the stack is called, the
    last first, and nobody interrupts that. Raises NotRestored when that fails, too.

    Interrupts end when the steps do: what is done stays done.
    """
    undo = contextlib.ExitStack()
    try:
        try:
            return steps(undo)
        finally:
            # The first call raises for a signal that is here already; the handler ignores all
            # others from then on.
            _ignore_interrupts()
    except BaseException as error:
        _take_back(undo, error)
        raise


def _take_back(undo: ExitStack, error: BaseException) -> None:
    try:
        undo.close()
    except NotRestored as another:
        raise NotRestored(f"{error}; {another}", another.lines) from error
    except (OSError, OperatorError) as another:
        raise NotRestored(f"{error}; and not all was taken back: {another}") from error


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _ignore_interrupts()
    raise KeyboardInterrupt(f"interrupted by {signal.Signals(number).name}")


def _ignore_interrupts() -> None:
    for number in _SIGNALS:
        if signal.getsignal(number) is _interrupt:
            signal.signal(number, signal.SIG_IGN)
