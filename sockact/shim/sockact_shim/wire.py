"""The connection to the supervisor: packets of ASCII words on a SOCK_SEQPACKET socket.

It has a path that other users cannot find, and an abstract name for a process that does not reach
the path (in a chroot, say). After the supervisor's end anybody may take that name: the user and the
pid of whoever listens are checked before anything is sent.

Every operation takes at most TIMEOUT seconds. Raises OSError.
"""

from __future__ import annotations

import _socket
import os
import sys

from . import monotonic, sleep

TIMEOUT = 5.0
LARGEST = 4096
_RETRY = 0.005


class Wire:
    """A connection, as a context manager."""

    def __init__(self, supervisor: str) -> None:
        """`supervisor` is `NAME UID:PATH`, where PATH may be empty, or only `NAME`."""
        name, _, location = supervisor.partition(" ")
        user, _, path = location.partition(":")
        self._socket = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(TIMEOUT)
            self._connect_to_either(path, b"\0" + os.fsencode(name))
            if user:
                self._check(name, int(user))
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def _connect_to_either(self, path: str, name: bytes) -> None:
        if path:
            try:
                return self._connect(os.fsencode(path))
            except (BlockingIOError, ConnectionRefusedError):
                raise  # it is busy, or has ended
            except OSError:  # it is not reached from here
                pass
        self._connect(name)

    def _check(self, name: str, user: int) -> None:
        """Raise PermissionError unless the supervisor listens there."""
        found = self._socket.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
        pid, owner = (int.from_bytes(found[at : at + 4], sys.byteorder) for at in (0, 4))
        # 0: it is outside of the PID namespace of this process.
        if owner != user or str(pid) not in ("0", name.split("/")[2]):
            raise PermissionError("another process has the supervisor's name")

    def _connect(self, address: bytes) -> None:
        until = monotonic() + TIMEOUT
        while True:
            try:
                return self._socket.connect(address)
            except BlockingIOError:  # the queue is full: many processes connect at once
                if monotonic() > until:
                    raise
                sleep(_RETRY)

    def send(self, text: str, fd: int | None = None) -> None:
        """Send a packet, and a file descriptor if given."""
        words = " ".join(text.split()).encode("ascii", "replace")[:LARGEST]
        if fd is None:
            self._socket.send(words)
            return
        rights = fd.to_bytes(4, sys.byteorder)
        self._socket.sendmsg([words], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])

    def receive(self) -> list[str]:
        """The words of the next packet; empty at the end of the connection."""
        return self._words(self._socket.recv(LARGEST + 1))

    def receive_with_fd(self) -> tuple[list[str], int | None]:
        """The words of the next packet, and its file descriptor, which the caller has to close."""
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
            raise OSError(f"packet of more than {LARGEST} bytes")
        return data.decode("ascii", "replace").split()
