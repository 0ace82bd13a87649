"""A NOTIFY_SOCKET for a supervisor under test, in place of systemd's."""

from __future__ import annotations

import array
import os
import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

UCRED = struct.Struct("3i")
ANCILLARY = socket.CMSG_SPACE(UCRED.size) + socket.CMSG_SPACE(4)


@dataclass(frozen=True)
class Message:
    """One datagram: who sent it, when it was read (CLOCK_MONOTONIC), and its fields in order."""

    pid: int
    time: float
    fields: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """The first field of that name."""
        return next((value for key, value in self.fields if key == name), None)


class NotifySocket:
    """Collects messages; `messages` holds all that were read so far, and `store` the descriptors of
    FDSTORE=1 by their names, as long as systemd would keep them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.messages: list[Message] = []
        self.store: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(path))

    def fileno(self) -> int:
        """For poll()."""
        return self._socket.fileno()

    def receive(self, timeout: float = wait.TIMEOUT) -> Message | None:
        """The next message, or None at the deadline."""
        if not wait.readable(self.fileno(), timeout=timeout):
            return None
        data, ancillary, _, _ = self._socket.recvmsg(1 << 16, ANCILLARY)
        with_it = {kind: value for _, kind, value in ancillary}
        pid = UCRED.unpack(with_it[socket.SCM_CREDENTIALS])[0]
        pairs = (line.partition("=") for line in data.decode().splitlines())
        fields = tuple((key, value) for key, _, value in pairs)
        message = Message(pid, time.monotonic(), fields)
        self.messages.append(message)
        self._keep(message, array.array("i", with_it.get(socket.SCM_RIGHTS, b"")))
        return message

    def _keep(self, message: Message, fds: array.array[int]) -> None:
        name = message.get("FDNAME") or ""
        if message.get("FDSTOREREMOVE") and name in self.store:
            os.close(self.store.pop(name))
        for fd in fds:
            if message.get("FDSTORE"):
                self.store[name] = fd
            else:
                os.close(fd)  # For example that of a barrier.

    def wait_for(self, name: str, value: str, timeout: float = wait.TIMEOUT) -> Message:
        """The next message with that field; raises TimeoutError with what came instead."""
        deadline = time.monotonic() + timeout
        while message := self.receive(max(0.0, deadline - time.monotonic())):
            if message.get(name) == value:
                return message
        raise TimeoutError(f"no {name}={value} within {timeout:g} s, only {self.messages}")

    def wait_for_name(self, name: str, timeout: float = wait.TIMEOUT) -> Message:
        """The next message with a field of that name, whatever its value."""
        deadline = time.monotonic() + timeout
        while message := self.receive(max(0.0, deadline - time.monotonic())):
            if message.get(name) is not None:
                return message
        raise TimeoutError(f"no {name} within {timeout:g} s, only {self.messages}")

    def wait_for_status(self, text: str, timeout: float = wait.TIMEOUT) -> Message:
        """The next message whose STATUS has this text in it."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.wait_for_name("STATUS", max(0.0, deadline - time.monotonic()))
            if text in (message.get("STATUS") or ""):
                return message

    def close(self) -> None:
        """Close it and what it stores, and remove its file."""
        while self.store:
            os.close(self.store.popitem()[1])
        self._socket.close()
        self.path.unlink(missing_ok=True)
