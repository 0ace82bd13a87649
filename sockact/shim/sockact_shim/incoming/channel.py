"""The process's end of a channel: docs/shim.md.

The channel itself is in no epoll instance, but an eventfd: the end of the channel would be reported
as that of the listener, which some event loops take for final. Its entries have EPOLLET, so a
program that accepts in another way is told once for each packet, and not again and again.
"""

from __future__ import annotations

import _socket
import os
import sys

from .. import epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LARGEST = 256
_IN, _EXCLUSIVE, _EDGE = 1, 1 << 28, 1 << 31
_ONE = (1).to_bytes(8, sys.byteorder)


class Channel:
    """A channel for the listener with this inode."""

    __slots__ = ("_entries", "_event", "_inode", "_socket", "listener")

    def __init__(self, listener: int, fd: int) -> None:
        """Takes over the descriptor. Raises OSError."""
        self.listener = listener
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, fd)
        self._inode = os.fstat(fd).st_ino
        self._entries: list[epoll.Entry] = []
        try:
            self._event = self._receive()[1]
        except OSError:
            self._socket.close()
            raise

    def open(self, watched: list[epoll.Entry]) -> int:
        """Have the program told of what comes. Returns in how many epoll instances."""
        self._entries = [
            epoll.Entry(one.epoll, self._event, one.events & ~_EXCLUSIVE | _EDGE, one.data)
            for one in watched
            if one.events & _IN
        ]
        return sum(entry.add() for entry in self._entries)

    def take(self) -> tuple[int, Any] | None:
        """The next connection, and its client's address; None if there is none.

        Raises OSError, and EOFError at the end.
        """
        if not self._is_there():
            raise EOFError
        while True:
            try:
                data, fd = self._receive()
            except BlockingIOError:
                return None
            if not data:
                raise EOFError
            number, *address = data.decode("ascii", "replace").split()
            try:
                self._socket.send(number.encode(), _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
            except OSError:
                pass  # The supervisor has ended.
            if fd >= 0:
                self._tell_of_the_next()
                os.set_blocking(fd, True)  # As accept() would; the predecessor may have set it.
                return fd, _address(address)

    def _receive(self) -> tuple[bytes, int]:
        """The next packet: its words, and a descriptor or -1. Raises OSError."""
        flags = _socket.MSG_DONTWAIT | _socket.MSG_CMSG_CLOEXEC
        data, rights, _, _ = self._socket.recvmsg(_LARGEST, _socket.CMSG_SPACE(4), flags)
        return data, int.from_bytes(rights[0][2][:4], sys.byteorder) if rights else -1

    def _tell_of_the_next(self) -> None:
        """Some programs accept once for each event."""
        try:
            self._socket.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
            os.write(self._event, _ONE)
        except OSError:
            pass  # There is none.

    def _is_there(self) -> bool:
        """Whether the program has left our descriptors alone."""
        try:
            return os.fstat(self._socket.fileno()).st_ino == self._inode
        except OSError:
            return False

    def fileno(self) -> int:
        """What can be read when there is something to take."""
        return self._socket.fileno()

    def close(self) -> None:
        if self._is_there():
            for entry in self._entries:
                entry.remove()
            self._socket.close()
            if self._event >= 0:
                os.close(self._event)
        else:
            self._socket.detach()


def _address(words: list[str]) -> tuple[Any, ...]:
    """As accept() returns it: (host, port) or, with IPv6, (host, port, flow information, scope)."""
    host, *numbers = words
    return (host, *map(int, numbers))
