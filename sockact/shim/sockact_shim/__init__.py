"""The shim: answers the supervisor from inside a wrapped Python program. See docs/shim.md.

This module is all that a program's start pays for: two signal handlers. The rest is imported when
the supervisor calls. It never prints and raises nothing into the program.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]

# Bound now: gevent and eventlet replace the attributes of `time` later, and a switch of greenlets
# inside a signal handler is the last thing that a program expects.
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Mapping

__all__ = ["CALL", "NUDGE", "install", "load", "monotonic", "sleep"]

CALL = 50
NUDGE = 51

_NEEDED = "_socket", "_thread", "fcntl", "select", "stat", "struct"

_supervisor = ""


def install(environ: Mapping[str, str]) -> None:
    """Make this process answer calls. Does nothing outside the main thread."""
    global _supervisor
    _supervisor = environ["SOCKACT_SHIM"]
    try:
        # signal() installs without SA_RESTART, so a blocked accept() returns with EINTR.
        _signal.signal(CALL, _on_call)
        _signal.signal(NUDGE, _on_nudge)
    except (ValueError, OSError):
        return
    if environ.get("SOCKACT_ADOPT") == "1":
        from . import adopt

        adopt.install(_supervisor, environ.get("SOCKACT_UNIX", ""))


def _on_call(signum: int, frame: FrameType | None) -> None:
    # The program's own handlers wait until the call is over, and what they raise is theirs: it
    # leaves from the last line, where the mask is put back.
    held = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        load("call").answer(_supervisor)
    except Exception:
        return  # there is nobody to tell: the supervisor sees the connection end
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, held)


def load(name: str) -> Any:
    """A module of ours, imported while no other thread forks (a fork takes the same lock).

    The child would have it half imported, under a lock that nobody releases, and hang at its call.
    """
    lock = __import__("_imp")

    # Before that: a thread that is importing one of these needs the lock, too.
    for needed in _NEEDED:
        try:
            __import__(needed)
        except ImportError:
            # In a chroot, or without the right to read it. Not every order needs it.
            continue
    lock.acquire_lock()
    try:
        return __import__(__name__ + "." + name, fromlist=["name"])
    finally:
        lock.release_lock()


def _on_nudge(signum: int, frame: FrameType | None) -> None:
    pass
