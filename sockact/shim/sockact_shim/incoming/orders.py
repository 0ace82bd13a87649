"""The orders about channels."""

from __future__ import annotations

from . import accepts, uvloop


def begin(listener: int, fd: int) -> int:
    """Accept what comes through the channel at this fd, which the caller closes, as connections of
    the listener (an inode). Returns how many event loops do; 0: not accepted.
    """
    refuse(listener)
    return uvloop.begin(listener, fd) or accepts.begin(listener, fd)


def refuse(listener: int) -> None:
    """Undo `begin`."""
    uvloop.refuse(listener)
    accepts.refuse(listener)
