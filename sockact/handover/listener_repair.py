"""Repairs listeners that a program has made unusable (kernel/sockets/upkeep.py), in a new process:
another process may hold the lock of a listener (looks.py).
"""

from __future__ import annotations

import os
import socket

from sockact.handover.options import LISTENERS
from sockact.kernel import looks
from sockact.kernel.looks import apart
from sockact.kernel.sockets import upkeep
from sockact.kernel.sockets.listener import of_descriptor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.sockets.listener import Listener

_UNREAD = ((0, 0, b""),)


def repair(listener: Listener, limit: int) -> tuple[str, str]:
    """Make it listen again, with a queue of `limit`. Return (what was done to it, its defect), both
    "" if it is as it should be. Raises OSError.
    """
    fd = listener.socket.fileno()
    with looks.charged(LISTENERS):
        return looks.in_fork(_repair, [fd], 0, fd, limit)


def tidy(found: list[tuple[Listener, int]], *, filters: bool) -> list[str]:
    """Make all of them listen again, and undo the options that keep clients away. Return for each
    why no client can connect to it, or "". Raises Unavailable.
    """
    plain = [(listener.socket.fileno(), limit) for listener, limit in found]
    if not plain:
        return []
    with looks.charged(LISTENERS):
        return looks.in_fork(_tidy, [fd for fd, _limit in plain], 0, plain, filters)


def shut(listener: Listener) -> None:
    """Refuse its new clients. Raises OSError."""
    fd = listener.socket.fileno()
    with looks.charged(LISTENERS):
        looks.in_fork(_shut, [fd], 0, fd)


@apart
def _repair(_group: int, fd: int, limit: int) -> tuple[str, str]:
    listener = _listener(fd)
    if why := upkeep.defect(listener):
        return "", why
    if not upkeep.has_lost_clients(listener):
        return "", ""
    did = "connected" if upkeep.is_connected(listener.socket) else "shut down"
    try:
        upkeep.listen_again(listener, limit)
    except OSError as error:
        raise OSError(error.errno, f"{did}: {error.strerror}") from None
    return did, ""


@apart
def _tidy(_group: int, found: list[tuple[int, int]], filters: bool) -> list[str]:
    return [_tidied(_listener(fd), limit, filters) for fd, limit in found]


def _tidied(listener: Listener, limit: int, filters: bool) -> str:
    try:
        if upkeep.has_lost_clients(listener):
            upkeep.listen_again(listener, limit)
        upkeep.undo_options(listener, filters=filters)
        return upkeep.defect(listener)
    except OSError as error:
        return f"the program shut it down, and listening again failed ({error.strerror})"


@apart
def _shut(_group: int, fd: int) -> None:
    _listener(fd).socket.shutdown(socket.SHUT_RD)


def _listener(fd: int) -> Listener:
    return of_descriptor(os.dup(fd), "", owned=False, original=_UNREAD)
