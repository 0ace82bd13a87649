"""`socket.socket._accept`, which accept() calls, is replaced as long as there is a channel.

Only for listeners that do not block: the supervisor may take a connection back that the program has
been told of.
"""

from __future__ import annotations

import _socket
import os
import sys

from .. import epoll, gate
from .channel import Channel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_ONESHOT = 1 << 30
_original: Callable[[Any], tuple[int, Any]] = _socket.socket._accept  # type: ignore[attr-defined]

# Replaced as a whole, because threads of the program read it.
_channels: tuple[Channel, ...] = ()


def begin(listener: int, fd: int) -> int:
    """As `begin` of orders.py. Returns the number of epoll instances that watch the listener."""
    global _channels
    __import__("ctypes")  # Without it, an entry would not have the listener's event data.
    kind = sys.modules["socket"].socket
    if vars(kind).get("_accept", _accept) is not _accept:
        return 0
    sockets, epolls = gate.descriptors()
    fds = [fd for fd, inode in sockets.items() if inode == listener]
    watched = epoll.entries(epolls, listener, fds)
    if any(map(os.get_blocking, fds)) or any(one.events & _ONESHOT for one in watched):
        return 0
    channel = Channel(listener, os.dup(fd))
    _channels = (*_channels, channel)
    kind._accept = _accept
    count = channel.open(watched)
    if not count:
        end(channel)
    return count


def refuse(listener: int) -> None:
    """Undo `begin`."""
    for channel in _channels:
        if channel.listener == listener:
            end(channel)


def end(channel: Channel) -> None:
    """Forget a channel."""
    global _channels
    _channels = tuple(one for one in _channels if one is not channel)
    kind = sys.modules["socket"].socket
    if not _channels and vars(kind).get("_accept") is _accept:
        del kind._accept
    channel.close()


def _accept(listener: _socket.socket) -> tuple[int, Any]:
    """`_accept` of a socket."""
    for channel in _channels:
        if _shows(listener.fileno(), channel.listener):
            try:
                found = channel.take()
            except (OSError, EOFError):
                end(channel)
            else:
                if found:
                    return found
    return _original(listener)


def _shows(fd: int, inode: int) -> bool:
    try:
        return os.fstat(fd).st_ino == inode
    except OSError:
        return False  # accept() says what is wrong.
