"""A channel: connections for a process with the shim, which accepts them by itself (docs/shim.md).

The supervisor keeps both ends. So it can take back what the process has not received: what it reads
there, nobody else has got.
"""

from __future__ import annotations

import array
import os
import socket
import struct

from sockact.kernel.sockets import received

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.handover.delivery.delivery import Parcel

WINDOW = 64
"""Connections in a channel at most."""
_LARGEST = 256
TRIED = 0
"""The number of the first message, which brings no connection."""
_NONSENSE = -1
_DIGITS = 18
_SOCKADDR_IN, _SOCKADDR_IN6 = struct.Struct("!2xH4s"), struct.Struct("!2xHI16s")
_SCOPE = struct.Struct("=I")
_SCOPE_AT = 24


class Channel:
    """A channel to one process, for one listener."""

    def __init__(self) -> None:
        """Raises OSError."""
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        self._event = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, kind)
        except OSError:
            os.close(self._event)
            raise
        self._send(b"event", self._event)
        # A program that accepts in another way than by Python's sockets does not answer this.
        self._ours.send(b"%d" % TRIED)

    def fileno(self) -> int:
        """Return what can be read when there is news."""
        return self._ours.fileno()

    def their_fileno(self) -> int:
        """Return the end for the process."""
        return self._theirs.fileno()

    def send(self, number: int, parcel: Parcel) -> bool:
        """Send a connection under a number above TRIED; False if there is no room for it."""
        try:
            self._send(f"{number} {_address(parcel.peer)}".encode(), parcel.fd)
        except OSError:  # Full, or the process has shut it down.
            return False
        os.eventfd_write(self._event, 1)
        return True

    def _send(self, text: bytes, fd: int) -> None:
        rights = array.array("i", [fd])
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        self._ours.sendmsg([text], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], flags)

    def news(self) -> list[int]:
        """Return the numbers that the process has confirmed; TRIED for the first try.

        They are its word.
        """
        found: list[int] = []
        for _ in range(WINDOW + 1):
            try:
                data, _ancillary = received.take(self._ours, _LARGEST)
            except OSError:
                break
            found.append(int(data) if data.isdigit() and len(data) <= _DIGITS else _NONSENSE)
        return found

    def take_back(self) -> set[int]:
        """Return the numbers of what the process has not received, and will not any more."""
        found = set()
        for _ in range(WINDOW + 1):
            try:
                data, fds, _, _ = socket.recv_fds(self._theirs, _LARGEST, 1, socket.MSG_DONTWAIT)
            except OSError:
                break
            for fd in fds:
                os.close(fd)
            number, _, _ = data.partition(b" ")  # Or the first two messages.
            if number.isdigit():
                found.add(int(number))
        return found

    def close(self) -> None:
        """Close it. The process notices when it accepts the next time, or gets an order."""
        os.close(self._event)
        self._theirs.close()
        received.close_queue(self._ours)


def _address(peer: bytes) -> str:
    """The words of a struct sockaddr: host and port, with IPv6 also flow information and scope."""
    if len(peer) < _SCOPE_AT + _SCOPE.size:
        port, host = _SOCKADDR_IN.unpack_from(peer)
        return f"{socket.inet_ntop(socket.AF_INET, host)} {port}"
    port, flow, host = _SOCKADDR_IN6.unpack_from(peer)
    (scope,) = _SCOPE.unpack_from(peer, _SCOPE_AT)
    return f"{socket.inet_ntop(socket.AF_INET6, host)} {port} {flow} {scope}"
