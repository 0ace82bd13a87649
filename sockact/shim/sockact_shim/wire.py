"""One connection to the supervisor: packets of ASCII words on an abstract SOCK_SEQPACKET socket.

Every operation is bounded by TIMEOUT seconds. Raises OSError.
"""

from __future__ import annotations

import _socket
import os
import sys

from . import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

TIMEOUT = 2.0
LARGEST = 4096
_RETRY = 0.005


class Wire:
    """A context manager; closes itself when it cannot connect."""

    def __init__(self, supervisor: str) -> None:
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(TIMEOUT)
            self._connect(b"\0" + os.fsencode(supervisor))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def _connect(self, address: bytes) -> None:
        until = monotonic() + TIMEOUT
        while True:
            try:
                return self._socket.connect(address)
            except BlockingIOError:  # its queue is full: many processes answer at once
                if monotonic() > until:
                    raise
                sleep(_RETRY)

    def send(self, text: str, fd: int | None = None) -> None:
        """A packet, with a file descriptor if there is one."""
        words = " ".join(text.split()).encode("ascii", "replace")[:LARGEST]
        if fd is None:
            self._socket.send(words)
            return
        rights = fd.to_bytes(4, sys.byteorder)
        self._socket.sendmsg([words], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])

    def receive(self) -> list[str]:
        """The words of the next packet; none at the end of the connection."""
        return self._words(self._socket.recv(LARGEST + 1))

    def receive_with_fd(self) -> tuple[list[str], int | None]:
        """The same, and the file descriptor that came with it, which is the caller's to close."""
        data, ancillary, _, _ = self._socket.recvmsg(
            LARGEST + 1, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, payload in ancillary:
            if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS and len(payload) >= 4:
                return self._words(data), int.from_bytes(payload[:4], sys.byteorder)
        return self._words(data), None

    @staticmethod
    def _words(data: bytes) -> list[str]:
        if len(data) > LARGEST:
            raise OSError(f"a packet of more than {LARGEST} bytes")
        return data.decode("ascii", "replace").split()
