"""The shim: answers the supervisor from inside a wrapped Python program. See docs/shim.md.

At the start of a program only this module is loaded, with two signal handlers, and what the rest
needs of the standard library. The rest is imported when the supervisor calls. It never prints, and
never raises an exception into the program.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

# Bound now: gevent and eventlet replace the attributes of `time` later, and no program expects a
# switch of greenlets inside a signal handler.
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Mapping

__all__ = ["CALL", "NUDGE", "address", "install", "is_foreign", "load", "monotonic", "sleep"]

CALL = 50
NUDGE = 51

_NEEDED = "_socket", "_thread", "fcntl", "select", "stat", "struct"

_supervisor = ""


def install(environ: Mapping[str, str]) -> bool:
    """Make this process answer calls. Returns False outside of the main thread: it cannot."""
    global _supervisor
    _supervisor = address(environ)
    # Now, while there is one thread: see load().
    for needed in _NEEDED:
        try:
            __import__(needed)
        except ImportError:
            # In a chroot, or without read permission. Not every order needs it.
            continue
    try:
        # signal() installs without SA_RESTART, so a blocked accept() returns with EINTR.
        _signal.signal(CALL, _on_call)
        _signal.signal(NUDGE, _on_nudge)
    except (ValueError, OSError):
        return False
    return True


def address(environ: Mapping[str, str]) -> str:
    """Where the supervisor is, for Wire: `NAME UID:PATH`, or only `NAME` if it is an older one."""
    return (environ["SOCKACT_SHIM"] + " " + environ.get("SOCKACT_SUPERVISOR", "")).strip()


def _on_call(signum: int, frame: FrameType | None) -> None:
    # The program's own handlers wait until the call is over. What they raise leaves from the last
    # line, where the mask is restored, or earlier if another thread took the signal.
    held = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        load("call").answer(_supervisor)
    except Exception as error:
        if is_foreign(error):
            raise
        return  # the supervisor sees that the connection ends
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, held)


def is_foreign(error: BaseException) -> bool:
    """Whether one of the program's own signal handlers raised this exception."""
    found = [_signal.getsignal(number) for number in _signal.valid_signals()]
    handlers = [getattr(one, "__func__", one) for one in found if callable(one)]
    codes = [getattr(one, "__code__", None) for one in handlers if one is not _on_call]
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def load(name: str) -> Any:
    """Import a module of the shim while no other thread forks (a fork takes the same lock).

    A child that is forked meanwhile would have half of the module, and a lock that is never
    released, and would hang at its next call. What these modules need of the standard library is
    there since the start: a thread that imports one of them meanwhile needs the lock, too.
    """
    lock = __import__("_imp")
    lock.acquire_lock()
    try:
        return __import__(__name__ + "." + name, fromlist=["name"])
    finally:
        lock.release_lock()


def _on_nudge(signum: int, frame: FrameType | None) -> None:
    pass
