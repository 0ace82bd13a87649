"""A generation's own $NOTIFY_SOCKET, for --ready notify.

Each generation has a socket of its own, and the sender has to be one of its processes
(SCM_CREDENTIALS, unix(7)): nobody else can declare it ready, and nothing that it says reaches
systemd.
"""

from __future__ import annotations

import socket
import struct

from sockact.supervisor.loop import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.loop import Loop

_CREDENTIALS = struct.Struct("=iII")
_DATAGRAM = 4096
_MOST = 32


class Notified:
    """Listens for READY=1; `address` is what $NOTIFY_SOCKET has to be."""

    def __init__(
        self,
        loop: Loop,
        address: str,
        member: Callable[[int], bool],
        ready: Callable[[], None],
    ) -> None:
        self.address = "@" + address
        self._loop = loop
        self._member = member
        self._ready = ready
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self._socket.bind(b"\0" + address.encode())
        loop.watch(self._socket.fileno(), READ, self._readable)

    def close(self) -> None:
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def _readable(self, _mask: int) -> None:
        for _ in range(_MOST):
            try:
                data, ancillary, _flags, _address = self._socket.recvmsg(
                    _DATAGRAM, socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            if b"READY=1" in data.split(b"\n") and self._trusted(ancillary):
                self._ready()
                return

    def _trusted(self, ancillary: list[tuple[int, int, bytes]]) -> bool:
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                return self._member(_CREDENTIALS.unpack(value[: _CREDENTIALS.size])[0])
        return False
